"""The profiles that ship: each valid for the service, each the same as file and in the template."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from detection.profile import check
from support import templates

from connector.config import CUSTOM_METRICS
from connector.detect.metrics import CUSTOM, METRICS

FOLDER = Path(__file__).parents[2] / "packaging" / "security_profiles"
TEMPLATE = FOLDER / "security-profiles.yaml"
PROFILES = sorted(FOLDER.glob("*.json"))
METRIC_FILES = sorted((FOLDER / "custom_metrics").glob("*.json"))

WALK_THROUGH: dict[str, Any] = {
    "securityProfileName": "DataExfiltrationCheck",
    "securityProfileDescription": "Alerts on a possible data exfiltration attempt on devices",
    "behaviors": [
        {
            "name": "PacketExfiltration",
            "metric": "aws:all-packets-out",
            "criteria": {
                "comparisonOperator": "greater-than",
                "durationSeconds": 300,
                "consecutiveDatapointsToAlarm": 1,
                "consecutiveDatapointsToClear": 1,
                "statisticalThreshold": {"statistic": "p99.99"},
            },
        }
    ],
    "additionalMetricsToRetain": [
        "aws:num-connection-attempts",
        "aws:destination-ip-addresses",
        "aws:all-packets-out",
        "aws:all-packets-in",
        "aws:source-ip-address",
        "aws:num-messages-sent",
    ],
}


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def by_name(paths: list[Path]) -> dict[str, Any]:
    return {path.stem: read(path) for path in paths}


def test_each_threat_has_a_profile() -> None:
    assert [path.stem for path in PROFILES] == [
        "CommandAndControl",
        "CryptocurrencyMining",
        "DataExfiltration",
        "DataExfiltrationCheck",
        "DenialOfService",
        "MachineLearning",
        "MachineLearningHost",
        "RemoteManagementPorts",
        "WrongConfiguration",
    ]


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_shipped_profile_is_valid(path: Path) -> None:
    profile = read(path)
    assert list(check(profile)) == []
    assert profile["securityProfileName"] == path.stem


@pytest.mark.parametrize("path", METRIC_FILES, ids=lambda path: path.stem)
def test_shipped_custom_metric_is_valid(path: Path) -> None:
    metric = read(path)
    # The AWS CLI fills the token in.
    assert list(check({**metric, "clientRequestToken": "a"}, "CreateCustomMetric")) == []
    assert metric["metricName"] == path.stem


def test_walk_through_profile_is_as_published() -> None:
    assert read(FOLDER / "DataExfiltrationCheck.json") == WALK_THROUGH


def test_corrected_profile_differs_from_the_walk_through_only_in_its_operator() -> None:
    corrected = read(FOLDER / "DataExfiltration.json")["behaviors"][0]
    expected = copy.deepcopy(WALK_THROUGH["behaviors"][0])
    expected["criteria"]["comparisonOperator"] = "less-than-equals"
    assert corrected == expected


@pytest.mark.parametrize(
    "path", [path for path in PROFILES if path.stem != "DataExfiltrationCheck"], ids=lambda p: p.stem
)
def test_description_names_what_is_caught_and_what_to_tune(path: Path) -> None:
    description = read(path)["securityProfileDescription"]
    assert "atches " in description
    assert "Tune: " in description


def test_custom_metrics_are_those_the_connector_sends() -> None:
    assert sorted(by_name(METRIC_FILES)) == sorted(CUSTOM_METRICS)
    used = {
        name
        for profile in by_name(PROFILES).values()
        for name in [*(b["metric"] for b in profile["behaviors"]), *profile.get("additionalMetricsToRetain", [])]
        if not name.startswith("aws:")
    }
    assert used == set(CUSTOM_METRICS)


@pytest.mark.parametrize("path", PROFILES, ids=lambda p: p.stem)
def test_description_names_every_custom_metric_that_must_be_created_first(path: Path) -> None:
    profile = read(path)
    named = [*(b["metric"] for b in profile["behaviors"]), *profile.get("additionalMetricsToRetain", [])]
    custom = {name for name in named if not name.startswith("aws:")}
    assert custom <= set(re.findall(r"\w+", profile["securityProfileDescription"]))


def test_every_device_side_number_has_an_ml_behavior() -> None:
    """The seven of the guide, and the connector's custom metrics but the uptime, which only grows."""
    learned = {
        b["metric"]
        for name in ("MachineLearning", "MachineLearningHost")
        for b in read(FOLDER / f"{name}.json")["behaviors"]
    }
    numbers = {name for name, metric in METRICS.items() if metric.reported and metric.ml}
    assert learned == numbers | set(CUSTOM_METRICS) - {"uptime_seconds"}


def test_profile_has_rules_or_ml_not_both() -> None:
    """A profile has one threshold type (guide, "Behaviors")."""
    for path in PROFILES:
        learned = {"mlDetectionConfig" in behavior["criteria"] for behavior in read(path)["behaviors"]}
        assert len(learned) == 1, path.stem


# The template, which tests/deployment/test_templates.py checks with cfn-lint


def test_template_holds_the_profiles_and_metrics_of_the_files() -> None:
    resources = templates.load(TEMPLATE)["Resources"]
    metric_names = {
        key: resource["Properties"]["MetricName"]
        for key, resource in resources.items()
        if resource["Type"] == "AWS::IoT::CustomMetric"
    }

    def plain(value: Any) -> Any:
        """References to a custom metric as its name, which is what CloudFormation puts there."""
        if isinstance(value, dict):
            return metric_names[value["Ref"]] if value.keys() == {"Ref"} else {k: plain(v) for k, v in value.items()}
        return [plain(entry) for entry in value] if isinstance(value, list) else value

    profiles, metrics = {}, {}
    for key, resource in resources.items():
        properties = dict(resource["Properties"])
        if resource["Type"] == "AWS::IoT::CustomMetric":
            metrics[properties["MetricName"]] = properties
        elif resource["Type"] == "AWS::IoT::SecurityProfile":
            # Where it goes is the template's own business; see the next test.
            del properties["TargetArns"], properties["AlertTargets"]
            assert properties["SecurityProfileName"] == key
            profiles[key] = plain(properties)
    assert profiles == {name: in_template(profile) for name, profile in by_name(PROFILES).items()}
    assert metrics == {name: in_template(metric) for name, metric in by_name(METRIC_FILES).items()}


def in_template(value: Any) -> Any:
    """The input of the API call in CloudFormation's spelling."""
    if isinstance(value, list):
        return [in_template(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    result = {key[0].upper() + key[1:]: in_template(entry) for key, entry in value.items()}
    if "Count" in result:
        result["Count"] = str(result["Count"])
    if "AdditionalMetricsToRetain" in result:
        names = result.pop("AdditionalMetricsToRetain")
        result["AdditionalMetricsToRetainV2"] = [{"Metric": name} for name in names]
    return result


def test_template_attaches_each_profile_to_its_own_targets_and_alerts_to_the_topic() -> None:
    template = templates.load(TEMPLATE)
    no_value = {"Ref": "AWS::NoValue"}
    sns = {"SNS": {"AlertTargetArn": {"Ref": "AlertTopicArn"}, "RoleArn": {"Fn::GetAtt": ["AlertRole", "Arn"]}}}
    for name in by_name(PROFILES):
        properties = template["Resources"][name]["Properties"]
        assert properties["TargetArns"] == {"Fn::If": [f"Attach{name}", {"Ref": f"{name}Targets"}, no_value]}
        assert properties["AlertTargets"] == {"Fn::If": ["Alerts", sns, no_value]}
        given = {"Fn::Not": [{"Fn::Equals": [{"Fn::Join": ["", {"Ref": f"{name}Targets"}]}, ""]}]}
        assert template["Conditions"][f"Attach{name}"] == given
        assert template["Parameters"][f"{name}Targets"]["Default"] == ""


# What check() refuses


def one(metric: str = "aws:all-packets-out", **criteria: Any) -> dict[str, Any]:
    return {"securityProfileName": "P", "behaviors": [{"name": "B", "metric": metric, "criteria": criteria}]}


COUNT: dict[str, Any] = {"value": {"count": 1}, "comparisonOperator": "less-than"}
PORTS: dict[str, Any] = {"value": {"ports": [22]}, "comparisonOperator": "in-port-set"}
FOUR = "less-than, less-than-equals, greater-than, greater-than-equals"
B = "behaviors[0] B: "


@pytest.mark.parametrize(
    ("profile", "fault"),
    [
        # botocore's model: the errors of ParamValidator, and the enums, patterns and maxima that it does not check.
        ({}, 'Missing required parameter in input: "securityProfileName"'),
        ([], "a JSON object is expected"),
        (
            {"securityProfileName": "P", "behaviours": []},
            'Unknown parameter in input: "behaviours", must be one of: securityProfileName,'
            " securityProfileDescription, behaviors, alertTargets, additionalMetricsToRetain,"
            " additionalMetricsToRetainV2, tags, metricsExportConfig",
        ),
        ({"securityProfileName": "a b"}, 'securityProfileName: "a b" does not match [a-zA-Z0-9:_-]+'),
        (
            {"securityProfileName": "P", "securityProfileDescription": "x" * 1001},
            "securityProfileDescription: 1001 characters, 1000 is the most the service takes",
        ),
        (
            {"securityProfileName": "P", "securityProfileDescription": "two\nlines"},
            r'securityProfileDescription: "two\nlines" does not match [\p{Graph}\x20]*',
        ),
        (
            {"securityProfileName": "P", "behaviors": [{"name": f"B{n}", "metric": "m"} for n in range(101)]},
            "behaviors: 101 entries, 100 is the most the service takes",
        ),
        (
            one("m", comparisonOperator="under", value={"number": 1}),
            'behaviors[0].criteria.comparisonOperator: "under" is not one of less-than, less-than-equals, greater-than,'
            " greater-than-equals, in-cidr-set, not-in-cidr-set, in-port-set, not-in-port-set, in-set, not-in-set",
        ),
        (
            one("aws:num-listening-tcp-ports", **COUNT, consecutiveDatapointsToAlarm=11),
            "behaviors[0].criteria.consecutiveDatapointsToAlarm: 11, 10 is the most the service takes",
        ),
        (
            one("aws:listening-tcp-ports", comparisonOperator="in-port-set", value={"ports": [65536]}),
            "behaviors[0].criteria.value.ports[0]: 65536, 65535 is the most the service takes",
        ),
        (
            one(comparisonOperator="less-than", statisticalThreshold={"statistic": "p95"}, durationSeconds=300),
            r'behaviors[0].criteria.statisticalThreshold.statistic: "p95" does not match'
            r" (p0|p0\.1|p0\.01|p1|p10|p50|p90|p99|p99\.9|p99\.99|p100)",
        ),
        # The guide.
        (one("aws:all-packet-out", **COUNT), B + "unknown metric aws:all-packet-out; is aws:all-packets-out meant?"),
        (one("aws:cpu", **COUNT), B + "unknown metric aws:cpu"),
        (one("cpu usage", **COUNT), B + 'a metric\'s name is 1 to 128 of a-zA-Z0-9:_-, not "cpu usage"'),
        ({"securityProfileName": "P", "behaviors": [{"name": "B"}]}, B + "no metric"),
        (
            {"securityProfileName": "P", "behaviors": [{"name": "B", "metric": "m"}] * 2},
            "behaviors[1] B: a second behavior of this name",
        ),
        (
            {"securityProfileName": "P", "additionalMetricsToRetain": ["aws:cpu"]},
            "additionalMetricsToRetain: unknown metric aws:cpu",
        ),
        (
            {"securityProfileName": "P", "additionalMetricsToRetainV2": [{"metric": "aws:num-disconnect"}]},
            "additionalMetricsToRetain: unknown metric aws:num-disconnect; is aws:num-disconnects meant?",
        ),
        (one(**PORTS, durationSeconds=300), B + "value has ports; aws:all-packets-out is compared with count"),
        (one(**PORTS, durationSeconds=300), B + f"comparisonOperator is in-port-set; aws:all-packets-out takes {FOUR}"),
        (
            one("aws:listening-tcp-ports", **COUNT),
            B + "comparisonOperator is less-than; aws:listening-tcp-ports takes in-port-set, not-in-port-set",
        ),
        (
            one("aws:listening-tcp-ports", **COUNT),
            B + "value has count; aws:listening-tcp-ports is compared with ports",
        ),
        (
            one("aws:disconnect-duration", comparisonOperator="greater-than", value={"count": 1}),
            B + "comparisonOperator is greater-than; aws:disconnect-duration takes less-than, less-than-equals",
        ),
        (
            one("names", comparisonOperator="in-cidr-set", value={"strings": ["a"]}),
            B + "comparisonOperator is in-cidr-set; names takes in-set, not-in-set",
        ),
        (
            one("m", comparisonOperator="less-than", value={"count": 1}),
            B + "value count does not fit a custom metric: number, numbers, strings, cidrs",
        ),
        (
            one("aws:destination-ip-addresses", comparisonOperator="in-cidr-set", value={"cidrs": ["10.0.0.0/33"]}),
            B + "10.0.0.0/33 is not a CIDR",
        ),
        (
            one("aws:num-listening-tcp-ports", value={"count": 1}),
            B + f"comparisonOperator is missing; aws:num-listening-tcp-ports takes {FOUR}",
        ),
        (
            one(comparisonOperator="less-than"),
            B + "criteria has no threshold; it takes one of value, statisticalThreshold, mlDetectionConfig",
        ),
        (
            one("m", comparisonOperator="less-than", value={"number": 1}, mlDetectionConfig={"confidenceLevel": "LOW"}),
            B + "criteria has value and mlDetectionConfig;"
            " it takes one of value, statisticalThreshold, mlDetectionConfig",
        ),
        (one(**COUNT), B + "durationSeconds is missing; one of 300, 600, 900, 1800, 3600"),
        (
            one("m", comparisonOperator="less-than", statisticalThreshold={"statistic": "p99"}),
            B + "durationSeconds is missing; one of 300, 600, 900, 1800, 3600",
        ),
        (one(**COUNT, durationSeconds=301), B + "durationSeconds is 301; one of 300, 600, 900, 1800, 3600"),
        (
            one("aws:listening-tcp-ports", **PORTS, durationSeconds=300),
            B + "durationSeconds does not go with aws:listening-tcp-ports, which is a list",
        ),
        (
            one(
                "aws:destination-ip-addresses",
                comparisonOperator="in-cidr-set",
                statisticalThreshold={"statistic": "p99"},
            ),
            B + "aws:destination-ip-addresses is a list; a statisticalThreshold is for numbers",
        ),
        (
            one(comparisonOperator="less-than", statisticalThreshold={}, durationSeconds=300),
            B + "statisticalThreshold has no statistic",
        ),
        (
            one("aws:source-ip-address", mlDetectionConfig={"confidenceLevel": "LOW"}),
            B + "ML Detect does not learn aws:source-ip-address",
        ),
        (
            one("aws:listening-tcp-ports", comparisonOperator="in-port-set", value={"ports": list(range(1, 1002))}),
            "1001 value elements; a profile has at most 1000",
        ),
    ],
)
def test_faulty_profile_is_refused(profile: Any, fault: str) -> None:
    assert fault in list(check(profile))


@pytest.mark.parametrize(
    "profile",
    [
        {"securityProfileName": "P"},
        {"securityProfileName": "P", "behaviors": [{"name": "B", "metric": "aws:all-bytes-in"}]},
        # As much as the service takes.
        {"securityProfileName": "P" * 128, "securityProfileDescription": "x" * 1000},
        {"securityProfileName": "P", "behaviors": [{"name": f"B{n}", "metric": "m"} for n in range(100)]},
        one("aws:listening-tcp-ports", comparisonOperator="in-port-set", value={"ports": [*range(1, 1000), 65535]}),
        one("aws:num-listening-tcp-ports", **COUNT, consecutiveDatapointsToAlarm=10, consecutiveDatapointsToClear=10),
        *(one("m", comparisonOperator=o, value={"number": 0.5}) for o in CUSTOM["number"].operators),
        *(one("m", comparisonOperator=o, value={"strings": ["a"]}) for o in CUSTOM["strings"].operators),
        *(one("m", comparisonOperator=o, value={"numbers": [1, 2.5]}) for o in CUSTOM["numbers"].operators),
        *(one("m", comparisonOperator=o, value={"cidrs": ["2001:db8::/32"]}) for o in CUSTOM["cidrs"].operators),
        *(
            one(name, comparisonOperator=o, value={"count": 0}, **({"durationSeconds": 3600} if metric.timed else {}))
            for name, metric in METRICS.items()
            if metric.kind == "count"
            for o in metric.operators
        ),
        one("aws:source-ip-address", comparisonOperator="not-in-cidr-set", value={"cidrs": ["192.0.2.7"]}),
        one("aws:num-disconnects", mlDetectionConfig={"confidenceLevel": "MEDIUM"}),
    ],
)
def test_valid_profile_is_accepted(profile: Any) -> None:
    assert list(check(profile)) == []
