"""Which interface has an address: `net/if_inet6`, `net/fib_trie` and `net/route`, or rtnetlink(7).

IPv6 addresses and their interfaces are in `if_inet6`. IPv4 has no such table. If this process shares the host's network
namespace, it asks rtnetlink, as getifaddrs(3) does. Otherwise only what `fib_trie` and `route` prove is used:
`fib_trie` lists the host's addresses without their interfaces, and `route` has networks with their interfaces, whether
the interface has an address there or the network is only routed to it (a VPN, PPP): address_proof.py.
"""

from __future__ import annotations

import re
import socket
import struct
from typing import Dict, Iterable, Iterator, Mapping, Optional, Tuple

from ..errors import TableError
from .dev import decode_name
from .netlink import attributes, dump, flagged, uninterrupted
from .proc import Proc, is_there, lines

# Packed address -> interface; None if several interfaces have it, as with link-local addresses.
Owners = Dict[bytes, Optional[str]]

# Per IP version. With more, sockets are reported without interface names: a function has 16 MB of memory by default.
MAX_ADDRESSES = 2048

_LOOPBACK = bytes(15) + b"\1"  # ::1


def read_ipv4_owners(proc: Proc) -> Owners:
    """Return the interfaces of the host's IPv4 addresses, as far as they are known. Raises TableError."""
    if proc.shared:
        return uninterrupted(lambda: _collect(ask_kernel()))
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


# rtnetlink(7), linux/rtnetlink.h
_RTM_NEWADDR, _RTM_GETADDR = 20, 22
_IFADDRMSG = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, length of the prefix, flags, scope, index
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_ATTRIBUTES = flagged(_IFA_ADDRESS, _IFA_LOCAL)


def ask_kernel() -> Iterator[Tuple[bytes, str]]:
    """Yield the IPv4 addresses of this process' network namespace with their interfaces.

    An address of several interfaces comes once for each. Raises TableError as `dump` does.
    """
    for kind, message in dump(socket.NETLINK_ROUTE, _RTM_GETADDR, _IFADDRMSG.pack(socket.AF_INET, 0, 0, 0, 0)):
        if kind == _RTM_NEWADDR:
            yield from _new_address(message)


def _new_address(message: bytes) -> Iterator[Tuple[bytes, str]]:
    if len(message) < _IFADDRMSG.size:
        raise TableError(f"netlink: an address of {len(message)} bytes")
    index = _IFADDRMSG.unpack_from(message)[4]
    found = attributes(message, _IFADDRMSG.size, _ATTRIBUTES)
    address = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)
    if address:
        try:
            yield address, socket.if_indextoname(index)
        except OSError:
            pass  # the interface was removed meanwhile
