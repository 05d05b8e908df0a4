"""The transport on a real nucleus' wire: what is refused and why, subscriptions made anew, and the end."""

from __future__ import annotations

import json
import logging
import threading
from typing import Any, Callable, Iterator, List, Tuple

import pytest
from support.direct import Log
from support.ipc_client import SECONDS
from support.nucleus import WatchedNucleus

from connector import component_settings
from connector.errors import ConfigError, NoSubscriptionError, PublishError
from connector.transports.greengrass_ipc import GreengrassIpc
from connector.transports.greengrass_ipc_connection import IpcConnection, IpcError

TOPIC = "$aws/things/local-core/defender/metrics/json"
TOPICS = (TOPIC + "/accepted", TOPIC + "/rejected")


class Side:
    """A nucleus, a connection to it, a transport, and what the transport has received."""

    def __init__(self, kind: str, **settings: Any) -> None:
        self.nucleus = WatchedNucleus(nucleus=kind, interval=1, **settings)
        self.nucleus.start()
        self.lost = threading.Event()
        self.connection = IpcConnection(self.nucleus.new_environment(), lambda reason: self.lost.set())
        self.log = Log()
        logger = logging.Logger("test", logging.DEBUG)
        logger.addHandler(self.log)
        self.transport = GreengrassIpc(self.connection, 7_000, logger)
        self.received: List[Tuple[str, Any]] = []
        self.transport.on_message = lambda message, topic: self.received.append((str(topic), json.loads(message)))

    def report(self, number: int) -> None:
        """Send a report that the service accepts, and wait until its answer has come."""
        report = {"header": {"report_id": number, "version": "1.0"}, "custom_metrics": {"m": [{"number": 1}]}}
        self.transport.send(TOPIC, json.dumps(report).encode("ascii"))
        assert self.nucleus.mqtt.wait_until_sent(SECONDS)
        self.connection.parameter("any")  # its answer comes after all that was sent before

    @property
    def answered(self) -> List[int]:
        return [answer["reportId"] for _, answer in self.received]

    def end(self) -> None:
        self.transport.close()
        self.connection.close()
        self.nucleus.stop()


@pytest.fixture
def make_side() -> Iterator[Callable[..., Side]]:
    made: List[Side] = []

    def make(kind: str = "lite", **settings: Any) -> Side:
        made.append(Side(kind, **settings))
        return made[-1]

    yield make
    for side in made:
        side.end()


@pytest.mark.parametrize("kind", ["lite", "java"])
def test_a_report_is_taken_and_its_answer_received(make_side: Callable[..., Side], kind: str) -> None:
    side = make_side(kind)
    side.transport.start(TOPICS)
    side.report(5)
    ((topic, answer),) = side.received
    assert topic == TOPIC + "/accepted"
    assert (answer["reportId"], answer["status"]) == (5, "ACCEPTED")


def test_a_topic_that_is_not_allowed_names_the_entry_to_add(make_side: Callable[..., Side]) -> None:
    side = make_side()
    with pytest.raises(NoSubscriptionError, match=r"add aws.greengrass#PublishToIoTCore with this resource") as raised:
        side.transport.send("factory/metrics", b"{}")
    assert "factory/metrics" in str(raised.value)
    side.transport.start(["factory/metrics/accepted"])
    line = side.log.wait_for("can't be subscribed to")
    assert "aws.greengrass#SubscribeToIoTCore with the resource factory/metrics/+" in line


@pytest.mark.parametrize("topic", ["a" * 256, "\u00e9" * 128, '"' * 256, "\U0001f600" * 64])
def test_the_longest_message_passes_with_every_topic(make_side: Callable[..., Side], topic: str) -> None:
    settings, _ = component_settings.read({"MetricsTopic": topic}, {"AWS_IOT_THING_NAME": "local-core"}, "")
    side = make_side(configuration={"MetricsTopic": topic})
    side.transport.max_payload_bytes = settings.max_payload_bytes
    side.transport.send(topic, bytes(settings.max_payload_bytes))
    assert side.nucleus.mqtt.wait_until_sent(SECONDS)
    side.connection.parameter("any")
    assert not side.lost.is_set()


@pytest.mark.parametrize(("kind", "text"), [("lite", ": ServiceError; it has"), ("java", "a fault that was asked for")])
def test_errors_are_told_apart_by_their_type_with_or_without_a_text(
    make_side: Callable[..., Side], kind: str, text: str
) -> None:
    side = make_side(kind)
    side.nucleus.faults.begin("error", 1)
    with pytest.raises(PublishError, match="the nucleus did not take the message: ServiceError") as raised:
        side.transport.send(TOPIC, b"{}")
    assert text in str(raised.value)
    assert not isinstance(raised.value, NoSubscriptionError)


def test_dead_subscriptions_are_made_anew_and_nothing_comes_twice(make_side: Callable[..., Side]) -> None:
    side = make_side()
    side.transport.start(TOPICS)
    side.report(1)
    side.nucleus.faults.begin("mqtt-restart")
    side.report(2)
    assert side.answered == [1]
    for number in range(3, 6):  # also where they were not dead
        side.transport.renew()
        side.report(number)
    assert side.answered == [1, 3, 4, 5]


def test_a_subscription_that_failed_is_tried_again_with_the_next_report(make_side: Callable[..., Side]) -> None:
    side = make_side()
    side.nucleus.faults.begin("mqtt-lost", 1e9)
    side.transport.start(TOPICS)
    side.log.wait_for("WARNING subscription to the answers: ServiceError")
    side.nucleus.faults.release()
    side.report(1)
    assert side.answered == [1]
    assert len(side.log.having("INFO subscription to the answers: recovered")) == 1


def test_a_message_that_is_no_text_or_empty_is_handed_on(make_side: Callable[..., Side]) -> None:
    side = make_side()
    messages: List[Any] = []
    side.transport.on_message = lambda message, topic: messages.append(message)
    side.transport.start(TOPICS)
    assert side.transport._idle.wait(SECONDS)
    for payload in (b"\xa1\x61a\x01", b"", b"{}"):
        side.nucleus.send(TOPIC + "/accepted", payload)
    side.connection.parameter("any")
    assert messages == [b"\xa1\x61a\x01", b"", b"{}"]


def test_the_end_of_the_connection_is_told_and_ends_calls(make_side: Callable[..., Side]) -> None:
    side = make_side()
    side.nucleus.faults.begin("mqtt-hang", 1e9)
    hanging = threading.Thread(target=lambda: pytest.raises(PublishError, side.transport.send, TOPIC, b"{}"))
    hanging.start()
    side.nucleus.faults.begin("ipc-restart")
    assert side.lost.wait(SECONDS)
    hanging.join(SECONDS)
    assert not hanging.is_alive()
    with pytest.raises(PublishError, match="the nucleus did not take the message: ConnectionClosedError"):
        side.transport.send(TOPIC, b"{}")


def test_a_message_on_which_the_nucleus_closes_the_connection_is_known(make_side: Callable[..., Side]) -> None:
    side = make_side()
    side.transport.max_payload_bytes = 131_072
    side.transport.send(TOPIC, bytes(7_000))
    with pytest.raises(PublishError, match="the nucleus did not take the message: StreamClosedError"):
        side.transport.send(TOPIC, bytes(8_000))
    assert side.lost.wait(SECONDS)
    assert side.transport.closed_on == 8_000


def test_closing_is_not_taken_for_a_loss(make_side: Callable[..., Side]) -> None:
    side = make_side()
    side.connection.close()
    assert not side.lost.is_set()


def test_a_token_that_is_refused_is_no_connection(make_side: Callable[..., Side]) -> None:
    side = make_side()
    environment = side.nucleus.new_environment()
    with pytest.raises(IpcError, match="no connection to .*ipc.socket"):
        IpcConnection({**environment, "SVCUID": "another"}, lambda reason: None)
    with pytest.raises(ConfigError, match="SVCUID not set: a Greengrass nucleus sets them"):
        IpcConnection({**environment, "SVCUID": ""}, lambda reason: None)
