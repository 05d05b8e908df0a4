"""The native component on a target: what deploy.py v2 --native is asked, and what it deploys."""

from __future__ import annotations

import json
from typing import Any

from v2_target import last

NAME = "device-defender-connector-native"
MQTT = "aws.greengrass.ipc.mqttproxy"


def access(publish: str = "$aws/things/gw-1/defender/metrics/json") -> dict[str, Any]:
    """Return the access control that lets the component publish on a topic and receive the answers to that."""
    policies = {
        "publish": ("Send reports and events of alarms.", "PublishToIoTCore", publish),
        "subscribe": ("Receive the service's answers to reports.", "SubscribeToIoTCore", f"{publish}/+"),
    }
    return {
        MQTT: {
            f"{NAME}:mqttproxy:{key}": {
                "policyDescription": text,
                "operations": [f"aws.greengrass#{operation}"],
                "resources": [resource],
            }
            for key, (text, operation, resource) in policies.items()
        }
    }


# What is merged by default, on nucleus lite and on the Java nucleus, which gw-1 reports.
LITE = {"accessControl": access()}
CLASSIC = {"MaxPayloadBytes": "131072", **LITE}


def run(core: Any, verb: str, *flags: str, target: str = "--thing=gw-1") -> int:
    code: int = core.deploy("v2", verb, "--native", target, *flags)
    return code


def apply(core: Any, zip_: str, *flags: str, target: str = "--thing=gw-1") -> int:
    return run(core, "apply", "--zip", zip_, "--bucket", "artifacts", "--yes", *flags, target=target)


def merged(core: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(last(core)["components"][NAME]["configurationUpdate"]["merge"])
    return document
