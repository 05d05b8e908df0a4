"""A reporter that takes over from another of its process, as after a change of the settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.loop import START, STEP, Loop, moving, times, total
from support.proc import V4_NOBODY, tcp

from connector import state
from connector.state import StateError


def test_without_a_state_directory_it_goes_on_where_the_other_was(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    moving(loop)
    loop.hand_over(400)
    loop.settings["MaxListSize"] = "7"
    loop.run(700)
    assert loop.moments == [0, 300, 600, 900]  # the service throttles what comes sooner
    assert total(loop.core.taken) == times(3)
    assert len({taken.id for taken in loop.core.taken}) == 4


def test_a_file_that_is_older_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(tmp_path).remember()
    moving(loop)
    loop.hand_over(100)

    def save(*arguments: object) -> None:
        raise StateError("can't be written: No space left on device")

    monkeypatch.setattr(state, "save", save)
    loop.hand_over(700)
    loop.run(700)
    assert len(loop.core.taken) == 5
    assert total(loop.core.taken) == times(4)
    assert loop.core.taken[-1].traffic == STEP


@pytest.mark.parametrize("remembers", [False, True])
def test_an_alarm_goes_on_and_its_event_is_sent_once(tmp_path: Path, remembers: bool) -> None:
    profile = tmp_path / "mine.json"
    criteria = {"comparisonOperator": "in-port-set", "value": {"ports": [22]}}
    behavior = {"name": "Ports", "metric": "aws:listening-tcp-ports", "criteria": criteria}
    profile.write_text(json.dumps({"securityProfileName": "Mine", "behaviors": [behavior]}))
    loop = Loop(tmp_path, SecurityProfiles=str(profile))
    if remembers:
        loop.remember()
    (loop.host.directory / "1" / "net" / "tcp").write_bytes(tcp(("0.0.0.0:4444", V4_NOBODY, "LISTEN")))
    loop.core.refused["device-defender/gateway-7/violations"] = ValueError("not now")
    loop.hand_over(400)
    assert loop.core.events == []
    loop.core.refused.clear()
    loop.hand_over(400)
    loop.run(400)
    (event,) = loop.core.events
    assert event.summary == "in-alarm Ports"
    assert event.moment >= START + 400
