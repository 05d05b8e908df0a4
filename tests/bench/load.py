"""Load: established TCP connections on loopback, half over IPv4, half over IPv6; and processes full of descriptors.

Number and time are limited, and everything ends with the process that asked for it, however that ends.
"""

from __future__ import annotations

import os
import resource
import select
import socket
import struct
import subprocess
import sys
from types import TracebackType
from typing import IO, List, Optional, Tuple, Type

MAX_SOCKETS = 60_000
LIFETIME = 900  # seconds
SPARE = 200  # descriptors that a process needs for itself


class Load:
    """Keep sockets or files open in other processes, as a context manager.

    sockets: established TCP sockets, both ends of a connection counted as in `ss -t`; rounded up to even
    descriptors: open files in one more process, at most as many as the limit of open files allows

    Raises RuntimeError if the machine does not allow it.
    """

    def __init__(self, sockets: int = 0, descriptors: int = 0, time_wait: int = 0) -> None:
        if not 0 <= sockets <= MAX_SOCKETS or not 0 <= time_wait <= MAX_SOCKETS:
            raise ValueError(f"{sockets} sockets and {time_wait} closed: 0 to {MAX_SOCKETS} are allowed")
        most = _limit()
        self.descriptors = min(descriptors, most)
        pairs = (sockets + 1) // 2
        self._shares = [("sockets", share) for share in _split(pairs, most // 2)]
        if time_wait:
            self._shares.append(("time_wait", time_wait))
        if descriptors:
            self._shares.append(("descriptors", self.descriptors))
        self._processes: List[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Load:
        try:
            for kind, count in self._shares:
                command = [sys.executable, "-I", os.path.abspath(__file__), kind, str(count)]
                self._processes.append(
                    subprocess.Popen(
                        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/"
                    )
                )
            for process in self._processes:
                if _pipe(process.stdout).readline() != b"ready\n":
                    reason = _pipe(process.stderr).read().decode("utf-8", "replace").strip()
                    raise RuntimeError(
                        "the load could not be made: " + (reason.splitlines() or ["no reason given"])[-1]
                    )
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], traceback: Optional[TracebackType]
    ) -> None:
        for process in self._processes:
            _pipe(process.stdin).close()
        for process in self._processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            _pipe(process.stdout).close()
            _pipe(process.stderr).close()
        self._processes.clear()


def _pipe(pipe: Optional[IO[bytes]]) -> IO[bytes]:
    assert pipe is not None
    return pipe


def _limit() -> int:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return (MAX_SOCKETS if hard == resource.RLIM_INFINITY else min(hard, MAX_SOCKETS)) - SPARE


def _split(total: int, most: int) -> List[int]:
    """Split a total into the fewest equal shares that are not over `most`."""
    shares = -(-total // most)
    return [(total + number) // shares for number in range(shares)]


def _connect(family: socket.AddressFamily, host: str, pairs: int) -> List[socket.socket]:
    """Return both ends of some connections; closing resets them, so that no TIME_WAIT is left for the next size."""
    ends = []
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind((host, 0))
        listener.listen(16)
        address = listener.getsockname()
        for _ in range(pairs):
            client = socket.socket(family, socket.SOCK_STREAM)
            client.connect(address)
            ends += [client, listener.accept()[0]]
            for end in ends[-2:]:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return ends


def _closed(family: socket.AddressFamily, host: str, count: int) -> None:
    """Open and close connections. The end that closes first stays in TIME_WAIT."""
    for begin in range(0, count, 10_000):  # a listener each, so that the ports of the other end suffice
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.bind((host, 0))
            listener.listen(16)
            for _ in range(min(10_000, count - begin)):
                with socket.socket(family, socket.SOCK_STREAM) as client:
                    client.connect(listener.getsockname())
                    accepted = listener.accept()[0]
                accepted.close()


def _families() -> List[Tuple[socket.AddressFamily, str]]:
    families = [(socket.AF_INET, "127.0.0.1")]
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as attempt:
            attempt.bind(("::1", 0))
        families.append((socket.AF_INET6, "::1"))
    except OSError:
        pass  # a machine without IPv6
    return families


def main(kind: str, count: int) -> None:
    """Keep pairs of sockets, or descriptors, open until stdin ends or LIFETIME is over."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (_limit() + SPARE, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    held: List[object] = []
    if kind == "sockets":
        families = _families()
        for number, (family, host) in enumerate(families):
            held += _connect(family, host, (count + number) // len(families))
    elif kind == "time_wait":
        families = _families()
        for number, (family, host) in enumerate(families):
            _closed(family, host, (count + number) // len(families))
    else:
        null = os.open(os.devnull, os.O_RDONLY)
        held += [os.dup(null) for _ in range(count)]
    print("ready", flush=True)
    select.select([sys.stdin], [], [], LIFETIME)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
