"""Sends everything that goes to the cloud to an MQTT broker too."""

from __future__ import annotations

import threading
from typing import Any, Callable, Optional

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from .errors import LocalCoreError

CONNECT_SECONDS = 10.0
MAX_WAITING_MESSAGES = 100  # kept while there is no connection


class Broker:
    """A connection to a broker that is made again when it is lost.

    address: HOST:PORT
    on_log: called with a line when the connection is lost and when it is back

    Raises LocalCoreError if the broker can't be reached at the start.
    """

    def __init__(self, address: str, on_log: Callable[[str], None]) -> None:
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise LocalCoreError(
                f"'{address}' is not the address of an MQTT broker: expected HOST:PORT, such as localhost:1883"
            )
        self._address, self._on_log = address, on_log
        self._answer = threading.Event()
        self._refusal = ""
        self._ending = False
        self._last: Optional[mqtt.MQTTMessageInfo] = None
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.max_queued_messages_set(MAX_WAITING_MESSAGES)
        self._client.reconnect_delay_set(1, 30)
        self._client.on_connect = self._connected
        self._client.on_disconnect = self._disconnected
        try:
            self._client.connect(host.strip("[]"), int(port))
        except (OSError, ValueError) as error:
            raise LocalCoreError(f"no MQTT broker at {address}: {error}") from error
        self._client.loop_start()
        if not self._answer.wait(CONNECT_SECONDS) or self._refusal:
            self.end()
            raise LocalCoreError(f"the MQTT broker at {address} refuses: {self._refusal or 'no answer'}")

    def publish(self, topic: str, payload: bytes) -> None:
        """Send a message with QoS 1; without a connection the first MAX_WAITING_MESSAGES are kept."""
        sent = self._client.publish(topic, payload, qos=1)
        if sent.rc == mqtt.MQTT_ERR_SUCCESS:
            self._last = sent

    def end(self) -> None:
        """Disconnect after the last message was acknowledged, or after CONNECT_SECONDS."""
        self._ending = True
        if self._last and self._client.is_connected():
            self._last.wait_for_publish(CONNECT_SECONDS)
        self._client.disconnect()
        self._client.loop_stop()

    def _connected(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if self._answer.is_set():
            self._on_log(f"the MQTT broker at {self._address} is back")
        elif reason.is_failure:
            self._refusal = str(reason)
        self._answer.set()

    def _disconnected(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if not self._ending and not self._refusal:
            self._on_log(f"the MQTT broker at {self._address} is lost ({reason}); trying again")
