"""Percentiles of a fleet: nearest rank, over all devices' measurements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from detection.fleet import Source
from detection.judge import percentile
from detection.reports import Report
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fleet import connect, fleet_of

from connector.detect.measurement import Reading

NUMBER = "aws:num-established-tcp-connections"
CONNECTION = connect()
STATISTICS = ["p0", "p0.01", "p0.1", "p1", "p10", "p50", "p90", "p99", "p99.9", "p99.99", "p100"]


def counts(values: Sequence[int]) -> list[Report]:
    return [Report("line", 1000 + 300 * n, {NUMBER: Reading("count", value)}) for n, value in enumerate(values)]


def percentiles(values: Sequence[int]) -> dict[str, Any]:
    """Of each statistic; the values are of two devices."""
    half = len(values) // 2
    fleet = fleet_of({"a": counts(values[:half]), "b": counts(values[half:])}, CONNECTION)
    return {one: percentile(fleet, Source(NUMBER, "count", None), one).value for one in STATISTICS}


def test_percentiles_of_1_to_1000() -> None:
    found = percentiles(range(1000, 0, -1))
    assert list(found.values()) == [1, 1, 1, 10, 100, 500, 900, 990, 999, 1000, 1000]


@settings(max_examples=20)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=60))
def test_percentile_is_the_smallest_that_enough_do_not_exceed(values: list[int]) -> None:
    def share(limit: int) -> float:
        return 100 * sum(value <= limit for value in values) / len(values)

    for statistic, found in percentiles(values).items():
        assert found in values
        assert share(found) >= float(statistic[1:])
        assert all(share(value) < float(statistic[1:]) for value in values if value < found)
