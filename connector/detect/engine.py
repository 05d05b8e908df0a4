"""All behaviors of all profiles, judged one measurement after the other."""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, List, NamedTuple, Optional, Sequence

from .alarm import Alarm, Change, deciding_place
from .conformity import CONFORMING, Violation, conformity, judge
from .datapoints import Datapoints
from .event import MAX_EVENT_ELEMENTS, Event
from .measurement import Measurement
from .profile import Behavior, Profile

DEFAULT_INTERVAL_SECONDS = 300  # of reports, and the service's minimum


class Judgement(NamedTuple):
    """What one measurement means for one behavior.

    profile: the profile's name
    behavior: the behavior
    value: the datapoint, a number or a collection; None: the measurement gave none
    violation: what of it is not normal
    event: the change of the alarm, if there is one
    """

    profile: str
    behavior: Behavior
    value: Any
    violation: Violation
    event: Optional[Event]


class Detector:
    """Judges a thing's measurements by security profiles. Holds bounded state and never waits for a later measurement.

    profiles: as profile.parse() returns them; those with a reason to be skipped are not judged
    thing: the thing's name, for events
    interval: usual seconds between measurements, for where the clock doesn't show them: the first measurement, and one
        that is not later than the one before it
    max_elements: how many elements in violation a judgement names
    """

    def __init__(
        self,
        profiles: Sequence[Profile],
        thing: str,
        interval: int = DEFAULT_INTERVAL_SECONDS,
        max_elements: int = MAX_EVENT_ELEMENTS,
    ) -> None:
        self._judges = [
            _Judge(profile.name, behavior, thing, max_elements)
            for profile in profiles
            for behavior in profile.behaviors
            if behavior.skipped is None
        ]
        self._interval = interval
        self._previous: Optional[int] = None

    @property
    def metrics(self) -> FrozenSet[str]:
        """The metrics that are judged."""
        return frozenset(one.behavior.metric for one in self._judges)

    @property
    def needs(self) -> FrozenSet[str]:
        """The metrics that are judged by every element of a list, not by a number."""
        return frozenset(one.behavior.metric for one in self._judges if one.behavior.kind not in ("count", "number"))

    def judge(self, measurement: Measurement, now: int, elapsed: Optional[int] = None) -> List[Event]:
        """Take one measurement, of the time `now` in epoch seconds; return the events, at most one for each behavior.

        elapsed: seconds since the measurement before, where a clock that is never set shows them; None: the difference
            of the two times.

        Events of behaviors with suppressAlerts are among them; nobody is to be alerted of those.
        """
        return [one.event for one in self.judgements(measurement, now, elapsed) if one.event is not None]

    def judgements(self, measurement: Measurement, now: int, elapsed: Optional[int] = None) -> List[Judgement]:
        """Take one measurement, as judge() does, and return what it means for each behavior."""
        step = elapsed if elapsed is not None else now - self._previous if self._previous is not None else 0
        self._previous = now
        return [one.observe(measurement, now, step if step > 0 else self._interval) for one in self._judges]

    def dump(self) -> Dict[str, Any]:
        """Return the state, for JSON: about 100 bytes a behavior."""
        return {"time": self._previous, "behaviors": {one.key: one.dump() for one in self._judges}}

    def load(self, state: Any) -> None:
        """Go on from the state of an earlier run. What does not fit, of other profiles or damaged, is ignored."""
        if not isinstance(state, dict):
            return
        self._previous = _natural(state.get("time"))
        behaviors = state.get("behaviors")
        if isinstance(behaviors, dict):
            for one in self._judges:
                one.load(behaviors.get(one.key))


class _Judge:
    """Judges one behavior."""

    def __init__(self, profile: str, behavior: Behavior, thing: str, max_elements: int) -> None:
        self.behavior = behavior
        self.key = f"{profile}/{behavior.name}"
        self._profile = profile
        self._thing = thing
        self._max_elements = max_elements
        self._conforms = conformity(behavior)
        self._datapoints = Datapoints(behavior)
        self._alarm = Alarm(behavior.to_alarm, behavior.to_clear)

    def observe(self, measurement: Measurement, now: int, step: int) -> Judgement:
        value = self._datapoints.take(measurement, step)
        violation = CONFORMING if value is None else judge(self._conforms, value, self._max_elements)
        change = self._alarm.observe(None if value is None else violation.total > 0, now, step)
        event = self._event(change, value, violation) if change else None
        return Judgement(self._profile, self.behavior, value, violation, event)

    def _event(self, change: Change, value: Any, violation: Violation) -> Event:
        number = value if self.behavior.kind in ("count", "number") else None
        return Event(self._thing, self._profile, self.behavior, change, number, violation)

    def dump(self) -> Dict[str, Any]:
        state: Dict[str, Any] = {"metric": self.behavior.metric, "run": self._alarm.run, "silence": self._alarm.silence}
        if self._alarm.since is not None:
            state["since"] = self._alarm.since
        period = self._datapoints.period
        if period is not None:
            state.update(elapsed=period.elapsed, total=period.total)
        return state

    def load(self, state: Any) -> None:
        if not isinstance(state, dict) or state.get("metric") != self.behavior.metric:
            return
        self._alarm.since = _natural(state.get("since"))
        longest = deciding_place(max(self.behavior.to_alarm, self.behavior.to_clear)) - 1
        self._alarm.run = min(_natural(state.get("run")) or 0, longest)
        self._alarm.silence = _seconds(state.get("silence")) or 0.0
        period = self._datapoints.period
        if period is not None:
            period.elapsed = _seconds(state.get("elapsed"))
            period.total = _natural(state.get("total"))


def _natural(value: Any) -> Optional[int]:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else None


def _seconds(value: Any) -> Optional[float]:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 2**63:
        return None
    return float(value)
