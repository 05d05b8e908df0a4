"""How a connection is made, kept, lost and closed, with a broker that misbehaves on demand."""

from __future__ import annotations

import gc
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, List

import paho.mqtt.client as paho
import pytest
from direct.conftest import Certificates, Connect, Small
from support.direct import CLIENT_ID, TOPIC, Log, endpoint, wait_until
from support.loop import HOUR
from support.ports import free_port
from support.small_broker import CONNECT, HANG_UP, PINGREQ, PUBLISH, SILENT, SUBSCRIBE

from connector.errors import PublishError
from connector.transports import mqtt, mqtt_connection, tls
from connector.transports.mqtt import MqttTransport

ROOT = Path(__file__).resolve().parents[2]


def test_payload_and_client_id_arrive(small: Small, connect: Connect) -> None:
    broker = small()
    connect(broker.port).send(TOPIC, b"{}")
    assert broker.wait_for(CONNECT).text == CLIENT_ID
    assert broker.wait_for(PUBLISH).text == TOPIC


def test_broker_without_mqtt_5_gets_mqtt_3_1_1_and_the_log_says_what_that_hides(
    small: Small, connect: Connect, log: Log, quick: None
) -> None:
    broker = small(levels=(4,))
    connect(broker.port).send(TOPIC, b"{}")
    assert [line for line in log.lines if "INFO connected" in line][0].endswith("with MQTT 3.1.1")
    (warning,) = log.warnings
    assert "does not speak MQTT 5" in warning
    assert "does not allow can't be told from an accepted one" in warning


@pytest.mark.parametrize("level", [4, 5])
def test_refused_connect_says_what_to_check(small: Small, connect: Connect, level: int, quick: None) -> None:
    broker = small(levels=(level,), connect={4: 5, 5: 135}[level])
    with pytest.raises(
        PublishError, match=f"refused CONNECT: Not authorized; .*iot:Connect for the client ID {CLIENT_ID}"
    ):
        connect(broker.port).send(TOPIC, b"{}")


def test_code_that_only_aws_iot_refuses_connect_with_is_a_refusal(small: Small, connect: Connect, quick: None) -> None:
    broker = small(levels=(4,), connect=7)
    with pytest.raises(PublishError, match="refused CONNECT: .*iot:Connect"):
        connect(broker.port).send(TOPIC, b"{}")


def test_connection_that_ends_before_connack_hints_at_the_certificate(small: Small, connect: Connect) -> None:
    broker = small(connect=HANG_UP)
    with pytest.raises(PublishError, match="did not answer CONNECT: it was closed; is the certificate registered"):
        connect(broker.port).send(TOPIC, b"{}")


def test_silent_broker_is_given_up(small: Small, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt_connection, "MAX_ANSWER_SECONDS", 0.2)
    broker = small(connect=SILENT)
    with pytest.raises(PublishError, match="the broker did not answer CONNECT in time"):
        connect(broker.port).send(TOPIC, b"{}")


def test_silent_tls_end_is_given_up(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "MAX_STEP_SECONDS", 0.2)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        with pytest.raises(PublishError, match="not connected to localhost:[0-9]+: no answer in 0 s"):
            connect(listener.getsockname()[1]).send(TOPIC, b"{}")


def test_refused_publish_names_topic_and_policy_action(small: Small, connect: Connect) -> None:
    broker = small(publish=135)
    with pytest.raises(PublishError, match=r"refused the message on \$aws.*: Not authorized; .*iot:Publish"):
        connect(broker.port).send(TOPIC, b"{}")


def test_publish_without_subscribers_is_accepted(small: Small, connect: Connect) -> None:
    connect(small(publish=16).port).send(TOPIC, b"{}")


def test_broker_that_hangs_up_on_a_publish_gets_the_policy_hint(small: Small, connect: Connect) -> None:
    broker = small(publish=HANG_UP)
    with pytest.raises(PublishError, match=r"ended before .* acknowledged the message: .*allow iot:Publish on \$aws"):
        connect(broker.port).send(TOPIC, b"{}")


@pytest.mark.parametrize("level", [4, 5])
def test_refused_subscription_is_one_line_and_reports_go_on(
    small: Small, connect: Connect, log: Log, level: int, quick: None
) -> None:
    broker = small(levels=(level,), subscribe={4: 128, 5: 135}[level])
    one = connect(broker.port)
    one.send(TOPIC, b"{}")
    one.send(TOPIC, b"{}")
    assert len(broker.of(SUBSCRIBE)) == 1
    (line,) = log.having("WARNING subscription: ")
    assert "iot:Subscribe" in line
    assert "iot:Receive" in line


@pytest.mark.parametrize("behaviour", [HANG_UP, SILENT])
def test_subscription_that_ends_the_connection_is_left_out_of_the_next(
    small: Small, connect: Connect, log: Log, behaviour: str, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted = mqtt_connection.Connection._on_connect

    def on_connect(*arguments: Any) -> None:
        with monkeypatch.context() as only_here:  # the answer to CONNECT may take its time
            only_here.setattr(mqtt_connection, "MAX_ANSWER_SECONDS", 0.3)
            accepted(*arguments)

    monkeypatch.setattr(mqtt_connection.Connection, "_on_connect", on_connect)
    broker = small(subscribe=behaviour)
    one = connect(broker.port)
    one.send(TOPIC, b"{}")
    one.send(TOPIC, b"{}")
    assert (len(broker.of(CONNECT)), len(broker.of(SUBSCRIBE))) == (2, 1)
    assert len(log.having("WARNING subscription: ")) == 1


def test_connections_that_end_again_and_again_hint_at_the_client_id_once(
    small: Small, connect: Connect, log: Log, quick: None
) -> None:
    broker = small()
    connect(broker.port, topics=[])
    for times in range(1, 6):
        log.wait_for("connected to localhost:", times)
        broker.drop()
    (line,) = log.warnings
    assert "3 in a row ended within 30 s" in line
    assert f"Is another program connected with the client ID {CLIENT_ID}?" in line


def test_recovery_of_short_connections_counts_from_the_end_of_the_first(
    small: Small, connect: Connect, log: Log, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "MIN_LASTING_SECONDS", 2.0 * HOUR)
    ahead = [0.0]
    broker = small()
    one = connect(broker.port, topics=[], monotonic=lambda: time.monotonic() + ahead[0])
    for times in (1, 2, 3):
        log.wait_for("connected to localhost:", times)
        ahead[0] += HOUR
        broker.drop()
    log.wait_for("connected to localhost:", 4)
    ahead[0] += 3 * HOUR
    one.send(TOPIC, b"{}")
    log.wait_for("INFO connection: recovered after 5 h")


def test_denied_reports_do_not_hint_at_the_client_id(small: Small, connect: Connect, log: Log, quick: None) -> None:
    broker = small(publish=HANG_UP)
    one = connect(broker.port)
    for times in range(1, 6):
        log.wait_for("connected to localhost:", times)
        with pytest.raises(PublishError, match="iot:Publish"):
            one.send(TOPIC, b"{}")
    assert not log.warnings


def test_connection_begins_at_most_once_a_second(
    small: Small, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments: List[float] = []  # taken here, as a packet may come late at the broker, and the next one in time
    real = MqttTransport._connection

    def connection(self: MqttTransport) -> mqtt_connection.End:
        moments.append(time.monotonic())
        return real(self)

    monkeypatch.setattr(MqttTransport, "_connection", connection)
    broker = small(connect=135)
    connect(broker.port)
    broker.wait_for(CONNECT, 3)
    assert all(after - before >= 1.0 for before, after in zip(moments, moments[1:]))


def test_pauses_grow_to_their_limit_and_never_end(connect: Connect, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: List[float] = []

    def sleep(self: MqttTransport, seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) > 1100:
            self._closing = True

    monkeypatch.setattr(MqttTransport, "_sleep", sleep)
    connect(free_port())
    wait_until(lambda: len(pauses) > 1100, "the transport gave up")
    assert min(pauses) >= 1.0
    assert pauses[0] < pauses[1] < pauses[2]
    assert max(pauses) <= 128.0
    assert min(pauses[20:]) >= 64.0


def test_failed_connections_keep_no_memory(small: Small, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "MIN_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(mqtt, "MAX_PAUSE_SECONDS", 0.0)
    broker = small(connect=135)
    connect(broker.port)
    broker.wait_for(CONNECT, 5)
    gc.collect()
    gc.disable()  # what is only in cycles would be collected some time, and count here
    try:
        before = sum(isinstance(thing, (mqtt_connection.Connection, tls.TlsSocket)) for thing in gc.get_objects())
        broker.wait_for(CONNECT, len(broker.of(CONNECT)) + 40)
        after = sum(isinstance(thing, (mqtt_connection.Connection, tls.TlsSocket)) for thing in gc.get_objects())
    finally:
        gc.enable()
    assert abs(after - before) <= 2


def test_keep_alive_that_the_broker_dictates_is_kept(small: Small, connect: Connect, log: Log, quick: None) -> None:
    broker = small(keep_alive=1)
    connect(broker.port)
    log.wait_for("connected to localhost:")
    if not hasattr(paho, "_packet"):  # paho 2.1.0: from the next connection on
        broker.drop()
    broker.wait_for(PINGREQ, times=2)


def test_idle_connection_rests_for_its_keep_alive(small: Small, connect: Connect, waits: List[float]) -> None:
    connect(small().port).send(TOPIC, b"{}")
    wait_until(lambda: waits[-1] > 100, "the connection never rests")
    assert waits[-1] == pytest.approx(120.1)


def test_second_message_of_a_topic_waits_for_the_first(small: Small, connect: Connect) -> None:
    broker = small(publish=SILENT)
    one = connect(broker.port)
    threading.Thread(target=lambda: pytest.raises(PublishError, one.send, TOPIC, b"1"), daemon=True).start()
    broker.wait_for(PUBLISH)
    with pytest.raises(PublishError, match=r"has not acknowledged the message of \d+ s ago"):
        one.send(TOPIC, b"2")


def test_message_without_acknowledgement_ends_with_its_connection(
    small: Small, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt_connection, "MAX_SEND_SECONDS", 0.3)
    broker = small(publish=SILENT)
    with pytest.raises(PublishError, match="the broker did not answer a message in time"):
        connect(broker.port).send(TOPIC, b"{}")


def test_message_that_waited_long_for_a_connection_is_not_sent(
    small: Small, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt_connection, "MAX_QUEUED_SECONDS", -1.0)
    broker = small()
    with pytest.raises(PublishError, match="there was no connection within"):
        connect(broker.port).send(TOPIC, b"{}")
    assert not broker.of(PUBLISH)


@pytest.mark.parametrize("alpn", [tls.ALPN, "http/1.1"])
def test_port_443_is_spoken_to_with_alpn(
    alpn: str, small: Small, connect: Connect, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = small(alpn=alpn)
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port, *more: real(host, {443: broker.port}[port], *more))
    where = endpoint(443, certificates.authority, certificates.device)
    if alpn == tls.ALPN:
        connect(443, where=where).send(TOPIC, b"{}")
    else:
        with pytest.raises(PublishError):
            connect(443, where=where).send(TOPIC, b"{}")
    assert broker.protocols[0] == (tls.ALPN if alpn == tls.ALPN else None)


def test_tls_is_at_least_1_2_and_checks_the_host(certificates: Certificates) -> None:
    context = tls.make_context(endpoint(8883, certificates.authority, certificates.device))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED


def test_other_ports_are_spoken_to_without_alpn(small: Small, connect: Connect) -> None:
    broker = small()
    connect(broker.port).send(TOPIC, b"{}")
    assert broker.protocols == [None]


def test_paho_costs_no_web_client_and_does_not_break_it_for_others() -> None:
    script = (
        "import sys; import connector.transports.mqtt\n"
        "assert 'http.client' not in sys.modules, 'paho brought the web client'\n"
        "import urllib.request; urllib.request.Request('http://localhost')\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=str(ROOT), check=True)


def test_paho_makes_no_connection_of_its_own() -> None:
    """`_Client` overrides a method that is paho's own affair: a release that renames it must not go unnoticed."""
    assert callable(vars(paho.Client)["_create_socket"])
