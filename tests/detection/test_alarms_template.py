"""alarms.yaml: its rules, topic, subscription and alarms made in moto; whether an event reaches its alarm.

tests/deployment/test_templates.py runs cfn-lint on it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws
from support import templates
from support.detect_tool import PROFILES

from connector.detect.engine import Detector
from connector.detect.measurement import measure
from connector.detect.profile import parse

PATH = PROFILES / "alarms.yaml"
TEMPLATE = templates.load(PATH)
DEFAULTS = {name: parameter["Default"] for name, parameter in TEMPLATE["Parameters"].items()}
REGION = "eu-west-1"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    with mock_aws():
        yield


class Stack:
    """The template for some parameters, as CloudFormation works it out, made with the services' own calls.

    moto's CloudFormation knows neither the loops nor rules, subscriptions and alarms; its services know all of them.
    """

    def __init__(self, **parameters: str) -> None:
        assert set(parameters) <= set(DEFAULTS)
        self._values: dict[str, Any] = {**DEFAULTS, **parameters, "AWS::AccountId": "123456789012"}
        self._resources: dict[str, Any] = {}
        for key, resource in TEMPLATE["Resources"].items():
            for name, one in self._loop(resource) if key.startswith("Fn::ForEach::") else [(key, resource)]:
                assert name not in self._resources, "two resources of one logical id"
                if "Condition" not in one or self._resolved(TEMPLATE["Conditions"][one["Condition"]]):
                    self._resources[name] = one

    def _loop(self, loop: Any) -> Iterator[tuple[str, Any]]:
        variable, collection, body = loop
        for item in self._values[collection["Ref"]].split(","):
            text = json.dumps(body).replace("&{" + variable + "}", re.sub("[^a-zA-Z0-9]", "", item))
            text = text.replace("${" + variable + "}", item).replace(json.dumps({"Ref": variable}), json.dumps(item))
            yield from json.loads(text).items()

    def _resolved(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self._resolved(entry) for entry in node]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((function, argument),) = node.items()
            if function == "Ref":
                return self._values[argument]
            if function == "Fn::GetAtt":
                return f"arn:aws:iam::123456789012:role/{argument[0]}"
            if function == "Fn::Sub":
                text = re.sub(r"\$\{(\w+)\}", lambda match: str(self._values[match[1]]), argument)
                return text.replace("${!", "${")
            if function == "Fn::Equals":
                return self._resolved(argument[0]) == self._resolved(argument[1])
            if function == "Fn::Not":
                return not self._resolved(argument[0])
            if function == "Fn::Join":
                return self._resolved(argument[1])  # a list is still text here
        return {key: self._resolved(value) for key, value in node.items()}

    def of(self, kind: str) -> dict[str, Any]:
        """The properties of the resources of a type, by logical id."""
        return {
            name: self._resolved(resource["Properties"])
            for name, resource in self._resources.items()
            if resource["Type"] == kind
        }

    def create(self) -> None:
        sns, iot, cloudwatch = boto3.client("sns"), boto3.client("iot"), boto3.client("cloudwatch")
        for name, properties in self.of("AWS::SNS::Topic").items():
            attributes = {"DisplayName": properties["DisplayName"]}
            self._values[name] = sns.create_topic(Name=name, Attributes=attributes)["TopicArn"]
        for properties in self.of("AWS::SNS::Subscription").values():
            sns.subscribe(**properties)
        for name, properties in self.of("AWS::IoT::TopicRule").items():
            iot.create_topic_rule(ruleName=name, topicRulePayload=small(properties["TopicRulePayload"]))
        for name, properties in self.of("AWS::CloudWatch::Alarm").items():
            numbers = {key: int(properties[key]) for key in ("Period", "EvaluationPeriods")}
            if "DatapointsToAlarm" in properties:
                numbers["DatapointsToAlarm"] = int(properties["DatapointsToAlarm"])
            cloudwatch.put_metric_alarm(AlarmName=name, **{**properties, **numbers})


def small(node: Any) -> Any:
    """CloudFormation's names in the spelling of the IoT API, which begins them with a small letter."""
    if isinstance(node, dict):
        return {key[0].lower() + key[1:]: small(value) for key, value in node.items()}
    return [small(entry) for entry in node] if isinstance(node, list) else node


def alarms(namespace: str) -> dict[str, Any]:
    found = boto3.client("cloudwatch").describe_alarms(MaxRecords=100)["MetricAlarms"]
    return {alarm["MetricName"]: alarm for alarm in found if alarm["Namespace"] == namespace}


def rule(name: str) -> dict[str, Any]:
    created: dict[str, Any] = boto3.client("iot").get_topic_rule(ruleName=name)["rule"]
    return created


def an_event() -> dict[str, Any]:
    profile = parse(json.loads((PROFILES / "RemoteManagementPorts.json").read_text()))
    (event,) = Detector([profile], "gateway-1").judge(measure(tcp_ports=[22]), 1767600000)
    return event.document()


def test_default_behaviors_are_those_that_devices_judge_and_alert_on() -> None:
    """All of the shipped profiles but the walk-through's, which alarms on everyday traffic."""
    judged = []
    for path in sorted(PROFILES.glob("*.json")):
        document = json.loads(path.read_text())
        for item in document["behaviors"]:
            threshold = item["criteria"]
            if "statisticalThreshold" in threshold:
                threshold["value"] = {"count" if item["metric"].startswith("aws:") else "number": 1}
        judged += [
            f"{path.stem}/{behavior.name}"
            for behavior in parse(document).behaviors
            if not behavior.skipped and not behavior.suppressed and path.stem != "DataExfiltrationCheck"
        ]
    assert sorted(DEFAULTS["Behaviors"].split(",")) == sorted(judged)


@pytest.mark.usefixtures("aws")
def test_stack_subscribes_the_address_and_makes_an_alarm_for_each_behavior() -> None:
    Stack(Email="ops@example.com").create()
    (topic,) = boto3.client("sns").list_topics()["Topics"]
    (subscription,) = boto3.client("sns").list_subscriptions()["Subscriptions"]
    assert {key: subscription[key] for key in ("TopicArn", "Protocol", "Endpoint")} == {
        "TopicArn": topic["TopicArn"],
        "Protocol": "email",
        "Endpoint": "ops@example.com",
    }
    assert set(alarms("DeviceDefender/Alarms")) == set(DEFAULTS["Behaviors"].split(","))
    assert alarms("DeviceDefender/Reports") == {}


@pytest.mark.usefixtures("aws")
def test_stack_without_address_and_lists_has_the_topic_only() -> None:
    Stack(Behaviors="").create()
    assert boto3.client("sns").list_subscriptions()["Subscriptions"] == []
    assert len(boto3.client("sns").list_topics()["Topics"]) == 1
    assert alarms("DeviceDefender/Alarms") == alarms("DeviceDefender/Reports") == {}


@pytest.mark.usefixtures("aws")
def test_silent_device_breaches_after_the_given_number_of_intervals() -> None:
    Stack(Things="gateway-1,gateway_2", ReportIntervalSeconds="600", MissedReports="4").create()
    found = alarms("DeviceDefender/Reports")
    assert set(found) == {"gateway-1", "gateway_2"}
    alarm = found["gateway-1"]
    assert (alarm["Period"], alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"]) == (600, 4, 4)
    assert (alarm["Statistic"], alarm["ComparisonOperator"], alarm["Threshold"]) == ("Sum", "LessThanThreshold", 1)
    assert alarm["TreatMissingData"] == "breaching"
    (topic,) = boto3.client("sns").list_topics()["Topics"]
    assert alarm["AlarmActions"] == alarm["OKActions"] == [topic["TopicArn"]]
    assert alarm["AlarmDescription"] == "gateway-1 sent no report for 4 intervals of 600 s."


@pytest.mark.usefixtures("aws")
def test_event_goes_to_the_topic_and_to_the_metric_of_its_alarm() -> None:
    Stack().create()
    to_topic = rule("EventsToTopic")
    assert to_topic["sql"] == "SELECT * FROM 'device-defender/+/violations'"
    (topic,) = boto3.client("sns").list_topics()["Topics"]
    assert to_topic["actions"][0]["sns"]["targetArn"] == topic["TopicArn"]
    to_metrics = rule("EventsToMetrics")
    assert to_metrics["sql"] == ("SELECT * FROM 'device-defender/+/violations' WHERE violationEventType = 'in-alarm'")
    metric = to_metrics["actions"][0]["cloudwatchMetric"]
    event = an_event()
    assert event["violationEventType"] == "in-alarm"
    name = metric["metricName"].replace("${securityProfileName}", event["securityProfileName"])
    name = name.replace("${behavior.name}", event["behavior"]["name"])
    alarm = alarms(metric["metricNamespace"])[name]
    assert (alarm["Statistic"], alarm["ComparisonOperator"], alarm["Threshold"]) == ("Sum", "GreaterThanThreshold", 0)
    assert alarm["TreatMissingData"] == "notBreaching"
    assert metric["metricValue"] == "1"


@pytest.mark.parametrize(
    ("parameters", "topic"),
    [
        ({}, "$aws/things/gateway-1/defender/metrics/json"),
        (
            {"ReportTopic": "device-defender/+/metrics", "ReportTopicThingLevel": "2"},
            "device-defender/gateway-1/metrics",
        ),
    ],
)
@pytest.mark.usefixtures("aws")
def test_report_counts_for_its_thing(parameters: dict[str, str], topic: str) -> None:
    Stack(Things="gateway-1", **parameters).create()
    created = rule("ReportsToMetrics")
    topic_filter = re.search("FROM '(.+)'", created["sql"])
    assert topic_filter
    levels, wanted = topic.split("/"), topic_filter[1].split("/")
    assert len(levels) == len(wanted)
    assert all(want in ("+", level) for level, want in zip(levels, wanted))
    metric = created["actions"][0]["cloudwatchMetric"]
    level = re.fullmatch(r"\$\{topic\((\d)\)\}", metric["metricName"])
    assert level
    assert levels[int(level[1]) - 1] == "gateway-1"
    assert metric["metricNamespace"] == "DeviceDefender/Reports"


def test_rule_role_may_do_what_the_rules_do_and_no_more() -> None:
    statements = TEMPLATE["Resources"]["RuleRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    assert [statement["Action"] for statement in statements] == ["sns:Publish", "cloudwatch:PutMetricData"]
    assert statements[0]["Resource"] == {"Ref": "Topic"}
    namespaces = statements[1]["Condition"]["StringEquals"]["cloudwatch:namespace"]
    used = {
        action["CloudwatchMetric"]["MetricNamespace"]
        for resource in TEMPLATE["Resources"].values()
        if isinstance(resource, dict) and resource["Type"] == "AWS::IoT::TopicRule"
        for action in resource["Properties"]["TopicRulePayload"]["Actions"]
        if "CloudwatchMetric" in action
    }
    assert set(namespaces) == used
