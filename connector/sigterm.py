"""SIGTERM, with which a core stops a function: ends the process within 2 s, whatever its threads are waiting for."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any, Callable

# Seconds for the loop to end by itself: 0.5 for the answer to a report on its way, 1 for the transport to close. How
# long a core waits before it sends SIGKILL is not documented; the connector promises 2 s.
MAX_STOP_SECONDS = 1.5


def end_on_sigterm(stop: Callable[[], None], loop: threading.Thread) -> bool:
    """Have SIGTERM call `stop`, wait for the loop and end the process with code 0; return whether that is set up.

    Python runs a signal handler in the main thread when that next executes Python code; a runtime that is waiting for
    work in C may not do so for days. The number of a signal, however, is written to the wake-up descriptor at once
    (signal.set_wakeup_fd), and a thread waits for it there.

    Where the runtime has a handler of its own, it decides about the end; only `stop` is called. Only the main thread
    can set this up; any other gets False.
    """
    before = signal.getsignal(signal.SIGTERM)
    numbers, wake = os.pipe()
    os.set_blocking(wake, False)

    def write(number: int, frame: Any) -> None:
        """Write the number again: an event loop of the runtime may have replaced the wake-up descriptor since."""
        try:
            os.write(wake, bytes([number]))
        except BlockingIOError:  # the pipe is full, so the thread is awake
            pass

    try:
        # In this order, so that a signal between the two is not lost.
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, before if callable(before) else write)
    except ValueError:  # not the main thread
        os.close(numbers)
        os.close(wake)
        return False

    def watch() -> None:
        while signal.SIGTERM not in os.read(numbers, 64):
            pass
        stop()
        # Sleeps, not Thread.join(): see Clock on time-outs of locks.
        give_up = time.monotonic() + MAX_STOP_SECONDS
        while loop.is_alive() and time.monotonic() < give_up:
            time.sleep(0.02)
        if not callable(before):
            # Not sys.exit(), which ends this thread only. Log handlers write each record at once, so none is lost.
            os._exit(0)

    threading.Thread(target=watch, name="sigterm", daemon=True).start()
    return True
