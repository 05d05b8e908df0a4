"""What the loop remembers from one report to the next. state.py keeps it over a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, NamedTuple, Optional, Tuple

from .kernel.host import CpuTimes
from .traffic import Traffic

if TYPE_CHECKING:
    from .pending import Pending


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
