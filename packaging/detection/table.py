"""Formats the outcome of a replay on a fleet for a terminal: devices by profile and behavior, worst first."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from connector.health import duration as span

from . import skipped
from .outcome import Device, Outcome, Result
from .skipped import WIDTH
from .summary import PERCENTILES, count, has_percentiles, moment, number, printable

MAX_ROWS = 40
MAX_NAME_CHARS = 40  # characters of a device's name, a longer one is cut in the middle: names of a fleet begin alike


def tabulate(outcome: Outcome, every: bool = False) -> str:
    """Return two tables, a line without a newline at the end: each device's behaviors, and all behaviors.

    every: show each behavior that was not replayed; otherwise many of them are summed up by reason, after the tables
    """
    devices = outcome.devices
    first, last = min(device.first for device in devices), max(device.last for device in devices)
    reports = sum(device.reports for device in devices)
    lines = [
        f"{', '.join(outcome.profiles)} against {count(reports, 'report')} of {count(len(devices), 'device')},"
        f" {moment(first)} to {moment(last)} (UTC)"
    ]
    remarks = [device for device in devices if device.remark]
    if remarks:
        lines.append(f"{printable(remarks[0].thing)}: {remarks[0].remark}")
    if len(remarks) > 1:
        lines.append(f"and {len(remarks) - 1:,} more devices whose reports come unevenly")
    rows = _rows(devices)
    lines = [line for text in lines for line in textwrap.wrap(text, WIDTH)]
    if rows:
        head = ("device", "profile/behavior", "alarms", "in alarm", "violations", "datapoints", "worst")
        lines += ["", *_aligned([head, *rows[:MAX_ROWS]], "<<>>>><")]
        if len(rows) > MAX_ROWS:
            lines.append(f"and {len(rows) - MAX_ROWS:,} more lines; --json has all")
    behaviors = list(zip(*(device.results for device in devices)))
    nowhere = [results[0] for results in behaviors if all(result.skipped is not None for result in results)]
    sum_up = not every and skipped.is_long(nowhere)
    if sum_up:
        behaviors = [results for results in behaviors if any(result.skipped is None for result in results)]
    titles = ("profile/behavior", "devices in alarm", "alarms", "worst device", "normal")
    lines += ["", *_aligned([titles, *(_behavior(devices, results) for results in behaviors)], "<>><<")]
    if sum_up:
        lines += ["", *skipped.by_reason(nowhere)]
    if has_percentiles(devices[0].results):
        lines += ["", *textwrap.wrap(PERCENTILES, WIDTH)]
    return "\n".join(lines)


def _rows(devices: Sequence[Device]) -> list[tuple[str, ...]]:
    """Return a row for each behavior that a device violates, most time in alarm first."""
    rows = [
        (seconds, result.violations, _row(device, result, seconds))
        for device in devices
        for result in device.results
        if result.violations
        for seconds in [_seconds(device, result)]
    ]
    return [row for *_, row in sorted(rows, key=lambda row: (-row[0], -row[1], row[2]))]


def _row(device: Device, result: Result, seconds: int) -> tuple[str, ...]:
    worst = printable(result.worst) if isinstance(result.worst, str) else number(result.worst)
    if result.elements:
        worst = printable(result.worst) + (f" and {result.distinct - 1:,} more" if result.distinct > 1 else "")
    return (
        _cut(printable(device.thing)),
        _name(result),
        f"{len(result.alarms):,}",
        span(seconds) if result.alarms else "",
        f"{result.violations:,}",
        f"{result.datapoints:,}",
        worst,
    )


def _seconds(device: Device, result: Result) -> int:
    """Return how long a behavior was in alarm on a device."""
    return sum((alarm.end or device.last) - alarm.start for alarm in result.alarms)


def _behavior(devices: Sequence[Device], results: Sequence[Result]) -> tuple[str, ...]:
    """Return the row of a behavior. results: of each device"""
    behavior = results[0].behavior
    alarms = sum(len(result.alarms) for result in results)
    judged = [result for result in results if result.skipped is None]
    here = f" ({number(judged[0].limit)} here)" if judged and behavior.statistic and judged[0].limit is not None else ""
    normal = f"{results[0].rule}{here}" if judged else f"not replayed: {results[0].skipped}"
    in_alarm = f"{sum(bool(result.alarms) for result in judged):,} of {len(judged):,}" if judged else ""
    worst = max(
        (pair for pair in zip(devices, results) if pair[1].alarms),
        key=lambda pair: (_seconds(*pair), pair[1].violations),
        default=None,
    )
    name = _cut(printable(worst[0].thing)) if worst else ""  # where few are in alarm, the table above may not reach it
    suppressed = "; alerts are suppressed" if behavior.suppressed else ""
    return _name(results[0]), in_alarm, f"{alarms:,}" if judged else "", name, normal + suppressed


def _cut(name: str) -> str:
    if len(name) <= MAX_NAME_CHARS:
        return name
    return f"{name[:9]}...{name[12 - MAX_NAME_CHARS :]}"


def _name(result: Result) -> str:
    return f"{result.profile}/{result.behavior.name}"


def _aligned(rows: Sequence[tuple[str, ...]], sides: str) -> Iterator[str]:
    """Yield lines of columns. sides: < for text, > for numbers; a column each."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(sides))]
    for row in rows:
        yield "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths)).rstrip()
