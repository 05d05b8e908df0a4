"""The loop: when it reports, what it does when the core does not take a report, and what a restart leaves of it."""

from __future__ import annotations

import http.client
import json
import os
import shutil
from pathlib import Path
from typing import Callable, Dict, List, Optional

import pytest
from support.loop import EPOCH, START, THING, TOPIC, After, Answer, FakeClock, Loop, Never, total

from connector import reporter, state
from connector.errors import NoSubscriptionError
from connector.kernel.dev import MOST_INTERFACES, Counters
from connector.publisher import ANSWER_SECONDS, STOP_SECONDS

HOUR = 3600.0
DAY = 24 * HOUR

# What the SDK raises for each fault of a core, as the local core's tests show; and one that answers too late, or never.
FAULTS: Dict[str, Callable[[], Answer]] = {
    "refused": lambda: ConnectionRefusedError(111, "Connection refused"),
    "reset": lambda: ConnectionResetError(104, "Connection reset by peer"),
    "4xx": lambda: Exception("Failed to invoke function due to HTTP Error 403: Forbidden: no"),
    "5xx": lambda: Exception("Failed to invoke function due to HTTP Error 503: Service Unavailable: no"),
    "cut short": lambda: http.client.BadStatusLine("HTTP/1.1 2"),
    "ended": lambda: http.client.RemoteDisconnected("Remote end closed connection without response"),
    "half a body": lambda: http.client.IncompleteRead(b"", 2),
    "full queue": lambda: Exception("Failed to invoke function due to HTTP Error 429: Too Many Requests: full"),
    "no answer": Never,
    "late error": lambda: After(ANSWER_SECONDS - 1, ConnectionResetError(104, "Connection reset by peer")),
    "no text": Exception,
}


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    return Loop(tmp_path)


def gaps(moments: List[float]) -> List[float]:
    return [after - before for before, after in zip(moments, moments[1:])]


def moving(loop: Loop) -> None:
    """Let some traffic pass before each look."""
    loop.before_look = lambda: loop.host.passed("eth0", 1_000_003, 70_001, 701, 303)


def test_it_reports_at_once_and_then_every_interval(loop: Loop) -> None:
    moving(loop)
    loop.run(DAY + 1)
    assert loop.moments == [300.0 * number for number in range(289)]
    assert loop.core.topics == [TOPIC] * 289
    assert [taken.traffic for taken in loop.core.taken] == [None] + [Counters(1_000_003, 70_001, 701, 303)] * 288
    assert loop.lines == []


def test_report_ids_are_the_seconds_of_the_wall_clock(loop: Loop) -> None:
    loop.run(901)
    assert loop.core.ids == [int(EPOCH) + seconds for seconds in (0, 300, 600, 900)]


def test_what_a_report_takes_does_not_move_the_grid(loop: Loop) -> None:
    loop.before_look = lambda: loop.clock.pass_by(7.3)
    loop.core.usual = After(11.9)
    loop.run(DAY + 1)
    assert loop.looks == [START + 300.0 * number for number in range(289)]


def test_a_wait_that_ends_a_little_late_does_not_move_the_grid(tmp_path: Path) -> None:
    class Late(FakeClock):
        def wait(self, seconds: float) -> None:
            super().wait(seconds)
            self.pass_by(0.4)

    loop = Loop(tmp_path, clock=Late()).run(DAY + 1)
    assert [moment // 300 for moment in loop.moments] == list(range(289))
    assert {round(moment % 300, 6) for moment in loop.moments[1:]} == {0.4}


@pytest.mark.parametrize("interval", [300, 301, 600, 86_400])
def test_the_interval_is_what_is_set(tmp_path: Path, interval: int) -> None:
    loop = Loop(tmp_path, SampleIntervalSeconds=str(interval)).run(20.5 * interval)
    assert loop.moments == [interval * number for number in range(21)]


# --- the core's faults


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_is_one_warning_a_retry_and_one_info(loop: Loop, fault: str) -> None:
    moving(loop)
    loop.core.answers.extend([None, FAULTS[fault](), None, None])
    loop.run(700)
    first, failed, retry, after = loop.core.calls
    assert (first, failed) == (START, START + 300)
    given_up = ANSWER_SECONDS if fault == "no answer" else ANSWER_SECONDS - 1 if fault == "late error" else 0
    assert 0.5 * reporter.FIRST_RETRY_SECONDS <= retry - failed - given_up <= reporter.FIRST_RETRY_SECONDS
    assert after == retry + 300, "no sooner than the service takes one"
    warning, info = loop.lines
    assert warning.startswith("WARNING publishing: the core did not ")
    assert info == f"INFO publishing: recovered after {int(retry - failed - given_up)} s"
    # The retry is a new report: of the moment of the retry, with all that passed.
    assert loop.core.taken[1].traffic == Counters(2_000_006, 140_002, 1402, 606)
    assert total(loop.core.taken) == Counters(*(3 * number for number in (1_000_003, 70_001, 701, 303)))
    assert loop.core.taken[1].id == int(EPOCH + retry - START)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_day_of_faults_is_two_lines_and_never_a_burst(loop: Loop, fault: str) -> None:
    moving(loop)
    loop.core.answers.append(None)
    loop.clock.at(START + 1, lambda: setattr(loop.core, "usual", FAULTS[fault]()))
    loop.clock.at(START + DAY + 1, lambda: setattr(loop.core, "usual", None))
    loop.clock.at(START + DAY + 1, lambda: [answered(ConnectionResetError()) for answered in loop.core.hanging])
    loop.run(DAY + 2 * HOUR)

    assert len(loop.said("publishing")) == 2, loop.lines
    assert loop.lines[0].startswith("WARNING publishing: ")
    assert loop.lines[1].startswith(
        ("INFO publishing: recovered after 23 h ", "INFO publishing: recovered after 24 h ")
    )
    assert max(loop.calls_within(300.0)) <= 8
    # Not one of the old ones was kept: one report has all that passed, and says so to the byte.
    accepted = loop.moments
    assert accepted[0] == 0
    assert DAY < accepted[1] <= DAY + 600 + ANSWER_SECONDS
    assert min(gaps(accepted)) >= 300
    assert total(loop.core.taken).bytes_in == 1_000_003 * (len(loop.looks) - 1)


def test_retries_wait_longer_each_time_and_stay_inside_the_interval(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    loop.core.usual = ConnectionRefusedError()
    loop.run(299)
    delays = gaps(loop.core.calls)
    assert len(delays) == len(loop.core.calls) - 1 >= 5
    for number, delay in enumerate(delays):
        assert 0.5 <= delay / (reporter.FIRST_RETRY_SECONDS * 2.0**number) <= 1.0
    # What was put off beyond the interval is done at its end.
    loop = Loop(tmp_path)
    loop.core.usual = ConnectionRefusedError()
    loop.run(DAY + 1)
    assert {START + 300.0 * number for number in range(289)} <= set(loop.core.calls)


def test_retries_are_jittered(tmp_path: Path) -> None:
    """A site's devices that lost the same core must not come back all in one second."""
    seconds = []
    for seed in range(40):
        loop = Loop(tmp_path, seed=seed)
        loop.core.answers.append(ConnectionRefusedError())
        loop.run(10)
        seconds.append(loop.moments[0])
    assert min(seconds) < 2.75
    assert max(seconds) > 4.75


def test_a_longer_interval_returns_to_its_grid_after_a_retry(tmp_path: Path) -> None:
    loop = Loop(tmp_path, SampleIntervalSeconds="600")
    loop.core.answers.extend([None, ConnectionRefusedError(), ConnectionRefusedError()])
    loop.run(1900)
    assert [moment for moment in loop.moments if moment % 600 == 0] == [0, 1200, 1800]
    assert len(loop.moments) == 4


def test_a_report_at_the_end_of_its_interval_puts_off_the_next(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    loop.core.usual = ConnectionRefusedError()
    loop.clock.at(START + 280, lambda: setattr(loop.core, "usual", None))
    loop.run(2000)
    assert 280 < loop.moments[0] <= 300
    assert min(gaps(loop.moments)) >= 300


# --- a core that answers after it was given up


def test_a_late_yes_stands_for_the_report(loop: Loop) -> None:
    moving(loop)
    loop.core.answers.extend([None, After(ANSWER_SECONDS + 1)])
    loop.run(700)
    # Taken 31 s after its time: the retry finds that, makes no second one, and the service has its 300 s.
    first, late, after = loop.core.taken
    assert late.moment == START + 331
    assert len(loop.core.calls) == 3
    assert after.moment - late.moment >= 300
    assert total(loop.core.taken) == Counters(2_000_006, 140_002, 1402, 606)
    assert len(loop.said("WARNING publishing")) == len(loop.said("INFO publishing")) == 1


def test_what_got_through_twice_is_taken_off_the_next_reports(loop: Loop) -> None:
    loop.core.answers.extend([None, After(ANSWER_SECONDS + 120), None])
    loop.clock.at(START + 299, lambda: loop.host.passed("eth0", 1000, 0, 100, 0))
    loop.clock.at(START + 310, lambda: loop.host.passed("eth0", 30, 3, 3, 3))
    loop.clock.at(START + 500, lambda: loop.host.passed("eth0", 400, 5, 5, 5))
    loop.clock.at(START + 800, lambda: loop.host.passed("eth0", 4000, 7, 700, 7))
    loop.run(1250)
    assert [taken.traffic for taken in loop.core.taken] == [
        None,
        Counters(1030, 3, 103, 3),  # the retry: what the hung one has, too
        Counters(1000, 0, 100, 0),  # the hung one, taken after all
        Counters(0, 5, 0, 5),  # 1000 and 100 too much were said: less now
        Counters(3400, 7, 605, 7),
        Counters(0, 0, 0, 0),
    ]
    assert total(loop.core.taken) == Counters(*loop.host.interfaces["eth0"])


def test_a_late_no_changes_nothing(loop: Loop) -> None:
    moving(loop)
    loop.core.answers.extend([None, After(ANSWER_SECONDS + 50, ConnectionResetError()), None])
    loop.run(900)
    assert loop.looks == loop.core.calls
    assert total(loop.core.taken) == Counters(*(number * 3 for number in (1_000_003, 70_001, 701, 303)))
    assert len(loop.said("publishing")) == 2


def test_a_core_that_is_up_at_last_and_has_no_subscription_says_what_to_do(loop: Loop) -> None:
    """What fails first at a boot must not hide what fails from then on."""
    loop.core.answers.extend([ConnectionRefusedError("refused")] * 2)
    loop.core.usual = NoSubscriptionError("no subscription carries the reports: add one")
    loop.run(DAY)
    first, second = loop.said("publishing")
    assert "refused" in first
    assert "no subscription carries the reports" in second


def test_a_core_that_lost_a_few_answers_gets_reports_again_soon(loop: Loop) -> None:
    moving(loop)
    loop.core.answers.extend([None] + [Never()] * 4)
    loop.run(4 * HOUR)
    waited = loop.core.taken[1].moment - loop.core.taken[0].moment
    assert waited < 1800
    assert total(loop.core.taken) == Counters(
        *(number * (len(loop.looks) - 1) for number in (1_000_003, 70_001, 701, 303))
    )


def test_a_yes_after_any_time_is_accounted(loop: Loop) -> None:
    """Also one of a call that the publisher has long stopped counting."""
    moving(loop)
    loop.core.answers.append(None)
    loop.clock.at(START + 1, lambda: setattr(loop.core, "usual", Never()))
    loop.clock.at(START + 5 * HOUR, lambda: [answered(None) for answered in loop.core.hanging])
    loop.clock.at(START + 5 * HOUR, lambda: setattr(loop.core, "usual", None))
    loop.run(2 * DAY)
    # More was said than had passed, as all of the hung ones got through; so the reports after them carry less, to none.
    assert len([taken for taken in loop.core.taken if taken.moment == START + 5 * HOUR]) == 8
    assert total(loop.core.taken) == Counters(
        *(number * (len(loop.looks) - 1) for number in (1_000_003, 70_001, 701, 303))
    )


# --- clocks


@pytest.mark.parametrize("step", [-10.0, -HOUR, -40 * 365 * DAY, HOUR, 40 * 365 * DAY])
def test_a_step_of_the_wall_clock_moves_ids_only_forward_and_nothing_else(loop: Loop, step: float) -> None:
    loop.clock.at(START + 1000, lambda: loop.clock.step(step))
    loop.clock.at(START + 4000, lambda: loop.clock.step(-step))
    loop.run(2 * HOUR + 1)
    assert loop.moments == [300.0 * number for number in range(25)]
    assert all(gap > 0 for gap in gaps([float(number) for number in loop.core.ids]))
    assert loop.lines == []


def test_a_device_that_starts_in_1970(tmp_path: Path) -> None:
    loop = Loop(tmp_path, clock=FakeClock(monotonic=START, wall=0.0))
    loop.clock.at(START + 700, lambda: loop.clock.step(EPOCH))
    loop.run(1201)
    assert loop.core.ids == [1, 300, 600, int(EPOCH) + 900, int(EPOCH) + 1200]


@pytest.mark.parametrize("stall", [100.0, 301.0, 5 * HOUR, 2 * DAY])
def test_a_stall_is_one_report_and_not_a_burst(loop: Loop, stall: float) -> None:
    """The process was stopped, or the device asleep on a kernel whose clock goes on."""
    moving(loop)
    loop.clock.at(START + 650, lambda: loop.clock.pass_by(stall))
    loop.run(650 + stall + 1500)
    assert loop.moments[:3] == [0, 300, 600]
    woke = 650 + stall
    assert loop.moments[3] == max(900, woke)
    assert loop.moments[4] == max(loop.moments[3] + 300, 900)
    assert min(gaps(loop.moments)) >= 300
    assert loop.lines == []


def test_a_stall_inside_a_report_keeps_the_services_distance_to_the_next(loop: Loop) -> None:
    """Begun at 300 and sent at 700: the next may not go at 900."""
    stalls = iter([0.0, 400.0])
    loop.before_look = lambda: loop.clock.pass_by(next(stalls, 0.0))
    loop.run(1601)
    assert loop.moments == [0, 700, 1000, 1300, 1600]


def test_a_wall_clock_of_no_sense_costs_no_report(tmp_path: Path) -> None:
    loop = Loop(tmp_path, clock=FakeClock(monotonic=0.0, wall=-5.0))
    loop.run(601)
    assert loop.core.ids == [1, 295, 595]


# --- proc


def broken(path: Path, how: str) -> None:
    if how == "gone":
        path.unlink()
    elif how == "fails mid-read":
        path.unlink()
        path.symlink_to("/proc/self/mem")  # opens; the first read is an EIO
    elif how == "is refused":
        path.unlink()
        path.symlink_to(path)  # as root nothing is forbidden; ELOOP is as good
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-7])
    elif how == "of a newer kernel":
        path.write_bytes(path.read_bytes() + b"new line of { unknown } shape: 1\n")
    elif how == "absurd":
        path.write_bytes(path.read_bytes() + b"  eth9: " + b"9" * 30 + b" 1" * 15 + b"\n")
    elif how == "empty":
        path.write_bytes(b"")


PROC_FAULTS = [
    ("dev", "network_stats", ["network_stats"]),
    ("tcp", "TCP sockets", ["tcp_connections", "listening_tcp_ports"]),
    ("tcp6", "TCP sockets", ["tcp_connections", "listening_tcp_ports"]),
    ("udp", "UDP sockets", ["listening_udp_ports"]),
    ("udp6", "UDP sockets", ["listening_udp_ports"]),
]
BLOCKS = ["tcp_connections", "listening_tcp_ports", "listening_udp_ports", "network_stats"]


@pytest.mark.parametrize("how", ["gone", "fails mid-read", "is refused", "cut", "of a newer kernel", "absurd", "empty"])
@pytest.mark.parametrize(("table", "problem", "lost"), PROC_FAULTS)
def test_a_table_that_fails_costs_its_block_is_said_once_and_comes_back(
    loop: Loop, table: str, problem: str, lost: List[str], how: str
) -> None:
    path = loop.host.directory / "1" / "net" / table
    healthy = path.read_bytes()
    moving(loop)
    write = loop.host.write

    def write_and_break() -> None:
        if path.is_symlink():
            path.unlink()
        path.write_bytes(healthy)
        write()
        if START + 600 <= loop.clock.monotonic() < START + 1800:
            broken(path, how)

    loop.host.write = write_and_break  # type: ignore[method-assign]
    loop.run(2101)
    if table == "dev" and how in (
        "gone",
        "is refused",
    ):  # where there is no dev there is no network: nothing of it is looked for
        assert loop.moments == [0, 300, 1800, 2100]
        assert loop.said("WARNING network tables: nothing of the network can be read: no network tables under ")
        problem = "network tables"
    else:
        assert loop.moments == [300.0 * number for number in range(8)]
        for taken in loop.core.taken[2:6]:
            assert [block for block in BLOCKS if block not in taken.report["metrics"]] == lost
    for taken in loop.core.taken[1:2] + loop.core.taken[-2:]:
        assert list(taken.report["metrics"]) == BLOCKS
    warning, info = loop.lines
    assert warning.startswith(f"WARNING {problem}: ")
    assert f"{loop.host.directory}/1/net/{table}" in warning or "net/dev" in warning or problem == "network tables"
    assert info == f"INFO {problem}: recovered after 20 min"
    # What passed while nobody could look is in the report of the next look.
    assert total(loop.core.taken) == Counters(*(7 * number for number in (1_000_003, 70_001, 701, 303)))


def test_a_volume_that_is_not_mounted_costs_reports_and_no_restart(loop: Loop) -> None:
    moving(loop)
    away = loop.host.directory.with_name("away")
    write = loop.host.write
    loop.host.write = lambda: write() if loop.host.directory.exists() else None  # type: ignore[method-assign]
    loop.clock.at(START + 400, lambda: shutil.move(str(loop.host.directory), str(away)))
    loop.clock.at(START + 1000, lambda: shutil.move(str(away), str(loop.host.directory)))
    loop.run(1501)
    assert loop.moments == [0, 300, 1200, 1500]
    assert loop.core.ids == sorted(set(loop.core.ids))
    warning, info = loop.lines
    assert warning.startswith("WARNING network tables: nothing of the network can be read: no network tables under ")
    assert warning.endswith("is the host's /proc mounted there?")
    assert info == "INFO network tables: recovered after 10 min"
    assert total(loop.core.taken) == Counters(*(5 * number for number in (1_000_003, 70_001, 701, 303)))


def test_what_a_volume_away_hides_is_not_well_again(loop: Loop) -> None:
    """A broken table, then the whole volume away, then back, the table as broken as before: one fault and its end."""
    moving(loop)
    table = loop.host.directory / "1" / "net" / "tcp"
    away = loop.host.directory.with_name("away")
    write, whole = loop.host.write, table.read_bytes()
    broken = {"tcp"}

    def write_if_there() -> None:
        if loop.host.directory.exists():
            write()
            table.write_bytes(b"broken\n" if broken else whole)

    loop.host.write = write_if_there  # type: ignore[method-assign]
    loop.clock.at(START + 400, lambda: shutil.move(str(loop.host.directory), str(away)))
    loop.clock.at(START + 1000, lambda: shutil.move(str(away), str(loop.host.directory)))
    loop.clock.at(START + 1400, broken.clear)
    loop.run(1801)
    assert [line.partition(": left out")[0].partition(": nothing of")[0] for line in loop.lines] == [
        "WARNING TCP sockets",
        "WARNING network tables",
        "INFO network tables: recovered after 10 min",
        "INFO TCP sockets: recovered after 25 min",
    ]


def test_a_volume_that_is_not_there_at_the_start_is_waited_for(loop: Loop) -> None:
    away = loop.host.directory.with_name("away")
    shutil.move(str(loop.host.directory), str(away))
    write = loop.host.write
    loop.host.write = lambda: write() if loop.host.directory.exists() else None  # type: ignore[method-assign]
    loop.clock.at(START + 1000, lambda: shutil.move(str(away), str(loop.host.directory)))
    loop.run(1300)
    assert loop.moments == [1200]
    assert len(loop.lines) == 2


def test_as_many_interfaces_as_are_kept_with_odd_names(loop: Loop) -> None:
    names = [f"ppp{number}" for number in range(MOST_INTERFACES - 5)]
    names += ["eth0", "e\x1b[2Jt", "täst", "\udcff\udcfe", 'q"\\']

    def pass_by() -> None:
        for name in names:
            loop.host.passed(name, 3, 1, 2, 1)

    pass_by()
    loop.before_look = pass_by
    loop.remember().run(301)
    assert loop.lines == []
    assert loop.core.taken[1].traffic == Counters(*(number * MOST_INTERFACES for number in (3, 1, 2, 1)))


def test_ten_thousand_interfaces_cost_network_stats_while_they_are_there(loop: Loop) -> None:
    moving(loop)
    names = [f"ppp{number}" for number in range(10_000)]
    loop.clock.at(START + 500, lambda: loop.host.interfaces.update(dict.fromkeys(names, (1, 1, 1, 1))))
    loop.clock.at(START + 1100, lambda: [loop.host.interfaces.pop(name) for name in names])
    loop.run(1501)
    assert loop.moments == [300.0 * number for number in range(6)]
    for taken in loop.core.taken[2:4]:
        assert [block for block in BLOCKS if block not in taken.report["metrics"]] == ["network_stats"]
    warning, info = loop.lines
    assert warning.startswith("WARNING network_stats: left out of the reports: net/dev: over ")
    assert warning.endswith(" in ExcludeInterfaces")
    assert info == "INFO network_stats: recovered after 10 min"
    assert total(loop.core.taken) == Counters(*(5 * number for number in (1_000_003, 70_001, 701, 303)))


def test_an_error_of_our_own_costs_one_report_and_is_placed(loop: Loop) -> None:
    moving(loop)

    def fault() -> None:
        moving_on()
        if START + 300 <= loop.clock.monotonic() <= START + 900:
            raise ZeroDivisionError("\x1b[31mno\nway")

    moving_on, loop.before_look = loop.before_look, fault
    loop.run(1501)
    assert loop.moments == [0, 1200, 1500]
    warning, info = loop.lines
    line = fault.__code__.co_firstlineno + 3
    assert warning == (
        f"WARNING report: none could be made: ZeroDivisionError('\\x1b[31mno\\nway') at test_reporter.py:{line}"
    )
    assert info == "INFO report: recovered after 15 min"
    assert total(loop.core.taken) == Counters(*(5 * number for number in (1_000_003, 70_001, 701, 303)))


# --- stop


def test_a_stop_ends_the_wait_for_the_next_report(loop: Loop) -> None:
    loop.clock.at(START + 10, loop.clock.stop)
    loop.run(DAY)
    assert loop.clock.monotonic() == START + 10
    assert loop.lines == []


def test_a_stop_ends_the_wait_for_the_core_and_is_no_fault(loop: Loop) -> None:
    loop.core.usual = Never()
    loop.clock.at(START + 10, loop.clock.stop)
    loop.run(DAY)
    assert loop.clock.monotonic() == START + 10 + STOP_SECONDS
    assert loop.lines == []


# --- restarts


def test_with_a_state_directory_traffic_during_a_restart_is_reported(loop: Loop) -> None:
    moving(loop)
    loop.remember().run(400)
    loop.clock.pass_by(900)
    loop.host.passed("eth0", 5_000_000, 0, 5000, 0)
    loop.run(10)
    assert loop.core.taken[-1].traffic == Counters(6_000_003, 70_001, 5701, 303)
    assert total(loop.core.taken) == Counters(*loop.host.interfaces["eth0"])._replace(
        bytes_in=2_000_006 + 5_000_000, bytes_out=140_002, packets_in=1402 + 5000, packets_out=606
    )


def test_without_one_a_restart_begins_anew(loop: Loop) -> None:
    moving(loop)
    loop.run(400).run(10)
    assert [taken.traffic is None for taken in loop.core.taken] == [True, False, True]
    assert not loop.state.exists()


def test_a_function_that_restarts_again_and_again_keeps_the_services_distance(loop: Loop) -> None:
    moving(loop)
    loop.remember()
    while loop.clock.monotonic() < START + HOUR:
        loop.run(23)
        loop.clock.pass_by(4)
    assert min(gaps(loop.moments)) >= 300
    assert len(loop.moments) >= 11, "and no more than one restart's time is lost with each"
    assert total(loop.core.taken).bytes_in == 1_000_003 * (len(loop.looks) - 1)


@pytest.mark.parametrize("moment", [1.0, 299.0, 301.0, 315.0, 335.0, 500.0])
@pytest.mark.parametrize("end", ["run", "kill"])
def test_nothing_is_lost_or_said_twice_when_it_ends_at_any_moment(loop: Loop, end: str, moment: float) -> None:
    moving(loop)
    loop.remember()
    loop.core.answers.extend([None, Never(), ConnectionRefusedError(), None])
    getattr(loop, end)(moment)
    loop.core.answers.clear()
    loop.clock.pass_by(1)
    loop.run(900)
    looks = len(loop.looks) - 1
    assert total(loop.core.taken) == Counters(*(looks * number for number in (1_000_003, 70_001, 701, 303)))
    assert min(gaps(loop.moments)) >= 300
    assert loop.core.ids == sorted(set(loop.core.ids))


def test_what_was_seen_before_an_interface_went_survives_a_stop_in_the_middle_of_a_call(loop: Loop) -> None:
    loop.remember()
    loop.core.answers.extend([None, Never()])
    loop.clock.at(START + 299, lambda: loop.host.passed("wwan0", 777, 7, 7, 7))
    loop.run(310)
    del loop.host.interfaces["wwan0"]
    loop.run(900)
    assert total(loop.core.taken) == Counters(777, 7, 7, 7)


def test_report_ids_increase_when_a_call_hung_at_the_stop_and_the_clock_stands(tmp_path: Path) -> None:
    loop = Loop(tmp_path, clock=FakeClock(monotonic=START, wall=EPOCH)).remember()
    loop.core.answers.extend([None, Never()])
    hung: List[Callable[[Optional[Exception]], None]] = []
    loop.clock.at(START + 301, lambda: hung.extend(loop.core.hanging))
    loop.run(310)
    (answered,) = hung
    answered(None)  # the core had it all the time; nobody is there any more for its answer
    loop.clock.step(-EPOCH)
    loop.run(900)
    assert loop.core.ids == sorted(set(loop.core.ids))
    assert len(loop.core.ids) >= 4


def test_report_ids_increase_over_a_reboot_into_1970(loop: Loop) -> None:
    moving(loop)
    loop.remember().run(700)
    loop.host.booted("b0071d00-0000-4000-8000-000000000002", 5)
    loop.host.interfaces["eth0"] = (0, 0, 0, 0)
    clock = FakeClock(monotonic=20.0, wall=25.0)
    rebooted = Loop(loop.host.directory.parent, clock=clock).remember()
    rebooted.host.booted("b0071d00-0000-4000-8000-000000000002", 5)
    rebooted.run(301)
    assert rebooted.core.ids == [int(EPOCH) + 602, int(EPOCH) + 603]
    assert rebooted.core.taken[0].moment == 20.0, "what the monotonic clock said belongs to the boot before"
    assert rebooted.core.taken[0].traffic is None
    (line,) = rebooted.lines
    assert line.startswith(f"WARNING StateDirectory: {loop.state}/{state.FILE} is of an earlier boot")


def test_a_proc_that_is_mounted_after_the_start_costs_no_state(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier run left is neither judged nor overwritten before it can be told which boot this is."""
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
    assert total(loop.core.taken) == Counters(
        *(number * (len(loop.looks) - 1) for number in (1_000_003, 70_001, 701, 303))
    )
    assert [line.split(":")[0] for line in loop.said("StateDirectory")] == [
        "WARNING StateDirectory",
        "INFO StateDirectory",
    ]


def test_a_time_that_has_not_come_yet_is_not_waited_for(loop: Loop) -> None:
    """A state that says so is wrong, whoever wrote it."""
    loop.remember().run(10)
    path = loop.state / state.FILE
    path.write_text(json.dumps(dict(json.loads(path.read_text()), sent=loop.clock.monotonic() + 1e6)))
    loop.run(10)
    assert loop.moments == [0, 10]


def test_the_processors_use_is_since_the_last_time_it_could_be_read(loop: Loop) -> None:
    loop.settings["CustomMetrics"] = "cpu_usage"
    rows = [b"cpu  100 0 0 100 0 0 0 0", None, b"cpu  130 0 0 170 0 0 0 0"]

    def change() -> None:
        row = rows.pop(0)
        (loop.host.directory / "stat").write_bytes(b"" if row is None else row + b"\n")

    loop.before_look = change
    loop.run(601)
    used = [taken.report.get("custom_metrics", {}).get("cpu_usage") for taken in loop.core.taken]
    assert used == [None, None, [{"number": 30.0}]]


def test_another_things_state_is_ignored_with_one_warning(loop: Loop) -> None:
    moving(loop)
    loop.remember().run(10)
    loop.settings["AWS_IOT_THING_NAME"] = "gateway-8"
    loop.run(10)
    assert [taken.traffic for taken in loop.core.taken] == [None, None]
    (line,) = loop.lines
    assert line.startswith(f"WARNING StateDirectory: {loop.state}/")
    assert "belongs to the thing 'gateway-7' and was ignored" in line


def unusable(path: Path, how: str) -> None:
    if how == "torn":
        path.write_bytes(path.read_bytes()[:-9])
    elif how == "a directory":
        path.unlink()
        path.mkdir()
    elif how == "a pipe":
        path.unlink()
        os.mkfifo(str(path))
    elif how == "a link":
        path.rename(path.with_name("elsewhere"))
        path.symlink_to(path.with_name("elsewhere"))
    elif how == "too large":
        path.write_bytes(path.read_bytes() + b" " * state.MAX_FILE_BYTES)
    elif how == "of another version":
        path.write_text(json.dumps(dict(json.loads(path.read_text()), version=99)))
    elif how == "empty":
        path.write_bytes(b"")


@pytest.mark.parametrize("how", ["torn", "a directory", "a pipe", "a link", "too large", "of another version", "empty"])
def test_a_state_that_is_none_is_ignored_with_one_warning(loop: Loop, how: str) -> None:
    moving(loop)
    loop.remember().run(10)
    unusable(loop.state / state.FILE, how)
    loop.run(700)
    assert loop.moments == [0, 10, 310, 610]
    assert [taken.traffic is None for taken in loop.core.taken] == [True, True, False, False]
    assert len(loop.said(f"WARNING StateDirectory: {loop.state}/{state.FILE}")) == len(loop.lines)
    # A directory can't be replaced by a file, so there it is that it can't be written, too.
    assert len(loop.lines) == (2 if how == "a directory" else 1)
    if how == "a link":
        assert not (loop.state / state.FILE).is_symlink()


def test_a_directory_that_cant_be_written_is_one_warning_and_no_fault(loop: Loop) -> None:
    moving(loop)
    loop.settings["StateDirectory"] = str(loop.state)
    loop.run(3001)
    assert len(loop.moments) == 11
    (line,) = loop.lines
    assert line.startswith(f"WARNING StateDirectory: {loop.state}/{state.FILE} can't be written: ")
    loop.state.mkdir()
    loop.run(1)
    assert (loop.state / state.FILE).is_file()


def test_a_directory_that_comes_and_goes_is_said_when_it_changes(loop: Loop) -> None:
    loop.remember()
    loop.clock.at(START + 400, lambda: shutil.rmtree(str(loop.state)))
    loop.clock.at(START + 1000, loop.state.mkdir)
    loop.run(2000)
    assert len(loop.moments) == 7
    assert [line.split()[0] for line in loop.lines] == ["WARNING", "INFO"]


def test_the_state_is_written_once_a_report(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    save = state.save

    def count(directory: str, thing: str, boot: state.Boot, memory: state.Memory) -> None:
        assert thing == THING
        written.append(loop.clock.monotonic())
        save(directory, thing, boot, memory)

    monkeypatch.setattr(state, "save", count)
    loop.core.answers.extend([None, ConnectionRefusedError(), Never(), None, After(ANSWER_SECONDS + 1), None])
    loop.remember().run(HOUR)
    assert len(written) == len(loop.core.calls) + 1, "the late answer is remembered, too"
    assert (loop.state / state.FILE).stat().st_mode & 0o777 == 0o600
    assert os.listdir(str(loop.state)) == [state.FILE]
