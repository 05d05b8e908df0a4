"""Time for the loop: the wall clock, the monotonic clock, and a wait that another thread can end."""

from __future__ import annotations

import os
import select
import time

MAX_WAIT_SECONDS = 86_400.0  # poll(2) counts milliseconds in an int
MAX_SLEEP_SECONDS = 1.0


class Clock:
    """The real clock.

    stopped: bool, whether `stop` was called.

    The wait is poll(2) on a pipe, not a threading.Event: before Python 3.11 the time-out of a lock counts on the wall
    clock, so a device whose clock is set back by a day would sleep for that day.
    """

    def __init__(self) -> None:
        self.stopped = False
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        self._poll = select.poll()
        self._poll.register(self._wake_in, select.POLLIN)

    def time(self) -> float:
        """Return seconds since 1970, as far as the device knows."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds since the boot, which no change of the wall clock affects (Linux: CLOCK_MONOTONIC)."""
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        """Return after `seconds`, MAX_WAIT_SECONDS or `wake`, whichever comes first. May return early."""
        try:
            if self._poll.poll(1000.0 * min(MAX_WAIT_SECONDS, max(0.0, seconds))):
                os.read(self._wake_in, 4096)
        except OSError:  # somebody else in this process has closed the pipe: wait all the same, or the loop would spin
            time.sleep(min(MAX_SLEEP_SECONDS, max(0.0, seconds)))

    def wake(self) -> None:
        """End the wait, from any thread or signal handler."""
        try:
            os.write(self._wake_out, b"\0")
        except OSError:
            pass  # the pipe is full of wake-ups, of which one is enough, or closed

    def stop(self) -> None:
        """End the wait for good."""
        self.stopped = True
        self.wake()
