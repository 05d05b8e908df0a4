"""What a report is worth whose arrival only the service's answer proves: taken off, left in, and when."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, List, Optional

import pytest
from support.loop import START, THING, moving, times
from support.nucleus_loop import GOOD, Fate, NucleusLoop

from connector.deliveries import MAX_PENDING_REPORTS, MAX_REPORTS_WITHOUT_ANSWER, VERDICT_SECONDS
from connector.state import FILE

LOST = Fate(arrives=None)
REFUSED = Fate(ok=False, arrives=None)
NEVER_ANSWERED = Fate(answer=None)


@pytest.fixture
def loop(tmp_path: Path) -> NucleusLoop:
    made = NucleusLoop(tmp_path)
    moving(made)
    return made


def carried(loop: NucleusLoop) -> List[Optional[int]]:
    """Return how many intervals' traffic each report has; None where it has none."""
    traffic = [report.traffic for report, _ in loop.nucleus.reports]
    return [None if one is None else one.bytes_in // times(1).bytes_in for one in traffic]


def sent(loop: NucleusLoop) -> List[float]:
    return [report.moment - START for report, _ in loop.nucleus.reports]


def test_a_report_that_was_answered_is_not_reported_again(loop: NucleusLoop) -> None:
    loop.run(1000)
    assert carried(loop) == [None, 1, 1, 1]
    assert loop.nucleus.renewed == []


def test_answers_that_are_not_this_connectors_write_nothing(loop: NucleusLoop) -> None:
    """Each write of the state file is synced, and whoever may publish on the topic sends as many as they like."""
    written: List[Any] = []

    def look() -> None:
        found = (loop.state / FILE).stat()
        written.append((found.st_ino, found.st_mtime_ns))

    def others() -> None:
        loop.nucleus.say({"thingName": THING, "status": "ACCEPTED", "reportId": 5})
        loop.nucleus.say({"thingName": THING, "status": "ACCEPTED", "reportId": 10**15})

    loop.clock.at(START + 99, look)
    for second in range(100, 200):
        loop.clock.at(START + second, others)
    loop.clock.at(START + 250, look)
    loop.run(400)
    assert written[0] == written[1]
    assert carried(loop) == [None, 1]


def test_an_answer_before_ok_counts_as_well(loop: NucleusLoop) -> None:
    loop.nucleus.usual_fate = GOOD._replace(answer=0.0)
    loop.run(1000)
    assert carried(loop) == [None, 1, 1, 1]


def test_a_report_that_is_lost_after_ok_is_in_the_next_one_and_the_grid_stays(loop: NucleusLoop) -> None:
    loop.nucleus.fates.extend([GOOD, LOST, GOOD, GOOD])
    loop.run(1300)
    assert carried(loop) == [None, 1, 2, 1, 1]
    assert sent(loop) == [0, 300, 600, 900, 1200]


def test_a_missing_answer_has_the_subscription_made_anew_once_it_is_late(loop: NucleusLoop) -> None:
    loop.nucleus.fates.extend([GOOD, NEVER_ANSWERED, GOOD])
    loop.run(700)
    assert [moment - START for moment in loop.nucleus.renewed] == [300 + VERDICT_SECONDS]
    (warning,) = loop.logged("WARNING delivery of reports: Device Defender has not answered report")
    assert "the next one has its traffic too" in warning
    # Since the report that was not answered, not since the warning.
    assert len(loop.logged("INFO delivery of reports: recovered after 5 min")) == 1


def test_an_answer_to_a_later_report_shows_that_the_subscription_is_alive(
    loop: NucleusLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Subscribing anew costs the answer that is on its way just then, for which it would be made anew again."""
    monkeypatch.setattr("connector.deliveries.VERDICT_SECONDS", 500.0)
    loop.nucleus.fates.extend([GOOD, NEVER_ANSWERED, GOOD])
    loop.run(1300)
    assert loop.nucleus.renewed == []
    assert len(loop.logged("WARNING delivery of reports: Device Defender has not answered report")) == 1


def test_a_late_acceptance_is_taken_off_what_comes(loop: NucleusLoop) -> None:
    loop.nucleus.fates.extend([GOOD, Fate(answer=400.0), GOOD, GOOD])
    loop.run(1000)
    # The report at 600 s has the traffic of the one at 300 s too, whose acceptance comes at 700 s; the next makes up.
    assert carried(loop) == [None, 1, 2, 0]
    assert loop.nucleus.sum == times(3)


def test_a_report_that_failed_and_came_all_the_same_stands_for_its_repetition(loop: NucleusLoop) -> None:
    loop.nucleus.fates.extend([GOOD, Fate(ok=False, arrives=1.0)])
    loop.run(700)
    # There is no repetition some seconds later, which the service would throttle.
    assert sent(loop)[:2] == [0, 300]
    assert 600 <= sent(loop)[2] <= 605
    assert carried(loop) == [None, 1, 1]
    assert len(loop.logged("publishing: recovered after")) == 1


def test_a_report_that_failed_is_repeated_soon(loop: NucleusLoop) -> None:
    loop.nucleus.fates.extend([GOOD, REFUSED])
    loop.run(400)
    assert sent(loop)[:2] == [0, 300]
    assert 302.5 <= sent(loop)[2] <= 305
    assert carried(loop) == [None, 1, 2]


@pytest.mark.parametrize("names", [True, False])
def test_a_rejected_report_is_in_the_next_one_at_its_usual_time(loop: NucleusLoop, names: bool) -> None:
    loop.nucleus.fates.extend([GOOD, Fate(accepted=False, names=names)])
    loop.run(700)
    assert carried(loop) == [None, 1, 2]
    assert sent(loop) == [0, 300, 600]
    assert loop.nucleus.renewed == []  # an answer came


def test_without_any_answer_ok_counts_as_delivery_after_some_reports_and_that_is_logged_once(loop: NucleusLoop) -> None:
    loop.nucleus.usual_fate = NEVER_ANSWERED
    loop.run(2000)
    assert MAX_REPORTS_WITHOUT_ANSWER == 3
    assert carried(loop) == [None, 1, 2, 1, 1, 1, 1]
    (line,) = loop.logged("no answer of Device Defender came for the first 3 reports")
    assert line.startswith("INFO ")
    assert loop.nucleus.renewed == []
    assert not loop.logged("WARNING")


def test_an_answer_that_comes_after_all_decides_again(loop: NucleusLoop) -> None:
    loop.nucleus.fates.extend([NEVER_ANSWERED] * 4 + [GOOD, LOST, GOOD, GOOD])
    loop.run(2200)
    assert carried(loop) == [None, 1, 2, 1, 1, 1, 2, 1]
    assert len(loop.logged("Device Defender answers now")) == 1


def test_a_rejection_puts_traffic_back_that_ok_had_taken_off(loop: NucleusLoop) -> None:
    loop.nucleus.fates.extend([NEVER_ANSWERED] * 4 + [Fate(accepted=False)])
    loop.run(1600)
    assert carried(loop) == [None, 1, 2, 1, 1, 2]


def test_an_acceptance_of_no_known_report_proves_nothing(loop: NucleusLoop) -> None:
    """Another agent's, or forged: the account of an account without answers must not begin to wait for them."""
    loop.nucleus.usual_fate = NEVER_ANSWERED
    for answer in ({"reportId": 5}, {}, {"reportId": True}, {"reportId": "x"}):
        loop.clock.at(START + 1500, functools.partial(loop.nucleus.say, answer))
    loop.run(2000)
    assert carried(loop) == [None, 1, 2, 1, 1, 1, 1]


def test_what_waits_for_an_answer_is_bounded_and_kept_over_a_restart(loop: NucleusLoop) -> None:
    loop.nucleus.fates.append(GOOD)
    loop.nucleus.usual_fate = LOST
    loop.run(300 * (MAX_PENDING_REPORTS + 3) + 50)
    kept = loop.state.joinpath("device-defender-connector.json").read_text()
    assert kept.count("false]") == MAX_PENDING_REPORTS
    loop.nucleus.usual_fate = GOOD
    loop.nucleus.fates.clear()
    before, last = len(loop.nucleus.reports), loop.nucleus.reports[-1][0]
    loop.clock.at(loop.clock.monotonic() + 20, lambda: loop.nucleus.accept(last.id))
    loop.run(700)
    # The last report's acceptance came after the restart, and took off all that was left over.
    assert carried(loop)[before:] == [1, 1]


def test_cpu_usage_is_that_since_the_last_report_that_arrived(tmp_path: Path) -> None:
    loop = NucleusLoop(tmp_path, CustomMetrics="cpu_usage")
    busy = iter([0, 100, 200, 500])  # at each reading, and 100 idle since the one before

    def work() -> None:
        idle = 100 * len(loop.readings)
        (loop.host.directory / "stat").write_text(f"cpu  {next(busy)} 0 0 {idle} 0 0 0 0 0 0\nbtime 1699000000\n")

    loop.before_reading = work
    loop.nucleus.fates.extend([GOOD, LOST, GOOD, GOOD])
    loop.run(1000)
    usages = [report.report["custom_metrics"]["cpu_usage"][0]["number"] for report, _ in loop.nucleus.reports[1:]]
    assert usages == [50.0, 50.0, 75.0]


def test_a_state_file_with_damaged_reports_is_ignored_with_one_warning(loop: NucleusLoop) -> None:
    loop.nucleus.fates.extend([GOOD, LOST])
    loop.run(400)
    path = loop.state / "device-defender-connector.json"
    path.write_text(path.read_text().replace('"pending":[[', '"pending":[["x",'))
    loop.run(400)
    assert len(loop.logged("WARNING StateDirectory", "is damaged or of another version and was ignored")) == 1
    assert carried(loop)[2] is None
