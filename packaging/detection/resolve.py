"""Puts numbers beside a profile's percentiles, for devices: one device can't know a percentile of the fleet."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from connector.detect.metrics import METRICS
from connector.detect.profile import parse

from .replay import measurements, percentile, pool_fault
from .reports import Report


def resolve(document: Any, recordings: Sequence[Sequence[Report]]) -> tuple[dict[str, Any], list[str], list[str]]:
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
        pool = [value for reports in recordings for _, value in measurements(behavior, reports)]
        fault = pool_fault(behavior, pool)
        if fault:
            left.append(f"{behavior.name}: {fault}")
            continue
        limit = percentile(pool, behavior.statistic)
        items[behavior.name]["criteria"]["value"] = {behavior.kind: limit}
        extreme = {max(pool): ", the highest of them", min(pool): ", the lowest of them"}.get(limit, "")
        done.append(
            f"{behavior.name}: {behavior.statistic} of {len(pool)} measurements of {behavior.metric} is"
            f" {limit:,}{extreme}"
        )
    return resolved, done, left
