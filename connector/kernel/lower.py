"""`net/vlan/` and `net/bonding/`: which interfaces carry another one's traffic, so that it is counted once."""

from __future__ import annotations

import os
from typing import Callable, Collection, Dict, FrozenSet, List, Optional, Set, Tuple

from ..errors import TableError
from .dev import decode_name
from .proc import read

# Upper interface -> the ones below it; None for a VLAN whose parent can't be seen.
Lower = Dict[str, Optional[Tuple[str, ...]]]


def read_lower(net: str, is_interface: Callable[[str], bool]) -> Lower:
    """Return the VLANs' parents and the bonds' members.

    Neither directory exists where the kernel's module is not loaded. `vlan/config` is readable for root alone; for
    everyone else the directory still lists the VLANs, and a name such as `eth0.10` tells the parent where that is one.
    """
    lower: Lower = {}
    for name in _names(os.path.join(net, "vlan")):
        if name != "config":
            parent = name.rpartition(".")[0]
            lower[name] = (parent,) if is_interface(parent) else None
    if lower:
        try:
            lower.update(parse_vlan_config(read(net, "vlan", "config")))
        except TableError:
            pass  # the names are what is left
    for name in _names(os.path.join(net, "bonding")):
        try:
            lower[name] = parse_bonding(read(net, "bonding", name))
        except TableError:
            continue
    return lower


def parse_vlan_config(text: bytes) -> Lower:
    """Parse `net/vlan/config`: two lines of header, then `eth0.10        | 10  | eth0`."""
    lower: Lower = {}
    for line in text.splitlines()[2:]:
        fields = [field.strip() for field in line.split(b"|")]
        if len(fields) == 3 and fields[0] and fields[2]:
            lower[decode_name(fields[0])] = (decode_name(fields[2]),)
    return lower


def parse_bonding(text: bytes) -> Tuple[str, ...]:
    """Parse `net/bonding/<bond>`: its members' names (kernel: Documentation/networking/bonding.rst)."""
    key = b"Slave Interface:"
    return tuple(decode_name(line[len(key) :].strip()) for line in text.splitlines() if line.startswith(key))


def at_the_edge(interfaces: Collection[str], lower: Lower) -> FrozenSet[str]:
    """Return those of some interfaces that count: they lie over none of the others."""
    return frozenset(name for name in interfaces if not _carried(name, interfaces, lower))


def _carried(name: str, interfaces: Collection[str], lower: Lower) -> bool:
    """Return whether one of the interfaces lies, at whatever depth, below this one."""
    seen: Set[str] = set()
    below = [name]
    while below:
        under = lower.get(below.pop(), ())
        if under is None:
            return True
        new = set(under) - seen
        if any(other in interfaces for other in new):
            return True
        seen |= new
        below += new
    return False


def _names(directory: str) -> List[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []
