"""Custom metrics of the host: the same numbers as psutil's, from the mounted proc."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Optional

import pytest
from support import proc

from connector.config import CUSTOM_METRICS
from connector.kernel.host import TICKS_PER_SECOND, CpuTimes, Host, read_host


@pytest.fixture
def host(tmp_path: Path) -> Path:
    proc.machine(tmp_path)
    for name in ("1", "2", "4711", "net", "self"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_every_metric_is_read_from_the_mounted_proc(host: Path) -> None:
    """Of the tree's host, not of the machine that this runs on."""
    read = read_host(str(host), CUSTOM_METRICS)
    assert read._replace(cpu=None) == Host(
        values={"memory_usage": 25.0, "process_count": 3, "load_average_1m": 1.25, "uptime_seconds": 35353},
        cpu=None,
        missing={},
    )
    assert read.cpu == CpuTimes(6055, 22825)


def test_values_on_this_machine_are_those_of_psutil() -> None:
    psutil = pytest.importorskip("psutil", reason="no psutil for this machine")
    read = read_host("/proc", CUSTOM_METRICS)
    assert read.missing == {}
    assert read.values["memory_usage"] == pytest.approx(psutil.virtual_memory().percent, abs=20)
    assert read.values["process_count"] == pytest.approx(len(psutil.pids()), rel=0.5, abs=20)
    assert read.values["load_average_1m"] == pytest.approx(psutil.getloadavg()[0], abs=5)
    assert read.values["uptime_seconds"] == pytest.approx(time.time() - psutil.boot_time(), abs=5)
    assert read.cpu is not None
    seconds = sum(psutil.cpu_times()) - sum(psutil.cpu_times()[8:10])
    assert read.cpu.total == pytest.approx(seconds * TICKS_PER_SECOND, rel=0.05)


def test_nothing_is_read_if_no_metric_is_wanted(tmp_path: Path) -> None:
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
        ("meminfo", b"", "memory_usage", "meminfo: neither MemAvailable nor Buffers"),
        ("meminfo", b"MemTotal: 5 kB\nMemAvailable: 6 kB\n", "memory_usage", "5 kB, of which 6 kB are available"),
        ("meminfo", b"MemTotal: 0 kB\nMemAvailable: 0 kB\n", "memory_usage", "0 kB, of which 0 kB are available"),
        ("meminfo", b"MemAvailable: 5 kB\n", "memory_usage", "0 kB, of which 5 kB are available"),
        (
            "meminfo",
            b"MemTotal: 9 kB\nBuffers: 1 kB\nCached: 1 kB\n",
            "memory_usage",
            "meminfo: neither MemAvailable nor MemFree",
        ),
        (
            "meminfo",
            b"MemTotal: 9 kB\nMemFree: 8 kB\nBuffers: 1 kB\nCached: 1 kB\n",
            "memory_usage",
            "MemTotal is 9 kB, of which 10 kB are available",
        ),
        ("meminfo", None, "memory_usage", "meminfo can't be read: No such file or directory"),
        ("stat", b"", "cpu_usage", "stat: a row of unknown shape: b''"),
        ("stat", b"cpu x y z\n", "cpu_usage", "stat: a row of unknown shape: b'cpu x y z'"),
        ("stat", b"cpu  1 2 3 4 5 6 7\n", "cpu_usage", "stat: a row of unknown shape: b'cpu  1 2 3 4 5 6 7'"),
        ("stat", b"cpu  1 2 3 4 5 6 7 8x\n", "cpu_usage", "stat: a row of unknown shape: b'cpu  1 2 3 4 5 6 7 8x'"),
        ("stat", b"cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 0 0 0 0 0 0 0 0 0 0\n", "cpu_usage", "all processor times are 0"),
        ("stat", None, "cpu_usage", "stat can't be read: No such file or directory"),
    ],
)
def test_metric_that_can_not_be_read_is_missing_and_named(
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


def test_process_count_is_missing_if_processes_are_hidden(host: Path) -> None:
    """With hidepid=2 an ordinary user sees only their own processes."""
    (host / "1").rename(host / "9999")
    read = read_host(str(host), CUSTOM_METRICS)
    assert read.missing == {"process_count": f"{host} does not show all processes (is it mounted with hidepid?)"}
    assert len(read.values) == 3


@pytest.mark.parametrize(("available", "usage"), [(0, 100.0), (8_000_000, 0.0)])
def test_memory_usage_is_0_to_100_percent(host: Path, available: int, usage: float) -> None:
    (host / "meminfo").write_text(f"MemTotal: 8000000 kB\nMemAvailable: {available} kB\n")
    assert read_host(str(host), ["memory_usage"]).values == {"memory_usage": usage}


def test_available_memory_is_estimated_for_kernels_before_3_14(host: Path) -> None:
    """Free memory and caches, without shared memory, which is in Cached and can't be freed."""
    sizes = {"MemTotal": 1000, "MemFree": 200, "Buffers": 50, "Cached": 300, "Shmem": 100, "SReclaimable": 25}
    (host / "meminfo").write_text("".join(f"{name}: {size} kB\n" for name, size in sizes.items()))
    assert read_host(str(host), ["memory_usage"]).values == {"memory_usage": 52.5}
    del sizes["Shmem"], sizes["SReclaimable"]  # before Linux 2.6.32 and 2.6.19
    (host / "meminfo").write_text("".join(f"{name}: {size} kB\n" for name, size in sizes.items()))
    assert read_host(str(host), ["memory_usage"]).values == {"memory_usage": 45.0}


def test_processor_times_are_exact_integers(host: Path) -> None:
    """A field may be stuck near 2**64; a float would lose the other fields' last digits."""
    (host / "stat").write_text(f"cpu  1001 0 0 {2**64 - 1} 0 0 0 0\n")
    assert read_host(str(host), ["cpu_usage"]).cpu == CpuTimes(1001, 2**64 + 1000)


def test_load_average_of_0_is_reported(host: Path) -> None:
    (host / "loadavg").write_text("0.00 0.01 0.05 1/80 4711\n")
    assert read_host(str(host), ["load_average_1m"]).values == {"load_average_1m": 0.0}


def test_process_count_is_missing_if_proc_can_not_be_listed(tmp_path: Path) -> None:
    read = read_host(str(tmp_path / "absent"), ["process_count"])
    assert read.missing == {"process_count": "{} can't be read: No such file or directory".format(tmp_path / "absent")}
