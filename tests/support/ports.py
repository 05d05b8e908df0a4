"""Ports of loopback for servers that can't choose one themselves, or that are away for a while."""

from __future__ import annotations

import random
import socket
from typing import Iterator, List

# Below those that Linux gives to clients, and to whoever asks for any port.
FIRST, LAST, BLOCK = 20_000, 32_000, 50

_marks: List[socket.socket] = []


def free_port() -> int:
    """Return a port that nothing uses and that no other process of the tests gets: it stays free for its server."""
    for port in _own:
        with socket.socket() as attempt:
            try:
                attempt.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError(f"no free port from {FIRST} to {LAST}")


def _ports() -> Iterator[int]:
    """Yield ports of blocks that are this process' until it ends: a name for each in Linux's abstract namespace."""
    for first in random.Random().sample(range(FIRST, LAST, BLOCK), (LAST - FIRST) // BLOCK):
        mark = socket.socket(socket.AF_UNIX)
        try:
            mark.bind(f"\0device-defender-connector tests, ports from {first}")
        except OSError:  # another process'
            mark.close()
            continue
        _marks.append(mark)
        yield from range(first, first + BLOCK)


_own = _ports()
