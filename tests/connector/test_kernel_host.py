"""Custom metrics of the host, from the mounted proc, with psutil and without."""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Optional, Sequence

import psutil
import pytest
from support import proc

from connector.config import CUSTOM_METRICS
from connector.kernel.host import TICKS_PER_SECOND, CpuTimes, give_back_memory, prepare, read_host

ROOT = Path(__file__).resolve().parents[2]
HINT = "(is the host's proc mounted there, without hidepid?)"


@pytest.fixture
def host(tmp_path: Path) -> Path:
    proc.machine(tmp_path)
    for name in ("1", "2", "4711", "net", "self"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_every_metric_is_read_from_the_mounted_proc(host: Path) -> None:
    """Of the tree's host, not of the machine that this runs on."""
    read = read_host(str(host), CUSTOM_METRICS)
    assert read.values == {
        "memory_usage": 25.0,
        "process_count": 3,
        "load_average_1m": 1.25,
        "uptime_seconds": 35353,
    }
    assert (read.cpu, read.missing) == (CpuTimes(6055, 22825), {})


def test_values_on_this_machine_are_those_of_psutil() -> None:
    begun, used = time.clock_gettime(time.CLOCK_BOOTTIME), processor_seconds()
    read = read_host("/proc", CUSTOM_METRICS)
    assert read.missing == {}
    assert read.values["memory_usage"] == pytest.approx(psutil.virtual_memory().percent, abs=20)
    assert read.values["process_count"] == pytest.approx(len(psutil.pids()), rel=0.5, abs=20)
    assert read.values["load_average_1m"] == pytest.approx(psutil.getloadavg()[0], abs=5)
    assert int(begun) <= read.values["uptime_seconds"] <= time.clock_gettime(time.CLOCK_BOOTTIME)
    assert read.cpu is not None
    # Of each field the kernel rounds a tick off.
    assert used - 1 <= read.cpu.total / TICKS_PER_SECOND <= processor_seconds() + 1
    assert psutil.PROCFS_PATH == "/proc"


def processor_seconds() -> float:
    """All of the processors' time since the boot; that of guests, the last two, is in the others."""
    return float(sum(psutil.cpu_times()[:8]))


def test_nothing_is_read_if_no_metric_is_wanted(tmp_path: Path) -> None:
    read = read_host(str(tmp_path / "absent"), ())
    assert (read.values, read.cpu, read.missing) == ({}, None, {})


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
        ("meminfo", b"", "memory_usage", "meminfo: psutil can't read it: KeyError: b'MemTotal:'"),
        (
            "meminfo",
            b"MemTotal: 0 kB\nMemFree: 0 kB\n",
            "memory_usage",
            "MemTotal is 0 bytes, of which 0 are available",
        ),
        ("meminfo", b"MemFree: 5 kB\n", "memory_usage", "meminfo: psutil can't read it: KeyError: b'MemTotal:'"),
        ("meminfo", b"MemTotal: 9 kB\n", "memory_usage", "meminfo: psutil can't read it: KeyError: b'MemFree:'"),
        ("meminfo", b"MemTotal\n", "memory_usage", "meminfo: psutil can't read it: IndexError"),
        ("meminfo", b"MemTotal: much kB\n", "memory_usage", "meminfo: psutil can't read it: ValueError"),
        (
            "meminfo",
            b"MemTotal: 9 kB\nMemFree: 10 kB\nMemAvailable: 11 kB\n",
            "memory_usage",
            "MemTotal is 9216 bytes, of which 10240 are available",
        ),
        ("meminfo", None, "memory_usage", "meminfo can't be read: No such file or directory"),
        ("stat", b"", "cpu_usage", "stat: psutil can't read it: TypeError"),
        ("stat", b"cpu x y z 4 5 6 7 8 9 10\n", "cpu_usage", "stat: psutil can't read it: ValueError"),
        ("stat", b"cpu  1 2 3 4 5 6 7 8x 9 10\n", "cpu_usage", "stat: psutil can't read it: ValueError"),
        (
            "stat",
            b"cpu  1 2 3 4 5 6 7\n",
            "cpu_usage",
            "stat: psutil can't read it: TypeError",
        ),  # fewer than /proc/stat
        ("stat", b"cpu  1 2 3 -4 5 6 7 8 9 10\n", "cpu_usage", "are no processor times"),
        ("stat", b"cpu  1 2 3 nan 5 6 7 8 9 10\n", "cpu_usage", "are no processor times"),
        ("stat", b"cpu  1 2 3 1e999 5 6 7 8 9 10\n", "cpu_usage", "are no processor times"),
        ("stat", b"cpu  1 2 3 1e30 5 6 7 8 9 10\n", "cpu_usage", "are no processor times"),
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
    assert read.missing == {"process_count": f"{host} does not show all processes {HINT}"}
    assert len(read.values) == 3


@pytest.mark.parametrize(("available", "usage"), [(1, 100.0), (8_000_000, 0.0), (3_000_000, 62.5)])
def test_memory_usage_is_0_to_100_percent(host: Path, available: int, usage: float) -> None:
    (host / "meminfo").write_text(f"MemTotal: 8000000 kB\nMemFree: 0 kB\nMemAvailable: {available} kB\n")
    assert read_host(str(host), ["memory_usage"]).values == {"memory_usage": usage}


@pytest.mark.filterwarnings("error")
def test_available_memory_is_psutils_estimate_for_kernels_before_3_14(host: Path) -> None:
    """As newer kernels calculate MemAvailable: free memory and what can be freed, less what the kernel keeps."""
    sizes = {"MemTotal": 1000, "MemFree": 200, "Active(file)": 200, "Inactive(file)": 100, "SReclaimable": 25}
    (host / "meminfo").write_text("".join(f"{name}: {size} kB\n" for name, size in sizes.items()))
    (host / "zoneinfo").write_text("Node 0, zone Normal\n  pages free 50\n        min 1\n        low 0\n")
    assert read_host(str(host), ["memory_usage"]).values == {"memory_usage": 47.5}
    (host / "zoneinfo").unlink()  # then free and cached, which is none here
    assert read_host(str(host), ["memory_usage"]).values == {"memory_usage": 80.0}


def test_processor_times_are_exact_integers(host: Path) -> None:
    """A field may be stuck near 2**64, where floats are 2048 apart; it must not cost the other fields' last digits."""
    for user in (1001, 1002, 2**50 - 1, 2**50 - 2):
        (host / "stat").write_text(f"cpu  {user} 0 0 {2**64 - 1} 0 0 0 0 0 0\n")
        assert read_host(str(host), ["cpu_usage"]).cpu == CpuTimes(user, 2**64 + user)


@pytest.fixture
def no_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)


def test_without_psutil_one_reason_says_what_is_missing_and_how_to_get_it(host: Path, no_psutil: None) -> None:
    read = read_host(str(host), CUSTOM_METRICS)
    assert (read.values, read.cpu) == ({"load_average_1m": 1.25, "uptime_seconds": 35353}, None)
    ((names, reason),) = read.missing.items()
    assert names == "cpu_usage, memory_usage, process_count"
    assert "psutil, which can't be imported" in reason
    assert "install psutil on the device" in reason


def test_broken_psutil_is_as_one_that_is_missing(host: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "psutil.py").write_text("raise AttributeError('made for another Python')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "psutil")
    prepare(["cpu_usage"])
    read = read_host(str(host), ["cpu_usage"])
    assert "made for another Python" in read.missing["cpu_usage"]


@pytest.mark.parametrize(
    ("names", "imported"), [(CUSTOM_METRICS, True), (["uptime_seconds", "load_average_1m"], False), ([], False)]
)
def test_psutil_is_imported_at_the_start_and_only_if_a_metric_needs_it(names: Sequence[str], imported: bool) -> None:
    script = "import sys; from connector.kernel import host; host.prepare(sys.argv[1:]); print('psutil' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script, *names], stdout=subprocess.PIPE, check=True, cwd=str(ROOT))
    assert done.stdout.decode().strip() == str(imported)


def test_what_psutil_imports_without_need_is_loaded_at_its_first_use() -> None:
    script = """
import sys
from connector.kernel import host
host.prepare(["cpu_usage"])
print("subprocess" in sys.modules)
import psutil
print(psutil.subprocess.Popen.__module__)
import subprocess
print(subprocess.Popen is psutil.subprocess.Popen)
"""
    path = {"PYTHONPATH": str(Path(psutil.__file__).parent.parent)}
    command = [sys.executable, "-S", "-c", script]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=str(ROOT), env=path)
    assert done.stdout.decode().split() == ["False", "subprocess", "True"]


def test_psutil_that_needs_such_a_module_while_it_is_imported_gets_it(tmp_path: Path) -> None:
    """As a device may have another psutil than the zip."""
    (tmp_path / "psutil.py").write_text("import subprocess\nPIPE = subprocess.PIPE\n")
    script = """
import sys
from connector.kernel import host
host.prepare(["cpu_usage"])
print(sys.modules["psutil"].PIPE, type(sys.modules["subprocess"]).__name__)
"""
    command = [sys.executable, "-S", "-c", script]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=str(ROOT), env={"PYTHONPATH": str(tmp_path)})
    assert done.stdout.decode().split() == ["-1", "module"]


def test_memory_can_be_given_back_with_and_without_psutil(no_psutil: None) -> None:
    give_back_memory()
    sys.modules["psutil"] = psutil
    give_back_memory()


def test_load_average_of_0_is_reported(host: Path) -> None:
    (host / "loadavg").write_text("0.00 0.01 0.05 1/80 4711\n")
    assert read_host(str(host), ["load_average_1m"]).values == {"load_average_1m": 0.0}


def test_process_count_is_missing_if_proc_can_not_be_listed(tmp_path: Path) -> None:
    read = read_host(str(tmp_path / "absent"), ["process_count"])
    assert read.missing == {"process_count": f"{tmp_path / 'absent'} does not show all processes {HINT}"}


def test_module_is_found_after_memory_was_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "imported_late.py").write_text("value = 7\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    give_back_memory()
    assert sys.path_importer_cache == {}, "names of all files in the directories that were searched"
    assert importlib.import_module("imported_late").value == 7
