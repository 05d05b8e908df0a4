"""Custom metrics of the host: psutil's numbers, from the mounted proc."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Optional

import pytest
from support import proc

from connector.config import CUSTOM_METRICS
from connector.kernel.host import Host, read_host


@pytest.fixture
def host(tmp_path: Path) -> Path:
    proc.machine(tmp_path)
    for name in ("1", "2", "4711", "net", "self"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_every_metric_is_read_from_the_mounted_proc(host: Path) -> None:
    """Percent, counts and seconds of the tree's host, not of the machine that this runs on."""
    read = read_host(str(host), CUSTOM_METRICS)
    assert read._replace(cpu=None) == Host(
        values={"memory_usage": 25.0, "process_count": 3, "load_average_1m": 1.25, "uptime_seconds": 35353},
        cpu=None,
        missing={},
    )
    assert read.cpu == pytest.approx((6055 / proc.TICKS, 22825 / proc.TICKS))


def test_on_this_machine_the_values_are_psutils() -> None:
    psutil = pytest.importorskip("psutil", reason="no psutil for this machine")
    read = read_host("/proc", CUSTOM_METRICS)
    assert read.missing == {}
    assert read.values["memory_usage"] == pytest.approx(psutil.virtual_memory().percent, abs=20)
    assert read.values["process_count"] == pytest.approx(len(psutil.pids()), rel=0.5, abs=20)
    assert read.values["load_average_1m"] == pytest.approx(psutil.getloadavg()[0], abs=5)
    assert read.values["uptime_seconds"] == pytest.approx(time.time() - psutil.boot_time(), abs=5)
    assert read.cpu is not None
    assert read.cpu.total == pytest.approx(sum(psutil.cpu_times()) - sum(psutil.cpu_times()[8:10]), rel=0.05)


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    """Nothing asked, nothing touched: not even a mount point that is not there."""
    assert read_host(str(tmp_path / "absent"), ()) == Host({}, None, {})


@pytest.mark.parametrize(
    ("name", "content", "metric", "reason"),
    [
        ("loadavg", b"nan 0.1 0.1 1/2 3\n", "load_average_1m", "loadavg: no number at its start: b'nan 0.1"),
        ("loadavg", b"inf 0.1 0.1 1/2 3\n", "load_average_1m", "loadavg: no number at its start: b'inf 0.1"),
        ("loadavg", b"", "load_average_1m", "loadavg: no number at its start: b''"),
        ("loadavg", b"busy\n", "load_average_1m", "loadavg: no number at its start: b'busy"),
        ("loadavg", None, "load_average_1m", "loadavg can't be read: No such file or directory"),
        ("uptime", b"-1 1\n", "uptime_seconds", "uptime: no number at its start: b'-1 1"),
        ("uptime", b"99999999999999999999 1\n", "uptime_seconds", "uptime: no number at its start: b'9999"),
        ("uptime", b"1e999 1\n", "uptime_seconds", "uptime: no number at its start: b'1e999 1"),
        ("uptime", None, "uptime_seconds", "uptime can't be read: No such file or directory"),
        ("meminfo", b"", "memory_usage", "meminfo: no MemTotal and MemAvailable that go together: {}"),
        ("meminfo", b"MemTotal: 5 kB\nMemAvailable: 6 kB\n", "memory_usage", "that go together: {b'MemTotal': b'5'"),
        ("meminfo", b"MemTotal: 0 kB\nMemAvailable: 0 kB\n", "memory_usage", "that go together: {b'MemTotal': b'0'"),
        ("meminfo", b"MemTotal: 5 kB\n", "memory_usage", "that go together: {b'MemTotal': b'5'}"),
        ("meminfo", None, "memory_usage", "meminfo can't be read: No such file or directory"),
        ("stat", b"", "cpu_usage", "stat: a row of unknown shape: b''"),
        ("stat", b"cpu x y z\n", "cpu_usage", "stat: a row of unknown shape: b'cpu x y z'"),
        ("stat", b"cpu  1 2 3 4 5 6 7\n", "cpu_usage", "stat: a row of unknown shape: b'cpu  1 2 3 4 5 6 7'"),
        ("stat", b"cpu  1 2 3 4 5 6 7 8x\n", "cpu_usage", "stat: a row of unknown shape: b'cpu  1 2 3 4 5 6 7 8x'"),
        ("stat", None, "cpu_usage", "stat can't be read: No such file or directory"),
    ],
)
def test_a_metric_that_is_no_finite_number_costs_only_itself(
    host: Path, name: str, content: Optional[bytes], metric: str, reason: str
) -> None:
    if content is None:
        (host / name).unlink()
    else:
        (host / name).write_bytes(content)
    whole = {"memory_usage": 25.0, "process_count": 3, "load_average_1m": 1.25, "uptime_seconds": 35353}
    read = read_host(str(host), CUSTOM_METRICS)
    assert read.values == {key: value for key, value in whole.items() if key != metric}
    assert (read.cpu is None) == (metric == "cpu_usage")
    assert list(read.missing) == [metric]
    assert reason in read.missing[metric]


def test_processes_that_are_hidden_are_not_counted_as_none(host: Path) -> None:
    """With hidepid=2 an ordinary user sees their own alone: that is not how many there are."""
    (host / "1").rename(host / "9999")
    read = read_host(str(host), CUSTOM_METRICS)
    assert read.missing == {"process_count": f"{host} does not show all processes (is it mounted with hidepid?)"}
    assert len(read.values) == 3


@pytest.mark.parametrize(("available", "usage"), [(0, 100.0), (8_000_000, 0.0)])
def test_the_limits_of_memory(host: Path, available: int, usage: float) -> None:
    (host / "meminfo").write_text(f"MemTotal: 8000000 kB\nMemAvailable: {available} kB\n")
    assert read_host(str(host), ["memory_usage"]).values == {"memory_usage": usage}


def test_a_load_of_nothing_is_a_load(host: Path) -> None:
    (host / "loadavg").write_text("0.00 0.01 0.05 1/80 4711\n")
    assert read_host(str(host), ["load_average_1m"]).values == {"load_average_1m": 0.0}


def test_a_proc_that_can_not_be_listed_costs_the_count_alone(tmp_path: Path) -> None:
    read = read_host(str(tmp_path / "absent"), ["process_count"])
    assert read.missing == {"process_count": "{} can't be read: No such file or directory".format(tmp_path / "absent")}
