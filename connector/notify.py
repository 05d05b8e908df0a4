"""sd_notify(3): tells systemd that the process is ready and alive, if systemd started it. Does not need libsystemd."""

from __future__ import annotations

import socket
from typing import Callable, Mapping

ALIVE = "WATCHDOG=1"
# systemd waits this long for the next ALIVE. One is sent with each reading, and one reading may be late or missing.
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
            pass  # reporting must not depend on it; systemd restarts a service that sends no ALIVE in time

    return tell


def ready(environ: Mapping[str, str], interval: int) -> str:
    """Return the first message: ready, and where the unit has a watchdog, one that fits the interval between readings.

    environ: WATCHDOG_USEC is set where the unit has WatchdogSec.
    """
    if "WATCHDOG_USEC" not in environ:
        return "READY=1"
    seconds = WATCHDOG_INTERVALS * interval + WATCHDOG_SPARE_SECONDS
    return f"READY=1\n{ALIVE}\nWATCHDOG_USEC={seconds * 10**6}"
