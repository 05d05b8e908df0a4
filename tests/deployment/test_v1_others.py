"""deploy.py v1: what other people have in the group stays."""

from __future__ import annotations

from typing import Any

import pytest
from fake_aws import ACCOUNT, LAMBDA, REGION, answer
from v1_group import (
    MORE,
    OTHER,
    OUR_RESOURCE,
    THEIR_FUNCTIONS,
    THEIR_RESOURCES,
    THEIR_SUBSCRIPTIONS,
    add,
    apply,
    content,
    let_another_function_use_our_resource,
    our_function,
    our_subscriptions,
    volume,
)


def test_existing_proc_resource_named_by_id_is_used_unchanged(account: Any, make_zip: Any, full_group: Any) -> None:
    theirs = {"Id": "my-proc", "Name": "Core Proc", "ResourceDataContainer": volume("/proc", "/host_proc")}
    add(account, "Resource", [theirs])

    assert apply(account, "--zip", make_zip("38"), "--ProcDestinationPath-ResourceId", "my-proc") == 0
    held = content(account)
    assert held["Resources"] == [*THEIR_RESOURCES, theirs]
    policies = held["Functions"][1]["FunctionConfiguration"]["Environment"]["ResourceAccessPolicies"]
    assert policies == [{"ResourceId": "my-proc", "Permission": "ro"}]

    assert account.deploy("v1", "remove", "--group", "gateways", "--yes") == 0
    assert content(account)["Resources"] == [*THEIR_RESOURCES, theirs]


def test_resource_of_others_with_the_id_is_refused(account: Any, make_zip: Any, full_group: Any, capsys: Any) -> None:
    flags = ["--zip", make_zip("38"), "--ProcDestinationPath-ResourceId", "data"]
    assert apply(account, *flags) == 1
    assert "resource data of group gateways belongs to somebody else" in capsys.readouterr().err
    assert account.calls.writes == []


def test_resource_of_others_for_state_directory_is_refused_with_advice(
    account: Any, make_zip: Any, full_group: Any, capsys: Any
) -> None:
    theirs = {"Id": "device-defender-state", "Name": "theirs", "ResourceDataContainer": volume("/x", "/x")}
    add(account, "Resource", [theirs])
    assert apply(account, "--zip", make_zip("38"), "--StateDirectory", "/var/lib/connector") == 1
    error = capsys.readouterr().err
    assert "resource device-defender-state of group gateways belongs to somebody else" in error
    assert "give theirs another id, or leave --StateDirectory out" in error
    assert "ProcDestinationPath-ResourceId" not in error


def test_resource_used_by_another_function_stays_after_remove(account: Any, make_zip: Any, full_group: Any) -> None:
    apply(account, "--zip", make_zip("38"))
    policies = {"ResourceAccessPolicies": [{"ResourceId": "device-defender-proc", "Permission": "ro"}]}
    user = {"Id": "top", "FunctionArn": OTHER, "FunctionConfiguration": {"Environment": policies}}
    add(account, "Function", [user])

    assert account.deploy("v1", "remove", "--group", "gateways", "--yes") == 0
    assert content(account)["Functions"] == [*THEIR_FUNCTIONS, user]
    assert content(account)["Resources"] == [*THEIR_RESOURCES, OUR_RESOURCE]


def test_resource_used_by_a_connector_stays_after_remove(account: Any, make_zip: Any, full_group: Any) -> None:
    apply(account, "--zip", make_zip("38"))
    # moto keeps no connectors in a group version, so these calls are answered here.
    greengrass = account.client("greengrass")
    group = greengrass.list_groups()["Groups"][0]
    held = greengrass.get_group_version(GroupId=group["Id"], GroupVersionId=group["LatestVersion"])["Definition"]
    held["ConnectorDefinitionVersionArn"] = "arn:aws:greengrass:::/greengrass/definition/connectors/c1/versions/v1"
    connector = {
        "Id": "dd",
        "ConnectorArn": f"arn:aws:greengrass:{REGION}::/connectors/DeviceDefender/versions/3",
        "Parameters": {"ProcDestinationPath-ResourceId": "device-defender-proc"},
    }
    account.calls.stubs = {
        "greengrass:GetGroupVersion": lambda model, _: answer(model, {"Definition": held}),
        "greengrass:GetConnectorDefinitionVersion": lambda model, _: answer(
            model, {"Definition": {"Connectors": [connector]}}
        ),
    }
    assert account.deploy("v1", "remove", "--group", "gateways", "--no-wait", "--yes") == 0
    made = account.calls.params("greengrass:CreateGroupVersion")
    assert made["ResourceDefinitionVersionArn"] == held["ResourceDefinitionVersionArn"]


def test_entries_made_by_hand_are_replaced_not_doubled(account: Any, make_zip: Any, full_group: Any) -> None:
    # The console gives ids of its own, and the function may be of an older version.
    by_hand = [{**entry, "Id": f"0b7f-{number}"} for number, entry in enumerate(our_subscriptions(version=9))]
    add(account, "Function", [{**our_function(version=9), "Id": "8f3e"}])
    add(account, "Subscription", by_hand)
    assert apply(account, "--zip", make_zip("38")) == 0
    held = content(account)
    assert held["Functions"] == [*THEIR_FUNCTIONS, our_function()]
    assert held["Subscriptions"] == [*THEIR_SUBSCRIPTIONS, *our_subscriptions()]


def test_subscriptions_of_others_follow_the_functions_new_version(account: Any, make_zip: Any, full_group: Any) -> None:
    apply(account, "--zip", make_zip("38"))
    theirs = {"Id": "look", "Source": f"{LAMBDA}:1", "Subject": "#", "Target": OTHER}
    add(account, "Subscription", [theirs])

    apply(account, "--zip", make_zip("38", version="1.1.0", code="# new\n"))
    assert content(account)["Subscriptions"][-1] == {**theirs, "Source": f"{LAMBDA}:2"}

    account.deploy("v1", "remove", "--group", "gateways", "--yes")
    assert content(account)["Subscriptions"] == THEIR_SUBSCRIPTIONS


def test_connectors_and_loggers_stay_and_aws_connector_is_noted(
    account: Any, make_zip: Any, full_group: Any, capsys: Any
) -> None:
    # moto keeps neither connectors nor loggers in a group version, so these calls are answered here.
    greengrass = account.client("greengrass")
    group = greengrass.list_groups()["Groups"][0]
    held = greengrass.get_group_version(GroupId=group["Id"], GroupVersionId=group["LatestVersion"])["Definition"]
    arn = f"arn:aws:greengrass:{REGION}:{ACCOUNT}:/greengrass/definition"
    more = {
        "ConnectorDefinitionVersionArn": f"{arn}/connectors/c1/versions/v1",
        "LoggerDefinitionVersionArn": f"{arn}/loggers/l1/versions/v1",
    }
    connector = {"Id": "dd", "ConnectorArn": f"arn:aws:greengrass:{REGION}::/connectors/DeviceDefender/versions/3"}
    account.calls.stubs = {
        "greengrass:GetGroupVersion": lambda model, _: answer(model, {"Definition": {**held, **more}}),
        "greengrass:GetConnectorDefinitionVersion": lambda model, params: answer(
            model, {"Definition": {"Connectors": [connector]}} if params["ConnectorDefinitionId"] == "c1" else {}
        ),
    }
    assert apply(account, "--zip", make_zip("38"), "--no-wait") == 0
    made = account.calls.params("greengrass:CreateGroupVersion")
    assert {key: made[key] for key in more} == more
    assert made["DeviceDefinitionVersionArn"] == held["DeviceDefinitionVersionArn"]
    assert "also holds AWS's own Device Defender connector" in capsys.readouterr().out


def test_remove_without_connector_deploys_nothing_of_others(account: Any, make_zip: Any, full_group: Any) -> None:
    assert account.deploy("v1", "remove", "--group", "gateways", "--yes") == 0
    assert account.calls.writes == []
    apply(account, "--zip", make_zip("38"))
    account.deploy("v1", "remove", "--group", "gateways", "--yes")
    add(account, "Resource", [{"Id": "more", "Name": "more", "ResourceDataContainer": volume("/m", "/m")}])
    assert account.deploy("v1", "remove", "--group", "gateways", "--yes") == 0
    assert account.calls.writes == []


@pytest.mark.parametrize("verb", ["apply", "remove"])
def test_change_by_others_before_the_answer_stops_the_run(
    account: Any, make_zip: Any, full_group: Any, capsys: Any, verb: str
) -> None:
    apply(account, "--zip", make_zip("38"))

    def ask(question: str) -> str:
        add(account, "Resource", [MORE])
        return "y"

    flags = ["--zip", make_zip("38"), "--MaxListSize", "9"] if verb == "apply" else []
    assert account.deploy("v1", verb, "--group", "gateways", *flags, ask=ask) == 1
    assert "group gateways was changed meanwhile, which stays as it is" in capsys.readouterr().err
    assert content(account)["Resources"] == [*THEIR_RESOURCES, OUR_RESOURCE, MORE]

    assert account.deploy("v1", verb, "--group", "gateways", *flags, "--yes") == 0
    assert MORE in content(account)["Resources"]


def test_change_by_others_before_the_deployment_stops_the_run(
    account: Any, make_zip: Any, full_group: Any, capsys: Any
) -> None:
    create = "greengrass:CreateSubscriptionDefinitionVersion"

    def meanwhile(model: Any, params: Any) -> Any:
        del account.calls.stubs[create]
        add(account, "Resource", [MORE])
        return None

    account.calls.stubs[create] = meanwhile
    assert apply(account, "--zip", make_zip("38")) == 1
    assert "group gateways was changed meanwhile" in capsys.readouterr().err
    assert content(account)["Resources"] == [*THEIR_RESOURCES, MORE]


def test_resource_used_by_another_function_is_not_moved(
    account: Any, make_zip: Any, full_group: Any, capsys: Any
) -> None:
    apply(account, "--zip", make_zip("38"))
    let_another_function_use_our_resource(account)
    flags = ["--zip", make_zip("38"), "--ProcDestinationPath", "/p2"]
    assert apply(account, *flags) == 1
    error = capsys.readouterr().err
    assert "resource device-defender-proc of group gateways is used by top too and is not what the connector" in error
    assert "choose another id with --ProcDestinationPath-ResourceId" in error
    assert account.calls.writes == []

    assert apply(account, *flags, "--ProcDestinationPath-ResourceId", "p2") == 0
    ours = {"Id": "p2", "Name": "device-defender-connector-proc-p2", "ResourceDataContainer": volume("/proc", "/p2")}
    assert content(account)["Resources"] == [*THEIR_RESOURCES, OUR_RESOURCE, ours]
    assert account.deploy("v1", "remove", "--group", "gateways", "--yes") == 0
    assert content(account)["Resources"] == [*THEIR_RESOURCES, OUR_RESOURCE]


def test_plan_names_undeployed_changes_of_others(account: Any, make_zip: Any, full_group: Any, capsys: Any) -> None:
    apply(account, "--zip", make_zip("38"))
    deployed = account.client("greengrass").list_groups()["Groups"][0]["LatestVersion"]
    add(account, "Resource", [MORE])
    newest = account.client("greengrass").list_groups()["Groups"][0]["LatestVersion"]
    capsys.readouterr()
    assert account.deploy("v1", "plan", "--group", "gateways", "--zip", make_zip("38")) == 0
    plan = capsys.readouterr().out
    assert f"    - GroupVersion: {deployed}\n    + GroupVersion: {newest}\n" in plan
    assert "newest version is not the one deployed last. What differs (resources) goes to the core with this" in plan


def test_second_removal_deploys_nothing_of_others(account: Any, make_zip: Any, full_group: Any, capsys: Any) -> None:
    """Our resource, which stays as others use it, is no reason to."""
    apply(account, "--zip", make_zip("38"))
    let_another_function_use_our_resource(account)
    assert account.deploy("v1", "remove", "--group", "gateways", "--yes") == 0
    add(account, "Resource", [MORE])
    assert account.deploy("v1", "remove", "--group", "gateways", "--yes") == 0
    assert account.calls.writes == []
    assert "Group gateways holds nothing of device-defender-connector" in capsys.readouterr().out
