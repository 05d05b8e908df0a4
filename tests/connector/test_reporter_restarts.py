"""The loop over restarts of the function and reboots of the host, with StateDirectory and without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Callable, List, Optional

import pytest
from support.loop import (
    EPOCH,
    HOUR,
    START,
    FakeClock,
    Loop,
    Never,
    gaps,
    moving,
    times,
    total,
)

from connector import state
from connector.kernel.dev import Counters


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    return Loop(tmp_path)


def test_traffic_during_a_restart_is_reported_with_a_state_directory(loop: Loop) -> None:
    moving(loop)
    loop.remember().run(400)
    loop.clock.pass_by(900)
    loop.host.passed("eth0", 5_000_000, 0, 5000, 0)
    loop.run(10)
    assert loop.core.taken[-1].traffic == Counters(6_000_003, 70_001, 5701, 303)
    assert total(loop.core.taken) == Counters(*loop.host.interfaces["eth0"])._replace(
        bytes_in=2_000_006 + 5_000_000, bytes_out=140_002, packets_in=1402 + 5000, packets_out=606
    )


def test_restart_without_a_state_directory_starts_from_nothing(loop: Loop) -> None:
    moving(loop)
    loop.run(400).run(10)
    assert [taken.traffic is None for taken in loop.core.taken] == [True, False, True]
    assert not loop.state.exists()


def test_function_that_restarts_again_and_again_keeps_the_distance(loop: Loop) -> None:
    moving(loop)
    loop.remember()
    while loop.clock.monotonic() < START + HOUR:
        loop.run(23)
        loop.clock.pass_by(4)
    assert min(gaps(loop.moments)) >= 300
    assert len(loop.moments) >= 11, "each restart delays a report by no more than its own time"
    assert total(loop.core.taken).bytes_in == 1_000_003 * (len(loop.readings) - 1)


@pytest.mark.parametrize("moment", [1.0, 299.0, 301.0, 315.0, 335.0, 500.0])
@pytest.mark.parametrize("end", ["run", "kill"])
def test_end_at_any_moment_loses_nothing_and_reports_nothing_twice(loop: Loop, end: str, moment: float) -> None:
    moving(loop)
    loop.remember()
    loop.core.answers.extend([None, Never(), ConnectionRefusedError(), None])
    getattr(loop, end)(moment)
    loop.core.answers.clear()
    loop.clock.pass_by(1)
    loop.run(900)
    readings = len(loop.readings) - 1
    assert total(loop.core.taken) == times(readings)
    assert min(gaps(loop.moments)) >= 300
    assert loop.core.ids == sorted(set(loop.core.ids))


def test_traffic_of_a_removed_interface_survives_a_stop_during_a_call(loop: Loop) -> None:
    loop.remember()
    loop.core.answers.extend([None, Never()])
    loop.clock.at(START + 299, lambda: loop.host.passed("wwan0", 777, 7, 7, 7))
    loop.run(310)
    del loop.host.interfaces["wwan0"]
    loop.run(900)
    assert total(loop.core.taken) == Counters(777, 7, 7, 7)


def test_ids_increase_after_a_call_that_hung_at_the_stop(tmp_path: Path) -> None:
    loop = Loop(tmp_path, clock=FakeClock(monotonic=START, wall=EPOCH)).remember()
    loop.core.answers.extend([None, Never()])
    hung: List[Callable[[Optional[Exception]], None]] = []
    loop.clock.at(START + 301, lambda: hung.extend(loop.core.hanging))
    loop.run(310)
    (answered,) = hung
    answered(None)  # accepted by the core when the function is gone
    loop.clock.step(-EPOCH)
    loop.run(900)
    assert loop.core.ids == sorted(set(loop.core.ids))
    assert len(loop.core.ids) >= 4


def test_ids_increase_over_a_reboot_into_1970(loop: Loop) -> None:
    moving(loop)
    loop.remember().run(700)
    loop.host.booted("b0071d00-0000-4000-8000-000000000002", 5)
    loop.host.interfaces["eth0"] = (0, 0, 0, 0)
    clock = FakeClock(monotonic=20.0, wall=25.0)
    rebooted = Loop(loop.host.directory.parent, clock=clock).remember()
    rebooted.host.booted("b0071d00-0000-4000-8000-000000000002", 5)
    rebooted.run(301)
    assert rebooted.core.ids == [int(EPOCH) + 602, int(EPOCH) + 603]
    assert rebooted.core.taken[0].moment == 20.0, "a time on the monotonic clock of another boot means nothing"
    assert rebooted.core.taken[0].traffic is None
    (line,) = rebooted.lines
    assert line.startswith(f"WARNING StateDirectory: {loop.state}/{state.FILE} is of an earlier boot")


def test_proc_mounted_after_the_start_costs_no_state(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state is neither used nor replaced before the boot is known."""
    moving(loop)
    loop.remember().run(301)
    mount, below = loop.host.directory, loop.host.directory.with_name("below")
    mount.rename(below)
    mount.mkdir()
    monkeypatch.setattr(loop.host, "write", lambda: None)

    def be_mounted() -> None:
        mount.rmdir()
        below.rename(mount)
        monkeypatch.undo()

    loop.clock.at(START + 1000, be_mounted)
    loop.run(2000)
    assert loop.moments[:3] == [0, 300, 1201]
    assert total(loop.core.taken) == times(len(loop.readings) - 1)
    assert [line.split(":")[0] for line in loop.logged("StateDirectory")] == [
        "WARNING StateDirectory",
        "INFO StateDirectory",
    ]


def test_saved_time_in_the_future_is_ignored(loop: Loop) -> None:
    loop.remember().run(10)
    path = loop.state / state.FILE
    path.write_text(json.dumps(dict(json.loads(path.read_text()), sent=loop.clock.monotonic() + 1e6)))
    loop.run(10)
    assert loop.moments == [0, 10]
