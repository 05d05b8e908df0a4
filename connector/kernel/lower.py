"""`net/vlan/` and `net/bonding/`: which interfaces carry another one's traffic, so that it is counted once."""

from __future__ import annotations

import itertools
import os
from typing import Callable, Collection, Dict, FrozenSet, Iterable, Iterator, Optional, Set, Tuple

from ..errors import TableError
from .dev import decode_name
from .proc import lines

# Upper interface -> the ones below it; None for a VLAN whose parent can't be seen.
Lower = Dict[str, Optional[Tuple[str, ...]]]


def read_lower(net: str, interfaces: Iterable[str], is_interface: Callable[[str], bool]) -> Lower:
    """Return the parents of those interfaces that are VLANs, the members of those that are bonds, and so on below.

    Neither directory exists where the kernel's module is not loaded. `vlan/config` is readable for root alone; for
    everyone else the directory still lists the VLANs, and a name such as `eth0.10` tells the parent where that is one.
    Only what lies below the given ones is kept: a host may have thousands of VLANs that don't count.
    """
    lower: Lower = {}
    wanted = set(interfaces)
    while wanted:
        found = {**_vlans(net, wanted, is_interface), **_bonds(net, wanted)}
        lower.update(found)
        wanted = {name for below in found.values() for name in below or ()} - lower.keys()
    return lower


def _vlans(net: str, wanted: Collection[str], is_interface: Callable[[str], bool]) -> Lower:
    found: Lower = {}
    for name in _names(os.path.join(net, "vlan")):
        if name in wanted and name != "config":
            parent = name.rpartition(".")[0]
            found[name] = (parent,) if is_interface(parent) else None
    if found:
        try:
            found.update(
                (name, (parent,)) for name, parent in parse_vlan_config(lines(net, "vlan", "config")) if name in wanted
            )
        except TableError:
            pass  # the names are what is left
    return found


def _bonds(net: str, wanted: Collection[str]) -> Lower:
    found: Lower = {}
    for name in _names(os.path.join(net, "bonding")):
        if name in wanted:
            try:
                found[name] = parse_bonding(lines(net, "bonding", name))
            except TableError:
                continue
    return found


def parse_vlan_config(table: Iterable[bytes]) -> Iterator[Tuple[str, str]]:
    """Parse `net/vlan/config`: two lines of header, then `eth0.10        | 10  | eth0`, a VLAN and its parent."""
    for line in itertools.islice(table, 2, None):
        fields = [field.strip() for field in line.split(b"|")]
        if len(fields) == 3 and fields[0] and fields[2]:
            yield decode_name(fields[0]), decode_name(fields[2])


def parse_bonding(table: Iterable[bytes]) -> Tuple[str, ...]:
    """Parse `net/bonding/<bond>`: its members' names (kernel: Documentation/networking/bonding.rst)."""
    key = b"Slave Interface:"
    return tuple(decode_name(line[len(key) :].strip()) for line in table if line.startswith(key))


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


def _names(directory: str) -> Iterator[str]:
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                yield entry.name
    except OSError:
        return
