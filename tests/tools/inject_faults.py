#!/usr/bin/env python3
"""Inject a fault at every line and system call of the loop's thread, every time that it is reached.

    "$(packaging/venv.sh build/tests-% tests/requirements.txt)" tests/tools/inject_faults.py

Takes some minutes. exit codes: 0 nothing was lost and reporting went on each time; 1 it did not, at the places printed
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import List, Optional

ROOT = Path(__file__).resolve().parents[2]
MEMORY = "/dev/shm"
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "packaging")]

from support.injection import Watch, run_all, scenario  # noqa: E402


def main(argv: Optional[List[str]] = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=10**9, help="how often a place gets a fault (default: each time)")
    options = parser.parse_args(argv)
    # In memory where possible: fsync() on a disk takes most of the time.
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as name:
        directory = Path(name)
        scenario(directory / "warm-up", Watch())
        watch = Watch()
        scenario(directory / "recorded", watch)
        points = [point for point in watch.points if point.time <= options.times]
        print(f"{len(points)} faults", flush=True)
        wrong = run_all(points, lambda number: directory / str(number))
    for point, reason in wrong.items():
        print(f"{point.file}:{point.line}, {point.call or 'MemoryError'}, time {point.time}: {reason}")
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
