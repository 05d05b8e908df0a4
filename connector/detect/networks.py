"""Networks in CIDR notation, and whether an address is in any of them."""

from __future__ import annotations

import socket
from bisect import bisect_right
from typing import Dict, Iterable, List, Tuple


class Networks:
    """IPv4 and IPv6 networks, searched by bisection: 1,000 of them cost an address about as much as one.

    Addresses are packed, 4 or 16 bytes in network order, which sort in the order of their numbers.
    """

    def __init__(self, cidrs: Iterable[str]) -> None:
        """Raises ValueError where one of them is not a CIDR."""
        ranges: Dict[int, List[Tuple[bytes, bytes]]] = {4: [], 16: []}
        for cidr in cidrs:
            first, last = address_range(cidr)
            ranges[len(first)].append((first, last))
        self._bounds = {size: _bounds(pairs) for size, pairs in ranges.items()}

    def __contains__(self, address: bytes) -> bool:
        return bisect_right(self._bounds[len(address)], address) & 1 == 1


def address_range(cidr: str) -> Tuple[bytes, bytes]:
    """Return the first and the last address of "10.0.0.0/8", "2001:db8::/32" or a single address, packed.

    Bits after the prefix are ignored, as the service ignores them. Raises ValueError.
    """
    address, slash, length = cidr.partition("/")
    try:
        packed = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    except (OSError, ValueError):  # ValueError: not ASCII, or a null character
        raise ValueError(f"{cidr} is not a CIDR") from None
    size = 8 * len(packed)
    if slash and not (length.isdigit() and length.isascii() and len(length) <= 3 and int(length) <= size):
        raise ValueError(f"{cidr} is not a CIDR")
    hosts = (1 << size - (int(length) if slash else size)) - 1
    number = int.from_bytes(packed, "big")
    return (number & ~hosts).to_bytes(len(packed), "big"), (number | hosts).to_bytes(len(packed), "big")


def _bounds(ranges: List[Tuple[bytes, bytes]]) -> List[bytes]:
    """Return where each merged range begins and ends: an address is inside where an odd number of bounds precede it.

    The end is the last address and a null byte: greater than that address, and less than the next one.
    """
    bounds: List[bytes] = []
    for first, last in sorted(ranges):
        end = last + b"\0"
        if bounds and first <= bounds[-1]:
            bounds[-1] = max(bounds[-1], end)
        else:
            bounds += (first, end)
    return bounds
