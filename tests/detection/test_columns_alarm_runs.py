"""An alarm that is given runs of datapoints changes as one that is given each datapoint."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from connector.detect.alarm import MAX_SILENCE_SECONDS, Alarm, Change, deciding_place

STEPS = st.sampled_from([300, 300, 300, 60, MAX_SILENCE_SECONDS, MAX_SILENCE_SECONDS + 1, 3 * MAX_SILENCE_SECONDS])
VIOLATES = st.sampled_from([True, True, True, False, False, None])  # None: a report without the metric


def by_datapoint(alarm: Alarm, series: list[tuple[int, bool | None]]) -> list[Change]:
    changes = [
        alarm.observe(violates, time, time - before)
        for (before, _), (time, violates) in zip([(0, None), *series], series)
    ]
    return [change for change in changes if change is not None]


def by_run(alarm: Alarm, series: list[tuple[int, bool | None]], to_alarm: int, to_clear: int) -> list[Change]:
    """Cut the series where the state changes or two days pass, and between runs tell the last report only."""
    changes: list[Change | None] = []
    runs: list[tuple[bool, list[int], int]] = []  # violates, times, time of the report before the first
    last = report = 0
    for time, violates in series:
        if violates is not None:
            if runs and runs[-1][0] == violates and time - last <= MAX_SILENCE_SECONDS:
                runs[-1][1].append(time)
            else:
                runs.append((violates, [time], report))
            last = time
        report = time
    last = 0
    for violates, times, before in runs:
        if before > last:
            changes.append(alarm.observe(None, before, before - last))
        place = deciding_place(to_alarm if violates else to_clear)
        deciding = times[place - 1] if len(times) >= place else 0
        changes += alarm.observe_run(violates, len(times), times[0], deciding, times[0] - before)
        last = times[-1]
    if report > last:
        changes.append(alarm.observe(None, report, report - last))
    return [change for change in changes if change is not None]


@settings(max_examples=500)
@given(
    st.lists(st.tuples(STEPS, VIOLATES), min_size=1, max_size=60),
    st.integers(1, 5),
    st.integers(1, 5),
)
def test_runs_of_datapoints_give_the_changes_of_single_ones(steps: Any, to_alarm: int, to_clear: int) -> None:
    series, time = [], 0
    for step, violates in steps:
        time += step
        series.append((time, violates))
    single, runs = Alarm(to_alarm, to_clear), Alarm(to_alarm, to_clear)
    assert by_run(runs, series, to_alarm, to_clear) == by_datapoint(single, series)
    assert runs.since == single.since
