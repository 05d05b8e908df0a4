"""A clock that lets a test and the loop, on a thread of its own, take turns."""

from __future__ import annotations

import heapq
import threading
from typing import Callable

from support.loop import FakeClock, Killed

MAX_STEP_SECONDS = 60.0  # that the loop may take for its next step; a test that needs them has failed


class SteppedClock(FakeClock):
    """A clock whose waits let the test go on: of the test and the loop only one runs at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.running = self.killed = False
        self._due = 0.0
        self._resume, self._pause = threading.Semaphore(0), threading.Semaphore(0)

    def run(self, call: Callable[[], None]) -> None:
        """Run the call on a thread of its own until it first waits."""

        def body() -> None:
            try:
                call()
            except Killed:
                pass
            finally:
                self.running = False
                self._pause.release()

        self.running, self.killed = True, False
        threading.Thread(target=body, name="loop", daemon=True).start()
        assert self._pause.acquire(timeout=MAX_STEP_SECONDS)

    def wait(self, seconds: float) -> None:
        self._due = self._monotonic + seconds
        self._pause.release()
        assert self._resume.acquire(timeout=MAX_STEP_SECONDS)
        if self.killed:
            raise Killed

    def advance(self, seconds: float) -> None:
        """Let time pass, with all that happens in it."""
        end = self._monotonic + seconds
        while self.running:
            if not (self.woken or self.killed):
                if self._plan and self._plan[0][0] <= min(self._due, end):
                    moment, _, happen = heapq.heappop(self._plan)
                    self._monotonic = max(self._monotonic, moment)
                    happen()
                    continue
                if self._due > end:
                    break
                self._monotonic = max(self._monotonic, self._due)
            self.woken = False
            self._resume.release()
            assert self._pause.acquire(timeout=MAX_STEP_SECONDS)
        self._monotonic = max(self._monotonic, end)

    def end(self, kill: bool) -> None:
        """End what runs, as SIGKILL does or as SIGTERM."""
        self.killed = kill
        if not kill:
            self.stop()
        self.advance(2.0)
        assert not self.running

    def reboot(self, wall: float) -> None:
        """Start again: a monotonic clock some seconds after the boot, and a wall clock with any time."""
        self._monotonic = 10.0
        self._ahead = wall - 10.0
        self._plan.clear()
