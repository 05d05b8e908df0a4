"""Which interface has an address: `net/if_inet6`, `net/fib_trie` and `net/route`, or rtnetlink(7).

IPv6 addresses and their interfaces are in `if_inet6`. IPv4 has no such table. If this process shares the host's network
namespace, it asks rtnetlink, as getifaddrs(3) does. Otherwise only what `fib_trie` and `route` prove is used:
`fib_trie` lists the host's addresses without their interfaces, and `route` has networks with their interfaces, whether
the interface has an address there or the network is only routed to it (a VPN, PPP): address_proof.py.
"""

from __future__ import annotations

import errno
import re
import socket
import struct
from typing import Dict, Iterable, Iterator, Mapping, Optional, Tuple

from ..errors import TableError
from .dev import decode_name
from .proc import Proc, is_there, lines

# Packed address -> interface; None if several interfaces have it, as with link-local addresses.
Owners = Dict[bytes, Optional[str]]

# Per IP version. With more, sockets are reported without interface names: a function has 16 MB of memory by default.
MAX_ADDRESSES = 2048

_LOOPBACK = bytes(15) + b"\1"  # ::1


def read_ipv4_owners(proc: Proc) -> Owners:
    """Return the interfaces of the host's IPv4 addresses, as far as they are known. Raises TableError."""
    if proc.shared:
        try:
            return _collect(ask_kernel())
        except OSError as error:
            raise TableError(f"the kernel does not list its addresses: {error.strerror or error}") from error
    from .address_proof import parse_fib_trie, parse_route, prove_owners  # only here: not loaded in a shared network

    fib_trie = parse_fib_trie(lines(proc.net, "fib_trie"))
    return prove_owners(fib_trie, parse_route(lines(proc.net, "route")))


def read_ipv6_owners(proc: Proc) -> Owners:
    """Return the interfaces of the host's IPv6 addresses; empty for a host without IPv6. Raises TableError."""
    if not is_there(proc.net, "if_inet6"):
        return {}
    return _collect(parse_if_inet6(lines(proc.net, "if_inet6")))


def owner(owners: Mapping[bytes, Optional[str]], address: bytes) -> Optional[str]:
    """Return the interface of a packed address, or None. 127.0.0.0/8 and ::1 are always the loopback's."""
    if len(address) == 4 and address[0] == 127:
        return owners.get(address) or owners.get(b"\x7f\0\0\1") or "lo"
    if address == _LOOPBACK:
        return owners.get(address) or "lo"
    return owners.get(address)


def _collect(pairs: Iterable[Tuple[bytes, str]]) -> Owners:
    owners: Owners = {}
    for address, interface in pairs:
        owners[address] = interface if owners.get(address, interface) == interface else None
        if len(owners) > MAX_ADDRESSES:
            raise too_many()
    return owners


def parse_if_inet6(table: Iterable[bytes]) -> Iterator[Tuple[bytes, str]]:
    """Parse rows such as `fe80000000000000024293fffe8f1c10 02 40 20 80     eth0` (kernel: if6_seq_show)."""
    for line in table:
        fields = line.split()
        if len(fields) != 6 or not re.fullmatch(rb"[0-9a-f]{32}", fields[0]):
            raise malformed("if_inet6", line)
        yield bytes.fromhex(fields[0].decode("ascii")), decode_name(fields[5])


def malformed(table: str, line: bytes) -> TableError:
    """Return the TableError for a row that is not as in any kernel."""
    row = line.rstrip(b"\n")[:160]
    return TableError(f"{table}: a row of unknown shape: {row!r}")


def too_many() -> TableError:
    """Return the TableError for more than MAX_ADDRESSES addresses of one IP version."""
    return TableError(f"the host has over {MAX_ADDRESSES} addresses")


# rtnetlink(7), netlink(7) and linux/rtnetlink.h
_GETADDR, _NEWADDR, _ERROR, _DONE = 22, 20, 2, 3
_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RECEIVE_BYTES = 65536  # the kernel sends 32 KiB at a time at most


def ask_kernel() -> Iterator[Tuple[bytes, str]]:
    """Yield the IPv4 addresses of this process' network namespace with their interfaces. Raises OSError.

    An address of several interfaces comes once for each.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(5.0)
        kernel.send(struct.pack("=IHHIIBBBBI", 24, _GETADDR, _DUMP, 1, 0, socket.AF_INET, 0, 0, 0, 0))
        while True:
            answer = kernel.recv(_RECEIVE_BYTES)
            while len(answer) >= 16:
                length, kind = struct.unpack_from("=IH", answer)
                if kind == _ERROR or length < 16 or (kind == _DONE and any(answer[16:20])):
                    raise OSError(errno.EPROTO, "rtnetlink refuses")
                if kind == _DONE:
                    return
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
            pass  # the interface was removed meanwhile


def _aligned(length: int) -> int:
    return (length + 3) & ~3
