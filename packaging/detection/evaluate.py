"""The replay: each behavior over the datapoints of a recording, as the service would judge them.

Sources: developer guide, "Behaviors", "Device-side metrics" and "Custom metrics". The criteria say what is normal; a
datapoint for which they don't hold is in violation. What the guide leaves open is decided here and said in the notes.
"""

from __future__ import annotations

import ipaddress
import math
import operator
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from .errors import InputError
from .metrics import METRICS
from .profile import Behavior, Number, Profile
from .reports import Reading, Report

INVALIDATED_AFTER = 2 * 24 * 3600
"""Seconds without a datapoint after which the service gives an alarm up (alarm-invalidated)."""

COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "less-than": operator.lt,
    "less-than-equals": operator.le,
    "greater-than": operator.gt,
    "greater-than-equals": operator.ge,
}


@dataclass(frozen=True)
class Datapoint:
    """One measurement and what of it is not normal."""

    time: int
    """Epoch seconds."""
    value: Any
    """A number, or a tuple of elements."""
    outside: tuple[Any, ...]
    """The elements that violate the behavior; for a number, itself. Empty: the device behaves."""


@dataclass(frozen=True)
class Alarm:
    """A span in alarm, in epoch seconds."""

    start: int
    end: int | None = None
    """None: it goes on when the recording ends."""
    invalidated: bool = False
    """It did not clear; two days passed without a datapoint."""


@dataclass(frozen=True)
class Outcome:
    """What a behavior would have said."""

    behavior: Behavior
    skipped: str | None = None
    """Why it could not be replayed."""
    limit: Number | None = None
    """What numbers were compared with: the behavior's own, or its percentile's value here."""
    datapoints: tuple[Datapoint, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    notes: tuple[str, ...] = ()


def replay(profile: Profile, reports: Sequence[Report], baselines: Sequence[Sequence[Report]] = ()) -> list[Outcome]:
    """Return what each behavior of the profile says about a recording.

    baselines: recordings that percentiles are taken from; without any, from the recording itself.
    Raises InputError where a behavior and a report disagree on the type of a custom metric.
    """
    return [_replay(behavior, reports, baselines) for behavior in profile.behaviors]


def _replay(behavior: Behavior, reports: Sequence[Report], baselines: Sequence[Sequence[Report]]) -> Outcome:
    skipped = _not_in_reports(behavior)
    if skipped:
        return Outcome(behavior, skipped)
    measured = measurements(behavior, reports)
    if not measured:
        return Outcome(behavior, _nothing_measured(behavior, reports))

    notes = [*_interval_notes(behavior, reports), *_sample_notes(behavior, reports)]
    limit = behavior.limit
    if behavior.statistic:
        pool = [value for recording in baselines or [reports] for _, value in measurements(behavior, recording)]
        if not pool:
            return Outcome(
                behavior, f"the baseline says nothing of {behavior.metric} to take {behavior.statistic} from"
            )
        if min(pool) < 0:
            return Outcome(behavior, "percentiles are not available for a metric with negative values")
        limit = percentile(pool, behavior.statistic)
        if not baselines:
            notes += _percentile_notes(behavior.statistic, pool, limit)

    outside = _judge(behavior, limit)
    datapoints = tuple(Datapoint(time, value, outside(value)) for time, value in measured)
    alarms = tuple(_alarms(datapoints, behavior.to_alarm, behavior.to_clear))
    return Outcome(behavior, None, limit, datapoints, alarms, tuple(notes))


def _not_in_reports(behavior: Behavior) -> str | None:
    metric = METRICS.get(behavior.metric)
    if metric is not None and not metric.reported:
        return f"AWS IoT measures {behavior.metric} itself; no report carries it"
    if behavior.kind is None:
        return "it has no criteria: the service keeps the metric and never alarms"
    if behavior.confidence:
        return "ML Detect learns from 14 days and 25,000 datapoints of the fleet, in the service only"
    return None


def _nothing_measured(behavior: Behavior, reports: Sequence[Report]) -> str:
    if any(behavior.metric in report.readings for report in reports):
        return f"the recording is shorter than durationSeconds {behavior.duration}"
    if behavior.metric in METRICS:
        return f"no report carries {behavior.metric}"
    return f"no report carries the custom metric {behavior.metric} (parameter CustomMetrics of the connector)"


def measurements(behavior: Behavior, reports: Sequence[Report]) -> list[tuple[int, Any]]:
    """Return (epoch seconds, value) for each datapoint of a behavior's metric; a report without it gives none."""
    metric = METRICS.get(behavior.metric)
    if metric is not None and metric.timed:
        assert behavior.duration is not None
        return list(_sums(behavior.metric, behavior.duration, reports))
    return [(report.time, reading.value) for report, reading in _readings(behavior, reports)]


def _readings(behavior: Behavior, reports: Sequence[Report]) -> Iterator[tuple[Report, Reading]]:
    for report in reports:
        reading = report.readings.get(behavior.metric)
        if reading is None:
            continue
        if reading.kind != behavior.kind:
            raise InputError(
                f"{report.where}: {behavior.metric} is of the type {reading.kind};"
                f" behavior {behavior.name} compares it with {behavior.kind}"
            )
        yield report, reading


def _sums(metric: str, duration: int, reports: Sequence[Report]) -> Iterator[tuple[int, int]]:
    """Yield the traffic of each period: periods follow each other, and end with the report nearest to their duration.

    Reports don't come to the second; periods cut by the clock would now hold no report, now two, and so invent alarms.
    A report says what passed since the one before it.
    """
    previous = start = reports[0].time
    if metric in reports[0].readings:
        previous = start = reports[0].time - (interval(reports) or duration)
    total: int | None = None
    for report in reports:
        if metric in report.readings:
            total = (total or 0) + report.readings[metric].value
        if report.time - start >= duration - (report.time - previous) / 2:
            if total is not None:
                yield report.time, total
            start, total = report.time, None
        previous = report.time


def interval(reports: Sequence[Report]) -> int | None:
    """Return the usual time between two reports in seconds."""
    times = [report.time for report in reports]
    return round(statistics.median(b - a for a, b in zip(times, times[1:]))) if len(times) > 1 else None


def percentile(values: Sequence[Number], statistic: str) -> Number:
    """Return the smallest of the values that at least p percent of them do not exceed ("p99.9"; p0 is the smallest).

    The guide says which share of measurements lies below a percentile, not how it is interpolated; this is a value that
    was measured (nearest rank).
    """
    rank = math.ceil(Fraction(statistic[1:]) * len(values) / 100)
    return sorted(values)[max(rank, 1) - 1]


def _judge(behavior: Behavior, limit: Number | None) -> Callable[[Any], tuple[Any, ...]]:
    """Return a function from a value to what of it is not normal."""
    assert behavior.operator is not None
    if behavior.operator in COMPARE:
        conforms = COMPARE[behavior.operator]
        return lambda value: () if conforms(value, limit) else (value,)

    wanted = not behavior.operator.startswith("not-")
    inside: Callable[[Any], bool] = set(behavior.elements).__contains__
    if behavior.kind == "cidrs":
        networks = [ipaddress.ip_network(cidr, strict=False) for cidr in behavior.elements]
        inside = lru_cache(maxsize=None)(lambda address: any(address in network for network in networks))
    return lambda value: tuple(dict.fromkeys(element for element in value if inside(element) is not wanted))


def _alarms(datapoints: Sequence[Datapoint], to_alarm: int, to_clear: int) -> Iterator[Alarm]:
    start: int | None = None
    previous: int | None = None
    run = 0  # Datapoints in a row that speak against the present state.
    for datapoint in datapoints:
        if previous is not None and datapoint.time - previous > INVALIDATED_AFTER:
            if start is not None:
                yield Alarm(start, previous + INVALIDATED_AFTER, invalidated=True)
            start, run = None, 0
        in_alarm = start is not None
        run = run + 1 if bool(datapoint.outside) != in_alarm else 0
        if run == (to_clear if in_alarm else to_alarm):
            if start is not None:
                yield Alarm(start, datapoint.time)
            start, run = (None if in_alarm else datapoint.time), 0
        previous = datapoint.time
    if start is not None:
        yield Alarm(start)


def _interval_notes(behavior: Behavior, reports: Sequence[Report]) -> Iterator[str]:
    metric = METRICS.get(behavior.metric)
    every = interval(reports)
    if behavior.duration is None or every is None:
        return
    if metric is None or not metric.timed:
        if behavior.duration > 1.5 * every:
            yield (
                "each report is a datapoint; what the service makes of several within durationSeconds"
                f" {behavior.duration} is not published"
            )
        return
    summed = max(1, math.ceil(behavior.duration / every - 0.5)) * every
    if abs(summed - behavior.duration) > behavior.duration / 10:
        yield (
            f"reports come every {every} s, so a datapoint sums {summed} s instead of durationSeconds"
            f" {behavior.duration}; take a duration that is a multiple of the interval"
        )


def _sample_notes(behavior: Behavior, reports: Sequence[Report]) -> Iterator[str]:
    carrying = [reading for _, reading in _readings(behavior, reports)]
    samples = [reading for reading in carrying if reading.unlisted]
    if samples:
        yield (
            f"{len(samples)} of {len(carrying)} reports list a sample only (once {len(samples[0].value)} of"
            f" {len(samples[0].value) + samples[0].unlisted}); what is not in it is missed, here and in the service;"
            " raise MaxListSize (--max-list-size)"
        )


def _percentile_notes(statistic: str, pool: Sequence[Number], limit: Number) -> Iterator[str]:
    if statistic not in ("p0", "p100") and limit in (min(pool), max(pool)):
        extreme = "highest, which none of them exceeds" if limit == max(pool) else "lowest, which none of them is below"
        yield f"{statistic} of so few measurements is the {extreme}; --baseline takes it from other days or devices"
