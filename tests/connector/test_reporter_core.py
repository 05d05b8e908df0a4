"""The loop and a core that refuses, is slow, or does not answer: retries, late answers, hanging for weeks."""

from __future__ import annotations

import http.client
from pathlib import Path
from typing import Callable, Dict

import pytest
from support.loop import (
    DAY,
    EPOCH,
    HOUR,
    START,
    After,
    Answer,
    Loop,
    Never,
    gaps,
    moving,
    times,
    total,
)

from connector import publisher
from connector.errors import NoSubscriptionError
from connector.kernel.dev import Counters
from connector.publisher import ANSWER_SECONDS, MAX_UNANSWERED
from connector.transports import MAX_SEND_SECONDS

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
    "no answer, and the transport ends the call": lambda: After(MAX_SEND_SECONDS, TimeoutError("timed out")),
    "late error": lambda: After(ANSWER_SECONDS - 1, ConnectionResetError(104, "Connection reset by peer")),
    "no text": Exception,
}


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    return Loop(tmp_path)


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_is_one_warning_one_retry_and_one_recovery(loop: Loop, fault: str) -> None:
    moving(loop)
    loop.core.answers.extend([None, FAULTS[fault](), None, None])
    loop.run(700)
    first, failed, retry, after = loop.core.calls
    assert (first, failed) == (START, START + 300)
    given_up = ANSWER_SECONDS if fault.startswith("no answer") else ANSWER_SECONDS - 1 if fault == "late error" else 0
    assert 0.5 * publisher.FIRST_RETRY_SECONDS <= retry - failed - given_up <= publisher.FIRST_RETRY_SECONDS
    assert after == retry + 300, "no sooner than the service accepts one"
    warning, info = loop.lines
    assert warning.startswith("WARNING publishing: the core did not ")
    assert info == f"INFO publishing: recovered after {int(retry - failed)} s", "since the call that failed"
    # The retry is a new report of that moment, with all traffic since the last accepted one.
    assert loop.core.taken[1].traffic == times(2)
    assert total(loop.core.taken) == times(3)
    assert loop.core.taken[1].id == int(EPOCH + retry - START)


@pytest.mark.parametrize("fault", FAULTS)
def test_day_of_faults_is_two_lines_and_no_burst(loop: Loop, fault: str) -> None:
    moving(loop)
    loop.core.answers.append(None)
    loop.clock.at(START + 1, lambda: setattr(loop.core, "usual", FAULTS[fault]()))
    loop.clock.at(START + DAY + 1, lambda: setattr(loop.core, "usual", None))
    loop.clock.at(START + DAY + 1, lambda: [answered(ConnectionResetError()) for answered in loop.core.hanging])
    loop.run(DAY + 2 * HOUR)

    assert len(loop.logged("publishing")) == 2, loop.lines
    assert loop.lines[0].startswith("WARNING publishing: ")
    assert loop.lines[1].startswith(
        ("INFO publishing: recovered after 23 h ", "INFO publishing: recovered after 24 h ")
    )
    assert max(loop.calls_within(300.0)) <= 8
    # No old report was kept: one new report has all that passed, to the byte.
    accepted = loop.moments
    assert accepted[0] == 0
    assert DAY < accepted[1] <= DAY + 600 + ANSWER_SECONDS
    assert min(gaps(accepted)) >= 300
    assert total(loop.core.taken).bytes_in == 1_000_003 * (len(loop.readings) - 1)


def test_retry_delays_double_within_the_interval(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    loop.core.usual = ConnectionRefusedError()
    loop.run(299)
    delays = gaps(loop.core.calls)
    assert len(delays) == len(loop.core.calls) - 1 >= 5
    for number, delay in enumerate(delays):
        assert 0.5 <= delay / (publisher.FIRST_RETRY_SECONDS * 2.0**number) <= 1.0
    # A delay longer than the rest of the interval ends with it.
    loop = Loop(tmp_path)
    loop.core.usual = ConnectionRefusedError()
    loop.run(DAY + 1)
    assert {START + 300.0 * number for number in range(289)} <= set(loop.core.calls)


def test_retries_have_random_delays(tmp_path: Path) -> None:
    """Devices that lost the same network must not all come back in one second."""
    seconds = []
    for seed in range(40):
        loop = Loop(tmp_path, seed=seed)
        loop.core.answers.append(ConnectionRefusedError())
        loop.run(10)
        seconds.append(loop.moments[0])
    assert min(seconds) < 2.75
    assert max(seconds) > 4.75


def test_longer_interval_returns_to_its_grid_after_a_retry(tmp_path: Path) -> None:
    loop = Loop(tmp_path, SampleIntervalSeconds="600")
    loop.core.answers.extend([None, ConnectionRefusedError(), ConnectionRefusedError()])
    loop.run(1900)
    assert [moment for moment in loop.moments if moment % 600 == 0] == [0, 1200, 1800]
    assert len(loop.moments) == 4


def test_report_late_in_its_interval_delays_the_next(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    loop.core.usual = ConnectionRefusedError()
    loop.clock.at(START + 280, lambda: setattr(loop.core, "usual", None))
    loop.run(2000)
    assert 280 < loop.moments[0] <= 300
    assert min(gaps(loop.moments)) >= 300


# --- late answers


def test_late_acceptance_replaces_the_retry(loop: Loop) -> None:
    moving(loop)
    loop.core.answers.extend([None, After(ANSWER_SECONDS + 1)])
    loop.run(700)
    # Accepted 31 s after its time. The retry finds that and sends no second report within 300 s.
    first, late, after = loop.core.taken
    assert late.moment == START + 331
    assert len(loop.core.calls) == 3
    assert after.moment - late.moment >= 300
    assert total(loop.core.taken) == times(2)
    assert len(loop.logged("WARNING publishing")) == len(loop.logged("INFO publishing")) == 1


def test_traffic_accepted_twice_is_subtracted_from_later_reports(loop: Loop) -> None:
    loop.core.answers.extend([None, After(ANSWER_SECONDS + 120), None])
    loop.clock.at(START + 299, lambda: loop.host.passed("eth0", 1000, 0, 100, 0))
    loop.clock.at(START + 310, lambda: loop.host.passed("eth0", 30, 3, 3, 3))
    loop.clock.at(START + 500, lambda: loop.host.passed("eth0", 400, 5, 5, 5))
    loop.clock.at(START + 800, lambda: loop.host.passed("eth0", 4000, 7, 700, 7))
    loop.run(1250)
    assert [taken.traffic for taken in loop.core.taken] == [
        None,
        Counters(1030, 3, 103, 3),  # the retry, with what the unanswered one has
        Counters(1000, 0, 100, 0),  # the unanswered one, accepted after all
        Counters(0, 5, 0, 5),  # 1000 and 100 too much were reported: less now
        Counters(3400, 7, 605, 7),
        Counters(0, 0, 0, 0),
    ]
    assert total(loop.core.taken) == Counters(*loop.host.interfaces["eth0"])


def test_late_refusal_changes_nothing(loop: Loop) -> None:
    moving(loop)
    loop.core.answers.extend([None, After(ANSWER_SECONDS + 50, ConnectionResetError()), None])
    loop.run(900)
    assert loop.readings == loop.core.calls
    assert total(loop.core.taken) == times(3)
    assert len(loop.logged("publishing")) == 2


def test_missing_subscription_is_logged_after_connection_errors(loop: Loop) -> None:
    """The errors of a core that is still booting must not hide its lasting one."""
    loop.core.answers.extend([ConnectionRefusedError("refused")] * 2)
    loop.core.usual = NoSubscriptionError("no subscription carries the message: add one")
    loop.run(DAY)
    first, second = loop.logged("publishing")
    assert "refused" in first
    assert "no subscription carries the message" in second


def test_core_that_lost_four_answers_gets_reports_within_half_an_hour(loop: Loop) -> None:
    moving(loop)
    loop.core.answers.extend([None] + [Never()] * 4)
    loop.run(4 * HOUR)
    waited = loop.core.taken[1].moment - loop.core.taken[0].moment
    assert waited < 1800
    assert total(loop.core.taken) == times(len(loop.readings) - 1)


def test_acceptance_after_hours_is_accounted(loop: Loop) -> None:
    moving(loop)
    loop.core.answers.append(None)
    loop.clock.at(START + 1, lambda: setattr(loop.core, "usual", Never()))
    loop.clock.at(START + 5 * HOUR, lambda: [answered(None) for answered in loop.core.hanging])
    loop.clock.at(START + 5 * HOUR, lambda: setattr(loop.core, "usual", None))
    loop.run(2 * DAY)
    # All unanswered reports were accepted, so more was reported than had passed; later reports carry less, down to 0.
    assert len([taken for taken in loop.core.taken if taken.moment == START + 5 * HOUR]) == 8
    assert total(loop.core.taken) == times(len(loop.readings) - 1)


# --- no answer for weeks

WEEKS = 60 * DAY
INTERVAL = 6 * HOUR  # with its retries some 12 attempts


class Threads:
    """Counts the calls that are under way, as the core has them."""

    def __init__(self, loop: Loop) -> None:
        self.now = self.most = 0
        start_call = loop.core.start_call

        def counted(call: Callable[[], None]) -> None:
            self.now += 1
            self.most = max(self.most, self.now)

            def ended() -> None:
                self.now -= 1
                call()

            start_call(ended)

        loop.core.start_call = counted  # type: ignore[method-assign]


def test_core_that_hangs_for_weeks_holds_few_calls_that_the_transport_ends(tmp_path: Path) -> None:
    """What a call holds is measured in tests/zip/test_hanging_core.py."""
    loop = Loop(tmp_path, SampleIntervalSeconds=str(int(INTERVAL)))
    moving(loop)
    threads = Threads(loop)
    loop.core.answers.append(None)
    loop.clock.at(START + 1, lambda: setattr(loop.core, "usual", After(MAX_SEND_SECONDS, TimeoutError("timed out"))))
    loop.clock.at(START + WEEKS, lambda: setattr(loop.core, "usual", None))
    loop.run(WEEKS + INTERVAL)
    assert threads.most <= MAX_UNANSWERED
    assert len(loop.readings) >= WEEKS / INTERVAL
    first, second = loop.moments[:2]
    assert (first, second >= WEEKS) == (0, True)
    assert second < WEEKS + MAX_SEND_SECONDS + INTERVAL
    assert total(loop.core.taken) == times(len(loop.readings) - 1)
    assert len(loop.logged("publishing")) == 2


def test_core_that_hangs_for_weeks_holds_few_calls_that_nobody_can_end(tmp_path: Path) -> None:
    """They end when the core does: the kernel resets its connections."""
    loop = Loop(tmp_path, SampleIntervalSeconds=str(int(INTERVAL)))
    moving(loop)
    threads = Threads(loop)
    loop.core.answers.append(None)
    loop.clock.at(START + 1, lambda: setattr(loop.core, "usual", Never()))

    def restart() -> None:
        loop.core.usual = None
        for answered in loop.core.hanging:
            answered(ConnectionResetError())

    loop.clock.at(START + WEEKS, restart)
    loop.run(WEEKS + INTERVAL)
    assert threads.most == MAX_UNANSWERED
    assert loop.moments[0] == 0
    assert WEEKS <= loop.moments[1] < WEEKS + INTERVAL
    assert total(loop.core.taken) == times(len(loop.readings) - 1)
    assert len(loop.logged("publishing")) == 2


def test_missing_verdicts_are_logged_and_change_nothing(loop: Loop) -> None:
    moving(loop)
    loop.core.verdicts = False
    loop.run(DAY + 1)
    assert len(loop.moments) == 289
    (line,) = loop.lines
    assert line.startswith("INFO Device Defender's verdict: none came for the first 3 reports: ")
