"""A state of the nucleus that lasts for some seconds, or until it is ended: hung, lost, silent."""

from __future__ import annotations

import math
import threading
from typing import Callable, Optional


class Span:
    """A state that is on or off; `bool(span)` says which.

    changed: notified when it begins and ends; also the lock
    on_end: called at each end, with the lock held
    """

    def __init__(self, changed: threading.Condition, on_end: Callable[[], None] = lambda: None) -> None:
        self._changed, self._on_end = changed, on_end
        self._timer: Optional[threading.Timer] = None
        self._is_on = False

    def __bool__(self) -> bool:
        return self._is_on

    def begin(self, seconds: float = math.inf) -> None:
        """Turn it on for some seconds from now; a time that was set before no longer counts."""
        with self._changed:
            self._stop_timer()
            self._is_on = True
            if seconds != math.inf:
                self._timer = threading.Timer(seconds, self._over)
                self._timer.daemon = True
                self._timer.start()
            self._changed.notify_all()

    def end(self) -> None:
        """Turn it off."""
        with self._changed:
            self._stop_timer()
            if self._is_on:
                self._is_on = False
                self._on_end()
                self._changed.notify_all()

    def _over(self) -> None:
        with self._changed:
            if self._timer is threading.current_thread():  # else it was begun again meanwhile
                self.end()

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = None
