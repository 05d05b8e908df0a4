"""Which interface owns an address: from the kernel itself in our own network, else from the host's tables."""

from __future__ import annotations

import errno
import os
import re
import socket
import struct
import sys
from bisect import bisect_left, bisect_right
from typing import Dict, Iterable, Iterator, Optional, Set, Tuple

from ..errors import TableError
from .dev import decode_name
from .proc import Proc, lines

# Packed address -> interface; None where several interfaces have it (a link-local address may).
Owners = Dict[bytes, Optional[str]]

# A host of more addresses than this has its sockets reported without names: they must fit a function of 16 MB.
MOST_ADDRESSES = 2048

_LOOPBACK = bytes(15) + b"\1"  # ::1


def read_owners(proc: Proc) -> Owners:
    """Return the owners of the host's addresses. Raises TableError.

    IPv6 is in `if_inet6`. IPv4 has no such table: in the same network the kernel is asked, as getifaddrs(3) does;
    otherwise `fib_trie` has the addresses and `route` the networks that the interfaces are in.
    """
    owners: Owners = {}

    def add(pairs: Iterable[Tuple[bytes, str]]) -> None:
        for address, interface in pairs:
            owners[address] = interface if owners.get(address, interface) == interface else None
            if len(owners) > MOST_ADDRESSES:
                raise _too_many()

    if proc.shared:
        try:
            add(ask_kernel())
        except OSError as error:
            raise TableError(f"the kernel does not list its addresses: {error.strerror or error}") from error
    else:
        addresses = parse_fib_trie(lines(proc.net, "fib_trie"))
        add(by_route(addresses, parse_route(lines(proc.net, "route"))))
    if os.path.lexists(os.path.join(proc.net, "if_inet6")):  # a host without IPv6 has none
        add(parse_if_inet6(lines(proc.net, "if_inet6")))
    return owners


def owner(owners: Owners, address: bytes) -> Optional[str]:
    """Return the interface that owns a packed address, or None; all of 127.0.0.0/8 and ::1 is the loopback's."""
    if len(address) == 4 and address[0] == 127:
        return owners.get(address) or owners.get(b"\x7f\0\0\1") or "lo"
    if address == _LOOPBACK:
        return owners.get(address) or "lo"
    return owners.get(address)


def parse_if_inet6(table: Iterable[bytes]) -> Iterator[Tuple[bytes, str]]:
    """Parse rows such as `fe80000000000000024293fffe8f1c10 02 40 20 80     eth0`."""
    for line in table:
        fields = line.split()
        if len(fields) != 6 or not re.fullmatch(rb"[0-9a-f]{32}", fields[0]):
            raise TableError("if_inet6: a row of unknown shape: {!r}".format(line.rstrip(b"\n")[:160]))
        yield bytes.fromhex(fields[0].decode("ascii")), decode_name(fields[5])


Route = Tuple[int, int, str]  # network, mask, interface


def parse_route(table: Iterable[bytes]) -> Iterator[Route]:
    """Parse `route` (kernel: fib_route_seq_show): networks an interface is in, which is no route with a gateway."""
    rows = iter(table)
    next(rows, b"")
    for line in rows:
        fields = line.split()
        if len(fields) < 8 or not all(re.fullmatch(rb"[0-9A-F]{1,8}", fields[place]) for place in (1, 2, 3, 7)):
            raise TableError("route: a row of unknown shape: {!r}".format(line.rstrip(b"\n")[:160]))
        up, gateway, reject = 0x1, 0x2, 0x200
        if int(fields[3], 16) & (up | gateway | reject) == up and fields[0] != b"*":  # a blackhole has no interface
            yield _word(fields[1]), _word(fields[7]), decode_name(fields[0])


def parse_fib_trie(table: Iterable[bytes]) -> Set[int]:
    """Return the local addresses of `fib_trie`: a leaf is `|-- 192.0.2.5`, below it `/32 host LOCAL`."""
    found: Set[int] = set()
    leaf = b""
    for line in table:
        fields = line.split()
        if fields[:1] == [b"|--"]:
            leaf = fields[1] if len(fields) == 2 else b""
        elif fields == [b"/32", b"host", b"LOCAL"] and leaf:
            try:
                address = socket.inet_pton(socket.AF_INET, leaf.decode("ascii"))
            except (OSError, ValueError):
                raise TableError("fib_trie: a leaf of unknown shape: {!r}".format(line.rstrip(b"\n")[:160])) from None
            found.add(int.from_bytes(address, "big"))
            if len(found) > MOST_ADDRESSES:
                raise _too_many()
    return found


def by_route(addresses: Iterable[int], routes: Iterable[Route]) -> Iterator[Tuple[bytes, str]]:
    """Yield each address with the interface of the narrowest route that holds it; the default route says nothing.

    Where two interfaces are in the same network, the table does not tell whose the address is, and both are named: the
    caller sees that it is unknown.
    """
    known = sorted(addresses)
    narrowest: Dict[int, Tuple[int, Set[str]]] = {}
    for network, mask, name in routes:
        for number in known[bisect_left(known, network) : bisect_right(known, network | mask ^ 0xFFFFFFFF)]:
            best, names = narrowest.get(number, (1, set()))
            if mask >= best:
                narrowest[number] = (mask, names | {name} if mask == best else {name})
    for number, (_, names) in narrowest.items():
        for name in names:
            yield number.to_bytes(4, "big"), name


def _too_many() -> TableError:
    return TableError(f"the host has over {MOST_ADDRESSES} addresses")


# rtnetlink(7), netlink(7) and linux/rtnetlink.h
_GETADDR, _NEWADDR, _ERROR, _DONE = 22, 20, 2, 3
_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH
_IFA_ADDRESS, _IFA_LOCAL = 1, 2


def ask_kernel() -> Iterator[Tuple[bytes, str]]:
    """Yield the IPv4 addresses of this process' network and their interfaces. Raises OSError.

    It asks through rtnetlink(7), as getifaddrs(3) does.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(5.0)
        kernel.send(struct.pack("=IHHIIBBBBI", 24, _GETADDR, _DUMP, 1, 0, socket.AF_INET, 0, 0, 0, 0))
        while True:
            answer = kernel.recv(65536)
            while len(answer) >= 16:
                length, kind = struct.unpack_from("=IH", answer)
                if kind == _DONE:
                    return
                if kind == _ERROR or length < 16:
                    raise OSError(errno.EPROTO, "rtnetlink refuses")
                if kind == _NEWADDR:
                    yield from _new_address(answer[16:length])
                answer = answer[_aligned(length) :]


def _new_address(message: bytes) -> Iterator[Tuple[bytes, str]]:
    (index,) = struct.unpack_from("=I", message, 4)
    found: Dict[int, bytes] = {}
    place = 8
    while place + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, place)
        found[kind] = message[place + 4 : place + length]
        place += max(4, _aligned(length))
    address = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)
    if address:
        try:
            yield address, socket.if_indextoname(index)
        except OSError:
            pass  # the interface went while we asked


def _aligned(length: int) -> int:
    return (length + 3) & ~3


def _word(text: bytes) -> int:
    """A 32-bit network-order word that the kernel printed in the machine's byte order."""
    return int.from_bytes(int(text, 16).to_bytes(4, sys.byteorder), "big")
