"""Long series are thinned for drawing, without losing a peak or a violation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from detection import thin
from detection.outcome import Series
from hypothesis import given
from hypothesis import strategies as st

TIMES = st.lists(st.integers(0, 100_000), min_size=1, max_size=60, unique=True).map(sorted)
BUCKETS = st.integers(1, 40)


def inside(times: Sequence[int], first: int, width: int, start: int) -> list[int]:
    """Return the indexes of the datapoints in the bucket that a time is in; the buckets begin at `start`."""
    bucket = (first - start) // width
    return [index for index, time in enumerate(times) if (time - start) // width == bucket]


def elements(lists: Sequence[Sequence[Any]], outside: Sequence[Sequence[Any]]) -> thin.Elements:
    columns = thin.columns(Series(list(range(len(lists))), lists, outside, None), lists=True)
    assert isinstance(columns.values, thin.Elements)
    return columns.values


@given(TIMES, BUCKETS, st.data())
def test_band_keeps_extremes_and_violations_of_each_bucket(times: list[int], buckets: int, data: st.DataObject) -> None:
    count = len(times)
    values = data.draw(st.lists(st.integers(-1000, 1000), min_size=count, max_size=count))
    outside = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    band = thin.band(np.array(times), np.array(values), np.array(outside), buckets)
    assert len(band.times) <= buckets
    assert band.counts.sum() == len(times)
    assert band.violations.sum() == sum(outside)
    assert band.most.max() == max(values)
    assert band.least.min() == min(values)
    for row, first in enumerate(band.times.tolist()):
        indexes = inside(times, first, band.width_seconds or 1, times[0])
        here = [values[index] for index in indexes]
        bad = [values[index] for index in indexes if outside[index]]
        assert (band.least[row], band.most[row]) == (min(here), max(here))
        assert (band.counts[row], band.violations[row]) == (len(here), len(bad))
        if bad:
            assert (band.lowest[row], band.highest[row]) == (min(bad), max(bad))


@given(TIMES, BUCKETS, st.data())
def test_rows_keep_each_element_of_each_bucket(times: list[int], buckets: int, data: st.DataObject) -> None:
    lists = st.lists(st.lists(st.sampled_from("abcde"), max_size=4), min_size=len(times), max_size=len(times))
    values = data.draw(lists)
    bad = data.draw(st.sets(st.sampled_from("abcde")))
    outside = [[element for element in elements if element in bad] for elements in values]
    rows = thin.rows(np.array(times), elements(values, outside), buckets, 5)
    assert set(rows.elements) == {element for elements in values for element in elements}
    assert rows.left_out == 0
    assert rows.outside == [element in bad for element in rows.elements]
    assert rows.outside == sorted(rows.outside, reverse=True)
    assert rows.counts.sum() == len(times)
    assert rows.violations.sum() == sum(map(bool, outside))
    drawn = [
        {element for element, runs in zip(rows.elements, rows.runs) if any(a <= row < a + n for a, n in runs)}
        for row in range(len(rows.times))
    ]
    expected: list[set[str]] = []
    for first in rows.times.tolist():
        indexes = inside(times, first, rows.width_seconds or 1, times[0])
        expected.append({element for index in indexes for element in values[index]})
    assert drawn == expected
    for runs in rows.runs:  # as few as there can be
        assert all(a + n < b for (a, n), (b, _) in zip(runs, runs[1:]))


def test_few_datapoints_are_kept_as_they_are() -> None:
    times, values = np.array([10, 20, 50]), np.array([3, 1, 2])
    band = thin.band(times, values, np.array([True, False, False]), 3)
    assert band.width_seconds == 0
    assert band.times.tolist() == [10, 20, 50]
    assert band.least.tolist() == band.most.tolist() == [3, 1, 2]
    assert band.violations.tolist() == [1, 0, 0]


def test_buckets_without_datapoints_are_left_out() -> None:
    """A pause in the recording stays a pause."""
    band = thin.band(np.array([0, 1, 2, 1000]), np.array([1, 5, 2, 3]), np.zeros(4, bool), 3)
    assert band.times.tolist() == [0, 1000]
    assert band.counts.tolist() == [3, 1]
    assert band.most.tolist() == [5, 3]


@pytest.mark.parametrize("lists", [[], [[], []]])
def test_series_without_elements(lists: list[list[Any]]) -> None:
    rows = thin.rows(np.arange(len(lists)), elements(lists, lists), 10, 10)
    assert (rows.elements, rows.runs, len(rows.times)) == ([], [], len(lists))


def test_elements_in_violation_come_first_then_the_most_frequent() -> None:
    lists = [["a", "b"], ["b"], ["c"], ["d", "b"]]
    rows = thin.rows(np.arange(4), elements(lists, [[], [], ["c"], []]), 10, 2)
    assert rows.elements == ["c", "b"]
    assert rows.runs == [[(2, 1)], [(0, 2), (3, 1)]]
    assert rows.left_out == 2
