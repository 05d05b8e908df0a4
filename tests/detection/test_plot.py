"""The picture of the worst device: axes say what they show, and a year stays small."""

from __future__ import annotations

import random
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from detection import plot
from detection.outcome import Outcome
from support import outcomes

from connector.detect.measurement import measure


def texts(path: Path) -> list[str]:
    return [text.text or "" for text in ET.parse(path).iter("{http://www.w3.org/2000/svg}text")]


def drawn(outcome: Outcome) -> list[str]:
    """Return the texts of the picture of an outcome."""
    assert plot.draw(outcome, Path("p.svg"))
    return texts(Path("p.svg"))


@pytest.fixture(scope="module")
def incident(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The texts of the picture of a device with an incident."""
    recording = outcomes.day_of(random.Random(1), reports=96, incident=True, users=["root"])
    path = tmp_path_factory.mktemp("picture") / "p.svg"
    assert plot.draw(outcomes.judged([outcomes.TRAFFIC, outcomes.PLACES], {"gateway-1": recording}), path)
    return texts(path)


def test_axes_have_units_and_say_that_they_are_logarithmic(incident: list[str]) -> None:
    for label in ("packets in 300 s", "connections", "%", "TCP ports", "12 of 41 destinations", "users", "UTC"):
        assert label in incident
    assert incident.count("logarithmic axis") == 1
    assert {"10 k", "1 M", "10 M"} <= set(incident)  # of the bytes, whose burst is far above the rest


def test_empty_lists_say_so(incident: list[str]) -> None:
    assert incident.count("nothing listened") == 1


def test_suppressed_alarms_are_said(incident: list[str]) -> None:
    assert {"in alarm", "in alarm (suppressed)"} <= set(incident)


def test_counts_are_whole() -> None:
    behavior = outcomes.behavior("Ports", "aws:num-listening-tcp-ports", value={"count": 1})
    recording = [(outcomes.START + 300 * i, measure(tcp_ports_total=i % 2)) for i in range(5)]
    shown = drawn(outcomes.judged([outcomes.profile("P", behavior)], {"": recording}))
    assert {"0", "1"} <= set(shown)
    assert not any("." in text for text in shown)


def test_worst_of_a_fleet_is_drawn() -> None:
    quiet = outcomes.day_of(random.Random(2), reports=12)
    bad = outcomes.day_of(random.Random(3), reports=48, incident=True)
    outcome = outcomes.judged([outcomes.TRAFFIC], {"quiet": quiet, "$bad": bad})
    assert "Traffic: $bad, the worst of 2 devices" in drawn(outcome)


def test_nothing_to_draw() -> None:
    behavior = outcomes.behavior("Sent", "aws:num-messages-sent", value={"count": 1}, durationSeconds=300)
    outcome = outcomes.judged([outcomes.profile("P", behavior)], {"": [(outcomes.START, measure(bytes_in=1))]})
    assert not plot.draw(outcome, Path("p.svg"))
    assert not plot.draw(Outcome(("P",), ()), Path("p.svg"))
    assert not Path("p.svg").exists()


def test_year_is_under_a_megabyte_with_its_peak() -> None:
    """Five metrics, a violation every third hour, one datapoint far above the others."""
    outcome = outcomes.year(5, violation_every=36)
    shown = drawn(outcome)
    assert Path("p.svg").stat().st_size < 1_000_000
    assert shown.count("of each 8 h 50 min") == 5
    assert {"100 M", "1 G"} <= set(shown)  # axes reach the peak
