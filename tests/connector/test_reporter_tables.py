"""The loop and kernel tables that fail, are missing or are huge: what is left out, logged and reported later."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import List

import pytest
from support.loop import (
    START,
    Loop,
    moving,
    times,
    total,
)

from connector.kernel.dev import MAX_INTERFACES, Counters


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    return Loop(tmp_path)


def broken(path: Path, how: str) -> None:
    if how == "gone":
        path.unlink()
    elif how == "fails mid-read":
        path.unlink()
        path.symlink_to("/proc/self/mem")  # opens; the first read is an EIO
    elif how == "is refused":
        path.unlink()
        path.symlink_to(path)  # root may read anything, but not this: ELOOP
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-7])
    elif how == "of a newer kernel":
        path.write_bytes(path.read_bytes() + b"new line of { unknown } shape: 1\n")
    elif how == "absurd":
        path.write_bytes(path.read_bytes() + b"  eth9: " + b"9" * 30 + b" 1" * 15 + b"\n")
    elif how == "empty":
        path.write_bytes(b"")


PROC_FAULTS = [
    ("dev", "network_stats", ["network_stats"]),
    ("tcp", "TCP sockets", ["tcp_connections", "listening_tcp_ports"]),
    ("tcp6", "TCP sockets", ["tcp_connections", "listening_tcp_ports"]),
    ("udp", "UDP sockets", ["listening_udp_ports"]),
    ("udp6", "UDP sockets", ["listening_udp_ports"]),
]
BLOCKS = ["tcp_connections", "listening_tcp_ports", "listening_udp_ports", "network_stats"]


@pytest.mark.parametrize("how", ["gone", "fails mid-read", "is refused", "cut", "of a newer kernel", "absurd", "empty"])
@pytest.mark.parametrize(("table", "problem", "lost"), PROC_FAULTS)
def test_unreadable_table_costs_its_block_until_it_is_readable(
    loop: Loop, table: str, problem: str, lost: List[str], how: str
) -> None:
    path = loop.host.directory / "1" / "net" / table
    healthy = path.read_bytes()
    moving(loop)
    write = loop.host.write

    def write_and_break() -> None:
        if path.is_symlink():
            path.unlink()
        path.write_bytes(healthy)
        write()
        if START + 600 <= loop.clock.monotonic() < START + 1800:
            broken(path, how)

    loop.host.write = write_and_break  # type: ignore[method-assign]
    loop.run(2101)
    if table == "dev" and how in (
        "gone",
        "is refused",
    ):  # net/dev decides whether there is a network directory at all
        assert loop.moments == [0, 300, 1800, 2100]
        assert loop.logged("WARNING network tables: nothing of the network can be read: no network tables under ")
        problem = "network tables"
    else:
        assert loop.moments == [300.0 * number for number in range(8)]
        for taken in loop.core.taken[2:6]:
            assert [block for block in BLOCKS if block not in taken.report["metrics"]] == lost
    for taken in loop.core.taken[1:2] + loop.core.taken[-2:]:
        assert list(taken.report["metrics"]) == BLOCKS
    warning, info = loop.lines
    assert warning.startswith(f"WARNING {problem}: ")
    assert f"{loop.host.directory}/1/net/{table}" in warning or "net/dev" in warning or problem == "network tables"
    assert info == f"INFO {problem}: recovered after 20 min"
    # What passed meanwhile is in the report after the next good reading.
    assert total(loop.core.taken) == times(7)


def test_unmounted_volume_costs_reports_and_no_restart(loop: Loop) -> None:
    moving(loop)
    away = loop.host.directory.with_name("away")
    write = loop.host.write
    loop.host.write = lambda: write() if loop.host.directory.exists() else None  # type: ignore[method-assign]
    loop.clock.at(START + 400, lambda: shutil.move(str(loop.host.directory), str(away)))
    loop.clock.at(START + 1000, lambda: shutil.move(str(away), str(loop.host.directory)))
    loop.run(1501)
    assert loop.moments == [0, 300, 1200, 1500]
    assert loop.core.ids == sorted(set(loop.core.ids))
    warning, info = loop.lines
    assert warning.startswith("WARNING network tables: nothing of the network can be read: no network tables under ")
    assert warning.endswith("is the host's /proc mounted there?")
    assert info == "INFO network tables: recovered after 10 min"
    assert total(loop.core.taken) == times(5)


def test_unmounted_volume_is_no_recovery_of_a_broken_table(loop: Loop) -> None:
    """A broken table, the volume unmounted and mounted again with it still broken: one failure, one recovery."""
    moving(loop)
    table = loop.host.directory / "1" / "net" / "tcp"
    away = loop.host.directory.with_name("away")
    write, whole = loop.host.write, table.read_bytes()
    broken = {"tcp"}

    def write_if_there() -> None:
        if loop.host.directory.exists():
            write()
            table.write_bytes(b"broken\n" if broken else whole)

    loop.host.write = write_if_there  # type: ignore[method-assign]
    loop.clock.at(START + 400, lambda: shutil.move(str(loop.host.directory), str(away)))
    loop.clock.at(START + 1000, lambda: shutil.move(str(away), str(loop.host.directory)))
    loop.clock.at(START + 1400, broken.clear)
    loop.run(1801)
    assert [line.partition(": left out")[0].partition(": nothing of")[0] for line in loop.lines] == [
        "WARNING TCP sockets",
        "WARNING network tables",
        "INFO network tables: recovered after 10 min",
        "INFO TCP sockets: recovered after 25 min",
    ]


def test_volume_mounted_after_the_start_is_used(loop: Loop) -> None:
    away = loop.host.directory.with_name("away")
    shutil.move(str(loop.host.directory), str(away))
    write = loop.host.write
    loop.host.write = lambda: write() if loop.host.directory.exists() else None  # type: ignore[method-assign]
    loop.clock.at(START + 1000, lambda: shutil.move(str(away), str(loop.host.directory)))
    loop.run(1300)
    assert loop.moments == [1200]
    assert len(loop.lines) == 2


def test_largest_number_of_interfaces_with_odd_names_is_reported(loop: Loop) -> None:
    names = [f"ppp{number}" for number in range(MAX_INTERFACES - 5)]
    names += ["eth0", "e\x1b[2Jt", "täst", "\udcff\udcfe", 'q"\\']

    def pass_by() -> None:
        for name in names:
            loop.host.passed(name, 3, 1, 2, 1)

    pass_by()
    loop.before_reading = pass_by
    loop.remember().run(301)
    assert loop.lines == []
    assert loop.core.taken[1].traffic == Counters(*(number * MAX_INTERFACES for number in (3, 1, 2, 1)))


def test_ten_thousand_interfaces_cost_network_stats_while_they_exist(loop: Loop) -> None:
    moving(loop)
    names = [f"ppp{number}" for number in range(10_000)]
    loop.clock.at(START + 500, lambda: loop.host.interfaces.update(dict.fromkeys(names, (1, 1, 1, 1))))
    loop.clock.at(START + 1100, lambda: [loop.host.interfaces.pop(name) for name in names])
    loop.run(1501)
    assert loop.moments == [300.0 * number for number in range(6)]
    for taken in loop.core.taken[2:4]:
        assert [block for block in BLOCKS if block not in taken.report["metrics"]] == ["network_stats"]
    warning, info = loop.lines
    assert warning.startswith("WARNING network_stats: left out of the reports: net/dev: over ")
    assert warning.endswith(" in ExcludeInterfaces")
    assert info == "INFO network_stats: recovered after 10 min"
    assert total(loop.core.taken) == times(5)


def test_defect_of_the_connector_costs_one_report_and_is_logged_with_its_place(loop: Loop) -> None:
    moving(loop)

    def fault() -> None:
        moving_on()
        if START + 300 <= loop.clock.monotonic() <= START + 900:
            raise ZeroDivisionError("\x1b[31mno\nway")

    moving_on, loop.before_reading = loop.before_reading, fault
    loop.run(1501)
    assert loop.moments == [0, 1200, 1500]
    warning, info = loop.lines
    line = fault.__code__.co_firstlineno + 3
    assert warning == (
        f"WARNING report: none could be made: ZeroDivisionError('\\x1b[31mno\\nway') at {Path(__file__).name}:{line}"
    )
    assert info == "INFO report: recovered after 15 min"
    assert total(loop.core.taken) == times(5)


def test_cpu_usage_is_since_the_last_readable_times(loop: Loop) -> None:
    loop.settings["CustomMetrics"] = "cpu_usage"
    rows = [b"cpu  100 0 0 100 0 0 0 0 0 0", None, b"cpu  130 0 0 170 0 0 0 0 0 0"]

    def change() -> None:
        row = rows.pop(0)
        (loop.host.directory / "stat").write_bytes(b"" if row is None else row + b"\n")

    loop.before_reading = change
    loop.run(601)
    used = [taken.report.get("custom_metrics", {}).get("cpu_usage") for taken in loop.core.taken]
    assert used == [None, None, [{"number": 30.0}]]
