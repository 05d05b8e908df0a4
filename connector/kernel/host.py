"""`stat`, `meminfo`, `loadavg`, `uptime` and the processes' directories: custom metrics of the host (proc(5)).

The same numbers as psutil's, without importing it: compiled from the zip's sources, it takes 5 MB of the 16 MB that a
core gives a function by default, which kills a function on Python 3.11. It also has no wheel for armv7l.
"""

from __future__ import annotations

import math
import os
import re
from typing import Callable, Dict, NamedTuple, Optional, Sequence

from ..errors import TableError
from .proc import read, unreadable

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class CpuTimes(NamedTuple):
    """Processor times since the boot, summed over all processors, in ticks (1/TICKS_PER_SECOND).

    busy: ticks at work.
    total: all ticks.

    They are integers, as the change between two readings may be too small for a float: a field of `stat` may have an
    offset near 2**64.
    """

    busy: int
    total: int


class Host(NamedTuple):
    """The custom metrics of the host.

    values: metric name -> value.
    cpu: processor times; two readings give `cpu_usage`. None if not asked for or missing.
    missing: metric name -> why it could not be read.
    """

    values: Dict[str, float]
    cpu: Optional[CpuTimes]
    missing: Dict[str, str]


def read_host(root: str, names: Sequence[str]) -> Host:
    """Read some metrics, of METRICS and `cpu_usage`, from the proc mounted at `root`; each fails by itself."""
    values: Dict[str, float] = {}
    missing: Dict[str, str] = {}
    cpu = None
    for name in names:
        try:
            if name == "cpu_usage":
                cpu = _cpu_times(root)
            else:
                values[name] = METRICS[name](root)
        except TableError as error:
            missing[name] = str(error)
    return Host(values, cpu, missing)


def _cpu_times(root: str) -> CpuTimes:
    """Read the first row of `stat`: user nice system idle iowait irq softirq steal, in ticks.

    The times of guests, which follow, are contained in user and nice. iowait is idle time.
    """
    row = read(root, "stat").split(b"\n", 1)[0]
    match = re.match(rb"cpu +([0-9]{1,20}(?: [0-9]{1,20}){7})(?: |$)", row)
    if match is None:
        raise TableError(f"stat: a row of unknown shape: {row[:160]!r}")
    ticks = [int(field) for field in match.group(1).split()]
    if not any(ticks):  # as in gVisor
        raise TableError("stat: all processor times are 0: this kernel does not count them")
    return CpuTimes(sum(ticks) - ticks[3] - ticks[4], sum(ticks))


def _memory_usage(root: str) -> float:
    """Return the percentage of memory that is not available to programs, to a tenth."""
    rows = re.findall(rb"^(\w+): +([0-9]{1,20}) kB$", read(root, "meminfo"), re.MULTILINE)
    sizes = {name.decode("ascii"): int(size) for name, size in rows}
    total, available = sizes.get("MemTotal", 0), sizes.get("MemAvailable")
    if available is None:
        available = _estimate_available(sizes)
    if not 0 <= available <= total or not total:
        raise TableError(f"meminfo: MemTotal is {total} kB, of which {available} kB are available")
    return round(100.0 * (total - available) / total, 1)


def _estimate_available(sizes: Dict[str, int]) -> int:
    """Estimate the available memory for kernels without MemAvailable, before 3.14, as free(1) did: free and cached.

    Cached contains shared memory, which can't be freed.
    """
    try:
        cached = sizes["Buffers"] + sizes["Cached"] + sizes.get("SReclaimable", 0) - sizes.get("Shmem", 0)
        return sizes["MemFree"] + max(0, cached)
    except KeyError as error:
        raise TableError(f"meminfo: neither MemAvailable nor {error.args[0]}") from error


def _process_count(root: str) -> float:
    """Count the numbered directories. If process 1 is not among them, hidepid hides other users' processes."""
    try:
        names = os.listdir(root)
    except OSError as error:
        raise unreadable(root, error) from error
    if "1" not in names:
        raise TableError(f"{root} does not show all processes (is it mounted with hidepid?)")
    return sum(name.isdigit() for name in names)


def _load_average_1m(root: str) -> float:
    return _first_number(root, "loadavg")


def _uptime_seconds(root: str) -> float:
    return int(_first_number(root, "uptime"))


def _first_number(root: str, name: str) -> float:
    text = read(root, name)
    try:
        number = float(text.split()[0])
    except (IndexError, ValueError):
        number = math.nan
    if not 0 <= number < 2**53:  # nor nan
        raise TableError(f"{name}: no number at its start: {text[:160]!r}")
    return number


METRICS: Dict[str, Callable[[str], float]] = {
    "memory_usage": _memory_usage,
    "process_count": _process_count,
    "load_average_1m": _load_average_1m,
    "uptime_seconds": _uptime_seconds,
}
