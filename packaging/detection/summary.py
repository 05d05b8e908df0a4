"""Formats the outcome of a replay for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timezone
from typing import Any

from connector.detect.event import element_text
from connector.detect.profile import Behavior
from connector.health import duration as span

from . import skipped
from .outcome import Alarm, Device, Outcome, Result
from .skipped import WIDTH

MIN_INTERVAL_SECONDS = 300  # between reports; more frequent ones are throttled by the service
MAX_ALARMS = 10
MAX_ELEMENTS = 8
PERCENTILES = (
    "Percentiles are of the measurements recorded here, of all devices; the service takes them from all devices that"
    " the profile is attached to."
)
OFTEN = (
    "These reports are {} s apart. A device sends one in 300 s at most, so datapoints in a row take longer there;"
    " record with -s 300."
)


def summarize(outcome: Outcome, every: bool = False) -> str:
    """Return the summary of a replay on one device: a block for each profile, without a newline at the end.

    every: show each behavior that was not replayed; otherwise many of them are summed up by reason, after the profiles
    """
    (device,) = outcome.devices
    if every or not skipped.is_long(device.results):
        return "\n\n".join(_profile(name, device.results, device, outcome) for name in outcome.profiles)
    judged = [result for result in device.results if result.skipped is None]
    with_judged = {result.profile for result in judged}
    names = [name for name in outcome.profiles if name in with_judged] or outcome.profiles
    blocks = [_profile(name, judged, device, outcome) for name in names]
    return "\n\n".join([*blocks, "\n".join(skipped.by_reason(device.results))])


def _profile(name: str, shown: Sequence[Result], device: Device, outcome: Outcome) -> str:
    """shown: the results that get lines of their own."""
    results = [result for result in device.results if result.profile == name]
    lines = [
        f"{name} against {count(device.reports, 'report')} of one device, {moment(device.first)} to"
        f" {moment(device.last)} (UTC)"
    ]
    if device.remark:
        lines.append(device.remark.capitalize())
    elif device.interval is not None and device.interval < 0.9 * MIN_INTERVAL_SECONDS:
        lines += textwrap.wrap(OFTEN.format(device.interval), WIDTH)
    for result in (result for result in results if result in shown):
        lines += ["", result.behavior.name]
        lines += [line for text in _result(result, device, outcome) for line in _wrap(text)]
    alarmed = sum(bool(result.alarms) for result in results)
    left_out = sum(result.skipped is not None for result in results)
    lines += ["", f"{count(len(results), 'behavior')}: {alarmed} in alarm at some time, {left_out} not replayed"]
    if has_percentiles(results):
        lines += textwrap.wrap(PERCENTILES, WIDTH)
    return "\n".join(lines)


def has_percentiles(results: Collection[Result]) -> bool:
    """Return whether any of the results was compared with a percentile."""
    return any(result.behavior.statistic and not result.skipped for result in results)


def rule(behavior: Behavior) -> str:
    """Return what the behavior calls normal: "aws:all-packets-out less-than-equals p99.9 over 300 s"."""
    if behavior.operator is None:
        confidence = f" (ML Detect, confidence {behavior.confidence})" if behavior.confidence else ""
        return behavior.metric + confidence
    against = behavior.statistic or (
        number(behavior.limit) if behavior.limit is not None else elements(behavior.elements)
    )
    over = f" over {behavior.duration} s" if behavior.duration else ""
    return f"{behavior.metric} {behavior.operator} {against}{over}"


def number(value: Any) -> str:
    """Return a number for people: 12,345 or 12.5."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"


def count(times: int, noun: str) -> str:
    """Return "1 device" or "1,000 devices"."""
    return f"{times:,} {noun}{'' if times == 1 else 's'}"


def elements(values: Sequence[Any], total: int | None = None) -> str:
    """Return the first eight of a list, and how many more there are. total: where the list is not the whole."""
    total = len(values) if total is None else total
    shown = ", ".join(printable(value) for value in values[:MAX_ELEMENTS])
    more = f" and {total - MAX_ELEMENTS:,} more" if total > MAX_ELEMENTS else ""
    return (shown or "nothing") + more


def printable(value: Any) -> str:
    """Return a value as text without control characters, which a device could use to steer the terminal."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in str(element_text(value)))


def moment(time: int) -> str:
    """Return epoch seconds as UTC date and time."""
    return datetime.fromtimestamp(time, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def _result(result: Result, device: Device, outcome: Outcome) -> Iterator[str]:
    behavior = result.behavior
    here = f" ({number(result.limit)} here)" if behavior.statistic and result.limit is not None else ""
    yield f"normal: {result.rule}{here}"
    if result.skipped:
        yield f"not replayed: {result.skipped}"
        return
    yield (
        f"{count(result.datapoints, 'datapoint')}, {result.violations:,} in violation;"
        f" {behavior.to_alarm} in a row to alarm, {behavior.to_clear} to clear"
        + ("; alerts are suppressed" if behavior.suppressed else "")
    )
    shown = result.alarms[:MAX_ALARMS]
    if shown:
        series = outcome.series(device.thing, result.profile, behavior.name, [alarm.start for alarm in shown])
        outside = dict(zip(series.times, series.outside))
        for alarm in shown:
            yield _alarm(alarm, _shown(behavior, outside[alarm.start]), device.last)
    if len(result.alarms) > MAX_ALARMS:
        yield f"and {len(result.alarms) - MAX_ALARMS:,} more alarms"
    if result.elements:
        often = [f"{element} ({times:,})" for element, times in result.elements]
        yield f"in violation (datapoints): {elements(often, result.distinct)}"
    for note in result.notes:
        yield f"note: {note}"


def _shown(behavior: Behavior, outside: Sequence[Any]) -> str:
    return number(outside[0]) if behavior.kind in ("count", "number") else elements(outside)


def _alarm(alarm: Alarm, what: str, last: int) -> str:
    if alarm.end is None:
        end = f"not cleared at the end, {span(last - alarm.start)} later"
    elif alarm.invalidated:
        end = f"invalidated {moment(alarm.end)}, after two days without a datapoint"
    else:
        end = f"cleared {moment(alarm.end)}, after {span(alarm.end - alarm.start)}"
    return f"alarm {moment(alarm.start)} at {what}; {end}"


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
