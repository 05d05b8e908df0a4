"""What deploy.py allows the native component, as a nucleus reads it: reports and alarms, and the answers to reports."""

from __future__ import annotations

import pytest
from deployment.recipe import default_configuration
from local_core.component_config import Configuration
from local_core.ipc_operations import MQTT_SERVICE

REPORTS = "$aws/things/gateway-7/defender/metrics/json"


@pytest.mark.parametrize(
    ("operation", "topic", "allowed"),
    [
        ("PublishToIoTCore", REPORTS, True),
        ("SubscribeToIoTCore", REPORTS + "/accepted", True),
        ("SubscribeToIoTCore", REPORTS + "/rejected", True),
        ("PublishToIoTCore", REPORTS.replace("gateway-7", "gateway-8"), False),
        ("PublishToIoTCore", REPORTS + "/accepted", False),
        ("SubscribeToIoTCore", REPORTS + "/#", False),
        ("SubscribeToIoTCore", "#", False),
    ],
)
def test_component_may_do_what_it_needs_and_no_more(operation: str, topic: str, allowed: bool) -> None:
    configuration = Configuration(default_configuration("com.example.Connector"), {"iot:thingName": "gateway-7"})
    assert configuration.allows(MQTT_SERVICE, f"aws.greengrass#{operation}", topic) is allowed
