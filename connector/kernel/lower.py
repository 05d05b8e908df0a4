"""`net/vlan/` and `net/bonding/`: which interfaces carry another one's traffic, so that it is counted once."""

from __future__ import annotations

import fnmatch
import os
import re
from typing import Collection, Dict, FrozenSet, Iterable, List, Optional, Set, Tuple

from ..errors import TableError
from .dev import decode_name
from .proc import read

# Upper interface -> the ones below it; None for a VLAN whose parent can't be seen.
Lower = Dict[str, Optional[Tuple[str, ...]]]


def read_lower(net: str, interfaces: Collection[str]) -> Lower:
    """Return the VLANs' parents and the bonds' members.

    Neither directory exists where the kernel's module is not loaded. `vlan/config` is readable for root alone; for
    everyone else the directory still lists the VLANs, and a name such as `eth0.10` tells the parent where `interfaces`
    has it.
    """
    lower: Lower = {}
    for name in _names(os.path.join(net, "vlan")):
        if name != "config":
            parent = name.rpartition(".")[0]
            lower[name] = (parent,) if parent in interfaces else None
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


def at_the_edge(interfaces: Iterable[str], exclude: Iterable[str], lower: Lower) -> FrozenSet[str]:
    """Return the interfaces that count: no pattern of `exclude` matches and they lie over none that counts."""
    excluded = re.compile("|".join(map(fnmatch.translate, exclude)) or r"(?!)")
    named = {name for name in interfaces if not excluded.match(name)}
    return frozenset(name for name in named if not _carried(name, named, lower))


def _carried(name: str, named: Collection[str], lower: Lower) -> bool:
    """Return whether an interface of `named` lies, at whatever depth, below this one."""
    seen: Set[str] = set()
    below = [name]
    while below:
        under = lower.get(below.pop(), ())
        if under is None:
            return True
        new = set(under) - seen
        if any(other in named for other in new):
            return True
        seen |= new
        below += new
    return False


def _names(directory: str) -> List[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []
