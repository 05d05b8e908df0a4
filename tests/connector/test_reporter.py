"""The loop: report times, ids, clocks, stalls and stops."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.loop import (
    DAY,
    EPOCH,
    HOUR,
    START,
    STEP,
    TOPIC,
    After,
    FakeClock,
    Loop,
    Never,
    gaps,
    moving,
)

from connector.publisher import STOP_SECONDS


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    return Loop(tmp_path)


def test_report_at_once_and_then_every_interval(loop: Loop) -> None:
    moving(loop)
    loop.run(DAY + 1)
    assert loop.moments == [300.0 * number for number in range(289)]
    assert loop.core.topics == [TOPIC] * 289
    assert [taken.traffic for taken in loop.core.taken] == [None] + [STEP] * 288
    assert loop.lines == []


def test_report_ids_are_the_seconds_of_the_wall_clock(loop: Loop) -> None:
    loop.run(901)
    assert loop.core.ids == [int(EPOCH) + seconds for seconds in (0, 300, 600, 900)]


def test_slow_reports_do_not_move_the_grid(loop: Loop) -> None:
    loop.before_reading = lambda: loop.clock.pass_by(7.3)
    loop.core.usual = After(11.9)
    loop.run(DAY + 1)
    assert loop.readings == [START + 300.0 * number for number in range(289)]


def test_late_wake_ups_do_not_move_the_grid(tmp_path: Path) -> None:
    class Late(FakeClock):
        def wait(self, seconds: float) -> None:
            super().wait(seconds)
            self.pass_by(0.4)

    loop = Loop(tmp_path, clock=Late()).run(DAY + 1)
    assert [moment // 300 for moment in loop.moments] == list(range(289))
    assert {round(moment % 300, 6) for moment in loop.moments[1:]} == {0.4}


@pytest.mark.parametrize("interval", [300, 301, 600, 86_400])
def test_interval_is_the_configured_one(tmp_path: Path, interval: int) -> None:
    loop = Loop(tmp_path, SampleIntervalSeconds=str(interval)).run(20.5 * interval)
    assert loop.moments == [interval * number for number in range(21)]


# --- clocks


@pytest.mark.parametrize("step", [-10.0, -HOUR, -40 * 365 * DAY, HOUR, 40 * 365 * DAY])
def test_step_of_the_wall_clock_moves_ids_forward_only(loop: Loop, step: float) -> None:
    loop.clock.at(START + 1000, lambda: loop.clock.step(step))
    loop.clock.at(START + 4000, lambda: loop.clock.step(-step))
    loop.run(2 * HOUR + 1)
    assert loop.moments == [300.0 * number for number in range(25)]
    assert all(gap > 0 for gap in gaps([float(number) for number in loop.core.ids]))
    assert loop.lines == []


def test_device_that_starts_in_1970_has_increasing_ids(tmp_path: Path) -> None:
    loop = Loop(tmp_path, clock=FakeClock(monotonic=START, wall=0.0))
    loop.clock.at(START + 700, lambda: loop.clock.step(EPOCH))
    loop.run(1201)
    assert loop.core.ids == [1, 300, 600, int(EPOCH) + 900, int(EPOCH) + 1200]


@pytest.mark.parametrize("stall", [100.0, 301.0, 5 * HOUR, 2 * DAY])
def test_stall_is_one_report_and_no_burst(loop: Loop, stall: float) -> None:
    """The process was stopped, or the device suspended while its clock went on."""
    moving(loop)
    loop.clock.at(START + 650, lambda: loop.clock.pass_by(stall))
    loop.run(650 + stall + 1500)
    assert loop.moments[:3] == [0, 300, 600]
    woke = 650 + stall
    assert loop.moments[3] == max(900, woke)
    assert loop.moments[4] == max(loop.moments[3] + 300, 900)
    assert min(gaps(loop.moments)) >= 300
    assert loop.lines == []


def test_stall_inside_a_report_keeps_the_distance_to_the_next(loop: Loop) -> None:
    """Begun at 300 and sent at 700: the next at 900 would be too soon."""
    stalls = iter([0.0, 400.0])
    loop.before_reading = lambda: loop.clock.pass_by(next(stalls, 0.0))
    loop.run(1601)
    assert loop.moments == [0, 700, 1000, 1300, 1600]


def test_negative_wall_clock_costs_no_report(tmp_path: Path) -> None:
    loop = Loop(tmp_path, clock=FakeClock(monotonic=0.0, wall=-5.0))
    loop.run(601)
    assert loop.core.ids == [1, 295, 595]


# --- stop


def test_stop_ends_the_wait_for_the_next_report(loop: Loop) -> None:
    loop.clock.at(START + 10, loop.clock.stop)
    loop.run(DAY)
    assert loop.clock.monotonic() == START + 10
    assert loop.lines == []


def test_stop_ends_the_wait_for_the_core_without_a_warning(loop: Loop) -> None:
    loop.core.usual = Never()
    loop.clock.at(START + 10, loop.clock.stop)
    loop.run(DAY)
    assert loop.clock.monotonic() == START + 10 + STOP_SECONDS
    assert loop.lines == []
