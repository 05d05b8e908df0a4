"""deploy.py v2 status --native: cores that have the component, on which it fails."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_calls import refusal
from native_target import NAME, apply, run

GROUP = "--thing-group=fleet"
OTHER = {"componentName": "com.example.Other", "componentVersion": "1.0.0", "lifecycleState": "BROKEN"}


def installed(state: str, **more: str) -> dict[str, str]:
    return {"componentName": NAME, "componentVersion": "1.0.0", "lifecycleState": state, **more}


@pytest.fixture
def cores(fleet: Any, native_zip: str) -> Any:
    """Three cores of a group that have the component; the second and third are unhealthy."""
    cloud = fleet.greengrass_v2
    things = ["gw-1", "gw-2", "gw-3"]
    for thing in things:
        if thing != "gw-1":
            fleet.thing(thing)
        cloud.cores[thing] = {"architecture": "amd64", "runtime": "aws_nucleus_lite", "status": "UNHEALTHY"}
        cloud.executions[thing] = "SUCCEEDED"
    cloud.cores["gw-1"]["status"] = "HEALTHY"
    cloud.in_group = things
    cloud.next_job = [{"numberOfSucceededThings": 3}]
    assert apply(fleet, native_zip, target=GROUP) == 0
    return fleet


def test_component_that_is_broken_on_some_cores_is_a_failure(cores: Any, capsys: Any) -> None:
    details = "An error occurred while running the component, exit code 2."
    cores.greengrass_v2.installed = {
        "gw-2": [OTHER, installed("BROKEN", lifecycleStateDetails=details)],
        "gw-3": [OTHER, installed("RUNNING")],
    }
    capsys.readouterr()
    assert run(cores, "status", target=GROUP) == 1
    shown = capsys.readouterr().out
    assert [line.split(":")[0].strip() for line in shown.splitlines() if line.startswith("  gw-")] == [
        "gw-2",
        "gw-3",
        "gw-1",
    ]
    assert f"; the connector is BROKEN: {details}; on the core: " in shown
    assert "unhealthy: a component is in an error state" in next(
        line for line in shown.splitlines() if line.strip().startswith("gw-3")
    )
    assert shown.rstrip().endswith("Every core has it, but it fails on gw-2.")
    assert cores.calls.writes == []

    assert run(cores, "status", "--json", target=GROUP) == 1
    states = {core["thing"]: core["component"] for core in json.loads(capsys.readouterr().out)["cores"]}
    assert states == {"gw-1": None, "gw-2": f"BROKEN: {details}", "gw-3": None}


def test_cores_where_another_component_fails_have_it(cores: Any, capsys: Any) -> None:
    cores.greengrass_v2.installed = {"gw-2": [OTHER, installed("RUNNING")], "gw-3": [OTHER]}
    capsys.readouterr()
    assert run(cores, "status", target=GROUP) == 0
    assert capsys.readouterr().out.rstrip().endswith("Every core has it: 3 succeeded.")


def test_who_may_not_ask_for_it_sees_that_a_core_is_unhealthy(cores: Any, capsys: Any) -> None:
    cores.calls.stubs["greengrassv2:ListInstalledComponents"] = lambda model, _: refusal(
        model, "AccessDeniedException", "not authorized", 403
    )
    capsys.readouterr()
    assert run(cores, "status", target=GROUP) == 0
    assert capsys.readouterr().out.count("unhealthy: a component is in an error state") == 2


def test_healthy_cores_are_not_asked(cores: Any) -> None:
    cores.greengrass_v2.installed = {"gw-1": [installed("RUNNING")]}
    run(cores, "status", target=GROUP)
    asked = [
        request["coreDeviceThingName"] for name, request in cores.calls.all if name.endswith("ListInstalledComponents")
    ]
    assert asked == ["gw-2", "gw-3"]
