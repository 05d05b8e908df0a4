"""A security profile: the JSON file of `aws iot create-security-profile --cli-input-json`, checked before use."""

from __future__ import annotations

import difflib
import ipaddress
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Union

import botocore.session
from botocore.model import Shape
from botocore.validate import ParamValidator

from .errors import InputError
from .metrics import CUSTOM, DURATIONS, METRICS, Metric

MOST_VALUE_ELEMENTS = 1000
"""Counts, ports, CIDRs, numbers and strings in one profile (AWS General Reference, Device Defender quotas)."""

THRESHOLDS = ("value", "statisticalThreshold", "mlDetectionConfig")

Number = Union[int, float]


@dataclass(frozen=True)
class Behavior:
    """One behavior of a profile: what is normal. A device that is otherwise is in violation."""

    name: str
    metric: str
    kind: str | None = None
    """The member of `criteria.value` its metric is compared with; None without a comparison."""
    operator: str | None = None
    limit: Number | None = None
    """What a number is compared with, unless `statistic` says."""
    elements: tuple[Any, ...] = ()
    """What a list is compared with: ports, CIDRs, numbers or strings."""
    statistic: str | None = None
    """The percentile a number is compared with: "p99.9"."""
    confidence: str | None = None
    """ML Detect's confidence level, where it learns what is normal."""
    duration: int | None = None
    """Seconds."""
    suppressed: bool = False
    """Its alarms are shown, not sent."""
    to_alarm: int = 1
    to_clear: int = 1


@dataclass(frozen=True)
class Profile:
    """A profile that passed all checks."""

    name: str
    behaviors: tuple[Behavior, ...]


def load(path: Path) -> Profile:
    """Return the profile of a file.

    Raises InputError with every fault found, each with the file and the line of the behavior it is in.
    """
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}: not JSON: {error.msg} at column {error.colno}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text: {error}") from error
    faults = list(check(document))
    if faults:
        raise InputError("\n".join(f"{path}:{_line(text, document, fault)}: {fault}" for fault in faults))
    return parse(document)


def parse(document: Mapping[str, Any]) -> Profile:
    """Return the profile of a document that check() finds no fault in."""
    return Profile(document["securityProfileName"], tuple(_behavior(item) for item in document.get("behaviors", ())))


def check(document: Any, operation: str = "CreateSecurityProfile") -> Iterator[str]:
    """Yield what is wrong with the input of a call of the iot service, as one sentence each that begins with its place.

    No call is made. The types and limits are those of botocore's service model, the rest is the guide's.
    """
    if not isinstance(document, dict):
        yield "a JSON object is expected"
        return
    shape = _input_of(operation)
    # A structure that is wrong can't be looked into any further.
    report = ParamValidator().validate(document, shape)
    if report.has_errors():
        yield from report.generate_report().splitlines()
        return
    yield from _beyond(shape, document, "")
    if operation == "CreateSecurityProfile":
        yield from _against_guide(document)


@lru_cache(maxsize=None)
def _input_of(operation: str) -> Any:
    return botocore.session.get_session().get_service_model("iot").operation_model(operation).input_shape


def _beyond(shape: Any, value: Any, place: str) -> Iterator[str]:
    """Yield what the model forbids and ParamValidator lets pass: enums, patterns and maxima."""
    if shape.type_name == "structure":
        for name, member in value.items():
            yield from _beyond(shape.members[name], member, f"{place}.{name}".lstrip("."))
    elif shape.type_name == "list":
        yield from _maximum(shape, len(value), place, "entries")
        for index, entry in enumerate(value):
            yield from _beyond(shape.member, entry, f"{place}[{index}]")
    elif shape.type_name == "map":
        for key, entry in value.items():
            yield from _beyond(shape.key, key, place)
            yield from _beyond(shape.value, entry, f"{place}.{key}")
    elif shape.type_name == "string":
        yield from _maximum(shape, len(value), place, "characters")
        # Java's \p{Graph}, and of these classes the only one in what a profile is made of.
        pattern = shape.metadata.get("pattern", "").replace(r"\p{Graph}", "!-~")
        if shape.enum and value not in shape.enum:
            yield f"{place}: {json.dumps(value)} is not one of {', '.join(shape.enum)}"
        elif pattern and r"\p" not in pattern and not re.fullmatch(pattern, value):
            yield f"{place}: {json.dumps(value)} does not match {shape.metadata['pattern']}"
    elif shape.type_name in ("integer", "long"):
        yield from _maximum(shape, value, place, "")


def _maximum(shape: Shape, number: int, place: str, unit: str) -> Iterator[str]:
    most = shape.metadata.get("max")
    if most is not None and number > most:
        yield f"{place}: {number} {unit}".rstrip() + f", {most} is the most the service takes"


def _against_guide(document: Mapping[str, Any]) -> Iterator[str]:
    behaviors = document.get("behaviors", [])
    names = [behavior["name"] for behavior in behaviors]
    for index, behavior in enumerate(behaviors):
        place = f"behaviors[{index}] {behavior['name']}"
        if behavior["name"] in names[:index]:
            yield f"{place}: a second behavior of this name"
        for fault in _behavior_faults(behavior):
            yield f"{place}: {fault}"
    retained = document.get("additionalMetricsToRetain", []) + [
        entry["metric"] for entry in document.get("additionalMetricsToRetainV2", [])
    ]
    for name in retained:
        for fault in _name_faults(name):
            yield f"additionalMetricsToRetain: {fault}"
    elements = sum(
        len(value) if isinstance(value, list) else 1
        for behavior in behaviors
        for value in behavior.get("criteria", {}).get("value", {}).values()
    )
    if elements > MOST_VALUE_ELEMENTS:
        yield f"behaviors: {elements} value elements, {MOST_VALUE_ELEMENTS} is the most the service takes in a profile"


def _name_faults(name: str) -> Iterator[str]:
    if name.startswith("aws:") and name not in METRICS:
        close = difflib.get_close_matches(name, METRICS, 1)
        yield f"unknown metric {name}" + (f"; is {close[0]} meant?" if close else "")
    elif not re.fullmatch(r"[a-zA-Z0-9:_-]{1,128}", name):
        yield f"a metric's name is 1 to 128 of a-zA-Z0-9:_-, not {json.dumps(name)}"


def _behavior_faults(behavior: Mapping[str, Any]) -> Iterator[str]:
    name = behavior.get("metric")
    if name is None:
        yield "no metric"
        return
    unknown = list(_name_faults(name))
    if unknown:
        yield from unknown
        return
    if "criteria" not in behavior:
        return
    criteria = behavior["criteria"]
    thresholds = [key for key in THRESHOLDS if key in criteria]
    if len(thresholds) != 1:
        yield f"criteria has {' and '.join(thresholds) or 'no threshold'}; it takes one of {', '.join(THRESHOLDS)}"
        return
    kinds = list(criteria.get("value", {}))
    metric = METRICS.get(name) or _custom(criteria)
    if metric is None:
        yield f"value {', '.join(kinds) or '(empty)'} does not fit a custom metric: {', '.join(CUSTOM)}"
        return
    number = metric.kind in ("count", "number")

    if thresholds == ["value"] and kinds != [metric.kind]:
        yield f"value has {', '.join(kinds) or 'nothing'}; {name} is compared with {metric.kind}"
    if thresholds == ["statisticalThreshold"]:
        if not number:
            yield f"{name} is a list; a statisticalThreshold is for numbers"
        elif "statistic" not in criteria["statisticalThreshold"]:
            yield "statisticalThreshold has no statistic"
    if thresholds == ["mlDetectionConfig"]:
        if not metric.ml:
            yield f"ML Detect does not learn {name}"
    elif criteria.get("comparisonOperator") not in metric.operators:
        given = criteria.get("comparisonOperator", "missing")
        yield f"comparisonOperator is {given}; {name} takes {', '.join(metric.operators)}"

    duration = criteria.get("durationSeconds")
    if duration is None:
        if thresholds == ["statisticalThreshold"] or (metric.timed and thresholds == ["value"]):
            yield f"durationSeconds is missing; one of {', '.join(map(str, DURATIONS))}"
    elif not number:
        yield f"durationSeconds does not go with {name}, which is a list"
    elif duration not in DURATIONS:
        yield f"durationSeconds is {duration}; one of {', '.join(map(str, DURATIONS))}"

    for cidr in criteria.get("value", {}).get("cidrs", ()):
        try:
            ipaddress.ip_network(cidr, strict=False)
        except ValueError:
            yield f"{cidr} is not a CIDR"


def _custom(criteria: Mapping[str, Any]) -> Metric | None:
    """Return the row for a custom metric, whose type no profile states: its value shows it."""
    if "value" not in criteria:
        return CUSTOM["number"]
    return next((CUSTOM[kind] for kind in criteria["value"] if kind in CUSTOM), None)


def _behavior(item: Mapping[str, Any]) -> Behavior:
    criteria = item.get("criteria")
    if criteria is None:
        return Behavior(item["name"], item["metric"])
    metric = METRICS.get(item["metric"]) or _custom(criteria)
    assert metric is not None
    value = criteria.get("value", {}).get(metric.kind)
    return Behavior(
        name=item["name"],
        metric=item["metric"],
        kind=metric.kind,
        operator=criteria.get("comparisonOperator"),
        limit=None if isinstance(value, list) else value,
        elements=tuple(value) if isinstance(value, list) else (),
        statistic=criteria.get("statisticalThreshold", {}).get("statistic"),
        confidence=criteria.get("mlDetectionConfig", {}).get("confidenceLevel"),
        duration=criteria.get("durationSeconds"),
        suppressed=item.get("suppressAlerts", False),
        to_alarm=criteria.get("consecutiveDatapointsToAlarm", 1),
        to_clear=criteria.get("consecutiveDatapointsToClear", 1),
    )


def _line(text: str, document: Any, fault: str) -> int:
    """Return the line of the behavior that a fault is in, or 1."""
    index = re.search(r"behaviors\[(\d+)\]", fault)
    try:
        name = document["behaviors"][int(index[1])]["name"] if index else document["securityProfileName"]
        found = re.search(r'"(name|securityProfileName)"\s*:\s*' + re.escape(json.dumps(name)), text)
    except (KeyError, TypeError, IndexError):
        return 1
    return text.count("\n", 0, found.start()) + 1 if found else 1
