"""Interface indexes, from the tables of a network namespace that have them: `net/igmp6` and three others.

An interface's name can change hands; its index stays with it in its network namespace as long as it exists. `net/dev`
has no index. `igmp6` lists nearly every interface, also those that are down or have no address; missing are those with
an MTU below 1280 bytes, and all on a host without IPv6. Of these, `dev_mcast` and `igmp` list those that are up and
`if_inet6` those with an address.
"""

from __future__ import annotations

import re
from typing import Callable, Dict, FrozenSet, Iterable, Iterator, NamedTuple, Sequence, Set, Tuple

from ..errors import TableError
from .dev import MAX_INTERFACES, decode_name, too_many
from .proc import lines

# Three rows of 80 bytes for each of 10,000 interfaces, and as much again.
MAX_TABLE_BYTES = 6 << 20


class Indexes(NamedTuple):
    """What the tables list.

    by_name: the indexes of those interfaces that are not excluded.
    listed: the names of those of them that are in `igmp6`, so that `net/dev` must have them, too.
    last: the highest index of the others, 0 for none.
    """

    by_name: Dict[str, int]
    listed: FrozenSet[str]
    last: int


Row = Tuple[int, str]


def parse_igmp6(table: Iterable[bytes]) -> Iterator[Row]:
    """Parse `igmp6` (kernel: igmp6_mc_seq_show) or `dev_mcast`: rows that begin `2    eth0            `."""
    for line in table:
        fields = line.split()
        if len(fields) < 3 or not fields[0].isdigit():
            raise _malformed("igmp6 or dev_mcast", line)
        yield int(fields[0]), decode_name(fields[1])


def parse_igmp(table: Iterable[bytes]) -> Iterator[Row]:
    """Parse `igmp` (kernel: igmp_mc_seq_show): `2<tab>eth0      :     1      V3`, then its groups, indented."""
    rows = iter(table)
    next(rows, b"")
    for line in rows:
        if line[:1].isspace():
            continue
        index, tab, rest = line.partition(b"\t")
        name, colon, _ = rest.rpartition(b":")
        if not (index.isdigit() and tab and colon):
            raise _malformed("igmp", line)
        yield int(index), decode_name(name.strip())


def parse_if_inet6_indexes(table: Iterable[bytes]) -> Iterator[Row]:
    """Parse `if_inet6` (kernel: if6_seq_show): address, index in hexadecimal, three more, name.

    Rows of another shape are left out: addresses.py logs them, and the other tables have most of the indexes.
    """
    for line in table:
        found = re.fullmatch(rb"[0-9a-f]{32} ([0-9a-f]{2,8}) .. .. .. +(\S{1,15})\n", line)
        if found:
            yield int(found.group(1), 16), decode_name(found.group(2))


Parser = Callable[[Iterable[bytes]], Iterator[Row]]
# The first is read always, the others only if an interface is missing in it.
TABLES: Sequence[Tuple[str, Parser]] = (
    ("igmp6", parse_igmp6),
    ("dev_mcast", parse_igmp6),
    ("igmp", parse_igmp),
    ("if_inet6", parse_if_inet6_indexes),
)


def read_indexes(net: str, is_excluded: Callable[[str], bool], tables: int = len(TABLES)) -> Indexes:
    """Return the indexes that the first `tables` of TABLES under `net` have; a table that is not there has none.

    Two names with one index, or one with two, are those of an interface that was renamed or replaced meanwhile, and not
    among them. Raises TableError.
    """
    by_name: Dict[str, int] = {}
    names: Dict[int, str] = {}
    excluded: Set[int] = set()
    doubtful: Set[str] = set()
    listed: FrozenSet[str] = frozenset()
    for table, parse in TABLES[:tables]:
        try:
            for index, name in parse(lines(net, table, limit=MAX_TABLE_BYTES)):
                if is_excluded(name):
                    excluded.add(index)
                    continue
                if by_name.setdefault(name, index) != index or names.setdefault(index, name) != name:
                    doubtful |= {name, names.get(index, name)}
                if len(by_name) > MAX_INTERFACES:
                    raise too_many()
        except TableError as error:
            if not isinstance(error.__cause__, (FileNotFoundError, PermissionError)):
                raise
        if table == TABLES[0][0]:
            listed = frozenset(by_name)
    known = {name: index for name, index in by_name.items() if index not in excluded and name not in doubtful}
    return Indexes(known, listed, max(excluded, default=0))


def _malformed(table: str, line: bytes) -> TableError:
    row = line.rstrip(b"\n")[:160]
    return TableError(f"{table}: a row of unknown shape: {row!r}")
