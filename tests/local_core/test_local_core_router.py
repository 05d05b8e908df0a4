"""The local core's subscription table."""

from typing import Dict

import pytest
from local_core import FUNCTION_ARN, LocalCoreError, Subscription, default_subscriptions, read_subscriptions
from local_core.router import CLOUD, targets

REPORT = "$aws/things/a-thing/defender/metrics/json"


@pytest.mark.parametrize(
    ("subject", "topic", "fits"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/B", False),
        ("a/b", "a/b/c", False),
        ("a/b/c", "a/b", False),
        ("a/+", "a/b", True),
        ("a/+", "a/", True),
        ("a/+", "a", False),
        ("a/+", "a/b/c", False),
        ("+/b/+", "a/b/c", True),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("a/#", "ab/c", False),
        ("#", "a/b", True),
        ("#", REPORT, False),
        ("+/things/a-thing/defender/metrics/json", REPORT, False),
        ("$aws/#", REPORT, True),
        ("$aws/things/+/defender/metrics/json", REPORT, True),
        ("$aws/things/+/defender/metrics/json", REPORT + "/accepted", False),
    ],
)
def test_topic_filter_matches_as_in_mqtt(subject: str, topic: str, fits: bool) -> None:
    assert targets([Subscription("f", subject, "t")], "f", topic) == (["t"] if fits else [])


def test_default_has_reports_to_the_cloud_and_verdicts_back_only() -> None:
    table = default_subscriptions(FUNCTION_ARN)
    cbor = REPORT.replace("json", "cbor")
    assert [targets(table, FUNCTION_ARN, topic) for topic in (REPORT, cbor, REPORT + "/accepted", "other")] == [
        [CLOUD],
        [CLOUD],
        [],
        [],
    ]
    assert [targets(table, CLOUD, topic) for topic in (cbor, cbor + "/accepted", REPORT + "/rejected")] == [
        [],
        [FUNCTION_ARN],
        [FUNCTION_ARN],
    ]
    assert targets(table, "another function", REPORT) == []


def test_default_has_the_own_topic() -> None:
    table = default_subscriptions(FUNCTION_ARN, "my/thing/{format}")
    topics = (REPORT, "my/thing/json", "my/thing/cbor", "my/thing/other")
    assert [targets(table, FUNCTION_ARN, topic) for topic in topics] == [[CLOUD], [CLOUD], [CLOUD], []]
    for none in ("", "a/+", "#/a"):
        assert default_subscriptions(FUNCTION_ARN, none) == default_subscriptions(FUNCTION_ARN)


def test_two_subscriptions_with_one_target_deliver_once() -> None:
    table = [Subscription("f", "a/#", "t"), Subscription("f", "a/+", "t"), Subscription("f", "#", "u")]
    assert targets(table, "f", "a/b") == ["t", "u"]


def row(**changes: object) -> Dict[str, object]:
    return {"id": "report", "source": "component:com.example", "subject": "a/+", "target": "cloud", **changes}


@pytest.mark.parametrize("name", ["component:com.example", FUNCTION_ARN, FUNCTION_ARN.rpartition(":")[0]])
def test_configuration_of_the_legacy_router_may_name_the_function_in_each_way(name: str) -> None:
    document = {
        "subscriptions": {
            "report": row(source=name),
            "verdict": row(id="verdict", source="cloud", subject="b/#", target=name),
        }
    }
    assert read_subscriptions(document, FUNCTION_ARN) == [
        Subscription(FUNCTION_ARN, "a/+", CLOUD),
        Subscription(CLOUD, "b/#", FUNCTION_ARN),
    ]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ([], "expected {"),
        ({"subscriptions": []}, "expected {"),
        ({"subscriptions": {"report": "a"}}, "'report': expected id, source, subject and target"),
        ({"subscriptions": {"other": row()}}, "the id equal to the key"),
        ({"subscriptions": {"report": row(extra=1)}}, "'extra': 1"),
        ({"subscriptions": {"report": row(source="arn:of:another")}}, "'arn:of:another' is neither 'cloud'"),
        ({"subscriptions": {"report": row(target=None)}}, "'None' is neither 'cloud'"),
        ({"subscriptions": {"report": row(subject="a/#/b")}}, "'a/#/b' is not a topic filter"),
        ({"subscriptions": {"report": row(subject="a/b+")}}, r"'a/b\+' is not a topic filter"),
    ],
)
def test_invalid_configuration_is_refused(document: object, reason: str) -> None:
    with pytest.raises(LocalCoreError, match=reason):
        read_subscriptions(document, FUNCTION_ARN)
