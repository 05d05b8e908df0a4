"""What is known of the reports before. state.py keeps it over a restart."""

from __future__ import annotations

from typing import Any, Dict, NamedTuple, Optional, Tuple

from .kernel.dev import Counters
from .kernel.host import CpuTimes
from .traffic import Traffic


class Pending(NamedTuple):
    """A report that the transport's peer was given, and whose arrival is not proven (deliveries.py).

    report_id: int. carried, cpu: as in `cycle.Made`.
    counted: bool, whether `carried` is off the account all the same.
    """

    report_id: int
    carried: Optional[Counters]
    cpu: Optional[CpuTimes]
    counted: bool = False


class Memory(NamedTuple):
    """What is known of the reports before.

    report_id: int, the last one used, 0 for none.
    sent: float, when the last accepted report was sent, in seconds on the monotonic clock; None for never.
    cpu: processor times at that report, for `cpu_usage`.
    traffic: the account of what was not reported yet.
    alarms: what alarms.py keeps, for JSON; None where no profile is given.
    pending: reports that may still be answered, oldest first; none where the transport proves delivery.
    """

    report_id: int = 0
    sent: Optional[float] = None
    cpu: Optional[CpuTimes] = None
    traffic: Traffic = Traffic()
    alarms: Optional[Dict[str, Any]] = None
    pending: Tuple[Pending, ...] = ()
