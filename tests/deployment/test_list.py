"""deploy.py list: every target that has the connector, with version and settings that differ from the defaults."""

from __future__ import annotations

import json
from typing import Any

import v1_group
from v2_target import ROUTER, apply

GROUP_TARGET = "--thing-group=fleet"


def test_list_shows_every_target_with_version_and_settings(core: Any, make_zip: Any, capsys: Any) -> None:
    core.thing("gw-2")
    apply(core, "--zip", make_zip())
    apply(core, "--zip", make_zip(), "--isolation", "NoContainer", "--LogLevel", "DEBUG", target=GROUP_TARGET)
    others = {ROUTER: {"componentVersion": "2.1.9"}}
    core.aws.client("greengrassv2").create_deployment(
        targetArn="arn:aws:iot:eu-west-1:123456789012:thing/gw-2", components=others
    )
    capsys.readouterr()
    assert core.deploy("v2", "list") == 0
    assert capsys.readouterr().out.splitlines() == [
        "thing gw-1: 1.0.0, ACTIVE; all at their default",
        "thing group fleet: 1.0.1, ACTIVE; LogLevel=DEBUG, isolation=NoContainer",
        "2 targets have component device-defender-connector, in 2 versions.",
    ]
    assert core.deploy("v2", "list", "--json") == 0
    assert json.loads(capsys.readouterr().out)[1] == {
        "target": "thing group fleet",
        "version": "1.0.1",
        "state": "ACTIVE",
        "settings": {"LogLevel": "DEBUG", "isolation": "NoContainer"},
    }


def test_list_shows_a_thing_whose_name_has_a_colon(core: Any, make_zip: Any, capsys: Any) -> None:
    core.thing("site:gw")
    apply(core, "--zip", make_zip(), target="--thing=site:gw")
    capsys.readouterr()
    assert core.deploy("v2", "list") == 0
    assert capsys.readouterr().out.startswith("thing site:gw: 1.0.0, ACTIVE; ")


def test_list_without_the_connector_says_so(core: Any, capsys: Any) -> None:
    assert core.deploy("v2", "list") == 0
    assert capsys.readouterr().out == "No target has component device-defender-connector.\n"


def test_v1_list_shows_groups(account: Any, make_zip: Any, full_group: Any, capsys: Any) -> None:
    account.client("greengrass").create_group(Name="empty")
    v1_group.apply(account, "--zip", make_zip("38"), "--memory", "64")
    capsys.readouterr()
    assert account.deploy("v1", "list") == 0
    assert capsys.readouterr().out.splitlines() == [
        "group gateways: version 1, succeeded; memory=64 MB",
        "1 target has function device-defender-connector, in 1 version.",
    ]
