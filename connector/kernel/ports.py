"""Listening ports in bounded memory: any local user may open sockets, and must not fill the function's memory."""

from __future__ import annotations

from typing import Iterable, Iterator

from ..errors import TableError

MAX_PORTS = 1 << 16  # in a PortSet


class PortSet:
    """Port numbers, each once for each key.

    Kept as sorted records of key and port: 65,536 ports without a key take 128 KB, where a set of integers takes 6 MB.

    key_bytes: the length of all keys.
    """

    __slots__ = ("_record_bytes", "_records")

    def __init__(self, key_bytes: int = 0) -> None:
        self._record_bytes = key_bytes + 2
        self._records = bytearray()

    def add(self, port: int, key: bytes = b"") -> None:
        """Add a port. Raises TableError for more than MAX_PORTS."""
        records, size = self._records, self._record_bytes
        record = key + port.to_bytes(2, "big")
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if records[middle * size : middle * size + size] < record:
                low = middle + 1
            else:
                high = middle
        place = low * size
        if records[place : place + size] == record:
            return
        if len(self) == MAX_PORTS:
            raise TableError(f"over {MAX_PORTS} listeners on addresses of unknown interfaces")
        records[place:place] = record

    def __contains__(self, port: object) -> bool:
        return any(port == other for other in self)

    def __iter__(self) -> Iterator[int]:
        records, size = self._records, self._record_bytes
        return (records[end - 2] << 8 | records[end - 1] for end in range(size, len(records) + 1, size))

    def __len__(self) -> int:
        return len(self._records) // self._record_bytes


class AllPorts:
    """The ports of several sets, one after the other, without a copy. A port that is in two sets comes twice."""

    __slots__ = ("_sets",)

    def __init__(self, sets: Iterable[PortSet]) -> None:
        self._sets = tuple(sets)

    def __contains__(self, port: object) -> bool:
        return any(port in ports for ports in self._sets)

    def __iter__(self) -> Iterator[int]:
        return (port for ports in self._sets for port in ports)

    def __len__(self) -> int:
        return sum(map(len, self._sets))
