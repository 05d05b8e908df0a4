"""`detect.py watch --mqtt` with a real broker on the loopback: events, reports, TLS, a lost connection."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cbor2
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from support.certificates import certificates
from support.detect_tool import PROFILES, ROOT, run
from support.mosquitto import Mosquitto, needs_mosquitto

from connector.detect.engine import Detector
from connector.detect.measurement import measure
from connector.detect.profile import parse

PORTS = PROFILES / "RemoteManagementPorts.json"
SECONDS = 60.0  # for what takes far less


class Watched:
    """`detect.py watch --mqtt` in a process of its own."""

    def __init__(self, broker: Mosquitto, *arguments: Any) -> None:
        command = [sys.executable, str(ROOT / "packaging" / "detect.py"), "watch", "--mqtt", broker.address, "--json"]
        self._process = subprocess.Popen(
            [*command, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._give_up = threading.Timer(10 * SECONDS, self._process.kill)  # which ends every wait for a line
        self._give_up.start()

    def wait_for(self, start: str) -> str:
        """Return the next line on stderr that begins so, without its prefix."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            text = line.removeprefix("detect.py: ").rstrip("\n")
            if text.startswith(start):
                return text
        raise AssertionError(f"it ended without a line that begins with {start!r}")

    def event(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def interrupt(self) -> int:
        self._process.send_signal(signal.SIGINT)
        self._process.communicate(timeout=SECONDS)
        return self._process.returncode

    def kill(self) -> None:
        self._give_up.cancel()
        self._process.kill()
        self._process.communicate(timeout=SECONDS)


def publish(broker: Mosquitto, topic: str, document: Any, **tls: str) -> None:
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    if tls:
        client.tls_set(**tls)  # type: ignore[arg-type]
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        payload = document if isinstance(document, bytes) else json.dumps(document)
        client.publish(topic, payload, qos=1).wait_for_publish(SECONDS)
    finally:
        client.disconnect()
        client.loop_stop()


def an_event() -> dict[str, Any]:
    (event,) = Detector([parse(json.loads(PORTS.read_text()))], "gateway-1").judge(measure(tcp_ports=[22]), 1767600000)
    return event.document()


@pytest.fixture
def watch() -> Iterator[Callable[..., Watched]]:
    """Start watching, and wait until it has subscribed."""
    started: list[Watched] = []

    def start(broker: Mosquitto, *arguments: Any) -> Watched:
        started.append(Watched(broker, *arguments))
        started[-1].wait_for("subscribed to ")
        return started[-1]

    yield start
    for watched in started:
        watched.kill()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    mosquitto = Mosquitto(tmp_path)
    yield mosquitto
    mosquitto.stop()


@needs_mosquitto
def test_events_and_reports_from_a_broker(broker: Mosquitto, watch: Callable[..., Watched]) -> None:
    watched = watch(broker, "--profile", PORTS)
    publish(broker, "device-defender/gateway-1/violations", an_event())
    assert watched.event() == an_event()
    report = {"header": {"report_id": 1767600000}, "metrics": {"listening_tcp_ports": {"ports": [{"port": 23}]}}}
    publish(broker, "$aws/things/gateway-2/defender/metrics/json", report)
    event = watched.event()
    assert (event["thingName"], event["metricValue"]) == ("gateway-2", {"ports": [23]})
    publish(broker, "$aws/things/gateway-3/defender/metrics/cbor", cbor2.dumps(report))
    assert watched.event()["thingName"] == "gateway-3"
    assert watched.interrupt() == 3


@needs_mosquitto
def test_lost_broker_is_one_line_and_not_the_end(broker: Mosquitto, watch: Callable[..., Watched]) -> None:
    watched = watch(broker, "--topic", "alarms/#")
    broker.stop()
    assert watched.wait_for("the MQTT broker").startswith(f"the MQTT broker at {broker.address} is lost (")
    broker.start()
    assert watched.wait_for("the MQTT broker") == f"the MQTT broker at {broker.address} is back"
    publish(broker, "alarms/gateway-1", an_event())
    assert watched.event() == an_event()
    assert watched.interrupt() == 3


@needs_mosquitto
def test_broker_with_tls_and_client_certificates(
    tmp_path: Path, watch: Callable[..., Watched], capsys: pytest.CaptureFixture[str]
) -> None:
    files = certificates(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    mosquitto = Mosquitto(
        tmp_path,
        f"cafile {files['ca_certs']}",
        f"certfile {files['certfile']}",
        f"keyfile {files['keyfile']}",
        "user root",  # otherwise root's broker can't read files in a directory of root's
        "require_certificate true",
        "use_identity_as_username true",
    )
    tls = ["--ca-file", files["ca_certs"], "--cert", files["certfile"], "--key", files["keyfile"]]
    try:
        watched = watch(mosquitto, *tls)
        publish(mosquitto, "device-defender/gateway-1/violations", an_event(), **files)
        assert watched.event() == an_event()
        assert watched.interrupt() == 3
        assert run("watch", "--mqtt", mosquitto.address, "--ca-file", certificates(other)["ca_certs"]) == 1
        assert "CERTIFICATE_VERIFY_FAILED" in capsys.readouterr().err
    finally:
        mosquitto.stop()


@needs_mosquitto
def test_broker_that_refuses_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mosquitto = Mosquitto(tmp_path, "allow_anonymous false")
    try:
        assert run("watch", "--mqtt", mosquitto.address) == 1
    finally:
        mosquitto.stop()
    assert capsys.readouterr().err == f"detect.py: the MQTT broker at {mosquitto.address} refuses: Not authorized\n"


def test_broker_that_is_not_there_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("watch", "--mqtt", "127.0.0.1:1") == 1
    assert capsys.readouterr().err == "detect.py: no MQTT broker at 127.0.0.1:1: [Errno 111] Connection refused\n"
