"""Puts numbers beside a profile's percentiles, for devices: one device can't know a percentile of the fleet."""

from __future__ import annotations

import copy
from typing import Any

from connector.detect.metrics import METRICS
from connector.detect.profile import parse

from .fleet import Fleet, source
from .judge import percentile


def resolve(document: Any, fleet: Fleet) -> tuple[dict[str, Any], list[str], list[str]]:
    """Return a copy of a profile without faults, with `criteria.value` beside each percentile.

    Also returned: a line for each percentile that was resolved, and one for each that could not be, with the reason.
    A number that is there already is replaced.
    """
    resolved = copy.deepcopy(document)
    items = {item["name"]: item for item in resolved.get("behaviors", [])}
    done: list[str] = []
    left: list[str] = []
    for behavior in parse(document).behaviors:
        if behavior.statistic is None or behavior.kind is None:
            continue
        if behavior.metric in METRICS and not METRICS[behavior.metric].reported:
            left.append(f"{behavior.name}: {behavior.skipped}")
            continue
        found = percentile(fleet, source(behavior), behavior.statistic)
        if found.value is None:
            left.append(f"{behavior.name}: {found.fault}")
            continue
        items[behavior.name]["criteria"]["value"] = {behavior.kind: found.value}
        extreme = f", the {found.extreme} of them" if found.extreme else ""
        done.append(
            f"{behavior.name}: {behavior.statistic} of {found.measurements:,} measurements of {behavior.metric} is"
            f" {found.value:,}{extreme}"
        )
    return resolved, done, left
