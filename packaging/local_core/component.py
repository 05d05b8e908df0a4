"""The component's process as a nucleus runs it: a new token at each start, and again after a failure, up to a limit."""

from __future__ import annotations

import threading
import time
from collections import deque
from pathlib import Path
from typing import Callable, Deque, Dict, FrozenSet, List, Optional

from .function import Function
from .nuclei import MAX_STARTS, START_WINDOW_SECONDS, Times

JOIN_SECONDS = 0.05
RUNNING, STOPPED, FINISHED, BROKEN = "RUNNING", "STOPPED", "FINISHED", "BROKEN"


class Component:
    """Runs a command until its exit code is in `done`, it is stopped, or it has failed too often.

    command: program and arguments
    environment: returns all variables for a start, with a new token
    directory: to run in
    user: name of the user to run as; None for the present one
    on_print: called with each line that it prints
    on_log: called with what the nucleus would log
    on_change: called when `state` has changed
    clock: monotonic, seconds; how starts and failures are counted
    done, counts_failures: as in nuclei.py
    """

    def __init__(
        self,
        command: List[str],
        environment: Callable[[], Dict[str, str]],
        directory: Path,
        user: Optional[str],
        on_print: Callable[[str], None],
        on_log: Callable[[str], None],
        on_change: Callable[[], None],
        times: Times,
        clock: Callable[[], float] = time.monotonic,
        done: FrozenSet[int] = frozenset((0,)),
        counts_failures: bool = False,
    ) -> None:
        self.state = STOPPED
        self.exit_code: Optional[int] = None  # of the last process that has ended
        self.starts = 0
        self._command, self._environment, self._directory, self._user = command, environment, directory, user
        self._on_print, self._on_log, self._on_change = on_print, on_log, on_change
        self._times, self._clock, self._done = times, clock, done
        self._counts_failures = counts_failures
        self._recent: Deque[float] = deque(maxlen=MAX_STARTS)  # starts or failures
        self._process: Optional[Function] = None
        self._stopping = threading.Event()
        self._watcher: Optional[threading.Thread] = None

    @property
    def pid(self) -> int:
        """The id of the process, or of the last one."""
        assert self._process is not None, "the component was never started"
        return self._process.pid

    def start(self) -> None:
        """Start it, also where it is BROKEN or FINISHED. Raises LocalCoreError if the command can't be run."""
        self._stopping.clear()
        self._recent.clear()
        self._launch()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def stop(self) -> Optional[int]:
        """End it, with SIGTERM and then SIGKILL; return the exit code of its last process."""
        self._stopping.set()
        if self._watcher:
            while self._watcher.is_alive():
                # Looked at again and again: the watcher may be about to start another one.
                if self._process and self._process.exit_code is None:
                    self._process.stop()
                self._watcher.join(JOIN_SECONDS)
            self._watcher = None
        return self.exit_code

    def _launch(self) -> None:
        if not self._counts_failures:
            self._recent.append(self._clock())
        self.starts += 1
        self._process = Function(self._command, self._environment(), self._directory, self._user, self._on_print)
        self._become(RUNNING)

    def _watch(self) -> None:
        while True:
            assert self._process is not None
            self.exit_code = self._process.wait()
            if self._stopping.is_set():
                self._become(STOPPED)
                return
            if self.exit_code in self._done:
                self._on_log(f"the component has ended with code {self.exit_code} and is not started again")
                self._become(FINISHED)
                return
            if self._is_broken(self._clock()):
                each = "failures, each within an hour of the one before"
                counted = each if self._counts_failures else "starts within an hour"
                self._on_log(
                    f"the component has ended with code {self.exit_code}, after {MAX_STARTS} {counted}: "
                    "it is BROKEN and is not started again"
                )
                self._become(BROKEN)
                return
            self._on_log(f"the component has ended with code {self.exit_code} and is started again")
            if self._stopping.wait(self._times.restart):
                self._become(STOPPED)
                return
            self._launch()

    def _is_broken(self, now: float) -> bool:
        """Return whether a failure now is one too many."""
        if not self._counts_failures:
            return len(self._recent) == MAX_STARTS and now - self._recent[0] < START_WINDOW_SECONDS
        if self._recent and now - self._recent[-1] >= START_WINDOW_SECONDS:
            self._recent.clear()
        self._recent.append(now)
        return len(self._recent) == MAX_STARTS

    def _become(self, state: str) -> None:
        self.state = state
        self._on_change()
