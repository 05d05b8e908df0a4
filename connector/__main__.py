"""`python -m connector`: print reports of this machine, without any core. Nothing is published."""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
from typing import Callable, List, Optional, TypeVar

from . import __version__
from .config import CUSTOM_METRICS, DEFAULT_EXCLUDE
from .encode import FORMATS, encode
from .errors import ConnectorError
from .report import build
from .snapshot import Wanted, take
from .traffic import Traffic

T = TypeVar("T", int, float)

EPILOG = """\
The first report has no network_stats and no cpu_usage: they are the change since the report before, so ask for two.

  python -m connector                          one report of this machine
  python -m connector -n 2 -s 10               two, ten seconds apart; the second has the traffic between them
  python -m connector -n 288 -s 300 > day.jsonl    a day's reports, one a line

Exit codes: 0 all printed, 1 a report could not be made or written, 2 wrong usage.
"""


def main(arguments: Optional[List[str]] = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        return _print_reports(options)
    except ConnectorError as error:
        _say(str(error))
    except OSError as error:  # what is read has errors of its own
        _say(f"the report can't be written: {error.strerror or error}")
        # What is left in the buffer would be tried again, and complained of, at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m connector",
        description="Print the metrics reports that the connector would send from this machine.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-n",
        metavar="COUNT",
        dest="count",
        type=_number(int, 1, 10**9, "a number of reports, 1 to 1000000000"),
        default=1,
        help="how many reports (1)",
    )
    parser.add_argument(
        "-s",
        metavar="SECONDS",
        dest="seconds",
        type=_number(float, 0, 10**9, "a number of seconds, 0 to 1000000000"),
        default=5.0,
        help="seconds between them (5)",
    )
    parser.add_argument("--proc", metavar="PATH", default="/proc", help="where the host's proc is mounted (/proc)")
    parser.add_argument(
        "--short-names", action="store_true", help="short field names, as on the wire with MetricNames short"
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="json",
        help="json (pretty on a terminal, a line a report elsewhere), or cbor (bytes; on a terminal hexadecimal)",
    )
    parser.add_argument(
        "--max-list-size",
        metavar="N",
        type=_number(int, 1, 500, "a size from 1 to 500"),
        default=50,
        help="longest list in a report, 1 to 500 (50)",
    )
    parser.add_argument(
        "--custom-metrics",
        metavar="LIST",
        type=_custom_metrics,
        default=(),
        help="names separated by commas: " + ", ".join(CUSTOM_METRICS),
    )
    parser.add_argument("--version", action="version", version=__version__)
    return parser


def _print_reports(options: argparse.Namespace) -> int:
    """Print what was asked for; return the exit code. Raises OSError where it can't be written, and ConnectorError."""
    if sys.stdout is None:  # closed by whoever started this
        raise OSError("there is no standard output")
    wanted = Wanted(options.proc, options.max_list_size, DEFAULT_EXCLUDE.split(","), options.custom_metrics)
    rng = random.Random()
    traffic = Traffic()
    cpu = None
    report_id = 0
    said: List[str] = []
    code = 0
    begun = time.monotonic()
    for number in range(options.count):
        time.sleep(max(0.0, begun + number * options.seconds - time.monotonic()))
        snapshot = take(wanted, rng)
        traffic = traffic.observe(snapshot)
        for problem, sentence in {**snapshot.problems, **traffic.problems}.items():
            if problem not in said:
                said.append(problem)
                _say(f"{problem}: {sentence}")
        carried = traffic.carry(snapshot)
        report_id = max(int(time.time()), report_id + 1)
        report = build(snapshot, report_id, carried, cpu, options.short_names)
        if report is None:
            _say(f"nothing could be read under {options.proc}")
            code = 1
            if not number:
                break
            continue  # a long recording goes on, as the connector would
        traffic, cpu = traffic.delivered(carried), snapshot.cpu or cpu
        if options.format == "json" and sys.stdout.isatty():
            print(json.dumps(report, indent=2), flush=True)
            continue
        encoded = encode(report, options.format)
        if options.format == "json":
            encoded += b"\n"
        elif sys.stdout.isatty():
            encoded = encoded.hex().encode("ascii") + b"\n"
        sys.stdout.buffer.write(encoded)
        sys.stdout.flush()
    return code


def _say(sentence: str) -> None:
    """Tell whoever runs this. Where stderr is closed print() would write into the reports."""
    if sys.stderr is not None:
        print(sentence, file=sys.stderr)


def _number(kind: Callable[[str], T], least: float, most: float, words: str) -> Callable[[str], T]:
    def parse(text: str) -> T:
        try:
            number = kind(text)
            if least <= number <= most:
                return number
        except ValueError:
            pass
        raise argparse.ArgumentTypeError(f"{text!r} is not {words}")

    return parse


def _custom_metrics(text: str) -> List[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in CUSTOM_METRICS:
            raise argparse.ArgumentTypeError("{!r} is none of {}".format(name, ", ".join(CUSTOM_METRICS)))
    return names


if __name__ == "__main__":
    # As other filters do: end quietly when the reader goes, or with Ctrl-C.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(main())
