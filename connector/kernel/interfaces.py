"""The interfaces that count: their counters, which interface each is, and which carry another one's traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Dict, FrozenSet, NamedTuple, Tuple

from ..errors import TableError
from .dev import Counters, matching, parse_dev
from .links import read_links
from .lower import at_the_edge, multiplexed, read_lower
from .netlink import NetlinkUnavailable
from .proc import Proc, lines

if TYPE_CHECKING:
    from .indexes import Indexes

MAX_ATTEMPTS = 3  # an interface may be renamed or removed between two tables


class Interfaces(NamedTuple):
    """One reading.

    counters: of each interface that is not excluded, by name.
    indexes: of the same, as far as they are known. An interface is the same as before if its index is.
    last_index: the highest index of the excluded interfaces, 0 if none is known.
    edge: those whose traffic crosses the device's edge and is counted on none of the others.
    """

    counters: Dict[str, Counters]
    indexes: Dict[str, int]
    last_index: int
    edge: FrozenSet[str]


def read_interfaces(proc: Proc, exclude: Tuple[str, ...]) -> Interfaces:
    """Read the interfaces, without those that a shell pattern of `exclude` matches. Raises TableError.

    In this process' own network the kernel tells everything in one answer (links.py); in another one the tables are
    read (indexes.py, dev.py, lower.py).
    """
    is_excluded = matching(exclude)
    if proc.shared:
        try:
            return _from_kernel(is_excluded)
        except NetlinkUnavailable:
            pass  # a sandbox without rtnetlink
    return _from_tables(proc.net, exclude, is_excluded)


def _from_kernel(is_excluded: Callable[[str], bool]) -> Interfaces:
    links = read_links(is_excluded)
    lower = {**multiplexed(links.counters, ("qmimux",)), **links.lower}
    return Interfaces(links.counters, links.indexes, links.last_index, at_the_edge(links.counters, lower))


def _from_tables(net: str, exclude: Tuple[str, ...], is_excluded: Callable[[str], bool]) -> Interfaces:
    counters, indexes = _consistent(net, exclude, is_excluded)
    lower = {
        **multiplexed(counters, ("qmimux", "rmnet")),
        **read_lower(net, counters, lambda name: name in counters or is_excluded(name)),
    }
    known = {name: index for name, index in indexes.by_name.items() if name in counters}
    return Interfaces(counters, known, indexes.last, at_the_edge(counters, lower))


def _consistent(
    net: str, exclude: Tuple[str, ...], is_excluded: Callable[[str], bool]
) -> Tuple[Dict[str, Counters], Indexes]:
    """Return counters and indexes that belong together: the indexes were the same before and after `dev` was read.

    An interface that has an index but no row in `dev` was skipped by the kernel, which may happen while another one is
    removed; such a reading counts for nothing either.
    """
    from .indexes import TABLES, Indexes, read_indexes  # only here, so that it is not loaded in a shared network

    tables = 1
    attempt = 0
    while attempt < MAX_ATTEMPTS:
        before = read_indexes(net, is_excluded, tables)
        counters = parse_dev(lines(net, "dev"), exclude)
        after = read_indexes(net, is_excluded, tables)
        if before[:2] != after[:2] or not before.listed <= counters.keys():
            attempt += 1
        elif tables < len(TABLES) and not counters.keys() <= before.listed:
            tables = len(TABLES)
        else:
            return counters, Indexes(before.by_name, before.listed, max(before.last, after.last))
    raise TableError(f"{net}: interfaces were renamed, added or removed during each of {MAX_ATTEMPTS} readings")
