"""Interfaces that are renamed, swapped, moved and made anew, on a host of the test's own, against `ip -s link`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List

import pytest
from support import namespace

pytestmark = pytest.mark.skipif(namespace.refusal() is not None, reason=str(namespace.refusal()))
SCENE = Path(namespace.__file__).with_name("links_scene.py")
SOURCES = ["rtnetlink", "tables"]
ORDER = ["start", "traffic", "rename", "swap", "nothing", "move", "moved", "away", "back", "made anew"]


@pytest.fixture(scope="module")
def scene() -> Any:
    return namespace.play("links", script=SCENE)


def by_index(step: Any) -> Dict[int, List[int]]:
    return {row[0]: row[1:] for name, row in step["shown"].items() if name != "lo"}


def passed(steps: Any, step: str, new: bool = False) -> List[int]:
    """What `ip -s link` shows to have passed since the step before; of interfaces that are new if so."""
    before, now = by_index(steps[ORDER[ORDER.index(step) - 1]]), by_index(steps[step])
    total = [0, 0, 0, 0]
    for index, numbers in now.items():
        if index in before or new:
            total = [a + b - c for a, b, c in zip(total, numbers, before.get(index, [0] * 4))]
    return total


def test_no_reading_has_a_problem(scene: Any) -> None:
    assert {step: reading["problems"] for step, reading in scene["steps"].items() if reading["problems"]} == {}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("step", ["traffic", "rename", "swap", "nothing", "moved", "away"])
def test_interfaces_that_stay_are_counted_to_the_byte(scene: Any, step: str, source: str) -> None:
    """Also while they are renamed and swapped, and after one moved in from another network namespace."""
    expected = passed(scene["steps"], step)
    assert scene["steps"][step]["reported"][source] == expected
    assert (expected[1] >= 1000) == (step not in ("nothing", "away")), "the step sends frames of 1000 bytes"


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("step", ["move", "back"])
def test_interface_that_moves_in_reports_nothing_of_its_past(scene: Any, step: str, source: str) -> None:
    assert by_index(scene["steps"][step])[scene["steps"][step]["shown"]["moved1"][0]][1] >= 3_000_000
    assert scene["steps"][step]["reported"][source] == [0, 0, 0, 0]


@pytest.mark.parametrize("source", SOURCES)
def test_interface_made_anew_reports_all_it_carried(scene: Any, source: str) -> None:
    """ppp0 has passed its old counters, so that a comparison by name would lose what they showed."""
    steps = scene["steps"]
    old, now = steps["back"]["shown"]["ppp0"], steps["made anew"]["shown"]["ppp0"]
    assert now[0] != old[0]
    assert now[2] > old[2]
    assert steps["made anew"]["reported"][source] == passed(steps, "made anew", new=True)


def test_macvlan_is_counted_on_the_interface_below_it(scene: Any) -> None:
    if scene["no macvlan"]:
        pytest.skip("this kernel has no macvlan: " + scene["no macvlan"])
    steps = scene["steps"]
    before, now = steps["macvlan"]["shown"], steps["over macvlan"]["shown"]
    below = [new - old for new, old in zip(now["wan0"][1:], before["wan0"][1:])]
    assert below[1] >= 9000
    assert now["lan0"][2] - before["lan0"][2] >= 9000
    assert steps["over macvlan"]["reported"]["rtnetlink"] == below
