"""One connection to a Greengrass nucleus over its Unix socket, with the client of awsiotsdk (the extra `ipc`).

Facts of the protocol: the client does not reconnect, and calls have no time-out of their own. Nucleus lite accepts a
component's token only until its IPC daemon is restarted, and its errors have no text: only an error's type can be used.
"""

from __future__ import annotations

import concurrent.futures
from typing import Any, Callable, Dict, Mapping, Optional

from awscrt.exceptions import AwsCrtError
from awsiot import eventstreamrpc
from awsiot.greengrasscoreipc import connect, model
from awsiot.greengrasscoreipc.clientv2 import GreengrassCoreIPCClientV2

from ..errors import ConfigError, ConnectorError

MAX_CALL_SECONDS = 10.0  # for the answer to anything but a publish
MAX_CLOSE_SECONDS = 0.5
SOCKET = "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT"
TOKEN = "SVCUID"

# What a call may raise: the nucleus' errors and those of the connection are RuntimeErrors.
CALL_ERRORS = (RuntimeError, AwsCrtError, concurrent.futures.TimeoutError, OSError)


class IpcError(ConnectorError):
    """The nucleus can't be reached, or has not answered a call. The text says which."""


class Lifecycle(eventstreamrpc.LifecycleHandler):  # type: ignore[misc]
    """Calls back when the connection has ended."""

    def __init__(self, on_lost: Callable[[str], None]) -> None:
        self._on_lost = on_lost

    def on_disconnect(self, reason: Optional[Exception]) -> None:
        self._on_lost("closed" if reason is None else words(reason))

    def on_error(self, error: Exception) -> bool:
        return True


class IpcConnection:
    """A connection that is open until it ends or is closed.

    client: the client of awsiotsdk, for the transport. Its callbacks run on its own thread, so they must not wait.
    """

    def __init__(self, environ: Mapping[str, str], on_lost: Callable[[str], None]) -> None:
        """Connect to the nucleus that the environment names.

        on_lost: called once, from another thread, with the reason why the connection has ended.

        Raises IpcError, and ConfigError where a variable is not set.
        """
        missing = [name for name in (SOCKET, TOKEN) if not environ.get(name)]
        if missing:
            raise ConfigError(
                f"{' and '.join(missing)} not set: a Greengrass nucleus sets them for each component that it runs"
            )
        self._on_lost = on_lost
        self._closing = False
        self._watch: Any = None  # the stream on which changes of the configuration come
        try:
            basic = connect(
                ipc_socket=environ[SOCKET],
                authtoken=environ[TOKEN],
                lifecycle_handler=Lifecycle(self._lost),
                timeout=MAX_CALL_SECONDS,
            )
        except CALL_ERRORS as error:
            raise IpcError(f"no connection to {environ[SOCKET]}: {words(error)}") from error
        self.client = GreengrassCoreIPCClientV2(client=basic, executor=None)

    def _lost(self, reason: str) -> None:
        if not self._closing:
            self._on_lost(reason)

    def call(self, operation: Any, request: Any, seconds: float) -> Any:
        """Return the answer to a call that has one. Raises what CALL_ERRORS names.

        The call's stream is closed then, which GreengrassCoreIPCClientV2 leaves to the nucleus: nucleus lite leaves it
        open, and each open stream keeps some KB in both processes.
        """
        try:
            operation.activate(request)
            return operation.get_response().result(seconds)
        finally:
            operation.close()

    def configuration(self) -> Dict[str, Any]:
        """Return the component's whole configuration. Raises IpcError."""
        return self._get([])

    def parameter(self, name: str) -> Any:
        """Return one value of the configuration, None where it has none. Raises IpcError.

        For a configuration that is too long for one answer: above 10,000 bytes nucleus lite gives an error.
        """
        return self._get([name]).get(name)

    def _get(self, path: Any) -> Dict[str, Any]:
        try:
            request = model.GetConfigurationRequest(key_path=path)
            answer = self.call(self.client.client.new_get_configuration(), request, MAX_CALL_SECONDS)
        except model.ResourceNotFoundError:
            return {}
        except CALL_ERRORS as error:
            raise IpcError(f"the configuration can't be read: {words(error)}") from error
        return answer.value if isinstance(answer.value, dict) else {}

    def watch_configuration(self, on_change: Callable[[], None]) -> None:
        """Call `on_change`, from another thread, whenever the configuration has changed. Raises IpcError.

        Called again, it subscribes anew: on nucleus lite a subscription is dead, without a sign, once the configuration
        daemon was restarted.
        """
        try:
            if self._watch is not None:
                self._watch, old = None, self._watch
                old.close()
            answer, self._watch = self.client.subscribe_to_configuration_update_async(
                key_path=[],
                on_stream_event=lambda event: on_change(),
                on_stream_error=lambda error: False,
                on_stream_closed=lambda: None,
            )
            answer.result(MAX_CALL_SECONDS)
        except CALL_ERRORS as error:
            raise IpcError(f"changes of the configuration can't be followed: {words(error)}") from error

    def close(self) -> None:
        """End the connection, within MAX_CLOSE_SECONDS. Every call that is under way ends with an error."""
        self._closing = True
        try:
            self.client.close().result(MAX_CLOSE_SECONDS)
        except CALL_ERRORS:
            pass  # it had ended before


def words(error: BaseException) -> str:
    """Return an error's type and, if it has one, its text."""
    if isinstance(error, concurrent.futures.TimeoutError):
        return "no answer in time"
    text = getattr(error, "message", None) or str(error)
    name = type(error).__name__
    return f"{name}: {text}" if text and text != name else name
