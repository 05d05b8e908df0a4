#!/usr/bin/env python3
"""Try security profiles of AWS IoT Device Defender Detect on recorded reports, and suggest one from them.

python packaging/detect.py try PROFILE --reports reports.jsonl
python packaging/detect.py suggest --reports reports.jsonl
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

if sys.version_info < (3, 10):
    sys.exit("detect.py: this is Python {}.{}; 3.10 or later is needed".format(*sys.version_info))
try:
    from detection import evaluate, plot, profile, reports, suggest, summary
    from detection.errors import InputError
except ModuleNotFoundError as error:
    sys.exit(
        f"detect.py: {error}. Make an environment with what it needs, and use its python:"
        " packaging/venv.sh build/tools packaging/requirements-tools.txt"
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. Returns the exit code: 0, or 2 where an argument or a file can't be used."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader has enough, as `head` has; what is left in the buffer goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser(
        "try",
        help="say when a profile would have alarmed and cleared",
        description="Replay recorded reports against a profile. No AWS call is made. Exits with 0 whether or not there"
        " are alarms, with 2 where the profile or a report can't be used.",
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

    command = commands.add_parser(
        "suggest",
        help="write a profile from what a device normally does",
        description="Propose limits and port sets from recorded reports, and write a profile ready to create.",
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
    command.add_argument("--output", type=Path, metavar="FILE", help="a new file (default: NAME.json, here)")
    command.set_defaults(run=_suggest)
    return parser


def _try(options: argparse.Namespace) -> None:
    tried = profile.load(options.profile)
    recording = reports.read(options.reports)
    baselines = [reports.read(path) for path in options.baseline]
    outcomes = evaluate.replay(tried, recording, baselines)
    print(summary.summarize(tried.name, recording, outcomes))
    if all(outcome.skipped for outcome in outcomes):
        print("No picture: there is nothing to draw.")
        return
    picture = options.picture or Path(options.profile.stem + ".svg")
    plot.draw(tried.name, outcomes, picture)
    print(f"Picture: {picture}")


def _suggest(options: argparse.Namespace) -> None:
    suggestion = suggest.suggest(options.name, [reports.read(path) for path in options.reports], options.headroom)
    notes = [f"note: {note}" for note in suggestion.notes]
    if not suggestion.profile["behaviors"]:
        raise InputError("\n".join([*notes, "nothing was learned, so no profile is written"]))
    faults = list(profile.check(suggestion.profile))
    if faults:
        raise InputError("\n".join(f"{options.name}: {fault}" for fault in faults))
    path = options.output or Path(options.name + ".json")
    try:
        with path.open("x", encoding="utf-8") as output:
            output.write(json.dumps(suggestion.profile, indent=2) + "\n")
    except FileExistsError:
        raise InputError(f"{path}: exists; name another with --output, or remove it") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    for behavior in profile.parse(suggestion.profile).behaviors:
        print(f"{behavior.name}: normal is {summary.rule(behavior)}")
    for note in notes:
        print(note)
    print(f"Profile: {path}")


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
