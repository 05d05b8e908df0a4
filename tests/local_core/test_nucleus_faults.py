"""What goes wrong on a core, as the real client of awsiotsdk sees it: one test for each row of the table of faults."""

import concurrent.futures
import json
import math
import threading
from typing import Callable

import pytest
from awscrt.exceptions import AwsCrtError
from awsiot import eventstreamrpc
from awsiot.greengrasscoreipc import model
from local_core import LocalCoreError, Times
from support.functions import REPORTS
from support.ipc_client import SECONDS, IpcClient
from support.nucleus import QUICK, WatchedNucleus

Start = Callable[..., WatchedNucleus]
JSON = REPORTS + "json"
NUCLEI = pytest.mark.parametrize("kind", ["lite", "java"])


def report(report_id: int) -> bytes:
    """Return a report; answers have its id, and reports that come too soon after another one get one as well."""
    metrics = {"listening_udp_ports": {"ports": [], "total": 0}}
    return json.dumps({"header": {"report_id": report_id, "version": "1.0"}, "metrics": metrics}).encode()


def ids(nucleus: WatchedNucleus) -> "list[int]":
    return [delivery.report["header"]["report_id"] for delivery in nucleus.deliveries]


def refused(client: IpcClient, report_id: int) -> None:
    """Publish a report that is answered with ServiceError, on lite without text."""
    with pytest.raises(model.ServiceError) as raised:
        client.publish(JSON, report(report_id))
    assert (raised.value.message, str(raised.value)) == (None, "")


def test_lost_mqtt_connection_fails_at_once_and_comes_back_with_its_subscriptions(start_nucleus: Start) -> None:
    nucleus = start_nucleus()
    client = nucleus.connect()
    answers = client.subscribe(JSON + "/+")
    nucleus.faults.begin("mqtt-lost", math.inf)
    refused(client, 1)
    with pytest.raises(model.ServiceError):
        client.subscribe(REPORTS + "cbor/+")
    nucleus.send(JSON + "/accepted", b"lost")
    nucleus.faults.release()
    client.publish(JSON, report(2))
    assert b'"reportId": 2' in answers.message()[1]
    assert ids(nucleus) == [2]
    assert not answers.closed.is_set()


def test_java_spools_qos_1_while_the_connection_is_lost(start_nucleus: Start) -> None:
    nucleus = start_nucleus("java")
    client = nucleus.connect()
    nucleus.faults.begin("mqtt-lost", math.inf)
    client.publish(JSON, report(1))
    with pytest.raises(model.ServiceError) as raised:
        client.publish(JSON, report(2), qos="0")
    assert "Device is offline. Dropping QoS 0 message." in raised.value.message
    client.publish(JSON, report(3))
    assert nucleus.deliveries == []
    nucleus.faults.release()
    nucleus.wait_for_delivery()
    nucleus.wait_for_delivery()
    assert ids(nucleus) == [1, 3]


def test_java_spool_has_an_end(start_nucleus: Start) -> None:
    nucleus = start_nucleus("java")
    client = nucleus.connect()
    nucleus.faults.begin("mqtt-lost", math.inf)
    for _ in range(20):  # of 128 KB
        client.publish(JSON, bytes(128 * 1024))
    with pytest.raises(model.ServiceError) as raised:
        client.publish(JSON, b"x")
    assert "the spool is full, 2621440 bytes" in raised.value.message


def test_restarted_mqtt_daemon_leaves_subscriptions_dead_without_a_sign(start_nucleus: Start) -> None:
    nucleus = start_nucleus()
    client = nucleus.connect()
    dead = client.subscribe(JSON + "/+")
    nucleus.faults.begin("mqtt-restart")
    client.publish(JSON, report(1))
    assert nucleus.mqtt.wait_until_sent(SECONDS), "its answer would come on the new subscription"
    dead.end()
    anew = client.subscribe(JSON + "/+")
    client.publish(JSON, report(2))
    assert b'"reportId": 2' in anew.message()[1]
    assert ids(nucleus) == [1, 2]
    assert (dead.waiting, anew.waiting, dead.errors) == (0, 0, [])


def test_hanging_mqtt_daemon_gives_an_error_for_a_message_that_comes_later(start_nucleus: Start) -> None:
    nucleus = start_nucleus()
    client = nucleus.connect()
    answers = client.subscribe(JSON + "/+")
    nucleus.faults.begin("mqtt-hang", math.inf)
    refused(client, 1)
    assert nucleus.deliveries == []
    nucleus.faults.release()
    assert b'"reportId": 1' in answers.message()[1]
    client.publish(JSON, report(2))
    nucleus.wait_for_delivery()
    nucleus.wait_for_delivery()
    assert ids(nucleus) == [1, 2]


def test_call_that_the_hanging_daemon_answers_in_time_is_ok(start_nucleus: Start) -> None:
    nucleus = start_nucleus(times=Times())
    client = nucleus.connect()
    nucleus.faults.begin("mqtt-hang", math.inf)
    call = client.client.publish_to_iot_core_async(topic_name=JSON, qos="1", payload=report(1))
    nucleus.send(JSON + "/accepted", b"waits as well")
    assert not call.done()
    nucleus.faults.release()
    call.result(SECONDS)
    nucleus.wait_for_delivery()


def test_hanging_ipc_daemon_answers_nothing_until_it_goes_on(start_nucleus: Start) -> None:
    nucleus = start_nucleus()
    client = nucleus.connect()
    nucleus.faults.begin("ipc-hang", math.inf)
    call = client.client.publish_to_iot_core_async(topic_name=JSON, qos="1", payload=report(1))
    with pytest.raises(concurrent.futures.TimeoutError):
        call.result(0.05)
    assert nucleus.deliveries == []
    nucleus.faults.release()
    call.result(SECONDS)
    nucleus.wait_for_delivery()


def test_restarted_ipc_daemon_closes_the_streams_and_refuses_the_token_for_good(start_nucleus: Start) -> None:
    nucleus = start_nucleus()
    environment = nucleus.new_environment()
    client = IpcClient(environment)
    answers = client.subscribe(JSON + "/+")
    nucleus.faults.begin("ipc-restart")
    assert answers.closed.wait(SECONDS)
    assert client.disconnected.wait(SECONDS)
    assert answers.errors == []
    with pytest.raises(eventstreamrpc.ConnectionClosedError):
        client.publish(JSON, report(1))
    for _ in range(2):
        with pytest.raises(AwsCrtError):
            IpcClient(environment)
    client.close()
    nucleus.connect().publish(JSON, report(2))  # with a new token
    nucleus.wait_for_delivery()
    assert ids(nucleus) == [2]


@NUCLEI
def test_refusal_of_the_broker_is_ok_and_the_message_lost(start_nucleus: Start, kind: str) -> None:
    nucleus = start_nucleus(kind)
    client = nucleus.connect()
    nucleus.faults.begin("broker-refuse", 2)
    for report_id in (1, 2, 3):
        client.publish(JSON, report(report_id))
    nucleus.wait_for_delivery()
    assert ids(nucleus) == [3]


def test_silent_broker_loses_ten_messages_that_were_ok(start_nucleus: Start) -> None:
    nucleus = start_nucleus(times=Times())
    client = nucleus.connect()
    nucleus.faults.begin("broker-silent", math.inf)
    for report_id in range(1, 11):
        client.publish(JSON, report(report_id))
    refused(client, 11)
    client.publish(JSON, report(12), qos="0")  # is not acknowledged, so it counts for nothing
    nucleus.faults.release()
    client.publish(JSON, report(13))
    nucleus.wait_for_delivery()
    assert ids(nucleus) == [13]


def test_at_most_15000_bytes_wait_for_acknowledgement(start_nucleus: Start) -> None:
    nucleus = start_nucleus(times=Times())
    client = nucleus.connect()
    nucleus.faults.begin("broker-silent", math.inf)
    for _ in range(2):
        client.publish(JSON, bytes(7000))
    with pytest.raises(model.ServiceError):
        client.publish(JSON, bytes(1001))
    client.publish(JSON, bytes(1000))


def test_silent_broker_counts_as_dead_after_a_while(start_nucleus: Start) -> None:
    nucleus = start_nucleus(times=QUICK)
    client = nucleus.connect()
    nucleus.faults.begin("broker-silent", math.inf)
    nucleus.core_line("the broker has not answered for 0.05 s: the connection is lost")
    refused(client, 1)
    nucleus.faults.release()
    client.publish(JSON, report(2))
    nucleus.wait_for_delivery()
    assert ids(nucleus) == [2]


def test_java_sends_again_what_the_broker_has_not_acknowledged(start_nucleus: Start) -> None:
    nucleus = start_nucleus("java", times=Times())
    client = nucleus.connect()
    nucleus.faults.begin("broker-silent", math.inf)
    for number in range(1, 12):  # nucleus lite takes ten
        client.publish(JSON, report(number))
    nucleus.faults.release()
    for _ in range(11):
        nucleus.wait_for_delivery()
    assert ids(nucleus) == list(range(1, 12))


def test_service_that_gives_no_answer(start_nucleus: Start) -> None:
    nucleus = start_nucleus()
    client = nucleus.connect()
    answers = client.subscribe(JSON + "/+")
    nucleus.faults.begin("unanswered", 1)
    client.publish(JSON, report(1))
    client.publish(JSON, report(2))
    assert b'"reportId": 2' in answers.message()[1]
    assert ids(nucleus) == [1, 2]


def test_configuration_daemon_that_is_away_is_an_error_and_publishing_goes_on(start_nucleus: Start) -> None:
    nucleus = start_nucleus(configuration={"MaxListSize": "20"})
    client = nucleus.connect()
    nucleus.faults.begin("config-lost", math.inf)
    for ask in (lambda: client.client.get_configuration(key_path=[]), lambda: client.watch([])):
        with pytest.raises(model.ServiceError):
            ask()
    client.publish(JSON, report(1))
    nucleus.faults.release()
    assert client.client.get_configuration(key_path=["MaxListSize"]).value == {"MaxListSize": "20"}


def test_restarted_configuration_daemon_tells_nobody_of_changes_without_a_sign(start_nucleus: Start) -> None:
    nucleus = start_nucleus(configuration={"MaxListSize": "20"})
    client = nucleus.connect()
    before = client.watch([])
    nucleus.faults.begin("config-restart")
    after = client.watch([])
    nucleus.configure({"MaxListSize": "30"})
    assert after.key_path() == ["MaxListSize"]
    assert (before.waiting, before.errors, before.closed.is_set()) == (0, [], False)


def test_added_faults_happen_with_the_next_publishes_in_order(start_nucleus: Start) -> None:
    nucleus = start_nucleus()
    client = nucleus.connect()
    nucleus.faults.add("error", 2)
    nucleus.faults.add("broker-refuse")
    nucleus.faults.add("ipc-restart")
    refused(client, 1)
    assert not nucleus.faults.wait(0)
    refused(client, 2)
    client.publish(JSON, report(3))
    with pytest.raises(eventstreamrpc.StreamClosedError):
        client.publish(JSON, report(4))
    assert nucleus.faults.wait(SECONDS)
    nucleus.connect().publish(JSON, report(5))
    nucleus.wait_for_delivery()
    assert ids(nucleus) == [5]


def test_fault_counts_as_happened_once_it_has(start_nucleus: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that waits for it and releases it then must not come too early."""
    nucleus = start_nucleus()
    client = nucleus.connect()
    begun, go, lose = threading.Event(), threading.Event(), nucleus.mqtt.lose

    def lose_late(seconds: float) -> None:
        begun.set()
        assert go.wait(SECONDS)
        lose(seconds)

    monkeypatch.setattr(nucleus.mqtt, "lose", lose_late)
    nucleus.faults.add("mqtt-lost", math.inf)
    call = client.client.publish_to_iot_core_async(topic_name=JSON, qos="1", payload=report(1))
    assert begun.wait(SECONDS)
    assert not nucleus.faults.wait(0)
    go.set()
    assert nucleus.faults.wait(SECONDS)
    nucleus.faults.release()
    concurrent.futures.wait([call], SECONDS)  # it may be refused or taken
    client.publish(JSON, report(2))
    nucleus.wait_for_delivery()


def test_fault_ends_by_itself_after_its_seconds(start_nucleus: Start) -> None:
    nucleus = start_nucleus()
    nucleus.faults.begin("mqtt-lost", math.inf)
    nucleus.faults.begin("mqtt-lost", 0.01)
    nucleus.core_line("the MQTT connection is back")
    nucleus.connect().publish(JSON, report(1))
    nucleus.wait_for_delivery()


def test_unknown_faults_and_those_of_the_other_nucleus_are_errors(start_nucleus: Start) -> None:
    with pytest.raises(LocalCoreError, match="the nucleus lite has no fault 'fire'; it has mqtt-lost, mqtt-restart, "):
        start_nucleus().faults.add("fire")
    with pytest.raises(LocalCoreError, match="the Java nucleus has no fault 'ipc-hang'; it has mqtt-lost, broker"):
        start_nucleus("java").faults.begin("ipc-hang")
    with pytest.raises(LocalCoreError, match="there is no nucleus 'heavy'; there are lite, java"):
        start_nucleus("heavy")


def test_stop_ends_a_nucleus_that_hangs(start_nucleus: Start) -> None:
    others = threading.enumerate()
    nucleus = start_nucleus()
    client = nucleus.connect()
    nucleus.faults.begin("ipc-hang", math.inf)
    call = client.client.publish_to_iot_core_async(topic_name=JSON, qos="1", payload=report(1))
    # Not those of the client, which Python does not start and only knows once they have called it.
    own = [each for each in threading.enumerate() if each not in others and not each.name.startswith("Dummy-")]
    assert len(own) >= 3
    nucleus.stop()
    concurrent.futures.wait([call], SECONDS)
    assert call.done()
    for thread in own:
        thread.join(SECONDS)
    assert [thread for thread in own if thread.is_alive()] == []
