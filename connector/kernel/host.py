"""Custom metrics of the host, from the proc mounted at another path than /proc.

psutil makes cpu_usage, memory_usage and process_count, told where proc is mounted by its global PROCFS_PATH. What it
can't tell from another proc is read here: its getloadavg() always reads /proc, and its boot time is of a clock that may
be set. What psutil hides and a report must not have is checked here: processes that hidepid hides, times that a kernel
does not count, a host without memory.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import sys
import types
import warnings
from typing import Any, Callable, Dict, Iterator, NamedTuple, Optional, Sequence, Tuple

from ..errors import TableError
from .proc import is_there, read, unreadable

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# The fields of cpu_times() that add up to all of the time. Those of guests are contained in user and nice.
_BUSY = ("user", "nice", "system", "irq", "softirq", "steal")
_IDLE = ("idle", "iowait")
# What psutil imports for functions that are not used here. It takes 0.1 MB, on Python 3.13 0.3 MB.
_NOT_USED_OF_PSUTIL = ("glob", "pwd", "subprocess")


class CpuTimes(NamedTuple):
    """Processor times since the boot, summed over all processors, in ticks (1/TICKS_PER_SECOND).

    busy: ticks at work.
    total: all ticks.

    They are integers, as the change between two readings may be too small for a float: a field of `stat` may have an
    offset near 2**64.
    """

    busy: int
    total: int


class Host:
    """The custom metrics of the host.

    values: metric name -> value.
    cpu: processor times; two readings give `cpu_usage`. None if not asked for or missing.
    missing: metric name -> why it could not be read; several names, separated by commas, if that is one reason.
    """

    def __init__(self, values: Dict[str, float], cpu: Optional[CpuTimes], missing: Dict[str, str]) -> None:
        self.values, self.cpu, self.missing = values, cpu, missing


def prepare(names: Sequence[str]) -> None:
    """Import psutil while the process is small, if one of these metrics needs it."""
    if not _NEED_PSUTIL.isdisjoint(names):
        _import_psutil()


def give_back_memory() -> None:
    """Return to the kernel the memory that only a report needs, 0.3 to 0.5 MB.

    With psutil 7.2 or later on glibc, and only if a metric has imported it. First the import system's lists of the
    files in each directory are dropped; a later import makes them anew.
    """
    sys.path_importer_cache.clear()
    trim = getattr(sys.modules.get("psutil"), "heap_trim", None)
    if trim is not None:
        trim()


def read_host(root: str, names: Sequence[str]) -> Host:
    """Read some metrics, of METRICS and `cpu_usage`, from the proc mounted at `root`; each fails by itself."""
    values: Dict[str, float] = {}
    missing: Dict[str, str] = {}
    cpu = None
    needy = [name for name in names if name in _NEED_PSUTIL]
    psutil, reason = _import_psutil() if needy else (None, "")
    if reason:
        missing[", ".join(needy)] = reason
        names = [name for name in names if name not in _NEED_PSUTIL]
    for name in names:
        try:
            if name == "cpu_usage":
                cpu = _cpu_times(root, psutil)
            else:
                values[name] = METRICS[name](root, psutil)
        except TableError as error:
            missing[name] = str(error)
    return Host(values, cpu, missing)


def _import_psutil() -> Tuple[Any, str]:
    """Return psutil, from the zip or the device, and why it can't be imported ("" if it can)."""
    try:
        with _postponed(() if "psutil" in sys.modules else _NOT_USED_OF_PSUTIL):
            import psutil  # only here, so that a function without such a metric does not load it
    except Exception as error:  # besides ImportError whatever a psutil for another Python raises
        return None, (
            f"psutil, which can't be imported ({error}), is needed: use the zip for the device's machine (x86_64 or "
            "aarch64), unpacked, or install psutil on the device, for the Python that runs the connector"
        )
    return psutil, ""


class _Later(types.ModuleType):
    """Stands for a module until one of its names is used, which may be while other modules are still imported."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


@contextlib.contextmanager
def _postponed(names: Sequence[str]) -> Iterator[None]:
    """Give what is imported meanwhile a stand-in for each of these modules, which loads it at the first use.

    Whatever is imported later imports the modules themselves. importlib.util.LazyLoader does not do this: before Python
    3.12 the second import of a module loads it.
    """
    stand_ins = {name: _Later(name) for name in names if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]


def _ask(psutil: Any, root: str, function: str, table: str) -> Any:
    """Return what a function of psutil reads from the proc mounted at `root`. Raises TableError, which names the table.

    psutil doesn't check what it reads: any error of its parser means a table of unknown shape. TypeError: the fields of
    its cpu_times() are those of /proc/stat when it was imported, and this `stat` has fewer.
    """
    before = psutil.PROCFS_PATH
    psutil.PROCFS_PATH = root
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of fields that are not used here
            return getattr(psutil, function)()
    except OSError as error:
        raise unreadable(os.path.join(root, table), error) from error
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise TableError(f"{table or root}: psutil can't read it: {type(error).__name__}: {error}"[:300]) from error
    finally:
        psutil.PROCFS_PATH = before


def _cpu_times(root: str, psutil: Any) -> CpuTimes:
    """Read the processor times. iowait is idle time.

    psutil returns seconds, as floats. Each field becomes ticks again before they are added: exact below 2**50, and a
    field beyond that, which is always a kernel's miscount, costs the others no digit.
    """
    times = _ask(psutil, root, "cpu_times", "stat")
    try:
        busy, idle = ([round(getattr(times, name) * TICKS_PER_SECOND) for name in names] for names in (_BUSY, _IDLE))
    except (ArithmeticError, AttributeError, ValueError) as error:  # inf, nan
        raise TableError(f"stat: {times} are no processor times") from error
    if not 0 <= min(busy + idle) <= max(busy + idle) <= 2**64:
        raise TableError(f"stat: {times} are no processor times")
    if not any(busy + idle):  # as in gVisor
        raise TableError("stat: all processor times are 0: this kernel does not count them")
    return CpuTimes(sum(busy), sum(busy + idle))


def _memory_usage(root: str, psutil: Any) -> float:
    """Return the percentage of memory that is not available to programs, to a tenth.

    Where the kernel has no MemAvailable (before 3.14), psutil estimates it as newer kernels do. It needs zoneinfo for
    that; without, it is what free(1) counted then: free memory, buffers and caches, without shared memory.
    """
    memory = _ask(psutil, root, "virtual_memory", "meminfo")
    available = memory.available
    if not is_there(root, "zoneinfo") and b"\nMemAvailable:" not in read(root, "meminfo"):
        available = memory.free + memory.buffers + memory.cached - memory.shared
    if not 0 <= available <= memory.total or not memory.total:
        raise TableError(f"meminfo: MemTotal is {memory.total} bytes, of which {available} are available")
    return float(round(100.0 * (memory.total - available) / memory.total, 1))


def _process_count(root: str, psutil: Any) -> float:
    """Count the processes. Where process 1 is not shown, hidepid hides other users' processes."""
    if not is_there(root, "1"):
        raise TableError(f"{root} does not show all processes (is the host's proc mounted there, without hidepid?)")
    return len(_ask(psutil, root, "pids", ""))


def _load_average_1m(root: str, psutil: Any) -> float:
    return _first_number(root, "loadavg")


def _uptime_seconds(root: str, psutil: Any) -> float:
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


# Each is given the root of the mounted proc and psutil.
METRICS: Dict[str, Callable[[str, Any], float]] = {
    "memory_usage": _memory_usage,
    "process_count": _process_count,
    "load_average_1m": _load_average_1m,
    "uptime_seconds": _uptime_seconds,
}
_NEED_PSUTIL = frozenset(("cpu_usage", "memory_usage", "process_count"))
