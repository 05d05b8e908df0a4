"""sock_diag(7), which `ss` asks: the sockets of this process' own network, binary rows of the states asked for.

It tells what the tables `net/tcp`, `net/tcp6`, `net/udp` and `net/udp6` tell (sockets.py), at half their cost or less:
the kernel formats no text, and rows in other states, which a flood leaves behind by the thousand (SYN_RECV, TIME_WAIT),
never reach this process. As in sockets.py, the states of a block's rows are counted as one slice, and only the rows
that listen or are drawn for the sample are decoded. One block, 32 KB, is held at a time.
"""

from __future__ import annotations

import socket
import struct
from functools import partial
from typing import TYPE_CHECKING, Callable, Dict, Iterator, List, Optional, Tuple

from .netlink import NetlinkUnavailable, blocks
from .ports import PortSet
from .sample import Reservoir
from .socket_rows import MAPPED, InterfaceOf, Listeners, Socket, Tcp, add_listeners

if TYPE_CHECKING:
    from .destinations import Destinations

# linux/netlink.h, linux/sock_diag.h; the states are those of net/tcp_states.h
_NETLINK_SOCK_DIAG = 4
_MULTI = 0x2
_DONE, _SOCK_DIAG_BY_FAMILY = 3, 20
_ESTABLISHED, _UNCONN, _LISTEN = 1, 7, 10

# struct nlmsghdr: length, type, flags, sequence number, port id.
_HEADER = struct.Struct("=IHHII")
# struct inet_diag_req_v2: family, protocol, extensions, states, and an empty socket id.
_QUERY = struct.Struct("=BBBxI48x")
# A row, header included; of struct inet_diag_msg: family, state, ports, addresses, device.
_ROW = struct.Struct("=16xBB2x2s2s16s16sI")
_STATE = 17  # the offset of the state in a row
_REMOTE = 40  # the offset of the remote address, 16 bytes of which IPv4 uses the first 4

# Query one family and protocol for some states, and get the kernel's answer block by block. Raises OSError.
Ask = Callable[[int, int, int], Iterator[bytes]]


def read_tcp(
    sample: Reservoir[bytes],
    interface_of: InterfaceOf,
    ask: Optional[Ask] = None,
    destinations: Optional[Destinations] = None,
) -> Tcp:
    """Return what sockets.read_tcp() returns, from the kernel. Raises NetlinkUnavailable."""
    listeners: Dict[Optional[str], PortSet] = {}
    for family in (socket.AF_INET, socket.AF_INET6):
        wanted = 1 << _ESTABLISHED | 1 << _LISTEN
        for states, row in _answer(ask or ask_kernel, family, socket.IPPROTO_TCP, wanted):
            established = states.count(_ESTABLISHED)
            sample.extend(established, partial(_numbered, _ESTABLISHED, states, row))
            if established and destinations is not None:
                _add_destinations(family, _in_state(_ESTABLISHED, states, row), destinations)
            if established < len(states):
                add_listeners(map(decode, _in_state(_LISTEN, states, row)), interface_of, listeners)
            del row  # it holds the block
    return Tcp(sample.seen, [decode(row) for row in sample.items], listeners, destinations)


def read_udp(interface_of: InterfaceOf, ask: Optional[Ask] = None) -> Listeners:
    """Return what sockets.read_udp() returns, from the kernel. Raises NetlinkUnavailable."""
    listeners: Dict[Optional[str], PortSet] = {}
    for family in (socket.AF_INET, socket.AF_INET6):
        for states, row in _answer(ask or ask_kernel, family, socket.IPPROTO_UDP, 1 << _UNCONN):
            add_listeners(map(decode, _in_state(_UNCONN, states, row)), interface_of, listeners)
            del row
    return listeners


def _add_destinations(family: int, rows: List[bytes], destinations: Destinations) -> None:
    """Add the remote addresses of rows of one family."""
    length = 4 if family == socket.AF_INET else 16
    packed = b"".join([row[_REMOTE : _REMOTE + length] for row in rows])
    (destinations.add_ipv4 if family == socket.AF_INET else destinations.add_ipv6)(packed)


def decode(row: bytes) -> Socket:
    """Decode one row of the answer, header included."""
    family, _, local_port, remote_port, local, remote, device = _ROW.unpack_from(row)
    return Socket(
        _address(family, local),
        int.from_bytes(local_port, "big"),
        _address(family, remote),
        int.from_bytes(remote_port, "big"),
        device,
    )


def _address(family: int, packed: bytes) -> bytes:
    if family == socket.AF_INET:
        return packed[:4]
    return packed[12:] if packed.startswith(MAPPED) else packed


Row = Callable[[int], bytes]  # a row of a block, by its number


def _in_state(wanted: int, states: bytes, row: Row) -> List[bytes]:
    return [row(place) for place, state in enumerate(states) if state == wanted]


def _numbered(wanted: int, states: bytes, row: Row) -> Row:
    """Return a function from a number to that row of those in a state."""
    if states.count(wanted) == len(states):
        return row
    places = [place for place, state in enumerate(states) if state == wanted]
    return lambda number: row(places[number])


def _answer(ask: Ask, family: int, protocol: int, wanted: int) -> Iterator[Tuple[bytes, Row]]:
    """Yield block by block the rows' states, a byte each, and what gives a row by its number.

    wanted: a bit for each state. Raises NetlinkUnavailable unless the answer came to its end with status 0: a kernel
    that has no handler for a protocol answers with no rows and status -2, which must not be read as "no sockets".
    """
    try:
        for block in ask(family, protocol, wanted):
            states, row, done = parse(block)
            if states:
                yield states, row
            if done:
                return
            del block, row  # before the next block comes
    except OSError as error:
        raise NetlinkUnavailable(f"sock_diag: {error.strerror or error}") from error
    raise NetlinkUnavailable("sock_diag: the answer has no end")


def ask_kernel(family: int, protocol: int, wanted: int) -> Iterator[bytes]:
    """Yield the kernel's answer block by block, without an end of its own. Raises OSError."""
    return blocks(_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _QUERY.pack(family, protocol, 0, wanted))


def parse(block: bytes) -> Tuple[bytes, Row, bool]:
    """Return the rows' states, what gives a row by its number, and whether the answer is complete.

    Established connections have rows of one length, so a whole block is checked and counted with a few slices. Raises
    NetlinkUnavailable.
    """
    if len(block) >= _ROW.size:
        width, kind, flags, _, _ = _HEADER.unpack_from(block)
        is_row = kind == _SOCK_DIAG_BY_FAMILY and flags == _MULTI and width >= _ROW.size and not width % 4
        if is_row and not len(block) % width:
            count = len(block) // width
            if all(block[place::width].count(block[place]) == count for place in range(8)):
                return block[_STATE::width], lambda number: block[number * width : (number + 1) * width], False
    rows, done = _walk(block)
    return bytes(row[_STATE] for row in rows), rows.__getitem__, done


def _walk(block: bytes) -> Tuple[List[bytes], bool]:
    """Return a block's rows, whose lengths differ, and whether the answer ends with it. Raises NetlinkUnavailable."""
    rows: List[bytes] = []
    place = 0
    while place < len(block):
        if len(block) - place < _HEADER.size + 4:
            raise NetlinkUnavailable("sock_diag: a message that is cut short")
        length, kind, flags, _, _ = _HEADER.unpack_from(block, place)
        if kind == _DONE:
            (status,) = struct.unpack_from("=i", block, place + _HEADER.size)
            if status:
                raise NetlinkUnavailable(f"sock_diag: the kernel ended its answer with status {status}")
            return rows, True
        if kind != _SOCK_DIAG_BY_FAMILY or flags != _MULTI or not _ROW.size <= length <= len(block) - place:
            raise NetlinkUnavailable(f"sock_diag: an unexpected message: type {kind}, flags {flags}, {length} bytes")
        rows.append(block[place : place + length])
        place += (length + 3) & ~3
    return rows, False
