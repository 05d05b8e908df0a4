"""deploy.py v2 against moto (Lambda, IAM, IoT) and the stand-in for Greengrass V2."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_aws import ACCOUNT, LAMBDA, REGION, SUCCEEDED, refusal

NAME = "device-defender-connector"
ROUTER = "aws.greengrass.LegacySubscriptionRouter"
COMPONENT = f"arn:aws:greengrass:{REGION}:{ACCOUNT}:components:{NAME}:versions"
THING = f"arn:aws:iot:{REGION}:{ACCOUNT}:thing/gw-1"
GROUP = f"arn:aws:iot:{REGION}:{ACCOUNT}:thinggroup/fleet"


def our_subscriptions(thing: str = "gw-1", topic: str = "$aws/things/{}/defender/metrics/json") -> dict[str, Any]:
    source, answers = f"component:{NAME}", topic.format(thing)
    entries = [
        {"id": f"{NAME[:15]}-report", "source": source, "subject": topic.format("+"), "target": "cloud"},
        {"id": f"{NAME[:15]}-accepted", "source": "cloud", "subject": f"{answers}/accepted", "target": source},
        {"id": f"{NAME[:15]}-rejected", "source": "cloud", "subject": f"{answers}/rejected", "target": source},
    ]
    return {entry["id"]: entry for entry in entries}


def our_component(version: str = "1.0.0") -> dict[str, Any]:
    return {"componentVersion": version, "configurationUpdate": {"reset": [""]}}


def router(subscriptions: dict[str, Any], version: str = "2.1.15") -> dict[str, Any]:
    merge = json.dumps({"subscriptions": subscriptions})
    return {"componentVersion": version, "configurationUpdate": {"merge": merge}}


THEIRS = {"hello": {"id": "hello", "source": "component:com.example.Hello", "subject": "hello", "target": "cloud"}}
EXISTING: dict[str, Any] = {
    "deploymentName": "site A",
    "deploymentPolicies": {"failureHandlingPolicy": "DO_NOTHING"},
    "iotJobConfiguration": {"timeoutConfig": {"inProgressTimeoutInMinutes": 30}},
    "tags": {"owner": "site"},
    "components": {
        "com.example.Hello": {"componentVersion": "3.2.1", "runWith": {"posixUser": "hello"}},
        ROUTER: {
            "componentVersion": "2.1.9",
            "configurationUpdate": {"merge": json.dumps({"subscriptions": THEIRS}), "reset": ["/subscriptions/old"]},
        },
    },
}


@pytest.fixture
def core(account: Any) -> Any:
    """An account with core gw-1, a thing group, and no deployment."""
    account.thing("gw-1")
    account.client("iot").create_thing_group(thingGroupName="fleet")
    account.greengrass_v2.cores["gw-1"] = {"architecture": "amd64", "runtime": "aws_nucleus_classic"}
    return account


def deploy_existing(account: Any, target: str = THING) -> None:
    account.aws.client("greengrassv2").create_deployment(targetArn=target, **EXISTING)


def apply(account: Any, *flags: str, target: str = "--thing=gw-1") -> int:
    code: int = account.deploy("v2", "apply", target, "--yes", *flags)
    return code


def last(account: Any) -> dict[str, Any]:
    """Return the last deployment without what the service adds."""
    added = ("deploymentId", "iotJobId", "deploymentStatus", "isLatestForTarget")
    return {key: value for key, value in account.greengrass_v2.deployments[-1].items() if key not in added}


def test_from_nothing_twice_and_away_again(core: Any, make_zip: Any, capsys: Any) -> None:
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
                "ExcludeInterfaces": "lo,veth*,docker*,br-*,virbr*,cni*,flannel*,cali*,tap*,ifb*,dummy*,bond*",
                "MetricsTopic": "$aws/things/{thing}/defender/metrics/{format}",
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


def test_the_targets_deployment_keeps_all_that_others_put_in(core: Any, make_zip: Any) -> None:
    deploy_existing(core)
    hello, their_router = EXISTING["components"]["com.example.Hello"], EXISTING["components"][ROUTER]

    assert apply(core, "--zip", make_zip()) == 0
    kept = {key: EXISTING[key] for key in ("deploymentName", "deploymentPolicies", "iotJobConfiguration", "tags")}
    merged = {
        "merge": json.dumps({"subscriptions": {**THEIRS, **our_subscriptions()}}),
        "reset": ["/subscriptions/old"],
    }
    assert last(core) == {
        "targetArn": THING,
        **kept,
        "components": {
            "com.example.Hello": hello,
            ROUTER: {"componentVersion": "2.1.9", "configurationUpdate": merged},
            NAME: our_component(),
        },
    }

    assert core.deploy("v2", "remove", "--thing", "gw-1", "--yes") == 0
    # What was merged once stays on a core until it is reset.
    reset = ["/subscriptions/old", *(f"/subscriptions/{id_}" for id_ in our_subscriptions())]
    left = {"merge": their_router["configurationUpdate"]["merge"], "reset": reset}
    assert last(core) == {
        "targetArn": THING,
        **kept,
        "components": {
            "com.example.Hello": hello,
            ROUTER: {"componentVersion": "2.1.9", "configurationUpdate": left},
        },
    }

    assert apply(core, "--zip", make_zip()) == 0
    assert last(core)["components"][ROUTER]["configurationUpdate"] == merged


def test_reserved_tags_are_not_asked_for(core: Any, make_zip: Any) -> None:
    # CloudFormation puts them on what it makes; a request with one is refused.
    tags = {"owner": "site", "aws:cloudformation:stack-name": "stack"}
    core.aws.client("greengrassv2").create_deployment(targetArn=THING, **{**EXISTING, "tags": tags})
    assert apply(core, "--zip", make_zip()) == 0
    assert last(core)["tags"] == {"owner": "site"}
    core.greengrass_v2.deployments[-1]["tags"] = tags
    assert core.deploy("v2", "remove", "--thing", "gw-1", "--yes") == 0
    assert last(core)["tags"] == {"owner": "site"}


def test_a_router_that_was_there_before_stays(core: Any, make_zip: Any) -> None:
    # Cores keep what earlier deployments merged, so that a router without any configuration may be in use.
    components = {ROUTER: {"componentVersion": "2.1.9"}}
    core.aws.client("greengrassv2").create_deployment(targetArn=THING, components=components)
    apply(core, "--zip", make_zip())

    assert core.deploy("v2", "remove", "--thing", "gw-1", "--yes") == 0
    reset = [f"/subscriptions/{id_}" for id_ in our_subscriptions()]
    assert last(core)["components"] == {ROUTER: {"componentVersion": "2.1.9", "configurationUpdate": {"reset": reset}}}


def test_settings_of_the_component_in_a_deployment_stay(core: Any, make_zip: Any) -> None:
    apply(core, "--zip", make_zip())
    current = last(core)
    theirs = {"merge": json.dumps({"maxQueueSize": 9})}
    current["components"][NAME] |= {"runWith": {"posixUser": "root"}, "configurationUpdate": theirs}
    core.aws.client("greengrassv2").create_deployment(**current)

    assert apply(core, "--zip", make_zip(), "--MaxListSize", "500") == 0
    assert last(core)["components"][NAME] == {
        "componentVersion": "1.0.1",
        "runWith": {"posixUser": "root"},
        "configurationUpdate": {**theirs, "reset": [""]},
    }
    assert core.greengrass_v2.configuration[THING][NAME]["maxQueueSize"] == 9


def test_other_settings_reach_a_core_that_has_the_component(core: Any, make_zip: Any) -> None:
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


def test_plan_shows_the_difference_and_writes_nothing(core: Any, make_zip: Any, capsys: Any) -> None:
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


def test_cbor_own_topic_state_and_no_container(core: Any, make_zip: Any) -> None:
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


def test_each_target_keeps_its_own_settings(core: Any, make_zip: Any) -> None:
    core.thing("gw-2")
    slow = ["--zip", make_zip(), "--SampleIntervalSeconds", "3600"]
    apply(core, "--zip", make_zip())
    assert apply(core, *slow, target="--thing=gw-2") == 0
    assert last(core)["components"][NAME] == our_component("1.0.1")

    for flags, target in ((["--zip", make_zip()], "--thing=gw-1"), (slow, "--thing=gw-2")):
        assert apply(core, *flags, target=target) == 0
        assert core.calls.writes == []

    # gw-2 back to the first settings: their version exists already.
    assert apply(core, "--zip", make_zip(), target="--thing=gw-2") == 0
    assert core.calls.writes == ["greengrassv2:CreateDeployment"]
    assert last(core)["components"][NAME] == our_component()


def test_a_new_connector_version_leads_the_components(core: Any, make_zip: Any) -> None:
    apply(core, "--zip", make_zip())
    assert apply(core, "--zip", make_zip(version="1.2.0", code="# new\n")) == 0
    made = core.greengrass_v2.components[f"{COMPONENT}:1.2.0"]["lambdaFunction"]
    assert made["lambdaArn"] == f"{LAMBDA}:2"


def test_a_foreign_prerelease_of_the_component_is_no_hindrance(core: Any, make_zip: Any) -> None:
    for version in ("1.0.0-rc1", "1.0.7+build.5"):
        core.greengrass_v2.components[f"{COMPONENT}:{version}"] = {"lambdaFunction": {}, "tags": {}}
    assert apply(core, "--zip", make_zip()) == 0
    assert last(core)["components"][NAME] == our_component()


def test_the_cores_of_a_group_hear_only_their_own_answers(core: Any, make_zip: Any, capsys: Any) -> None:
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


def test_the_iot_policy_follows_the_topic_and_keeps_others_attachments(core: Any, make_zip: Any) -> None:
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


def test_a_failed_deployment_says_the_cores_reason_and_is_repeated(core: Any, make_zip: Any, capsys: Any) -> None:
    core.greengrass_v2.next_job = [{"numberOfFailedThings": 1}]
    core.greengrass_v2.reason = "FAILED_ROLLBACK_COMPLETE: no cgroup mount"
    assert apply(core, "--zip", make_zip()) == 1
    assert "for gw-1: FAILED: FAILED_ROLLBACK_COMPLETE: no cgroup mount" in capsys.readouterr().err
    assert core.deploy("v2", "status", "--thing", "gw-1") == 1

    core.greengrass_v2.next_job = [SUCCEEDED]
    assert apply(core, "--zip", make_zip()) == 0
    assert core.calls.writes == ["greengrassv2:CreateDeployment"]


def test_a_removal_that_failed_is_repeated(core: Any, make_zip: Any, capsys: Any) -> None:
    deploy_existing(core)
    apply(core, "--zip", make_zip())
    core.greengrass_v2.next_job = [{"numberOfFailedThings": 1}]
    assert core.deploy("v2", "remove", "--thing", "gw-1", "--yes") == 1
    removed = last(core)
    assert core.deploy("v2", "status", "--thing", "gw-1") == 1

    core.greengrass_v2.next_job = [SUCCEEDED]
    capsys.readouterr()
    assert core.deploy("v2", "remove", "--thing", "gw-1", "--yes") == 0
    assert core.calls.writes == ["greengrassv2:CreateDeployment"]
    assert last(core) == removed
    assert "did not succeed" in capsys.readouterr().out
    assert core.deploy("v2", "remove", "--thing", "gw-1", "--yes") == 0
    assert core.calls.writes == []


def test_a_failed_deployment_that_never_held_the_connector_is_left_alone(core: Any, capsys: Any) -> None:
    deploy_existing(core)
    core.greengrass_v2.jobs["job-1"] = [{"numberOfFailedThings": 1}]
    assert core.deploy("v2", "remove", "--thing", "gw-1", "--yes") == 0
    assert core.calls.writes == []
    assert "is not in the deployment for thing gw-1" in capsys.readouterr().out


def test_one_failed_core_does_not_redeploy_a_whole_group(core: Any, make_zip: Any, capsys: Any) -> None:
    core.greengrass_v2.next_job = [{"numberOfSucceededThings": 9, "numberOfFailedThings": 1}]
    assert apply(core, "--zip", make_zip(), target="--thing-group=fleet") == 1
    assert "9 succeeded, 1 failed" in capsys.readouterr().err
    assert apply(core, "--zip", make_zip(), target="--thing-group=fleet") == 0
    assert core.calls.writes == []


def test_a_group_is_waited_for_only_if_something_was_deployed(core: Any, make_zip: Any, capsys: Any) -> None:
    apply(core, "--zip", make_zip(), target="--thing-group=fleet")
    core.greengrass_v2.jobs["job-1"] = [{"numberOfSucceededThings": 3, "numberOfQueuedThings": 1}]
    core.slept = 0.0
    policy = ["--iot-policy", "report", "--iot-policy-things", "gw-*"]
    assert apply(core, "--zip", make_zip(), *policy, target="--thing-group=fleet") == 0
    assert core.calls.writes == ["iot:CreatePolicy", "iot:AttachPolicy"]
    assert core.slept == 0

    core.greengrass_v2.next_job = [{"numberOfQueuedThings": 1}]
    flags = ["--MaxListSize", "9", "--timeout", "60"]
    assert apply(core, "--zip", make_zip(), *flags, target="--thing-group=fleet") == 1
    assert "not finished in time, last state: 1 queued" in capsys.readouterr().err


def test_a_group_without_things_has_nobody_to_wait_for(core: Any, make_zip: Any, capsys: Any) -> None:
    core.greengrass_v2.next_job = [{}]
    assert apply(core, "--zip", make_zip(), target="--thing-group=fleet") == 0
    assert capsys.readouterr().out.endswith("  no core in the group yet\n")
    assert core.deploy("v2", "status", "--thing-group", "fleet") == 0

    # With a thing in the group the job only takes its time.
    core.client("iot").add_thing_to_thing_group(thingGroupName="fleet", thingName="gw-1")
    core.greengrass_v2.next_job = [{}, {}, SUCCEEDED]
    assert apply(core, "--zip", make_zip(), "--MaxListSize", "9", target="--thing-group=fleet") == 0
    assert capsys.readouterr().out.endswith("  no core has it yet\n  1 succeeded\n")


@pytest.mark.parametrize("verb", [["remove", "--yes"], ["status"]])
@pytest.mark.parametrize("target", ["--thing=gatway", "--thing-group=fleeet"])
def test_a_mistyped_target_is_no_success(core: Any, capsys: Any, verb: list[str], target: str) -> None:
    assert core.deploy("v2", *verb, target) == 1
    assert f"on {target.partition('=')[2]}: it does not exist" in capsys.readouterr().err


def test_remove_names_what_it_leaves(core: Any, make_zip: Any, capsys: Any) -> None:
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


def test_a_canceled_deployment_is_made_again(core: Any, make_zip: Any) -> None:
    apply(core, "--zip", make_zip())
    core.greengrass_v2.deployments[-1]["deploymentStatus"] = "CANCELED"
    assert apply(core, "--zip", make_zip()) == 0
    assert core.calls.writes == ["greengrassv2:CreateDeployment"]


def test_a_component_that_the_service_refuses_says_why(core: Any, make_zip: Any, capsys: Any) -> None:
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


def test_a_deployment_whose_job_is_gone_still_stands(core: Any, make_zip: Any, capsys: Any) -> None:
    apply(core, "--zip", make_zip())
    core.calls.stubs["iot:DescribeJob"] = lambda model, _: refusal(model, "ResourceNotFoundException", "no job")
    assert core.deploy("v2", "status", "--thing", "gw-1") == 0
    assert "ACTIVE, its AWS IoT job is no longer there" in capsys.readouterr().out
    assert apply(core, "--zip", make_zip()) == 0
    assert core.calls.writes == []


def test_an_empty_update_is_no_difference(core: Any, make_zip: Any) -> None:
    apply(core, "--zip", make_zip())
    core.greengrass_v2.deployments[-1]["components"][ROUTER]["configurationUpdate"]["reset"] = []
    assert apply(core, "--zip", make_zip()) == 0
    assert core.calls.writes == []


def test_awss_own_component_beside_it_is_named(core: Any, make_zip: Any, capsys: Any) -> None:
    components = {"aws.greengrass.DeviceDefender": {"componentVersion": "3.1.1"}}
    core.aws.client("greengrassv2").create_deployment(targetArn=THING, components=components)
    assert core.deploy("v2", "plan", "--thing", "gw-1", "--zip", make_zip()) == 0
    assert "also holds aws.greengrass.DeviceDefender" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("target", "arch", "about", "reason"),
    [
        ("--thing=nobody", "any", {}, "on nobody: it does not exist in eu-west-1"),
        ("--thing-group=none", "any", {}, "on none: it does not exist in eu-west-1"),
        ("--thing=gw-1", "any", {"runtime": "aws_nucleus_lite"}, "the light nucleus, which runs no Lambda functions"),
        ("--thing=gw-1", "aarch64", {}, "core gw-1 is amd64, the zip is for aarch64"),
        ("--thing=bare", "any", {}, "thing bare has no certificate that --iot-policy could be attached to"),
    ],
)
def test_what_stands_against_it(
    core: Any, make_zip: Any, capsys: Any, target: str, arch: str, about: dict[str, str], reason: str
) -> None:
    core.greengrass_v2.cores["gw-1"] |= about
    core.client("iot").create_thing(thingName="bare")
    policy = ["--iot-policy", "report"] + (["--iot-policy-things", "gw-*"] if "group" in target else [])
    assert apply(core, "--zip", make_zip("312", arch), *policy, target=target) == 1
    assert reason in capsys.readouterr().err
    assert core.calls.writes == []


def test_a_router_that_knows_no_component_names_is_refused(core: Any, make_zip: Any, capsys: Any) -> None:
    components = {ROUTER: {"componentVersion": "2.0.3"}}
    core.aws.client("greengrassv2").create_deployment(targetArn=THING, components=components)
    assert apply(core, "--zip", make_zip()) == 1
    assert f"{ROUTER} 2.0.3, in the target's deployment, can't name components" in capsys.readouterr().err
    assert apply(core, "--zip", make_zip(), "--router-version", "2.1.9") == 0
    assert last(core)["components"][ROUTER] == router(our_subscriptions(), "2.1.9")


def colleague(account: Any) -> dict[str, Any]:
    """Another person revises the thing's deployment; return its components."""
    held = account.greengrass_v2.deployments
    components = {**(held[-1]["components"] if held else {}), "com.example.New": {"componentVersion": "1.0.0"}}
    account.aws.client("greengrassv2").create_deployment(targetArn=THING, components=components)
    return components


@pytest.mark.parametrize("verb", ["apply", "remove"])
def test_what_others_deploy_while_somebody_reads_the_plan_stays(
    core: Any, make_zip: Any, capsys: Any, verb: str
) -> None:
    apply(core, "--zip", make_zip())
    theirs: dict[str, Any] = {}

    def ask(question: str) -> str:
        theirs.update(colleague(core))
        return "y"

    flags = ["--zip", make_zip(), "--MaxListSize", "9"] if verb == "apply" else []
    assert core.deploy("v2", verb, "--thing", "gw-1", *flags, ask=ask) == 1
    assert "thing gw-1 got another deployment meanwhile, deployment-2" in capsys.readouterr().err
    assert last(core)["components"] == theirs

    assert core.deploy("v2", verb, "--thing", "gw-1", *flags, "--yes") == 0
    assert "com.example.New" in last(core)["components"]


def test_what_others_deploy_while_the_component_is_made_stays(core: Any, make_zip: Any, capsys: Any) -> None:
    deploy_existing(core)
    theirs: dict[str, Any] = {}

    def sleep(seconds: float) -> None:
        if not theirs:
            theirs.update(colleague(core))

    core.aws.sleep = sleep
    assert apply(core, "--zip", make_zip()) == 1
    assert "got another deployment meanwhile" in capsys.readouterr().err
    assert last(core)["components"] == theirs
    assert apply(core, "--zip", make_zip()) == 0
    assert {"com.example.New", "com.example.Hello", NAME, ROUTER} == last(core)["components"].keys()


@pytest.mark.parametrize("state", ["CANCELED", "FAILED", "INACTIVE"])
def test_a_deployment_that_does_not_stand_is_none(core: Any, make_zip: Any, capsys: Any, state: str) -> None:
    apply(core, "--zip", make_zip(), target="--thing-group=fleet")
    core.greengrass_v2.deployments[-1]["deploymentStatus"] = state
    assert core.deploy("v2", "status", "--thing-group", "fleet") == 1
    assert f"Deployment deployment-1: {state}, " in capsys.readouterr().out


@pytest.mark.parametrize("state", ["CANCELED", "INACTIVE"])
@pytest.mark.parametrize("job", [{}, {"numberOfQueuedThings": 1, "processingTargets": [GROUP]}])
def test_a_deployment_that_is_canceled_or_superseded_ends_the_wait(
    core: Any, make_zip: Any, capsys: Any, state: str, job: Any
) -> None:
    core.greengrass_v2.next_job = [job]

    def sleep(seconds: float) -> None:
        core.slept += seconds
        for deployment in core.greengrass_v2.deployments:
            deployment["deploymentStatus"] = state

    core.aws.sleep = sleep
    assert apply(core, "--zip", make_zip()) == 1
    assert f"deployment deployment-1 for gw-1: {state}, " in capsys.readouterr().err
    assert core.slept < 60


def test_a_job_that_is_still_sent_out_is_waited_for(core: Any, make_zip: Any, capsys: Any) -> None:
    for name in ("gw-1", "gw-2"):
        core.client("iot").create_thing(thingName=name)
        core.client("iot").add_thing_to_thing_group(thingGroupName="fleet", thingName=name)
    first = {**SUCCEEDED, "processingTargets": [GROUP]}
    core.greengrass_v2.next_job = [first, {"numberOfSucceededThings": 1, "numberOfFailedThings": 1}]
    assert apply(core, "--zip", make_zip(), target="--thing-group=fleet") == 1
    said = capsys.readouterr()
    assert "  1 succeeded, more to come\n  1 succeeded, 1 failed\n" in said.out
    assert "1 succeeded, 1 failed" in said.err

    # A job that goes on for a group may always have targets; all its things have answered.
    core.greengrass_v2.next_job = [{"numberOfSucceededThings": 2, "processingTargets": [GROUP]}]
    assert apply(core, "--zip", make_zip(), "--MaxListSize", "9", target="--thing-group=fleet") == 0


def test_a_topic_too_long_with_the_things_name_is_refused(core: Any, make_zip: Any, capsys: Any) -> None:
    thing = "t" * 128
    core.thing(thing)
    flags = ["--zip", make_zip(), "--MetricsTopic", "a" * 140 + "/{thing}"]
    assert apply(core, *flags, target=f"--thing={thing}") == 2
    assert (
        "--MetricsTopic: with the thing's name and /accepted it has 278 characters; AWS IoT takes 256"
        in capsys.readouterr().err
    )
    assert core.calls.writes == []
