"""Writes the page of `detect.py try --page`: one HTML file with everything in it, which a browser opens from a disk.

The page has the results of an outcome's document (outcome.py) and the series behind the worst of them, thinned as far
as its size demands. What it is made of is in page/. All text in it may be a device's: nothing of it is HTML or script.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from . import pack, thin, units
from .outcome import Series
from .summary import moment, number, printable
from .whole_file import whole

MAX_PAGE_BYTES = 2_000_000
MAX_INDEX_BYTES = 20_000  # of the page, to say which series are where
MAX_SERIES = 400  # more rows can have theirs in pages of fewer devices; bounds the time to write a page of a fleet
# Buckets of a series, finest first. The finest with which all series fit is taken, and with the last as many as fit.
MAX_BUCKETS = (10_000_000, 20_000, 6_000, 1_500)
SCRIPTS = ("data.js", "table.js", "chart.js", "marks.js", "controls.js", "page.js")
UNNAMED = "device"  # a recording of one device need not name it

_FOLDER = Path(__file__).with_name("page")


class _Row(NamedTuple):
    """A line of the table: one behavior on one device."""

    device: int
    behavior: int
    result: Mapping[str, Any]
    seconds: int


def write(path: Path, document: Mapping[str, Any], series: Callable[[str, str, str], Series]) -> None:
    """Write the page.

    document: of an outcome
    series: called with thing, profile and behavior, as in Outcome
    Raises InputError where the file can't be written.
    """
    text = build(document, series)
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")


def build(document: Mapping[str, Any], series: Callable[[str, str, str], Series]) -> str:
    """Return the page as HTML."""
    rows = list(_rows(document))
    table = _table(document, rows)
    without = _page(document, {"table": pack.packed(table), "series": [], "blobs": []})
    budget = MAX_PAGE_BYTES - len(without) - MAX_INDEX_BYTES
    wanted = [index for index, row in enumerate(rows) if row.result["skipped"] is None and row.result["datapoints"]]
    chosen = _pack(document, rows, wanted, series, budget)
    table["table"]["series"] = [chosen.places.get(index, -1) for index in range(len(rows))]
    if len(chosen.places) < len(wanted):
        table["leftOut"] = (
            f"The metric over time is in the page for {number(len(chosen.places))} of {number(len(wanted))} rows, the"
            " worst ones; for others, make a page of these devices alone."
        )
    embedded = {"table": pack.packed(table), "series": chosen.series, "blobs": list(chosen.blobs)}
    return _page(document, embedded)


def _pack(
    document: Mapping[str, Any],
    rows: Sequence[_Row],
    wanted: Sequence[int],
    series: Callable[[str, str, str], Series],
    budget: int,
) -> pack.Pack:
    """Return the series of the wanted rows in so many bytes: as fine as all fit, or as many of the coarsest as fit."""
    for max_buckets in _resolutions(rows, wanted, budget):
        packed = pack.Pack(max_buckets)
        for index in wanted[:MAX_SERIES]:
            place, _, result, _ = rows[index]
            thing = document["devices"][place]["thing"]
            found = series(thing, result["profile"], result["behavior"])
            packed.add(index, thin.columns(found, result["kind"] in units.LISTS), result["alarms"])
            if packed.bytes > budget:
                packed.drop_last()
                break
        else:
            break
    return packed


def _resolutions(rows: Sequence[_Row], wanted: Sequence[int], budget: int) -> Iterator[int]:
    """Yield buckets of a series, without those that could not fit at a byte a bucket; one metric is packed once."""
    counts = {}
    for index in wanted:
        result = rows[index].result
        counts[rows[index].device, result["metric"], result["duration"]] = result["datapoints"]
    for max_buckets in MAX_BUCKETS[:-1]:
        if len(wanted) <= MAX_SERIES and sum(min(count, max_buckets) for count in counts.values()) <= budget:
            yield max_buckets
    yield MAX_BUCKETS[-1]


def _rows(document: Mapping[str, Any]) -> Iterator[_Row]:
    """Yield the lines of the table, worst first: most time in alarm, then most violations; not replayed last."""
    rows = [
        _Row(
            place,
            index,
            result,
            sum((alarm["end"] or device["last"]) - alarm["start"] for alarm in result["alarms"]),
        )
        for place, device in enumerate(document["devices"])
        for index, result in enumerate(device["behaviors"])
    ]
    yield from sorted(
        rows,
        key=lambda row: (
            row.result["skipped"] is not None,
            -row.seconds,
            -len(row.result["alarms"]),
            -row.result["violations"],
        ),
    )


def _table(document: Mapping[str, Any], rows: list[_Row]) -> dict[str, Any]:
    devices = document["devices"]
    texts: dict[str, int] = {}

    @cache  # few sentences stand on many rows
    def text(sentence: str) -> int:
        return texts.setdefault(printable(sentence), len(texts))

    states = {_state(row.result): None for row in rows}
    ranks = sorted(states)
    results = [row.result for row in rows]
    return {
        "summary": _summary(document),
        "leftOut": "",
        "notHere": "The metric over time of this row is not in the page, which has those of the worst rows."
        " Make a page of this device alone.",
        "devices": [
            {
                "name": printable(device["thing"] or UNNAMED),
                "first": device["first"],
                "last": device["last"],
                "interval": device["interval"],
                "remark": device["remark"] and printable(device["remark"]),
            }
            for device in devices
        ],
        "behaviors": [_behavior(result) for result in (devices[0]["behaviors"] if devices else [])],
        "states": [{"rank": rank, "kind": kind, "name": name} for rank, kind, name in ranks],
        "table": {
            "device": [row.device for row in rows],
            "behavior": [row.behavior for row in rows],
            "datapoints": [result["datapoints"] for result in results],
            "violations": [result["violations"] for result in results],
            "alarms": [len(result["alarms"]) for result in results],
            "seconds": [row.seconds for row in rows],
            "state": [ranks.index(_state(result)) for result in results],
            "limit": [result["limit"] for result in results],
            "skipped": [-1 if result["skipped"] is None else text(result["skipped"]) for result in results],
            "notes": [[text(note) for note in result["notes"]] for result in results],
        },
        "texts": list(texts),
    }


def _state(result: Mapping[str, Any]) -> tuple[int, str, str]:
    """Return rank (0 is worst), kind for the style sheet, and words."""
    if result["skipped"] is not None:
        return 9, "skipped", "not replayed"
    if any(alarm["end"] is None for alarm in result["alarms"]):
        return 0, "now", "in alarm at the end"
    if result["alarms"]:
        return 1, "past", "was in alarm"
    if result["violations"]:
        return 2, "some", "violations, no alarm"
    return 3, "normal", "normal"


def _behavior(result: Mapping[str, Any]) -> dict[str, Any]:
    metric, duration = result["metric"], result["duration"]
    return {
        "profile": printable(result["profile"]),
        "name": printable(result["behavior"]),
        "metric": metric,
        "rule": printable(result["rule"]),
        "lists": result["kind"] in units.LISTS,
        "unit": units.unit(metric, duration),
        "whole": units.is_whole(metric, result["kind"]),
        "empty": units.empty(metric),
        "suppressed": result["suppressed"],
        "toAlarm": result["to_alarm"],
        "toClear": result["to_clear"],
    }


def _summary(document: Mapping[str, Any]) -> str:
    devices = document["devices"]
    if not devices:
        return "No devices."
    reports = sum(device["reports"] for device in devices)
    first, last = min(device["first"] for device in devices), max(device["last"] for device in devices)
    many = "1 device" if len(devices) == 1 else f"{number(len(devices))} devices"
    return f"{number(reports)} reports of {many}, {moment(first)} to {moment(last)} (UTC)"


def _page(document: Mapping[str, Any], embedded: Mapping[str, Any]) -> str:
    style, uplot_style = _read("page.css"), _read("uplot/uPlot.min.css")
    script = '"use strict";\n' + "\n".join(_read(name) for name in SCRIPTS)
    uplot = f"/*\n{_read('uplot/LICENSE')}*/\n{_read('uplot/uPlot.iife.min.js')}"
    profiles = document["profiles"]
    if len(profiles) > 3:
        title = f"{len(profiles)} security profiles"
    else:
        title = printable(("Security profile " if len(profiles) == 1 else "Security profiles ") + ", ".join(profiles))
    # Nothing is loaded from anywhere, and no script or style runs but these.
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash(uplot)} {_hash(script)}",
            f"style-src {_hash(uplot_style)} {_hash(style)}",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    return Template(_read("page.html")).substitute(
        policy=policy,
        title=html.escape(title),
        style=style,
        uplot_style=uplot_style,
        uplot=uplot,
        script=script,
        data=pack.json_bytes(embedded).decode().replace("<", "\\u003c"),  # so that no text in it ends the element
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
