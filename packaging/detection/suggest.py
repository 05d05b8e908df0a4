"""A profile from what a device normally does: limits above the highest it had, and the ports it listens on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Context
from typing import Any

from .errors import InputError
from .evaluate import interval, measurements
from .metrics import DURATIONS, METRICS
from .profile import Behavior
from .reports import Report
from .summary import elements, moment, span, uneven

DAY = 24 * 3600
EPHEMERAL = 32768
"""The first port that Linux gives to sockets that ask for none (net.ipv4.ip_local_port_range)."""

PERCENTAGES = ("cpu_usage", "memory_usage")
"""Custom metrics of the connector that end at 100."""

UPTIME = "uptime_seconds"
"""The connector's custom metric that only grows, until a restart."""

NORMALLY_NONE = ("aws:num-listening-tcp-ports", "aws:num-listening-udp-ports")
"""What a device may well have none of for good, so that the first one is worth an alarm."""


@dataclass
class Suggestion:
    """A profile and what is to be said about it."""

    profile: dict[str, Any]
    """The input of create-security-profile."""
    notes: list[str] = field(default_factory=list)


def suggest(name: str, recordings: Sequence[Sequence[Report]], headroom: float) -> Suggestion:
    """Return a profile that the recordings are normal for.

    headroom: a limit is this many times the highest value recorded; a percentage's at most half way from it to 100.
    """
    metrics = sorted({metric for reports in recordings for report in reports for metric in report.readings})
    suggestion = Suggestion({"securityProfileName": name})
    longest, every = max((reports[-1].time - reports[0].time, interval(reports) or 0) for reports in recordings)
    if longest + min(every, 3600) < DAY:  # a day's last report comes an interval before its end
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
        return None  # The limit of its number, 0, says the same.
    if kind != "ports":
        shown = elements([f"{element} ({times})" for element, times in seen.most_common()])
        what = "the networks you know" if kind == "cidrs" else "what is normal"
        notes.append(f"{metric}: no set is learned, name {what} yourself; recorded (reports): {shown}")
        return None
    passing = sorted(port for port, times in seen.items() if port >= EPHEMERAL and times < len(readings))
    if passing:
        notes.append(
            f"{metric}: ports from {EPHEMERAL} that come and go are no service ({elements(passing)}), so no set can say"
            " what is normal; its number has a limit"
        )
        return None
    # They stay in the set: a service on a port of its own looks the same, and would alarm at once if left out.
    lent = sorted(port for port in seen if port >= EPHEMERAL)
    if lent:
        notes.append(
            f"{metric}: {elements(lent)} may be lent by the kernel, which gives out ports from {EPHEMERAL}: then"
            " another one after a restart alarms; give the service a fixed port, or take this behavior out"
        )
    return _in(metric, {"comparisonOperator": "in-port-set", "value": {"ports": sorted(seen)}})


def _limit(
    metric: str, kind: str, recordings: Sequence[Sequence[Report]], headroom: float, notes: list[str]
) -> dict[str, Any] | None:
    duration = None
    if metric in METRICS and METRICS[metric].timed:
        every = max(interval(reports) or 0 for reports in recordings)
        # A report that comes a second late is still one of this duration.
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
    # Two digits are all that is meant; up, so that what was recorded stays normal.
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
        # A report that ends a gap carries what passed in it.
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
    """Return the next number of two digits that is not below: 1,234 gives 1,300."""
    return float(Context(prec=2, rounding=ROUND_CEILING).create_decimal(repr(value)))
