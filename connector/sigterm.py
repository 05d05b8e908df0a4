"""SIGTERM, which is how a core stops a function: the process ends soon, whatever any of its threads waits for."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any, Callable

PATIENCE = 1.0  # seconds for the loop to end by itself; how long the core waits is not known


def end_on_sigterm(stop: Callable[[], None], loop: threading.Thread) -> bool:
    """Have SIGTERM call `stop`, wait a little for the loop and end the process with 0. Return whether it will.

    Python runs a handler in the main thread, when that next runs Python: a runtime that was just about to wait for work
    may not for days. The number of a signal, however, is written to the wake-up descriptor at once, and there a thread
    waits for it. Where the runtime has a handler of its own, the end is the runtime's; only `stop` is called.

    Only the main thread may do this (signal.signal); any other returns False.
    """
    before = signal.getsignal(signal.SIGTERM)
    numbers, wake = os.pipe()
    os.set_blocking(wake, False)

    def write(number: int, frame: Any) -> None:
        """Write the number once more: an event loop of the runtime's may have taken the wake-up descriptor since."""
        try:
            os.write(wake, bytes([number]))
        except BlockingIOError:  # full, so that the thread is awake
            pass

    try:
        # In this order: a signal between the two must not be lost.
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, before if callable(before) else write)
    except ValueError:
        os.close(numbers)
        os.close(wake)
        return False

    def watch() -> None:
        while signal.SIGTERM not in os.read(numbers, 64):
            pass
        stop()
        # Sleeps, not Thread.join(): see Clock on time-outs of locks.
        give_up = time.monotonic() + PATIENCE
        while loop.is_alive() and time.monotonic() < give_up:
            time.sleep(0.02)
        if not callable(before):
            # Not sys.exit(), which would end this thread only. A log handler writes each record at once: none is lost.
            os._exit(0)

    threading.Thread(target=watch, name="sigterm", daemon=True).start()
    return True
