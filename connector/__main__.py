"""`python -m connector`: print reports of this machine, without any core. Nothing is published."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from typing import TYPE_CHECKING, Callable, List, Optional, Set, TypeVar

from . import __version__, config
from .cycle import Made, delivered, make_report, observe
from .errors import ConnectorError
from .memory import Memory
from .names import JSON
from .snapshot import Source

if TYPE_CHECKING:
    import argparse

T = TypeVar("T", int, float)

MODULE = "python -m connector"
SCRIPT = "device-defender-connector"  # as pyproject.toml names it
MAX_COUNT = 10**9
MAX_SECONDS = 10**9
DEFAULT_SECONDS = 5.0
EPILOG = """\
The first report has no network_stats and no cpu_usage: they are the change since the report before, so ask for two.

  python -m connector                          one report of this machine
  python -m connector -n 2 -s 10               two, ten seconds apart; the second has the traffic between them
  python -m connector -n 288 -s 300 > day.jsonl    a day's reports, one per line

Two commands send reports; each has --help:

  python -m connector run          over MQTT, without Greengrass
  python -m connector component    as a native Greengrass component

JSON is indented on a terminal and one line per report elsewhere; CBOR is hexadecimal on a terminal and bytes elsewhere.

Exit codes: 0 all printed, 1 a report could not be made or written, 2 wrong usage, 130 ended by Ctrl-C.
"""
PARAMETERS_NOTE = """\
With a device's values the reports are those of the device. Parameters that
concern only sending, keeping or logging are accepted and have no effect here.
ProcDestinationPath is /proc unless given.
"""


def main(argv: Optional[List[str]] = None) -> int:
    """Print reports; with `run` send them over MQTT, with `component` over Greengrass IPC. Return the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["component"]:
        try:
            from . import component
        except ImportError:
            _complain(
                "`component` is not part of the Lambda function's zip: build_zip.sh --native makes the component's"
            )
            return 2
        return component.main(argv[1:], os.environ, f"{_prog()} component")
    if argv[:1] == ["run"]:
        try:
            from . import direct
        except ImportError:
            _complain("`run` is in neither zip: in the connector's repository, pip install '.[mqtt]'")
            return 2
        return direct.main(argv[1:], os.environ, f"{_prog()} run")
    options = _parser().parse_args(argv)
    try:
        return _print_reports(options)
    except ConnectorError as error:
        _complain(str(error))
    except OSError as error:  # reading the host raises errors of its own kind, so this one is of the output
        _complain(f"the report can't be written: {error.strerror or error}")
        # Python would try to write the rest of the buffer at the end, and print a second error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except KeyboardInterrupt:
        return 130
    return 1


def _parser() -> argparse.ArgumentParser:
    from .flags import add_flags  # only here, with argparse: 0.4 MB that a native component does not need
    from .usage import Parser

    parser = Parser(
        prog=_prog(),
        description="Print the metrics reports that the connector would send from this machine.",
        epilog=EPILOG,
    )
    parser.add_argument(
        "-n",
        metavar="COUNT",
        dest="count",
        type=_number(int, 1, MAX_COUNT, f"a number of reports, 1 to {MAX_COUNT}"),
        default=1,
        help="how many reports (default: 1)",
    )
    parser.add_argument(
        "-s",
        metavar="SECONDS",
        dest="seconds",
        type=_number(float, 0, MAX_SECONDS, f"a number of seconds, 0 to {MAX_SECONDS}"),
        help="seconds between them (default: SampleIntervalSeconds if given, else 5)",
    )
    parser.add_argument(
        "--proc",
        metavar="PATH",
        help="where the host's proc is mounted: ProcDestinationPath, with any path (default: /proc)",
    )
    parser.add_argument(
        "--short-names", dest="MetricNames", action="store_const", const="short", help="the same as --MetricNames short"
    )
    parser.add_argument("--version", action="version", version=__version__)
    add_flags(parser, also={"ReportFormat": ["--format"]}, note=PARAMETERS_NOTE)
    return parser


def _print_reports(options: argparse.Namespace) -> int:
    """Print the reports; return the exit code. Raises OSError where one can't be written, and ConnectorError."""
    from .flags import given

    if sys.stdout is None:  # closed by whoever started this
        raise OSError("there is no standard output")
    environ = given(options)
    values, _ = config.read({"ProcDestinationPath": "/proc", **environ})
    if options.proc is not None:
        values["ProcDestinationPath"] = options.proc
    wanted = config.wanted(values)
    seconds = options.seconds
    if seconds is None:
        seconds = values["SampleIntervalSeconds"] if "SampleIntervalSeconds" in environ else DEFAULT_SECONDS

    source = Source(wanted, random.Random())
    memory = Memory()
    complained: Set[str] = set()
    code = 0
    begun = time.monotonic()
    for number in range(options.count):
        time.sleep(max(0.0, begun + number * seconds - time.monotonic()))
        snapshot = source.take()
        memory = observe(memory, snapshot, time.time())
        for problem, sentence in {**snapshot.problems, **memory.traffic.problems}.items():
            if problem not in complained:
                complained.add(problem)
                _complain(f"{problem}: {sentence}")
        made = make_report(memory, snapshot, values["MetricNames"] == "short", values["ReportFormat"])
        if made is None:
            _complain(f"nothing could be read under {wanted.proc}")
            code = 1
            if not number:
                break
            continue  # a long recording goes on, as the connector would
        _write(made, values["ReportFormat"])
        memory = delivered(memory, made)
    return code


def _write(made: Made, report_format: str) -> None:
    """Write one report to standard output, at once, so that a recording can be followed."""
    text = made.payload
    terminal = sys.stdout.isatty()
    if report_format == JSON:
        text = (json.dumps(made.report, indent=2).encode("ascii") if terminal else text) + b"\n"
    elif terminal:
        text = text.hex().encode("ascii") + b"\n"
    sys.stdout.buffer.write(text)
    sys.stdout.flush()


def _complain(sentence: str) -> None:
    """Write one line to standard error. Where that is closed print() would write it among the reports."""
    if sys.stderr is not None:
        print(f"{_prog()}: {sentence}", file=sys.stderr)


def _prog() -> str:
    """Return the command's name: that of the installed script, or how Python runs the package."""
    name = os.path.basename(sys.argv[0])
    return SCRIPT if name == SCRIPT else MODULE


def _number(kind: Callable[[str], T], least: float, most: float, words: str) -> Callable[[str], T]:
    from argparse import ArgumentTypeError

    def parse(text: str) -> T:
        try:
            number = kind(text)
            if least <= number <= most:
                return number
        except ValueError:
            pass
        raise ArgumentTypeError(f"{text!r} is not {words}")

    return parse


if __name__ == "__main__":
    if sys.argv[1:2] not in (["component"], ["run"]) or "--dry-run" in sys.argv:
        # End quietly when the reader goes, as other filters do. What sends reports has to outlive whoever reads its
        # log, and writes to connections that their peer may have reset.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main())
