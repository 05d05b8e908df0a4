"""`net/tcp`, `net/tcp6`, `net/udp`, `net/udp6`: a row a socket (kernel: Documentation/networking/proc_net_tcp.rst).

       sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ...
        0: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 12345 ...

Under a flood these tables are what costs. The kernel formats each row, about a microsecond, and no reader can avoid
that. So here the states of all rows of a block are taken as one slice and counted, and only what is used, the
listeners and the few rows drawn for the sample, is decoded. Nothing is held but one block, the sample and the
listening ports, a bit each.
"""

from __future__ import annotations

import os
import re
import sys
from functools import partial
from typing import AbstractSet, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from ..errors import TableError
from .ports import PortSet
from .proc import unreadable
from .sample import Reservoir

# The second digit of `st`; the first is 0.
ESTABLISHED = b"1"
UNCONN = b"7"  # TCP_CLOSE: of a UDP socket, that it has no peer
LISTEN = b"A"

# Asked for at once. The kernel hands out a page of whole rows, whatever is asked for.
BLOCK = 65536

_HEADERS = ([b"sl", b"local_address", b"rem_address", b"st"], [b"sl", b"local_address", b"remote_address", b"st"])
_ROW = re.compile(
    rb" *[0-9]+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) [0-9A-F]{2} "
)
_MAPPED = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96, an IPv4 peer of an IPv6 socket
_WILDCARDS = {bytes(4): "0.0.0.0", bytes(16): "::"}


class Socket(NamedTuple):
    """One row, decoded. Addresses are packed, 4 or 16 bytes; an IPv4 address mapped into IPv6 is the 4 bytes."""

    local: bytes
    local_port: int
    remote: bytes
    remote_port: int


class Established(NamedTuple):
    """Established TCP connections: how many there are, and a uniform sample of them."""

    total: int
    sample: List[Socket]


# Ports by the interface, or the wildcard address, that they are bound to; None where the interface is unknown.
Listeners = Mapping[Optional[str], AbstractSet[int]]

InterfaceOf = Callable[[bytes], Optional[str]]  # packed address -> name of the interface that owns it


class Tcp(NamedTuple):
    established: Established
    listeners: Listeners


def read_tcp(net: str, sample: Reservoir[bytes], interface_of: InterfaceOf) -> Tcp:
    """Read `tcp` and, where the host has IPv6, `tcp6` of the directory `net`.

    sample: takes the established rows; its size is the longest list.

    Raises TableError when a table can't be read to its end or a row has another shape: half a table is no table.
    """
    listeners: Dict[Optional[str], PortSet] = {}
    for name, digits in _tables(net, "tcp"):
        for lines in _blocks(name):
            states = _states(name, digits, lines)
            sample.extend(states.count(ESTABLISHED), partial(_rows, lines, states, ESTABLISHED))
            if LISTEN in states:
                _listen(name, _rows(lines, states, LISTEN), interface_of, listeners)
    return Tcp(Established(sample.seen, [_decode("tcp", row) for row in sample.items]), listeners)


def read_udp(net: str, interface_of: InterfaceOf) -> Listeners:
    """Read `udp` and, where the host has IPv6, `udp6`: the sockets without a peer. See `read_tcp`."""
    listeners: Dict[Optional[str], PortSet] = {}
    for name, digits in _tables(net, "udp"):
        for lines in _blocks(name):
            states = _states(name, digits, lines)
            if UNCONN in states:
                _listen(name, _rows(lines, states, UNCONN), interface_of, listeners)
    return listeners


def _tables(net: str, name: str) -> List[Tuple[str, int]]:
    """The tables of a protocol, with the number of digits of an address in them.

    A host without IPv6 has none of IPv6's files; that one of them is missing is a fault.
    """
    tables = [(os.path.join(net, name), 8)]
    if any(os.path.lexists(os.path.join(net, other)) for other in (name + "6", "if_inet6", "sockstat6")):
        tables.append((os.path.join(net, name + "6"), 32))
    return tables


def _blocks(name: str) -> Iterator[bytes]:
    """Yield the table without its header, some whole lines at a time."""
    header = True
    rest = b""
    try:
        with open(name, "rb", buffering=0) as table:
            while True:
                block = table.read(BLOCK)
                if not block:
                    break
                end = block.rfind(b"\n") + 1
                lines, rest = rest + block[:end], block[end:]
                if not end:
                    raise _odd(name, block)
                if header:
                    columns, lines = lines.split(b"\n", 1)
                    if columns.split()[:4] not in _HEADERS:
                        raise _odd(name, columns)
                    header = False
                if lines:
                    yield lines
    except OSError as error:
        raise unreadable(name, error) from error
    if header or rest:
        raise TableError(f"{name}: cut short: {rest[:160]!r}")


def _states(name: str, digits: int, lines: bytes) -> bytes:
    """Return the second digit of each row's state. Raises TableError where a row has another shape.

    `tcp` and `udp` pad their rows to one length, so a column is a slice at next to no cost. The rows of the others are
    first cut to the length that all have, from the ":" after the row's number, which grows, to the state.
    """
    count = lines.count(b"\n")
    width = lines.find(b"\n") + 1
    colon = lines.find(b":")
    if count * width == len(lines):
        states = _column(lines, colon, width, digits)
        if states is not None:
            return states
    rows = lines.split(b"\n")[:-1]
    width = len(": :ffff :ffff 00 ") + 2 * digits
    states = _column(b"".join([row[colon : colon + width] for row in rows]), 0, width, digits)
    if states is None:  # a row's number has one digit more than that of the first
        states = _column(b"".join([row[row.find(b":") :][:width] for row in rows]), 0, width, digits)
    if states is None or len(states) != count:
        raise _odd(name, next((row for row in rows if _ROW.match(row) is None), lines))
    return states


def _column(table: bytes, colon: int, width: int, digits: int) -> Optional[bytes]:
    """Return the column of the state's second digit of a table of rows of one width, or None if it is none.

    That each row has it there is shown by what stands around it.
    """
    state = colon + len(": :ffff :ffff 0") + 2 * digits
    around = ((colon, b":"), (state - 2, b" "), (state - 1, b"0"), (state + 1, b" "))
    count, odd = divmod(len(table), width)
    if odd or any(table[place::width].count(byte) != count for place, byte in around):
        return None
    return table[state::width]


def _rows(lines: bytes, states: bytes, wanted: bytes) -> List[bytes]:
    """Return the rows in a state."""
    return [row for row, state in zip(lines.split(b"\n"), states) if state == wanted[0]]


def _listen(name: str, rows: List[bytes], interface_of: InterfaceOf, listeners: Dict[Optional[str], PortSet]) -> None:
    for row in rows:
        socket = _decode(name, row)
        if socket.local_port:
            bound_to = _WILDCARDS.get(socket.local) or interface_of(socket.local)
            listeners.setdefault(bound_to, PortSet()).add(socket.local_port)


def _decode(name: str, row: bytes) -> Socket:
    """Decode b"   1: 0100007F:1F90 0100007F:C350 01 ...": 127.0.0.1:8080, 127.0.0.1:50000."""
    match = _ROW.match(row)
    if match is None:
        raise _odd(name, row)
    local, local_port, remote, remote_port = match.groups()
    return Socket(_address(local), int(local_port, 16), _address(remote), int(remote_port, 16))


def _address(text: bytes) -> bytes:
    """Pack an address that the kernel printed as 32-bit words, each in the machine's byte order."""
    packed = bytes.fromhex(text.decode("ascii"))
    if sys.byteorder == "little":
        packed = b"".join(packed[word : word + 4][::-1] for word in range(0, len(packed), 4))
    return packed[12:] if packed.startswith(_MAPPED) else packed


def _odd(name: str, row: bytes) -> TableError:
    return TableError(f"{name}: a row of unknown shape: {row[:160]!r}")
