"""What `suggest` learns from recordings that are given as the values of a metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from detection.reports import Report
from detection.suggest import Suggestion, suggest

from connector.detect.measurement import Reading

from .fleet import connect, fleet_of

START = 1767600000
CONNECTION = connect()


def recording(metric: str, kind: str, values: Sequence[Any], *, interval: int = 300, unlisted: int = 0) -> list[Report]:
    return [
        Report(f"reports.jsonl:{index + 1}", START + index * interval, {metric: Reading(kind, value, unlisted)})
        for index, value in enumerate(values)
    ]


def suggested(*reports: list[Report], headroom: float = 1.5) -> Suggestion:
    """What is suggested from the reports of devices."""
    fleet = fleet_of({f"gateway-{number}": one for number, one in enumerate(reports)}, CONNECTION)
    return suggest("P", fleet, headroom)


def learned(*reports: list[Report], headroom: float = 1.5) -> tuple[list[Any], list[str]]:
    """The criteria of the behaviors, and the notes without the one on the length of the recording."""
    suggestion = suggested(*reports, headroom=headroom)
    behaviors = [behavior["criteria"] for behavior in suggestion.profile["behaviors"]]
    return behaviors, [note for note in suggestion.notes if " recorded: what the device does" not in note]


def at_most(**value: float) -> dict[str, Any]:
    return {"comparisonOperator": "less-than-equals", "value": value}


def in_a_row(datapoints: int) -> dict[str, int]:
    return {"consecutiveDatapointsToAlarm": datapoints, "consecutiveDatapointsToClear": datapoints}
