"""A report whose arrival is not proven; only a transport that does not prove it has any."""

from __future__ import annotations

from typing import NamedTuple, Optional

from .kernel.dev import Counters
from .kernel.host import CpuTimes


class Pending(NamedTuple):
    """A report that was handed over, and whose arrival is not proven (deliveries.py).

    report_id: int. carried, cpu: as in `cycle.Made`.
    counted: bool, whether `carried` was subtracted from the unsent traffic all the same.
    """

    report_id: int
    carried: Optional[Counters]
    cpu: Optional[CpuTimes]
    counted: bool = False
