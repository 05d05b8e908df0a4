"""Sets of port numbers in bounded memory: any local user may open sockets, and must not fill the function's memory."""

from __future__ import annotations

from typing import AbstractSet, Collection, Dict, Iterator

from ..errors import TableError

MAX_UNNAMED_PORTS = 1 << 16


class PortSet(AbstractSet[int]):
    """Port numbers as bits, 256 to an integer: all 65,536 take about 30 KB, a set of integers 6 MB."""

    def __init__(self) -> None:
        self._bits: Dict[int, int] = {}  # port >> 8 -> one bit for each port

    def add(self, port: int) -> None:
        self._bits[port >> 8] = self._bits.get(port >> 8, 0) | 1 << (port & 255)

    def __contains__(self, port: object) -> bool:
        return isinstance(port, int) and bool(self._bits.get(port >> 8, 0) >> (port & 255) & 1)

    def __iter__(self) -> Iterator[int]:
        return (high << 8 | low for high, bits in self._bits.items() for low in range(256) if bits >> low & 1)

    def __len__(self) -> int:
        return sum(bin(bits).count("1") for bits in self._bits.values())


_RECORD_BYTES = 18  # an IPv6 address and a port
_MAPPED = bytes(10) + b"\xff\xff"


class UnnamedPorts(Collection[int]):
    """The ports of distinct pairs of address and port; a port is in it once for each address.

    Sorted records of 18 bytes, where a set takes 100 to a pair. Any user may bind to addresses that no interface has
    (ip(7), IP_FREEBIND), as many as there are.
    """

    def __init__(self) -> None:
        self._records = bytearray()

    def add(self, address: bytes, port: int) -> None:
        """Add a pair; address: 4 or 16 bytes. Raises TableError for more than MAX_UNNAMED_PORTS."""
        record = (_MAPPED + address)[-16:] + port.to_bytes(2, "big")
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            place = middle * _RECORD_BYTES
            if self._records[place : place + _RECORD_BYTES] < record:
                low = middle + 1
            else:
                high = middle
        place = low * _RECORD_BYTES
        if self._records[place : place + _RECORD_BYTES] == record:
            return
        if len(self) == MAX_UNNAMED_PORTS:
            raise TableError(f"over {MAX_UNNAMED_PORTS} listeners on addresses of unknown interfaces")
        self._records[place:place] = record

    def __contains__(self, port: object) -> bool:
        return any(port == other for other in self)

    def __iter__(self) -> Iterator[int]:
        records = self._records
        return (records[place] << 8 | records[place + 1] for place in range(16, len(records), _RECORD_BYTES))

    def __len__(self) -> int:
        return len(self._records) // _RECORD_BYTES
