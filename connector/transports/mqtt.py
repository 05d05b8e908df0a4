"""MQTT over TLS, for devices without Greengrass: to AWS IoT Core, or to any broker with client certificates.

It needs paho-mqtt (the extra `mqtt`); the Lambda function never imports this module. One thread makes the connections,
one after the other, each in `mqtt_connection.py`. It sleeps in poll(2) until something happens: an idle connection
wakes it for its keep-alive only.
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
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Set

from ..errors import PublishError
from ..health import Health, plain
from . import Transport
from .mqtt_connection import KEEP_ALIVE_SECONDS, MQTT_3_1_1, MQTT_5, VERSIONS, Connection, End, Hooks, Message
from .tls import Endpoint, Stopped, connect, reason

# Between the end of a connection and the next attempt, with jitter down to a half: AWS IoT Core accepts one CONNECT a
# second from a client ID. Doubled with each connection that did not last.
MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 2.0, 128.0
MIN_LASTING_SECONDS = 30.0
MIN_SHORT_CONNECTIONS = 3  # in a row, before the log hints at their cause
MAX_CLOSE_SECONDS = 0.9  # the contract allows 1 s

CONNECTION, SUBSCRIPTION = "connection", "subscription"  # what can fail, in log lines


class Settings(NamedTuple):
    """How to reach the broker.

    endpoint: where, and with which files. client_id: 1 to 128 characters. keep_alive: seconds.
    protocol: MQTT_5, which falls back to MQTT_3_1_1 where the broker demands it.
    """

    endpoint: Endpoint
    client_id: str
    keep_alive: int = KEEP_ALIVE_SECONDS
    protocol: Any = MQTT_5


class MqttTransport(Transport):
    """Keeps one connection, and hands messages over with QoS 1.

    context: of tls.make_context. rng: spreads the attempts to connect. monotonic: seconds, never set back.
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
        self._health = Health(logger, monotonic)
        self._monotonic = monotonic
        self.peer = f"{settings.endpoint.host}:{settings.endpoint.port}"
        self._protocol = settings.protocol
        self._keep_alive = settings.keep_alive
        self._topics: Sequence[str] = ()
        self._without_topics = False  # the next connection subscribes to nothing
        self._begun = 0.0  # of the present connection
        self._short = 0  # connections in a row that did not last
        self._short_since = 0.0  # when the first of them ended
        self._logged_versions: Set[Any] = set()
        self._closing = False
        # These two are guarded by the condition, which is notified when a message is done.
        self._changed = threading.Condition()
        self._messages: Dict[str, Message] = {}  # by topic: queued, or sent and not acknowledged
        self._trouble: Optional[str] = None  # why there is no connection, between two attempts
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    def start(self, topics: Sequence[str]) -> None:
        self._topics = tuple(topics)
        self._thread.start()

    def send(self, topic: str, payload: bytes) -> None:
        """Return once the broker acknowledged the message (PUBACK without an error).

        Raises PublishError where there is no connection, it ends before, or the broker refuses. Waits while a
        connection is being made, and then for the acknowledgement.

        While a message is unacknowledged no other is sent to its topic: the later report has the traffic of the earlier
        too, and the broker may get both.
        """
        message = Message(topic, payload, self._monotonic())
        with self._changed:
            if self._closing or self._trouble is not None:
                raise PublishError(f"not connected to {self.peer}: {self._trouble or 'closed'}")
            before = self._messages.get(topic)
            if before is not None:
                seconds = message.asked - before.asked
                raise PublishError(
                    f"{self.peer} has not acknowledged the message of {seconds:.0f} s ago: is it running?"
                )
            self._messages[topic] = message
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
        give_up = self._monotonic() + MAX_CLOSE_SECONDS
        while self._thread.is_alive() and self._monotonic() < give_up:
            time.sleep(0.01)

    # The thread of the connections.

    def _run(self) -> None:
        pause = MIN_PAUSE_SECONDS
        while not self._closing:
            self._begun = self._monotonic()
            try:
                end = self._connection()
            except Stopped:
                break
            except Exception as error:  # whatever it is, the next attempt must come
                end = End(reason(error))
            try:
                lasted = self._monotonic() - self._begun >= MIN_LASTING_SECONDS
                self._ended(end, lasted)
                pause = MIN_PAUSE_SECONDS if lasted else pause
                self._sleep(pause * self._rng.uniform(0.5, 1.0))
                pause = min(2 * pause, MAX_PAUSE_SECONDS)
            except Stopped:
                break
            except Exception as error:  # such as MemoryError
                self._logger.debug("connection: %r", error)
                time.sleep(MIN_PAUSE_SECONDS)
            with self._changed:
                self._trouble = None
        with self._changed:
            self._trouble = "closed"
        self._give_up(lambda message: f"not connected to {self.peer}: closed")

    def _connection(self) -> End:
        """Connect, carry messages until the connection ends, and return why. Raises OSError and Stopped."""
        topics = () if self._without_topics else self._topics
        self._without_topics = False
        hooks = Hooks(self._connected, self._subscribed, self._next_message, self._finish, self.on_message)
        connection = Connection(
            connect(self._settings.endpoint, self._context, self._wait),
            self._settings.client_id,
            self._protocol,
            self._keep_alive,
            topics,
            hooks,
            self._monotonic,
        )
        try:
            return connection.serve(self._poll)
        finally:
            self._keep_alive = connection.keep_alive

    def _ended(self, end: End, lasted: bool) -> None:
        """Log what a person has to know, and let the waiting messages fail; whoever sent them decides what follows."""
        why = self._why(end)
        self._logger.debug("connection to %s ended: %s", self.peer, plain(why))
        with self._changed:
            denied = end.subscribing or any(message.sent is not None for message in self._messages.values())
        if lasted or denied or end.refused or not end.answered:
            self._short = 0
        else:
            self._short += 1
            if self._short == 1:
                self._short_since = self._monotonic()
        if end.taken_over:
            self._health.failed(CONNECTION, f"{why}. {self._other_client()}")
        elif self._short == MIN_SHORT_CONNECTIONS:
            self._health.failed(
                CONNECTION,
                f"{MIN_SHORT_CONNECTIONS} in a row ended within {MIN_LASTING_SECONDS:.0f} s, the last because {why}. "
                f"{self._other_client()}",
                since=self._short_since,
            )
        again = False  # whether the next attempt is another, so that the messages need not fail
        if end.unsupported:
            self._protocol = MQTT_3_1_1
            self._logger.warning(
                "%s does not speak MQTT 5. MQTT 3.1.1 is used, where a message that the certificate's policy does not "
                "allow can't be told from an accepted one: check the policy",
                self.peer,
            )
            again = True
        if end.subscribing:
            self._without_topics = True
            self._subscribed([end.reason] * len(self._topics))
            again = True
        if not again:
            with self._changed:
                self._trouble = why
        self._give_up(lambda message: self._lost(message, end, why), keep_unsent=again)

    def _why(self, end: End) -> str:
        if end.refused:
            return (
                f"{self.peer} refused CONNECT: {end.reason}; is the certificate active there, and does its policy "
                f"allow iot:Connect for the client ID {self._settings.client_id}?"
            )
        if end.by_broker and not end.answered:
            return f"{self.peer} did not answer CONNECT: {end.reason}; is the certificate registered there and active?"
        return end.reason

    def _lost(self, message: Message, end: End, why: str) -> str:
        if message.sent is None:
            return f"not connected to {self.peer}: {why}"
        if end.by_broker and not end.taken_over:
            why += f"; does the certificate's policy allow iot:Publish on {message.topic}?"
        return f"the connection ended before {self.peer} acknowledged the message: {why}"

    def _other_client(self) -> str:
        return (
            f"Is another program connected with the client ID {self._settings.client_id}? The newer connection ends "
            "the older; a Greengrass core uses the thing's name. --client-id sets another one"
        )

    def _give_up(self, error_of: Callable[[Message], str], keep_unsent: bool = False) -> None:
        with self._changed:
            messages = [message for message in self._messages.values() if message.sent is not None or not keep_unsent]
        for message in messages:
            self._done(message, error_of(message))

    def _done(self, message: Message, error: Optional[str]) -> None:
        with self._changed:
            self._messages.pop(message.topic, None)
            message.payload = b""
            message.error, message.done = error, True
            self._changed.notify_all()

    # What the connection calls.

    def _connected(self) -> None:
        level = logging.DEBUG if self._protocol in self._logged_versions else logging.INFO  # the first time only
        self._logged_versions.add(self._protocol)
        text = "connected to %s as %s with MQTT %s"
        self._logger.log(level, text, self.peer, self._settings.client_id, VERSIONS[self._protocol])

    def _subscribed(self, errors: List[Optional[str]]) -> None:
        for topic, error in zip(self._topics, errors):
            if error is not None:
                self._health.failed(
                    SUBSCRIPTION,
                    f"{self.peer} refused it for {topic} ({error}), so answers to the reports won't be seen. Allow "
                    "iot:Subscribe on the topic filter and iot:Receive on the topic in the certificate's policy",
                )
                return
        self._health.recovered(SUBSCRIPTION)

    def _next_message(self) -> Optional[Message]:
        with self._changed:
            return next((message for message in self._messages.values() if message.sent is None), None)

    def _finish(self, message: Message, error: Optional[str]) -> None:
        if error is not None:
            self._done(
                message,
                f"{self.peer} refused the message on {message.topic}: {error}; does the certificate's policy allow "
                "iot:Publish on this topic?",
            )
            return
        self._done(message, None)
        if self._monotonic() - self._begun >= MIN_LASTING_SECONDS:
            self._health.recovered(CONNECTION)

    # Waiting, which `send` and `close` end.

    def _wake(self) -> None:
        try:
            os.write(self._wake_out, b"\0")
        except BlockingIOError:
            pass  # full of wake-ups, of which one is enough

    def _poll(self, descriptor: int, events: int, seconds: float) -> int:
        """Return the events of a descriptor that are there, 0 after `seconds` or `_wake`. Raises Stopped."""
        poll = select.poll()
        poll.register(self._wake_in, select.POLLIN)
        if descriptor >= 0:
            poll.register(descriptor, events)
        ready = {} if self._closing else dict(poll.poll(1000.0 * max(0.0, seconds)))
        if self._wake_in in ready:
            os.read(self._wake_in, 4096)
        if self._closing:
            raise Stopped
        return ready.get(descriptor, 0)

    def _wait(self, descriptor: int, events: int, seconds: float) -> None:
        """See tls.Wait."""
        until = self._monotonic() + seconds
        while not self._poll(descriptor, events, until - self._monotonic()):
            if self._monotonic() >= until:
                raise socket.timeout("timed out")

    def _sleep(self, seconds: float) -> None:
        try:
            self._wait(-1, 0, seconds)
        except socket.timeout:
            pass
