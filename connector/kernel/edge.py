"""One reading of the interfaces, and which of them are at the device's edge, so that each byte is counted once."""

from __future__ import annotations

from typing import AbstractSet, Collection, Dict, FrozenSet, Mapping, Optional, Set, Tuple

from .dev import Counters

# Upper interface -> the ones below it; None if it is over one that is not known.
Lower = Dict[str, Optional[Tuple[str, ...]]]


class Interfaces:
    """One reading.

    counters: of each interface that is not excluded, by name.
    indexes: of the same, as far as they are known. An interface is the same as before if its index is.
    last_index: the highest index of the excluded interfaces, 0 if none is known.
    edge: those whose traffic crosses the device's edge and is counted on none of the others, by what lies below them
        (`lower`).
    """

    def __init__(self, counters: Dict[str, Counters], indexes: Dict[str, int], last_index: int, lower: Lower) -> None:
        self.counters, self.indexes, self.last_index = counters, indexes, last_index
        # Where nothing lies over anything, as on most hosts, no second set of hundreds of names is made.
        self.edge: AbstractSet[str] = at_the_edge(counters, lower) if lower else counters.keys()


def multiplexed(interfaces: Collection[str], prefixes: Tuple[str, ...]) -> Lower:
    """Return a modem's channels, whose names begin with one of `prefixes`, each over the modem's interfaces (`ww*`).

    Neither the tables nor rtnetlink tell what `qmimux0` is over (kernel: drivers/net/usb/qmi_wwan.c).
    """
    modems = tuple(name for name in interfaces if name.startswith("ww"))
    return {name: modems for name in interfaces if name.startswith(prefixes)}


def at_the_edge(interfaces: Collection[str], lower: Mapping[str, Optional[Tuple[str, ...]]]) -> FrozenSet[str]:
    """Return those interfaces that count: the ones that lie over none of the others."""
    return frozenset(name for name in interfaces if not _is_carried(name, interfaces, lower))


def _is_carried(name: str, interfaces: Collection[str], lower: Mapping[str, Optional[Tuple[str, ...]]]) -> bool:
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
