"""Reports to a real broker: what it got equals the counters to the byte, whatever happens to it."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, Dict, List

import paho.mqtt.client as paho
import pytest
from direct.conftest import Certificates
from support.broker import Broker
from support.direct import DirectLoop, Gate, Log, Observer, endpoint, total, transport, wait_until

from connector.transports.mqtt_connection import KEEP_ALIVE_SECONDS, MQTT_3_1_1, MQTT_5

DAY = 86400.0
# Where the loop does not wait for its calls, a call of minutes ago may begin after the one that took its place, as the
# threads run in real time. Then both reports have its traffic, and the next ones have less, until all is counted once.
LONG_ENOUGH = 20_000.0

pytestmark = pytest.mark.usefixtures("quick")


def loop_on(port: int, tmp_path: Path, certificates: Certificates, log: Log, **more: Any) -> DirectLoop:
    where = endpoint(port, certificates.authority, certificates.device)
    return DirectLoop(tmp_path, transport(where, log, **more), log)


def exact(loop: DirectLoop, observer: Observer, least: int = 3) -> List[Dict[str, Any]]:
    """Check that the reports at the broker have all traffic once; return them, at least so many."""
    assert loop.accepted >= least, "\n".join(loop.log.lines[-40:])
    reports = observer.wait_for(loop.accepted)
    assert total(reports) == loop.passed
    assert loop.passed.bytes_out > 0
    return reports


@pytest.mark.parametrize("protocol", [MQTT_5, MQTT_3_1_1])
def test_every_report_is_accepted_by_a_healthy_broker(
    protocol: Any, broker: Broker, observer: Observer, tmp_path: Path, certificates: Certificates, log: Log
) -> None:
    loop = loop_on(broker.port, tmp_path, certificates, log, protocol=protocol)
    loop.run(3000.0)
    reports = exact(loop, observer, 10)
    assert len({report["header"]["report_id"] for report in reports}) == 10
    assert not log.warnings
    assert len(log.having("INFO connected to localhost:")) == 1


@pytest.mark.parametrize("protocol", [MQTT_5, MQTT_3_1_1])
def test_traffic_of_an_outage_is_in_the_first_report_after_it(
    protocol: Any, broker: Broker, observer: Observer, tmp_path: Path, certificates: Certificates, log: Log
) -> None:
    loop = loop_on(broker.port, tmp_path, certificates, log, protocol=protocol)

    def stop() -> None:
        loop.up = False
        broker.stop()

    def restart() -> None:
        broker.start()
        observer.wait_until_subscribed(2)
        loop.up = True

    loop.at(400.0, stop)
    loop.at(4000.0, restart)
    loop.run(5000.0)
    exact(loop, observer)
    assert len(log.having("WARNING publishing: ")) == 1
    assert len(log.having("INFO publishing: recovered after ")) == 1


def test_broker_that_restarts_between_two_reports_leaves_no_trace(
    broker: Broker, observer: Observer, tmp_path: Path, certificates: Certificates, log: Log
) -> None:
    loop = loop_on(broker.port, tmp_path, certificates, log)

    def restart() -> None:
        broker.stop()
        broker.start()
        observer.wait_until_subscribed(2)
        log.wait_for("connected to localhost:", times=2)

    loop.at(400.0, restart)
    loop.run(1100.0)
    exact(loop, observer)
    assert not log.warnings


def test_day_without_the_broker_costs_one_line_and_no_byte(
    broker: Broker, observer: Observer, tmp_path: Path, certificates: Certificates, log: Log
) -> None:
    loop = loop_on(broker.port, tmp_path, certificates, log)

    def stop() -> None:
        loop.up = False
        broker.stop()

    def restart() -> None:
        broker.start()
        observer.wait_until_subscribed(2)
        loop.up = True

    loop.at(10.0, stop)
    loop.at(10.0 + DAY, restart)
    loop.run(DAY + 1000.0)
    exact(loop, observer)
    assert len(log.warnings) == 1


def test_broker_that_swallows_for_minutes_gets_no_byte_twice(
    broker: Broker, observer: Observer, gate: Gate, tmp_path: Path, certificates: Certificates, log: Log
) -> None:
    loop = loop_on(gate.port, tmp_path, certificates, log)

    def hold() -> None:
        gate.hold()
        loop.patient = False

    def release() -> None:
        gate.release()
        loop.patient = True
        loop.answered()

    loop.at(400.0, hold)
    loop.at(2000.0, release)
    loop.run(LONG_ENOUGH)
    exact(loop, observer)
    assert "did not answer in 30 s" in log.having("WARNING publishing: ")[0]
    assert log.having("INFO publishing: recovered after ")


def test_frozen_broker_that_reads_the_report_later_gets_no_byte_twice(
    broker: Broker, observer: Observer, tmp_path: Path, certificates: Certificates, log: Log
) -> None:
    loop = loop_on(broker.port, tmp_path, certificates, log)

    def freeze() -> None:
        broker.freeze()
        loop.patient = False

    def thaw() -> None:
        broker.thaw()
        loop.patient = True
        loop.answered()

    loop.at(400.0, freeze)
    loop.at(2000.0, thaw)
    loop.run(LONG_ENOUGH)
    exact(loop, observer)


def test_half_open_connection_is_noticed_by_keep_alive(
    broker: Broker,
    observer: Observer,
    gate: Gate,
    tmp_path: Path,
    certificates: Certificates,
    log: Log,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ahead = [0.0]  # seconds, of the clock by which paho keeps the device's connection alive, but not the observer's

    def clock() -> float:
        return time.monotonic() + (ahead[0] if threading.current_thread().name == "mqtt" else 0.0)

    monkeypatch.setattr(paho, "time_func", clock)
    loop = loop_on(gate.port, tmp_path, certificates, log)

    def hold() -> None:
        gate.hold()
        loop.patient = False

    def noticed() -> bool:
        """Let the keep-alive pass: the first time a ping follows, then the end of the connection."""
        ahead[0] += KEEP_ALIVE_SECONDS + 1
        loop.wake_connection()
        return bool(log.having("the broker did not answer for 120 s"))

    def release() -> None:
        wait_until(noticed, "the connection is not given up")
        gate.release(dead=True)
        log.wait_for("connected to localhost:", times=2)
        loop.patient = True
        loop.answered()

    loop.at(400.0, hold)
    loop.at(700.0, release)
    loop.run(LONG_ENOUGH)
    exact(loop, observer)


def test_denied_reports_are_reported_later_with_all_their_traffic(
    broker: Broker, observer: Observer, tmp_path: Path, certificates: Certificates, log: Log
) -> None:
    loop = loop_on(broker.port, tmp_path, certificates, log)
    loop.at(400.0, lambda: broker.allow(""))
    loop.at(1300.0, broker.allow)
    loop.run(2000.0)
    exact(loop, observer)
    (line,) = log.having("WARNING publishing: ")
    assert "Not authorized" in line
    assert "iot:Publish" in line


def test_traffic_survives_a_client_that_takes_the_connection_over(
    broker: Broker, observer: Observer, tmp_path: Path, certificates: Certificates, log: Log
) -> None:
    loop = loop_on(broker.port, tmp_path, certificates, log)
    other_log = Log()
    where = endpoint(broker.port, certificates.authority, certificates.device)
    other = transport(where, other_log)

    def take_over() -> None:
        other.start([])
        other_log.wait_for("connected to localhost:")
        log.wait_for("Is another program connected with the client ID device-device-defender?")
        other.close()
        log.wait_until_connected()

    loop.at(400.0, take_over)
    loop.run(1900.0)
    exact(loop, observer)
    assert len(log.having("Is another program connected")) == 1
