#!/usr/bin/env python3
"""Try security profiles of AWS IoT Device Defender Detect on recorded reports, suggest one, watch alarms. No AWS calls.

python packaging/detect.py try PROFILE... --reports reports.jsonl folder 'more/*.gz'
python packaging/detect.py suggest --reports reports.jsonl
python packaging/detect.py suggest --resolve PROFILE --reports reports.jsonl
python packaging/detect.py watch --mqtt localhost:1883
"""

from __future__ import annotations

import dataclasses
import errno
import gc
import importlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

if sys.version_info < (3, 10):
    sys.exit(
        "detect.py: this is Python {}.{}; 3.10 or later is needed. With PYTHON=python3.12, for example, this makes an "
        "environment for it: packaging/venv.sh build/tools packaging/requirements-tools.txt".format(*sys.version_info)
    )
_ENVIRONMENT = (
    "detect.py: {}. Make an environment with what it needs, and use its python:"
    " packaging/venv.sh build/tools packaging/requirements-tools.txt"
)
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for `connector`, when run by its path
from detection.errors import DetectionError, InputError  # noqa: E402

# All else is imported where it is used: the processes that read recordings import this file too, and need none of it.
if TYPE_CHECKING:
    import argparse

    from detection.fleet import Fleet
    from detection.record_counts import RecordCounts
    from detection.watch import Watch

    from connector.detect.profile import Profile

EXIT_IN_ALARM = 3
EXIT_INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Returns the exit code: 0 done; 1 a broker failed; 2 an argument or a file can't be used; 3 `watch` ended with an
    alarm, or `try --fail-on-alarm` found one; 130 Ctrl-C.
    """
    from detection import command_line

    parser = command_line.parser(__doc__, {"try": _try, "suggest": _suggest, "watch": _watch})
    if "_ARGCOMPLETE" in os.environ:  # a shell asks for completions
        try:
            import argcomplete  # in requirements-tools.txt
        except ImportError:
            pass
        else:
            argcomplete.autocomplete(parser)  # answers, and ends
    options = parser.parse_args(argv)
    try:
        code: int = options.run(options)
        print(end="", flush=True)  # sys.stdout is None where standard output is closed
    except ModuleNotFoundError as error:
        sys.exit(_ENVIRONMENT.format(error))
    except DetectionError as error:
        for line in str(error).splitlines():
            _problem(line)
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader closed the pipe, as `head` does
        _drop_output()
        return 0
    except Exception as error:
        if _is_interrupt(error):
            return EXIT_INTERRUPTED
        if not _is_out_of_room(error):
            raise
        if isinstance(error, OSError) and _is_output_full():
            _drop_output()
            _problem(f"standard output: {error.strerror}")
            return 1
        kept = tempfile.gettempdir()
        _problem(f"no room in {kept}, where what was read is kept; name a larger folder with TMPDIR: {error}")
        return 1
    return code


def _is_interrupt(error: Exception) -> bool:
    """Return whether Ctrl-C ended a query of DuckDB, which says so by an error of its own."""
    return type(error) is RuntimeError and str(error) == "Query interrupted"


def _is_output_full() -> bool:
    """Return whether what was printed can't be written. It is still in the buffer then, so it is tried again."""
    try:
        print(end="", flush=True)
    except OSError:
        return True
    return False


def _drop_output() -> None:
    """Drop what is left in the buffer of standard output, which Python would try to write at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_out_of_room(error: Exception) -> bool:
    """Return whether a disk is full, or a quota or a limit on files is reached."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    duckdb = sys.modules.get("duckdb")
    return duckdb is not None and isinstance(error, (duckdb.IOException, duckdb.OutOfMemoryException))


def _try(options: argparse.Namespace) -> int:
    for path in (options.picture, options.page):
        if path and not path.parent.is_dir():  # checked first: reading and judging may take minutes
            raise InputError(f"{path}: No such file or directory")
    _refuse_existing_folder(options)
    profiles: list[Profile] = []

    def prepare() -> None:
        profiles.extend(_profiles(options.profile))
        if options.picture:
            importlib.import_module("detection.plot")

    with ExitStack() as stack:
        fleet, account = _read(stack, options, options.reports, meanwhile=prepare)
        baseline, its_account = (
            _read(stack, options, options.baseline, "baseline") if options.baseline else (None, None)
        )
        from detection import replay, summary, table

        outcome = replay.replay(fleet, profiles, baseline, _as_dict(account), _as_dict(its_account))
        if options.json:
            json.dump(outcome.document(), sys.stdout, indent=2)  # not as one text: of 10,000 devices it is 245 MB
            print()
        else:
            _print_account(account)
            if its_account and its_account.found > its_account.kept:
                _print_account(its_account, "baseline: ")
            print()
            show = summary.summarize if len(outcome.devices) == 1 else table.tabulate
            print(show(outcome, options.all))
        written = []
        if options.picture:
            from detection import plot

            if plot.draw(outcome, options.picture):
                written.append(f"Picture: {options.picture}")
            else:
                written.append("No picture: there is nothing to draw.")
        if options.page:
            from detection import page

            page.write(options.page, outcome.document(), outcome.series)
            written.append(f"Page: {options.page}")
        for line in written:
            print(line, file=sys.stderr if options.json else sys.stdout)
    return EXIT_IN_ALARM if options.fail_on_alarm and outcome.alerts else 0


def _profiles(paths: Sequence[Path]) -> list[Profile]:
    """Return the profiles of files and of the files in folders. Raises InputError."""
    from detection import profile

    files = [file for path in paths for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    if not files:
        raise InputError(f"{paths[0]}: no profile there, a file whose name ends in .json")
    loaded: dict[str, tuple[Path, Profile]] = {}
    for file in dict.fromkeys(files):
        one = profile.load(file)
        if one.name in loaded:
            raise InputError(f"{file}: the profile {one.name} is in {loaded[one.name][0]} too")
        loaded[one.name] = (file, one)
    return [one for _, one in loaded.values()]


def _read(
    stack: ExitStack,
    options: argparse.Namespace,
    paths: Sequence[str],
    name: str = "reports",
    meanwhile: Callable[[], object] = lambda: None,
) -> tuple[Fleet, RecordCounts]:
    """Read recordings. What they are kept in is removed when the stack closes.

    name: of their table in Spark
    meanwhile: called once, before there is anything to wait for; what it raises ends the reading
    """
    from detection import recordings

    def prepare_all() -> None:
        gc.disable()  # what is imported stays; to search it for garbage again and again takes a tenth of the time
        try:
            meanwhile()
            for module in ("duckdb", "detection.duck", "detection.replay"):  # these take half a second
                importlib.import_module(module)
            gc.freeze()
        finally:
            gc.enable()

    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="detect-")))
    source = recordings.Source(tuple(paths), options.thing_field, options.thing_from, options.strict)
    read = recordings.read(source, folder, meanwhile=prepare_all)
    from detection.duck import Duck
    from detection.fleet import Fleet

    stack.callback(read.connection.close)
    if options.parquet and name == "reports":
        read.write(options.parquet)
    if options.engine == "duckdb":
        return Fleet(Duck(read.connection)), read.account
    from detection import engines

    if options.engine == "athena":
        return Fleet(engines.Athena(Duck(read.connection), _say)), read.account
    return Fleet(engines.spark(read, folder / "kept", name), name), read.account


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _as_dict(account: RecordCounts | None) -> dict[str, Any] | None:
    return None if account is None else dataclasses.asdict(account)


def _refuse_existing_folder(options: argparse.Namespace) -> None:
    """Say now, not after all was read, that --parquet names what is there already. Raises InputError."""
    if options.parquet and os.path.lexists(options.parquet):
        raise InputError(f"{options.parquet}: {os.strerror(errno.EEXIST)}")


def _suggest(options: argparse.Namespace) -> int:
    _refuse_existing_folder(options)
    with ExitStack() as stack:
        fleet, account = _read(stack, options, options.reports)
        try:
            return (_resolve if options.resolve else _learn)(options, fleet, account)
        except InputError:
            _print_account(account)  # it may be why: records that were skipped
            raise


def _learn(options: argparse.Namespace, fleet: Fleet, account: RecordCounts) -> int:
    from detection import profile, suggest, summary

    from connector.detect.profile import parse

    short = suggest.too_short(fleet)
    if short and not options.force:
        raise InputError(f"{short}; --force writes a profile all the same")
    suggestion = suggest.suggest(options.name, fleet, options.headroom)
    notes = [f"note: {note}" for note in suggestion.notes]
    if not suggestion.profile["behaviors"]:
        raise InputError("\n".join([*notes, "nothing was learned, so no profile is written"]))
    faults = list(profile.check(suggestion.profile))
    if faults:
        raise InputError("\n".join(f"{options.name}: {fault}" for fault in faults))
    path = options.output or Path(options.name + ".json")
    _write(path, suggestion.profile)
    _print_account(account)
    for behavior in parse(suggestion.profile).behaviors:
        in_a_row = f", {behavior.to_alarm} in a row to alarm" if behavior.to_alarm > 1 else ""
        print(f"{behavior.name}: normal is {summary.rule(behavior)}{in_a_row}")
    for note in notes:
        print(note)
    print(suggest.check(fleet, options.headroom))
    print(f"Profile: {path}")
    return 0


def _resolve(options: argparse.Namespace, fleet: Fleet, account: RecordCounts) -> int:
    from detection import profile, resolve

    profile.load(options.resolve)  # raises InputError with every fault
    document, resolved, left = resolve.resolve(profile.read(options.resolve)[1], fleet)
    left = [f"note: not resolved: {text}" for text in left]
    if not resolved:
        raise InputError("\n".join([*left, f"{options.resolve}: no percentile to resolve, so no profile is written"]))
    path = options.output or Path(options.resolve.stem + ".resolved.json")
    _write(path, document)
    _print_account(account)
    for text in [*resolved, *left]:
        print(text)
    print(f"Profile: {path}")
    return 0


def _print_account(account: RecordCounts, what: str = "") -> None:
    from detection import summary

    for line in account.lines():
        print(summary.printable(what + line))


def _write(path: Path, document: Any) -> None:
    try:
        output = path.open("x", encoding="utf-8")
    except FileExistsError:
        raise InputError(f"{path}: exists; name another with --output, or remove it") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    try:
        with output:
            output.write(json.dumps(document, indent=2) + "\n")
    except BaseException as error:
        path.unlink()  # the beginning of a profile is none, and would be in the way of the next run
        if isinstance(error, OSError):
            raise InputError(f"{path}: {error.strerror}") from error
        raise


def _watch(options: argparse.Namespace) -> int:
    from detection import watch

    if bool(options.cert) != bool(options.key):
        raise InputError("--cert and --key go together")
    profiles = _profiles(options.profile) if options.profile else []
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


def _watch_broker(options: argparse.Namespace, watched: Watch) -> None:
    from detection import broker, command_line

    topics = options.topic or [*command_line.EVENT_TOPICS, *(command_line.REPORT_TOPICS if options.profile else ())]
    source = broker.Broker(
        options.mqtt, topics, _problem, options.ca_file, options.cert, options.key, options.client_id
    )
    try:
        _problem(f"subscribed to {', '.join(topics)} at {options.mqtt}; Ctrl-C ends it")
        _take_all(watched, source.messages())
    finally:
        source.close()


def _take_all(watched: Watch, messages: Iterable[tuple[str, bytes]]) -> None:
    for where, payload in messages:
        if payload.strip():
            watched.take(where, payload)


def _problem(text: str) -> None:
    from detection import summary

    # Topics and reports come from devices: no control characters for the terminal.
    print(f"detect.py: {summary.printable(text)}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
