"""Judges a fleet's recordings by profiles: columns find the runs of violations, connector/detect decides on alarms."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import ibis
import ibis.expr.types as ir

from connector.detect.alarm import MAX_SILENCE_SECONDS, Alarm, Change
from connector.detect.conformity import conformity
from connector.detect.measurement import Number
from connector.detect.metrics import METRICS
from connector.detect.profile import MAX_COUNT, Behavior, Profile

from . import columns
from .fleet import Fleet, Source, source
from .progress import Progress
from .reports import packed

MAX_ELEMENTS = 8  # of those in violation, on each device

NUMBER_KINDS = ("count", "number")

Changes = dict[str, list[Change]]  # of one behavior by thing, oldest first


@dataclass
class Tally:
    """How many datapoints of a behavior a thing has, and how many violate it.

    last: the time of the last datapoint
    worst: the value furthest beyond the limit, of numbers
    elements, distinct: of lists, the elements most often in violation with the number of datapoints; how many there are
    """

    datapoints: int
    violations: int
    last: int
    worst: Any = None
    elements: list[tuple[Any, int]] = field(default_factory=list)
    distinct: int = 0


@dataclass
class Judged:
    """What judging gives for one behavior.

    behavior: with the percentile's value as its limit
    skipped: why it was not judged on any device
    notes: on percentiles
    tallies: by thing; a thing without a datapoint has none
    changes: of its alarm, by thing
    """

    profile: str
    behavior: Behavior
    skipped: str | None = None
    notes: tuple[str, ...] = ()
    tallies: dict[str, Tally] = field(default_factory=dict)
    changes: Changes = field(default_factory=dict)


def judge(fleet: Fleet, profiles: Sequence[Profile], baseline: Fleet | None = None) -> list[Judged]:
    """Judge each behavior of the profiles, and return the results in that order.

    baseline: the fleet that percentiles are taken from; without it, the fleet itself.
    """
    judged = [
        Judged(profile.name, behavior, _unknown(behavior)) for profile in profiles for behavior in profile.behaviors
    ]
    together: dict[Source, list[Judged]] = defaultdict(list)
    for one in judged:
        if one.skipped is None:
            together[source(one.behavior)].append(one)
    with Progress("judging", len(together), "metric") as progress:
        for key, all_of_source in together.items():
            for one in all_of_source:
                _resolve(one, baseline or fleet, is_own=baseline is None)
            has_limit = [one for one in all_of_source if key.kind not in NUMBER_KINDS or one.behavior.limit is not None]
            known = [one for one in has_limit if one.skipped is None]
            if known:
                _judge(fleet, key, known)
            progress.advance(1)
    return judged


class Percentile(NamedTuple):
    """A percentile of the fleet's measurements, over all devices.

    value: the smallest that at least p percent of them do not exceed ("p99.9"; p0 is the smallest); None: there is none
    measurements: how many there are
    fault: why there is no value
    extreme: "highest" or "lowest" where the value is that of all measurements
    """

    value: Number | None
    measurements: int
    fault: str | None = None
    extreme: str | None = None


def percentile(fleet: Fleet, key: Source, statistic: str) -> Percentile:
    """Return a percentile by nearest rank.

    The guide says which share of measurements lies below a percentile, not how it is interpolated; this is a value that
    was measured.
    """
    points = fleet.datapoints(key)
    ((count, least, greatest),) = fleet.engine.rows(columns.spread(points))
    if not count:
        return Percentile(None, 0, f"the baseline has no {key.metric} to take {statistic} from")
    if least < 0:
        return Percentile(None, count, "percentiles are not available for a metric with negative values")
    rank = math.ceil(Fraction(statistic[1:]) * count / 100)
    ((value,),) = fleet.engine.rows(columns.nth(points, max(rank, 1) - 1))
    return Percentile(plain(value), count, None, {least: "lowest", greatest: "highest"}.get(value))


def plain(value: Any) -> Any:
    """Return a number as an integer where it is a whole one; anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def native(kind: str, element: Any) -> Any:
    """Return an element as the engine has it: addresses are packed."""
    return packed(element) if kind == "cidrs" else element


def _unknown(behavior: Behavior) -> str | None:
    """Return why recordings can't tell anything of a behavior."""
    needs_percentile = behavior.statistic is not None and behavior.limit is None
    is_reported = behavior.metric not in METRICS or METRICS[behavior.metric].reported
    return None if needs_percentile and is_reported else behavior.skipped


def _resolve(judged: Judged, fleet: Fleet, *, is_own: bool) -> None:
    """Put a percentile's value into the limit of a behavior. is_own: the fleet is the one that is judged."""
    behavior = judged.behavior
    if behavior.statistic is None or behavior.limit is not None:
        return
    found = percentile(fleet, source(behavior), behavior.statistic)
    judged.behavior = behavior._replace(limit=found.value, skipped=None)
    if found.fault and not (
        is_own and not found.measurements
    ):  # without measurements, each device has a reason of its own
        judged.skipped = found.fault
    if is_own and found.extreme and behavior.statistic not in ("p0", "p100"):
        what = {"highest": "highest, which none of them exceeds", "lowest": "lowest, which none of them is below"}
        judged.notes = (
            f"{behavior.statistic} of so few measurements is the {what[found.extreme]}; --baseline takes it from other"
            " days or devices",
        )


def _judge(fleet: Fleet, key: Source, judged: Sequence[Judged]) -> None:
    """Judge behaviors of one source."""
    points = fleet.datapoints(key)
    conforms = [conformity(_comparable(one.behavior)) for one in judged]
    if key.kind in NUMBER_KINDS:
        marked = columns.number_violations(points, conforms)
    else:
        outside = _outside(fleet, key, points, conforms)
        marked = fleet.engine.keep("violations", columns.list_violations(points, outside))
    _tally(fleet, key, judged, marked)
    violated = {
        index: one.behavior
        for index, one in enumerate(judged)
        if any(tally.violations for tally in one.tallies.values())
    }
    if not violated:
        return
    if key.kind not in NUMBER_KINDS:
        for index in violated:
            _count_elements(fleet, judged[index], columns.worst_elements(points, outside, index, MAX_ELEMENTS))
    kept = fleet.engine.keep("boundaries", columns.boundaries(marked, violated))
    _alarms(fleet, judged, violated, kept)


def _comparable(behavior: Behavior) -> Behavior:
    """Return a behavior whose limit can stand in an expression: integers beyond 64 bits can't, which sums can give."""
    limit = behavior.limit
    if not isinstance(limit, int) or abs(limit) <= MAX_COUNT:
        return behavior
    if behavior.kind == "number":
        return behavior._replace(limit=float(limit))  # as the values are
    return behavior._replace(limit=ibis.literal(Decimal(limit), "decimal(38, 0)"))


def _outside(fleet: Fleet, key: Source, points: ir.Table, conforms: Sequence[Callable[[Any], bool]]) -> ir.Table:
    """Return the elements that are in violation of any behavior. Each distinct element is judged once."""

    def rows() -> Any:
        for (element,) in fleet.engine.rows(columns.elements(points)):
            value = native(key.kind, element)
            violates = [not one(value) for one in conforms]
            if any(violates):
                yield (element, *violates)

    kind = {"ports": "int32", "numbers": "float64"}.get(key.kind, "string")
    schema = {"element": kind, **{columns.violates(index): "boolean" for index in range(len(conforms))}}
    return fleet.engine.put("outside", schema, rows())


def _tally(fleet: Fleet, key: Source, judged: Sequence[Judged], marked: ir.Table) -> None:
    names = [columns.violates(index) for index in range(len(judged))]
    is_number = key.kind in NUMBER_KINDS
    for thing, datapoints, last, *rest in fleet.engine.rows(columns.tallies(marked, names)):
        least, greatest = rest[:2] if is_number else (None, None)
        for one, violations in zip(judged, rest[2:] if is_number else rest):
            tally = one.tallies[thing] = Tally(datapoints, violations, last)
            if violations and is_number:
                tally.worst = plain(greatest if str(one.behavior.operator).startswith("less") else least)


def _count_elements(fleet: Fleet, judged: Judged, worst: ir.Table) -> None:
    for thing, element, times, _, distinct in fleet.engine.rows(worst):
        tally = judged.tallies[thing]
        tally.elements.append((plain(element), times))
        tally.distinct = distinct
        tally.worst = tally.elements[0][0]


@dataclass
class _Run:
    """The run that began last, of one behavior on one thing."""

    violates: bool
    place: int
    first: int
    deciding: int
    before: int | None


def _alarms(fleet: Fleet, judged: Sequence[Judged], violated: Mapping[int, Behavior], kept: ir.Table) -> None:
    """Feed the alarm of each behavior and thing with the runs of its datapoints."""
    engine = fleet.engine
    late = columns.after_silence(kept)
    reported = {(thing, time): before for thing, time, before in engine.rows(columns.reports_before(fleet.table, late))}
    followers: dict[int, _Follower] = {}
    current = ""

    def finish() -> None:
        for index, follower in followers.items():
            changes = follower.finish(judged[index].tallies[current], fleet.times[current].last)
            if changes:
                judged[index].changes[current] = changes

    for thing, time, before, place, *rest in engine.rows(kept.order_by("thing", "time")):
        if thing != current:
            finish()
            current = thing
            followers = {index: _Follower(behavior) for index, behavior in violated.items()}
        count = len(violated)
        for number, follower in enumerate(followers.values()):
            if rest[count + number]:  # begins
                run = _Run(rest[number], place, time, rest[2 * count + number], before)
                follower.begin(run, reported.get((thing, time)))
    finish()


class _Follower:
    """Follows the runs of one behavior on one thing, and collects the changes of its alarm."""

    def __init__(self, behavior: Behavior) -> None:
        self._alarm = Alarm(behavior.to_alarm, behavior.to_clear)
        self._run: _Run | None = None
        self._reported: int | None = None
        self._changes: list[Change] = []

    def begin(self, run: _Run, reported: int | None) -> None:
        """Take the beginning of a run, which ends the one before.

        reported: the last report before it, where it comes after two days without a datapoint
        """
        if self._run is not None:
            self._take(self._run, run.place - self._run.place)
        self._run, self._reported = run, reported

    def finish(self, tally: Tally, last_report: int) -> list[Change]:
        """Return all changes, at the end of the thing's reports."""
        if self._run is not None:
            self._take(self._run, tally.datapoints - self._run.place)
            if last_report - tally.last > MAX_SILENCE_SECONDS:
                self._observe_silence(last_report, tally.last)
        return self._changes

    def _take(self, run: _Run, count: int) -> None:
        before = run.before if run.before is not None else run.first - 1
        if self._reported is not None and self._reported > before:  # reports without the metric came in between
            self._observe_silence(self._reported, before)
            before = self._reported
        self._changes += self._alarm.observe_run(run.violates, count, run.first, run.deciding, run.first - before)

    def _observe_silence(self, now: int, since: int) -> None:
        change = self._alarm.observe(None, now, now - since)
        if change is not None:
            self._changes.append(change)
