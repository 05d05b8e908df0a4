"""deploy.py v2 against moto (Lambda, IAM, IoT) and the stand-in for Greengrass V2."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_aws import ACCOUNT, LAMBDA, REGION, SUCCEEDED
from v2_target import (
    COMPONENT,
    GROUP,
    NAME,
    ROUTER,
    THING,
    apply,
    last,
    our_component,
    our_subscriptions,
    router,
)

from connector import config


def test_new_deployment_is_made_once_and_removed(core: Any, make_zip: Any, capsys: Any) -> None:
    waiting = {"numberOfInProgressThings": 1}
    core.greengrass_v2.next_job = [{}, {"numberOfQueuedThings": 1}, waiting, waiting, SUCCEEDED]
    assert apply(core, "--zip", make_zip("312", "x86_64")) == 0
    assert core.greengrass_v2.components[f"{COMPONENT}:1.0.0"]["lambdaFunction"] == {
        "lambdaArn": f"{LAMBDA}:1",
        "componentName": NAME,
        "componentVersion": "1.0.0",
        "componentPlatforms": [{"attributes": {"os": "linux", "architecture": "amd64"}}],
        "componentDependencies": {ROUTER: {"versionRequirement": "^2.1.0", "dependencyType": "HARD"}},
        "componentLambdaParameters": {
            "pinned": True,
            "inputPayloadEncodingType": "binary",
            "timeoutInSeconds": 30,
            "environmentVariables": {
                "SampleIntervalSeconds": "300",
                "ProcDestinationPath": "/host_proc",
                "MetricNames": "long",
                "ReportFormat": "json",
                "MaxListSize": "50",
                "ExcludeInterfaces": config.DEFAULT_EXCLUDE,
                "MetricsTopic": "$aws/things/{thing}/defender/metrics/{format}",
                "ViolationsTopic": "device-defender/{thing}/violations",
                "LogLevel": "INFO",
            },
            "linuxProcessParams": {
                "isolationMode": "GreengrassContainer",
                "containerParams": {
                    "memorySizeInKB": 32768,
                    "volumes": [
                        {
                            "sourcePath": "/proc",
                            "destinationPath": "/host_proc",
                            "permission": "ro",
                            "addGroupOwner": True,
                        }
                    ],
                },
            },
        },
    }
    assert last(core) == {
        "targetArn": THING,
        "deploymentName": f"gw-1 with {NAME}",
        "components": {NAME: our_component(), ROUTER: router(our_subscriptions())},
        "tags": {f"{NAME}:router": "added"},
    }
    function = core.client("lambda").get_function_configuration(FunctionName=f"{LAMBDA}:1")
    assert (function["Runtime"], function["Architectures"]) == ("python3.12", ["x86_64"])
    assert capsys.readouterr().out.endswith("  no core has it yet\n  1 queued\n  1 in progress\n  1 succeeded\n")

    assert apply(core, "--zip", make_zip("312", "x86_64")) == 0
    assert core.calls.writes == []
    assert capsys.readouterr().out.startswith("Nothing to change.\n")

    assert core.deploy("v2", "status", "--thing", "gw-1") == 0
    assert core.deploy("v2", "remove", "--thing", "gw-1", "--yes") == 0
    assert last(core)["components"] == {}
    assert core.deploy("v2", "status", "--thing", "gw-1") == 1
    assert core.deploy("v2", "remove", "--thing", "gw-1", "--yes") == 0
    assert core.calls.writes == []


def test_new_settings_reach_a_core_that_has_the_component(core: Any, make_zip: Any) -> None:
    # A nucleus puts a new version's default configuration below what the core has, unless that is reset.
    apply(core, "--zip", make_zip())
    flags = ["--zip", make_zip(), "--SampleIntervalSeconds", "600", "--isolation", "NoContainer"]
    assert apply(core, *flags) == 0
    on_the_core = core.greengrass_v2.configuration[THING][NAME]
    assert on_the_core["containerMode"] == "NoContainer"
    variables = on_the_core["lambdaExecutionParameters"]["EnvironmentVariables"]
    assert (variables["SampleIntervalSeconds"], variables["ProcDestinationPath"]) == ("600", "/proc")

    assert apply(core, *flags) == 0
    assert core.calls.writes == []


def test_plan_shows_difference_and_writes_nothing(core: Any, make_zip: Any, capsys: Any) -> None:
    apply(core, "--zip", make_zip())
    capsys.readouterr()

    plan = ["v2", "plan", "--thing", "gw-1", "--zip", make_zip(), "--SampleIntervalSeconds", "600", "--memory", "16"]
    assert core.deploy(*plan) == 0
    assert core.calls.writes == []
    marked = ("~", "+", "    + ", "    - ")
    assert [line.strip() for line in capsys.readouterr().out.splitlines() if line.startswith(marked)] == [
        f"~ change component {NAME} 1.0.1",
        "-     SampleIntervalSeconds: '300'",
        "+     SampleIntervalSeconds: '600'",
        "-       memorySizeInKB: 32768",
        "+       memorySizeInKB: 16384",
        "~ change deployment for thing gw-1",
        "-   componentVersion: 1.0.0",
        "+   componentVersion: 1.0.1",
    ]


def test_cbor_topic_and_state_directory_reach_the_component(core: Any, make_zip: Any) -> None:
    flags = ["--ReportFormat", "cbor", "--MetricsTopic", "site/gw-{thing}/{format}", "--StateDirectory", "/var/lib/c/"]
    assert apply(core, "--zip", make_zip(), *flags) == 0
    parameters = core.greengrass_v2.components[f"{COMPONENT}:1.0.0"]["lambdaFunction"]["componentLambdaParameters"]
    assert parameters["inputPayloadEncodingType"] == "binary"
    assert parameters["linuxProcessParams"]["containerParams"]["volumes"][1] == {
        "sourcePath": "/var/lib/c",
        "destinationPath": "/var/lib/c",
        "permission": "rw",
        "addGroupOwner": True,
    }
    subscriptions = json.loads(last(core)["components"][ROUTER]["configurationUpdate"]["merge"])["subscriptions"]
    assert {id_.rpartition("-")[2]: entry["subject"] for id_, entry in subscriptions.items()} == {
        "report": "site/+/cbor",  # `+` stands only for a whole level
        "accepted": "site/gw-gw-1/cbor/accepted",
        "rejected": "site/gw-gw-1/cbor/rejected",
    }

    assert apply(core, "--zip", make_zip(), *flags, "--isolation", "NoContainer") == 0
    parameters = core.greengrass_v2.components[f"{COMPONENT}:1.0.1"]["lambdaFunction"]["componentLambdaParameters"]
    assert parameters["linuxProcessParams"] == {"isolationMode": "NoContainer"}
    assert parameters["environmentVariables"]["ProcDestinationPath"] == "/proc"


def test_two_targets_keep_their_own_settings(core: Any, make_zip: Any) -> None:
    core.thing("gw-2")
    slow = ["--zip", make_zip(), "--SampleIntervalSeconds", "3600"]
    apply(core, "--zip", make_zip())
    assert apply(core, *slow, target="--thing=gw-2") == 0
    assert last(core)["components"][NAME] == our_component("1.0.1")

    for flags, target in ((["--zip", make_zip()], "--thing=gw-1"), (slow, "--thing=gw-2")):
        assert apply(core, *flags, target=target) == 0
        assert core.calls.writes == []

    # gw-2 back to the first settings: their version exists already.
    assert apply(core, "--zip", make_zip(), "--reset", "SampleIntervalSeconds", target="--thing=gw-2") == 0
    assert core.calls.writes == ["greengrassv2:CreateDeployment"]
    assert last(core)["components"][NAME] == our_component()


def test_component_version_follows_the_connectors_version(core: Any, make_zip: Any) -> None:
    apply(core, "--zip", make_zip())
    assert apply(core, "--zip", make_zip(version="1.2.0", code="# new\n")) == 0
    made = core.greengrass_v2.components[f"{COMPONENT}:1.2.0"]["lambdaFunction"]
    assert made["lambdaArn"] == f"{LAMBDA}:2"


def test_cores_of_a_group_subscribe_to_their_own_answers(core: Any, make_zip: Any, capsys: Any) -> None:
    flags = ["--zip", make_zip(), "--iot-policy", "report", "--iot-policy-things", "gw-*"]
    assert apply(core, *flags, target="--thing-group=fleet") == 0
    assert last(core)["components"][ROUTER] == router(our_subscriptions("{iot:thingName}"))
    assert "whose nucleus (2.6 or later) has interpolateComponentConfiguration true" in capsys.readouterr().out

    topic = "$aws/things/gw-*/defender/metrics/json"
    iot = f"arn:aws:iot:{REGION}:{ACCOUNT}"
    policy = json.loads(core.client("iot").get_policy(policyName="report")["policyDocument"])
    assert [(line["Action"], line["Resource"]) for line in policy["Statement"]] == [
        ("iot:Publish", [f"{iot}:topic/{topic}"]),
        ("iot:Subscribe", [f"{iot}:topicfilter/{topic}/accepted", f"{iot}:topicfilter/{topic}/rejected"]),
        ("iot:Receive", [f"{iot}:topic/{topic}/accepted", f"{iot}:topic/{topic}/rejected"]),
    ]
    assert core.client("iot").list_targets_for_policy(policyName="report")["targets"] == [GROUP]

    nucleus = {"merge": json.dumps({"interpolateComponentConfiguration": True})}
    components = {"aws.greengrass.Nucleus": {"componentVersion": "2.14.0", "configurationUpdate": nucleus}}
    core.aws.client("greengrassv2").create_deployment(targetArn=GROUP, components=components)
    assert apply(core, *flags, target="--thing-group=fleet") == 0
    assert "whose nucleus" not in capsys.readouterr().out


def test_iot_policy_follows_the_topic_and_keeps_other_attachments(core: Any, make_zip: Any) -> None:
    other = core.thing("gw-2")
    flags = ["--zip", make_zip(), "--iot-policy", "report"]
    apply(core, *flags)
    core.client("iot").attach_policy(policyName="report", target=other)

    for topic in "abcdefg":  # AWS IoT keeps five versions of a policy
        assert apply(core, *flags, "--MetricsTopic", f"{topic}/{{thing}}") == 0
    policy = core.client("iot").get_policy(policyName="report")
    assert policy["policyDocument"].count("topic/g/gw-1") == 3
    versions = core.client("iot").list_policy_versions(policyName="report")["policyVersions"]
    assert len(versions) == 5

    assert core.deploy("v2", "remove", "--thing", "gw-1", "--iot-policy", "report", "--yes") == 0
    assert core.client("iot").list_targets_for_policy(policyName="report")["targets"] == [other]


@pytest.mark.parametrize("verb", [["remove", "--yes"], ["status"]])
@pytest.mark.parametrize("target", ["--thing=gatway", "--thing-group=fleeet"])
def test_unknown_target_fails(core: Any, capsys: Any, verb: list[str], target: str) -> None:
    assert core.deploy("v2", *verb, target) == 1
    assert f"on {target.partition('=')[2]}: it does not exist" in capsys.readouterr().err


def test_remove_names_what_stays_in_the_account(core: Any, make_zip: Any, capsys: Any) -> None:
    core.client("s3").create_bucket(Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": REGION})
    apply(core, "--zip", make_zip(), "--bucket", "artifacts", "--iot-policy", "report")
    capsys.readouterr()
    assert core.deploy("v2", "remove", "--thing", "gw-1", "--yes") == 0
    left = " ".join(capsys.readouterr().out.partition("This stays in the account")[2].split())
    for named in (
        f"Lambda function {NAME}",
        "its role",
        f"component {NAME}",
        "the zip in the bucket of --bucket",
        "the policy of --iot-policy",
    ):
        assert named in left

    apply(core, "--zip", make_zip())
    capsys.readouterr()
    assert core.deploy("v2", "remove", "--thing", "gw-1", "--iot-policy", "report", "--yes") == 0
    assert "policy of" not in capsys.readouterr().out.partition("This stays in the account")[2]


def test_refused_component_shows_reason(core: Any, make_zip: Any, capsys: Any) -> None:
    describe = core.greengrass_v2._DescribeComponent

    def refused(model: Any, arn: str) -> Any:
        core.greengrass_v2.components[arn] |= {"state": "FAILED", "status": {"message": "no code"}}
        return describe(model, arn)

    core.greengrass_v2._DescribeComponent = refused
    assert apply(core, "--zip", make_zip()) == 1
    assert f"component {COMPONENT}:1.0.0: no code" in capsys.readouterr().err
    assert core.greengrass_v2.deployments == []

    # Its number is spent; the next try takes another.
    core.greengrass_v2._DescribeComponent = describe
    assert apply(core, "--zip", make_zip()) == 0
    assert last(core)["components"][NAME] == our_component("1.0.1")


@pytest.mark.parametrize(
    ("target", "arch", "about", "reason"),
    [
        ("--thing=nobody", "any", {}, "on nobody: it does not exist in eu-west-1"),
        ("--thing-group=none", "any", {}, "on none: it does not exist in eu-west-1"),
        ("--thing=gw-1", "any", {"runtime": "aws_nucleus_lite"}, "nucleus lite, which runs no Lambda functions"),
        ("--thing=gw-1", "aarch64", {}, "core gw-1 is amd64, the zip is for aarch64"),
        ("--thing=bare", "any", {}, "thing bare has no certificate that --iot-policy could be attached to"),
    ],
)
def test_unusable_target_is_refused(
    core: Any, make_zip: Any, capsys: Any, target: str, arch: str, about: dict[str, str], reason: str
) -> None:
    core.greengrass_v2.cores["gw-1"] |= about
    core.client("iot").create_thing(thingName="bare")
    policy = ["--iot-policy", "report"] + (["--iot-policy-things", "gw-*"] if "group" in target else [])
    assert apply(core, "--zip", make_zip("312", arch), *policy, target=target) == 1
    assert reason in capsys.readouterr().err
    assert core.calls.writes == []


def test_topic_too_long_with_the_things_name_is_refused(core: Any, make_zip: Any, capsys: Any) -> None:
    thing = "t" * 128
    core.thing(thing)
    flags = ["--zip", make_zip(), "--MetricsTopic", "a" * 140 + "/{thing}"]
    assert apply(core, *flags, target=f"--thing={thing}") == 2
    assert (
        "--MetricsTopic: with the thing's name and /accepted it has 278 characters; AWS IoT takes 256"
        in capsys.readouterr().err
    )
    assert core.calls.writes == []
