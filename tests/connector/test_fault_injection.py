"""Memory errors and failing system calls at every place of the loop's thread: reporting goes on and no byte is lost.

Here each system call once, and each line of the loop's own modules, at the first time that it is reached;
tests/tools/inject_faults.py does every line every time.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Iterator

import pytest
from support.injection import Watch, check, run_all, scenario

LOOP = ("agent.py", "cycle.py", "publisher.py", "reporter.py", "state.py")
MEMORY = "/dev/shm"  # a file system on which fsync() costs nothing


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as name:
        yield Path(name)


def test_scenario_without_faults_reports_every_byte_once(directory: Path) -> None:
    watch = Watch()
    loop = scenario(directory, watch)
    check(loop)
    assert {point.call for point in watch.points} >= {"open", "fsync", "replace", "unlink", "flock", "stat"}
    assert {point.file for point in watch.points} >= {"reporter.py", "publisher.py", "state.py", "cycle.py"}


@pytest.mark.parametrize("kind", ["memory errors", "system calls"])
def test_one_fault_at_each_place_loses_nothing(directory: Path, kind: str) -> None:
    scenario(directory / "warm-up", Watch())  # with the imports that the first report makes
    watch = Watch()
    scenario(directory / "recorded", watch)
    points = [
        point
        for point in watch.points
        if point.time == 1
        if (point.call if kind == "system calls" else not point.call and point.file in LOOP)
    ]
    assert len(points) >= (15 if kind == "system calls" else 200)
    wrong = run_all(points, lambda number: directory / str(number))
    assert wrong == {}
