"""Faults at any line and any system call of the connector's own code, on the thread that runs it."""

from __future__ import annotations

import errno
import sys
from collections import Counter
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Type

from connector.kernel.dev import Counters
from connector.publisher import ANSWER_SECONDS
from support.loop import STEP, After, Loop, Never, moving, total

CONNECTOR = str(Path(__file__).resolve().parents[2] / "connector") + "/"
# Built-in functions and methods that are, or lead to, a system call that can fail. Not close(): where it fails the
# descriptor is closed all the same, which a fault in its place would hide.
SYSTEM_CALLS = {
    *("open", "read", "readline", "write", "flush", "fsync", "stat", "fstat", "listdir", "readlink"),
    *("unlink", "replace", "flock", "poll", "pipe"),
}
# The frame of the loop: `while`, `try` and calls. What it calls is watched.
NO_ALLOCATION = {"run"}
INTERVAL = 300.0


class Point(NamedTuple):
    """Where a fault happens.

    file, line: in the connector, the file relative to it.
    call: the name of the system call that fails there; empty for a MemoryError before the line.
    time: 1 for the first time that the place is reached.
    """

    file: str
    line: int
    call: str
    time: int


class Watch:
    """Counts how often each place is reached while it is entered; raises once, at `point`, if there is one."""

    def __init__(self, point: Optional[Point] = None) -> None:
        self.point = point
        self.reached: Counter[Any] = Counter()
        self.points: List[Point] = []
        self.raised = False

    def __enter__(self) -> Watch:
        self._before = sys.gettrace(), sys.getprofile()
        sys.settrace(self._trace)
        sys.setprofile(self._profile)
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], traceback: Optional[TracebackType]
    ) -> None:
        sys.settrace(self._before[0])
        sys.setprofile(self._before[1])

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(CONNECTOR):
            return None
        if event == "line" and frame.f_code.co_name not in NO_ALLOCATION and self._reach(frame, ""):
            raise MemoryError
        return self._trace

    def _profile(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call" and frame.f_code.co_filename.startswith(CONNECTOR):
            name = argument.__name__
            if name in SYSTEM_CALLS and self._reach(frame, name):
                raise OSError(errno.EIO, "Input/output error")

    def _reach(self, frame: FrameType, call: str) -> bool:
        """Count the place; return whether the fault is due."""
        place = (frame.f_code.co_filename[len(CONNECTOR) :], frame.f_lineno, call)
        self.reached[place] += 1
        point = Point(*place, self.reached[place])
        if self.point is None:
            self.points.append(point)
        if point != self.point or self.raised:
            return False
        self.raised = True
        return True


def scenario(root: Path, watch: Watch) -> Loop:
    """Run a connector through a restart, a refused report, one answered late, one never, and two good ones at last."""
    loop = Loop(root).remember()
    moving(loop)
    loop.run(INTERVAL + 1)
    loop.core.answers.extend([None, ConnectionRefusedError(), After(ANSWER_SECONDS + 1), None, Never(), None])
    loop.run(6 * INTERVAL, watch)
    loop.core.answers.clear()
    loop.run(2 * INTERVAL + 1)
    return loop


def check(loop: Loop) -> None:
    """Raise AssertionError unless reports went on, with increasing ids, and every byte was reported at least once."""
    moments = [loop.core.taken[0].moment, *(taken.moment for taken in loop.core.taken), loop.clock.monotonic()]
    pauses = [after - before for before, after in zip(moments, moments[1:])]
    assert max(pauses) <= 2 * (INTERVAL + ANSWER_SECONDS), pauses
    assert loop.core.ids == sorted(set(loop.core.ids)), loop.core.ids
    reported = total(loop.core.taken)
    passed = Counters(*(end - start for end, start in zip(loop.host.interfaces["eth0"], STEP)))
    # Never less. More, by a report that was sent again, only where the fault hid its acceptance.
    assert all(passed[column] <= reported[column] <= passed[column] + 4 * STEP[column] for column in range(4)), (
        reported,
        passed,
    )
    assert max(loop.calls_within(INTERVAL)) <= 8, loop.core.calls


def run_all(points: List[Point], directory: Callable[[int], Path]) -> Dict[Point, str]:
    """Run the scenario once for each point; return what went wrong where."""
    wrong: Dict[Point, str] = {}
    for number, point in enumerate(points):
        watch = Watch(point)
        try:
            check(scenario(directory(number), watch))
            assert watch.raised, "the place was not reached"
        except Exception as error:
            wrong[point] = f"{type(error).__name__}: {error}"
    return wrong
