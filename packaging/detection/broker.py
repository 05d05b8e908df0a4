"""Messages from an MQTT broker, in the order in which they come."""

from __future__ import annotations

import queue
import ssl
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from .errors import BrokerError, InputError

CONNECT_SECONDS = 10.0
MAX_WAITING_MESSAGES = 10_000  # then the broker waits, as far as its own queue goes


class Broker:
    """A subscription that survives the loss of the connection.

    address: HOST:PORT
    topics: topic filters
    on_problem: is called with a sentence when the connection is lost or comes back
    ca_file, cert, key: PEM files; with any of them the connection uses TLS, without ca_file by the system's authorities
    client_id: where the broker's policy asks for one

    Raises InputError for an address or a file that can't be used, BrokerError where the broker can't be reached.
    """

    def __init__(
        self,
        address: str,
        topics: Sequence[str],
        on_problem: Callable[[str], None],
        ca_file: str | None = None,
        cert: str | None = None,
        key: str | None = None,
        client_id: str = "",
    ) -> None:
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            raise InputError(f"'{address}' is no MQTT broker: expected HOST:PORT, such as localhost:1883")
        self._address, self._topics, self._on_problem = address, topics, on_problem
        self._messages: queue.Queue[tuple[str, bytes]] = queue.Queue(MAX_WAITING_MESSAGES)
        self._answers: queue.Queue[str] = queue.Queue()  # to the first subscription: "" or why it failed
        self._subscribed = False
        self._ending = False
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id)
        self._client.reconnect_delay_set(1, 30)
        self._client.on_connect = self._connected
        self._client.on_subscribe = self._on_subscribe
        self._client.on_disconnect = self._disconnected
        self._client.on_message = self._received
        if ca_file or cert or key:
            try:
                self._client.tls_set(ca_file, cert, key)
            except (OSError, ssl.SSLError, ValueError) as error:
                raise InputError(f"--ca-file, --cert or --key can't be used: {error}") from error
        try:
            self._client.connect(host.strip("[]"), int(port))
        except (OSError, ValueError) as error:
            raise BrokerError(f"no MQTT broker at {address}: {error}") from error
        self._client.loop_start()
        try:
            refusal = self._answers.get(timeout=CONNECT_SECONDS)
        except queue.Empty:
            refusal = "no answer"
        if refusal:
            self.close()
            raise BrokerError(f"the MQTT broker at {address} refuses: {refusal}")
        self._subscribed = True

    def messages(self) -> Iterator[tuple[str, bytes]]:
        """Yield (topic, payload) for ever."""
        while True:
            yield self._messages.get()

    def close(self) -> None:
        """Disconnect. What was not read yet is lost."""
        self._ending = True
        self._client.disconnect()
        while not self._messages.empty():  # a full queue would hold the client's thread
            self._messages.get()
        self._client.loop_stop()

    def _connected(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._answers.put(str(reason))
            return
        self._client.subscribe([(topic, 1) for topic in self._topics])

    def _on_subscribe(self, client: Any, userdata: Any, mid: Any, reasons: Any, properties: Any) -> None:
        refused = [topic for topic, reason in zip(self._topics, reasons) if reason.is_failure]
        self._answers.put(f"it does not allow to subscribe to {', '.join(refused)}" if refused else "")
        if self._subscribed:
            self._on_problem(f"the MQTT broker at {self._address} is back")

    def _disconnected(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if self._subscribed and not self._ending:
            self._on_problem(f"the MQTT broker at {self._address} is lost ({reason}); trying again")

    def _received(self, client: Any, userdata: Any, message: Any) -> None:
        if not self._ending:
            self._messages.put((message.topic, message.payload))
