"""The core's end of the wire protocol: HTTP on loopback, path prefix /2016-11-01."""

from __future__ import annotations

import base64
import json
import os
import socket
import socketserver
import struct
import sys
import threading
import urllib.parse
import uuid
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Deque, Dict, NamedTuple, Optional, Set, Tuple

from .faults import TICK_SECONDS, Faults

PREFIX = "/2016-11-01/functions/"
ROUTER_ARN = "arn:aws:lambda:::function:GGRouter"
MAX_BODY_BYTES = 1024 * 1024
SLOW_SECONDS = 1.0


class HttpError(Exception):
    """The answer to a request is this HTTP error."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body}")
        self.status, self.body = status, body


class Work(NamedTuple):
    """An invocation of the function.

    client_context: base64 of JSON, or empty
    """

    invocation_id: str
    payload: bytes
    client_context: str


class Invocations:
    """The function's queue of work and, for callers who wait for one, its results."""

    def __init__(self) -> None:
        self._queue: Deque[Work] = deque()
        self._results: Dict[str, Optional[Tuple[bytes, str]]] = {}
        self._changed = threading.Condition()

    def put(self, payload: bytes, client_context: str, keep_result: bool = False) -> str:
        """Queue work; return the invocation's id."""
        work = Work(str(uuid.uuid4()), payload, client_context)
        with self._changed:
            self._queue.append(work)
            if keep_result:
                self._results[work.invocation_id] = None
            self._changed.notify_all()
        return work.invocation_id

    def take(self, wanted: Callable[[], bool]) -> Optional[Work]:
        """Wait for work, as long as `wanted()` is true; then return None."""
        with self._changed:
            while wanted():
                if self._queue:
                    return self._queue.popleft()
                self._changed.wait(TICK_SECONDS)
        return None

    def finish(self, invocation_id: str, payload: bytes, error: str) -> None:
        """Keep a result for the caller that waits for it; `error` is empty for success."""
        with self._changed:
            if invocation_id in self._results:
                self._results[invocation_id] = (payload, error)
                self._changed.notify_all()

    def result(self, invocation_id: str, wanted: Callable[[], bool]) -> Optional[Tuple[bytes, str]]:
        """Wait for a result, as long as `wanted()` is true; raises HttpError for an unknown invocation."""
        with self._changed:
            while wanted():
                if invocation_id not in self._results:
                    raise HttpError(404, f"No invocation {invocation_id} waits for a result")
                if self._results[invocation_id] is not None:
                    return self._results.pop(invocation_id)
                self._changed.wait(TICK_SECONDS)
        return None


class Publish(NamedTuple):
    """A message for the router.

    queue_full_policy: with `AllOrError` the publisher gets an error when the queue is full
    """

    source: str
    subject: str
    queue_full_policy: str
    payload: bytes


class Api(NamedTuple):
    """What the port serves: one function, its work, and what happens with the messages that it publishes.

    publish: may raise HttpError
    initialized: gets the error of the import, empty for success
    restart: does what the fault of that name means
    """

    token: str
    function_arn: str
    invocations: Invocations
    faults: Faults
    publish: Callable[[Publish], None]
    initialized: Callable[[str], None]
    restart: Callable[[], None]


class Port:
    """The core's port on 127.0.0.1: opened and closed any number of times, always with the same number."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._lock = threading.RLock()
        self._connections: Set[socket.socket] = set()
        self._http = _HttpServer(api, 0, self._connections)
        self._is_open = self._is_over = False
        self._reopening: Optional[threading.Timer] = None
        self.number: int = self._http.server_address[1]

    def open(self) -> None:
        """Listen, unless `refuse` is in effect."""
        with self._lock:
            if not (self._is_open or self._reopening or self._is_over):
                self._http.server_activate()
                threading.Thread(target=self._http.serve_forever, args=(TICK_SECONDS / 2,), daemon=True).start()
                self._is_open = True

    def close(self, drop: bool = True) -> None:
        """Stop listening, so that connections are refused; with `drop`, end the present ones."""
        with self._lock:
            self._stop_listening()
            if drop:
                self._drop_connections()
            if not self._is_over:
                # bound but not listening, so that no other program gets the port
                self._http = _HttpServer(self._api, self.number, self._connections)

    def refuse(self, seconds: float) -> None:
        """Refuse new connections for some seconds; present ones are kept."""
        with self._lock:
            self._stop_timer()
            self.close(drop=False)
            self._reopening = threading.Timer(seconds, self.reopen)
            self._reopening.daemon = True
            self._reopening.start()

    def reopen(self) -> None:
        """End `refuse`."""
        with self._lock:
            if self._reopening:
                self._stop_timer()
                self.open()

    def end(self) -> None:
        """Close for good."""
        with self._lock:
            self._is_over = True
            self._stop_timer()
            self.close()

    def _stop_listening(self) -> None:
        if self._is_open:
            self._http.shutdown()
            self._is_open = False
        self._http.server_close()

    def _drop_connections(self) -> None:
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _stop_timer(self) -> None:
        if self._reopening:
            self._reopening.cancel()
        self._reopening = None


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, api: Api, port: int, connections: Set[socket.socket]) -> None:
        super().__init__(("127.0.0.1", port), _Request, bind_and_activate=False)
        self.api = api
        self._connections = connections
        self.server_bind()

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # not HTTPServer's, which looks up the host's name

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def close_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing for a client that disconnected: that is not an error of the core."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Request(BaseHTTPRequestHandler):
    server: _HttpServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self._answer(self._post)

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_PUT(self) -> None:
        self._answer(self._put)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing for a request."""

    def _answer(self, serve: Callable[[str], None]) -> None:
        try:
            if self.headers["Authorization"] != self.server.api.token:
                raise HttpError(403, "The Authorization header is not the core's token")
            if not self.path.startswith(PREFIX):
                raise HttpError(404, f"There is nothing at {self.path}")
            serve(urllib.parse.unquote(self.path[len(PREFIX) :]))
        except HttpError as error:
            self._send(error.body.encode(), status=error.status)

    def _post(self, path: str) -> None:
        api, body = self.server.api, self._body()
        if path == api.function_arn + "/work":
            error = self.headers["X-Amz-Function-Error"] or ""
            api.invocations.finish(self.headers["X-Amz-InvocationId"], body, error)
            self._send()
        elif path == api.function_arn:
            context = self.headers["X-Amz-Client-Context"] or ""
            keep = self.headers["X-Amz-Invocation-Type"] != "Event"
            self._send(headers={"X-Amz-InvocationId": api.invocations.put(body, context, keep)})
        elif path == ROUTER_ARN:
            self._publish(_read_publish(self.headers["X-Amz-Client-Context"], body))
        else:
            raise HttpError(404, f"There is no function {path}")

    def _publish(self, publish: Publish) -> None:
        api = self.server.api
        fault, releases = api.faults.take()
        if fault.startswith("status:"):
            raise HttpError(int(fault[len("status:") :]), "A fault that was asked for")
        if fault.startswith("redirect:"):
            self._send(headers={"Location": f"http://127.0.0.1:{fault[len('redirect:') :]}/"}, status=302)
            return
        if fault == "full" and publish.queue_full_policy == "AllOrError":
            # the real status is not public
            raise HttpError(429, "The queue is full")
        if fault == "cut":
            self.wfile.write(b"HTTP/1.1 2")
            self.close_connection = True
            return
        if fault == "restart":
            threading.Thread(target=api.restart, daemon=True).start()
        if fault in ("hang", "restart"):
            api.faults.hang(releases, self._is_wanted)
        if fault == "lost":
            api.publish(publish)
        if fault in ("hang", "restart", "reset", "lost"):
            self._drop()
            return
        if fault == "slow":
            api.faults.hang(releases, self._is_wanted, SLOW_SECONDS)
        if fault != "full":
            api.publish(publish)
        self._send(headers={"X-Amz-InvocationId": str(uuid.uuid4())})

    def _get(self, path: str) -> None:
        api = self.server.api
        if path == api.function_arn + "/work":
            work = api.invocations.take(self._is_wanted)
            if work:
                headers = {"X-Amz-InvocationId": work.invocation_id}
                if work.client_context:
                    headers["X-Amz-Client-Context"] = work.client_context
                self._send(work.payload, headers)
            else:
                self._drop()
        elif path == api.function_arn:
            result = api.invocations.result(self.headers["X-Amz-InvocationId"], self._is_wanted)
            if result:
                payload, error = result
                self._send(payload, {"X-Amz-Function-Error": error} if error else {})
            else:
                self._drop()
        else:
            raise HttpError(404, f"There is no function {path}")

    def _put(self, path: str) -> None:
        if path != self.server.api.function_arn + "/initialized":
            raise HttpError(404, f"There is nothing at {self.path}")
        try:
            outcome = json.loads(self._body().decode())
            error = "" if outcome["Success"] else str(outcome["Response"] or "no reason given")
        except (ValueError, TypeError, KeyError):
            raise HttpError(400, 'Expected {"Success": ..., "Response": ...}') from None
        self.server.api.initialized(error)
        self._send()

    def _body(self) -> bytes:
        length = self.headers["Content-Length"] or ""
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            raise HttpError(413, f"A Content-Length of at most {MAX_BODY_BYTES} is needed")
        return self.rfile.read(int(length))

    def _send(self, body: bytes = b"", headers: Optional[Dict[str, str]] = None, status: int = 200) -> None:
        self.send_response(status)
        for name, value in dict(headers or {}, **{"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _is_wanted(self) -> bool:
        """Return whether the connection is still open at both ends."""
        try:
            return bool(self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def _drop(self) -> None:
        """Reset the connection without an answer."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())


def _read_publish(client_context: Optional[str], payload: bytes) -> Publish:
    try:
        custom = json.loads(base64.b64decode(client_context or "", validate=True).decode())["custom"]
        return Publish(str(custom["source"]), str(custom["subject"]), str(custom.get("queueFullPolicy", "")), payload)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise HttpError(400, "X-Amz-Client-Context is not base64 of JSON with a custom source and subject") from None
