"""Log lines of failures and recoveries, their repetition, their characters and their durations."""

from __future__ import annotations

import logging

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.loop import FakeClock, Records

from connector.health import MAX_TEXT_CHARS, Health, duration, plain


class Watched:
    """A Health with its clock and its log."""

    def __init__(self, level: int = logging.INFO) -> None:
        self.clock = FakeClock()
        self.records = Records()
        logger = logging.Logger("test", level)
        logger.addHandler(self.records)
        self.health = Health(logger, self.clock.monotonic)


def test_failure_and_recovery_are_logged_once() -> None:
    watched = Watched()
    for number in range(1000):
        watched.health.failed("publishing", f"refused, attempt {number}")
        watched.clock.pass_by(10)
    watched.health.recovered("publishing")
    watched.health.recovered("publishing")
    watched.health.failed("publishing", "reset")
    assert watched.records.lines == [
        "WARNING publishing: refused, attempt 0",
        "INFO publishing: recovered after 2 h 46 min",
        "WARNING publishing: reset",
    ]


def test_recovery_counts_from_the_time_that_the_first_failure_began() -> None:
    watched = Watched()
    began = watched.clock.monotonic()
    watched.clock.pass_by(30)
    watched.health.failed("publishing", "no answer in 30 s", since=began)
    watched.clock.pass_by(33)
    watched.health.failed("publishing", "no answer in 30 s", since=watched.clock.monotonic() - 30)
    watched.clock.pass_by(5)
    watched.health.recovered("publishing")
    assert watched.records.lines[1:] == ["INFO publishing: recovered after 1 min 8 s"]


def test_second_reason_that_lasts_is_logged_once() -> None:
    """At the boot the core is not up yet; then it is, and has no subscription until somebody adds one."""
    watched = Watched()
    for reason in ["refused"] + ["no subscription"] * 5 + ["refused"] * 5 + ["no subscription"] * 5:
        watched.health.failed("publishing", reason, reason)
    watched.health.recovered("publishing")
    watched.health.failed("publishing", "no subscription", "no subscription")
    assert watched.records.lines == [
        "WARNING publishing: refused",
        "WARNING publishing: no subscription",
        "INFO publishing: recovered after 0 s",
        "WARNING publishing: no subscription",
    ]


def test_second_reason_that_comes_and_goes_is_not_logged() -> None:
    watched = Watched()
    for reason in ["a", "b", "b", "a", "b", "a", "b", "b", "a"] * 10:
        watched.health.failed("publishing", reason, reason)
    assert watched.records.lines == ["WARNING publishing: a"]


def test_each_failure_is_logged_at_debug() -> None:
    watched = Watched(logging.DEBUG)
    watched.health.failed("a", "one")
    watched.health.failed("a", "two")
    assert watched.records.lines == ["WARNING a: one", "DEBUG a: two"]


def test_recovery_without_a_failure_is_not_logged() -> None:
    watched = Watched()
    watched.health.recovered("a")
    assert watched.records.lines == []


def test_failures_are_counted_apart() -> None:
    watched = Watched()
    watched.health.update({"a": "1", "b": "2"}, {})
    watched.clock.pass_by(90)
    watched.health.update({"b": "2", "c": "3"}, {"a": "1", "b": "2"})
    assert watched.records.lines == [
        "WARNING a: 1",
        "WARNING b: 2",
        "WARNING c: 3",
        "INFO a: recovered after 1 min 30 s",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (90, "1 min 30 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h"),
        (11_100, "3 h 5 min"),
        (30 * 86_400, "720 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.text())
@example("\x00\x07\x08\x1b[2J\x7f")
@example("\x80\x85\x9b31m\xa0")
@example("a\r\nb\tc\u2028d\u2029e\ufeff\u202eb")
@example("\ud800\udcff")
def test_any_text_is_logged_as_one_line_of_printable_ascii(text: str) -> None:
    watched = Watched()
    watched.health.failed("a", text)
    (line,) = watched.records.lines
    logged = line[len("WARNING a: ") :]
    assert len(logged) <= MAX_TEXT_CHARS + len("...")
    assert all(" " <= character <= "~" for character in logged)


@given(st.from_regex("[ -~]{0,60}", fullmatch=True))
def test_printable_text_is_not_changed(text: str) -> None:
    assert plain(text) == text


def test_long_text_is_cut_and_marked() -> None:
    assert plain("x" * 501) == "x" * 500 + "..."
    assert plain("x" * 500) == "x" * 500
    assert plain(12.5, 2) == "12..."
