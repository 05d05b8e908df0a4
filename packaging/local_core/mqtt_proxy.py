"""The core's MQTT connection, which all its components share: which messages it takes, keeps and loses."""

from __future__ import annotations

import math
import queue
import threading
from typing import Callable, List, NamedTuple, Optional

from paho.mqtt.client import topic_matches_sub

from .nuclei import Nucleus, Times
from .service import Message
from .spans import Span

Deliver = Callable[[str, bytes], None]


class MqttError(Exception):
    """A publish was not taken; the text says why."""


class Subscription:
    """A topic filter of a component; `deliver` gets each message that matches."""

    def __init__(self, topic_filter: str, deliver: Deliver) -> None:
        self.topic_filter, self.deliver = topic_filter, deliver


class _Waiting(NamedTuple):
    topic: str
    payload: bytes


class MqttProxy:
    """The connection, with a thread of its own that sends what was taken, in order.

    to_cloud: gets each message that reaches the broker; returns the answer, if there is one
    on_log: called with what the core would log
    """

    def __init__(
        self,
        nucleus: Nucleus,
        times: Times,
        to_cloud: Callable[[str, bytes], Optional[Message]],
        on_log: Callable[[str], None],
    ) -> None:
        self._nucleus, self._times, self._to_cloud, self._on_log = nucleus, times, to_cloud, on_log
        self._changed = threading.Condition(threading.RLock())
        self._subscriptions: List[Subscription] = []
        self._late: List[_Waiting] = []  # failed for their publisher while the daemon hung, and sent after that
        self._held: List[Message] = []  # for components, while the daemon hangs
        self._spool: List[_Waiting] = []
        self._unacknowledged: List[int] = []  # bytes of each
        self._refused = self._failing = 0
        self.lost = Span(self._changed, self._connected_again)
        self.hung = Span(self._changed, self._resume)
        self.silent = Span(self._changed, self._answered_again)
        self._dead = Span(self._changed)  # a silent broker, once it is noticed
        self._notice: Optional[threading.Timer] = None
        self._out: queue.Queue[Optional[_Waiting]] = queue.Queue()
        self._under_way = 0  # messages in it, or on their way to the cloud and back
        self._sender = threading.Thread(target=self._send, daemon=True)
        self._sender.start()

    def end(self) -> None:
        """Send what was taken, and end."""
        self.release()
        self._out.put(None)
        if self._sender is not threading.current_thread():
            self._sender.join()

    def subscribe(self, topic_filter: str, deliver: Deliver, on_begin: Callable[[], None]) -> Subscription:
        """Begin to deliver what matches a filter, after `on_begin` was called.

        Raises MqttError while there is no connection.
        """
        with self._changed:
            self._wait_while_hung()
            if (self.lost or self._dead) and not self._nucleus.spool_bytes:
                raise MqttError("there is no MQTT connection")
            on_begin()
            subscription = Subscription(topic_filter, deliver)
            self._subscriptions.append(subscription)
            return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; nothing happens if the core has forgotten it."""
        with self._changed:
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)

    def publish(self, topic: str, payload: bytes, qos: int) -> None:
        """Take a message, which is then sent, or lost. Raises MqttError if it is not taken."""
        if len(payload) > self._nucleus.max_payload_bytes:
            raise MqttError(f"{len(payload)} bytes are more than {self._nucleus.max_payload_bytes}")
        wildcard = bool(set(topic) & set("+#"))
        if wildcard and not self._nucleus.takes_wildcards:
            raise MqttError(f"'{topic}' has a wildcard, which a topic to publish on must not have")
        message = _Waiting(topic, payload)
        with self._changed:
            self._wait_while_hung(message)
            if self._failing:
                self._failing -= 1
                raise MqttError("a fault that was asked for")
            if self.lost or self._dead:
                self._spool_up(message, qos)
            elif self._refused:
                self._refused -= 1
                self._on_log(f"the broker has refused a message on {topic}")
            elif wildcard:
                self._on_log(f"the broker has ended the core's connection, for the wildcard in {topic}")
                self.lose(self._times.reconnect)
            elif self.silent:
                self._leave_unacknowledged(message, qos)
            else:
                self._put(message)

    def deliver(self, message: Message) -> None:
        """Hand a message from the cloud to the components, once for each filter and subscription that match.

        So two subscriptions with one filter get it once each, and two overlapping filters twice each.
        """
        with self._changed:
            if self.hung:
                self._held.append(message)
                return
            if self.lost or self.silent:
                self._on_log(f"a message on {message.topic} is lost: the core is not connected")
                return
            matching = [each for each in self._subscriptions if topic_matches_sub(each.topic_filter, message.topic)]
        for _ in {each.topic_filter for each in matching}:
            for subscription in matching:
                subscription.deliver(message.topic, message.payload)

    def lose(self, seconds: float = math.inf) -> None:
        """Lose the connection for some seconds, then make it and the subscriptions again."""
        self._on_log("the MQTT connection is lost")
        self.lost.begin(seconds)

    def restart(self) -> None:
        """Restart the daemon: publishing goes on; subscriptions are forgotten, and components don't notice."""
        with self._changed:
            self._on_log("the MQTT daemon was restarted")
            self._subscriptions.clear()

    def hang(self, seconds: float = math.inf) -> None:
        """Let the daemon hang for some seconds."""
        self._on_log("the MQTT daemon hangs")
        self.hung.begin(seconds)

    def silence(self, seconds: float = math.inf) -> None:
        """Let the broker answer nothing for some seconds: messages to it are lost."""
        with self._changed:
            self._on_log("the broker is silent")
            self.silent.begin(seconds)
            self._notice = threading.Timer(self._times.keep_alive, self._notice_silence)
            self._notice.daemon = True
            self._notice.start()

    def refuse(self, count: int) -> None:
        """Let the broker acknowledge the next messages with "not authorized": taken here, and lost."""
        with self._changed:
            self._refused += count

    def fail(self, count: int) -> None:
        """Let the next publishes fail at once."""
        with self._changed:
            self._failing += count

    def release(self) -> None:
        """End all faults."""
        with self._changed:
            for span in (self.hung, self.silent, self.lost):
                span.end()
            self._refused = self._failing = 0

    def wait_until_sent(self, timeout: float) -> bool:
        """Wait until all taken messages are in the cloud and their answers delivered; return False at the timeout."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._under_way, timeout)

    def _put(self, message: _Waiting) -> None:
        with self._changed:
            self._under_way += 1
            self._out.put(message)

    def _wait_while_hung(self, message: Optional[_Waiting] = None) -> None:
        if not self._changed.wait_for(lambda: not self.hung, self._times.patience):
            if message is not None:
                self._late.append(message)  # it is in the daemon's socket
            raise MqttError(f"the MQTT daemon has not answered in {self._times.patience:g} s")

    def _resume(self) -> None:
        late, held = self._late, self._held
        self._late, self._held = [], []
        for message in late:
            self._put(message)
        for message_for_component in held:
            self.deliver(message_for_component)

    def _spool_up(self, message: _Waiting, qos: int) -> None:
        kept = sum(len(each.payload) for each in self._spool)
        if not self._nucleus.spool_bytes:
            raise MqttError("there is no MQTT connection")
        if qos == 0:
            raise MqttError("Device is offline. Dropping QoS 0 message.")
        if kept + len(message.payload) > self._nucleus.spool_bytes:
            raise MqttError(f"the spool is full, {kept} bytes")
        self._spool.append(message)

    def _leave_unacknowledged(self, message: _Waiting, qos: int) -> None:
        if qos == 0:
            return
        if self._nucleus.spool_bytes:
            self._spool_up(message, qos)
            return
        bytes_kept = sum(self._unacknowledged) + len(message.payload)
        if (
            len(self._unacknowledged) >= self._nucleus.max_unacknowledged
            or bytes_kept > self._nucleus.max_unacknowledged_bytes
        ):
            raise MqttError("too many messages wait for the broker's acknowledgement")
        self._unacknowledged.append(len(message.payload))

    def _notice_silence(self) -> None:
        with self._changed:
            if self.silent and not self._dead:
                self._on_log(f"the broker has not answered for {self._times.keep_alive:g} s: the connection is lost")
                self._unacknowledged.clear()
                self._dead.begin()

    def _answered_again(self) -> None:
        if self._notice:
            self._notice.cancel()
            self._notice = None
        self._dead.end()
        self._unacknowledged.clear()
        self._flush()

    def _connected_again(self) -> None:
        self._on_log("the MQTT connection is back")
        self._flush()

    def _flush(self) -> None:
        for message in self._spool:
            self._put(message)
        self._spool.clear()

    def _send(self) -> None:
        while True:
            message = self._out.get()
            if message is None:
                return
            answer = self._to_cloud(message.topic, message.payload)
            if answer:
                self.deliver(answer)
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()
