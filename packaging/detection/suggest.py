"""Suggests a profile from what a fleet normally does: limits above its highest values, and the ports it listens on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Context
from typing import Any

from connector.detect.alarm import IN_ALARM
from connector.detect.metrics import (
    BYTES_IN,
    BYTES_OUT,
    CONNECTIONS_TOTAL,
    DURATIONS,
    METRICS,
    PACKETS_IN,
    PACKETS_OUT,
    TCP_PORTS_TOTAL,
    UDP_PORTS_TOTAL,
    is_timed,
)
from connector.detect.profile import parse
from connector.health import duration as span

from . import columns
from .errors import InputError
from .fleet import Fleet, Source
from .judge import NUMBER_KINDS, judge, percentile, plain
from .reports import COLUMNS, CUSTOM_COLUMNS
from .summary import count, elements, moment, number

DAY_SECONDS = 24 * 3600
MIN_EPHEMERAL_PORT = 32768  # what Linux gives to sockets that ask for no port begins here (ip_local_port_range)
MAX_LIMIT_HOLDERS = 1000  # datapoints with the highest value that are looked at for a gap before them
MAX_SHOWN_ELEMENTS = 1000  # of a list in a note

# Custom metrics of the connector: percentages, which end at 100, and the one that only grows until a restart.
PERCENTAGES = ("cpu_usage", "memory_usage")
UPTIME = "uptime_seconds"

# Many devices never have any, so the first one is worth an alarm.
NORMALLY_NONE = (TCP_PORTS_TOTAL, UDP_PORTS_TOTAL)

# The least limits. An idle device's highest values are near zero, and a login or an update is above them many times.
# Traffic is for 300 s.
FLOORS = {
    BYTES_IN: 10_000_000,
    BYTES_OUT: 1_000_000,
    PACKETS_IN: 10_000,
    PACKETS_OUT: 10_000,
    CONNECTIONS_TOTAL: 10,
    "cpu_usage": 50,
    "memory_usage": 50,
    "load_average_1m": 1,
    "process_count": 50,
}

# Values are noisy where the highest is this many times the median: a single one says little then, so it takes several
# datapoints in a row to alarm and to clear.
NOISY_TIMES = 2
ALWAYS_NOISY = ("cpu_usage", "load_average_1m")
NOISY_DATAPOINTS = 3

# What this many devices of a fleet do alone is noted: one of them, or a twentieth. Of fewer devices, none is a rule.
MIN_FLEET = 5
FEW_SHARE = 20

LEARNED_SHARE = 2 / 3  # of each device's reports, for the check on the rest


Alone = dict[tuple[str, ...], list[str]]  # by devices, the metrics with limits that these devices alone make so high


@dataclass
class Suggestion:
    """A suggested profile.

    profile: the input of create-security-profile
    notes: what was not learned and why, and what a person should check
    """

    profile: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def suggest(name: str, fleet: Fleet, headroom: float) -> Suggestion:
    """Return a profile for which the recordings are normal.

    headroom: a limit is this many times the highest value recorded; of a percentage, at most half way from it to 100.
    Raises InputError where a custom metric is of several types.
    """
    suggestion = Suggestion({"securityProfileName": name})
    short = too_short(fleet)
    if short:
        suggestion.notes.append(short)
    suggestion.notes += _uneven(fleet)
    behaviors = _behaviors(fleet, headroom, suggestion.notes)
    custom = [behavior["metric"] for behavior in behaviors if behavior["metric"] not in METRICS]
    if custom:
        suggestion.notes.append(f"create the custom metrics first: {', '.join(custom)}")
    times = fleet.times.values()
    first, last = min(one.first for one in times), max(one.last for one in times)
    suggestion.profile["securityProfileDescription"] = (
        f"Normal as recorded in {sum(one.reports for one in times)} reports of {count(len(times), 'device')} from"
        f" {moment(first)} to {moment(last)} UTC. Limits are up to {headroom:g} times the highest value recorded or a"
        " floor, port sets are the ports recorded. Tune: raise a limit that alarms without a cause."
    )
    suggestion.profile["behaviors"] = behaviors
    return suggestion


def too_short(fleet: Fleet) -> str | None:
    """Return a sentence where no device was recorded for a day, or None."""
    longest, every = max((one.recorded, one.interval or 0) for one in fleet.times.values())
    if longest + min(every, 3600) >= DAY_SECONDS:  # the last report of a day comes one interval before its end
        return None
    return f"{span(longest)} recorded: what the device does only at other hours will alarm; record a day or a week"


def check(fleet: Fleet, headroom: float) -> str:
    """Return how often a suggestion would have alarmed on reports that it did not learn from.

    A profile is learned from the first two thirds of each device's reports, and tried on the rest.
    """
    learned = fleet.part("learned", LEARNED_SHARE, is_first=True)
    rest = fleet.part("rest", LEARNED_SHARE, is_first=False)
    behaviors = _behaviors(learned, headroom, [])
    if not behaviors or not rest.times:
        return "check: too few reports to learn from some and try the rest"
    alarms: dict[str, int] = {}
    devices: set[str] = set()
    for one in judge(rest, [parse({"securityProfileName": "Learned", "behaviors": behaviors})]):
        for thing, changes in one.changes.items():
            begun = sum(change.type == IN_ALARM for change in changes)
            if begun:
                alarms[one.behavior.name] = alarms.get(one.behavior.name, 0) + begun
                devices.add(thing)
    on = "" if len(fleet.times) == 1 else f" on {number(len(devices))} of {count(len(fleet.times), 'device')}"
    text = (
        "check: learned from the first two thirds of the time, it would have alarmed"
        f" {count(sum(alarms.values()), 'time')}{on} in the last third"
    )
    if not alarms:
        return text
    often = sorted(alarms.items(), key=lambda pair: (-pair[1], pair[0]))
    text += f": {elements([f'{name} ({times})' for name, times in often])}"
    if len(devices) <= few_of(fleet):
        return f"{text}, all on {elements(sorted(devices))}: look at what happened there before you raise --headroom"
    return f"{text}; record more days, or raise --headroom"


def few_of(fleet: Fleet) -> int:
    """Return how many devices are few of a fleet; 0 where it is too small to say."""
    devices = len(fleet.times)
    return max(1, devices // FEW_SHARE) if devices >= MIN_FLEET else 0


def _uneven(fleet: Fleet) -> Iterator[str]:
    remarks = {thing: one.uneven for thing, one in fleet.times.items() if one.uneven}
    if len(fleet.times) == 1:
        yield from remarks.values()
    elif remarks:
        yield f"reports come unevenly from {elements(sorted(remarks))}; is each of them one device?"


def _behaviors(fleet: Fleet, headroom: float, notes: list[str]) -> list[dict[str, Any]]:
    alone: Alone = {}
    found = [_behavior(metric, kind, fleet, headroom, notes, alone) for metric, kind in sorted(_metrics(fleet).items())]
    for things, limits in sorted(alone.items()):
        notes.append(
            f"because of {elements(things)} alone, limits are high: {'; '.join(limits)}; if what happened there should"
            " alarm, leave those reports out"
        )
    return [behavior for behavior in found if behavior is not None]


def _metrics(fleet: Fleet) -> dict[str, str]:
    """Return the kind of each metric that any report carries."""
    (carried,) = fleet.engine.rows(columns.carried(fleet.table))
    found = {metric: METRICS[metric].kind for metric, times in zip(COLUMNS, carried) if times}
    for kind in CUSTOM_COLUMNS:
        for (metric,) in fleet.engine.rows(columns.custom_names(fleet.table, kind)):
            if metric in found:
                raise InputError(
                    f"{metric} is of the type {found[metric]} in some reports and {kind} in others; take one of"
                    " them out"
                )
            found[metric] = kind
    return found


def _behavior(
    metric: str, kind: str, fleet: Fleet, headroom: float, notes: list[str], alone: Alone
) -> dict[str, Any] | None:
    if kind in NUMBER_KINDS:
        return _limit(metric, kind, fleet, headroom, notes, alone)
    if metric in columns.TOTALS:
        samples = list(fleet.engine.rows(columns.samples(fleet.table, metric)))
        sampled, carrying = sum(row[2] for row in samples), sum(row[1] for row in samples)
        if sampled:
            notes.append(
                f"{metric}: {sampled} of {carrying} reports list a sample only, from which no set is learned; record"
                " again with a larger --max-list-size"
            )
            return None
    points = fleet.datapoints(Source(metric, kind, None))
    seen = columns.element_counts(points)
    if kind != "ports":
        rows = list(fleet.engine.rows(seen.limit(MAX_SHOWN_ELEMENTS)))
        if rows:
            shown = elements([f"{plain(element)} ({times})" for element, times, *_ in rows])
            what = "the networks you know" if kind == "cidrs" else "what is normal"
            notes.append(f"{metric}: no set is learned, name {what} yourself; recorded (reports): {shown}")
        return None
    return _port_set(metric, list(fleet.engine.rows(seen)), fleet, notes)


def _port_set(metric: str, seen: list[tuple[Any, ...]], fleet: Fleet, notes: list[str]) -> dict[str, Any] | None:
    """seen: rows of columns.element_counts."""
    if not seen:
        return None  # the limit of its number is 0, which is the same rule
    passing = sorted(port for port, _, things, always, _ in seen if port >= MIN_EPHEMERAL_PORT and always < things)
    if passing:
        notes.append(
            f"{metric}: ports from {MIN_EPHEMERAL_PORT} that come and go are no service ({elements(passing)}),"
            " so no set can say what is normal; its number has a limit"
        )
        return None
    ports = sorted(port for port, *_ in seen)
    # A service on such a port of its own looks the same and would alarm at once, so they stay in the set.
    lent = [port for port in ports if port >= MIN_EPHEMERAL_PORT]
    if lent:
        notes.append(
            f"{metric}: {elements(lent)} may be lent by the kernel, which gives out ports from {MIN_EPHEMERAL_PORT}:"
            " then another one after a restart alarms; give the service a fixed port, or take this behavior out"
        )
    rare = [(port, things, thing) for port, _, things, _, thing in seen if things <= few_of(fleet)]
    if rare:
        shown = [
            f"{port} ({thing}{f' and {things - 1} more' if things > 1 else ''})" for port, things, thing in sorted(rare)
        ]
        notes.append(
            f"{metric}: few of the {number(len(fleet.times))} devices listen on {elements(shown)}; take out what should"
            " not be there"
        )
    return _in(metric, {"comparisonOperator": "in-port-set", "value": {"ports": ports}})


def _limit(
    metric: str, kind: str, fleet: Fleet, headroom: float, notes: list[str], alone: Alone
) -> dict[str, Any] | None:
    duration = None
    every = max(one.interval or 0 for one in fleet.times.values())
    if is_timed(metric):
        # The nearest: reports come a second early or late.
        duration = min(DURATIONS, key=lambda seconds: abs(seconds - every))
    key = Source(metric, kind, duration)
    ((datapoints, least, highest),) = fleet.engine.rows(columns.spread(fleet.datapoints(key)))
    if not datapoints:
        notes.append(f"{metric}: no full period of {duration} s recorded, so no limit is learned")
        return None
    if metric == UPTIME:
        notes.append(f"{metric}: it only grows until a restart, so no limit is learned")
        return None
    if highest == 0 and metric not in NORMALLY_NONE:
        notes.append(f"{metric}: never above 0 in these reports, so no limit is learned; record while the device works")
        return None
    limit = _above(metric, highest, least, headroom, duration)
    few = few_of(fleet)
    if few:
        _note_few(
            metric,
            limit,
            list(fleet.engine.rows(columns.highest_of_things(fleet.datapoints(key), few + 1))),
            lambda value: _above(metric, value, least, headroom, duration),
            alone,
        )
    if metric in PERCENTAGES and limit >= 100:
        notes.append(
            f"{metric}: it was as high as {highest:g}, so no limit is learned: one above that would hardly ever alarm"
        )
        return None
    criteria: dict[str, Any] = {
        "comparisonOperator": "less-than-equals",
        "value": {kind: math.ceil(limit) if kind == "count" or limit.is_integer() else limit},
    }
    if duration:
        criteria["durationSeconds"] = duration
        if limit > _above(metric, 0, 0, headroom, duration):  # not the floor
            notes += _gap_notes(metric, fleet, key, highest, every)
    if _is_noisy(key, fleet, highest):
        criteria["consecutiveDatapointsToAlarm"] = criteria["consecutiveDatapointsToClear"] = NOISY_DATAPOINTS
    return _in(metric, criteria)


def _above(metric: str, highest: Any, least: Any, headroom: float, duration: int | None) -> float:
    """Return the limit that is learned from the highest and the least value."""
    limit = highest + max(abs(highest) * (headroom - 1), (highest - least) * (headroom - 1))
    if metric in PERCENTAGES:
        limit = min(limit, (highest + 100) / 2)
    limit = max(limit, FLOORS.get(metric, limit) * (duration or 300) / 300)
    # Rounded to two digits, as more would pretend precision; up, so that what was recorded stays normal.
    return round_up(float(limit))


def _note_few(
    metric: str, limit: float, highest: list[tuple[str, Any]], above: Callable[[Any], float], alone: Alone
) -> None:
    """Note where a few devices of a fleet are beyond what the others would give as their limit.

    highest: of the devices, the highest first: these few, and the one after them
    """
    *first, (_, usual) = highest
    without = above(usual)
    things = tuple(thing for thing, value in first if value > without)
    if things:
        alone.setdefault(things, []).append(f"{metric} {number(plain(limit))} instead of {number(plain(without))}")


def _is_noisy(key: Source, fleet: Fleet, highest: float) -> bool:
    if key.metric in ALWAYS_NOISY:
        return True
    if key.metric in NORMALLY_NONE or highest <= 0:
        return False
    usual = percentile(fleet, key, "p50").value
    return usual is not None and highest > NOISY_TIMES * usual


def _gap_notes(metric: str, fleet: Fleet, key: Source, highest: Any, every: int) -> Iterator[str]:
    """Yield a note where the highest value is of a gap: the report after it carries the traffic of the whole gap."""
    holders = fleet.engine.keep("holders", columns.at_value(fleet.datapoints(key), highest, MAX_LIMIT_HOLDERS))
    gaps = [time - before for _, time, before in fleet.engine.rows(columns.reports_before(fleet.table, holders))]
    if gaps and key.duration and min(gaps) > 1.5 * max(key.duration, every):
        yield (
            f"{metric}: its highest value is of {span(min(gaps))} between two reports, so the limit is too high for"
            f" {key.duration} s; record without a gap, or lower it"
        )


def _in(metric: str, criteria: dict[str, Any]) -> dict[str, Any]:
    behavior = metric.removeprefix("aws:")
    return {"name": behavior, "metric": metric, "criteria": criteria}


def round_up(value: float) -> float:
    """Return a number rounded up to two digits: 1,234 gives 1,300."""
    return float(Context(prec=2, rounding=ROUND_CEILING).create_decimal(repr(value)))
