"""Suggests a profile from what a device normally does: limits above its highest values, and the ports it listens on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Context
from typing import Any

from connector.detect.event import element_text
from connector.detect.metrics import DURATIONS, METRICS, TCP_PORTS_TOTAL, UDP_PORTS_TOTAL, is_timed
from connector.detect.profile import Behavior

from .errors import InputError
from .replay import interval, measurements
from .reports import Report
from .summary import elements, moment, span, uneven

DAY_SECONDS = 24 * 3600
MIN_EPHEMERAL_PORT = 32768  # what Linux gives to sockets that ask for no port begins here (ip_local_port_range)

# Custom metrics of the connector: percentages, which end at 100, and the one that only grows until a restart.
PERCENTAGES = ("cpu_usage", "memory_usage")
UPTIME = "uptime_seconds"

# Many devices never have any, so the first one is worth an alarm.
NORMALLY_NONE = (TCP_PORTS_TOTAL, UDP_PORTS_TOTAL)


@dataclass
class Suggestion:
    """A suggested profile.

    profile: the input of create-security-profile
    notes: what was not learned and why, and what a person should check
    """

    profile: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def suggest(name: str, recordings: Sequence[Sequence[Report]], headroom: float) -> Suggestion:
    """Return a profile for which the recordings are normal.

    headroom: a limit is this many times the highest value recorded; of a percentage, at most half way from it to 100.
    """
    metrics = sorted({metric for reports in recordings for report in reports for metric in report.readings})
    suggestion = Suggestion({"securityProfileName": name})
    longest, every = max((reports[-1].time - reports[0].time, interval(reports) or 0) for reports in recordings)
    if longest + min(every, 3600) < DAY_SECONDS:  # the last report of a day comes one interval before its end
        suggestion.notes.append(
            f"{span(longest)} recorded: what the device does only at other hours will alarm; record a day or a week"
        )
    suggestion.notes += filter(None, map(uneven, recordings))
    behaviors = [
        behavior
        for metric in metrics
        for behavior in [_behavior(metric, recordings, headroom, suggestion.notes)]
        if behavior is not None
    ]
    custom = [behavior["metric"] for behavior in behaviors if behavior["metric"] not in METRICS]
    if custom:
        suggestion.notes.append(f"create the custom metrics first: {', '.join(custom)}")
    total = sum(map(len, recordings))
    first, last = min(reports[0].time for reports in recordings), max(reports[-1].time for reports in recordings)
    suggestion.profile["securityProfileDescription"] = (
        f"Normal as recorded in {total} reports from {moment(first)} to {moment(last)} UTC. Limits are up to"
        f" {headroom:g} times the highest value recorded, port sets are the ports recorded. Tune: raise a limit that"
        " alarms without a cause."
    )
    suggestion.profile["behaviors"] = behaviors
    return suggestion


def _behavior(
    metric: str, recordings: Sequence[Sequence[Report]], headroom: float, notes: list[str]
) -> dict[str, Any] | None:
    carrying = [report for reports in recordings for report in reports if metric in report.readings]
    readings = [report.readings[metric] for report in carrying]
    kind = readings[0].kind
    for report, reading in zip(carrying, readings):
        if reading.kind != kind:
            raise InputError(f"{report.where}: {metric} is of the type {reading.kind}, and of the type {kind} before")
    if kind in ("count", "number"):
        return _limit(metric, kind, recordings, headroom, notes)
    unlisted = sum(reading.unlisted > 0 for reading in readings)
    if unlisted:
        notes.append(
            f"{metric}: {unlisted} of {len(readings)} reports list a sample only, from which no set is learned;"
            " record again with a larger --max-list-size"
        )
        return None
    seen = Counter(element for reading in readings for element in dict.fromkeys(reading.value))
    if not seen:
        return None  # the limit of its number is 0, which is the same rule
    if kind != "ports":
        shown = elements([f"{element_text(element)} ({times})" for element, times in seen.most_common()])
        what = "the networks you know" if kind == "cidrs" else "what is normal"
        notes.append(f"{metric}: no set is learned, name {what} yourself; recorded (reports): {shown}")
        return None
    passing = sorted(port for port, times in seen.items() if port >= MIN_EPHEMERAL_PORT and times < len(readings))
    if passing:
        notes.append(
            f"{metric}: ports from {MIN_EPHEMERAL_PORT} that come and go are no service ({elements(passing)}),"
            " so no set can say what is normal; its number has a limit"
        )
        return None
    # A service on such a port of its own looks the same and would alarm at once, so they stay in the set.
    lent = sorted(port for port in seen if port >= MIN_EPHEMERAL_PORT)
    if lent:
        notes.append(
            f"{metric}: {elements(lent)} may be lent by the kernel, which gives out ports from {MIN_EPHEMERAL_PORT}:"
            " then another one after a restart alarms; give the service a fixed port, or take this behavior out"
        )
    return _in(metric, {"comparisonOperator": "in-port-set", "value": {"ports": sorted(seen)}})


def _limit(
    metric: str, kind: str, recordings: Sequence[Sequence[Report]], headroom: float, notes: list[str]
) -> dict[str, Any] | None:
    duration = None
    if is_timed(metric):
        every = max(interval(reports) or 0 for reports in recordings)
        # The nearest: reports come a second early or late.
        duration = min(DURATIONS, key=lambda seconds: abs(seconds - every))
    probe = Behavior(metric, metric, kind, duration=duration)
    series = [measurements(probe, reports) for reports in recordings]
    values = [value for one in series for _, value in one]
    if not values:
        notes.append(f"{metric}: no full period of {duration} s recorded, so no limit is learned")
        return None
    if metric == UPTIME:
        notes.append(f"{metric}: it only grows until a restart, so no limit is learned")
        return None
    highest = max(values)
    if highest == 0 and metric not in NORMALLY_NONE:
        notes.append(f"{metric}: never above 0 in these reports, so no limit is learned; record while the device works")
        return None
    limit = highest + abs(highest) * (headroom - 1)
    if metric in PERCENTAGES:
        limit = min(limit, (highest + 100) / 2)
    # Rounded to two digits, as more would pretend precision; up, so that what was recorded stays normal.
    limit = round_up(limit)
    if metric in PERCENTAGES and limit >= 100:
        notes.append(
            f"{metric}: it was as high as {highest:g}, so no limit is learned: one above that would hardly ever alarm"
        )
        return None
    if kind == "count" or limit.is_integer():
        limit = math.ceil(limit)
    criteria: dict[str, Any] = {"comparisonOperator": "less-than-equals", "value": {kind: limit}}
    if duration:
        criteria["durationSeconds"] = duration
        # The report after a gap carries the traffic of the whole gap.
        times = [{time for time, value in one if value == highest} for one in series]
        gaps = [
            after.time - before.time
            for reports, at in zip(recordings, times)
            for before, after in zip(reports, reports[1:])
            if after.time in at
        ]
        if gaps and min(gaps) > 1.5 * max(duration, every):
            notes.append(
                f"{metric}: its highest value is of {span(min(gaps))} between two reports, so the limit is too high for"
                f" {duration} s; record without a gap, or lower it"
            )
    return _in(metric, criteria)


def _in(metric: str, criteria: dict[str, Any]) -> dict[str, Any]:
    behavior = metric.removeprefix("aws:")
    return {"name": behavior, "metric": metric, "criteria": criteria}


def round_up(value: float) -> float:
    """Return a number rounded up to two digits: 1,234 gives 1,300."""
    return float(Context(prec=2, rounding=ROUND_CEILING).create_decimal(repr(value)))
