"""Draws the outcome of a replay: each metric over time, its threshold and the spans in alarm."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator, NullLocator

from connector.detect.measurement import Number
from connector.detect.profile import Behavior

from .errors import InputError
from .outcome import Alarm, Outcome
from .summary import number, printable, rule

NORMAL, VIOLATION, LIMIT, ALARM = "#1f77b4", "#c62828", "#555555", "#f8c9c4"
MAX_ROWS = 12
ENGINEERING = EngFormatter(sep=" ")
# Text stays text, which keeps an SVG small; the salt makes it the same in every run. Don't parse $ as math.
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "detect", "font.size": 9, "text.parse_math": False}


class _Datapoint(NamedTuple):
    time: int
    value: Any
    outside: Sequence[Any]


class _Chart(NamedTuple):
    """One behavior, as it is drawn."""

    behavior: Behavior
    limit: Number | None
    datapoints: Sequence[_Datapoint]
    alarms: Sequence[Alarm]


def draw(outcome: Outcome, path: Path) -> bool:
    """Write a picture of the worst device, as SVG or PNG by the ending of the path.

    Behaviors that were not replayed are left out; returns False, and writes nothing, if there are no others. Raises
    InputError where the file can't be written.
    """
    device = outcome.devices[0]
    shown = []
    for result in device.results:
        if result.skipped is None:
            series = outcome.series(device.thing, result.profile, result.behavior.name)
            datapoints = [_Datapoint(*one) for one in zip(series.times, series.values, series.outside)]
            shown.append(_Chart(result.behavior, result.limit, datapoints, result.alarms))
    if not shown:
        return False
    title = ", ".join(outcome.profiles) + ("" if len(outcome.devices) == 1 else f": {printable(device.thing)}")
    times = [datapoint.time for chart in shown for datapoint in chart.datapoints]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 0.6 + 2.1 * len(shown)), layout="constrained")
        figure.suptitle(title)
        all_axes = figure.subplots(len(shown), sharex=True, squeeze=False)[:, 0]
        for axes, chart in zip(all_axes, shown):
            _behavior(axes, chart, _date(max(times)))
        locator = AutoDateLocator()  # type: ignore[no-untyped-call]
        all_axes[-1].xaxis.set_major_locator(locator)
        formatter = ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
        all_axes[-1].xaxis.set_major_formatter(formatter)
        all_axes[-1].set_xlabel("UTC")
        metadata = {"Date": None} if path.suffix == ".svg" else {}
        try:
            figure.savefig(path, metadata=metadata)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from error
    return True


def _behavior(axes: Axes, outcome: _Chart, end: float) -> None:
    title = textwrap.shorten(f"{outcome.behavior.name}: normal is {rule(outcome.behavior)}", 110, placeholder=" ...")
    axes.set_title(title, loc="left", fontsize=9)
    axes.grid(axis="x", color="#eeeeee")
    axes.set_axisbelow(True)
    for alarm in outcome.alarms:
        axes.axvspan(
            _date(alarm.start), _date(alarm.end) if alarm.end else end, color=ALARM, label="in alarm", zorder=0, lw=1
        )
    if isinstance(outcome.datapoints[0].value, list):
        _sets(axes, outcome)
    else:
        _numbers(axes, outcome)
    # Every alarm has the same label; the legend shows it once.
    handles, labels = axes.get_legend_handles_labels()
    entries = dict(zip(labels, handles))
    axes.legend(entries.values(), entries.keys(), loc="upper left", bbox_to_anchor=(1, 1), frameon=False)


def _numbers(axes: Axes, outcome: _Chart) -> None:
    limit = outcome.limit
    assert limit is not None
    values = [datapoint.value for datapoint in outcome.datapoints]
    axes.plot(
        [_date(d.time) for d in outcome.datapoints], values, color=NORMAL, marker=".", ms=4, lw=1, label="measured"
    )
    violations = [d for d in outcome.datapoints if d.outside]
    if violations:
        dates, measured = [_date(d.time) for d in violations], [d.value for d in violations]
        axes.plot(dates, measured, ".", color=VIOLATION, ms=6, label="in violation")
    statistic = f"{outcome.behavior.statistic} = " if outcome.behavior.statistic else ""
    label = f"threshold {statistic}{number(limit)}"
    axes.axhline(limit, color=LIMIT, ls="--", lw=1, label=label)

    usual = statistics.median(values)
    if min(values) >= 0 and limit >= 0 and max(*values, limit) > 30 * max(usual, 1):
        # On a linear axis a limit or a burst far above the rest would hide the rest.
        decade = math.floor(math.log10(max(usual, 1)))
        axes.set_yscale("symlog", linthresh=10**decade)
        highest = math.ceil(math.log10(max(*values, limit)))
        axes.set_yticks([0, *(10**power for power in range(decade, highest + 1))])
        axes.yaxis.set_minor_locator(NullLocator())
    elif outcome.behavior.kind == "count":
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins="auto"))
    axes.margins(y=0.15)
    if min(values) >= 0 and limit >= 0:
        axes.set_ylim(bottom=0, top=axes.get_ylim()[1])
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda tick, _: f"{tick:g}" if abs(tick) < 1000 else ENGINEERING(tick))
    )


def _sets(axes: Axes, outcome: _Chart) -> None:
    """Draw a row for each element, elements in violation first."""
    outside = {element for datapoint in outcome.datapoints for element in datapoint.outside}
    seen = {element for datapoint in outcome.datapoints for element in datapoint.value}
    rows = (sorted(outside, key=_order) + sorted(seen - outside, key=_order))[:MAX_ROWS]
    for elements, color, label in ((seen - outside, NORMAL, "measured"), (outside, VIOLATION, "in violation")):
        points = [
            (_date(datapoint.time), len(rows) - 1 - rows.index(element))
            for datapoint in outcome.datapoints
            for element in dict.fromkeys(datapoint.value)
            if element in elements and element in rows
        ]
        if points:
            axes.plot(*zip(*points), marker=".", ls="", color=color, ms=4, label=label)
    axes.set_yticks(range(len(rows)), [printable(element) for element in reversed(rows)])
    axes.set_ylim(-0.7, max(len(rows), 1) - 0.3)
    # Datapoints with an empty list draw nothing, but the axis must have their dates.
    axes.plot([_date(d.time) for d in outcome.datapoints], [-10] * len(outcome.datapoints), ls="")
    if len(seen) > len(rows):
        axes.set_ylabel(f"{len(rows)} of {len(seen)}")


def _order(element: Any) -> tuple[int, Any]:
    """Return a sort key: numbers and texts by value; packed addresses by length, then value."""
    return (len(element) if isinstance(element, bytes) else 0, element)


def _date(time: int) -> float:
    """Return epoch seconds in matplotlib's unit of time, days."""
    return time / 86400
