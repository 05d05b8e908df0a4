"""Runs packaging/detect.py in this process, as a person would from a directory of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from detection.reports import Report, parse

ROOT = Path(__file__).parents[2]
PROFILES = ROOT / "packaging" / "security_profiles"
FIXTURES = ROOT / "tests" / "detection" / "fixtures"
ORDINARY, INCIDENT = FIXTURES / "ordinary.jsonl", FIXTURES / "incident.jsonl"

SHIPPED = sorted(path.stem for path in PROFILES.glob("*.json"))


def recorded(path: Path) -> list[Report]:
    """Return the reports of a recording of one device, one report per line."""
    return [parse(line, str(path)) for line in path.read_bytes().splitlines()]


def run(*arguments: Any) -> int:
    """Return the exit code."""
    import detect

    try:
        return detect.main([str(argument) for argument in arguments])
    except SystemExit as exit:  # argparse
        return int(str(exit.code))


def try_profile(name: str, *arguments: Any) -> None:
    """Run `try` with a shipped profile."""
    assert run("try", PROFILES / f"{name}.json", *arguments) == 0
