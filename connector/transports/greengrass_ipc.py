"""Greengrass IPC as transport of a native component: through the nucleus' MQTT connection to AWS IoT Core, with QoS 1.

The nucleus answers OK once it has the message, which does not prove that it arrives (`proves_delivery`). Two kinds of
message are never sent: one that is too long for the nucleus, which would close this connection, and one whose topic has
a wildcard, for which AWS IoT would close the connection of the whole core.
"""

from __future__ import annotations

import concurrent.futures
import logging
import threading
import time
from typing import Any, List, Sequence

from awsiot import eventstreamrpc
from awsiot.greengrasscoreipc import model

from ..errors import NoSubscriptionError, PublishError
from ..health import Health, plain
from . import MAX_SEND_SECONDS, Transport
from .greengrass_ipc_connection import CALL_ERRORS, MAX_CALL_SECONDS, IpcConnection, words

SUBSCRIPTION = "subscription to the answers"
MAX_SUBSCRIBING_SECONDS = 2 * MAX_CALL_SECONDS + 1.0


class GreengrassIpc(Transport):
    """Publishes through the nucleus, and receives the answers to the reports.

    connection: open, and closed by the caller. max_payload_bytes: what the nucleus carries.
    closed_on: bytes of the longest message on which the nucleus has closed the connection, 0 for none.
    """

    peer = "the nucleus"
    proves_delivery = False
    max_payload_bytes: int

    def __init__(self, connection: IpcConnection, max_payload_bytes: int, logger: logging.Logger) -> None:
        self.max_payload_bytes = max_payload_bytes
        self.closed_on = 0
        self._connection = connection
        self._logger = logger
        self._health = Health(logger, time.monotonic)
        self._topics: Sequence[str] = ()
        self._streams: List[Any] = []  # operations of the client, one for each topic
        self._attempted = 0.0  # when subscribing began last, seconds on the monotonic clock
        self._failed = False  # whether a topic has no subscription
        self._closed = False
        self._subscribing = threading.Lock()  # held while streams are opened or closed
        self._idle = threading.Event()  # nobody is subscribing
        self._idle.set()

    def start(self, topics: Sequence[str]) -> None:
        self._topics = tuple(topics)
        self.renew()

    def renew(self) -> None:
        """Subscribe anew, on a thread: the old streams are closed first, as two would deliver each message twice."""
        self._idle.clear()
        self._attempted = time.monotonic()
        try:
            threading.Thread(target=self._subscribe, name="subscribe", daemon=True).start()
        except RuntimeError as error:  # no memory for a thread
            self._idle.set()
            self._failed = True
            self._health.failed(SUBSCRIPTION, f"no thread for it: {error}")

    def send(self, topic: str, payload: bytes) -> None:
        """Return once the nucleus says OK. A subscription that failed is tried again before.

        Raises PublishError; NoSubscriptionError where accessControl does not allow the topic.
        """
        if set(topic) & set("+#"):
            raise PublishError(f"{topic} has a wildcard (+ or #), which no topic to publish to may have")
        if len(payload) > self.max_payload_bytes:
            raise PublishError(
                f"{len(payload)} bytes are more than the nucleus carries ({self.max_payload_bytes}, MaxPayloadBytes): "
                "lower MaxListSize"
            )
        # The answer to a report is sent once, to those who have subscribed by then.
        if self._failed and self._idle.is_set():
            self.renew()
        self._idle.wait(MAX_SUBSCRIBING_SECONDS)
        if self._closed:
            raise PublishError("the connection to the nucleus is closed")
        try:
            self._connection.call(
                self._connection.client.client.new_publish_to_iot_core(),
                model.PublishToIoTCoreRequest(topic_name=topic, qos=model.QOS.AT_LEAST_ONCE, payload=payload),
                MAX_SEND_SECONDS,
            )
        except CALL_ERRORS as error:
            if isinstance(error, eventstreamrpc.StreamClosedError):
                self.closed_on = max(self.closed_on, len(payload))
            raise explained(error, topic) from error

    def close(self) -> None:
        """End the subscriptions. The connection, which is not this object's, stays open."""
        self._closed = True
        if self._subscribing.acquire(timeout=0.1):  # else the thread that holds the lock sees `_closed` and closes them
            try:
                self._close_streams(0.5)
            finally:
                self._subscribing.release()

    def _subscribe(self) -> None:
        try:
            with self._subscribing:
                self._close_streams(MAX_CALL_SECONDS)
                errors = [self._subscribe_to(topic) for topic in self._topics if not self._closed]
                if self._closed:
                    self._close_streams(MAX_CALL_SECONDS)
                    return
                failures = [error for error in errors if error is not None]
                self._failed = bool(failures)
                for error in failures[:1]:
                    self._health.failed(SUBSCRIPTION, error, error.partition(":")[0], self._attempted)
                if not failures:
                    self._health.recovered(SUBSCRIPTION)
                    self._logger.debug("subscribed to %s", plain(", ".join(self._topics)))
        except Exception as error:  # such as MemoryError: reporting goes on without answers; a later report tries again
            self._failed = True
            self._health.failed(SUBSCRIPTION, words(error), since=self._attempted)
        finally:
            self._idle.set()

    def _subscribe_to(self, topic: str) -> Any:
        """Open a stream; return None, or in words why there is none."""

        def received(event: Any) -> None:
            message = event.message
            if message is not None and message.topic_name is not None:
                self.on_message(message.payload or b"", message.topic_name)

        try:
            answer, stream = self._connection.client.subscribe_to_iot_core_async(
                topic_name=topic,
                qos=model.QOS.AT_LEAST_ONCE,
                on_stream_event=received,
                on_stream_error=lambda error: False,  # a message that can't be decoded does not end the stream
                on_stream_closed=lambda: None,
            )
            self._streams.append(stream)
            answer.result(MAX_CALL_SECONDS)
        except model.UnauthorizedError:
            return (
                f"not allowed: {topic} can't be subscribed to. Add aws.greengrass#SubscribeToIoTCore with the resource "
                f"{topic.rpartition('/')[0]}/+ to accessControl (aws.greengrass.ipc.mqttproxy) of the component"
            )
        except CALL_ERRORS as error:
            return f"{words(error)}: {topic} can't be subscribed to; the next report tries again"
        return None

    def _close_streams(self, seconds: float) -> None:
        """Close the open streams; wait up to `seconds` until the nucleus has closed them too."""
        streams, self._streams = self._streams, []
        closing = []
        for stream in streams:
            try:
                closing.append(stream.close())
            except CALL_ERRORS:
                pass  # it was closed with the connection
        concurrent.futures.wait(closing, seconds)


def explained(error: BaseException, topic: str) -> PublishError:
    """Return the error of a publish as a sentence for the log that says what to do; judged by its type alone."""
    if isinstance(error, model.UnauthorizedError):
        return NoSubscriptionError(
            f"the component may not publish to {topic}: add aws.greengrass#PublishToIoTCore with this resource to its "
            "accessControl (aws.greengrass.ipc.mqttproxy), as the recipe has it"
        )
    if isinstance(error, model.ServiceError):
        return PublishError(
            f"the nucleus did not take the message: {words(error)}; it has no connection to AWS IoT, or too many "
            "messages wait there"
        )
    return PublishError(f"the nucleus did not take the message: {words(error)}")
