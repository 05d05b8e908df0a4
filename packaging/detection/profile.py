"""Reads a security profile and checks it: the rules of connector/detect, and botocore's model of the service."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from botocore.loaders import Loader  # not botocore.session, which imports twice as much
from botocore.model import ServiceModel, Shape
from botocore.validate import ParamValidator

from connector.detect.profile import Profile, ProfileError, metric_name_faults, parse

from .errors import InputError


def load(path: Path) -> Profile:
    """Return the profile of a file.

    Raises InputError with every fault found, each with the file and the line of the behavior it is in.
    """
    text, document = read(path)
    faults = list(check(document))
    if faults:
        raise InputError("\n".join(f"{path}:{_line(text, document, fault)}: {fault}" for fault in faults))
    return parse(document)


def read(path: Path) -> tuple[str, Any]:
    """Return a file's text and the JSON document it holds. Raises InputError."""
    try:
        text = path.read_text(encoding="utf-8")
        return text, json.loads(text)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}: not JSON: {error.msg} at column {error.colno}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text: {error}") from error
    except RecursionError as error:
        raise InputError(f"{path}: not a profile: nested too deep") from error


def check(document: Any, operation: str = "CreateSecurityProfile") -> Iterator[str]:
    """Yield what is wrong with the input of a call of the iot service, as one sentence each that begins with its place.

    No call is made. Types and limits are those of botocore's service model; for a profile, connector/detect adds which
    operator and value go with which metric.
    """
    if not isinstance(document, dict):
        yield "a JSON object is expected"
        return
    shape = _input_of(operation)
    # Faults in the structure hide all others: nothing else can be checked.
    report = ParamValidator().validate(document, shape)
    if report.has_errors():
        yield from report.generate_report().splitlines()
        return
    beyond = list(_beyond(shape, document, ""))
    yield from beyond
    if beyond or operation != "CreateSecurityProfile":
        return
    try:
        yield from parse(document).faults
    except ProfileError as error:
        yield str(error)
    retained = document.get("additionalMetricsToRetain", []) + [
        entry["metric"] for entry in document.get("additionalMetricsToRetainV2", [])
    ]
    for name in retained:
        for fault in metric_name_faults(name):
            yield f"additionalMetricsToRetain: {fault}"


@lru_cache(maxsize=None)
def _input_of(operation: str) -> Any:
    model = ServiceModel(Loader().load_service_model("iot", "service-2"), "iot")
    return model.operation_model(operation).input_shape


def _beyond(shape: Any, value: Any, place: str) -> Iterator[str]:
    """Yield what the model forbids and ParamValidator doesn't check: enums, patterns and maxima."""
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


def _line(text: str, document: Any, fault: str) -> int:
    """Return the line of the behavior that a fault is in, or 1."""
    index = re.search(r"behaviors\[(\d+)\]", fault)
    try:
        name = document["behaviors"][int(index[1])]["name"] if index else document["securityProfileName"]
        found = re.search(r'"(name|securityProfileName)"\s*:\s*' + re.escape(json.dumps(name)), text)
    except (KeyError, TypeError, IndexError):
        return 1
    return text.count("\n", 0, found.start()) + 1 if found else 1
