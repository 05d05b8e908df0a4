"""MQTT over TLS, for devices without Greengrass: to AWS IoT Core, or to any broker with client certificates.

It needs paho-mqtt (the extra `mqtt`); the Lambda function never imports this module.

One thread owns the connection and makes every call of paho's. It sleeps in poll(2) until something happens: an idle
connection wakes it only for its keep-alive. Each connection has a paho client of its own. paho keeps an unacknowledged
message and delivers it after a reconnect, although it was reported as failed; a client that is dropped delivers nothing.
"""

from __future__ import annotations

import logging
import os
import random
import select
import socket
import ssl
import threading
import time
from collections import deque
from typing import Any, Callable, Deque, Dict, List, NamedTuple, Optional, Sequence

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from ..errors import ConnectorError, PublishError
from ..health import plain
from . import Transport

ALPN = "x-amzn-mqtt-ca"  # how AWS IoT Core tells MQTT with client certificates from other protocols on port 443
KEEP_ALIVE_SECONDS = 120  # AWS IoT Core takes 30 to 1,200; NAT gateways often forget a silent connection after 300
MAX_CONNECT_SECONDS = 10.0  # for each of TCP, TLS and the answer to CONNECT
MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 2.0, 128.0  # between attempts; AWS IoT Core takes one CONNECT a second from a client
LASTING_SECONDS = 30.0  # a connection that lasted this long makes the next pause the shortest again
MANY_SHORT = 3  # so many short connections in a row are worth a hint
MAX_MESSAGE_BYTES = 16384  # MQTT 5: the broker keeps larger messages to itself; an answer of the service has 200 bytes

_REFUSED = 128  # reason codes from here on are errors (MQTT 5, 2.4)
_UNSUPPORTED_VERSION = 132
_TAKEN_OVER = 142


class Settings(NamedTuple):
    """How to reach the broker.

    host, port: the endpoint. client_id: 1 to 128 characters. cert_file, key_file: this client's certificate and private
    key, PEM. ca_file: the CAs to trust, PEM; empty for those of the system. proxy: (host, port) of an HTTP proxy that
    knows CONNECT, or None. protocol: paho.MQTTv5, or paho.MQTTv311 for a broker that is known to speak nothing newer.
    """

    host: str
    port: int
    client_id: str
    cert_file: str
    key_file: str
    ca_file: str = ""
    proxy: Optional[Any] = None
    protocol: Any = paho.MQTTv5


def tls_context(settings: Settings) -> ssl.SSLContext:
    """Return TLS 1.2 or later, host name checked, with this client's certificate. Raises ConnectorError: which file, why."""
    try:
        context = ssl.create_default_context(cafile=settings.ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ConnectorError(f"the CA file {settings.ca_file} can't be used: {_reason(error)}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.port == 443:
        context.set_alpn_protocols([ALPN])
    for name in (settings.cert_file, settings.key_file):
        try:
            with open(name, "rb"):
                pass
        except OSError as error:
            raise ConnectorError(f"{name} can't be read: {error.strerror}") from error

    def no_password() -> str:
        raise ConnectorError(f"the key {settings.key_file} is encrypted: store it without a password, readable by its user only")

    try:
        context.load_cert_chain(settings.cert_file, settings.key_file, no_password)
    except ssl.SSLError as error:
        if "KEY_VALUES_MISMATCH" in str(error):
            text = f"the key {settings.key_file} does not belong to the certificate {settings.cert_file}"
        else:
            text = f"{settings.cert_file} and {settings.key_file} are not a certificate and its key, in PEM: {_reason(error)}"
        raise ConnectorError(text) from error
    return context


class _Message:
    """One message on its way: `done` once it was acknowledged or given up; `error` says why it was given up."""

    def __init__(self, topic: str, payload: bytes) -> None:
        self.topic = topic
        self.payload = payload
        self.done = False
        self.error: Optional[str] = None


class MqttTransport(Transport):
    """Keeps one connection, and hands messages over with QoS 1.

    context: of `tls_context`. rng: spreads the pauses between attempts. monotonic: seconds, never set back.
    """

    def __init__(
        self,
        settings: Settings,
        context: ssl.SSLContext,
        rng: random.Random,
        logger: logging.Logger,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._context = context
        self._rng = rng
        self._logger = logger
        self._monotonic = monotonic
        self.peer = f"{settings.host}:{settings.port}"
        self._protocol = settings.protocol
        self._topics: Sequence[str] = ()
        self._changed = threading.Condition()  # guards what follows, up to _trouble
        self._queue: Deque[_Message] = deque()  # waits for a connection that is being made
        self._sent: Dict[int, _Message] = {}  # by packet id: sent over the present connection, not acknowledged
        self._trouble: Optional[str] = None  # why there is no connection while the next attempt is waited for
        self._closing = False
        self._short = 0
        self._logged: List[str] = []
        self._ended: Optional[str] = None  # why the present connection ended
        self._answered = False  # whether the broker answered its CONNECT
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    def start(self, topics: Sequence[str]) -> None:
        self._topics = tuple(topics)
        self._thread.start()

    def send(self, topic: str, payload: bytes) -> None:
        """Return once the broker acknowledged the message (PUBACK without an error).

        Raises PublishError where there is no connection, it ends before, or the broker refuses. Waits while a connection
        is being made, and for an acknowledgement as long as the connection lasts.
        """
        message = _Message(topic, payload)
        with self._changed:
            if self._closing or self._trouble is not None:
                raise PublishError(f"not connected to {self.peer}: {self._trouble or 'closed'}")
            self._queue.append(message)
            self._wake()
            while not message.done:
                self._changed.wait()
        if message.error is not None:
            raise PublishError(message.error)

    def close(self) -> None:
        """Send DISCONNECT and end, within a second."""
        with self._changed:
            self._closing = True
        self._wake()
        # Not Thread.join(): before Python 3.11 its time-out counts on the wall clock.
        give_up = self._monotonic() + 1.0
        while self._thread.is_alive() and self._monotonic() < give_up:
            time.sleep(0.01)

    def _run(self) -> None:
        pause = MIN_PAUSE_SECONDS
        while not self._closing:
            begun = self._monotonic()
            try:
                reason = self._connection()
            except Exception as error:  # whatever it is, the next attempt must come
                reason = _reason(error)
            lasted = self._monotonic() - begun
            self._give_up(reason)
            if self._closing:
                return
            pause = MIN_PAUSE_SECONDS if lasted >= LASTING_SECONDS else pause
            self._sleep(pause * self._rng.uniform(0.5, 1.0))
            pause = min(2 * pause, MAX_PAUSE_SECONDS)
            with self._changed:
                self._trouble = None

    def _connection(self) -> str:
        """Connect, carry messages until the connection ends, and return why it did. Raises OSError where there is none."""
        client = self._client()
        self._ended, self._answered = None, False
        client.connect(self._settings.host, self._settings.port, KEEP_ALIVE_SECONDS, **self._connect_options())
        begun = self._monotonic()
        connection = client.socket()
        try:
            self._serve(client, connection, begun)
        finally:
            connection.close()
        return self._why_ended(begun)

    def _serve(self, client: paho.Client, connection: Any, begun: float) -> None:
        poll = select.poll()
        poll.register(self._wake_in, select.POLLIN)
        while client.socket() is not None and self._ended is None:
            poll.register(connection, select.POLLIN | (select.POLLOUT if client.want_write() else 0))
            # A little longer than the keep-alive, so that it has passed when paho looks at the clock.
            seconds = KEEP_ALIVE_SECONDS + 0.1
            if not client.is_connected():
                seconds = begun + MAX_CONNECT_SECONDS - self._monotonic()
                if seconds <= 0:
                    self._ended = f"no answer in {MAX_CONNECT_SECONDS:.0f} s"
                    return
            ready = dict(poll.poll(1000.0 * seconds))
            if self._wake_in in ready:
                _drain(self._wake_in)
            if self._closing:
                client.disconnect()
                self._ended = "closed"
                return
            if ready.get(connection.fileno(), 0) & ~select.POLLOUT:
                client.loop_read()
                while client.socket() is not None and _pending(connection):
                    client.loop_read()
            if client.want_write():
                client.loop_write()
            client.loop_misc()
            if client.is_connected():
                self._publish_queued(client)

    def _client(self) -> paho.Client:
        client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id=self._settings.client_id, protocol=self._protocol
        )
        client.suppress_exceptions = False
        client.connect_timeout = MAX_CONNECT_SECONDS
        client.tls_set_context(self._context)
        if self._settings.proxy is not None:
            import socks  # PySocks

            host, port = self._settings.proxy
            client.proxy_set(proxy_type=socks.HTTP, proxy_addr=host, proxy_port=port)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        return client

    def _connect_options(self) -> Dict[str, Any]:
        if self._protocol != paho.MQTTv5:
            return {}
        properties = Properties(PacketTypes.CONNECT)
        properties.MaximumPacketSize = MAX_MESSAGE_BYTES
        return {"clean_start": True, "properties": properties}

    def _publish_queued(self, client: paho.Client) -> None:
        while True:
            with self._changed:
                if not self._queue:
                    return
                message = self._queue.popleft()
                info = client.publish(message.topic, message.payload, qos=1)
                if info.rc == paho.MQTT_ERR_SUCCESS:
                    self._sent[info.mid] = message
                    continue
            self._finish(message, f"{message.topic} was not sent: {paho.error_string(info.rc)}")

    def _finish(self, message: _Message, error: Optional[str]) -> None:
        with self._changed:
            message.error, message.done = error, True
            message.payload = b""
            self._changed.notify_all()

    def _give_up(self, reason: str) -> None:
        """End every message that waits: the connection is gone. What to do about it is the sender's to decide."""
        with self._changed:
            self._trouble = reason
            sent, queued = list(self._sent.values()), list(self._queue)
            self._sent.clear()
            self._queue.clear()
        for message in queued:
            self._finish(message, f"not connected to {self.peer}: {reason}")
        for message in sent:
            self._finish(
                message,
                f"the connection ended before {self.peer} acknowledged the message ({reason}); does the policy of the "
                f"certificate allow iot:Publish on {message.topic}?",
            )

    # What paho calls, all on the connection's own thread.

    def _on_connect(self, client: paho.Client, userdata: Any, flags: Any, code: Any, properties: Any) -> None:
        self._answered = True
        if code.is_failure:
            if code.value == _UNSUPPORTED_VERSION and self._protocol == paho.MQTTv5:
                self._use_version_3()
            self._ended = f"{self.peer} refused the connection: {code}; {self._refusal_advice()}"
            return
        version = "5" if self._protocol == paho.MQTTv5 else "3.1.1"
        self._logger.info("connected to %s as %s with MQTT %s", self.peer, self._settings.client_id, version)
        if self._topics:
            client.subscribe([(topic, 1) for topic in self._topics])

    def _on_subscribe(self, client: paho.Client, userdata: Any, mid: int, codes: Any, properties: Any) -> None:
        for topic, code in zip(self._topics, codes):
            if code.is_failure:
                self._log_once(
                    f"{self.peer} refused the subscription to {topic} ({code}): answers to the reports won't be seen. "
                    "Allow iot:Subscribe on the topic filter and iot:Receive on the topic in the certificate's policy"
                )

    def _on_publish(self, client: paho.Client, userdata: Any, mid: int, code: Any, properties: Any) -> None:
        message = self._sent.pop(mid, None)
        if message is not None:
            error = None
            if code.value >= _REFUSED:
                error = (
                    f"{self.peer} refused the message on {message.topic}: {code}; allow iot:Publish on this topic in "
                    "the certificate's policy"
                )
            self._finish(message, error)

    def _on_message(self, client: paho.Client, userdata: Any, message: Any) -> None:
        if len(message.payload) <= MAX_MESSAGE_BYTES:
            self.on_message(message.payload, message.topic)

    def _on_disconnect(self, client: paho.Client, userdata: Any, flags: Any, code: Any, properties: Any) -> None:
        if self._ended is None:
            by = "the broker ended the connection" if flags.is_disconnect_packet_from_server else "the connection was lost"
            self._ended = f"{by}: {code}"
            if code.value == _TAKEN_OVER:
                self._log_once(self._taken_over())

    def _why_ended(self, begun: float) -> str:
        lasted = self._monotonic() - begun
        self._short = self._short + 1 if lasted < LASTING_SECONDS else 0
        if self._short == MANY_SHORT:
            self._log_once(f"{MANY_SHORT} connections in a row ended within {LASTING_SECONDS:.0f} s. {self._taken_over()}")
        if not self._answered:
            return (
                f"{self.peer} ended the connection before it answered CONNECT ({self._ended}); is the certificate "
                "registered there and active?"
            )
        return self._ended or "the connection was lost"

    def _taken_over(self) -> str:
        return (
            f"Is another program connected with the client ID {self._settings.client_id}? A new connection ends the one "
            "before; a Greengrass core uses the thing's name. Choose another with --client-id"
        )

    def _refusal_advice(self) -> str:
        return (
            "is the certificate active, and does its policy allow iot:Connect for the client ID "
            f"{self._settings.client_id}?"
        )

    def _use_version_3(self) -> None:
        self._protocol = paho.MQTTv311
        self._log_once(
            f"{self.peer} does not speak MQTT 5; MQTT 3.1.1 is used, where a refused message can't be told from an "
            "accepted one: check the certificate's policy"
        )

    def _log_once(self, text: str) -> None:
        if text not in self._logged and len(self._logged) < 32:
            self._logged.append(text)
            self._logger.warning("%s", plain(text))

    def _wake(self) -> None:
        try:
            os.write(self._wake_out, b"\0")
        except BlockingIOError:
            pass  # full of wake-ups: one is enough

    def _sleep(self, seconds: float) -> None:
        """Return after some seconds, or at a stop."""
        until = self._monotonic() + seconds
        poll = select.poll()
        poll.register(self._wake_in, select.POLLIN)
        while not self._closing:
            left = until - self._monotonic()
            if left <= 0:
                return
            if poll.poll(1000.0 * left):
                _drain(self._wake_in)


def _drain(descriptor: int) -> None:
    try:
        os.read(descriptor, 4096)
    except BlockingIOError:
        pass


def _pending(connection: Any) -> int:
    """Return the bytes that TLS has decrypted already and poll(2) does not see."""
    return int(connection.pending()) if hasattr(connection, "pending") else 0


def _reason(error: BaseException) -> str:
    """Say in words why a connection could not be made."""
    if isinstance(error, socket.gaierror):
        return f"the name can't be resolved: {error.strerror}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the broker's certificate was not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or error}"
    if isinstance(error, socket.timeout):
        return f"no answer in {MAX_CONNECT_SECONDS:.0f} s"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return repr(error)
