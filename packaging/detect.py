#!/usr/bin/env python3
"""Try security profiles of AWS IoT Device Defender Detect on recorded reports, suggest one, watch alarms. No AWS calls.

python packaging/detect.py try PROFILE --reports reports.jsonl
python packaging/detect.py suggest --reports reports.jsonl
python packaging/detect.py suggest --resolve PROFILE --reports reports.jsonl
python packaging/detect.py watch --mqtt localhost:1883
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

if sys.version_info < (3, 10):
    sys.exit("detect.py: this is Python {}.{}; 3.10 or later is needed".format(*sys.version_info))
_ENVIRONMENT = (
    "detect.py: {}. Make an environment with what it needs, and use its python:"
    " packaging/venv.sh build/tools packaging/requirements-tools.txt"
)
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for `connector`, when run by its path
try:
    from detection import broker, profile, replay, reports, resolve, suggest, summary, watch
    from detection.errors import DetectionError, InputError

    from connector import __version__
    from connector.detect.profile import parse
except ModuleNotFoundError as error:
    sys.exit(_ENVIRONMENT.format(error))

EXIT_IN_ALARM = 3
EXIT_INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Returns the exit code: 0 done; 1 a broker failed; 2 an argument or a file can't be used; 3 `watch` ended with an
    alarm; 130 Ctrl-C.
    """
    parser = _parser()
    try:
        import argcomplete  # in requirements-tools.txt
    except ImportError:
        pass
    else:
        argcomplete.autocomplete(parser)  # answers a shell that asks for completions, and ends
    options = parser.parse_args(argv)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except DetectionError as error:
        for line in str(error).splitlines():
            _problem(line)
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader closed the pipe, as `head` does; what is left in the buffer is dropped
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """End with one line that matters, not with the whole usage."""
        self.exit(2, f"{self.prog}: {message}; {self.prog} --help shows the usage\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="detect.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"detect.py {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_try(commands.add_parser("try", help="show when a profile would have alarmed and cleared"))
    _add_suggest(commands.add_parser("suggest", help="write a profile from what a device normally does"))
    _add_watch(commands.add_parser("watch", help="print alarms as they come"))
    return parser


def _add_try(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Replay recorded reports against a profile. Exits with 0 whether or not there are alarms, with 2 where the"
        " profile or a report can't be used."
    )
    command.add_argument(
        "profile", type=Path, metavar="PROFILE", help="file for create-security-profile --cli-input-json"
    )
    command.add_argument(
        "--reports", type=Path, required=True, metavar="FILE", help="one device's reports, one JSON a line"
    )
    command.add_argument(
        "--baseline",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="reports to take percentiles from, of normal days or other devices (default: --reports); may be repeated",
    )
    command.add_argument(
        "--picture",
        type=_picture,
        metavar="FILE",
        help="where to draw it, .svg or .png (default: PROFILE's name .svg, here)",
    )
    command.set_defaults(run=_try)


def _add_suggest(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Propose limits and port sets from recorded reports, and write a profile ready to create; or, with --resolve,"
        " write a profile with numbers beside its percentiles, for devices."
    )
    command.add_argument(
        "--reports",
        type=Path,
        action="append",
        required=True,
        metavar="FILE",
        help="one device's reports, one JSON a line; may be repeated, for more days or devices",
    )
    command.add_argument("--name", default="NormalBehavior", help="the profile's name (default: %(default)s)")
    command.add_argument(
        "--headroom",
        type=_headroom,
        default=1.5,
        metavar="TIMES",
        help="limit over highest value (default: %(default)s)",
    )
    command.add_argument(
        "--resolve",
        type=Path,
        metavar="PROFILE",
        help="don't suggest anything: take this profile, and put beside each percentile the number it has in --reports",
    )
    command.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="a new file (default: NAME.json, or with --resolve PROFILE's name .resolved.json, here)",
    )
    command.set_defaults(run=_suggest)


def _add_watch(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Print the events of connectors that judge security profiles themselves, one a line. With --profile, judge the"
        " reports as well. Ends at the end of the input or with Ctrl-C; exits with 3 if an alarm has begun that has not"
        " ended."
    )
    source = command.add_mutually_exclusive_group(required=True)
    source.add_argument("input", nargs="?", choices=["-"], help="read standard input: one event or report a line")
    source.add_argument("--mqtt", metavar="HOST:PORT", help="read from an MQTT broker")
    command.add_argument(
        "--profile",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="judge reports by this profile; may be repeated",
    )
    command.add_argument(
        "--topic",
        action="append",
        metavar="FILTER",
        help=f"with --mqtt, what to subscribe to (default: {', '.join(watch.EVENT_TOPICS)}, and with --profile"
        f" {', '.join(watch.REPORT_TOPICS)}); may be repeated",
    )
    command.add_argument("--ca-file", metavar="FILE", help="with --mqtt, connect by TLS; authorities to trust, PEM")
    command.add_argument("--cert", metavar="FILE", help="with --mqtt, connect by TLS; our certificate, PEM")
    command.add_argument("--key", metavar="FILE", help="the private key of --cert, PEM")
    command.add_argument("--client-id", default="", metavar="ID", help="with --mqtt, if the broker asks for one")
    command.add_argument(
        "--thing", default="device", help="the thing of reports that don't name theirs (default: %(default)s)"
    )
    command.add_argument("--json", action="store_true", help="print each event as JSON")
    command.add_argument(
        "--exec",
        metavar="COMMAND",
        help="run this for each event, which it gets as JSON on its standard input, and wait for its end",
    )
    command.set_defaults(run=_watch)


def _try(options: argparse.Namespace) -> int:
    tried = profile.load(options.profile)
    recording = reports.read(options.reports)
    baselines = [reports.read(path) for path in options.baseline]
    outcomes = replay.replay(tried, recording, baselines)
    print(summary.summarize(tried.name, recording, outcomes))
    if all(outcome.skipped for outcome in outcomes):
        print("No picture: there is nothing to draw.")
        return 0
    picture = options.picture or Path(options.profile.stem + ".svg")
    try:
        from detection import plot  # here, as matplotlib takes a second to import
    except ModuleNotFoundError as error:
        sys.exit(_ENVIRONMENT.format(error))
    plot.draw(tried.name, outcomes, picture)
    print(f"Picture: {picture}")
    return 0


def _suggest(options: argparse.Namespace) -> int:
    recordings = [reports.read(path) for path in options.reports]
    if options.resolve:
        return _resolve(options, recordings)
    suggestion = suggest.suggest(options.name, recordings, options.headroom)
    notes = [f"note: {note}" for note in suggestion.notes]
    if not suggestion.profile["behaviors"]:
        raise InputError("\n".join([*notes, "nothing was learned, so no profile is written"]))
    faults = list(profile.check(suggestion.profile))
    if faults:
        raise InputError("\n".join(f"{options.name}: {fault}" for fault in faults))
    path = options.output or Path(options.name + ".json")
    _write(path, suggestion.profile)
    for behavior in parse(suggestion.profile).behaviors:
        print(f"{behavior.name}: normal is {summary.rule(behavior)}")
    for note in notes:
        print(note)
    print(f"Profile: {path}")
    return 0


def _resolve(options: argparse.Namespace, recordings: list[list[reports.Report]]) -> int:
    profile.load(options.resolve)  # raises InputError with every fault
    document, resolved, left = resolve.resolve(profile.read(options.resolve)[1], recordings)
    left = [f"note: not resolved: {text}" for text in left]
    if not resolved:
        raise InputError("\n".join([*left, f"{options.resolve}: no percentile to resolve, so no profile is written"]))
    path = options.output or Path(options.resolve.stem + ".resolved.json")
    _write(path, document)
    for text in [*resolved, *left]:
        print(text)
    print(f"Profile: {path}")
    return 0


def _write(path: Path, document: Any) -> None:
    try:
        with path.open("x", encoding="utf-8") as output:
            output.write(json.dumps(document, indent=2) + "\n")
    except FileExistsError:
        raise InputError(f"{path}: exists; name another with --output, or remove it") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error


def _watch(options: argparse.Namespace) -> int:
    if bool(options.cert) != bool(options.key):
        raise InputError("--cert and --key go together")
    profiles = [profile.load(path) for path in options.profile]
    for one in profiles:
        for behavior in one.behaviors:
            if behavior.skipped:
                _problem(f"{one.name}/{behavior.name} is not judged: {behavior.skipped}")
    command = watch.Command(options.exec, _problem) if options.exec else None

    def show(event: dict[str, Any]) -> None:
        print(json.dumps(event) if options.json else watch.line(event), flush=True)
        if command:
            command.run(event)

    watched = watch.Watch(profiles, options.thing, show, _problem)
    interrupted = False
    try:
        if options.mqtt:
            _watch_broker(options, watched)
        else:
            _take_all(watched, ((f"line {number}", line) for number, line in enumerate(sys.stdin.buffer, 1)))
    except KeyboardInterrupt:
        interrupted = True
    if watched.in_alarm:
        return EXIT_IN_ALARM
    return EXIT_INTERRUPTED if interrupted else 0


def _watch_broker(options: argparse.Namespace, watched: watch.Watch) -> None:
    topics = options.topic or [*watch.EVENT_TOPICS, *(watch.REPORT_TOPICS if options.profile else ())]
    source = broker.Broker(
        options.mqtt, topics, _problem, options.ca_file, options.cert, options.key, options.client_id
    )
    try:
        _problem(f"subscribed to {', '.join(topics)} at {options.mqtt}; Ctrl-C ends it")
        _take_all(watched, source.messages())
    finally:
        source.close()


def _take_all(watched: watch.Watch, messages: Iterable[tuple[str, bytes]]) -> None:
    for where, payload in messages:
        if payload.strip():
            watched.take(where, payload)


def _problem(text: str) -> None:
    # Topics and reports come from devices: no control characters for the terminal.
    print(f"detect.py: {summary.printable(text)}", file=sys.stderr, flush=True)


def _picture(text: str) -> Path:
    path = Path(text)
    if path.suffix not in (".svg", ".png"):
        raise argparse.ArgumentTypeError(f"{text} ends neither in .svg nor in .png")
    return path


def _headroom(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 1 <= value <= 1000:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 to 1000")
    return value


if __name__ == "__main__":
    sys.exit(main())
