"""The settings file of --config: TOML with the flags' names, and the connector's parameters in a table of their own.

    thing-group = "gateways"
    zip = "dist/device-defender-connector-1.0.0-py312-any.zip"
    isolation = "NoContainer"
    security-profiles = ["Gateway.json"]

    [parameters]
    SampleIntervalSeconds = 600
    CustomMetrics = ["cpu_usage", "memory_usage"]

A path is relative to the file's directory.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from deployment.errors import UsageError
from deployment.parameters import PARAMETERS

PARAMETERS_TABLE = "parameters"
PROFILES = "security-profiles"
NATIVE = "native"


@dataclass(frozen=True)
class SettingsFile:
    """What a file says.

    flags: values by the flag's name without its dashes
    parameters: the connector's parameters by name, checked
    """

    flags: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)


def load(path: Path, flags: Iterable[str]) -> SettingsFile:
    """Read a file; raise UsageError where it can't be read, or names something that is neither flag nor parameter."""
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise UsageError(f"--config {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path}: not a TOML file: {error}") from error
    table = content.pop(PARAMETERS_TABLE, {})
    if not isinstance(table, dict):
        raise UsageError(f"--config {path}: {PARAMETERS_TABLE} must be a table: [{PARAMETERS_TABLE}]")
    known = {parameter.name: parameter for parameter in PARAMETERS}
    for name in content:
        if name in known:
            raise UsageError(f"--config {path}: {name} belongs into the table [{PARAMETERS_TABLE}]")
        _must_be_one_of(path, name, flags)
    parameters = {}
    for name, value in table.items():
        _must_be_one_of(path, name, known)
        text = _text(path, name, value)
        try:
            parameters[name] = known[name].check(text)
        except UsageError as error:
            raise UsageError(f"--config {path}: {error}") from error
    files = content.pop(PROFILES, [])
    if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        raise UsageError(f"--config {path}: {PROFILES} must be a list of files")
    native = content.pop(NATIVE, None)
    if native not in (None, True, False):
        raise UsageError(f"--config {path}: {NATIVE} must be true or false")
    values: dict[str, Any] = {name: _text(path, name, value) for name, value in content.items()}
    if native is not None:
        values[NATIVE] = native
    if files:
        values[PROFILES] = [path.parent / file for file in files]
    if "zip" in values:
        values["zip"] = str(path.parent / values["zip"])
    return SettingsFile(values, parameters)


def _must_be_one_of(path: Path, name: str, names: Iterable[str]) -> None:
    names = list(names)
    if name not in names:
        closest = difflib.get_close_matches(name, names, 1)
        hint = f"; did you mean {closest[0]}?" if closest else f"; there are: {', '.join(names)}"
        raise UsageError(f"--config {path}: there is no setting {name}{hint}")


def _text(path: Path, name: str, value: Any) -> str:
    """Return a value as its flag takes it: a list is separated by commas."""
    items = value if isinstance(value, list) else [value]
    if any(isinstance(item, bool) or not isinstance(item, (str, int)) for item in items):
        raise UsageError(f"--config {path}: {name} must be a string, a whole number, or a list of them")
    return ",".join(str(item) for item in items)
