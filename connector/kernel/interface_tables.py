"""The interfaces of a network that is not this process' own, from its tables: dev.py, indexes.py and lower.py."""

from __future__ import annotations

from typing import Callable, Dict, Tuple

from ..errors import TableError
from .dev import Counters, matching, parse_dev
from .edge import Interfaces, multiplexed
from .indexes import TABLES, Indexes, read_indexes
from .lower import read_lower
from .proc import lines

MAX_ATTEMPTS = 3  # an interface may be renamed or removed between two tables


def read_tables(net: str, exclude: Tuple[str, ...]) -> Interfaces:
    """Read the interfaces, without those that a shell pattern of `exclude` matches. Raises TableError."""
    is_excluded = matching(exclude)
    counters, indexes = _consistent(net, exclude, is_excluded)
    lower = {
        **multiplexed(counters, ("qmimux", "rmnet")),
        **read_lower(net, counters, lambda name: name in counters or is_excluded(name)),
    }
    known = {name: index for name, index in indexes.by_name.items() if name in counters}
    return Interfaces(counters, known, indexes.last, lower)


def _consistent(
    net: str, exclude: Tuple[str, ...], is_excluded: Callable[[str], bool]
) -> Tuple[Dict[str, Counters], Indexes]:
    """Return counters and indexes that belong together: the indexes were the same before and after `dev` was read.

    An interface that has an index but no row in `dev` was skipped by the kernel, which may happen while another one is
    removed; such a reading counts for nothing either.
    """
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
