"""Network namespaces with interfaces, sockets and traffic, to record a kernel's tables in."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
from pathlib import Path
from typing import List, Tuple

CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


class Network:
    """A network namespace; inside `with`, processes are started and sockets opened in it."""

    def __init__(self) -> None:
        self._came_from = [_namespace()]
        check(libc.unshare(CLONE_NEWNET))
        self._inside = _namespace()
        # Addresses are usable at once, and the kernel sends nothing by itself.
        for family in ("all", "default"):
            for name in ("accept_dad", "router_solicitations", "accept_ra"):
                Path("/proc/sys/net/ipv6/conf", family, name).write_text("0")
        ip("link set lo up")
        self.__exit__()

    def __enter__(self) -> Network:
        self._came_from.append(_namespace())
        check(libc.setns(self._inside, CLONE_NEWNET))
        return self

    def __exit__(self, *_: object) -> None:
        before = self._came_from.pop()
        check(libc.setns(before, CLONE_NEWNET))
        os.close(before)

    def path(self) -> str:
        return f"/proc/{os.getpid()}/fd/{self._inside}"


def _namespace() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY)


def check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def ip(arguments: str) -> None:
    subprocess.run(["ip", *arguments.split()], check=True)


_cables = 0


def cable(name: str, outside: Network, *addresses: str, far: Tuple[str, ...] = ()) -> str:
    """Make an interface in the current namespace, with its other end in another one; return that end's name."""
    global _cables
    _cables += 1
    other = f"far{_cables}"
    ip(
        f"link add {name} address 02:00:5e:00:53:{_cables:02x} type veth "
        f"peer name {other} address 02:00:5e:00:54:{_cables:02x}"
    )
    ip(f"link set {other} netns {outside.path()}")
    ip(f"link set {name} up")
    for address in addresses:
        ip(f"address add {address} dev {name}")
    with outside:
        ip(f"link set {other} up")
        for address in far:
            ip(f"address add {address} dev {other}")
    return other


kept: List[socket.socket] = []  # open until the tables are copied


def opened(kind: int, address: str, port: int, only6: bool = True) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(only6))
    made.bind(socket.getaddrinfo(address, port, family, kind)[0][4])
    kept.append(made)
    return made


def listen(address: str, port: int, only6: bool = True) -> socket.socket:
    made = opened(socket.SOCK_STREAM, address, port, only6)
    made.listen(8)
    return made


def udp(address: str, port: int, only6: bool = True) -> socket.socket:
    return opened(socket.SOCK_DGRAM, address, port, only6)


def call(address: str, port: int, server: socket.socket, to: str, to_port: int) -> Tuple[socket.socket, socket.socket]:
    """Connect from the current namespace to a listener; return both sides."""
    client = opened(socket.SOCK_STREAM, address, port)
    client.settimeout(5)
    client.connect(socket.getaddrinfo(to, to_port, client.family, socket.SOCK_STREAM)[0][4])
    served = server.accept()[0]
    kept.append(served)
    return client, served


def talk(sides: Tuple[socket.socket, socket.socket], there: int, back: int) -> None:
    """Send so many bytes through a connection, and so many back."""
    for sender, receiver, size in ((sides[0], sides[1], there), (sides[1], sides[0], back)):
        sender.sendall(b"x" * size)
        while size:
            size -= len(receiver.recv(65536))


def send(address: str, count: int, size: int) -> None:
    """Send so many datagrams of so many bytes to a port without a listener."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        for _ in range(count):
            made.sendto(b"x" * size, (address, 9))
