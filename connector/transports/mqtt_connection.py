"""One MQTT connection, from CONNECT to its end, on the thread that calls `serve`.

Every call of paho's is made here. paho keeps an unacknowledged message and delivers it after a reconnect, although it
was reported as failed; here each connection has a paho client of its own, and one that is dropped delivers nothing.
"""

from __future__ import annotations

import contextlib
import select
import sys
import time
import types
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence

from . import MAX_SEND_SECONDS
from .tls import CLOSED, Stopped, TlsSocket, reason


@contextlib.contextmanager
def _empty_module(name: str) -> Iterator[None]:
    """Let imports of this module inside the `with` block get an empty one, unless it was imported before."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = types.ModuleType(name)
    try:
        yield
    finally:
        del sys.modules[name]


# It costs 2.4 MB of memory. paho finds the system's web proxy with it in the method that `_Client` overrides.
with _empty_module("urllib.request"):
    import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion  # noqa: E402
from paho.mqtt.packettypes import PacketTypes  # noqa: E402
from paho.mqtt.properties import Properties  # noqa: E402

KEEP_ALIVE_SECONDS = 120  # AWS IoT Core takes 30 to 1,200; NAT gateways often forget a silent connection after 300
MAX_ANSWER_SECONDS = 10.0  # for the answers to CONNECT and SUBSCRIBE
MAX_QUEUED_SECONDS = 30.0  # a message that has waited longer for a connection is not sent: its content is out of date
# MQTT 5: the broker keeps larger messages to itself. An answer of Device Defender has about 200 bytes.
MAX_MESSAGE_BYTES = 16384

MQTT_5, MQTT_3_1_1 = paho.MQTTv5, paho.MQTTv311
VERSIONS = {MQTT_5: "5", MQTT_3_1_1: "3.1.1"}

# Reason codes (MQTT 5, 2.4): those from 128 on are errors.
_UNSUPPORTED_VERSION = 132
_KEEP_ALIVE_TIMEOUT = 141
_TAKEN_OVER = 142


class Message:
    """One message on its way.

    asked: float, seconds on the monotonic clock when it was handed over.
    sent: float, seconds when it was sent, or None.
    done: bool, it was acknowledged, or given up for the reason in `error`.
    """

    def __init__(self, topic: str, payload: bytes, asked: float) -> None:
        self.topic = topic
        self.payload = payload
        self.asked = asked
        self.sent: Optional[float] = None
        self.done = False
        self.error: Optional[str] = None


class Hooks(NamedTuple):
    """What a connection calls, on the thread of `serve`.

    connected: the broker accepted CONNECT. subscribed: it answered SUBSCRIBE; takes an error for each topic, or None.
    next_message: returns one to send, or None. finish: takes a message that was acknowledged, or refused for a reason.
    on_message: takes a received payload and its topic.
    """

    connected: Callable[[], None]
    subscribed: Callable[[List[Optional[str]]], None]
    next_message: Callable[[], Optional[Message]]
    finish: Callable[[Message, Optional[str]], None]
    on_message: Callable[[bytes, str], None]


class End(NamedTuple):
    """Why a connection ended.

    reason: in words. by_broker: the broker ended it. answered: CONNECT was answered.
    refused: CONNECT was refused. unsupported: because of the version of MQTT.
    subscribing: SUBSCRIBE was not answered. taken_over: another client has the same ID.
    """

    reason: str
    by_broker: bool = False
    answered: bool = False
    refused: bool = False
    unsupported: bool = False
    subscribing: bool = False
    taken_over: bool = False


class _Client(paho.Client):
    """A paho client on a socket that exists already."""

    def __init__(self, connection: TlsSocket, client_id: str, protocol: Any) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol, reconnect_on_failure=False
        )
        self._given = connection
        self.suppress_exceptions = False

    def _create_socket(self) -> Any:
        return self._given


class Connection:
    """One connection.

    connection: TLS is set up. protocol: MQTT_5 or MQTT_3_1_1. keep_alive: seconds. topics: to subscribe to.
    monotonic: seconds, never set back.
    """

    def __init__(
        self,
        connection: TlsSocket,
        client_id: str,
        protocol: Any,
        keep_alive: int,
        topics: Sequence[str],
        hooks: Hooks,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._socket = connection
        self._protocol = protocol
        self._topics = topics
        self._hooks = hooks
        self._monotonic = monotonic
        self._sent: Dict[int, Message] = {}  # by packet id, not acknowledged
        self._connected = False
        self._subscribing = False
        self._end: Optional[End] = None
        # Until then the broker has to answer CONNECT, then SUBSCRIBE.
        self._answer_by = 0.0
        self.keep_alive = keep_alive
        self._client = _Client(connection, client_id, protocol)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_publish = self._on_publish
        self._client.on_message = self._on_message
        self._client.on_disconnect = self._on_disconnect

    def serve(self, poll: Callable[[int, int, float], int]) -> End:
        """Carry messages until the connection ends; return why it did.

        poll: waits for poll(2)'s events of a descriptor, for so many seconds at most; returns those that are there.
        Returns early where there is a message to send; raises Stopped at a stop.
        """
        try:
            self._connect()
            while self._end is None:
                self._step(poll)
            end = self._end
        except Stopped:
            self._client.disconnect()
            self._socket.finish()
            raise
        except OSError as error:
            end = End(reason(error))
        finally:
            self._socket.close()
            del self._client  # it refers to this object: memory must not wait for the garbage collector
        if self._socket.error is not None:
            end = end._replace(reason=reason(self._socket.error))
        return end._replace(answered=self._connected or end.answered, subscribing=self._subscribing)

    def _connect(self) -> None:
        options: Dict[str, Any] = {}
        if self._protocol == MQTT_5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.MaximumPacketSize = MAX_MESSAGE_BYTES
            options = {"clean_start": True, "properties": properties}
        # paho makes no connection, so it needs no host; this one exists nowhere (RFC 6761).
        self._client.connect("unused.invalid", keepalive=self.keep_alive, **options)
        self._answer_by = self._monotonic() + MAX_ANSWER_SECONDS

    def _step(self, poll: Callable[[int, int, float], int]) -> None:
        """Wait for something to happen, and handle it."""
        waiting = not self._connected or self._subscribing
        # A little longer than the keep-alive, so that it has passed when paho compares the times.
        seconds = self.keep_alive + 0.1
        deadlines = [message.sent + MAX_SEND_SECONDS for message in self._sent.values() if message.sent is not None]
        if waiting:
            deadlines.append(self._answer_by)
        if deadlines:
            seconds = min(seconds, min(deadlines) - self._monotonic())
        if seconds <= 0:
            what = ("SUBSCRIBE" if self._connected else "CONNECT") if waiting else "a message"
            self._end = End(f"the broker did not answer {what} in time")
            return
        events = select.POLLIN | (select.POLLOUT if self._client.want_write() else 0)
        ready = poll(self._socket.fileno(), events, seconds)
        if ready & ~select.POLLOUT:
            self._client.loop_read()
            while self._end is None and self._client.socket() is not None and self._socket.pending():
                self._client.loop_read()
        if self._client.want_write():
            self._client.loop_write()
        self._client.loop_misc()
        if self._connected and not self._subscribing:
            self._send_messages()

    def _send_messages(self) -> None:
        while self._end is None:
            message = self._hooks.next_message()
            if message is None:
                return
            now = self._monotonic()
            if now - message.asked > MAX_QUEUED_SECONDS:
                self._hooks.finish(message, f"there was no connection within {MAX_QUEUED_SECONDS:.0f} s")
                continue
            info = self._client.publish(message.topic, message.payload, qos=1)
            message.sent = now
            if info.rc == paho.MQTT_ERR_SUCCESS:
                self._sent[info.mid] = message
            else:
                self._hooks.finish(message, f"it was not sent: {paho.error_string(info.rc)}")

    # What paho calls.

    def _on_connect(self, client: Any, userdata: Any, flags: Any, code: Any, properties: Any) -> None:
        if code.is_failure:
            unsupported = code.value == _UNSUPPORTED_VERSION and self._protocol == MQTT_5
            self._end = End(str(code), True, answered=True, refused=True, unsupported=unsupported)
            return
        self._connected = True
        # paho 2.1.0 goes on with its own; then the next connection asks for the broker's.
        self.keep_alive = getattr(properties, "ServerKeepAlive", None) or self.keep_alive
        self._hooks.connected()
        if self._topics:
            self._subscribing = True
            self._answer_by = self._monotonic() + MAX_ANSWER_SECONDS
            client.subscribe([(topic, 1) for topic in self._topics])

    def _on_subscribe(self, client: Any, userdata: Any, mid: int, codes: Any, properties: Any) -> None:
        self._subscribing = False
        self._hooks.subscribed([str(code) if code.is_failure else None for code in codes])

    def _on_publish(self, client: Any, userdata: Any, mid: int, code: Any, properties: Any) -> None:
        message = self._sent.pop(mid, None)
        if message is not None:
            self._hooks.finish(message, str(code) if code.is_failure else None)

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        if len(message.payload) <= MAX_MESSAGE_BYTES:
            self._hooks.on_message(message.payload, message.topic)

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, code: Any, properties: Any) -> None:
        if self._end is not None:
            return
        if flags.is_disconnect_packet_from_server:
            self._end = End(f"the broker ended it: {code}", True, taken_over=code.value == _TAKEN_OVER)
        elif code.value == _KEEP_ALIVE_TIMEOUT:
            self._end = End(f"the broker did not answer for {self.keep_alive} s")
        else:
            self._end = End(CLOSED, True)
