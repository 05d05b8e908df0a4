"""What the threads of another process do, so that a test need not guess from the time that has passed."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Callable, List

NAP = 0.01  # seconds
LONG = 300.0  # seconds that no test waits for
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def states(pid: int) -> List[str]:
    """Return the state of each thread (proc(5)): S asleep, R running or waiting for a processor; none once it ended."""
    found = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found.append(_fields(task / "stat")[0])
    except (FileNotFoundError, ProcessLookupError):
        pass  # a thread, or the process, has ended meanwhile
    return found


def cpu_seconds(pid: int) -> float:
    """Return the processor time that the process has used; 0 once it is gone."""
    try:
        fields = _fields(Path(f"/proc/{pid}/stat"))
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def own_seconds_until(ready: Callable[[], bool], pid: int) -> float:
    """Wait until `ready()`; return how long the process meanwhile slept or computed.

    While it is stopped, or waits for a processor or a disk, the machine holds it up: that is not its own time.
    """
    begun = used = cpu_seconds(pid)
    asleep = 0.0
    end = time.monotonic() + LONG
    while not ready():
        assert time.monotonic() < end, f"process {pid} has not ended"
        before = states(pid)
        time.sleep(NAP)
        if before and set(before) == {"S"}:
            asleep += NAP
        used = max(used, cpu_seconds(pid))
    return asleep + used - begun


def _fields(stat: Path) -> List[str]:
    """Return the fields of a `stat` after the name, which may have spaces and parentheses."""
    return stat.read_text().rpartition(")")[2].split()
