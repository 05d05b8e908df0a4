"""`stat`, `meminfo`, `loadavg`, `uptime` and the processes' directories: custom metrics of the host (proc(5)).

They are psutil's numbers without psutil. Its import, compiled from the zip's sources, takes 5 MB of the 16 MB that a
core gives a function by default, with which a function on Python 3.11 is killed; and no wheel of it is made for armv7l.
"""

from __future__ import annotations

import math
import os
import re
from typing import Callable, Dict, NamedTuple, Optional, Sequence

from ..errors import TableError
from .proc import read, unreadable


class CpuTimes(NamedTuple):
    """Seconds since the boot, summed over all processors: at work, and in all."""

    busy: float
    total: float


class Host(NamedTuple):
    """What was read, by metric name; `cpu` apart, as it says nothing before it is compared with an earlier reading.

    missing: by metric name, why it could not be read.
    """

    values: Dict[str, float]
    cpu: Optional[CpuTimes]
    missing: Dict[str, str]


def read_host(root: str, names: Sequence[str]) -> Host:
    """Read the metrics `names`, of METRICS and `cpu_usage`, from the proc mounted at `root`.

    A fault costs the metric that it meets.
    """
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
    """The first row of `stat`: user nice system idle iowait irq softirq steal, in ticks.

    What follows, guests' time, is counted in user and nice already. Waiting for a disk is idleness.
    """
    row = read(root, "stat").split(b"\n", 1)[0]
    match = re.match(rb"cpu +([0-9]{1,20}(?: [0-9]{1,20}){7})(?: |$)", row)
    if match is None:
        raise TableError(f"stat: a row of unknown shape: {row[:160]!r}")
    ticks = [int(field) for field in match.group(1).split()]
    second = os.sysconf("SC_CLK_TCK")
    return CpuTimes((sum(ticks) - ticks[3] - ticks[4]) / second, sum(ticks) / second)


def _memory_usage(root: str) -> float:
    """Percent of the memory that is not available to programs, as free(1) counts it, to a tenth."""
    rows = dict(re.findall(rb"^(MemTotal|MemAvailable): +([0-9]{1,20}) kB$", read(root, "meminfo"), re.MULTILINE))
    total, available = int(rows.get(b"MemTotal", 0)), int(rows.get(b"MemAvailable", -1))
    if not 0 <= available <= total or not total:
        raise TableError(f"meminfo: no MemTotal and MemAvailable that go together: {rows!r}")
    return round(100.0 * (total - available) / total, 1)


def _process_count(root: str) -> float:
    """The numbered directories. Where process 1 is not among them, hidepid leaves only this user's own to be seen."""
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
    if not 0 <= number < 2**53:  # nan is neither
        raise TableError(f"{name}: no number at its start: {text[:160]!r}")
    return number


METRICS: Dict[str, Callable[[str], float]] = {
    "memory_usage": _memory_usage,
    "process_count": _process_count,
    "load_average_1m": _load_average_1m,
    "uptime_seconds": _uptime_seconds,
}
