"""sd_notify(3): tell systemd that the process is ready and alive, where systemd started it. Without its library."""

from __future__ import annotations

import socket
from typing import Callable, Mapping

# Between two signs of life: the loop gives one with each reading, which comes every interval.
WATCHDOG_INTERVALS = 2
WATCHDOG_SPARE_SECONDS = 300


def notifier(environ: Mapping[str, str]) -> Callable[[str], None]:
    """Return what sends a message to systemd, or does nothing where there is none.

    environ: NOTIFY_SOCKET has the path of its socket; "@" begins an abstract one.
    """
    path = environ.get("NOTIFY_SOCKET", "")
    if not path:
        return lambda message: None
    address = "\0" + path[1:] if path.startswith("@") else path

    def tell(message: str) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
                connection.setblocking(False)
                connection.sendto(message.encode("ascii"), address)
        except OSError:
            pass  # reporting must not depend on it; systemd acts where signs of life stay out

    return tell


def ready(interval: int) -> str:
    """Return the first message: ready, with a watchdog that fits an interval of so many seconds between readings."""
    seconds = WATCHDOG_INTERVALS * interval + WATCHDOG_SPARE_SECONDS
    return f"READY=1\nWATCHDOG=1\nWATCHDOG_USEC={seconds * 10**6}"
