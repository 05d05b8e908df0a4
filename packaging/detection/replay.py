"""Replays recordings: judges a fleet by profiles, and says what a person should know about each result."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from connector.detect.alarm import IN_ALARM, INVALIDATED, Change
from connector.detect.conformity import conformity
from connector.detect.conformity import judge as violation_of
from connector.detect.metrics import METRICS, is_timed
from connector.detect.profile import Behavior, Profile

from . import columns
from .fleet import Fleet, Source, Times, source
from .judge import NUMBER_KINDS, Judged, judge, native, plain
from .outcome import Alarm, Device, Outcome, Result, Series
from .reports import CUSTOM_COLUMNS
from .summary import rule


def replay(
    fleet: Fleet,
    profiles: Sequence[Profile],
    baseline: Fleet | None = None,
    account: Mapping[str, Any] | None = None,
    baseline_account: Mapping[str, Any] | None = None,
) -> Outcome:
    """Return what the profiles say of each device, worst first: most time in alarm, then most violations.

    baseline: percentiles are taken from it; without it, from the fleet itself
    account, baseline_account: how many records were read, skipped and doubled
    """
    judged = judge(fleet, profiles, baseline)
    reasons = _Reasons(fleet, judged)
    devices = [
        Device(
            thing,
            times.first,
            times.last,
            times.reports,
            times.interval,
            times.uneven,
            tuple(_result(one, thing, times, reasons) for one in judged),
        )
        for thing, times in fleet.times.items()
    ]
    devices.sort(
        key=lambda device: (-device.seconds_in_alarm, -sum(one.violations for one in device.results), device.thing)
    )
    names = tuple(profile.name for profile in profiles)
    return Outcome(names, tuple(devices), account or {}, Reader(fleet, judged).series, baseline_account)


def _result(judged: Judged, thing: str, times: Times, reasons: _Reasons) -> Result:
    behavior = judged.behavior
    tally = judged.tallies.get(thing)
    if tally is None:
        return Result(
            judged.profile, behavior, rule(behavior), skipped=judged.skipped or reasons.skipped(behavior, thing)
        )
    notes = [
        *_interval_notes(behavior.metric, behavior.duration, times.interval),
        *reasons.notes(behavior, thing),
        *judged.notes,
    ]
    return Result(
        judged.profile,
        behavior,
        rule(behavior),
        behavior.limit,
        None,
        tally.datapoints,
        tally.violations,
        tally.worst,
        tuple(tally.elements),
        tally.distinct,
        _spans(judged.changes.get(thing, ())),
        tuple(notes),
    )


def _spans(changes: Sequence[Change]) -> tuple[Alarm, ...]:
    alarms: list[Alarm] = []
    for change in changes:
        if change.type == IN_ALARM:
            alarms.append(Alarm(change.time))
        else:
            alarms[-1] = Alarm(change.since, change.time, invalidated=change.type == INVALIDATED)
    return tuple(alarms)


class _Reasons:
    """Why a behavior has no datapoint on a device, and what its datapoints don't show.

    Asks the fleet once for each metric.
    """

    def __init__(self, fleet: Fleet, judged: Sequence[Judged]) -> None:
        self._fleet = fleet
        self._carrying = cache(self._things_carrying)
        self._samples = cache(self._sampled)
        self._kinds = cache(self._kinds_of)
        self._datapoints: dict[str, int] = {}
        for one in judged:
            total = sum(tally.datapoints for tally in one.tallies.values())
            self._datapoints[one.behavior.metric] = max(total, self._datapoints.get(one.behavior.metric, 0))

    def skipped(self, behavior: Behavior, thing: str) -> str:
        """Return why a thing has no datapoint of a behavior."""
        metric = behavior.metric
        if is_timed(metric) and thing in self._carrying(metric):
            return f"the recording is shorter than durationSeconds {behavior.duration}"
        if metric in METRICS:
            return f"no report carries {metric}"
        return next(
            self._other_kinds(behavior),
            f"no report carries {metric} among its custom metrics (parameter CustomMetrics of the connector)",
        )

    def notes(self, behavior: Behavior, thing: str) -> Iterator[str]:
        """Yield what the datapoints of a behavior on a thing do not show."""
        if behavior.metric in columns.TOTALS:
            carrying, sampled, most = self._samples(behavior.metric).get(thing, (0, 0, 0))
            if sampled:
                yield (
                    f"{sampled} of {carrying} reports list a sample only (of up to {most}); what is not in it is"
                    " missed, here and in the service; raise MaxListSize (--max-list-size)"
                )
        elif behavior.metric not in METRICS and self._datapoints[behavior.metric] < self._reports:
            yield from self._other_kinds(behavior)

    @property
    def _reports(self) -> int:
        return sum(times.reports for times in self._fleet.times.values())

    def _other_kinds(self, behavior: Behavior) -> Iterator[str]:
        for kind, times in self._kinds(behavior.metric).items():
            if times and kind != behavior.kind:
                reports = "1 report" if times == 1 else f"{times} reports"
                yield (
                    f"{behavior.metric} is of the type {kind} in {reports}, which are not judged: the behavior compares"
                    f" it with {behavior.kind}"
                )

    def _things_carrying(self, metric: str) -> Collection[str]:
        points = columns.datapoints(self._fleet.table, metric, "count")
        return {thing for (thing,) in self._fleet.engine.rows(points.select("thing").distinct())}

    def _sampled(self, metric: str) -> dict[str, tuple[int, int, int]]:
        rows = self._fleet.engine.rows(columns.samples(self._fleet.table, metric))
        return {thing: (carrying, sampled, most) for thing, carrying, sampled, most in rows}

    def _kinds_of(self, metric: str) -> dict[str, int]:
        (times,) = self._fleet.engine.rows(columns.kinds(self._fleet.table, metric))
        return dict(zip(CUSTOM_COLUMNS, times))


@cache
def _interval_notes(metric: str, duration: int | None, every: int | None) -> tuple[str, ...]:
    if duration is None or every is None:
        return ()
    if not is_timed(metric):
        if duration <= 1.5 * every:
            return ()
        return (
            f"each report is a datapoint; what the service makes of several within durationSeconds {duration} is not"
            " published",
        )
    summed = max(1, math.ceil(duration / every - 0.5)) * every
    if abs(summed - duration) <= duration / 10:
        return ()
    return (
        f"reports come every {every} s, so a datapoint sums {summed} s instead of durationSeconds {duration}; take a"
        " duration that is a multiple of the interval",
    )


class Reader:
    """Reads the datapoints behind a result."""

    def __init__(self, fleet: Fleet, judged: Sequence[Judged]) -> None:
        self._fleet = fleet
        self._behaviors = {(one.profile, one.behavior.name): one.behavior for one in judged if one.tallies}

    def series(self, thing: str, profile: str, behavior: str, times: Collection[int] | None = None) -> Series:
        """Return the datapoints of a behavior on a thing; with times, those of these times only."""
        judged = self._behaviors[profile, behavior]
        key = source(judged)
        points = columns.of_thing(self._fleet.datapoints(key), thing)
        if times is not None:
            points = points.filter(points.time.isin(sorted(times)))
        rows = [(time, value) for _, time, value in self._fleet.engine.rows(points)]
        values = [_plain_value(value) for _, value in rows]
        outside = _outside(judged, key, values)
        return Series([time for time, _ in rows], values, outside, judged.limit)


def _plain_value(value: Any) -> Any:
    return [plain(element) for element in value] if isinstance(value, list) else plain(value)


def _outside(behavior: Behavior, key: Source, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    conforms = conformity(behavior)
    if key.kind in NUMBER_KINDS:
        return [() if conforms(value) else (value,) for value in values]

    @cache
    def is_normal(element: Any) -> bool:
        return conforms(native(key.kind, element))

    return [violation_of(is_normal, value, len(value)).elements for value in values]
