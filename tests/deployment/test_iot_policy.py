"""deploy.py --iot-policy against moto: one policy for several targets; policies of others stay."""

from __future__ import annotations

import json
from typing import Any

import pytest
from deployment import settings
from fake_aws import ACCOUNT, REGION, SUCCEEDED, refusal

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


def test_shared_policy_stays_until_its_last_target_is_removed(account: Any, things: Any, apply: Any) -> None:
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


def test_lines_of_unnamed_things_stay_for_the_others(account: Any, things: Any, apply: Any) -> None:
    assert [apply("--thing=gw-1"), apply(*FLEET)] == [0, 0]
    assert remove(account, "--thing-group=fleet") == 0
    assert (held(account), attached(account)) == (lines("gw-1", "gateway-*"), [things[0]])


def test_thing_named_like_a_topic_level_loses_only_its_own_lines(account: Any, things: Any, apply: Any) -> None:
    account.thing("json")
    assert [apply("--thing=gw-1"), apply("--thing=json")] == [0, 0]
    assert remove(account, "--thing=json") == 0
    assert held(account) == lines("gw-1")


def test_unattached_policy_is_deleted_only_with_the_targets_lines(account: Any, things: Any, apply: Any) -> None:
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
def test_policy_of_others_is_refused_and_unchanged(
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


def test_policy_too_long_is_refused_before_any_change(account: Any, things: Any, apply: Any, capsys: Any) -> None:
    names = [f"gateway-in-a-building-{number}" for number in range(4)]
    for name in names:
        account.thing(name)
    assert [apply(f"--thing={name}") for name in names] == [0, 0, 0, 2]
    assert "2048 characters" in capsys.readouterr().err
    assert account.calls.writes == []
    assert held(account) == lines(*names[:3])


QUEUED = {"numberOfQueuedThings": 1}


def topics(account: Any) -> list[str]:
    """Return the topics on which the policy allows reports."""
    return [resource.partition(":topic/")[2] for resource in held(account)["Statement"][0]["Resource"]]


JSON, CBOR = "$aws/things/gw-1/defender/metrics/json", "$aws/things/gw-1/defender/metrics/cbor"


def test_old_topic_stays_until_the_core_has_the_deployment(account: Any, things: Any, apply: Any, capsys: Any) -> None:
    assert apply("--thing=gw-1") == 0
    account.greengrass_v2.next_job = [QUEUED]
    change = ["--thing=gw-1", "--ReportFormat=cbor"]
    assert apply(*change, "--timeout", "10") == 1
    assert topics(account) == [JSON, CBOR]
    assert account.calls.writes[0] == "iot:CreatePolicyVersion"
    capsys.readouterr()

    # Nor by one that does not wait for it.
    assert apply(*change, "--no-wait") == 0
    assert account.calls.writes == []
    assert "still allows the topics of before: not every core has the last deployment" in capsys.readouterr().out

    account.greengrass_v2.jobs["job-2"] = [QUEUED, QUEUED, SUCCEEDED]
    assert apply(*change) == 0
    assert (topics(account), account.calls.writes) == ([CBOR], ["iot:CreatePolicyVersion"])
    assert apply(*change) == 0
    assert account.calls.writes == []


def test_old_topic_is_removed_once_the_cores_have_the_deployment(
    account: Any, things: Any, apply: Any, capsys: Any
) -> None:
    assert apply("--thing=gw-1") == 0
    capsys.readouterr()
    assert apply("--thing=gw-1", "--ReportFormat=cbor") == 0
    assert topics(account) == [CBOR]
    assert account.calls.writes == [
        "iot:CreatePolicyVersion",
        "greengrassv2:CreateComponentVersion",
        "greengrassv2:CreateDeployment",
        "iot:CreatePolicyVersion",
    ]
    plan = capsys.readouterr().out
    assert "~ change AWS IoT policy report\n" in plan
    assert "~ change AWS IoT policy report when the cores have the deployment\n" in plan


def test_old_topic_stays_with_no_wait_and_is_printed(account: Any, things: Any, apply: Any, capsys: Any) -> None:
    assert apply("--thing=gw-1") == 0
    assert apply("--thing=gw-1", "--ReportFormat=cbor", "--no-wait") == 0
    assert topics(account) == [JSON, CBOR]
    assert capsys.readouterr().out.endswith(
        "AWS IoT policy report keeps the topics of before until an apply finds the cores ready.\n"
    )


@pytest.mark.parametrize("flags", [["--timeout", "10"], ["--no-wait"]])
@pytest.mark.parametrize("target", [["--thing=gw-1"], FLEET])
def test_core_that_is_away_keeps_its_policy_until_removal_reached_it(
    account: Any, things: Any, apply: Any, capsys: Any, target: list[str], flags: list[str]
) -> None:
    account.client("iot").add_thing_to_thing_group(thingGroupName="fleet", thingName="gw-1")
    assert apply(*target) == 0
    before = held(account), attached(account)
    account.greengrass_v2.next_job = [QUEUED]
    for _ in range(2):
        capsys.readouterr()
        assert remove(account, *target, *flags) == ("--timeout" in flags)
        assert (held(account), attached(account)) == before
    if target == FLEET or "--no-wait" in flags:
        assert "report stays as it is until every core has the deployment: run this again" in capsys.readouterr().out

    account.greengrass_v2.jobs["job-2"] = [SUCCEEDED]
    assert remove(account, *target) == 0
    assert account.client("iot").list_policies()["policies"] == []


def test_detached_policy_is_deleted_after_the_services_delay(
    account: Any, things: Any, apply: Any, capsys: Any
) -> None:
    """As the API's reference says; it answers DeleteConflictException until then."""
    refusals = [1] * 29

    def conflict(model: Any, params: Any) -> Any:
        attached_still = refusals and refusals.pop()
        return refusal(model, "DeleteConflictException", "still attached", 409) if attached_still else None

    account.calls.stubs["iot:DeletePolicy"] = conflict
    assert apply("--thing=gw-1") == 0
    assert remove(account, "--thing=gw-1") == 0
    assert account.client("iot").list_policies()["policies"] == []
    assert 250 <= account.slept <= 330

    assert apply("--thing=gw-1") == 0
    refusals += [1] * 1000
    assert remove(account, "--thing=gw-1") == 1
    assert (
        "is detached, and AWS IoT does not allow deleting it yet. Later: aws iot delete-policy"
        in capsys.readouterr().err
    )


def test_unattached_policy_with_unnamed_lines_is_noted(account: Any, things: Any, apply: Any, capsys: Any) -> None:
    assert apply(*FLEET) == 0
    account.client("iot").detach_policy(policyName="report", target=f"{IOT}:thinggroup/fleet")
    assert remove(account, "--thing-group=fleet") == 0
    assert "Note: AWS IoT policy report is attached to nothing. If nobody needs it: aws iot" in capsys.readouterr().out
    assert held(account) == lines("gateway-*")


def test_topic_without_thing_is_removed_with_the_only_target(account: Any, things: Any, apply: Any) -> None:
    assert apply("--thing=gw-1", "--MetricsTopic=fleet/metrics") == 0
    assert apply("--thing=gw-1", "--reset=MetricsTopic") == 0
    assert topics(account) == [JSON]
    assert apply("--thing=gw-1", "--MetricsTopic=fleet/metrics") == 0
    assert remove(account, "--thing=gw-1") == 0
    assert account.client("iot").list_policies()["policies"] == []

    # With two targets nobody knows whose it is.
    assert [apply("--thing=gw-1", "--MetricsTopic=fleet/metrics"), apply("--thing=gw-2")] == [0, 0]
    assert apply("--thing=gw-1", "--reset=MetricsTopic") == 0
    assert "fleet/metrics" in topics(account)


def test_certificate_of_two_things_keeps_the_policy(account: Any, things: Any, apply: Any, capsys: Any) -> None:
    share_a_certificate(account, things)
    assert [apply("--thing=gw-1"), apply("--thing=gw-3")] == [0, 0]
    assert remove(account, "--thing=gw-1") == 0
    assert (held(account), attached(account)) == (lines("gw-3"), [things[0]])
    assert "policy report stays attached: gw-3 has the same certificate" in capsys.readouterr().out
    assert remove(account, "--thing=gw-3") == 0
    assert account.client("iot").list_policies()["policies"] == []


def share_a_certificate(account: Any, things: Any) -> None:
    """Make gw-3, with the certificate of gw-1."""
    account.client("iot").create_thing(thingName="gw-3")
    account.client("iot").attach_thing_principal(thingName="gw-3", principal=things[0])


@pytest.mark.parametrize("topic", ["site/{thing}/metrics", "fleet/metrics"])
def test_own_topics_on_a_shared_certificate_stay(account: Any, things: Any, apply: Any, topic: str) -> None:
    share_a_certificate(account, things)
    for thing in ("gw-1", "gw-3", "gw-1"):
        assert apply(f"--thing={thing}", f"--MetricsTopic={topic}") == 0
    assert account.calls.writes == []
    assert topics(account) == list(dict.fromkeys(topic.replace("{thing}", thing) for thing in ("gw-1", "gw-3")))
    assert remove(account, "--thing=gw-1") == 0
    assert (topics(account), attached(account)) == ([topic.replace("{thing}", "gw-3")], [things[0]])


def test_own_topic_of_another_thing_stays(account: Any, things: Any, apply: Any) -> None:
    share_a_certificate(account, things)
    assert [apply("--thing=gw-1"), apply("--thing=gw-3", "--MetricsTopic=fleet/metrics")] == [0, 0]
    assert remove(account, "--thing=gw-1") == 0
    assert (topics(account), attached(account)) == (["fleet/metrics"], [things[0]])


def test_detached_policy_that_was_not_deleted_is_noted(account: Any, things: Any, apply: Any, capsys: Any) -> None:
    assert apply("--thing=gw-1", "--MetricsTopic=fleet/metrics") == 0
    account.client("iot").detach_policy(policyName="report", target=things[0])
    assert remove(account, "--thing=gw-1") == 0
    assert "AWS IoT policy report is attached to nothing. If nobody needs it: aws iot" in capsys.readouterr().out


def test_lines_too_long_together_change_at_once(account: Any, things: Any, apply: Any, capsys: Any) -> None:
    names = [f"gateway-in-a-building-{number}" for number in range(3)]
    for name in names:
        account.thing(name)
        assert apply(f"--thing={name}") == 0
    capsys.readouterr()
    assert apply(f"--thing={names[0]}", "--ReportFormat=cbor") == 0
    assert "AWS IoT policy report at once: old and new lines together would be too long" in capsys.readouterr().out
    assert sorted(topic.rpartition("/")[2] for topic in topics(account)) == ["cbor", "json", "json"]
    assert apply(f"--thing={names[0]}", "--ReportFormat=cbor") == 0
    assert account.calls.writes == []
