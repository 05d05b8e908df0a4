"""Faults of a core for Lambda functions, on request, so that a function can be tested against them."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from typing import Callable, Deque, Tuple

from fault_kinds import CORE, parse

from .errors import LocalCoreError

TICK_SECONDS = 0.1  # between two checks whether the client of a waiting request is still connected


class Faults:
    """A queue of faults: each publish takes one, in the order added.

    Of the publishes that fail, only a `lost` one is delivered.

    refuse: closes the core's port for so many seconds. reopen: opens it before that
    """

    def __init__(self, refuse: Callable[[float], None], reopen: Callable[[], None]) -> None:
        self._refuse, self._reopen = refuse, reopen
        self._queue: Deque[str] = deque()
        self._releases = 0
        self._changed = threading.Condition()

    def add(self, kind: str, times: int = 1) -> None:
        """Make the next `times` publishes fail.

        kind: hang, status:503...: those of fault_kinds.CORE, without a number after them. `refuse` is not of a publish:
            the core's port is closed at once, for `times` seconds or until `release`. `full` is an error only where the
            publisher has asked for it; otherwise its message is dropped

        Raises LocalCoreError for any other kind.
        """
        try:
            known = parse(kind, CORE)[0] == kind
        except ValueError as error:
            raise LocalCoreError(str(error)) from error
        if not known:
            raise LocalCoreError(f"'{kind}' has a number: pass it as times")
        if kind == "refuse":
            self._refuse(times)
            return
        with self._changed:
            self._queue.extend([kind] * times)

    def take(self) -> Tuple[str, int]:
        """Return the fault of the present publish, "" if there is none, and for `hang` how many releases there were.

        The fault is removed from the queue.
        """
        with self._changed:
            fault = self._queue.popleft() if self._queue else ""
            self._changed.notify_all()
            return fault, self._releases

    def wait(self, timeout: float, left: int = 0) -> bool:
        """Wait until at most `left` faults are in the queue; return False where that takes over `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._queue) <= left, timeout)

    def hang(self, releases: int, wanted: Callable[[], bool], seconds: float = math.inf) -> None:
        """Keep a publish waiting until `release`, for at most `seconds`, and only while `wanted()` is true.

        releases: as `take` has returned it: a release between the two ends the wait as well
        """
        end = time.monotonic() + seconds
        with self._changed:
            while releases == self._releases and wanted() and time.monotonic() < end:
                self._changed.wait(TICK_SECONDS)

    def release(self) -> None:
        """Drop publishes that hang, and open a closed port."""
        self._reopen()
        with self._changed:
            self._releases += 1
            self._changed.notify_all()
