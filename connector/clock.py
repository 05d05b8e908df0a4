"""Time as the loop sees it: two clocks, and a wait that can be ended."""

from __future__ import annotations

import os
import select
import time

DAY = 86400.0


class Clock:
    """The real clock.

    Its wait is poll(2) on a pipe, not a threading.Event: before Python 3.11 a lock's time-out counts on the wall clock,
    and a device whose clock is set back by a day would sleep for that day.
    """

    def __init__(self) -> None:
        self.stopped = False
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        self._poll = select.poll()
        self._poll.register(self._wake_in, select.POLLIN)

    def time(self) -> float:
        """Seconds since 1970, as far as the device knows."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since the boot, whatever is done to the wall clock (Linux: CLOCK_MONOTONIC)."""
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        """Return after `seconds`, a day, or `wake()`, whichever comes first."""
        if self._poll.poll(1000.0 * min(DAY, max(0.0, seconds))):
            os.read(self._wake_in, 4096)

    def wake(self) -> None:
        """End the wait, from any thread or signal handler."""
        try:
            os.write(self._wake_out, b"\0")
        except BlockingIOError:
            pass  # full of wake-ups: one is enough

    def stop(self) -> None:
        """End the wait, and say that there is nothing more to wait for."""
        self.stopped = True
        self.wake()
