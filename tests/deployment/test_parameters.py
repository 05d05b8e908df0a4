"""packaging/parameters.json against the code, deploy.py's flags and README, so that they can't drift apart."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import deploy
import pytest
from deployment import parameters, settings, v1
from deployment.parameters import PARAMETERS, RESOURCE_ID
from hypothesis import given, strategies

from connector import config

README = Path(deploy.__file__).parent.parent / "README.md"

# For each parameter what is valid and what is not, at the edges.
EXAMPLES: dict[str, tuple[list[str], list[str]]] = {
    "SampleIntervalSeconds": (["300", "301", "999", "1000", "86400", "0300"], ["", "299", "30", "-300", "300.0", "5m"]),
    "ProcDestinationPath": (["/proc", "/host_proc", "/a-B_9"], ["", "proc", "/", "/a/b", "/a b", "/proc/"]),
    RESOURCE_ID: (["my-proc-resource", "A_1"], ["", "a b", "a/b", "a:b"]),
    "MetricNames": (["long", "short"], ["", "Long", "longs", "long "]),
    "ReportFormat": (["json", "cbor"], ["", "JSON", "xml", "jsoncbor"]),
    "MaxListSize": (["1", "9", "10", "99", "100", "499", "500"], ["", "0", "501", "1000", "-1", "5.0", "all"]),
    "CustomMetrics": (
        ["", *config.CUSTOM_METRICS, "cpu_usage,memory_usage", ", ".join(config.CUSTOM_METRICS)],
        ["cpu", "cpu_usage;memory_usage", "cpu_usage memory_usage", "CPU_USAGE"],
    ),
    "ExcludeInterfaces": (["", "lo", "lo,eth*", "lo, veth[0-9]*", "br-?"], []),
    "MetricsTopic": (
        ["a", "a/{thing}", "a/{format}/x-{thing}", "$aws/things/{thing}/defender/metrics/{format}", "a b", "x" * 256],
        ["", "a/+", "a/#", "a/{device}", "a/{", "a/}", "a\0", "a\n", "x" * 257],
    ),
    "StateDirectory": (["", "/var/lib/connector", "/a", "/a/", "/a b"], ["var/lib", "./a", "~", "/a\0"]),
    "LogLevel": (["DEBUG", "INFO", "WARNING", "ERROR"], ["", "info", "TRACE", "10"]),
}


def warnings(name: str, value: str) -> list[str]:
    return config.parse({"AWS_IOT_THING_NAME": "gw-1", name: value})[1]


def test_the_services_own_parameters_are_the_services() -> None:
    entries = {entry["name"]: entry for entry in json.loads(parameters.FILE.read_text(encoding="utf-8"))}
    public = ("SampleIntervalSeconds", RESOURCE_ID, "ProcDestinationPath")
    assert [(entries[n]["displayName"], entries[n]["pattern"], entries[n]["required"]) for n in public] == [
        ("Metrics reporting interval", "^[0-9]*(?:3[0-9][0-9]|[4-9][0-9]{2}|[1-9][0-9]{3,})$", True),
        ("Resource for /proc directory", "[a-zA-Z0-9_-]+", True),
        ("Destination path of /proc resource", r"\/[a-zA-Z0-9_-]+", True),
    ]


def test_every_default_is_valid_and_every_parameter_has_examples() -> None:
    for parameter in PARAMETERS:
        if parameter.default is not None:
            assert parameter.check(parameter.default) == parameter.default
    assert list(EXAMPLES) == [parameter.name for parameter in PARAMETERS]


def test_the_code_knows_the_same_parameters() -> None:
    described = [(p.name, p.alias, p.default or "") for p in PARAMETERS]
    assert [(p.name, p.alias, p.default) for p in config.PARAMETERS] == described


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda p: p.name)
def test_the_code_takes_what_the_pattern_takes(parameter: Any) -> None:
    valid, invalid = EXAMPLES[parameter.name]
    assert [value for value in valid if not re.fullmatch(parameter.pattern, value)] == []
    assert [value for value in invalid if re.fullmatch(parameter.pattern, value)] == []
    assert [value for value in valid if warnings(parameter.name, value)] == []
    if parameter.name != RESOURCE_ID:  # belongs to the group's definition: the code does not look at it
        assert [value for value in invalid if not warnings(parameter.name, value)] == []


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda p: p.name)
@given(data=strategies.data())
def test_the_code_takes_whatever_the_tools_let_through(parameter: Any, data: strategies.DataObject) -> None:
    value = data.draw(strategies.from_regex(parameter.pattern, fullmatch=True))
    assert warnings(parameter.name, value) == []


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_tool_has_a_flag_for_each(version: str) -> None:
    target = ["--group", "g"] if version == "v1" else ["--thing", "t"]
    valid = {name: examples[0][0] for name, examples in EXAMPLES.items() if version == "v1" or name != RESOURCE_ID}
    flags = [f"--{name}={value}" for name, value in valid.items()]
    args = deploy.parser().parse_args([version, "plan", *target, "--zip", "z", *flags])
    assert parameters.given(args) == valid


def test_a_deployment_always_carries_the_required_ones() -> None:
    carried = settings.make({}).environment
    missing = [p.name for p in PARAMETERS if p.required and p.name not in carried]
    assert missing == [RESOURCE_ID]
    assert re.fullmatch(next(p.pattern for p in PARAMETERS if p.name == RESOURCE_ID), v1.DEFAULT_RESOURCE_ID)


@pytest.mark.parametrize(("name", "value"), [("ExcludeInterfaces", ""), ("CustomMetrics", ""), ("LogLevel", "DEBUG")])
def test_the_function_reads_back_what_the_tool_sets(name: str, value: str) -> None:
    environment = settings.make({name: value}).environment
    assert config.parse({"AWS_IOT_THING_NAME": "gw-1", **environment}) == (
        config.parse({"AWS_IOT_THING_NAME": "gw-1", name: value})[0],
        [],
    )


def test_readmes_table_lists_them_with_their_defaults() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("| `SampleIntervalSeconds` |"))
    rows = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        rows.append(line)
    assert [row.split("`")[1] for row in rows] == [parameter.name for parameter in PARAMETERS]
    for row, parameter in zip(rows, PARAMETERS, strict=True):
        assert not parameter.default or f"`{parameter.default}`" in row or f"| {parameter.default} |" in row, row
        assert not parameter.alias or f"`{parameter.alias}`" in row, row
