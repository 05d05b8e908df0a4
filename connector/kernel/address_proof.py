"""Which interface has an IPv4 address, as far as `net/fib_trie` and `net/route` prove it."""

from __future__ import annotations

import re
import socket
import sys
from bisect import bisect_left
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple

from ..errors import TableError
from .addresses import MAX_ADDRESSES, Owners, malformed, too_many
from .dev import decode_name

MAX_BROADCAST_ADDRESSES = 3 * MAX_ADDRESSES  # kernels before 5.14 add a network's first address as well

_ALL_ONES = 0xFFFFFFFF


class Route(NamedTuple):
    """A row of `route`.

    network, mask: IPv4 addresses as integers.
    gateway: the next hop's address, 0 if the network is reached directly.
    interface: its name.
    """

    network: int
    mask: int
    gateway: int
    interface: str


def parse_route(table: Iterable[bytes]) -> Iterator[Route]:
    """Parse `route` (kernel: fib_route_seq_show): the main routing table, without routes that are down or reject."""
    rows = iter(table)
    next(rows, b"")
    for line in rows:
        fields = line.split()
        if len(fields) < 8 or not all(re.fullmatch(rb"[0-9A-F]{1,8}", fields[place]) for place in (1, 2, 3, 7)):
            raise malformed("route", line)
        flags, up, via_gateway, reject = int(fields[3], 16), 0x1, 0x2, 0x200
        if flags & (up | reject) == up and fields[0] != b"*":  # "*": a blackhole, which has no interface
            # An IPv6 gateway is printed as 0.
            gateway = (_word(fields[2]) or _ALL_ONES) if flags & via_gateway else 0
            yield Route(_word(fields[1]), _word(fields[7]), gateway, decode_name(fields[0]))


class FibTrie(NamedTuple):
    """What `fib_trie` says of the host's addresses, which are integers here.

    local: each address of the host -> how many interfaces have it.
    broadcast: each network's broadcast address -> how many interfaces are in such a network.
    """

    local: Dict[int, int]
    broadcast: Dict[int, int]


def parse_fib_trie(table: Iterable[bytes]) -> FibTrie:
    """Parse `fib_trie` (kernel: fib_trie_seq_show).

    Below a leaf, `|-- 192.0.2.5`, there is a line for each route to it: `/32 host LOCAL` for each interface that has
    the address, `/32 link BROADCAST` for each that is in a network of which it is the broadcast address. The tables
    `Main:` and `Local:` are printed with the same content until routing rules are added. Other tables, such as
    `Id 10:`, are those of VRFs, whose networks `route` does not list; their addresses count.
    """
    local: Dict[int, int] = {}
    in_vrfs: Dict[int, int] = {}
    broadcast: Dict[int, int] = {}
    loopback: Set[int] = set()
    leaf = leaf_local = leaf_broadcast = 0
    vrf = False
    for line in table:
        fields = line.split()
        if fields[:1] == [b"|--"]:
            leaf, leaf_local, leaf_broadcast = _leaf(line, fields), 0, 0
        elif fields == [b"/32", b"host", b"LOCAL"]:
            leaf_local += 1
            if vrf:
                in_vrfs[leaf] = in_vrfs.get(leaf, 0) + 1
            else:
                local[leaf] = max(local.get(leaf, 0), leaf_local)
            if len(local) + len(in_vrfs) > MAX_ADDRESSES:
                raise too_many()
        elif fields == [b"/32", b"link", b"BROADCAST"] and not vrf:
            leaf_broadcast += 1
            broadcast[leaf] = max(broadcast.get(leaf, 0), leaf_broadcast)
            if len(broadcast) > MAX_BROADCAST_ADDRESSES:
                raise too_many()
        elif len(fields) == 3 and fields[1:] == [b"host", b"LOCAL"] and re.fullmatch(rb"/[0-9]{1,2}", fields[0]):
            loopback.add(leaf | _ALL_ONES >> int(fields[0][1:]))
            if len(loopback) > MAX_BROADCAST_ADDRESSES:
                raise too_many()
        elif fields and line[:1] != b" ":
            vrf = fields[0] not in (b"Main:", b"Local:")
    for address, count in in_vrfs.items():
        local[address] = local.get(address, 0) + count
    # A network of the loopback's has a broadcast address, too, but no row in `route`.
    return FibTrie(local, {last: count for last, count in broadcast.items() if last not in loopback})


def prove_owners(fib_trie: FibTrie, routes: Iterable[Route]) -> Owners:
    """Return the interfaces of those addresses whose interface the tables prove.

    An interface with an address in a network of 4 or more addresses adds the network's broadcast address to
    `fib_trie`; a mere route to the network does not (kernel: fib_add_ifaddr). So an address belongs to an interface if

    - `route` has a network with that interface, without a gateway, and nothing else there ends at the same address;
    - exactly one interface added the network's broadcast address;
    - no gateway in the network is reached by another interface, unless by a smaller network of its own;
    - it is the only address in the network, except those that are proven to be another interface's. Of two addresses,
      one may be an address of its own (/32) of any interface.

    Common cases that stay unproven: secondary addresses, interfaces in the same network, links to one peer.

    Two rare cases can give a wrong name, as the tables look the same: an address whose whole network is routed to
    another interface instead of its own (`noprefixroute`) while no gateway is in it; and an interface that has a peer
    in a network of 4 or more addresses, in which one other interface has an address.
    """
    names: Dict[str, str] = {}  # each name once in memory
    networks: Dict[int, Optional[Tuple[int, str]]] = {}  # last address -> number of addresses - 1, interface
    gateways: Set[Tuple[int, str]] = set()
    for route in routes:
        interface = names.setdefault(route.interface, route.interface)
        size = route.mask ^ _ALL_ONES
        last = route.network | size
        if route.gateway:
            gateways.add((route.gateway, interface))
            if len(gateways) > MAX_ADDRESSES:
                raise TableError(f"route: over {MAX_ADDRESSES} gateways")
        elif fib_trie.broadcast.get(last) == 1 and size >= 3 and last >> 24 not in (127, 255):
            network = (size, interface)
            networks[last] = network if networks.get(last, network) == network else None

    owners: Dict[int, Optional[str]] = dict.fromkeys(fib_trie.local)
    addresses, hops = sorted(owners), sorted(gateways)
    explained: Set[Tuple[int, str]] = set()  # gateways that are in a network of their interface
    for last in sorted(networks, key=lambda last: networks[last] or (0, "")):  # the smallest first
        proven = networks[last]
        if proven is None:
            continue
        size, interface = proven
        first = last - size
        inside = hops[bisect_left(hops, (first, "")) : bisect_left(hops, (last + 1, ""))]
        explained.update(hop for hop in inside if hop[1] == interface)
        if not explained.issuperset(inside):
            continue
        known = addresses[bisect_left(addresses, first) : bisect_left(addresses, last + 1)]
        left = [address for address in known if owners[address] in (None, interface)]
        if len(left) == 1 and fib_trie.local[left[0]] == 1:
            owners[left[0]] = interface
        elif not left:  # this interface is in the network too, so a smaller network proved too much
            owners.update(dict.fromkeys(known))
    return {address.to_bytes(4, "big"): name for address, name in owners.items() if name}


def _leaf(line: bytes, fields: List[bytes]) -> int:
    try:
        return int.from_bytes(socket.inet_pton(socket.AF_INET, fields[1].decode("ascii")), "big")
    except (OSError, ValueError, IndexError):
        raise malformed("fib_trie", line) from None


def _word(text: bytes) -> int:
    """A 32-bit network-order word that the kernel printed in the machine's byte order."""
    return int.from_bytes(int(text, 16).to_bytes(4, sys.byteorder), "big")
