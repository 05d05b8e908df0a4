"""Thins a long series for drawing, without losing a peak or a violation.

The span of a series is cut into buckets of equal width. Of the numbers in a bucket the least and the most are kept, and
of those in violation too; of lists, every element that was in one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .outcome import Series

Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[Any]


class Band(NamedTuple):
    """A series of numbers, thinned. The arrays have one entry for each bucket that has a datapoint, oldest first.

    times: of its first datapoint, epoch seconds
    least, most: of all its datapoints
    counts: how many datapoints it has
    violations: how many of them are in violation
    lowest, highest: least and most of those in violation; where there are none, the same as least and most
    width_seconds: of a bucket; 0: nothing was thinned, and each datapoint has a bucket of its own
    """

    times: Ints
    least: Numbers
    most: Numbers
    counts: Ints
    violations: Ints
    lowest: Numbers
    highest: Numbers
    width_seconds: int


class Elements(NamedTuple):
    """A series of lists, as columns.

    datapoint, element: an entry for each element of each list: the index of the datapoint, and that in distinct
    distinct: the distinct elements
    outside: which of these are in violation
    """

    datapoint: Ints
    element: Ints
    distinct: list[Any]
    outside: npt.NDArray[np.bool_]


class Rows(NamedTuple):
    """A series of lists, thinned: a row for each distinct element.

    times: of the first datapoint of each bucket that has one, epoch seconds, oldest first
    counts: how many datapoints each bucket has
    violations: how many of them are in violation
    elements: the distinct ones, those in violation first, then by the number of datapoints, most first
    outside: which of them are in violation
    runs: for each element, (first bucket, number of buckets) of each stretch without a break that has it
    left_out: how many more elements there are
    width_seconds: as in Band
    """

    times: Ints
    counts: Ints
    violations: Ints
    elements: list[Any]
    outside: list[bool]
    runs: list[list[tuple[int, int]]]
    left_out: int
    width_seconds: int


class Columns(NamedTuple):
    """A series as arrays.

    times: epoch seconds
    values: numbers, or the elements of lists
    outside: which datapoints are in violation
    """

    times: Ints
    values: Numbers | Elements
    outside: npt.NDArray[np.bool_]


def columns(series: Series, lists: bool) -> Columns:
    """Return a series as arrays. lists: its values are lists."""
    times = np.asarray(series.times, np.int64)
    outside = np.fromiter(map(bool, series.outside), bool, len(times))
    if lists:
        return Columns(times, _flatten(series.values, series.outside), outside)
    values = np.asarray(series.values)
    return Columns(times, values.astype(float) if values.dtype == object else values, outside)  # beyond 64 bits


def band(times: Ints, values: Numbers, outside: npt.NDArray[np.bool_], max_buckets: int) -> Band:
    """Return numbers in at most max_buckets buckets; as they are, where there are no more of them than that.

    times: epoch seconds, ascending; outside: which are in violation
    """
    starts, width = _buckets(times, max_buckets)
    if not width:
        ones = np.ones(len(times), np.int64)
        return Band(times, values, values, ones, outside.astype(np.int64), values, values, 0)
    least, most = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    violations = np.add.reduceat(outside.astype(np.int64), starts)
    # What conforms is moved to the other end of its bucket, where it can't be the extreme of what does not.
    bucket = np.repeat(np.arange(len(starts)), _counts(starts, len(times)))
    lowest = np.minimum.reduceat(np.where(outside, values, most[bucket]), starts)
    highest = np.maximum.reduceat(np.where(outside, values, least[bucket]), starts)
    none = violations == 0
    return Band(
        times[starts],
        least,
        most,
        _counts(starts, len(times)),
        violations,
        np.where(none, least, lowest),
        np.where(none, most, highest),
        width,
    )


def rows(times: Ints, elements: Elements, max_buckets: int, max_elements: int) -> Rows:
    """Return lists in at most max_buckets buckets, by element, with runs of at most max_elements elements.

    times: of each datapoint, epoch seconds, ascending
    """
    starts, width = _buckets(times, max_buckets)
    counts = _counts(starts, len(times))
    bucket_of = np.repeat(np.arange(len(starts)), counts)
    flags = np.zeros(len(times), np.int64)
    flags[elements.datapoint[elements.outside[elements.element]]] = 1
    seen = np.bincount(elements.element, minlength=len(elements.distinct))
    order = np.lexsort((-seen, ~elements.outside))[:max_elements]

    # One number for each (element, bucket) that occurs: in ascending order, those of a run follow one another.
    stride = len(starts) + 1  # so that the last bucket of an element and the first of the next are no run
    present = np.sort(elements.element * stride + bucket_of[elements.datapoint])
    present = present[np.diff(present, prepend=-1) != 0]
    begins = np.flatnonzero(np.diff(present, prepend=-2) != 1)
    lengths = np.diff(np.append(begins, len(present)))
    owners, firsts = np.divmod(present[begins], stride)
    bounds = np.searchsorted(owners, [order, order + 1])
    runs = [list(zip(firsts[a:b].tolist(), lengths[a:b].tolist())) for a, b in bounds.T.tolist()]
    return Rows(
        times[starts],
        counts,
        np.add.reduceat(flags, starts) if len(starts) else flags,
        [elements.distinct[index] for index in order.tolist()],
        elements.outside[order].tolist(),
        runs,
        len(elements.distinct) - len(order),
        width,
    )


def _flatten(lists: Sequence[Sequence[Any]], outside: Sequence[Sequence[Any]]) -> Elements:
    """Return lists as columns. outside: for each list, its elements in violation."""
    flat = list(chain.from_iterable(lists))
    distinct = list(dict.fromkeys(flat))
    ids = {element: index for index, element in enumerate(distinct)}
    violating = set(chain.from_iterable(outside))
    return Elements(
        np.repeat(np.arange(len(lists)), np.fromiter(map(len, lists), np.int64, len(lists))),
        np.fromiter(map(ids.__getitem__, flat), np.int64, len(flat)),
        distinct,
        np.fromiter((element in violating for element in distinct), bool, len(distinct)),
    )


def _buckets(times: Ints, max_buckets: int) -> tuple[Ints, int]:
    """Return the index of the first datapoint of each bucket, and the width of a bucket in seconds (0: not thinned)."""
    if len(times) <= max_buckets:
        return np.arange(len(times)), 0
    width = int(times[-1] - times[0]) // max_buckets + 1
    whole = next((seconds for seconds in (300, 60) if width > seconds), 1)  # 20 min rather than 19 min 48 s
    width = -(-width // whole) * whole
    bucket = (times - times[0]) // width
    return np.concatenate(([0], np.flatnonzero(np.diff(bucket)) + 1)), width


def _counts(starts: Ints, total: int) -> Ints:
    """Return how many datapoints each bucket has."""
    return np.diff(np.append(starts, total))
