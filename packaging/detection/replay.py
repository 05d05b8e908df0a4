"""Judges the reports of a recording by a profile, one behavior after the other.

The rules are those of connector/detect, the engine on the device. Added here: percentiles are taken from recordings,
and notes say what a replay can't know.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from connector.detect.alarm import IN_ALARM, INVALIDATED
from connector.detect.datapoints import Datapoints
from connector.detect.engine import DEFAULT_INTERVAL_SECONDS, Detector
from connector.detect.measurement import Number, Reading
from connector.detect.metrics import METRICS, is_timed
from connector.detect.profile import Behavior, Profile

from .errors import InputError
from .reports import Report


@dataclass(frozen=True)
class Datapoint:
    """One measurement and what of it is not normal.

    time: epoch seconds
    value: a number, or a tuple of elements
    outside: the elements that violate the behavior; of a number, itself; empty: it conforms
    """

    time: int
    value: Any
    outside: tuple[Any, ...]


@dataclass(frozen=True)
class Alarm:
    """A span in alarm.

    start: epoch seconds
    end: epoch seconds; None: it goes on when the recording ends
    invalidated: it did not clear; two days passed without a datapoint
    """

    start: int
    end: int | None = None
    invalidated: bool = False


@dataclass(frozen=True)
class Outcome:
    """The result of one behavior.

    behavior: as in the profile
    skipped: why it could not be replayed; None: it was
    limit: what numbers were compared with: the behavior's own limit, or the value of its percentile here
    datapoints, alarms: oldest first
    notes: what a person should know about the result
    """

    behavior: Behavior
    skipped: str | None = None
    limit: Number | None = None
    datapoints: tuple[Datapoint, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    notes: tuple[str, ...] = ()


def replay(profile: Profile, reports: Sequence[Report], baselines: Sequence[Sequence[Report]] = ()) -> list[Outcome]:
    """Return the outcome of each behavior of the profile.

    baselines: recordings that percentiles are taken from; without any, from the recording itself.
    Raises InputError where a behavior and a report disagree on the type of a custom metric.
    """
    return [_replay(behavior, reports, baselines) for behavior in profile.behaviors]


def _replay(behavior: Behavior, reports: Sequence[Report], baselines: Sequence[Sequence[Report]]) -> Outcome:
    needs_percentile = behavior.statistic is not None and behavior.limit is None
    is_reported = behavior.metric not in METRICS or METRICS[behavior.metric].reported
    if behavior.skipped and not (needs_percentile and is_reported):
        return Outcome(behavior, behavior.skipped)
    measured = measurements(behavior, reports)
    if not measured:
        return Outcome(behavior, _nothing_measured(behavior, reports))

    notes = [*_interval_notes(behavior, reports), *_sample_notes(behavior, reports)]
    limit = behavior.limit
    if needs_percentile:
        assert behavior.statistic is not None
        pool = [value for recording in baselines or [reports] for _, value in measurements(behavior, recording)]
        fault = pool_fault(behavior, pool)
        if fault:
            return Outcome(behavior, fault)
        limit = percentile(pool, behavior.statistic)
        if not baselines:
            notes += _percentile_notes(behavior.statistic, pool, limit)

    datapoints, alarms = _judge(behavior._replace(limit=limit, skipped=None), reports)
    return Outcome(behavior, None, limit, datapoints, alarms, tuple(notes))


def _judge(behavior: Behavior, reports: Sequence[Report]) -> tuple[tuple[Datapoint, ...], tuple[Alarm, ...]]:
    every = interval(reports) or DEFAULT_INTERVAL_SECONDS
    detector = Detector([Profile("", (behavior,))], "", every, max_elements=sys.maxsize)
    datapoints: list[Datapoint] = []
    alarms: list[Alarm] = []
    for report in reports:
        (verdict,) = detector.verdicts(report.readings, report.time)
        if verdict.value is not None:
            datapoints.append(Datapoint(report.time, verdict.value, verdict.violation.elements))
        if verdict.event is None:
            continue
        change = verdict.event.change
        if change.type == IN_ALARM:
            alarms.append(Alarm(change.time))
        else:
            alarms[-1] = Alarm(change.since, change.time, invalidated=change.type == INVALIDATED)
    return tuple(datapoints), tuple(alarms)


def _nothing_measured(behavior: Behavior, reports: Sequence[Report]) -> str:
    if any(behavior.metric in report.readings for report in reports):
        return f"the recording is shorter than durationSeconds {behavior.duration}"
    if behavior.metric in METRICS:
        return f"no report carries {behavior.metric}"
    return f"no report carries the custom metric {behavior.metric} (parameter CustomMetrics of the connector)"


def measurements(behavior: Behavior, reports: Sequence[Report]) -> list[tuple[int, Any]]:
    """Return (epoch seconds, value) for each datapoint of a behavior's metric; a report without it gives none."""
    for _ in _readings(behavior, reports):  # raises where the types differ
        pass
    datapoints = Datapoints(behavior)
    measured = []
    step = interval(reports) or DEFAULT_INTERVAL_SECONDS
    for before, report in zip([None, *reports], reports):
        value = datapoints.take(report.readings, report.time - before.time if before else step)
        if value is not None:
            measured.append((report.time, value))
    return measured


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


def pool_fault(behavior: Behavior, pool: Sequence[Number]) -> str | None:
    """Return why no percentile can be taken from these measurements, or None."""
    if not pool:
        return f"the baseline has no {behavior.metric} to take {behavior.statistic} from"
    if min(pool) < 0:
        return "percentiles are not available for a metric with negative values"
    return None


def _interval_notes(behavior: Behavior, reports: Sequence[Report]) -> Iterator[str]:
    every = interval(reports)
    if behavior.duration is None or every is None:
        return
    if not is_timed(behavior.metric):
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
