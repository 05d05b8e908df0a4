"""deploy.py v1 against moto: Greengrass V1, Lambda, IAM, S3 and IoT."""

from __future__ import annotations

from typing import Any

import pytest
from fake_aws import ACCOUNT, LAMBDA, REGION, answer, refusal
from v1_group import (
    DEFAULTS,
    OTHER,
    OUR_RESOURCE,
    PARAMETERS,
    THEIR_FUNCTIONS,
    THEIR_RESOURCES,
    THEIR_SUBSCRIPTIONS,
    apply,
    content,
    our_function,
    our_subscriptions,
    volume,
)


def test_new_group_is_made_once_and_emptied_by_remove(account: Any, make_zip: Any, capsys: Any) -> None:
    certificate = account.thing("gw-1")
    account.client("s3").create_bucket(Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": REGION})
    flags = ["--zip", make_zip("38"), "--new-core", "gw-1", "--bucket", "artifacts", "--iot-policy", "report"]

    assert apply(account, *flags) == 0
    assert content(account) == {
        "Cores": [
            {
                "Id": "gw-1",
                "ThingArn": f"arn:aws:iot:{REGION}:{ACCOUNT}:thing/gw-1",
                "CertificateArn": certificate,
                "SyncShadow": False,
            }
        ],
        "Functions": [our_function()],
        "Resources": [OUR_RESOURCE],
        "Subscriptions": our_subscriptions(),
    }
    function = account.client("lambda").get_function_configuration(FunctionName=f"{LAMBDA}:1")
    assert (function["Runtime"], function["Handler"]) == ("python3.13", "connector.handler.function_handler")
    assert function["Role"] == f"arn:aws:iam::{ACCOUNT}:role/device-defender-connector-role"
    policies = account.client("iam").list_attached_role_policies(RoleName="device-defender-connector-role")
    assert policies["AttachedPolicies"] == []
    key = "device-defender-connector/device-defender-connector-1.0.0-py38-any.zip"
    assert [o["Key"] for o in account.client("s3").list_objects_v2(Bucket="artifacts")["Contents"]] == [key]
    attached = account.client("iot").list_attached_policies(target=certificate)["policies"]
    assert [policy["policyName"] for policy in attached] == ["report"]
    assert account.calls.writes[-1] == "greengrass:CreateDeployment"
    assert "  InProgress\n  Success\n" in capsys.readouterr().out

    assert apply(account, *flags) == 0
    assert account.calls.writes == []
    assert capsys.readouterr().out.startswith("Nothing to change.\n")

    assert account.deploy("v1", "status", "--group", "gateways") == 0
    assert account.deploy("v1", "remove", "--group", "gateways", "--iot-policy", "report", "--yes") == 0
    assert "group gateways with its core" in capsys.readouterr().out.partition("This stays in the account")[2]
    assert list(content(account)) == ["Cores"]
    assert account.client("iot").list_policies()["policies"] == []
    assert account.deploy("v1", "status", "--group", "gateways") == 1
    assert account.deploy("v1", "remove", "--group", "gateways", "--yes") == 0
    assert account.calls.writes == []


def test_entries_of_others_stay_through_apply_and_remove(account: Any, make_zip: Any, full_group: Any) -> None:
    assert apply(account, "--zip", make_zip("38")) == 0
    assert content(account) == {
        **full_group,
        "Functions": [*THEIR_FUNCTIONS, our_function()],
        "Resources": [*THEIR_RESOURCES, OUR_RESOURCE],
        "Subscriptions": [*THEIR_SUBSCRIPTIONS, *our_subscriptions()],
    }

    assert account.deploy("v1", "remove", "--group", "gateways", "--yes") == 0
    assert content(account) == full_group


def test_new_zip_replaces_function_in_its_place(account: Any, make_zip: Any, full_group: Any, capsys: Any) -> None:
    apply(account, "--zip", make_zip("38"))
    capsys.readouterr()

    assert apply(account, "--zip", make_zip("38", version="1.1.0", code="# new\n")) == 0
    assert content(account)["Functions"] == [*THEIR_FUNCTIONS, our_function(version=2)]
    assert content(account)["Subscriptions"] == [*THEIR_SUBSCRIPTIONS, *our_subscriptions(version=2)]
    # The resources did not change, so their definition got no new version.
    assert [call for call in account.calls.writes if "Definition" in call] == [
        "greengrass:CreateFunctionDefinitionVersion",
        "greengrass:CreateSubscriptionDefinitionVersion",
    ]


def test_plan_shows_difference_and_writes_nothing(account: Any, make_zip: Any, full_group: Any, capsys: Any) -> None:
    apply(account, "--zip", make_zip("38"))
    capsys.readouterr()

    plan = ["v1", "plan", "--group", "gateways", "--zip", make_zip("38")]
    assert account.deploy(*plan, "--SampleIntervalSeconds", "600", "--CustomMetrics", "cpu_usage") == 0
    assert account.calls.writes == []
    marked = ("~", "+", "    + ", "    - ")
    changes = [line.strip() for line in capsys.readouterr().out.splitlines() if line.startswith(marked)]
    version = account.client("greengrass").list_groups()["Groups"][0]["LatestVersion"]
    assert changes == [
        "~ change functions of group gateways",
        "+         CustomMetrics: cpu_usage",
        "-         SampleIntervalSeconds: '300'",
        "+         SampleIntervalSeconds: '600'",
        "~ change deployment of group gateways to its core",
        f"- GroupVersion: {version}",
        "+ GroupVersion: (new version)",
    ]


def test_function_without_container_has_no_volume_and_no_limit(account: Any, make_zip: Any, full_group: Any) -> None:
    apply(account, "--zip", make_zip("38"))

    assert apply(account, "--zip", make_zip("38"), "--isolation", "NoContainer") == 0
    configuration = content(account)["Functions"][1]["FunctionConfiguration"]
    assert configuration == {
        "EncodingType": "binary",
        "Environment": {
            "Execution": {"IsolationMode": "NoContainer"},
            "Variables": {**PARAMETERS, "ProcDestinationPath": "/proc"},
        },
        "Pinned": True,
        "Timeout": 30,
        "FunctionRuntimeOverride": "python3.8",
    }
    assert content(account)["Resources"] == THEIR_RESOURCES


def test_cbor_state_directory_and_memory_reach_the_group(account: Any, make_zip: Any, full_group: Any) -> None:
    state = ["--StateDirectory", "/var/lib/connector", "--ReportFormat", "cbor", "--memory", "16"]
    assert apply(account, "--zip", make_zip("37"), *state) == 0
    held = content(account)
    configuration = held["Functions"][1]["FunctionConfiguration"]
    assert (configuration["EncodingType"], configuration["MemorySize"]) == ("binary", 16384)
    assert configuration["FunctionRuntimeOverride"] == "python3.7"
    assert configuration["Environment"]["ResourceAccessPolicies"] == [
        {"ResourceId": "device-defender-proc", "Permission": "ro"},
        {"ResourceId": "device-defender-state", "Permission": "rw"},
    ]
    assert held["Resources"][2] == {
        "Id": "device-defender-state",
        "Name": "device-defender-connector-state",
        "ResourceDataContainer": volume("/var/lib/connector", "/var/lib/connector"),
    }
    assert held["Subscriptions"] == [*THEIR_SUBSCRIPTIONS, *our_subscriptions(encoding="cbor")]


def test_new_core_of_existing_group_is_refused(account: Any, make_zip: Any, full_group: Any, capsys: Any) -> None:
    account.thing("gw-2")
    assert apply(account, "--zip", make_zip("38"), "--new-core", "gw-2") == 2
    assert "--new-core gw-2: group gateways exists, with core gw-1" in capsys.readouterr().err
    assert account.calls.writes == []


def test_definition_of_two_pages_is_read_in_whole(account: Any, make_zip: Any, full_group: Any) -> None:
    late = {"Id": "late", "FunctionArn": OTHER.replace("Thermostat", "Late")}
    pages: dict[Any, dict[str, Any]] = {
        None: {"Definition": {"DefaultConfig": DEFAULTS, "Functions": THEIR_FUNCTIONS}, "NextToken": "2"},
        "2": {"Definition": {"Functions": [late]}},
    }
    account.calls.stubs["greengrass:GetFunctionDefinitionVersion"] = lambda model, params: answer(
        model, pages[params.get("NextToken")]
    )
    assert apply(account, "--zip", make_zip("38"), "--no-wait") == 0
    made = account.calls.params("greengrass:CreateFunctionDefinitionVersion")
    assert made["Functions"] == [*THEIR_FUNCTIONS, late, our_function()]
    assert made["DefaultConfig"] == DEFAULTS


def test_failed_deployment_shows_reason_and_is_repeated(
    account: Any, make_zip: Any, full_group: Any, capsys: Any
) -> None:
    failure = {"DeploymentStatus": "Failure", "ErrorMessage": "The core is in an unknown state."}
    account.calls.stubs["greengrass:GetDeploymentStatus"] = lambda model, _: answer(model, failure)
    assert apply(account, "--zip", make_zip("38")) == 1
    assert "Failure: The core is in an unknown state." in capsys.readouterr().err
    assert account.deploy("v1", "status", "--group", "gateways") == 1

    account.calls.stubs.clear()
    account.v1_result = "Failure"
    account.aws.sleep(0)
    account.v1_result = "Success"
    assert apply(account, "--zip", make_zip("38")) == 0
    assert account.calls.writes == ["greengrass:CreateDeployment"]


@pytest.mark.parametrize("call", ["CreateGroupVersion", "CreateDeployment"])
def test_interrupted_removal_is_finished_by_the_next(account: Any, make_zip: Any, full_group: Any, call: str) -> None:
    apply(account, "--zip", make_zip("38"))
    later = lambda model, _: refusal(model, "InternalServerErrorException", "later", 500)  # noqa: E731
    account.calls.stubs[f"greengrass:{call}"] = later
    assert account.deploy("v1", "remove", "--group", "gateways", "--yes") == 1

    account.calls.stubs.clear()
    assert account.deploy("v1", "remove", "--group", "gateways", "--yes") == 0
    assert account.calls.writes[-1] == "greengrass:CreateDeployment"
    assert content(account) == full_group
    assert account.deploy("v1", "remove", "--group", "gateways", "--yes") == 0
    assert account.calls.writes == []


def test_failed_removal_is_repeated(account: Any, make_zip: Any, full_group: Any) -> None:
    apply(account, "--zip", make_zip("38"))
    account.v1_result = "Failure"
    assert account.deploy("v1", "remove", "--group", "gateways", "--yes") == 1
    account.v1_result = "Success"
    assert account.deploy("v1", "remove", "--group", "gateways", "--yes") == 0
    assert account.calls.writes == ["greengrass:CreateDeployment"]


def test_group_after_a_reset_is_deployed_again(account: Any, make_zip: Any, full_group: Any) -> None:
    apply(account, "--zip", make_zip("38"))
    group = account.client("greengrass").list_groups()["Groups"][0]
    last = {"CreatedAt": "9999", "DeploymentId": "r", "GroupArn": group["LatestVersionArn"]}
    reset = {"Deployments": [{**last, "DeploymentType": "ForceResetDeployment"}]}
    account.calls.stubs["greengrass:ListDeployments"] = lambda model, _: answer(model, reset)
    assert apply(account, "--zip", make_zip("38"), "--no-wait") == 0
    assert account.calls.writes == ["greengrass:CreateDeployment"]


def test_core_that_stays_away_ends_the_wait(account: Any, make_zip: Any, full_group: Any, capsys: Any) -> None:
    account.v1_result = "InProgress"
    assert apply(account, "--zip", make_zip("38"), "--timeout", "60") == 1
    assert account.slept == 60
    assert "not finished in time, last state: InProgress" in capsys.readouterr().err


def test_error_of_the_service_names_the_end_of_v1(account: Any, capsys: Any) -> None:
    gone = lambda model, _: refusal(model, "GoneException", "no longer available", 410)  # noqa: E731
    account.calls.stubs["greengrass:ListGroups"] = gone
    assert account.deploy("v1", "status", "--group", "gateways") == 1
    error = capsys.readouterr().err
    assert "greengrass:ListGroups failed: GoneException: no longer available AWS ended Greengrass V1" in error


@pytest.mark.parametrize(
    ("group", "python", "code", "reason"),
    [
        ("nowhere", "38", 1, "no Greengrass V1 group 'nowhere' in eu-west-1. AWS ended Greengrass V1"),
        ("empty", "38", 1, "group empty has no core"),
        ("twins", "38", 2, "--group twins: there are 2 groups of that name; give an id: "),
        ("gateways", "312", 2, "V1 cores run Python 3.7 and 3.8"),
    ],
)
def test_unusable_group_or_zip_is_refused(
    account: Any, make_zip: Any, full_group: Any, capsys: Any, group: str, python: str, code: int, reason: str
) -> None:
    for name in ("empty", "twins", "twins"):
        account.client("greengrass").create_group(Name=name)
    assert account.deploy("v1", "apply", "--group", group, "--zip", make_zip(python), "--yes") == code
    assert reason in capsys.readouterr().err
    assert account.calls.writes == []
