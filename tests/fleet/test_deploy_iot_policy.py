"""deploy.py --iot-policy against moto: one policy for several targets, and never anybody else's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_aws import ACCOUNT, REGION
from fleet import settings

IOT = f"arn:aws:iot:{REGION}:{ACCOUNT}"
FLEET = ["--thing-group=fleet", "--iot-policy-things", "gateway-*"]


@pytest.fixture
def things(account: Any) -> Any:
    """An account with cores gw-1 and gw-2, whose certificates it returns, and a thing group."""
    account.client("iot").create_thing_group(thingGroupName="fleet")
    return account.thing("gw-1"), account.thing("gw-2")


@pytest.fixture
def apply(account: Any, make_zip: Any) -> Any:
    return lambda *flags: account.deploy("v2", "apply", "--zip", make_zip(), "--iot-policy", "report", "--yes", *flags)


def remove(account: Any, *flags: str) -> int:
    code: int = account.deploy("v2", "remove", "--iot-policy", "report", "--yes", *flags)
    return code


def held(account: Any, name: str = "report") -> Any:
    return json.loads(account.client("iot").get_policy(policyName=name)["policyDocument"])


def attached(account: Any) -> Any:
    return account.client("iot").list_targets_for_policy(policyName="report")["targets"]


def lines(*things: str) -> dict[str, Any]:
    """Return the policy for several things: the statements of one, each with the resources of all."""
    documents = [settings.make({}).iot_policy(IOT, thing) for thing in things]
    for document in documents[1:]:
        for statement, more in zip(documents[0]["Statement"], document["Statement"], strict=True):
            statement["Resource"] += more["Resource"]
    return documents[0]


def test_several_targets_share_a_policy_until_each_is_removed(account: Any, things: Any, apply: Any) -> None:
    first, second = things
    group = f"{IOT}:thinggroup/fleet"
    targets = (["--thing=gw-1"], ["--thing=gw-2"], FLEET)
    assert [apply(*flags) for flags in targets] == [0, 0, 0]
    assert held(account) == lines("gw-1", "gw-2", "gateway-*")
    assert sorted(attached(account)) == sorted([first, second, group])
    for flags in targets:
        assert apply(*flags) == 0
        assert account.calls.writes == []

    assert remove(account, "--thing=gw-1") == 0
    assert held(account) == lines("gw-2", "gateway-*")
    assert sorted(attached(account)) == sorted([second, group])
    assert remove(account, *FLEET) == 0
    assert (held(account), attached(account)) == (lines("gw-2"), [second])
    assert remove(account, "--thing=gw-2") == 0
    assert account.client("iot").list_policies()["policies"] == []


def test_lines_whose_things_are_not_named_stay_for_the_others(account: Any, things: Any, apply: Any) -> None:
    assert [apply("--thing=gw-1"), apply(*FLEET)] == [0, 0]
    assert remove(account, "--thing-group=fleet") == 0
    assert (held(account), attached(account)) == (lines("gw-1", "gateway-*"), [things[0]])


def test_a_thing_named_like_a_level_of_the_topic_takes_its_own_lines_only(
    account: Any, things: Any, apply: Any
) -> None:
    account.thing("json")
    assert [apply("--thing=gw-1"), apply("--thing=json")] == [0, 0]
    assert remove(account, "--thing=json") == 0
    assert held(account) == lines("gw-1")


def test_what_is_attached_to_nothing_goes_only_if_it_is_the_targets(account: Any, things: Any, apply: Any) -> None:
    assert apply("--thing=gw-1") == 0
    account.client("iot").detach_policy(policyName="report", target=things[0])
    assert remove(account, "--thing=gw-2") == 0
    assert held(account) == lines("gw-1")
    assert remove(account, "--thing=gw-1") == 0
    assert account.client("iot").list_policies()["policies"] == []


@pytest.mark.parametrize(
    "statements",
    [
        [{"Effect": "Allow", "Action": ["iot:Connect", "greengrass:*"], "Resource": "*"}],
        [*lines("gw-1")["Statement"], {"Effect": "Allow", "Action": "iot:Connect", "Resource": ["*"]}],
        [{**statement, "Effect": "Deny"} for statement in lines("gw-1")["Statement"]],
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
    ],
)
def test_somebody_elses_policy_is_left_alone(
    account: Any, things: Any, apply: Any, capsys: Any, statements: Any
) -> None:
    theirs = {"Version": "2012-10-17", "Statement": statements}
    account.client("iot").create_policy(policyName="report", policyDocument=json.dumps(theirs))
    account.client("iot").attach_policy(policyName="report", target=things[0])

    assert apply("--thing=gw-1") == 2
    error = capsys.readouterr().err
    assert "--iot-policy report: " in error
    assert "choose another name" in error
    assert account.calls.writes == []
    assert remove(account, "--thing=gw-1") == 2
    assert account.calls.writes == []
    assert (held(account), attached(account)) == (theirs, [things[0]])


def test_a_policy_that_would_be_too_long_is_known_beforehand(
    account: Any, things: Any, apply: Any, capsys: Any
) -> None:
    names = [f"gateway-in-a-building-{number}" for number in range(4)]
    for name in names:
        account.thing(name)
    assert [apply(f"--thing={name}") for name in names] == [0, 0, 0, 2]
    assert "2048 characters" in capsys.readouterr().err
    assert account.calls.writes == []
    assert held(account) == lines(*names[:3])
