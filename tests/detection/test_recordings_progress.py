"""Progress is for a person at a terminal, who waits."""

from __future__ import annotations

import io
import sys

import pytest
from detection import progress
from detection.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "shown"), [(Terminal(), True), (io.StringIO(), False)], ids=["terminal", "pipe"])
def test_progress_is_shown_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, shown: bool
) -> None:
    monkeypatch.setattr(progress, "WAIT_SECONDS", 0)
    monkeypatch.setattr(sys, "stderr", stream)
    with Progress("reading", 2_000_000) as bar:
        bar.advance(1_000_000)
    assert ("reading" in stream.getvalue()) == shown


def test_what_is_done_at_once_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(progress, "WAIT_SECONDS", 3600)
    monkeypatch.setattr(sys, "stderr", stream)
    with Progress("reading", 2) as bar:
        bar.advance(2)
    assert stream.getvalue() == ""
