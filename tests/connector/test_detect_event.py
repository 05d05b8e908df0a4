"""The message about an alarm, and its sentence for a log."""

import json
from typing import Any, Dict

import pytest

from connector.detect.engine import Detector
from connector.detect.event import sentence
from connector.detect.measurement import measure
from connector.detect.profile import parse

PROFILE: Dict[str, Any] = {
    "securityProfileName": "MySecProfile",
    "behaviors": [
        {
            "name": "MessagesPub",
            "metric": "aws:all-packets-out",
            "criteria": {"comparisonOperator": "less-than-equals", "value": {"count": 10}, "durationSeconds": 300},
        },
        {
            "name": "Ports",
            "metric": "aws:listening-tcp-ports",
            "criteria": {"comparisonOperator": "in-port-set", "value": {"ports": [22]}},
        },
        {
            "name": "Peers",
            "metric": "aws:destination-ip-addresses",
            "criteria": {"comparisonOperator": "in-cidr-set", "value": {"cidrs": ["10.0.0.0/8"]}},
        },
    ],
}


def detector() -> Detector:
    return Detector([parse(PROFILE)], "gateway-1")


def test_event_has_the_shape_of_the_services_alert() -> None:
    subject = detector()
    (event,) = subject.judge(measure(packets_out=54), 1573786800)
    document = event.document()
    alarm_id = document.pop("violationId")
    assert document == {
        "violationEventTime": 1573786800000,
        "thingName": "gateway-1",
        "behavior": {
            "name": "MessagesPub",
            "metric": "aws:all-packets-out",
            "criteria": {
                "comparisonOperator": "less-than-equals",
                "value": {"count": 10},
                "durationSeconds": 300,
                "consecutiveDatapointsToAlarm": 1,
                "consecutiveDatapointsToClear": 1,
            },
        },
        "violationEventType": "in-alarm",
        "metricValue": {"count": 54},
        "securityProfileName": "MySecProfile",
    }
    (cleared,) = subject.judge(measure(packets_out=3), 1573787100)
    assert cleared.document()["violationEventType"] == "alarm-cleared"
    assert cleared.document()["metricValue"] == {"count": 3}
    assert cleared.document()["violationId"] == alarm_id


def test_violation_id_is_the_same_on_every_python() -> None:
    """The connector and detect.py may run on different ones, and must agree."""
    (event,) = detector().judge(measure(packets_out=54), 1573786800)
    assert event.document()["violationId"] == "88996195a0c06a65f1374f61fb691397"


def test_event_lists_50_elements_and_counts_all() -> None:
    subject = detector()
    (event,) = subject.judge(measure(tcp_ports=list(range(1000, 1080))), 300)
    assert event.document()["metricValue"] == {"ports": list(range(1000, 1050))}
    assert event.document()["violatingElementCount"] == 80
    (cleared,) = subject.judge(measure(tcp_ports=[22]), 600)
    assert (cleared.document()["metricValue"], cleared.document()["violatingElementCount"]) == ({"ports": []}, 0)


def test_addresses_are_text() -> None:
    peers = [bytes([203, 0, 113, 9]), bytes(15) + b"\1"]
    (event,) = detector().judge(measure(destinations=peers), 300)
    assert event.document()["metricValue"] == {"cidrs": ["203.0.113.9", "::1"]}
    json.dumps(event.document())


def test_sentences() -> None:
    subject = detector()
    (event,) = subject.judge(measure(packets_out=54), 1573786800)
    assert sentence(event.document()) == (
        "alarm MySecProfile/MessagesPub: aws:all-packets-out is 54; normal is less-than-equals 10 over 300 s"
    )
    (event,) = subject.judge(measure(packets_out=1), 1573787100)
    assert sentence(event.document()) == "alarm MySecProfile/MessagesPub cleared: aws:all-packets-out is normal again"
    (event,) = subject.judge(measure(tcp_ports=range(80, 100)), 1573787400)
    assert sentence(event.document()) == (
        "alarm MySecProfile/Ports: aws:listening-tcp-ports is 80, 81, 82, 83, 84, 85, 86, 87 and 12 more; normal is"
        " in-port-set 22"
    )
    (event,) = subject.judge({}, 1573787400 + 3 * 24 * 3600)
    assert sentence(event.document()) == (
        "alarm MySecProfile/Ports invalidated: no aws:listening-tcp-ports for over two days"
    )


def service_event(**criteria: Any) -> Dict[str, Any]:
    behavior = {"name": "B", "metric": "aws:num-messages-sent", "criteria": criteria}
    return {
        "behavior": behavior,
        "violationEventType": "in-alarm",
        "metricValue": {"count": 54},
        "securityProfileName": "P",
    }


@pytest.mark.parametrize(
    ("event", "rule"),
    [
        (service_event(mlDetectionConfig={"confidenceLevel": "HIGH"}), "as ML Detect learned it"),
        (
            service_event(
                comparisonOperator="less-than", statisticalThreshold={"statistic": "p99"}, durationSeconds=300
            ),
            "less-than p99 over 300 s",
        ),
    ],
)
def test_events_of_the_service_have_sentences(event: Any, rule: str) -> None:
    assert sentence(event) == f"alarm P/B: aws:num-messages-sent is 54; normal is {rule}"


def test_control_characters_are_escaped() -> None:
    event = service_event(mlDetectionConfig={})
    event["securityProfileName"] = "\x1b[2J"
    assert sentence(event).startswith("alarm \\x1b[2J/B: ")


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"behavior": 5, "violationEventType": "in-alarm", "securityProfileName": "P"},
        {**service_event(), "violationEventType": "other"},
        {**service_event(), "metricValue": {}},
        {**service_event(), "metricValue": 5},
        service_event(),
    ],
)
def test_document_that_is_no_event_is_an_error(document: Any) -> None:
    with pytest.raises(ValueError):
        sentence(document)
