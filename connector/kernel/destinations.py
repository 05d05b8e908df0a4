"""The remote address of every established connection, in bounded memory: 36,000 of them take 0.6 MB at most."""

from __future__ import annotations

import struct
from itertools import chain
from typing import Collection, Iterator, Tuple

from .socket_rows import MAPPED


class Destinations(Collection[bytes]):
    """Packed addresses, 4 or 16 bytes; an IPv4 address mapped into IPv6 has 4. One comes as often as it was added.

    Kept in one array a family: a bytes object an address would take 49 bytes or more, 36,000 of them 2 MB.
    """

    __slots__ = ("_ipv4", "_ipv6")

    def __init__(self) -> None:
        self._ipv4 = bytearray()
        self._ipv6 = bytearray()

    def add_ipv4(self, packed: bytes) -> None:
        """Add IPv4 addresses, 4 bytes each, one after the other."""
        self._ipv4 += packed

    def add_ipv6(self, packed: bytes) -> None:
        """Add IPv6 addresses, 16 bytes each, one after the other."""
        count = len(packed) // 16
        columns = [packed[place::16].count(value) for place, value in enumerate(MAPPED)]
        if min(columns) == count:  # all of them are mapped, as on a dual-stack server without IPv6 clients
            addresses = bytearray(4 * count)
            for place in range(4):
                addresses[place::4] = packed[12 + place :: 16]
            self._ipv4 += addresses
        elif columns[10] == 0 or columns[11] == 0:  # none of them is
            self._ipv6 += packed
        else:
            for (address,) in struct.iter_unpack("16s", packed):
                if address.startswith(MAPPED):
                    self._ipv4 += address[12:]
                else:
                    self._ipv6 += address

    def __contains__(self, address: object) -> bool:
        return any(address == other for other in self)

    def __iter__(self) -> Iterator[bytes]:
        ipv4: Iterator[Tuple[bytes]] = struct.iter_unpack("4s", self._ipv4)
        ipv6: Iterator[Tuple[bytes]] = struct.iter_unpack("16s", self._ipv6)
        return (address for (address,) in chain(ipv4, ipv6))

    def __len__(self) -> int:
        return len(self._ipv4) // 4 + len(self._ipv6) // 16
