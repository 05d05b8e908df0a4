"""`net/tcp`, `net/tcp6`, `net/udp`, `net/udp6`: one row per socket (kernel: Documentation/networking/proc_net_tcp.rst).

       sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ...
        0: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 12345 ...

Under a flood of connections, reading these tables is most of the connector's cost. Formatting a row takes the kernel
about a microsecond. To add little to that, the states of a block's rows are counted as one slice, and only listeners
and the rows drawn for the sample are decoded. Memory holds one block, the sample, and 2 to 18 bytes a listening port.
"""

from __future__ import annotations

import os
import re
import sys
from functools import partial
from typing import TYPE_CHECKING, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from ..errors import TableError
from .ports import PortSet
from .proc import is_there, unreadable
from .sample import Reservoir
from .socket_rows import MAPPED, InterfaceOf, Listeners, Socket, Tcp, add_listeners

if TYPE_CHECKING:
    from .destinations import Destinations

# The second digit of the column `st`; the first is 0.
ESTABLISHED = b"1"
UNCONN = b"7"  # TCP_CLOSE: a UDP socket without a peer
LISTEN = b"A"

BLOCK_BYTES = 32768  # rows that are counted at once
PAGE_BYTES = 4096  # the kernel returns a page of whole rows at most, whatever is asked for

_HEADERS = ([b"sl", b"local_address", b"rem_address", b"st"], [b"sl", b"local_address", b"remote_address", b"st"])
_ROW = re.compile(
    rb" *[0-9]+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) [0-9A-F]{2} "
)


def read_tcp(
    net: str, sample: Reservoir[bytes], interface_of: InterfaceOf, destinations: Optional[Destinations] = None
) -> Tcp:
    """Read `tcp` and, where the host has IPv6, `tcp6` of the directory `net`.

    sample: filled with established rows. destinations: filled with the remote address of each.

    Raises TableError if a table can't be read to its end or has a malformed row. A part of a table is never used.
    """
    listeners: Dict[Optional[str], PortSet] = {}
    for name, digits in _tables(net, "tcp"):
        for lines in _blocks(name):
            states = _states(name, digits, lines)
            established = states.count(ESTABLISHED)
            sample.extend(established, partial(_numbered, lines, states, ESTABLISHED))
            if established and destinations is not None:
                _add_destinations(name, digits, _rows(lines, states, ESTABLISHED), destinations)
            if LISTEN in states:
                add_listeners((_decode(name, row) for row in _rows(lines, states, LISTEN)), interface_of, listeners)
    return Tcp(sample.seen, [_decode("tcp", row) for row in sample.items], listeners, destinations)


def read_udp(net: str, interface_of: InterfaceOf) -> Listeners:
    """Read `udp` and, where the host has IPv6, `udp6`: sockets without a peer. Raises TableError as `read_tcp` does."""
    listeners: Dict[Optional[str], PortSet] = {}
    for name, digits in _tables(net, "udp"):
        for lines in _blocks(name):
            states = _states(name, digits, lines)
            if UNCONN in states:
                add_listeners((_decode(name, row) for row in _rows(lines, states, UNCONN)), interface_of, listeners)
    return listeners


def _tables(net: str, name: str) -> List[Tuple[str, int]]:
    """Return the paths of a protocol's tables, with the number of digits of their addresses.

    A host without IPv6 has none of IPv6's files; if there is one, the table must be there too.
    """
    tables = [(os.path.join(net, name), 8)]
    if any(is_there(net, other) for other in (name + "6", "if_inet6", "sockstat6")):
        tables.append((os.path.join(net, name + "6"), 32))
    return tables


def _blocks(name: str) -> Iterator[bytes]:
    """Yield a table's rows, some whole lines at a time, without its header. Raises TableError."""
    block = memoryview(bytearray(BLOCK_BYTES))
    filled = 0  # bytes of the block
    header = True
    try:
        with open(name, "rb", buffering=0) as table:
            while True:
                count = table.readinto(block[filled:])
                filled += count or 0
                if count and filled <= BLOCK_BYTES - PAGE_BYTES:
                    continue
                lines = bytes(block[:filled])
                end = lines.rfind(b"\n") + 1
                if filled and not end:
                    raise _malformed(name, lines)
                rest = lines[end:]
                block[: len(rest)] = rest
                filled = len(rest)
                lines = lines[:end]
                if header and lines:
                    columns, lines = lines.split(b"\n", 1)
                    if columns.split()[:4] not in _HEADERS:
                        raise _malformed(name, columns)
                    header = False
                if lines:
                    yield lines
                if not count:
                    break
    except OSError as error:
        raise unreadable(name, error) from error
    if header or filled:
        raise TableError(f"{name}: cut short: {bytes(block[: min(filled, 160)])!r}")


def _states(name: str, digits: int, lines: bytes) -> bytes:
    """Return the second digit of each row's state. Raises TableError for a malformed row.

    `tcp` and `udp` pad their rows to one length, so a column is a slice. The rows of `tcp6` and `udp6` are first cut to
    the part from the ":" after the row number to the state, which has one length.
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
    if states is None:  # some row's number has more digits than the first row's
        states = _column(b"".join([row[row.find(b":") :][:width] for row in rows]), 0, width, digits)
    if states is None or len(states) != count:
        raise _malformed(name, next((row for row in rows if _ROW.match(row) is None), lines))
    return states


def _column(table: bytes, colon: int, width: int, digits: int) -> Optional[bytes]:
    """Return the second digits of the states of rows of one width; None if a row has other characters around it."""
    state = colon + len(": :ffff :ffff 0") + 2 * digits
    around = ((colon, b":"), (state - 2, b" "), (state - 1, b"0"), (state + 1, b" "))
    count, odd = divmod(len(table), width)
    if odd or any(table[place::width].count(byte) != count for place, byte in around):
        return None
    return table[state::width]


def _rows(lines: bytes, states: bytes, wanted: bytes) -> List[bytes]:
    """Return the rows in a state."""
    return [row for row, state in zip(lines.split(b"\n"), states) if state == wanted[0]]


def _numbered(lines: bytes, states: bytes, wanted: bytes) -> Callable[[int], bytes]:
    """Return what gives a row by its number among those in a state, for a few rows: it splits no block needlessly."""
    count = len(states)
    places: Sequence[int] = range(count)
    if states.count(wanted) < count:
        places = [place for place, state in enumerate(states) if state == wanted[0]]
    width = lines.find(b"\n") + 1
    if lines[width - 1 :: width] == b"\n" * count:
        return lambda number: lines[places[number] * width : places[number] * width + width - 1]
    rows = lines.split(b"\n")
    return lambda number: rows[places[number]]


def _add_destinations(name: str, digits: int, rows: List[bytes], destinations: Destinations) -> None:
    """Add the remote addresses of rows of one table. Raises TableError."""
    start = rows[0].find(b":") + len(": ") + digits + len(":ffff ")
    text = b"".join([row[start : start + digits + 1] for row in rows])
    if text[digits :: digits + 1].count(b":") < len(rows):  # not all row numbers have the same length
        places = [row.find(b":", row.find(b":") + 1) + len(":ffff ") for row in rows]
        text = b"".join([row[place : place + digits + 1] for row, place in zip(rows, places)])
    try:
        packed = bytes.fromhex(text.replace(b":", b"").decode("ascii"))
        if len(packed) != len(rows) * digits // 2:
            raise ValueError
    except ValueError:
        raise _malformed(name, next((row for row in rows if _ROW.match(row) is None), rows[0])) from None
    if sys.byteorder == "little":
        packed = _swapped(packed)
    (destinations.add_ipv4 if digits == 8 else destinations.add_ipv6)(packed)


def _swapped(packed: bytes) -> bytes:
    """Return the bytes with those of each 32-bit word in the opposite order."""
    swapped = bytearray(len(packed))
    for place in range(4):
        swapped[place::4] = packed[3 - place :: 4]
    return bytes(swapped)


def _decode(name: str, row: bytes) -> Socket:
    """Decode a row: b"   1: 0100007F:1F90 0100007F:C350 01 ..." is 127.0.0.1:8080 and 127.0.0.1:50000."""
    match = _ROW.match(row)
    if match is None:
        raise _malformed(name, row)
    local, local_port, remote, remote_port = match.groups()
    return Socket(_address(local), int(local_port, 16), _address(remote), int(remote_port, 16))


def _address(text: bytes) -> bytes:
    """Return the packed address of one that the kernel printed as 32-bit words, each in the machine's byte order."""
    packed = bytes.fromhex(text.decode("ascii"))
    if sys.byteorder == "little":
        packed = _swapped(packed)
    return packed[12:] if packed.startswith(MAPPED) else packed


def _malformed(name: str, row: bytes) -> TableError:
    return TableError(f"{name}: a row of unknown shape: {row[:160]!r}")
