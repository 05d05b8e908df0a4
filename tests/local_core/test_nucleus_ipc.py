"""The nucleus' IPC as the real client of awsiotsdk sees it: operations, authorization, errors and limits."""

import datetime
import json
from typing import Any, Callable

import pytest
from awscrt.exceptions import AwsCrtError
from awsiot import eventstreamrpc
from awsiot.greengrasscoreipc import model
from support.functions import REPORT, REPORTS
from support.ipc_client import SECONDS, IpcClient
from support.nucleus import WatchedNucleus

Start = Callable[..., WatchedNucleus]
JSON = REPORTS + "json"
EVERYTHING = {"accessControl": {"aws.greengrass.ipc.mqttproxy": {"p": {"operations": ["*"], "resources": ["*"]}}}}
NUCLEI = pytest.mark.parametrize("kind", ["lite", "java"])


@NUCLEI
def test_report_reaches_the_service_and_its_answer_comes_back(start_nucleus: Start, kind: str) -> None:
    nucleus = start_nucleus(kind)
    client = nucleus.connect()
    answers = client.subscribe(JSON + "/+")
    client.publish(JSON, REPORT)
    topic, payload = answers.message()
    assert (topic, json.loads(payload.decode())["reportId"]) == (JSON + "/accepted", 7)
    delivery = nucleus.wait_for_delivery()
    assert (delivery.topic, delivery.payload) == (JSON, REPORT)
    assert delivery.verdict is not None
    assert delivery.verdict.accepted


@NUCLEI
def test_rejected_report_is_answered_so(start_nucleus: Start, kind: str) -> None:
    client = start_nucleus(kind).connect()
    answers = client.subscribe(JSON + "/+")
    client.publish(JSON, b"{}")
    topic, payload = answers.message()
    assert topic == JSON + "/rejected"
    assert json.loads(payload.decode())["statusDetails"]["ErrorCode"] == "InvalidPayload"


@NUCLEI
def test_ended_subscription_gets_nothing_more(start_nucleus: Start, kind: str) -> None:
    nucleus = start_nucleus(kind)
    client = nucleus.connect()
    first, second = client.subscribe(JSON + "/+"), client.subscribe(REPORTS + "cbor/+")
    first.end()
    assert first.closed.is_set()
    # ended streams are not confirmed: the next request on the connection is served after that
    client.client.get_configuration(key_path=[])
    nucleus.send(JSON + "/accepted", b"1")
    nucleus.send(REPORTS + "cbor/accepted", b"2")
    assert second.message() == (REPORTS + "cbor/accepted", b"2")
    assert first.waiting == 0


def test_two_streams_of_one_topic_get_each_message_twice_in_all(start_nucleus: Start) -> None:
    nucleus = start_nucleus()
    client = nucleus.connect()
    first, second = client.subscribe(JSON + "/+"), client.subscribe(JSON + "/+")
    nucleus.send(JSON + "/accepted", b"1")
    assert first.message() == second.message() == (JSON + "/accepted", b"1")
    assert (first.waiting, second.waiting) == (0, 0)


def test_overlapping_topics_get_each_message_four_times_in_all(start_nucleus: Start) -> None:
    nucleus = start_nucleus()
    client = nucleus.connect()
    streams = [client.subscribe(JSON + "/+"), client.subscribe(JSON + "/accepted")]
    nucleus.send(JSON + "/accepted", b"1")
    for stream in streams:
        assert [stream.message() for _ in range(2)] == [(JSON + "/accepted", b"1")] * 2


@pytest.mark.parametrize(("kind", "text"), [("lite", None), ("java", "Not Authorized")])
def test_what_access_control_does_not_name_is_unauthorized(start_nucleus: Start, kind: str, text: Any) -> None:
    nucleus = start_nucleus(kind)
    client = nucleus.connect()
    others = "$aws/things/another/defender/metrics/json"
    with pytest.raises(model.UnauthorizedError) as raised:
        client.publish(others, REPORT)
    assert raised.value.message == text
    nucleus.core_line("device-defender-connector may not PublishToIoTCore on " + others)
    with pytest.raises(model.UnauthorizedError):
        client.subscribe(others + "/+")
    with pytest.raises(model.UnauthorizedError):
        client.subscribe(JSON + "/#")
    assert nucleus.deliveries == []


def test_own_topics_of_the_configuration_are_allowed(start_nucleus: Start) -> None:
    configuration = {"MetricsTopic": "my/{thing}/{format}", "ViolationsTopic": "alarms/{thing}"}
    nucleus = start_nucleus(configuration=configuration, thing="gateway")
    client = nucleus.connect()
    for topic in ("my/gateway/json", "my/gateway/cbor", "alarms/gateway"):
        client.publish(topic, b"{}")
        assert nucleus.wait_for_delivery().topic == topic


def test_access_control_of_the_configuration_replaces_the_default(start_nucleus: Start) -> None:
    policy = {"operations": ["*"], "resources": ["things/{iot:thingName}/#"]}
    nucleus = start_nucleus(
        configuration={"accessControl": {"aws.greengrass.ipc.mqttproxy": {"one": policy}}}, thing="gateway"
    )
    client = nucleus.connect()
    client.publish("things/gateway/a/b", b"1")
    client.subscribe("things/gateway/+")
    with pytest.raises(model.UnauthorizedError):
        client.publish(JSON, REPORT)


@NUCLEI
def test_configuration_is_read_changed_and_watched(start_nucleus: Start, kind: str) -> None:
    nucleus = start_nucleus(kind, configuration={"MaxListSize": "20", "nested": {"a": 1, "b": 2}})
    client = nucleus.connect()
    whole = client.client.get_configuration(key_path=[])
    assert whole.component_name == "device-defender-connector"
    assert {**whole.value, "accessControl": {}} == {
        "MaxListSize": "20",
        "nested": {"a": 1, "b": 2},
        "accessControl": {},
    }
    assert client.client.get_configuration(key_path=["nested", "b"]).value == {"b": 2}
    assert client.client.get_configuration(key_path=["nested"]).value == {"a": 1, "b": 2}
    changes, nested = client.watch([]), client.watch(["nested"])
    nucleus.configure({"MaxListSize": "20", "nested": {"b": 3}, "LogLevel": "DEBUG"})
    assert [changes.key_path(), changes.key_path(), nested.key_path()] == [
        ["nested", "b"],
        ["LogLevel"],
        ["nested", "b"],
    ]
    now = datetime.datetime.now(datetime.timezone.utc)
    client.client.update_configuration(key_path=["nested"], value_to_merge={"c": 4}, timestamp=now)
    assert nested.key_path() == ["nested", "c"]
    assert client.client.get_configuration(key_path=["nested"]).value == {"a": 1, "b": 3, "c": 4}
    nested.end()
    client.client.get_configuration(key_path=[])  # served after the end, which is not confirmed
    nucleus.configure({"nested": {"a": 0}})
    assert changes.key_path() == ["nested", "c"]
    assert changes.key_path() == ["nested", "a"]
    assert nested.waiting == 0


def test_lite_takes_no_long_value_and_gives_no_long_configuration_as_a_whole(start_nucleus: Start) -> None:
    nucleus = start_nucleus(configuration={f"part{number}": "x" * 1022 for number in range(10)})
    client = nucleus.connect()
    now = datetime.datetime.now(datetime.timezone.utc)
    with pytest.raises(model.ServiceError):
        client.client.get_configuration(key_path=[])
    assert client.client.get_configuration(key_path=["part7"]).value == {"part7": "x" * 1022}
    client.client.update_configuration(key_path=[], value_to_merge={"a": {"b": "y" * 1022}}, timestamp=now)
    with pytest.raises(model.ServiceError):
        client.client.update_configuration(key_path=[], value_to_merge={"a": {"b": "z" * 1023}}, timestamp=now)
    assert client.client.get_configuration(key_path=["a"]).value == {"b": "y" * 1022}


def test_what_is_not_there_or_not_allowed_in_the_configuration(start_nucleus: Start) -> None:
    client = start_nucleus("java").connect()
    now = datetime.datetime.now(datetime.timezone.utc)
    with pytest.raises(model.ResourceNotFoundError):
        client.client.get_configuration(key_path=["nothing", "here"])
    with pytest.raises(model.ResourceNotFoundError):
        client.client.get_configuration(component_name="another", key_path=[])
    with pytest.raises(model.ResourceNotFoundError):
        client.watch(["nothing"])
    with pytest.raises(model.InvalidArgumentsError) as raised:
        client.client.update_configuration(key_path=[], value_to_merge={"accessControl": {}}, timestamp=now)
    assert "accessControl can't be changed over IPC" in raised.value.message
    with pytest.raises(model.ServiceError) as raised:
        client.client.list_components()
    assert "the stand-in has no operation ListComponents" in raised.value.message


@pytest.mark.parametrize(("kind", "error"), [("lite", AwsCrtError), ("java", eventstreamrpc.AccessDeniedError)])
def test_wrong_token_is_refused(start_nucleus: Start, kind: str, error: type) -> None:
    nucleus = start_nucleus(kind)
    with pytest.raises(error):
        IpcClient({**nucleus.new_environment(), "SVCUID": "NOTATOKEN"})
    assert nucleus.core_line("an IPC connection is closed: ") == "its token is no component's"


def test_lite_closes_the_connection_on_a_payload_of_7_kb(start_nucleus: Start) -> None:
    """IPC's buffer has 10,000 bytes, and a payload is sent in base64."""
    nucleus = start_nucleus()
    client = nucleus.connect()
    answers = client.subscribe(JSON + "/+")
    client.publish(JSON, b"x" * 7200)
    assert len(nucleus.wait_for_delivery().payload) == 7200
    answers.message()
    with pytest.raises(eventstreamrpc.StreamClosedError):
        client.publish(JSON, b"x" * 7400)
    assert client.disconnected.wait(SECONDS)
    assert answers.closed.wait(SECONDS)
    assert answers.errors == []
    assert len(nucleus.deliveries) == 1
    with pytest.raises(eventstreamrpc.ConnectionClosedError):
        client.publish(JSON, REPORT)


def test_java_takes_128_kb_and_answers_more_with_an_error(start_nucleus: Start) -> None:
    nucleus = start_nucleus("java")
    client = nucleus.connect()
    client.publish(JSON, bytes(128 * 1024))
    assert len(nucleus.wait_for_delivery().payload) == 128 * 1024
    with pytest.raises(model.ServiceError) as raised:
        client.publish(JSON, bytes(128 * 1024 + 1))
    assert "131073 bytes are more than 131072" in raised.value.message
    client.publish(JSON, REPORT)


def test_lite_drops_a_message_over_5000_bytes_for_the_component(start_nucleus: Start) -> None:
    nucleus = start_nucleus()
    answers = nucleus.connect().subscribe(JSON + "/+")
    for size in (5001, 5000):
        nucleus.send(JSON + "/accepted", bytes(size))
    assert len(answers.message()[1]) == 5000
    nucleus.core_line("a message of 5001 bytes on")


def test_wildcard_ends_the_connection_of_a_lite_core(start_nucleus: Start) -> None:
    nucleus = start_nucleus(configuration=EVERYTHING)
    client = nucleus.connect()
    client.publish("reports/+", REPORT)
    nucleus.core_line("the broker has ended the core's connection, for the wildcard in reports/+")
    nucleus.core_line("the MQTT connection is back")
    client.publish("reports/a", REPORT)
    assert nucleus.wait_for_delivery().topic == "reports/a"


def test_wildcard_is_an_error_on_java(start_nucleus: Start) -> None:
    client = start_nucleus("java", configuration=EVERYTHING).connect()
    with pytest.raises(model.ServiceError) as raised:
        client.publish("reports/#", REPORT)
    assert "'reports/#' has a wildcard" in raised.value.message
