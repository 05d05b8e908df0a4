"""When an alarm begins and ends.

Source: developer guide, "Behaviors": an alarm begins after consecutiveDatapointsToAlarm violations in a row, clears
after consecutiveDatapointsToClear conforming datapoints in a row, and is invalidated when no metric came for over two
days.
"""

from __future__ import annotations

from typing import List, NamedTuple, Optional

IN_ALARM = "in-alarm"
CLEARED = "alarm-cleared"
INVALIDATED = "alarm-invalidated"

MAX_SILENCE_SECONDS = 2 * 24 * 3600


class Change(NamedTuple):
    """A change of an alarm.

    type: IN_ALARM, CLEARED or INVALIDATED
    time: when it happened, epoch seconds
    since: when the alarm began, epoch seconds
    """

    type: str
    time: int
    since: int


class Alarm:
    """The alarm of one behavior.

    since: when it began, epoch seconds; None: there is no alarm
    run: datapoints in a row that contradict the present state: violations without an alarm, conforming ones in one
    silence: seconds since the last datapoint
    """

    def __init__(self, to_alarm: int, to_clear: int) -> None:
        self._to_alarm = to_alarm
        self._to_clear = to_clear
        self.since: Optional[int] = None
        self.run = 0
        self.silence = 0.0

    def observe(self, violates: Optional[bool], now: int, step: float) -> Optional[Change]:
        """Take one measurement and return the change it causes, if any.

        violates: whether the datapoint is a violation; None: the measurement has no datapoint, which changes nothing.
        step: seconds since the measurement before.

        There is at most one change a measurement. Where a violation comes first after two days without a datapoint, it
        counts, and its alarm can begin with the next one.
        """
        self.silence += step
        change = None
        if self.silence > MAX_SILENCE_SECONDS:
            self.run = 0
            if self.since is not None:
                expired = now - int(self.silence - MAX_SILENCE_SECONDS)
                change = Change(INVALIDATED, expired, self.since)
                self.since = None
        if violates is None:
            return change
        self.silence = 0.0
        in_alarm = self.since is not None
        self.run = 0 if violates == in_alarm else self.run + 1
        if change is not None or self.run < (self._to_clear if in_alarm else self._to_alarm):
            return change
        self.run = 0
        if self.since is not None:
            change = Change(CLEARED, now, self.since)
            self.since = None
            return change
        self.since = now
        return Change(IN_ALARM, now, now)

    def observe_run(self, violates: bool, count: int, first: int, deciding: int, step: float) -> List[Change]:
        """Take a whole run of datapoints, all violations or all conforming, and return the changes they cause.

        The changes are those that observe() gives for one datapoint after the other. A run ends where the next
        datapoint is of the other kind, or comes after more than MAX_SILENCE_SECONDS.

        count: how many datapoints
        first: the time of the first one, epoch seconds
        deciding: the time of number `deciding_place(...)` of the run; not used where the run is shorter
        step: seconds between the first one and the measurement before.
        """
        changes = [self.observe(violates, first, step)]
        if violates != (self.since is not None):  # the run contradicts the present state; its first one is counted
            place = deciding_place(self._to_alarm if violates else self._to_clear)
            if count < place:
                self.run += count - 1
            else:
                self.run += place - 2
                changes.append(self.observe(violates, deciding, 0.0))
        return [change for change in changes if change is not None]


def deciding_place(consecutive: int) -> int:
    """Return which datapoint of a run, counted from 1, can change the alarm if the first one does not.

    consecutive: the datapoints in a row that it takes. Where it takes one, and a violation that ends two days of
    silence only invalidates the alarm before, the second one decides.
    """
    return max(consecutive, 2)
