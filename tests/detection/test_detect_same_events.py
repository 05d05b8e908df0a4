"""Same reports and profile, same events: the engine as the connector uses it, `watch`, a plain reference.

`try` judges columns: test_columns_same_events.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from detection.watch import Watch
from hypothesis import given, settings
from support.detect_reference import (
    FORWARD,
    PROFILE_DOCUMENTS,
    SHIPPED,
    expected_events,
    report,
    series_strategy,
)
from support.detect_tool import FIXTURES, recorded

from connector.detect.engine import Detector
from connector.detect.profile import parse


def spans(events: list[dict[str, Any]]) -> dict[str, list[tuple[int, int | None, bool]]]:
    """(start, end, whether invalidated) of each alarm by behavior."""
    found: dict[str, list[tuple[int, int | None, bool]]] = {}
    for event in events:
        alarms = found.setdefault(event["behavior"]["name"], [])
        time = event["violationEventTime"] // 1000
        if event["violationEventType"] == "in-alarm":
            alarms.append((time, None, False))
        else:
            alarms[-1] = (alarms[-1][0], time, event["violationEventType"] == "alarm-invalidated")
    return found


@settings(max_examples=150)
@given(PROFILE_DOCUMENTS, series_strategy(FORWARD))
def test_watch_prints_the_events_of_the_reference(document: Any, series: Any) -> None:
    events: list[dict[str, Any]] = []
    problems: list[str] = []
    watch = Watch([parse(document)], "gateway-1", events.append, problems.append)
    for time, measured in series:
        watch.take("line 1", json.dumps(report(time, measured)).encode())
    assert problems == []
    suppressed = {item["name"] for item in document["behaviors"] if item.get("suppressAlerts")}
    expected = [
        event for event in expected_events(document, "gateway-1", series) if event["behavior"]["name"] not in suppressed
    ]
    for event in events:
        del event["violationId"]
    assert sorted(events, key=json.dumps) == sorted(expected, key=json.dumps)
    standing = {name for name, alarms in spans(expected).items() if alarms[-1][1] is None}
    assert watch.in_alarm is bool(standing)


@pytest.mark.parametrize("recording", ["ordinary", "incident"])
@pytest.mark.parametrize("document", SHIPPED, ids=lambda document: str(document["securityProfileName"]))
def test_recording_gives_the_same_events_everywhere(document: Any, recording: str) -> None:
    path: Path = FIXTURES / f"{recording}.jsonl"
    reports = recorded(path)
    detector = Detector([parse(document)], "gateway-1")
    events = [event for one in reports for event in detector.judge(one.readings, one.time)]
    watched: list[dict[str, Any]] = []
    watch = Watch([parse(document)], "gateway-1", watched.append, pytest.fail)
    for line in path.read_bytes().splitlines():
        watch.take("line", line)
    assert watched == [event.document() for event in events if not event.suppressed]
