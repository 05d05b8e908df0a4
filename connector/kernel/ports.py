"""A set of port numbers whose size is bounded: whoever may open sockets can't fill the function's memory with them."""

from __future__ import annotations

from typing import AbstractSet, Dict, Iterator


class PortSet(AbstractSet[int]):
    """Port numbers as bits, 256 to an integer: all 65,536 take some 30 KB, where a set of integers takes 6 MB."""

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
