"""deploy.py v2: what other people have in the target's deployment stays."""

from __future__ import annotations

import json
from typing import Any

import pytest
from v2_target import (
    COMPONENT,
    EXISTING,
    NAME,
    ROUTER,
    THEIRS,
    THING,
    apply,
    colleague,
    deploy_existing,
    last,
    our_component,
    our_subscriptions,
    router,
)


def test_components_and_subscriptions_of_others_stay(core: Any, make_zip: Any) -> None:
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


def test_reserved_tags_are_left_out(core: Any, make_zip: Any) -> None:
    # CloudFormation puts them on what it makes; a request with one is refused.
    tags = {"owner": "site", "aws:cloudformation:stack-name": "stack"}
    core.aws.client("greengrassv2").create_deployment(targetArn=THING, **{**EXISTING, "tags": tags})
    assert apply(core, "--zip", make_zip()) == 0
    assert last(core)["tags"] == {"owner": "site"}
    core.greengrass_v2.deployments[-1]["tags"] = tags
    assert core.deploy("v2", "remove", "--thing", "gw-1", "--yes") == 0
    assert last(core)["tags"] == {"owner": "site"}


def test_router_deployed_by_others_stays_after_remove(core: Any, make_zip: Any) -> None:
    # Cores keep what earlier deployments merged, so that a router without any configuration may be in use.
    components = {ROUTER: {"componentVersion": "2.1.9"}}
    core.aws.client("greengrassv2").create_deployment(targetArn=THING, components=components)
    apply(core, "--zip", make_zip())

    assert core.deploy("v2", "remove", "--thing", "gw-1", "--yes") == 0
    reset = [f"/subscriptions/{id_}" for id_ in our_subscriptions()]
    assert last(core)["components"] == {ROUTER: {"componentVersion": "2.1.9", "configurationUpdate": {"reset": reset}}}


def test_configuration_update_of_others_for_the_component_stays(core: Any, make_zip: Any) -> None:
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


def test_failed_deployment_of_others_is_left_alone(core: Any, capsys: Any) -> None:
    deploy_existing(core)
    core.greengrass_v2.jobs["job-1"] = [{"numberOfFailedThings": 1}]
    assert core.deploy("v2", "remove", "--thing", "gw-1", "--yes") == 0
    assert core.calls.writes == []
    assert "is not in the deployment for thing gw-1" in capsys.readouterr().out


def test_prerelease_of_others_is_passed_over(core: Any, make_zip: Any) -> None:
    for version in ("1.0.0-rc1", "1.0.7+build.5"):
        core.greengrass_v2.components[f"{COMPONENT}:{version}"] = {"lambdaFunction": {}, "tags": {}}
    assert apply(core, "--zip", make_zip()) == 0
    assert last(core)["components"][NAME] == our_component()


def test_aws_component_in_the_deployment_is_noted(core: Any, make_zip: Any, capsys: Any) -> None:
    components = {"aws.greengrass.DeviceDefender": {"componentVersion": "3.1.1"}}
    core.aws.client("greengrassv2").create_deployment(targetArn=THING, components=components)
    assert core.deploy("v2", "plan", "--thing", "gw-1", "--zip", make_zip()) == 0
    assert "also holds aws.greengrass.DeviceDefender" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["apply", "remove"])
def test_deployment_by_others_before_the_answer_stops_the_run(core: Any, make_zip: Any, capsys: Any, verb: str) -> None:
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


def test_deployment_by_others_while_the_component_is_made_stops_the_run(core: Any, make_zip: Any, capsys: Any) -> None:
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


def test_empty_configuration_update_is_no_difference(core: Any, make_zip: Any) -> None:
    apply(core, "--zip", make_zip())
    core.greengrass_v2.deployments[-1]["components"][ROUTER]["configurationUpdate"]["reset"] = []
    assert apply(core, "--zip", make_zip()) == 0
    assert core.calls.writes == []


def test_router_older_than_2_1_is_refused(core: Any, make_zip: Any, capsys: Any) -> None:
    components = {ROUTER: {"componentVersion": "2.0.3"}}
    core.aws.client("greengrassv2").create_deployment(targetArn=THING, components=components)
    assert apply(core, "--zip", make_zip()) == 1
    assert f"{ROUTER} 2.0.3, in the target's deployment, can't name components" in capsys.readouterr().err
    assert apply(core, "--zip", make_zip(), "--router-version", "2.1.9") == 0
    assert last(core)["components"][ROUTER] == router(our_subscriptions(), "2.1.9")
