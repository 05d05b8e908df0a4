"""The calls a function makes to its core: HTTP on loopback, each with the core's token.

As on a real core no call has a time-out: a core that accepts and never answers blocks the caller for ever. Other
failures than an HTTP error and a failed connection (a reset, an incomplete answer) are raised as urllib and http.client
raise them.
"""

import functools
import json
import urllib.error
import urllib.request
from email.message import Message
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple, Union

from greengrass_common.env_vars import AUTH_TOKEN, GG_DAEMON_PORT


class IPCException(Exception):
    """The core answered with an HTTP error, or could not be reached."""


class WorkItem(NamedTuple):
    """An event for the function.

    client_context: base64 of JSON, None if it came without one
    """

    invocation_id: str
    payload: bytes
    client_context: Optional[str]


class WorkResult(NamedTuple):
    """The result of an invocation.

    payload: what the function returned, or its error
    func_err: None for success
    """

    payload: bytes
    func_err: Optional[str]


def _ipc_errors(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except urllib.error.HTTPError as error:
            raise IPCException(f"{error}: {error.read().decode('utf-8', 'replace')}") from error
        except urllib.error.URLError as error:
            raise IPCException(str(error)) from error

    return wrapped


class IPCClient:
    """The core at GG_DAEMON_PORT of `endpoint`."""

    def __init__(self, endpoint: str = "localhost") -> None:
        self._base = f"http://{endpoint}:{int(GG_DAEMON_PORT or 8000)}/2016-11-01/functions/"

    @_ipc_errors
    def post_work(
        self,
        function_arn: str,
        payload: Union[bytes, str, None],
        client_context: Union[bytes, str],
        invocation_type: str = "RequestResponse",
    ) -> str:
        """Send a function its input; return the invocation's id."""
        headers = {"X-Amz-Client-Context": client_context, "X-Amz-Invocation-Type": invocation_type}
        answer, _ = self._send("POST", function_arn, payload or b"", headers)
        return str(answer["X-Amz-InvocationId"])

    @_ipc_errors
    def get_work(self, function_arn: str) -> WorkItem:
        """Wait until there is an event for the function, without a time limit."""
        answer, body = self._send("GET", function_arn + "/work")
        return WorkItem(answer["X-Amz-InvocationId"], body, answer.get("X-Amz-Client-Context"))

    @_ipc_errors
    def post_work_result(self, function_arn: str, work_item: WorkItem) -> None:
        """Send the core the result, which is the work item's payload."""
        headers = {"X-Amz-InvocationId": work_item.invocation_id}
        self._send("POST", function_arn + "/work", work_item.payload, headers)

    @_ipc_errors
    def post_handler_err(self, function_arn: str, invocation_id: str, handler_err: str) -> None:
        """Report to the core that the handler raised an exception."""
        headers = {"X-Amz-InvocationId": invocation_id, "X-Amz-Function-Error": "Handled"}
        self._send("POST", function_arn + "/work", json.dumps({"errorMessage": handler_err}), headers)

    @_ipc_errors
    def get_work_result(self, function_arn: str, invocation_id: str) -> WorkResult:
        """Wait for the result of an invocation."""
        answer, body = self._send("GET", function_arn, headers={"X-Amz-InvocationId": invocation_id})
        return WorkResult(body, answer.get("X-Amz-Function-Error"))

    @_ipc_errors
    def put_initialization_result(self, function_arn: str, func_error: Optional[str]) -> None:
        """Report to the core that the function's module was imported, or why not."""
        body = json.dumps({"Success": func_error is None, "Response": func_error or ""})
        self._send("PUT", function_arn + "/initialized", body)

    def _send(
        self, method: str, path: str, body: Union[bytes, str, None] = None, headers: Optional[Dict[str, Any]] = None
    ) -> Tuple[Message, bytes]:
        data = body.encode() if isinstance(body, str) else body
        request = urllib.request.Request(self._base + path, data, method=method)
        for name, value in dict(headers or {}, Authorization=AUTH_TOKEN).items():
            request.add_header(name, value)
        with urllib.request.urlopen(request) as answer:
            return answer.headers, answer.read()
