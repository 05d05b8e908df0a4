"""A metric's readings as datapoints: each reading is one, but traffic is summed over durationSeconds."""

from __future__ import annotations

from typing import Any, Optional

from .measurement import Measurement, Number
from .metrics import is_timed
from .profile import Behavior


class Datapoints:
    """The datapoints of one behavior's metric.

    period: sums the metric over durationSeconds; None where each reading is a datapoint
    """

    def __init__(self, behavior: Behavior) -> None:
        self._metric = behavior.metric
        self._kind = behavior.kind
        self.period = Period(behavior.duration) if is_timed(behavior.metric) and behavior.duration else None

    def take(self, measurement: Measurement, step: float) -> Any:
        """Take one measurement and return the datapoint it gives, a number or a collection, or None.

        step: seconds since the measurement before. A reading of another type than the behavior compares with, which a
        custom metric can have, counts as missing.
        """
        reading = measurement.get(self._metric)
        value = reading.value if reading is not None and reading.kind == self._kind else None
        return value if self.period is None else self.period.add(value, step)


class Period:
    """Sums a metric's changes over periods that follow each other.

    A period ends with the measurement nearest to its duration. Measurements don't come to the second; periods cut by
    the clock would hold now none, now two, and raise false alarms. A period in which nothing could be read gives no
    datapoint.

    duration: durationSeconds
    elapsed: seconds since the period began; None before the first measurement
    total: what was measured since then; None if nothing was
    """

    def __init__(self, duration: int) -> None:
        self.duration = duration
        self.elapsed: Optional[float] = None
        self.total: Optional[Number] = None

    def add(self, change: Optional[Number], step: float) -> Optional[Number]:
        """Add one measurement and return the sum, if the period ends with it.

        change: what passed since the last measurement; None: it could not be read. step: the seconds between the two.
        """
        if self.elapsed is None and change is None:
            self.elapsed = 0.0  # the period begins here: nothing is known of the time before
            return None
        self.elapsed = (self.elapsed or 0.0) + step
        if change is not None:
            self.total = (self.total or 0) + change
        if self.elapsed < self.duration - step / 2:
            return None
        total, self.elapsed, self.total = self.total, 0.0, None
        return total
