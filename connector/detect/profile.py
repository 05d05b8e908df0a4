"""A security profile, the input of `aws iot create-security-profile --cli-input-json`, as checked behaviors.

Source: developer guide, "Behaviors"; AWS General Reference, Device Defender quotas; the API reference of
CreateSecurityProfile. Every type and limit is checked here: the file reaches the device as a person wrote it.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from ..errors import ConnectorError
from .measurement import Number
from .metrics import CUSTOM, DURATIONS, METRICS, Metric
from .networks import address_range

MAX_BEHAVIORS = 100
MAX_VALUE_ELEMENTS = 1000  # counts, ports, CIDRs, numbers and strings in one profile
MAX_CONSECUTIVE_DATAPOINTS = 10
MAX_PORT = 65535
MAX_COUNT = 2**63 - 1  # the service's counts are signed 64-bit integers
MAX_STRING_CHARACTERS = 1000  # no limit is published; bounds an event

THRESHOLDS = ("value", "statisticalThreshold", "mlDetectionConfig")
STATISTICS = ("p0", "p0.1", "p0.01", "p1", "p10", "p50", "p90", "p99", "p99.9", "p99.99", "p100")
CONFIDENCE_LEVELS = ("LOW", "MEDIUM", "HIGH")

_PROFILE_NAME = re.compile(r"[a-zA-Z0-9:_-]{1,128}")
_METRIC_NAME = re.compile(r"[a-zA-Z0-9:_-]{1,128}")


class ProfileError(ConnectorError):
    """A document is no security profile, or nothing of it can be used."""


class Behavior(NamedTuple):
    """One behavior: what is normal. A datapoint for which it does not hold is a violation.

    name: unique in its profile
    metric: what is measured, such as aws:all-bytes-out
    kind: the member of `criteria.value` it is compared with; None without criteria
    operator: one of metrics.py; None without a comparison
    limit: what a number is compared with; None where it is not known
    elements: what a list is compared with: ports, CIDRs as text, numbers or strings
    statistic: the percentile a number is compared with, such as p99.9
    confidence: ML Detect's confidence level, where that learns what is normal
    duration: durationSeconds
    suppressed: its alarms are recorded, but nobody is alerted
    to_alarm: violations in a row that begin an alarm
    to_clear: conforming datapoints in a row that clear it
    criteria: as in the document, with the defaults filled in; for events
    skipped: why it can't be judged here; None: it is judged
    """

    name: str
    metric: str
    kind: Optional[str] = None
    operator: Optional[str] = None
    limit: Optional[Number] = None
    elements: Tuple[Any, ...] = ()
    statistic: Optional[str] = None
    confidence: Optional[str] = None
    duration: Optional[int] = None
    suppressed: bool = False
    to_alarm: int = 1
    to_clear: int = 1
    criteria: Mapping[str, Any] = {}
    skipped: Optional[str] = None


class Profile(NamedTuple):
    """A profile, its usable behaviors, and a sentence for each behavior that can't be used."""

    name: str
    behaviors: Tuple[Behavior, ...]
    faults: Tuple[str, ...] = ()


def parse(document: Any) -> Profile:
    """Return the profile of a document. A faulty behavior is left out, and named in `faults`.

    Raises ProfileError where the document is no profile.
    """
    if not isinstance(document, dict):
        raise ProfileError("a security profile is a JSON object")
    name = document.get("securityProfileName")
    if not isinstance(name, str) or not _PROFILE_NAME.fullmatch(name):
        raise ProfileError(f"securityProfileName is 1 to 128 of a-zA-Z0-9:_-, not {_shown(name)}")
    items = document.get("behaviors", [])
    if not isinstance(items, list):
        raise ProfileError(f"behaviors is a list, not {_shown(items)}")
    if len(items) > MAX_BEHAVIORS:
        raise ProfileError(f"{len(items)} behaviors; a profile has at most {MAX_BEHAVIORS}")
    behaviors: Dict[str, Behavior] = {}
    faults: List[str] = []
    elements = 0
    for index, item in enumerate(items):
        place = f"behaviors[{index}]"
        if isinstance(item, dict) and isinstance(item.get("name"), str):
            place += f" {_plain(item['name'])}"
        found = list(behavior_faults(item))
        if not found and item["name"] in behaviors:
            found = ["a second behavior of this name"]
        faults += [f"{place}: {fault}" for fault in found]
        if found:
            continue
        behavior = _behavior(item)
        behaviors[behavior.name] = behavior
        elements += len(behavior.elements) or (behavior.limit is not None)
    if elements > MAX_VALUE_ELEMENTS:
        raise ProfileError(f"{elements} value elements; a profile has at most {MAX_VALUE_ELEMENTS}")
    return Profile(name, tuple(behaviors.values()), tuple(faults))


def metric_name_faults(name: Any) -> Iterator[str]:
    """Yield what is wrong with the name of a metric."""
    if not isinstance(name, str) or not _METRIC_NAME.fullmatch(name):
        yield f"a metric's name is 1 to 128 of a-zA-Z0-9:_-, not {_shown(name)}"
    elif name.startswith("aws:") and name not in METRICS:
        import difflib  # 0.5 MB that a device needs only here

        close = difflib.get_close_matches(name, METRICS, 1)
        yield f"unknown metric {name}" + (f"; is {close[0]} meant?" if close else "")


def behavior_faults(item: Any) -> Iterator[str]:
    """Yield what is wrong with a behavior of a profile's document, a sentence each."""
    if not isinstance(item, dict):
        yield f"a behavior is an object, not {_shown(item)}"
        return
    name = item.get("name")
    if not isinstance(name, str) or not _PROFILE_NAME.fullmatch(name):
        yield f"a behavior's name is 1 to 128 of a-zA-Z0-9:_-, not {_shown(name)}"
    if "metric" not in item:
        yield "no metric"
        return
    unknown = list(metric_name_faults(item["metric"]))
    if unknown:
        yield from unknown
        return
    if not isinstance(item.get("suppressAlerts", False), bool):
        yield f"suppressAlerts is true or false, not {_shown(item['suppressAlerts'])}"
    if "criteria" not in item:
        return
    criteria = item["criteria"]
    if not isinstance(criteria, dict):
        yield f"criteria is an object, not {_shown(criteria)}"
        return
    for threshold in THRESHOLDS:
        if not isinstance(criteria.get(threshold, {}), dict):
            yield f"{threshold} is an object, not {_shown(criteria[threshold])}"
            return
    yield from _criteria_faults(item["metric"], criteria)


def _criteria_faults(name: str, criteria: Mapping[str, Any]) -> Iterator[str]:
    thresholds = [key for key in THRESHOLDS if key in criteria]
    # A percentile that was resolved on recordings has its number beside it.
    resolved = thresholds == ["value", "statisticalThreshold"]
    if len(thresholds) != 1 and not resolved:
        yield f"criteria has {' and '.join(thresholds) or 'no threshold'}; it takes one of {', '.join(THRESHOLDS)}"
        return
    value = criteria.get("value", {})
    metric = METRICS.get(name) or _custom(criteria)
    if metric is None:
        yield f"value {_names(value) or '(empty)'} does not fit a custom metric: {', '.join(CUSTOM)}"
        return
    is_number = metric.kind in ("count", "number")

    if "value" in criteria:
        if list(value) != [metric.kind]:
            yield f"value has {_names(value) or 'nothing'}; {name} is compared with {metric.kind}"
        else:
            yield from _value_faults(metric.kind, value[metric.kind])
    if "statisticalThreshold" in criteria:
        statistic = criteria["statisticalThreshold"].get("statistic")
        if not is_number:
            yield f"{name} is a list; a statisticalThreshold is for numbers"
        elif statistic is None:
            yield "statisticalThreshold has no statistic"
        elif statistic not in STATISTICS:
            yield f"statistic is {_shown(statistic)}; one of {', '.join(STATISTICS)}"
    if "mlDetectionConfig" in criteria:
        if not metric.ml:
            yield f"ML Detect does not learn {name}"
        elif criteria["mlDetectionConfig"].get("confidenceLevel") not in CONFIDENCE_LEVELS:
            yield f"mlDetectionConfig needs a confidenceLevel: {', '.join(CONFIDENCE_LEVELS)}"
    elif criteria.get("comparisonOperator") not in metric.operators:
        given = _plain(criteria.get("comparisonOperator", "missing"))
        yield f"comparisonOperator is {given}; {name} takes {', '.join(metric.operators)}"

    durations = ", ".join(map(str, DURATIONS))
    duration = criteria.get("durationSeconds")
    if duration is None:
        if "statisticalThreshold" in criteria or (metric.timed and "value" in criteria):
            yield f"durationSeconds is missing; one of {durations}"
    elif not is_number:
        yield f"durationSeconds does not go with {name}, which is a list"
    elif not _is_integer(duration) or duration not in DURATIONS:
        yield f"durationSeconds is {_shown(duration)}; one of {durations}"
    for key in ("consecutiveDatapointsToAlarm", "consecutiveDatapointsToClear"):
        count = criteria.get(key, 1)
        if not _is_integer(count) or not 1 <= count <= MAX_CONSECUTIVE_DATAPOINTS:
            yield f"{key} is 1 to {MAX_CONSECUTIVE_DATAPOINTS}, not {_shown(count)}"


def _value_faults(kind: str, value: Any) -> Iterator[str]:
    if kind == "count":
        if not _is_integer(value) or not 0 <= value <= MAX_COUNT:
            yield f"count is an integer from 0, not {_shown(value)}"
    elif kind == "number":
        if not _is_number(value):
            yield f"number is a finite number, not {_shown(value)}"
    elif not isinstance(value, list):
        yield f"{kind} is a list, not {_shown(value)}"
    else:
        for element in value:
            fault = _element_fault(kind, element)
            if fault:
                yield fault


def _element_fault(kind: str, element: Any) -> Optional[str]:
    if kind == "ports":
        if not _is_integer(element) or not 0 <= element <= MAX_PORT:
            return f"a port is an integer from 0 to {MAX_PORT}, not {_shown(element)}"
    elif kind == "numbers":
        if not _is_number(element):
            return f"numbers are finite, not {_shown(element)}"
    elif not isinstance(element, str) or len(element) > MAX_STRING_CHARACTERS:
        return f"{kind} are texts of at most {MAX_STRING_CHARACTERS} characters, not {_shown(element)}"
    elif kind == "cidrs":
        try:
            address_range(element)
        except ValueError:
            return f"{_plain(element)} is not a CIDR"
    return None


def _custom(criteria: Mapping[str, Any]) -> Optional[Metric]:
    """Return the row of a custom metric, whose type no profile states: its value shows it."""
    if "value" not in criteria:
        return CUSTOM["number"]
    return next((CUSTOM[kind] for kind in criteria["value"] if kind in CUSTOM), None)


def _behavior(item: Mapping[str, Any]) -> Behavior:
    """Return the behavior of an item without faults."""
    name, metric_name = item["name"], item["metric"]
    suppressed = item.get("suppressAlerts", False)
    criteria = item.get("criteria")
    if criteria is None:
        reason = "it has no criteria: the service keeps the metric and never alarms"
        return Behavior(name, metric_name, suppressed=suppressed, skipped=reason)
    metric = METRICS.get(metric_name) or _custom(criteria)
    assert metric is not None
    value = criteria.get("value", {}).get(metric.kind)
    statistic = criteria.get("statisticalThreshold", {}).get("statistic")
    skipped = None
    if not metric.reported:
        skipped = f"AWS IoT measures {metric_name} itself; no report carries it"
    elif "mlDetectionConfig" in criteria:
        skipped = "ML Detect learns from 14 days and 25,000 datapoints of the fleet, in the service only"
    elif value is None:
        skipped = (
            f"one device can't know {statistic} of the fleet; detect.py suggest --resolve puts its number beside it"
        )
    to_alarm = criteria.get("consecutiveDatapointsToAlarm", 1)
    to_clear = criteria.get("consecutiveDatapointsToClear", 1)
    return Behavior(
        name=name,
        metric=metric_name,
        kind=metric.kind,
        operator=criteria.get("comparisonOperator"),
        limit=None if isinstance(value, list) else value,
        elements=tuple(value) if isinstance(value, list) else (),
        statistic=statistic,
        confidence=criteria.get("mlDetectionConfig", {}).get("confidenceLevel"),
        duration=criteria.get("durationSeconds"),
        suppressed=suppressed,
        to_alarm=to_alarm,
        to_clear=to_clear,
        criteria={**criteria, "consecutiveDatapointsToAlarm": to_alarm, "consecutiveDatapointsToClear": to_clear},
        skipped=skipped,
    )


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_integer(value) or (isinstance(value, float) and math.isfinite(value))


def _names(value: Mapping[str, Any]) -> str:
    return ", ".join(map(_plain, value))


def _plain(value: Any) -> str:
    """Return text for one line of a log, ASCII only and not long."""
    text = str(value)[:60]
    return text if text.isprintable() and text.isascii() else ascii(text)


def _shown(value: Any) -> str:
    """Return a value as JSON, for a message."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        text = ascii(value)
    return text if len(text) <= 60 else text[:60] + "..."
