"""Whose topics the native component may use: its own core's, where the core can tell which these are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from native_target import MQTT, NAME, apply, merged
from v2_target import last

GROUP = "--thing-group=fleet"
NUCLEUS = "aws.greengrass.Nucleus"
TOPIC = "$aws/things/{}/defender/metrics/json"
OWN, EVERY = TOPIC.format("{iot:thingName}"), TOPIC.format("+")


@pytest.fixture
def group(fleet: Any) -> Any:
    fleet.greengrass_v2.in_group = ["gw-1"]
    return fleet


def on_the_core(core: Any) -> list[list[str]]:
    configuration = core.greengrass_v2.configuration[last(core)["targetArn"]][NAME]
    return [policy["resources"] for policy in configuration["accessControl"][MQTT].values()]


def test_a_thing_is_named_as_the_java_nucleus_fills_in_nothing(fleet: Any, native_zip: str) -> None:
    assert apply(fleet, native_zip) == 0
    assert on_the_core(fleet) == [[TOPIC.format("gw-1")], [TOPIC.format("gw-1") + "/+"]]


@pytest.mark.parametrize(
    ("cores", "runtime", "resource"),
    [
        (["gw-1"], "aws_nucleus_lite", OWN),
        (["gw-1"], "aws_nucleus_classic", EVERY),
        ([], "", EVERY),  # which cores will come is not known
    ],
)
def test_cores_of_a_group_fill_in_their_own_where_all_can(
    group: Any, native_zip: str, capsys: Any, cores: list[str], runtime: str, resource: str
) -> None:
    group.greengrass_v2.cores["gw-1"]["runtime"] = runtime
    group.greengrass_v2.in_group = cores
    assert apply(group, native_zip, target=GROUP) == 0
    assert on_the_core(group) == [[resource], [f"{resource}/+"]]
    assert ("may publish on the topics of every thing" in capsys.readouterr().out) == (resource == EVERY)
    assert apply(group, native_zip, target=GROUP) == 0
    assert group.calls.writes == []


def test_group_whose_nucleus_fills_it_in_is_allowed_its_own(group: Any, native_zip: str, capsys: Any) -> None:
    assert apply(group, native_zip, target=GROUP) == 0
    current = last(group)
    update = {"merge": json.dumps({"interpolateComponentConfiguration": True})}
    current["components"][NUCLEUS] = {"componentVersion": "2.12.0", "configurationUpdate": update}
    group.aws.client("greengrassv2").create_deployment(**current)
    capsys.readouterr()
    assert apply(group, native_zip, target=GROUP) == 0
    assert on_the_core(group) == [[OWN], [f"{OWN}/+"]]
    assert "every thing" not in capsys.readouterr().out


def test_topic_that_has_the_name_within_a_level_is_allowed_for_any_level(group: Any, native_zip: str) -> None:
    flags = ["--MetricsTopic", "site/core-{thing}/{format}"]
    assert apply(group, native_zip, *flags, target=GROUP) == 0
    publish, subscribe = merged(group)["accessControl"][MQTT].values()
    assert publish["resources"] == ["site/+/json"]
    assert subscribe["resources"] == ["site/+/json/+"]
