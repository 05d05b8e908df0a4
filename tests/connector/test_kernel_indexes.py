"""Interface indexes from `net/igmp6`, `dev_mcast`, `igmp` and `if_inet6`, and readings that belong together."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any, Callable, Dict, List
from unittest import mock

import pytest
from support import proc

from connector.errors import TableError
from connector.kernel.dev import Counters, parse_dev
from connector.kernel.indexes import Indexes, parse_igmp, parse_igmp6, read_indexes

# Linux 6.18: veth0 and eth0 down, tap0 without an address.
IGMP6 = b"""\
1    lo              ff020000000000000000000000000001     1 0000000C 0
1    lo              ff010000000000000000000000000001     1 00000008 0
2    veth0           ff020000000000000000000000000001     1 0000000C 0
3    eth0            ff020000000000000000000000000001     1 0000000C 0
11   tap0            ff020000000000000000000000000001     1 0000000C 0
"""
DEV_MCAST = b"""\
3    eth0            1     0     333300000001
12   wwan0           1     0     01005e000001
"""
IGMP = b"""\
Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter
1\tlo        :     1      V3
\t\t\t\t010000E0     1 0:00000000\t\t0
13\ttun7:1    :     1      V3
\t\t\t\t010000E0     1 0:00000000\t\t0
"""
IF_INET6 = b"fe80000000000000024293fffe8f1c10 0e 40 20 80     ppp0\n"


def none_excluded(name: str) -> bool:
    return False


def write(net: Path, **tables: bytes) -> str:
    for name, content in tables.items():
        (net / name).write_bytes(content)
    return str(net)


def test_rows_of_the_kernels_tables_are_parsed() -> None:
    assert set(parse_igmp6(io.BytesIO(IGMP6))) == {(1, "lo"), (2, "veth0"), (3, "eth0"), (11, "tap0")}
    assert list(parse_igmp6(io.BytesIO(DEV_MCAST))) == [(3, "eth0"), (12, "wwan0")]
    assert list(parse_igmp(io.BytesIO(IGMP))) == [(1, "lo"), (13, "tun7:1")]


def test_indexes_are_taken_from_any_table_that_has_them(tmp_path: Path) -> None:
    net = write(tmp_path, igmp6=IGMP6, dev_mcast=DEV_MCAST, igmp=IGMP, if_inet6=IF_INET6)
    found = read_indexes(net, none_excluded)
    assert found.by_name == {"lo": 1, "veth0": 2, "eth0": 3, "tap0": 11, "wwan0": 12, "tun7:1": 13, "ppp0": 14}
    assert found.listed == {"lo", "veth0", "eth0", "tap0"}
    assert found.last == 0
    assert read_indexes(net, lambda name: name != "eth0", tables=1) == Indexes({"eth0": 3}, frozenset({"eth0"}), 11)


def test_tables_that_are_not_there_have_no_indexes(tmp_path: Path) -> None:
    assert read_indexes(str(tmp_path), none_excluded) == Indexes({}, frozenset(), 0)


def test_names_that_share_an_index_have_none(tmp_path: Path) -> None:
    """As of an interface that was renamed between two tables."""
    net = write(tmp_path, igmp6=IGMP6, dev_mcast=b"3    wan0            1     0     333300000001\n")
    assert read_indexes(net, none_excluded).by_name == {"lo": 1, "veth0": 2, "tap0": 11}


@pytest.mark.parametrize("row", [b"eth0\n", b"x    eth0   ff02 1\n", b"3    sixteen_letters_ ff02\n"])
def test_row_of_another_shape_is_an_error(tmp_path: Path, row: bytes) -> None:
    with pytest.raises(TableError):
        read_indexes(write(tmp_path, igmp6=IGMP6 + row), none_excluded)
    with pytest.raises(TableError):
        read_indexes(write(tmp_path, igmp6=IGMP6, igmp=IGMP + row), none_excluded)


def test_unreadable_table_is_an_error_unless_it_is_not_there_or_not_allowed(tmp_path: Path) -> None:
    (tmp_path / "igmp6").mkdir()
    with pytest.raises(TableError, match="Is a directory"):
        read_indexes(str(tmp_path), none_excluded)


def igmp6_of(indexes: Dict[str, int]) -> bytes:
    return b"".join(
        f"{index:<4} {name:<15} ff020000000000000000000000000001     1 0000000C 0\n".encode()
        for name, index in indexes.items()
    )


Patched = Callable[..., Dict[str, Counters]]


def patched(parse: Patched) -> Any:
    return mock.patch("connector.kernel.interface_tables.parse_dev", parse)


def test_interface_that_is_renamed_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    """The indexes before and after `dev` must be the same: else another interface's counters may be its own."""
    tree = proc.tree(tmp_path, dev=proc.dev({"eth0": (1, 2, 3, 4)}), igmp6=igmp6_of({"eth0": 3}))
    net = tree / "1" / "net"
    readings: List[Dict[str, Counters]] = []

    def rename(*arguments: Any) -> Dict[str, Counters]:
        readings.append(parse_dev(*arguments))
        if len(readings) == 1:
            write(net, dev=proc.dev({"wan0": (1, 2, 3, 4)}), igmp6=igmp6_of({"wan0": 3}))
        return readings[-1]

    with patched(rename):
        snapshot = proc.look(tree)
    assert (snapshot.counters, snapshot.indexes) == ({"wan0": Counters(1, 2, 3, 4)}, {"wan0": 3})


def test_interface_that_dev_skips_costs_the_reading(tmp_path: Path) -> None:
    """Its traffic is in the next report; one that is left out counts as gone."""
    tree = proc.tree(tmp_path, dev=proc.dev({"eth0": (1, 2, 3, 4)}), igmp6=igmp6_of({"eth0": 3, "eth1": 4}))
    snapshot = proc.look(tree)
    assert snapshot.counters is None
    assert list(snapshot.problems) == ["network_stats"]
    assert "were renamed, added or removed" in snapshot.problems["network_stats"]


def test_excluded_interfaces_come_and_go_without_another_reading(tmp_path: Path) -> None:
    tree = proc.tree(tmp_path, dev=proc.dev({"eth0": (1, 2, 3, 4)}), igmp6=igmp6_of({"eth0": 3}))
    calls: List[int] = []

    def come(*arguments: Any) -> Dict[str, Counters]:
        calls.append(1)
        write(tree / "1" / "net", igmp6=igmp6_of({"eth0": 3, "veth": 4 + len(calls)}))
        return parse_dev(*arguments)

    with patched(come):
        snapshot = proc.look(tree)
    assert (snapshot.indexes, snapshot.last_index, len(calls)) == ({"eth0": 3}, 5, 1)


def test_table_of_ten_thousand_interfaces_is_read(tmp_path: Path) -> None:
    rows: List[bytes] = [
        b"%-4d veth%-11d ff02000000000000000000000000000%d     1 0000000C 0\n" % (index, index, group)
        for index in range(1, 10_001)
        for group in (1, 2, 3)
    ]
    net = write(tmp_path, igmp6=b"".join(rows))
    assert os.path.getsize(net + "/igmp6") > 2 << 20
    assert read_indexes(net, lambda name: True) == Indexes({}, frozenset(), 10_000)
