"""Custom metrics of the host, from the mounted proc with psutil: the one file that knows psutil's oddities."""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence

from ..errors import TableError
from .proc import read


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
                continue
            value = METRICS[name](root)
            if not math.isfinite(value):
                raise TableError("it is {}".format(value))
            values[name] = value
        except Exception as error:  # psutil raises whatever its parsing meets
            missing[name] = str(error) or type(error).__name__
    return Host(values, cpu, missing)


def _psutil(root: str) -> Any:
    try:
        import psutil  # here, not above: it costs a third of the 16 MB that a core gives a function by default
    except ImportError as error:
        raise TableError(
            "psutil can't be imported ({}): deploy the zip built for this device's processor and Python, or install "
            "psutil on the device (Debian: apt install python3-psutil)".format(error)
        ) from error
    psutil.PROCFS_PATH = root  # a global, looked up at each call
    return psutil


def _cpu_times(root: str) -> CpuTimes:
    times = _psutil(root).cpu_times()._asdict()
    # The kernel counts a guest's time in user and nice too; waiting for a disk is idleness.
    total = sum(times.values()) - times.get("guest", 0.0) - times.get("guest_nice", 0.0)
    return CpuTimes(total - times["idle"] - times.get("iowait", 0.0), total)


def _memory_usage(root: str) -> float:
    return float(_psutil(root).virtual_memory().percent)


def _process_count(root: str) -> float:
    return len(_psutil(root).pids())


# psutil reads these two from its own /proc, wherever PROCFS_PATH points.
def _load_average_1m(root: str) -> float:
    return float(read(root, "loadavg").split()[0])


def _uptime_seconds(root: str) -> float:
    return int(float(read(root, "uptime").split()[0]))


METRICS: Dict[str, Callable[[str], float]] = {
    "memory_usage": _memory_usage,
    "process_count": _process_count,
    "load_average_1m": _load_average_1m,
    "uptime_seconds": _uptime_seconds,
}
