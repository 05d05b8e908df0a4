"""A component's end of Greengrass IPC in the tests' process: the real client of awsiotsdk."""

from __future__ import annotations

import queue
import threading
from typing import Any, List, Mapping, Optional, Tuple

from awsiot import eventstreamrpc
from awsiot.greengrasscoreipc import connect
from awsiot.greengrasscoreipc.clientv2 import GreengrassCoreIPCClientV2
from local_core.nucleus import SOCKET_VARIABLE, TOKEN_VARIABLE

SECONDS = 60.0  # for what takes far less


class IpcClient(eventstreamrpc.LifecycleHandler):  # type: ignore[misc]
    """A connection, made with a component's environment.

    disconnected: set once the connection has ended without `close`
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.disconnected = threading.Event()
        basic = connect(
            ipc_socket=environment[SOCKET_VARIABLE],
            authtoken=environment[TOKEN_VARIABLE],
            lifecycle_handler=self,
            timeout=SECONDS,
        )
        self.client = GreengrassCoreIPCClientV2(client=basic, executor=None)

    def on_disconnect(self, reason: Optional[Exception]) -> None:
        if reason is not None:
            self.disconnected.set()

    def publish(self, topic: str, payload: bytes, qos: str = "1", seconds: float = SECONDS) -> None:
        """Publish; raises what the client raises, and concurrent.futures.TimeoutError after so many seconds."""
        self.client.publish_to_iot_core_async(topic_name=topic, qos=qos, payload=payload).result(seconds)

    def subscribe(self, topic: str) -> Subscribed:
        """Subscribe to a topic of AWS IoT Core."""
        subscribed = Subscribed()
        answer, operation = self.client.subscribe_to_iot_core_async(topic_name=topic, qos="1", **subscribed.handlers())
        return subscribed.begun(answer, operation)

    def watch(self, path: List[str]) -> Subscribed:
        """Subscribe to changes of the configuration."""
        subscribed = Subscribed()
        answer, operation = self.client.subscribe_to_configuration_update_async(key_path=path, **subscribed.handlers())
        return subscribed.begun(answer, operation)

    def close(self) -> None:
        self.client.close().exception(SECONDS)  # the client keeps the reason why it was closed before


class Subscribed:
    """A stream with events.

    closed: set when the nucleus or `end` has closed it. errors: those that came on it.
    """

    def __init__(self) -> None:
        self.closed = threading.Event()
        self.errors: List[Exception] = []
        self._events: queue.Queue[Any] = queue.Queue()
        self._operation: Any = None

    def handlers(self) -> Any:
        return {
            "on_stream_event": self._events.put,
            "on_stream_error": self.errors.append,
            "on_stream_closed": self.closed.set,
        }

    def begun(self, answer: Any, operation: Any) -> Subscribed:
        answer.result(SECONDS)
        self._operation = operation
        return self

    def message(self) -> Tuple[str, bytes]:
        """Return topic and payload of the next message."""
        event = self._events.get(timeout=SECONDS)
        return event.message.topic_name, event.message.payload

    def key_path(self) -> List[str]:
        """Return the path of the next change of the configuration."""
        path: List[str] = self._events.get(timeout=SECONDS).configuration_update_event.key_path
        return path

    @property
    def waiting(self) -> int:
        """How many events nobody has taken yet."""
        return self._events.qsize()

    def end(self) -> None:
        """End it; return once `closed` is set, which the client does after the result is there."""
        self._operation.close().result(SECONDS)
        assert self.closed.wait(SECONDS), "the end of the stream is not told"
