"""Packs series for the page: thinned, as JSON, deflated, in base64; equal parts once.

page/data.js reads what is written here.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import thin
from .summary import printable

MAX_ELEMENTS = 500  # of one series of lists


class Pack:
    """Series with at most so many buckets each.

    bytes: how much of the page they take
    blobs: the packed parts, each with its index
    series: of each series the indexes of its parts
    places: row of the table -> index in series
    """

    def __init__(self, max_buckets: int) -> None:
        self.bytes = 0
        self.blobs: dict[str, int] = {}
        self.series: list[dict[str, int]] = []
        self.places: dict[int, int] = {}
        self._max_buckets = max_buckets
        self._known: dict[bytes, int] = {}

    def add(self, row: int, columns: thin.Columns, alarms: Sequence[Mapping[str, Any]]) -> None:
        """Add the series of a row. alarms: as in an outcome's document."""
        self._before = len(self.blobs)
        pack = _lists if isinstance(columns.values, thin.Elements) else _numbers
        parts = pack(columns, self._max_buckets)
        parts["marks"]["alarms"] = [[alarm["start"], alarm["end"], int(alarm["invalidated"])] for alarm in alarms]
        self.places[row] = len(self.series)
        self.series.append({name: self._blob(part) for name, part in parts.items()})
        self.bytes += 40

    def drop_last(self) -> None:
        """Take back what was added last; nothing can be added afterwards."""
        self.places.popitem()
        self.series.pop()
        for text in list(self.blobs)[self._before :]:
            self.bytes -= len(text)
            del self.blobs[text]

    def _blob(self, part: Any) -> int:
        text = json_bytes(part)
        if text not in self._known:
            blob = _base64(text)
            self._known[text] = self.blobs.setdefault(blob, len(self.blobs))
            self.bytes += len(blob) + 3
        return self._known[text]


def packed(value: Any) -> str:
    """Return a value as deflated JSON in base64."""
    return _base64(json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """Return a value as JSON, in ASCII."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def _base64(text: bytes) -> str:
    return base64.b64encode(zlib.compress(text)).decode("ascii")


def _numbers(columns: thin.Columns, max_buckets: int) -> dict[str, dict[str, Any]]:
    assert not isinstance(columns.values, thin.Elements)
    band = thin.band(columns.times, columns.values, columns.outside, max_buckets)
    bad = np.flatnonzero(band.violations)
    numbers: dict[str, Any] = {"least": band.least.tolist()}
    marks: dict[str, Any] = {"buckets": _differences(bad)}
    if band.width_seconds:
        numbers["most"] = band.most.tolist()
        marks["violations"] = band.violations[bad].tolist()
        marks["lowest"], marks["highest"] = band.lowest[bad].tolist(), band.highest[bad].tolist()
    return {"times": _times(band), "values": numbers, "marks": marks}


def _lists(columns: thin.Columns, max_buckets: int) -> dict[str, dict[str, Any]]:
    assert isinstance(columns.values, thin.Elements)
    rows = thin.rows(columns.times, columns.values, max_buckets, MAX_ELEMENTS)
    lists = {
        "elements": [printable(element) for element in rows.elements],
        "outside": sum(rows.outside),
        "leftOut": rows.left_out,
        # first, length, gap, length, gap...: differences of first, end, first, end...
        "runs": [
            _differences([edge for first, length in runs for edge in (first, first + length)]) for runs in rows.runs
        ],
    }
    bad = np.flatnonzero(rows.violations)
    marks: dict[str, Any] = {"buckets": _differences(bad)}
    if rows.width_seconds:
        marks["violations"] = rows.violations[bad].tolist()
    return {"times": _times(rows), "values": lists, "marks": marks}


def _times(thinned: thin.Band | thin.Rows) -> dict[str, Any]:
    times: dict[str, Any] = {"width": thinned.width_seconds, "times": _differences(thinned.times)}
    if thinned.width_seconds:
        times["counts"] = thinned.counts.tolist()
    return times


def _differences(numbers: npt.ArrayLike) -> list[int]:
    found: list[int] = np.diff(np.asarray(numbers, np.int64), prepend=0).tolist()
    return found
