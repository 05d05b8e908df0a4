"""What the log says of what fails, and in which characters."""

from __future__ import annotations

import logging

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.loop import FakeClock, Records

from connector.health import LONGEST, Health, duration, plain


class Watched:
    """A Health with its clock and its log."""

    def __init__(self, level: int = logging.INFO) -> None:
        self.clock = FakeClock()
        self.records = Records()
        logger = logging.Logger("test", level)
        logger.addHandler(self.records)
        self.health = Health(logger, self.clock.monotonic)


def test_a_failure_is_said_once_and_so_is_its_end() -> None:
    watched = Watched()
    for number in range(1000):
        watched.health.failing("publishing", f"refused, attempt {number}")
        watched.clock.pass_by(10)
    watched.health.well("publishing")
    watched.health.well("publishing")
    watched.health.failing("publishing", "reset")
    assert watched.records.lines == [
        "WARNING publishing: refused, attempt 0",
        "INFO publishing: well again after 2 h 46 min",
        "WARNING publishing: reset",
    ]


def test_another_reason_that_lasts_is_said_once_too() -> None:
    """At the boot the core is not up yet; then it is, and has no subscription until somebody adds one."""
    watched = Watched()
    for reason in ["refused"] + ["no subscription"] * 5 + ["refused"] * 5 + ["no subscription"] * 5:
        watched.health.failing("publishing", reason, reason)
    watched.health.well("publishing")
    watched.health.failing("publishing", "no subscription", "no subscription")
    assert watched.records.lines == [
        "WARNING publishing: refused",
        "WARNING publishing: no subscription",
        "INFO publishing: well again after 0 s",
        "WARNING publishing: no subscription",
    ]


def test_another_reason_now_and_then_is_no_news() -> None:
    watched = Watched()
    for reason in ["a", "b", "b", "a", "b", "a", "b", "b", "a"] * 10:
        watched.health.failing("publishing", reason, reason)
    assert watched.records.lines == ["WARNING publishing: a"]


def test_at_debug_each_failure_is_there() -> None:
    watched = Watched(logging.DEBUG)
    watched.health.failing("a", "one")
    watched.health.failing("a", "two")
    assert watched.records.lines == ["WARNING a: one", "DEBUG a: two"]


def test_what_was_never_failing_is_not_said_to_be_well() -> None:
    watched = Watched()
    watched.health.well("a")
    assert watched.records.lines == []


def test_failures_do_not_mix() -> None:
    watched = Watched()
    watched.health.update({"a": "1", "b": "2"}, {})
    watched.clock.pass_by(90)
    watched.health.update({"b": "2", "c": "3"}, {"a": "1", "b": "2"})
    assert watched.records.lines == ["WARNING a: 1", "WARNING b: 2", "WARNING c: 3", "INFO a: well again after 1 min"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h 0 min"),
        (11_100, "3 h 5 min"),
        (30 * 86_400, "720 h 0 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.text())
@example("\x00\x07\x08\x1b[2J\x7f")
@example("\x80\x85\x9b31m\xa0")
@example("a\r\nb\tc\u2028d\u2029e\ufeff\u202eb")
@example("\ud800\udcff")
def test_what_is_logged_is_one_line_of_printable_ascii(text: str) -> None:
    watched = Watched()
    watched.health.failing("a", text)
    (line,) = watched.records.lines
    said = line[len("WARNING a: ") :]
    assert len(said) <= LONGEST + len("...")
    assert all(" " <= character <= "~" for character in said)


@given(st.from_regex("[ -~]{0,60}", fullmatch=True))
def test_what_is_printable_stays_as_it_is(text: str) -> None:
    assert plain(text) == text


def test_long_texts_are_cut_and_say_so() -> None:
    assert plain("x" * 501) == "x" * 500 + "..."
    assert plain("x" * 500) == "x" * 500
    assert plain(12.5, 2) == "12..."
