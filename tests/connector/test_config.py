"""The parameters: what is valid, what replaces an invalid value, and that a typo never stops reporting."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import proc

from connector import config as config_module
from connector.config import DEFAULT_EXCLUDE, PARAMETERS, Config, parse
from connector.errors import ConfigError
from connector.kernel.dev import matching
from connector.parameter import Parameter
from connector.snapshot import Wanted

THING = {"AWS_IOT_THING_NAME": "a-thing"}
PATTERN = "^[0-9]*(?:3[0-9][0-9]|[4-9][0-9]{2}|[1-9][0-9]{3,})$"
DEFAULTS = Config(
    thing="a-thing",
    interval=300,
    spacing=300,
    short_names=False,
    report_format="json",
    topic="$aws/things/a-thing/defender/metrics/json",
    state_directory="",
    security_profiles=(),
    violations_topic="device-defender/a-thing/violations",
    log_level="INFO",
    wanted=Wanted(
        proc="/host_proc",
        max_list_size=50,
        exclude_interfaces=(
            "lo",
            "veth*",
            "docker*",
            "br-*",
            "virbr*",
            "cni*",
            "flannel*",
            "cali*",
            "tap*",
            "ifb*",
            "dummy*",
            "bond*",
            "team*",
            "vnet*",
            "lxcbr*",
            "lxdbr*",
            "podman*",
            "balena*",
            "supervisor*",
            "hassio",
        ),
        custom_metrics=(),
    ),
)


def changed(**fields: Any) -> Config:
    """The defaults with other fields; `wanted__proc` is `wanted.proc`."""
    inner = {name[8:]: value for name, value in fields.items() if name.startswith("wanted__")}
    outer = {name: value for name, value in fields.items() if not name.startswith("wanted__")}
    return DEFAULTS._replace(wanted=DEFAULTS.wanted._replace(**inner), **outer)


def test_empty_environment_gives_the_defaults() -> None:
    assert parse(THING) == (DEFAULTS, [])


def test_every_parameter_reaches_its_setting() -> None:
    environ = {
        **THING,
        "SampleIntervalSeconds": "0600",
        "ProcDestinationPath": "/proc",
        "ProcDestinationPath-ResourceId": "proc_volume-1",
        "MetricNames": "short",
        "ReportFormat": "cbor",
        "MaxListSize": "500",
        "CustomMetrics": "uptime_seconds, cpu_usage,uptime_seconds",
        "ExcludeInterfaces": "lo, wg[0-9],",
        "MetricsTopic": "test/{thing}/{format}/{thing}",
        "StateDirectory": "/var/lib/connector",
        "SecurityProfiles": "DenialOfService, /etc/profiles/mine.json",
        "ViolationsTopic": "alarms/{thing}",
        "LogLevel": "DEBUG",
    }
    assert parse(environ) == (
        Config(
            thing="a-thing",
            interval=600,
            spacing=300,
            short_names=True,
            report_format="cbor",
            topic="test/a-thing/cbor/a-thing",
            state_directory="/var/lib/connector",
            security_profiles=("DenialOfService", "/etc/profiles/mine.json"),
            violations_topic="alarms/a-thing",
            log_level="DEBUG",
            wanted=Wanted("/proc", 500, ("lo", "wg[0-9]"), ("uptime_seconds", "cpu_usage")),
        ),
        [],
    )


VALID: List[Tuple[str, str, Config]] = [
    ("SampleIntervalSeconds", "300", changed(interval=300)),
    ("SampleIntervalSeconds", "86400", changed(interval=86400)),
    ("SampleIntervalSeconds", "9" * 40, changed(interval=10**9)),
    ("ProcDestinationPath", "/host-proc_2", changed(wanted__proc="/host-proc_2")),
    ("MaxListSize", "1", changed(wanted__max_list_size=1)),
    ("MaxListSize", "050", changed(wanted__max_list_size=50)),
    ("CustomMetrics", "", DEFAULTS),
    ("CustomMetrics", " , ", DEFAULTS),
    ("ExcludeInterfaces", "", changed(wanted__exclude_interfaces=())),
    ("MetricsTopic", "{thing}", changed(topic="a-thing")),
    ("MetricsTopic", "metrics", changed(topic="metrics")),
    ("MetricsTopic", "\u00e9" * 128, changed(topic="\u00e9" * 128)),
    ("StateDirectory", "", DEFAULTS),
    ("StateDirectory", "/", changed(state_directory="/")),
    ("SecurityProfiles", "", DEFAULTS),
    ("SecurityProfiles", "A,/a b/c.json", changed(security_profiles=("A", "/a b/c.json"))),
    ("MetricsTopic", "$aws/rules/R/a/b/c/d/e/f/g", changed(topic="$aws/rules/R/a/b/c/d/e/f/g")),
    ("ViolationsTopic", "$aws/rules/R/{thing}", changed(violations_topic="$aws/rules/R/a-thing")),
    ("ViolationsTopic", "a/b/c/d/e/f/g/h", changed(violations_topic="a/b/c/d/e/f/g/h")),
    *[("LogLevel", level, changed(log_level=level)) for level in ("DEBUG", "INFO", "WARNING", "ERROR")],
]


@pytest.mark.parametrize(("name", "value", "expected"), VALID)
def test_valid_value_is_used(name: str, value: str, expected: Config) -> None:
    assert parse({**THING, name: value}) == (expected, [])


# The parameter -> what is not valid, what the warning says is valid, what it says is used.
INVALID: Dict[str, Tuple[List[str], str, str]] = {
    "SampleIntervalSeconds": (
        ["", "299", "0", "-300", "+300", "300.0", "3e3", " 300", "300\n", "0x300", "\u0663\u0660\u0660", "five"],
        "whole seconds, 300 or more",
        "300",
    ),
    "ProcDestinationPath": (
        ["", "host_proc", "/", "/host/proc", "/host_proc/", "/host.proc", "/host_proc\n", "/pr\u00f6c"],
        "a path of one level, of letters, digits, _ and -",
        "/host_proc",
    ),
    "ProcDestinationPath-ResourceId": (["proc volume", "a/b", "\u00e9"], "letters, digits, _ and -", ""),
    "MetricNames": (["", "Short", "long names", "long\n", "longshort"], "long or short", "long"),
    "ReportFormat": (["", "JSON", "xml", "json,cbor"], "json or cbor", "json"),
    "MaxListSize": (["", "0", "501", "-1", "5.0", "1000", "\u0665", " 5", "all"], "1 to 500", "50"),
    "CustomMetrics": (
        ["cpu", "cpu,memory", "cpu_usage memory_usage", "CPU_USAGE"],
        "names separated by commas, or empty: cpu_usage, memory_usage, process_count, load_average_1m, uptime_seconds",
        "",
    ),
    "ExcludeInterfaces": (
        ["lo eth0", "lo eth0,veth* docker*", "lo\teth0"],
        "shell patterns separated by commas, or empty",
        DEFAULT_EXCLUDE,
    ),
    "MetricsTopic": (
        ["", "a/+/b", "a/#", "a/{other}", "a/{thing", "a}b", "a\x00b", "a\nb", "a" * 257, "\u00e9" * 129]
        + ["/" * 7, "$aws/rules/r/a/b/c/d/e/f/g/h", "a/b/c/d/e/f/g/h"],
        "a topic of at most 256 bytes and 6 slashes without + and #; {thing} and {format} are filled in",
        "$aws/things/{thing}/defender/metrics/{format}",
    ),
    "StateDirectory": (["state", "./state", "~/state", "/a\x00b"], "an absolute path, or empty", ""),
    "SecurityProfiles": (
        ["./mine.json", "mine.json", "a b", "\u00e9", "/a\x00b"],
        "names of profiles that come with the connector and absolute paths of files, separated by commas, or empty",
        "",
    ),
    "ViolationsTopic": (
        ["", "a/+/b", "a/#", "a/{format}", "a/{thing", "a\nb", "a" * 257, "/" * 8, "$aws/rules/r/" + "/" * 8],
        "a topic of at most 256 bytes and 7 slashes without + and #; {thing} is filled in",
        "device-defender/{thing}/violations",
    ),
    "LogLevel": (["", "debug", "TRACE", "10", "INFO "], "one of DEBUG INFO WARNING ERROR", "INFO"),
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, case in INVALID.items() for value in case[0]])
def test_invalid_value_is_named_and_replaced_by_the_default(name: str, value: str) -> None:
    """One warning: the parameter, the value, what is valid and what is used instead. Nothing else changes."""
    _, valid, default = INVALID[name]
    parsed, (warning, *others) = parse({**THING, name: value})
    assert (parsed, others) == (DEFAULTS, [])
    assert warning.startswith(f"{name} is {value[:160]!r}, which is not valid ({valid}")
    assert warning.endswith(f"): {default!r} is used instead")


USED = "the other items are used"


@pytest.mark.parametrize(
    ("name", "value", "expected", "shown"),
    [
        ("CustomMetrics", "cpu_usage,cpu", changed(wanted__custom_metrics=("cpu_usage",)), "'cpu'"),
        ("CustomMetrics", "a, uptime_seconds ,b", changed(wanted__custom_metrics=("uptime_seconds",)), "'a', 'b'"),
        ("CustomMetrics", "cpu_usage,\x1b[2J", changed(wanted__custom_metrics=("cpu_usage",)), r"'\x1b[2J'"),
        ("ExcludeInterfaces", "lo,veth* docker*,br-*", changed(wanted__exclude_interfaces=("lo", "br-*")), "'veth* d"),
    ],
)
def test_invalid_item_of_a_list_is_named_and_the_other_items_used(
    name: str, value: str, expected: Config, shown: str
) -> None:
    parsed, (warning, *others) = parse({**THING, name: value})
    assert (parsed, others) == (expected, [])
    assert warning.startswith(f"{name} has {shown}")
    assert warning.endswith(f", not valid and left out ({INVALID[name][1]}): {USED}")


def test_thousands_of_invalid_items_are_one_warning_of_bounded_length() -> None:
    parsed, (warning,) = parse({**THING, "CustomMetrics": "cpu_usage," + "x" * 1000 + ",y" * 10_000})
    assert (parsed.wanted.custom_metrics, len(warning) < 400) == (("cpu_usage",), True)


def test_each_invalid_value_is_one_warning_and_of_bounded_length() -> None:
    environ = {**THING, **dict.fromkeys(INVALID, "\x1b[31m " * 100_000 + "x")}
    parsed, warnings = parse(environ)
    assert parsed == DEFAULTS
    assert [warning.split(" is ")[0] for warning in warnings] == [
        parameter.name for parameter in PARAMETERS if parameter.name in INVALID
    ]
    assert max(map(len, warnings)) < 1500
    assert all(warning.isprintable() for warning in warnings)


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.name)
def test_description_holds_for_the_function_the_component_and_the_direct_agent(parameter: Parameter) -> None:
    assert not re.search("function|zip", parameter.description + parameter.valid)


@pytest.mark.parametrize(("name", "alias"), [(entry.name, entry.alias) for entry in PARAMETERS if entry.alias])
def test_older_name_is_accepted_and_the_first_name_wins(name: str, alias: str) -> None:
    older = {"SAMPLE_INTERVAL_SECONDS": "900", "PROCFS_PATH": "/older"}[alias]
    newer = {"SAMPLE_INTERVAL_SECONDS": "600", "PROCFS_PATH": "/newer"}[alias]
    with_older = {
        "SAMPLE_INTERVAL_SECONDS": changed(interval=900),
        "PROCFS_PATH": changed(wanted__proc="/older"),
    }[alias]
    with_newer = {
        "SAMPLE_INTERVAL_SECONDS": changed(interval=600),
        "PROCFS_PATH": changed(wanted__proc="/newer"),
    }[alias]
    assert parse({**THING, alias: older}) == (with_older, [])
    assert parse({**THING, name: newer, alias: older}) == (with_newer, [])
    # An invalid value under the first name does not make the older one count; a warning has the name that was used.
    parsed, warnings = parse({**THING, name: "?", alias: older})
    assert (parsed, [warning.split(" is ")[0] for warning in warnings]) == (DEFAULTS, [name])
    parsed, warnings = parse({**THING, alias: "?"})
    assert (parsed, [warning.split(" is ")[0] for warning in warnings]) == (DEFAULTS, [alias])


def test_topic_too_long_once_filled_in_is_replaced_by_the_default() -> None:
    """AWS IoT limits the topic that is published to, not the parameter."""
    thing, text = "t" * 128, "{thing}/{thing}/{format}"
    settings, warnings = parse({"AWS_IOT_THING_NAME": thing, "MetricsTopic": text})
    assert settings.topic == "$aws/things/" + thing + "/defender/metrics/json"
    (warning,) = warnings
    assert warning.startswith(f"MetricsTopic is {text!r}, which is over 256 bytes long once filled in: ")
    assert warning.endswith("'$aws/things/{thing}/defender/metrics/{format}' is used instead")


def test_other_spellings_of_a_name_are_ignored() -> None:
    """Another spelling is another variable; an environment has many that are not the connector's."""
    others = {"sampleintervalseconds": "900", "MAX_LIST_SIZE": "5", "LOG_LEVEL": "DEBUG", "PATH": "/bin"}
    assert parse({**THING, **others}) == (DEFAULTS, [])


@settings(max_examples=300)
@given(
    st.one_of(
        st.from_regex(r"[0-9]{0,12}", fullmatch=True),
        st.from_regex(r"0*[0-9]{1,4}", fullmatch=True),
        st.from_regex("[0-9+-. \n\u0663]{0,6}", fullmatch=True),
        st.text(max_size=8),
    )
)
@example("299")
@example("300")
@example("0300")
@example("1000")
@example("300\n")
def test_interval_is_valid_exactly_where_the_public_pattern_matches(text: str) -> None:
    """What AWS' console accepts for SampleIntervalSeconds is accepted, and nothing else."""
    parsed, warnings = parse({**THING, "SampleIntervalSeconds": text})
    if re.fullmatch(PATTERN, text):
        assert (parsed, warnings) == (changed(interval=min(int(text), 10**9)), [])
    else:
        assert (parsed, len(warnings)) == (DEFAULTS, 1)


def test_interval_may_have_more_digits_than_python_converts() -> None:
    assert parse({**THING, "SampleIntervalSeconds": "9" * 10_000}) == (changed(interval=10**9), [])
    assert parse({**THING, "SampleIntervalSeconds": "0" * 10_000 + "600"}) == (changed(interval=600), [])


def test_lowered_minimum_allows_a_shorter_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """The local core and the benchmark lower this constant in code; no parameter can."""
    monkeypatch.setattr(config_module, "MIN_SAMPLE_INTERVAL", 5)
    assert parse({**THING, "SampleIntervalSeconds": "5"}) == (changed(interval=5, spacing=5), [])


@pytest.mark.parametrize("thing", ["a", "a" * 128, "Abc:09_-", "-"])
def test_every_thing_name_of_aws_iot_is_accepted(thing: str) -> None:
    parsed, warnings = parse({"AWS_IOT_THING_NAME": thing})
    assert (parsed.topic, warnings) == (f"$aws/things/{thing}/defender/metrics/json", [])


@pytest.mark.parametrize(
    ("environ", "shown"),
    [
        ({}, "is not set"),
        ({"AWS_IOT_THING_NAME": ""}, "is not set"),
        ({"AWS_IOT_THING_NAME": "a" * 129}, "is '{}'".format("a" * 129)),
        ({"AWS_IOT_THING_NAME": "a thing"}, "is 'a thing'"),
        ({"AWS_IOT_THING_NAME": "a/b"}, "is 'a/b'"),
        ({"AWS_IOT_THING_NAME": "a\n"}, r"is 'a\\n'"),
        ({"AWS_IOT_THING_NAME": "\u00e9"}, "is '\u00e9'"),
    ],
)
def test_missing_or_invalid_thing_name_is_an_error_that_says_who_sets_it(environ: Dict[str, str], shown: str) -> None:
    with pytest.raises(ConfigError, match=f"^AWS_IOT_THING_NAME {shown}: the Greengrass core sets it to"):
        parse(environ)


@pytest.mark.parametrize("text", ["lo,[z-a]*", "[", "lo,[]", "lo,[!", "(?P<x>", "\\", "*" * 60])
def test_no_pattern_stops_reporting(tmp_path: Path, text: str) -> None:
    """An item that some Python can't compile as a pattern costs that item; the others work in every Python."""
    parsed, warnings = parse({**THING, "ExcludeInterfaces": text})
    patterns = tuple(parsed.wanted.exclude_interfaces)
    assert not matching(patterns)("eth0") or text.startswith("*")
    assert proc.look(proc.tree(tmp_path), exclude=patterns).counters is not None
    assert patterns == (tuple(text.split(",")) if not warnings else ("lo",))
