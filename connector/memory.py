"""What the loop remembers from one report to the next. state.py keeps it over a restart."""

from __future__ import annotations

from typing import Any, Dict, NamedTuple, Optional, Tuple

from .kernel.dev import Counters
from .kernel.host import CpuTimes
from .traffic import Traffic


class Pending(NamedTuple):
    """A report that was handed over, and whose arrival is not proven (deliveries.py).

    report_id: int. carried, cpu: as in `cycle.Made`.
    counted: bool, whether `carried` was subtracted from the unsent traffic all the same.
    """

    report_id: int
    carried: Optional[Counters]
    cpu: Optional[CpuTimes]
    counted: bool = False


class Memory(NamedTuple):
    """What the loop remembers.

    report_id: int, the last one used, 0 for none.
    sent: float, when the last accepted report was sent, in seconds on the monotonic clock; None for never.
    cpu: processor times at that report, for `cpu_usage`.
    traffic: the last counters, and the traffic that is still unsent.
    alarms: what alarms.py keeps, for JSON; None where no profile is given.
    pending: reports that may still be answered, oldest first; none where the transport proves delivery.
    """

    report_id: int = 0
    sent: Optional[float] = None
    cpu: Optional[CpuTimes] = None
    traffic: Traffic = Traffic()
    alarms: Optional[Dict[str, Any]] = None
    pending: Tuple[Pending, ...] = ()
