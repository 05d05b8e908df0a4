"""The interfaces of this process' own network namespace, from rtnetlink(7): exact where the tables leave doubts.

One dump has each interface's index, name, counters and what it lies over, so none of them can belong to another one.
"""

from __future__ import annotations

import functools
import socket
import struct
from typing import Callable, Dict, Iterator, List, Mapping, Optional, Set, Tuple

from ..errors import TableError
from .dev import MAX_INTERFACES, Counters, decode_name, too_many
from .edge import Interfaces, Lower, multiplexed
from .netlink import Attributes, NetlinkUnavailable, attributes, dump, flagged, uninterrupted

# linux/rtnetlink.h, linux/if_link.h
_RTM_NEWLINK, _RTM_GETLINK = 16, 18
_IFLA_IFNAME, _IFLA_LINK, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_STATS64 = 3, 5, 10, 18, 23
_IFLA_EXT_MASK, _IFLA_LINK_NETNSID = 29, 37
_IFLA_INFO_KIND = 1
_ATTRIBUTES = flagged(_IFLA_IFNAME, _IFLA_LINK, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_STATS64, _IFLA_LINK_NETNSID)
_KIND = flagged(_IFLA_INFO_KIND)
_RTEXT_FILTER_SKIP_STATS = 8
_IFINFOMSG_BYTES = 16

# IFLA_LINK of these is the other end of a cable, not an interface that carries their traffic.
_CABLES = frozenset({"veth", "netkit", "vxcan"})
# What these carry passed one of their members, or is redirected from an interface that has counted it.
_NEVER_LOWEST = frozenset({"bridge", "vrf", "ifb"})
# Ports of a bridge that lead to a container or a virtual machine, where they are excluded: not the device's edge.
_GUESTS = ("veth", "vnet", "tap", "lxc", "cali", "vb-", "ve-", "fwpr")


class Link:
    """An interface.

    ifindex, name: of this network namespace.
    kind: of its driver, such as "bridge"; "" for most hardware.
    master: the index of the bridge, bond, team or VRF that it is a member of; 0 for none.
    below: the index of the interface that carries its traffic, as of a VLAN or a macvlan; 0 for none, and for one in
        another network namespace.
    counters: None where they were not asked for.
    """

    __slots__ = ("below", "counters", "ifindex", "kind", "master", "name")

    def __init__(
        self, ifindex: int, name: str, kind: str, master: int, below: int, counters: Optional[Counters]
    ) -> None:
        self.ifindex, self.name, self.kind = ifindex, name, kind
        self.master, self.below, self.counters = master, below, counters


def read_links(is_excluded: Callable[[str], bool]) -> Interfaces:
    """Ask the kernel. Raises NetlinkUnavailable where it does not answer such requests, else TableError.

    There are at most MAX_INTERFACES that are not excluded.
    """
    return uninterrupted(lambda: _read(is_excluded))


def _read(is_excluded: Callable[[str], bool]) -> Interfaces:
    counters: Dict[str, Counters] = {}
    indexes: Dict[str, int] = {}
    last_index = 0
    layered = False
    for link in _list(with_counters=True):
        if is_excluded(link.name):
            last_index = max(last_index, link.ifindex)
            layered = layered or (link.master != 0 and not link.name.startswith(_GUESTS))
        elif link.counters is not None:
            counters[link.name] = link.counters
            indexes[link.name] = link.ifindex
            layered = layered or link.master != 0 or link.below != 0 or link.kind in _NEVER_LOWEST
            if len(counters) > MAX_INTERFACES:
                raise too_many()
    # On most hosts nothing lies over anything, but for the ports of guests: then this one dump says all there is.
    lower = {**multiplexed(counters, ("qmimux",)), **(_lower(indexes, is_excluded) if layered else {})}
    return Interfaces(counters, indexes, last_index, lower)


def _lower(indexes: Mapping[str, int], is_excluded: Callable[[str], bool]) -> Lower:
    """Return what lies below the counted interfaces, and below those in turn; names by name.

    indexes: of the counted ones, by name.

    Each level is one more dump, as the members of a master name it and not the other way round, and nothing is kept of
    the thousands of interfaces that a host may have besides.
    """
    names = {index: name for name, index in indexes.items()}
    lower: Dict[int, Optional[Set[int]]] = {}  # only of those that lie over another one
    wanted = set(names)
    seen: Set[int] = set()
    while wanted:
        found: Dict[int, Set[int]] = {}
        never: List[int] = []
        for link in _list(with_counters=False):
            if link.ifindex in wanted:
                names[link.ifindex] = link.name
                if link.below:
                    found.setdefault(link.ifindex, set()).add(link.below)
                if link.kind in _NEVER_LOWEST:
                    never.append(link.ifindex)
            if link.master in wanted and not (link.name.startswith(_GUESTS) and is_excluded(link.name)):
                names[link.ifindex] = link.name
                found.setdefault(link.master, set()).add(link.ifindex)
        lower.update(found)
        lower.update((index, None) for index in never if index not in found)
        seen |= wanted
        wanted = {below for members in found.values() for below in members} - seen
    return {
        names[index]: None if members is None else tuple(names[below] for below in sorted(members) if below in names)
        for index, members in lower.items()
        if index in names
    }


def _list(with_counters: bool) -> Iterator[Link]:
    mask = 0 if with_counters else _RTEXT_FILTER_SKIP_STATS
    body = bytes(_IFINFOMSG_BYTES) + struct.pack("=HHI", 8, _IFLA_EXT_MASK, mask)
    read = Attributes(_IFINFOMSG_BYTES, _ATTRIBUTES).of
    for kind, payload in dump(socket.NETLINK_ROUTE, _RTM_GETLINK, body):
        if kind == _RTM_NEWLINK:
            yield parse_link(payload, with_counters, read)


def parse_link(payload: bytes, with_counters: bool, read: Callable[[bytes], Dict[int, bytes]]) -> Link:
    """Parse an RTM_NEWLINK message without its header (struct ifinfomsg and attributes). Raises TableError.

    read: returns its attributes.
    """
    if len(payload) < _IFINFOMSG_BYTES:
        raise TableError("netlink: a link that is cut short")
    (index,) = struct.unpack_from("=i", payload, 4)
    found = read(payload)
    kind = _kind(found.get(_IFLA_LINKINFO, b""))
    below = _number(found.get(_IFLA_LINK))
    if below == index or _IFLA_LINK_NETNSID in found or kind in _CABLES:
        below = 0
    return Link(
        index,
        decode_name(found.get(_IFLA_IFNAME, b"").rstrip(b"\0")),
        kind,
        _number(found.get(_IFLA_MASTER)),
        below,
        _counters(found.get(_IFLA_STATS64)) if with_counters else None,
    )


@functools.lru_cache(maxsize=16)
def _kind(information: bytes) -> str:
    """Return the driver's kind. Hundreds of containers have the same information, byte by byte."""
    return attributes(information, 0, _KIND).get(_IFLA_INFO_KIND, b"").rstrip(b"\0").decode("ascii", "replace")


def _counters(stats: Optional[bytes]) -> Counters:
    """Decode the begin of struct rtnl_link_stats64."""
    if stats is None or len(stats) < 32:
        raise NetlinkUnavailable("netlink: links without 64-bit counters")
    packets_in, packets_out, bytes_in, bytes_out = struct.unpack_from("=4Q", stats)
    return Counters(bytes_in, bytes_out, packets_in, packets_out)


def _number(value: Optional[bytes]) -> int:
    numbers: Tuple[int, ...] = struct.unpack_from("=I", value) if value is not None and len(value) >= 4 else (0,)
    return numbers[0]
