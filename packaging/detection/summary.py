"""Formats the outcome of a replay for a terminal."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any

from connector.detect.event import element_text
from connector.detect.profile import Behavior


MIN_INTERVAL_SECONDS = 300  # between reports; more frequent ones are throttled by the service
MAX_ALARMS = 10
MAX_ELEMENTS = 8
WIDTH = 118  # characters of a line
PERCENTILES = (
    "Percentiles are of the measurements recorded here; the service takes them from all devices that the profile is"
    " attached to."
)
OFTEN = (
    "These reports are {} s apart. A device sends one in 300 s at most, so datapoints in a row take longer there;"
    " record with -s 300."
)


def summarize(name: str, reports: Sequence[Report], outcomes: Sequence[Outcome]) -> str:
    """Return the summary of a profile's replay, some lines without a newline at the end."""
    first, last = reports[0].time, reports[-1].time
    many = "1 report" if len(reports) == 1 else f"{len(reports)} reports"
    lines = [f"{name} against {many} of one device, {moment(first)} to {moment(last)} (UTC)"]
    every = interval(reports)
    unevenly = uneven(reports)
    if unevenly:
        lines.append(unevenly.capitalize())
    elif every is not None and every < 0.9 * MIN_INTERVAL_SECONDS:
        lines += textwrap.wrap(OFTEN.format(every), WIDTH)
    for outcome in outcomes:
        lines += ["", outcome.behavior.name]
        lines += [line for text in _outcome(outcome, last) for line in _wrap(text)]
    alarmed = sum(bool(outcome.alarms) for outcome in outcomes)
    skipped = sum(outcome.skipped is not None for outcome in outcomes)
    plural = "behavior" if len(outcomes) == 1 else "behaviors"
    lines += ["", f"{len(outcomes)} {plural}: {alarmed} in alarm at some time, {skipped} not replayed"]
    if any(outcome.behavior.statistic and not outcome.skipped for outcome in outcomes):
        lines += textwrap.wrap(PERCENTILES, WIDTH)
    return "\n".join(lines)


def uneven(reports: Sequence[Report]) -> str | None:
    """Return a remark where reports seem to be of two devices in turn: a report doesn't say whose it is."""
    apart = sorted(after.time - before.time for before, after in zip(reports, reports[1:]))
    if len(apart) < 4:
        return None
    short, long = apart[len(apart) // 4], apart[len(apart) * 3 // 4]
    if long <= 2 * short + 2:  # a report may be lost now and then, and times are whole seconds
        return None
    return f"reports come unevenly, {short} s to {long} s apart; is this one device's recording?"


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


def elements(values: Sequence[Any]) -> str:
    """Return the first eight of a list, and how many more there are."""
    shown = ", ".join(printable(value) for value in values[:MAX_ELEMENTS])
    more = f" and {len(values) - MAX_ELEMENTS} more" if len(values) > MAX_ELEMENTS else ""
    return (shown or "nothing") + more


def printable(value: Any) -> str:
    """Return a value as text without control characters, which a device could use to steer the terminal."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in str(element_text(value)))


def moment(time: int) -> str:
    """Return epoch seconds as UTC date and time."""
    return datetime.fromtimestamp(time, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def span(seconds: float) -> str:
    """Return seconds as "40 s", "12 min" or "3 h 5 min"."""
    if seconds < 60:
        return f"{int(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _outcome(outcome: Outcome, last: int) -> Iterator[str]:
    behavior = outcome.behavior
    here = f" ({number(outcome.limit)} here)" if behavior.statistic and outcome.limit is not None else ""
    yield f"normal: {rule(behavior)}{here}"
    if outcome.skipped:
        yield f"not replayed: {outcome.skipped}"
        return
    violations = [datapoint for datapoint in outcome.datapoints if datapoint.outside]
    yield (
        f"{len(outcome.datapoints)} datapoints, {len(violations)} in violation;"
        f" {behavior.to_alarm} in a row to alarm, {behavior.to_clear} to clear"
        + ("; alerts are suppressed" if behavior.suppressed else "")
    )
    at = {datapoint.time: datapoint for datapoint in outcome.datapoints}
    for alarm in outcome.alarms[:MAX_ALARMS]:
        yield _alarm(alarm, at[alarm.start], last)
    if len(outcome.alarms) > MAX_ALARMS:
        yield f"and {len(outcome.alarms) - MAX_ALARMS} more alarms"
    if violations and isinstance(violations[0].value, tuple):
        often = Counter(element for datapoint in violations for element in datapoint.outside).most_common()
        yield "in violation (datapoints): " + elements(
            [f"{element_text(element)} ({times})" for element, times in often]
        )
    for note in outcome.notes:
        yield f"note: {note}"


def _alarm(alarm: Alarm, datapoint: Datapoint, last: int) -> str:
    if alarm.end is None:
        end = f"not cleared at the end, {span(last - alarm.start)} later"
    elif alarm.invalidated:
        end = f"invalidated {moment(alarm.end)}, after two days without a datapoint"
    else:
        end = f"cleared {moment(alarm.end)}, after {span(alarm.end - alarm.start)}"
    what = elements(datapoint.outside) if isinstance(datapoint.value, tuple) else number(datapoint.value)
    return f"alarm {moment(alarm.start)} at {what}; {end}"


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
