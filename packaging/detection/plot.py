"""Draws the outcome of a replay: each metric over time, its threshold and the spans in alarm."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator, NullLocator

from connector.health import duration as span

from . import thin, units
from .outcome import Device, Outcome, Result
from .reports import MAX_TIME_SECONDS
from .summary import number, printable, rule
from .whole_file import whole

NORMAL, VIOLATION, LIMIT, ALARM, BAND = "#1f77b4", "#c62828", "#555555", "#f8c9c4", "#a8cbe6"
MAX_ROWS = 12
# What a year needs to stay under 1 MB as SVG: buckets of all charts, of one chart, and spans in alarm of one chart.
MAX_ALL_BUCKETS = 5000
MAX_BUCKETS = 1000
MAX_SPANS = 300
MAX_ROOM_SECONDS = 86400  # before the first report and after the last
ENGINEERING = EngFormatter(sep=" ")
# Text stays text, which keeps an SVG small; the salt makes it the same in every run. Don't parse $ as math.
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "detect", "font.size": 9, "text.parse_math": False}


class _Chart(NamedTuple):
    """One behavior, as it is drawn.

    first, last: times of the device's reports, epoch seconds
    interval: usual seconds between two of them
    max_buckets: how far its series is thinned
    """

    result: Result
    columns: thin.Columns
    first: int
    last: int
    interval: int
    max_buckets: int


def draw(outcome: Outcome, path: Path) -> bool:
    """Write a picture of the worst device, as SVG or PNG by the ending of the path.

    Behaviors that were not replayed are left out; returns False, and writes nothing, if there are no others. Raises
    InputError where the file can't be written.
    """
    charts = list(_charts(outcome, outcome.devices[0])) if outcome.devices else []
    if not charts:
        return False
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 0.6 + 2.1 * len(charts)), layout="constrained")
        figure.suptitle(_title(outcome))
        all_axes = figure.subplots(len(charts), sharex=True, squeeze=False)[:, 0]
        for axes, chart in zip(all_axes, charts):
            _draw(axes, chart)
        locator = AutoDateLocator()  # type: ignore[no-untyped-call]
        all_axes[-1].xaxis.set_major_locator(locator)
        formatter = ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
        all_axes[-1].xaxis.set_major_formatter(formatter)
        all_axes[-1].set_xlabel("UTC")
        metadata = {"Date": None} if path.suffix == ".svg" else {}
        with whole(path) as part:
            figure.savefig(part, metadata=metadata)
    return True


def _title(outcome: Outcome) -> str:
    profiles = ", ".join(outcome.profiles)
    if len(outcome.devices) == 1:
        return profiles
    return f"{profiles}: {printable(outcome.devices[0].thing)}, the worst of {number(len(outcome.devices))} devices"


def _charts(outcome: Outcome, device: Device) -> Iterator[_Chart]:
    replayed = [result for result in device.results if result.skipped is None and result.datapoints]
    buckets = max(100, min(MAX_BUCKETS, MAX_ALL_BUCKETS // max(1, len(replayed))))
    for result in replayed:
        series = outcome.series(device.thing, result.profile, result.behavior.name)
        columns = thin.columns(series, result.behavior.kind in units.LISTS)
        yield _Chart(result, columns, device.first, device.last, device.interval or 300, buckets)


def _draw(axes: Axes, chart: _Chart) -> None:
    behavior = chart.result.behavior
    title = textwrap.shorten(f"{behavior.name}: normal is {rule(behavior)}", 110, placeholder=" ...")
    axes.set_title(title, loc="left", fontsize=9)
    axes.grid(axis="x", color="#eeeeee")
    axes.set_axisbelow(True)
    axes.set_ylabel(units.unit(behavior.metric, behavior.duration))
    spans = [(_date(start), _date(end - start)) for start, end in _spans(chart)]
    if spans:
        axes.broken_barh(
            spans,
            (0, 1),
            transform=axes.get_xaxis_transform(),
            facecolor="none" if behavior.suppressed else ALARM,
            edgecolor=ALARM,
            hatch="////" if behavior.suppressed else None,
            label="in alarm (suppressed)" if behavior.suppressed else "in alarm",
            zorder=0,
            lw=1,
        )
    if isinstance(chart.columns.values, thin.Elements):
        _lists(axes, chart)
    else:
        _numbers(axes, chart)
    # A report has as much room before and after it as any other, within the dates that can be drawn.
    room = min(chart.interval, MAX_ROOM_SECONDS)
    axes.set_xlim(_date(chart.first - room), _date(min(chart.last + room, MAX_TIME_SECONDS)))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)


def _spans(chart: _Chart) -> list[tuple[int, int]]:
    """Return beginning and end of the spans in alarm; those that are too close to be told apart become one."""
    apart = (chart.last - chart.first) // MAX_SPANS
    spans: list[tuple[int, int]] = []
    for alarm in chart.result.alarms:
        end = chart.last if alarm.end is None else alarm.end
        if spans and len(chart.result.alarms) > MAX_SPANS and alarm.start - spans[-1][1] < apart:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((alarm.start, end))
    return spans


def _numbers(axes: Axes, chart: _Chart) -> None:
    behavior, limit = chart.result.behavior, chart.result.limit
    times, values, outside = chart.columns
    assert limit is not None
    assert not isinstance(values, thin.Elements)
    band = thin.band(times, values, outside, chart.max_buckets)
    if band.width_seconds:
        each = f"least and most\nof each {span(band.width_seconds)}"
        dates, least, most = _with_pauses(band.times, 3.5 * band.width_seconds, band.least, band.most)
        axes.fill_between(dates, least, most, facecolor=BAND, edgecolor=NORMAL, lw=0.7, label=each)
    else:
        dates, measured = _with_pauses(band.times, 3.5 * chart.interval, band.most)
        axes.plot(dates, measured, color=NORMAL, marker=".", ms=4, lw=1, label="measured")
    bad = band.violations > 0
    if bad.any():
        furthest = band.highest if (behavior.operator or "").startswith("less") else band.lowest
        axes.plot(_date(band.times[bad]), furthest[bad], ".", color=VIOLATION, ms=6, label="in violation")
    statistic = f"{behavior.statistic} = " if behavior.statistic else ""
    axes.axhline(limit, color=LIMIT, ls="--", lw=1, label=f"threshold {statistic}{number(limit)}")

    low, high, usual = float(values.min()), float(max(values.max(), limit)), max(float(np.median(values)), 1)
    if low >= 0 and limit >= 0 and high > 30 * usual:
        # On a linear axis a limit or a burst far above the rest would hide the rest.
        decade = math.floor(math.log10(usual))
        axes.set_yscale("symlog", linthresh=10**decade)
        axes.set_yticks([0, *(10**power for power in range(decade, math.ceil(math.log10(high)) + 1))])
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_ylabel(f"{axes.get_ylabel()}\nlogarithmic axis")
    elif units.is_whole(behavior.metric, behavior.kind):
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins="auto"))
    # After the scale, which sets a formatter of its own.
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda tick, _: f"{tick:g}" if abs(tick) < 1000 else ENGINEERING(tick))
    )
    axes.margins(y=0.15)
    if low >= 0 and limit >= 0:
        axes.set_ylim(bottom=0, top=axes.get_ylim()[1])


def _with_pauses(times: thin.Ints, longest: float, *values: thin.Numbers) -> list[thin.Numbers]:
    """Return dates and values, with a gap where no datapoint came for so many seconds."""
    at = np.flatnonzero(np.diff(times) > longest) + 1
    return [np.insert(_date(times), at, np.nan), *(np.insert(one.astype(float), at, np.nan) for one in values)]


def _lists(axes: Axes, chart: _Chart) -> None:
    """Draw a row for each element, elements in violation first."""
    assert isinstance(chart.columns.values, thin.Elements)
    rows = thin.rows(chart.columns.times, chart.columns.values, chart.max_buckets // 2, MAX_ROWS)
    if not rows.elements:
        axes.set_yticks([])
        empty = units.empty(chart.result.behavior.metric)
        axes.text(0.5, 0.5, empty, transform=axes.transAxes, ha="center", va="center", color=LIMIT)
        return
    step = rows.width_seconds or chart.interval
    for outside, color, label, width in ((False, NORMAL, "measured", 3), (True, VIOLATION, "in violation", 5)):
        dates: list[float] = []
        heights: list[float] = []
        for row, (runs, bad) in enumerate(zip(rows.runs, rows.outside)):
            if bad == outside:
                for start, end in _unbroken(rows.times, runs, step):
                    dates += [_date(start), _date(end), math.nan]
                    heights += [len(rows.elements) - 1 - row] * 3
        if dates:
            axes.plot(dates, heights, color=color, lw=width, solid_capstyle="butt", label=label)
    axes.set_yticks(range(len(rows.elements)), [printable(element) for element in reversed(rows.elements)])
    axes.set_ylim(-0.7, len(rows.elements) - 0.3)
    if rows.left_out:
        total = len(rows.elements) + rows.left_out
        axes.set_ylabel(f"{len(rows.elements)} of {total} {axes.get_ylabel()}")


def _unbroken(times: thin.Ints, runs: Sequence[tuple[int, int]], step: int) -> Iterator[tuple[int, int]]:
    """Yield the spans of time of these runs, without the pauses of the recording."""
    pauses = (np.flatnonzero(np.diff(times) > 3.5 * step) + 1).tolist()
    for first, length in runs:
        edges = [first, *(pause for pause in pauses if first < pause < first + length), first + length]
        for begin, end in zip(edges, edges[1:]):
            yield int(times[begin]), int(times[end - 1]) + step


def _date(time: float | thin.Ints) -> Any:
    """Return epoch seconds in matplotlib's unit of time, days."""
    return time / 86400
