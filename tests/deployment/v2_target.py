"""What a V2 target's deployment holds: the connector's components, and those of others."""

from __future__ import annotations

import json
from typing import Any

from fake_aws import ACCOUNT, REGION

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


def deploy_existing(account: Any, target: str = THING) -> None:
    account.aws.client("greengrassv2").create_deployment(targetArn=target, **EXISTING)


def apply(account: Any, *flags: str, target: str = "--thing=gw-1") -> int:
    code: int = account.deploy("v2", "apply", target, "--yes", *flags)
    return code


def last(account: Any) -> dict[str, Any]:
    """Return the last deployment without what the service adds."""
    added = ("deploymentId", "iotJobId", "deploymentStatus", "isLatestForTarget")
    return {key: value for key, value in account.greengrass_v2.deployments[-1].items() if key not in added}


def colleague(account: Any) -> dict[str, Any]:
    """Another person revises the thing's deployment; return its components."""
    held = account.greengrass_v2.deployments
    components = {**(held[-1]["components"] if held else {}), "com.example.New": {"componentVersion": "1.0.0"}}
    account.aws.client("greengrassv2").create_deployment(targetArn=THING, components=components)
    return components
