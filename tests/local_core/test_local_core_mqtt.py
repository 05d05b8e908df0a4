"""The MQTT broker that gets what goes to the cloud."""

import json
import queue
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from local_core import LocalCoreError
from support.functions import PUBLISHER, REPORT, REPORTS, TABLE, Watched
from support.mosquitto import Mosquitto, needs_mosquitto


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    mosquitto = Mosquitto(tmp_path)
    yield mosquitto
    mosquitto.stop()


@needs_mosquitto
def test_reports_and_answers_reach_the_broker(run: Callable[..., Watched], broker: Mosquitto) -> None:
    import paho.mqtt.client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion

    messages: queue.Queue[Any] = queue.Queue()
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda client, userdata, message: messages.put((message.topic, message.payload, message.qos))
    client.on_subscribe = lambda *args: messages.put("subscribed")
    client.connect("127.0.0.1", broker.port)
    client.subscribe("$aws/#", qos=1)
    client.loop_start()
    try:
        assert messages.get(timeout=60) == "subscribed"
        core = run(PUBLISHER, subscriptions=TABLE, mqtt=broker.address)
        assert core.do(REPORTS + "json", REPORT.decode()) == "published"
        assert messages.get(timeout=60) == (REPORTS + "json", REPORT, 1)
        topic, payload, qos = messages.get(timeout=60)
        assert (topic, qos, json.loads(payload.decode())["reportId"]) == (REPORTS + "json/accepted", 1, 7)
    finally:
        client.disconnect()
        client.loop_stop()


@needs_mosquitto
def test_lost_broker_is_logged_once_and_connected_again(run: Callable[..., Watched], broker: Mosquitto) -> None:
    core = run(PUBLISHER, subscriptions=TABLE, mqtt=broker.address)
    broker.stop()
    assert core.line("the MQTT broker at ").startswith(broker.address + " is lost")
    assert core.do("test/a") == "published"
    broker.start()
    assert core.line("the MQTT broker at ") == broker.address + " is back"


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("localhost", "'localhost' is not the address of an MQTT broker: expected HOST:PORT"),
        ("localhost:mqtt", "'localhost:mqtt' is not the address of an MQTT broker: expected HOST:PORT"),
        ("127.0.0.1:1", "no MQTT broker at 127.0.0.1:1: .*refused"),
    ],
)
def test_unreachable_broker_is_an_error_at_the_start(run: Callable[..., Watched], address: str, reason: str) -> None:
    with pytest.raises(LocalCoreError, match=reason):
        run(PUBLISHER, mqtt=address)
