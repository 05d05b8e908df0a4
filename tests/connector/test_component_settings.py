"""The native component's settings: from its configuration, else the environment, else defaults; and its work folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector import component_settings, config
from connector.component_settings import PAYLOAD, default_directory, read


def nested(depth: int) -> Any:
    """Lists within lists, as many as a decoder of JSON takes."""
    value: Any = ["x"]
    for _ in range(depth):
        value = [value]
    return value


def values(configuration: Dict[str, Any], **environ: str) -> Dict[str, str]:
    settings, warnings = read(configuration, {"AWS_IOT_THING_NAME": "gateway-7", **environ}, "/gg/connector")
    assert warnings == []
    return dict(settings.parameters)


def test_without_a_configuration_defaults_are_those_of_a_component() -> None:
    assert values({}) == {
        "AWS_IOT_THING_NAME": "gateway-7",
        "ProcDestinationPath": "/proc",
        "StateDirectory": "/gg/connector",
    }
    assert read({}, {}, "")[0].max_payload_bytes == 7_000


def test_the_configuration_comes_before_the_environment() -> None:
    found = values({"MetricNames": "short"}, MetricNames="long", MaxListSize="20", StateDirectory="")
    assert found["MetricNames"] == "short"
    assert found["MaxListSize"] == "20"
    assert found["StateDirectory"] == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("600", "600"),
        (600, "600"),
        (600.0, "600"),
        (["cpu_usage", "memory_usage"], "cpu_usage,memory_usage"),
        ([], ""),
    ],
)
def test_values_of_json_are_read_as_an_environment_variable_would_have_them(value: Any, text: str) -> None:
    assert values({"CustomMetrics": value})["CustomMetrics"] == text


def test_an_alias_counts_where_the_name_itself_is_not_set() -> None:
    assert values({"SAMPLE_INTERVAL_SECONDS": 900})["SampleIntervalSeconds"] == "900"
    both = {"SAMPLE_INTERVAL_SECONDS": 900, "SampleIntervalSeconds": 600}
    assert values(both)["SampleIntervalSeconds"] == "600"


@pytest.mark.parametrize(
    "value", [None, True, {"a": 1}, 1.5, float("nan"), "\ud800", ["a", None], [["x"], {}], [["x"]], nested(900)]
)
def test_a_value_of_another_kind_is_named_and_ignored(value: Any) -> None:
    settings, warnings = read({"MetricNames": value}, {"MetricNames": "short"}, "")
    assert settings.parameters["MetricNames"] == "short"
    assert warnings == ["MetricNames is neither text nor a number nor a list of those: it is ignored"]


def test_what_is_no_parameter_is_named_but_for_the_nucleus_own_keys() -> None:
    _, warnings = read({"accessControl": {}, "MetricName": "short"}, {}, "")
    assert warnings == ["the configuration has 'MetricName', which is no parameter: it is ignored"]


def test_of_many_names_that_are_no_parameters_a_few_are_named() -> None:
    _, warnings = read({f"name-{number:04}": 1 for number in range(2_000)}, {}, "")
    assert len(warnings) == 6
    assert warnings[0] == "the configuration has 'name-0000', which is no parameter: it is ignored"
    assert warnings[-1] == "the configuration has 1995 more names of no parameter"


@pytest.mark.parametrize(
    ("name", "text", "default"),
    [("ProcDestinationPath", "/host/proc", "/proc"), ("StateDirectory", "state", "/gg/connector")],
)
def test_an_invalid_path_is_named_and_the_default_of_a_component_used(name: str, text: str, default: str) -> None:
    environ = {"AWS_IOT_THING_NAME": "gateway-7"}
    for configuration, variables in (({name: text}, environ), ({}, {**environ, name: text})):
        settings, (warning,) = read(configuration, variables, "/gg/connector")
        assert settings.parameters[name] == default
        assert warning.startswith(f"{name} is {text!r}, which is not valid (")
        assert warning.endswith(f": {default!r} is used instead")
        assert config.parse(settings.parameters)[1] == []


@pytest.mark.parametrize("text", ["2047", "131073", "", "-1", "7k"])
def test_a_wrong_message_size_is_named_and_the_small_default_used(text: str) -> None:
    settings, (warning,) = read({"MaxPayloadBytes": text}, {}, "")
    assert settings.max_payload_bytes == 7_000
    assert warning.startswith(f"MaxPayloadBytes is {text!r}, which is not valid (2048 to 131072)")


@given(st.integers(0, 200_000))
def test_the_pattern_of_the_message_size_is_what_is_read(number: int) -> None:
    _, warning = PAYLOAD.read(str(number))
    assert PAYLOAD.allows(str(number)) == (not warning)


def test_topics_with_wildcards_are_refused() -> None:
    """A nucleus that publishes to one loses its connection to AWS IoT, for all components."""
    for topic in ("factory/+/metrics", "factory/#", "+", "$aws/things/{thing}/+"):
        settings, _ = read({"MetricsTopic": topic, "ViolationsTopic": topic}, {"AWS_IOT_THING_NAME": "gateway-7"}, "")
        parsed, warnings = config.parse(settings.parameters)
        assert not set("+#") & set(parsed.topic + parsed.violations_topic)
        assert [warning.partition(" is ")[0] for warning in warnings] == ["MetricsTopic", "ViolationsTopic"]
        assert all("without + and #" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("topic", "bytes_left"),
    [("a" * 256, 7_000), ("\u00e9" * 128, 6_616), ('"' * 256, 6_808), ("{thing}" + '"' * 249, 6_811)],
)
@pytest.mark.parametrize("name", ["MetricsTopic", "ViolationsTopic"])
def test_a_topic_that_json_has_to_escape_leaves_less_for_the_message(name: str, topic: str, bytes_left: int) -> None:
    settings, _ = read({name: topic}, {"AWS_IOT_THING_NAME": "gateway"}, "")
    assert settings.max_payload_bytes == bytes_left


def test_state_is_kept_in_the_work_folder_that_a_nucleus_starts_the_component_in(tmp_path: Path) -> None:
    package = tmp_path / "artifact"
    package.mkdir()
    assert default_directory(str(tmp_path), str(package)) == str(tmp_path)
    assert default_directory(str(package), str(package)) == ""
    assert default_directory("/", str(package)) == ""


def test_a_work_folder_that_can_not_be_written_is_named_in_the_log_as_any_state_directory(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    assert default_directory(missing, str(tmp_path)) == missing


def test_every_parameter_of_the_lambda_function_is_one_of_the_component() -> None:
    names: List[str] = [parameter.name for parameter in config.PARAMETERS]
    _, warnings = read(dict.fromkeys(names, "/x"), {}, "")
    assert warnings == []
    assert component_settings.PAYLOAD.name not in names
