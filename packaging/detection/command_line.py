"""The command line of detect.py: its commands and their flags."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from connector import __version__
from connector.usage import Parser

# What `watch --mqtt` subscribes to, the second with --profile.
EVENT_TOPICS = ("device-defender/+/violations",)
REPORT_TOPICS = ("$aws/things/+/defender/metrics/json",)


def parser(description: str | None, run: Mapping[str, Callable[[argparse.Namespace], int]]) -> argparse.ArgumentParser:
    """Return the parser of the command line; what it returns has the command's function as `run`.

    run: the function of each command, which returns the exit code
    """
    parser = Parser(prog="detect.py", description=description)
    parser.add_argument("--version", action="version", version=f"detect.py {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_try(commands.add_parser("try", help="show when a profile would have alarmed and cleared"))
    _add_suggest(commands.add_parser("suggest", help="write a profile from what a device normally does"))
    _add_watch(commands.add_parser("watch", help="print alarms as they come"))
    for name, command in commands.choices.items():
        command.set_defaults(run=run[name])
    return parser


def _add_recordings(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--reports",
        action="extend",
        nargs="+",
        required=True,
        metavar="PATH",
        help="recorded reports of any number of devices: files, folders or globs; may be repeated",
    )
    command.add_argument(
        "--thing-field", metavar="NAME", help="the field beside a report that names its thing (default: thing)"
    )
    command.add_argument(
        "--thing-from",
        type=_pattern,
        metavar="REGEX",
        help="take the thing from a file's path: the first group of this",
    )
    command.add_argument(
        "--strict",
        action="store_true",
        help="a record that can't be read is an error; without, it is named and skipped",
    )
    command.add_argument(
        "--engine",
        choices=("duckdb", "spark", "athena"),
        default="duckdb",
        help="what sums and judges the reports; spark needs packaging/requirements-spark.txt; athena is not asked: its"
        " SQL is checked by grammar and printed on standard error, and DuckDB answers (default: %(default)s)",
    )
    command.add_argument(
        "--parquet",
        type=Path,
        metavar="FOLDER",
        help="keep the reports there, each once, as Parquet: for Spark and Athena, or to be read again quickly",
    )


def _add_try(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Replay recorded reports against profiles. Exits with 0 whether or not there are alarms, unless --fail-on-alarm"
        " is given; with 2 where a profile or the reports can't be used."
    )
    command.add_argument(
        "profile",
        type=Path,
        nargs="+",
        metavar="PROFILE",
        help="files for create-security-profile --cli-input-json, or folders of them",
    )
    _add_recordings(command)
    command.add_argument(
        "--baseline",
        action="extend",
        nargs="+",
        default=[],
        metavar="PATH",
        help="reports to take percentiles from, of normal days or other devices (default: --reports); may be repeated",
    )
    command.add_argument("--json", action="store_true", help="print the result of each device and behavior as JSON")
    command.add_argument(
        "--all",
        action="store_true",
        help="show each behavior that was not replayed; without, more than three are summed up by reason",
    )
    command.add_argument(
        "--fail-on-alarm", action="store_true", help="exit with 3 if there is an alarm that alerts somebody"
    )
    command.add_argument(
        "--picture", type=_picture, metavar="FILE", help="draw the worst device's metrics over time, .svg or .png"
    )
    command.add_argument(
        "--page", type=Path, metavar="FILE.html", help="write a page to explore the devices in, for a browser"
    )


def _add_suggest(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Propose limits and port sets from recorded reports, and write a profile ready to create; or, with --resolve,"
        " write a profile with numbers beside its percentiles, for devices."
    )
    _add_recordings(command)
    command.add_argument("--name", default="NormalBehavior", help="the profile's name (default: %(default)s)")
    command.add_argument(
        "--headroom",
        type=_headroom,
        default=1.5,
        metavar="TIMES",
        help="limit over highest value (default: %(default)s)",
    )
    command.add_argument(
        "--force", action="store_true", help="write a profile even if no device was recorded for a whole day"
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


def _add_watch(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Print the events of connectors that judge security profiles themselves, one per line. With --profile, judge"
        " the reports as well. Ends at the end of the input or with Ctrl-C; exits with 3 if an alarm has begun"
        " that has not ended."
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
        help=f"with --mqtt, what to subscribe to (default: {', '.join(EVENT_TOPICS)}, and with --profile"
        f" {', '.join(REPORT_TOPICS)}); may be repeated",
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


def _picture(text: str) -> Path:
    path = Path(text)
    if path.suffix not in (".svg", ".png"):
        raise argparse.ArgumentTypeError(f"{text} ends neither in .svg nor in .png")
    return path


def _pattern(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text} is no regular expression: {error}") from error
    if not pattern.groups:
        raise argparse.ArgumentTypeError(f"{text} has no group, such as thing=([^/]+)")
    return pattern


def _headroom(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 1 <= value <= 1000:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 to 1000")
    return value
