"""Profiles as the device reads them: what is judged, what is skipped and why, what is a fault."""

import json
from pathlib import Path
from typing import Any, Dict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.detect.engine import Detector
from connector.detect.profile import ProfileError, parse

PROFILES = sorted((Path(__file__).parents[2] / "packaging" / "security_profiles").glob("*.json"))
COUNT: Dict[str, Any] = {"comparisonOperator": "less-than", "value": {"count": 1}}


def profile(*behaviors: Any) -> Dict[str, Any]:
    return {"securityProfileName": "P", "behaviors": list(behaviors)}


def behavior(metric: Any = "aws:num-listening-tcp-ports", name: Any = "B", **criteria: Any) -> Dict[str, Any]:
    return {"name": name, "metric": metric, "criteria": criteria}


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_shipped_profile_has_no_faults(path: Path) -> None:
    document = json.loads(path.read_text())
    parsed = parse(document)
    assert (parsed.name, parsed.faults) == (path.stem, ())
    assert [b.name for b in parsed.behaviors] == [b["name"] for b in document["behaviors"]]


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (
            {"name": "B", "metric": "aws:all-bytes-in"},
            "it has no criteria: the service keeps the metric and never alarms",
        ),
        (
            behavior("aws:num-disconnects", durationSeconds=300, **COUNT),
            "AWS IoT measures aws:num-disconnects itself; no report carries it",
        ),
        (
            behavior(mlDetectionConfig={"confidenceLevel": "LOW"}),
            "ML Detect learns from 14 days and 25,000 datapoints of the fleet, in the service only",
        ),
        (
            behavior(comparisonOperator="less-than", statisticalThreshold={"statistic": "p99"}, durationSeconds=300),
            "one device can't know p99 of the fleet; detect.py suggest --resolve puts its number beside it",
        ),
    ],
)
def test_behavior_that_cannot_be_judged_is_skipped_with_a_reason(item: Any, reason: str) -> None:
    parsed = parse(profile(item))
    assert [b.skipped for b in parsed.behaviors] == [reason]
    assert Detector([parsed], "gateway-1").metrics == frozenset()


def test_percentile_with_a_number_beside_it_is_judged() -> None:
    item = behavior(
        comparisonOperator="less-than-equals",
        statisticalThreshold={"statistic": "p99"},
        value={"count": 7},
        durationSeconds=300,
    )
    (parsed,) = parse(profile(item)).behaviors
    assert (parsed.limit, parsed.statistic, parsed.skipped) == (7, "p99", None)


@pytest.mark.parametrize(
    ("item", "fault"),
    [
        (7, "behaviors[0]: a behavior is an object, not 7"),
        ({"metric": "m"}, "behaviors[0]: a behavior's name is 1 to 128 of a-zA-Z0-9:_-, not null"),
        ({"name": "B"}, "behaviors[0] B: no metric"),
        (behavior("aws:cpu", **COUNT), "behaviors[0] B: unknown metric aws:cpu"),
        (
            behavior("aws:all-byte-out", **COUNT),
            "behaviors[0] B: unknown metric aws:all-byte-out; is aws:all-bytes-out meant?",
        ),
        (behavior(["m"]), 'behaviors[0] B: a metric\'s name is 1 to 128 of a-zA-Z0-9:_-, not ["m"]'),
        (
            {**behavior(**COUNT), "suppressAlerts": "yes"},
            'behaviors[0] B: suppressAlerts is true or false, not "yes"',
        ),
        ({**behavior(), "criteria": []}, "behaviors[0] B: criteria is an object, not []"),
        (behavior(value=5), "behaviors[0] B: value is an object, not 5"),
        (
            behavior(),
            "behaviors[0] B: criteria has no threshold; it takes one of value, statisticalThreshold, mlDetectionConfig",
        ),
        (
            behavior(comparisonOperator="less-than", value={"count": "1"}),
            'behaviors[0] B: count is an integer from 0, not "1"',
        ),
        (
            behavior(comparisonOperator="less-than", value={"count": True}),
            "behaviors[0] B: count is an integer from 0, not true",
        ),
        (
            behavior("m", comparisonOperator="less-than", value={"number": float("nan")}),
            "behaviors[0] B: number is a finite number, not NaN",
        ),
        (
            behavior("m", comparisonOperator="in-set", value={"strings": "a"}),
            'behaviors[0] B: strings is a list, not "a"',
        ),
        (
            behavior("m", comparisonOperator="in-set", value={"strings": ["a" * 1001]}),
            f'behaviors[0] B: strings are texts of at most 1000 characters, not "{"a" * 59}...',
        ),
        (
            behavior("aws:listening-tcp-ports", comparisonOperator="in-port-set", value={"ports": [22, 65536]}),
            "behaviors[0] B: a port is an integer from 0 to 65535, not 65536",
        ),
        (
            behavior("aws:destination-ip-addresses", comparisonOperator="in-cidr-set", value={"cidrs": ["10.0.0/8"]}),
            "behaviors[0] B: 10.0.0/8 is not a CIDR",
        ),
        (
            behavior(comparisonOperator="under\n", value={"count": 1}),
            "behaviors[0] B: comparisonOperator is 'under\\n'; aws:num-listening-tcp-ports takes less-than,"
            " less-than-equals, greater-than, greater-than-equals",
        ),
        (
            behavior("aws:all-bytes-in", **COUNT),
            "behaviors[0] B: durationSeconds is missing; one of 300, 600, 900, 1800, 3600",
        ),
        (
            behavior("aws:all-bytes-in", durationSeconds=[300], **COUNT),
            "behaviors[0] B: durationSeconds is [300]; one of 300, 600, 900, 1800, 3600",
        ),
        (
            behavior(consecutiveDatapointsToAlarm=0, **COUNT),
            "behaviors[0] B: consecutiveDatapointsToAlarm is 1 to 10, not 0",
        ),
        (
            behavior(consecutiveDatapointsToClear=11, **COUNT),
            "behaviors[0] B: consecutiveDatapointsToClear is 1 to 10, not 11",
        ),
    ],
)
def test_faulty_behavior_costs_itself_only(item: Any, fault: str) -> None:
    parsed = parse(profile(item, behavior(name="Fine", **COUNT)))
    assert parsed.faults == (fault,)
    assert [b.name for b in parsed.behaviors] == ["Fine"]


def test_second_behavior_of_a_name_is_a_fault() -> None:
    parsed = parse(profile(behavior(**COUNT), behavior(**COUNT)))
    assert (len(parsed.behaviors), parsed.faults) == (1, ("behaviors[1] B: a second behavior of this name",))


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ([], "a security profile is a JSON object"),
        ({}, "securityProfileName is 1 to 128 of a-zA-Z0-9:_-, not null"),
        ({"securityProfileName": "a b"}, 'securityProfileName is 1 to 128 of a-zA-Z0-9:_-, not "a b"'),
        ({"securityProfileName": "P", "behaviors": {}}, "behaviors is a list, not {}"),
        (profile(*[7] * 101), "101 behaviors; a profile has at most 100"),
        (
            profile(
                behavior("aws:listening-tcp-ports", comparisonOperator="in-port-set", value={"ports": [*range(1001)]})
            ),
            "1001 value elements; a profile has at most 1000",
        ),
    ],
)
def test_document_that_is_no_profile_is_an_error(document: Any, error: str) -> None:
    with pytest.raises(ProfileError) as raised:
        parse(document)
    assert str(raised.value) == error


NAMES = ["name", "metric", "criteria", "value", "count", "ports", "cidrs", "strings", "comparisonOperator"]
NAMES += ["statisticalThreshold", "statistic", "durationSeconds", "suppressAlerts", "mlDetectionConfig"]
TEXTS = st.sampled_from(["B", "aws:all-bytes-in", "aws:listening-tcp-ports", "in-port-set", "less-than", "p99", "m"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=15,
)


@given(st.lists(VALUES, max_size=3))
def test_any_behavior_is_judged_skipped_or_a_fault(items: Any) -> None:
    parsed = parse({"securityProfileName": "P", "behaviors": items})
    assert len(items) <= len(parsed.behaviors) + len(parsed.faults)
    assert Detector([parsed], "gateway-1").judge({}, 1) == []
