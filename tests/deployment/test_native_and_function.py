"""deploy.py v2: a core runs the Lambda function or the native component, never both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from v2_target import GROUP, NAME, ROUTER, THEIRS, THING, deploy_existing, last, our_subscriptions, router

NATIVE = f"{NAME}-native"


def native(core: Any, zip_: str, *flags: str, target: str = "--thing=gw-1") -> int:
    where = ["--native", target, "--zip", zip_, "--bucket", "artifacts"]
    code: int = core.deploy("v2", "apply", *where, "--yes", *flags)
    return code


def function(core: Any, zip_: str, *flags: str, target: str = "--thing=gw-1") -> int:
    code: int = core.deploy("v2", "apply", target, "--zip", zip_, "--yes", *flags)
    return code


@pytest.mark.usefixtures("bucket")
def test_native_component_replaces_the_function_and_keeps_its_settings(
    core: Any, make_zip: Any, native_zip: str, capsys: Any
) -> None:
    assert function(core, make_zip(), "--MaxListSize", "9", "--ReportFormat", "cbor") == 0
    capsys.readouterr()
    where = ["--native", "--thing", "gw-1", "--zip", native_zip, "--bucket", "artifacts"]
    assert core.deploy("v2", "plan", *where) == 0
    plan = capsys.readouterr().out
    assert f"{NATIVE} replaces {NAME}, in the same deployment and with its settings" in plan
    assert "kept         MaxListSize=9" in plan
    assert "isolation" not in plan.partition("Settings, beside")[2]

    assert native(core, native_zip) == 0
    assert last(core)["components"].keys() == {NATIVE}
    assert "tags" not in last(core)  # the router came with the function, and went with it
    on_the_core = core.greengrass_v2.configuration[THING][NATIVE]
    assert (on_the_core["MaxListSize"], on_the_core["ReportFormat"]) == ("9", "cbor")
    assert on_the_core["ProcDestinationPath"] == "/proc"

    assert native(core, native_zip) == 0
    assert core.calls.writes == []


@pytest.mark.usefixtures("bucket")
def test_router_of_others_loses_only_the_functions_subscriptions(core: Any, make_zip: Any, native_zip: str) -> None:
    deploy_existing(core)
    function(core, make_zip())
    assert native(core, native_zip) == 0
    update = last(core)["components"][ROUTER]["configurationUpdate"]
    assert json.loads(update["merge"]) == {"subscriptions": THEIRS}
    assert set(update["reset"]) == {"/subscriptions/old", *(f"/subscriptions/{id_}" for id_ in our_subscriptions())}
    assert last(core)["components"].keys() == {"com.example.Hello", ROUTER, NATIVE}


@pytest.mark.usefixtures("bucket")
def test_function_replaces_the_native_component_and_keeps_its_settings(
    core: Any, make_zip: Any, native_zip: str, capsys: Any
) -> None:
    native(core, native_zip, "--MaxListSize", "9")
    assert function(core, make_zip()) == 0
    assert last(core)["components"].keys() == {NAME, ROUTER}
    assert last(core)["components"][ROUTER] == router(our_subscriptions())
    made = core.greengrass_v2.configuration[THING][NAME]["lambdaExecutionParameters"]["EnvironmentVariables"]
    assert made["MaxListSize"] == "9"
    assert f"{NAME} replaces {NATIVE}" in capsys.readouterr().out


@pytest.mark.usefixtures("bucket")
def test_function_that_comes_by_a_groups_deployment_is_an_error(
    core: Any, make_zip: Any, native_zip: str, capsys: Any
) -> None:
    function(core, make_zip(), target="--thing-group=fleet")
    assert native(core, native_zip) == 1
    assert f"thing gw-1 gets {NAME} by the deployment for thing group fleet" in capsys.readouterr().err
    assert core.calls.writes == []
    assert core.greengrass_v2.deployments[-1]["targetArn"] == GROUP

    assert core.deploy("v2", "remove", "--thing-group=fleet", "--yes") == 0
    assert native(core, native_zip) == 0


@pytest.mark.usefixtures("bucket")
def test_status_of_the_one_names_the_other(core: Any, make_zip: Any, native_zip: str, capsys: Any) -> None:
    native(core, native_zip)
    capsys.readouterr()
    assert core.deploy("v2", "status", "--thing=gw-1") == 1
    assert f"{NAME} is not in the deployment for thing gw-1. It has {NATIVE}: pass --native." in capsys.readouterr().out
    function(core, make_zip())
    capsys.readouterr()
    assert core.deploy("v2", "status", "--native", "--thing=gw-1") == 1
    assert f"It has {NAME}: leave --native out." in capsys.readouterr().out


@pytest.mark.usefixtures("bucket")
def test_profiles_of_the_functions_zip_come_along(core: Any, make_zip: Any, native_zip: str, tmp_path: Path) -> None:
    limit = {"comparisonOperator": "less-than", "value": {"count": 9}, "consecutiveDatapointsToAlarm": 1}
    behavior = {"name": "Few", "metric": "aws:num-listening-tcp-ports", "criteria": limit}
    profile = tmp_path / "Mine.json"
    profile.write_text(json.dumps({"securityProfileName": "Mine", "behaviors": [behavior]}))
    function(core, make_zip(), "--security-profiles", str(profile))
    assert native(core, native_zip) == 0
    on_the_core = core.greengrass_v2.configuration[THING][NATIVE]
    assert on_the_core["SecurityProfiles"] == "Mine"
    (publish, _) = on_the_core["accessControl"]["aws.greengrass.ipc.mqttproxy"].values()
    assert publish["resources"][1] == "device-defender/gw-1/violations"


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--bucket", "b", "--isolation", "NoContainer"], "--isolation is of the Lambda function; with --native"),
        (["--bucket", "b", "--memory", "32"], "--memory is of the Lambda function"),
        (["--bucket", "b", "--role", "arn"], "--role is of the Lambda function"),
        ([], "--native needs --bucket: the cores fetch the zip from that S3 bucket"),
        (["--bucket", "b", "--max-payload-bytes", "10"], "'10' is not 2048 to 131072"),
        (["--bucket", "none"], "--bucket none: there is no such bucket"),
    ],
)
def test_flags_that_do_not_go_with_native_are_refused(
    core: Any, native_zip: str, capsys: Any, flags: list[str], reason: str
) -> None:
    assert core.deploy("v2", "apply", "--native", "--thing", "gw-1", "--zip", native_zip, "--yes", *flags) == 2
    assert reason in capsys.readouterr().err
    assert core.calls.writes == []


def test_zip_of_the_other_kind_is_refused(core: Any, make_zip: Any, native_zip: str, capsys: Any) -> None:
    assert native(core, make_zip()) == 2
    assert "is for the Lambda function; ./build_zip.sh --native makes the component's" in capsys.readouterr().err
    assert function(core, native_zip) == 2
    assert "is for the native component: pass --native" in capsys.readouterr().err
    assert function(core, make_zip(), "--max-payload-bytes", "9000") == 2
    assert "--max-payload-bytes is of the native component" in capsys.readouterr().err


def test_dry_run_shows_recipe_and_configuration_without_an_account(core: Any, native_zip: str, capsys: Any) -> None:
    flags = ["--thing", "gw-1", "--zip", native_zip, "--MaxListSize", "9"]
    assert core.deploy("v2", "plan", "--native", "--dry-run", *flags) == 0
    assert core.calls.all == []
    shown = capsys.readouterr().out
    assert "+ create component\n" in shown
    assert "python3.12 -u -m connector component" in shown
    assert "Uri: s3://your-bucket/device-defender-connector/" in shown
    assert "+ create configuration in the deployment\n    + MaxListSize: '9'\n    + accessControl:\n" in shown
    assert "- $aws/things/gw-1/defender/metrics/json/+\n" in shown


@pytest.mark.usefixtures("bucket")
def test_settings_file_names_the_kind(core: Any, native_zip: str, tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "connector.toml"
    file.write_text(
        f'native = true\nthing = "gw-1"\nzip = "{native_zip}"\nbucket = "artifacts"\nmax-payload-bytes = 9000\n'
        "[parameters]\nMaxListSize = 9\n"
    )
    assert core.deploy("v2", "apply", "--config", str(file), "--yes") == 0
    update = json.loads(last(core)["components"][NATIVE]["configurationUpdate"]["merge"])
    assert (update["MaxListSize"], update["MaxPayloadBytes"]) == ("9", "9000")
    assert core.deploy("v2", "status", "--config", str(file)) == 0
    file.write_text('native = "yes"\n')
    assert core.deploy("v2", "status", "--config", str(file)) == 2
    assert "native must be true or false" in capsys.readouterr().err
