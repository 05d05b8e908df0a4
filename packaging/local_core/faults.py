"""Faults of a core, on request, so that a function can be tested against them; a real core has no such switch."""

from __future__ import annotations

import math
import re
import threading
import time
from collections import deque
from typing import Callable, Deque, Optional

from .errors import LocalCoreError

KINDS = ("hang", "reset", "lost", "cut", "slow", "full", "restart", "refuse")
TICK_SECONDS = 0.1  # how often what waits looks whether its client is still there


class Faults:
    """What goes wrong with the next publishes, one fault each, in the order added.

    A failed publish reaches nobody, but for a lost one.

    `refuse` takes the seconds for which the core's port is to be closed, `reopen` opens it before that.
    """

    def __init__(self, refuse: Callable[[float], None], reopen: Callable[[], None]) -> None:
        self._refuse, self._reopen = refuse, reopen
        self._queue: Deque[str] = deque()
        self._releases = 0
        self._changed = threading.Condition()

    def add(self, kind: str, times: int = 1) -> None:
        """Let a kind of fault befall the next `times` publishes.

        status:CODE: answered with that HTTP status, 400 to 599. redirect:PORT: answered 302, to that port of this
        machine, as by something else than a core. hang: accepted and never answered. reset: the
        connection is reset. lost: taken, and the connection is reset before the answer. cut: the answer ends in the
        middle of its first line. slow: taken after a second. full: the queue is full. restart: the core drops all
        connections and starts again on the same port. refuse: no matter of publishes, as nobody can count what is
        refused; the port is closed at once, for `times` seconds or until
        `release`. Raises LocalCoreError for any other kind.
        """
        if kind not in KINDS and not re.fullmatch("status:[45][0-9][0-9]|redirect:[0-9]{1,5}", kind):
            raise LocalCoreError(
                f"there is no fault '{kind}'; there are {', '.join(KINDS)}, status:CODE and redirect:PORT"
            )
        if kind == "refuse":
            self._refuse(times)
            return
        with self._changed:
            self._queue.extend([kind] * times)

    def take(self) -> Optional[str]:
        """Return the fault of the publish at hand, if it has one."""
        with self._changed:
            fault = self._queue.popleft() if self._queue else None
            self._changed.notify_all()
            return fault

    def wait(self, timeout: float, left: int = 0) -> bool:
        """Wait until all faults but `left` have befallen a publish; return whether `timeout` seconds were enough."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._queue) <= left, timeout)

    def hang(self, wanted: Callable[[], bool], seconds: float = math.inf) -> None:
        """Keep a publish waiting until `release`, or for so long, or until it is not wanted any more."""
        end = time.monotonic() + seconds
        with self._changed:
            releases = self._releases
            while releases == self._releases and wanted() and time.monotonic() < end:
                self._changed.wait(TICK_SECONDS)

    def release(self) -> None:
        """End what lasts: a publish that hangs is dropped, a closed port is opened."""
        self._reopen()
        with self._changed:
            self._releases += 1
            self._changed.notify_all()
