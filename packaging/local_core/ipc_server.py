"""The nucleus' end of Greengrass IPC: event stream RPC over a Unix domain socket.

A client connects with its token, then each request begins a stream, whose number it chooses; the answer and later
events come on it. Source: the protocol as awsiot.eventstreamrpc (awsiotsdk 1.31.0) speaks it.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import uuid
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Set

from .event_stream import HeaderValue, MalformedMessage, Message, encode, read
from .nuclei import Nucleus
from .spans import Span

APPLICATION_MESSAGE, APPLICATION_ERROR, CONNECT, CONNECT_ACK = 0, 1, 4, 5  # :message-type
ACCEPTED, TERMINATE_STREAM = 1, 2  # :message-flags
VERSION = "0.1.0"
PREFIX = "aws.greengrass#"


class IpcError(Exception):
    """The answer to a request is this error.

    model: its name, such as ServiceError
    fields: of its document, beside the text
    """

    def __init__(self, model: str, text: str, **fields: str) -> None:
        super().__init__(text)
        self.model, self.fields = model, fields


class Request(NamedTuple):
    """A request. operation: without its prefix, such as PublishToIoTCore. stream: where answers go."""

    operation: str
    body: Dict[str, Any]
    stream: Stream


class Stream:
    """One request's stream. `on_end`, which may be set, is called once when it ends."""

    def __init__(self, connection: _Connection, number: int) -> None:
        self.on_end: Callable[[], None] = lambda: None
        self._connection, self._number = connection, number

    def send(self, model: str, body: Mapping[str, Any], last: bool = False) -> None:
        """Send the answer or an event. A connection that is gone is no error: its streams end by themselves."""
        self._send(APPLICATION_MESSAGE, model, body, last)

    def fail(self, error: IpcError, with_text: bool) -> None:
        """Answer with an error; the stream ends."""
        # lite's documents have `_message`, where the SDK looks for `message`
        body = {"message" if with_text else "_message": str(error), "_errorCode": error.model, **error.fields}
        self._send(APPLICATION_ERROR, error.model, body, last=True)

    def _send(self, message_type: int, model: str, body: Mapping[str, Any], last: bool) -> None:
        headers: Dict[str, HeaderValue] = {
            ":message-type": message_type,
            ":message-flags": TERMINATE_STREAM if last else 0,
            ":stream-id": self._number,
            ":content-type": "application/json",
            "service-model-type": PREFIX + model,
        }
        self._connection.send(Message(headers, json.dumps(body).encode()))
        if last:
            self._connection.forget(self._number)


class IpcServer:
    """Listens at a path, from `start` to `end`.

    serve: does what a request asks; raises IpcError. Called from a thread of the connection, on lite one at a time
    on_log: called with what the daemon would log
    """

    def __init__(
        self,
        path: str,
        nucleus: Nucleus,
        serve: Callable[[Request], None],
        on_log: Callable[[str], None],
    ) -> None:
        self.path, self.nucleus, self.on_log = path, nucleus, on_log
        self._serve = serve
        self._turn = threading.Lock()
        self._changed = threading.Condition(threading.RLock())
        self._tokens: Set[str] = set()
        self._connections: Set[_Connection] = set()
        self._listener: Optional[socket.socket] = None
        self.hung = Span(self._changed)

    def start(self) -> None:
        """Listen."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        os.chmod(self.path, 0o666)  # the component may be another user's
        listener.listen()
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def end(self) -> None:
        """Stop listening, end all connections, and wait until their threads have ended."""
        connections = self._close()
        for connection in connections:
            connection.close()
        for connection in connections:
            connection.join()

    def restart(self) -> None:
        """End and start again, as another process: every token that was given out is refused from now on."""
        self.on_log("the IPC daemon was restarted")
        with self._changed:
            self._tokens.clear()
        connections = self._close()
        self.start()
        # Closed last, so that a client that sees it can connect at once. Not waited for: one may be this thread's own.
        for connection in connections:
            connection.close()

    def _close(self) -> List[_Connection]:
        """Stop listening; return the connections that there are."""
        self.hung.end()
        if self._listener:
            self._listener.shutdown(socket.SHUT_RDWR)  # ends accept
            self._listener.close()
            self._listener = None
            os.unlink(self.path)
        with self._changed:
            return list(self._connections)

    def new_token(self) -> str:
        """Return a token that a component can connect with from now on."""
        token = uuid.uuid4().hex[:16].upper()
        with self._changed:
            self._tokens.add(token)
        return token

    def knows(self, token: object) -> bool:
        """Return whether a token is a component's."""
        with self._changed:
            return token in self._tokens

    def wait_while_hung(self) -> None:
        """Wait until the daemon does not hang."""
        with self._changed:
            self._changed.wait_for(lambda: not self.hung)

    def serve(self, request: Request) -> None:
        """Do what a request asks; lite does one after the other."""
        if self.nucleus.separate_daemons:
            with self._turn:
                self._serve(request)
        else:
            self._serve(request)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            connection = _Connection(self, peer)
            with self._changed:
                self._connections.add(connection)
            connection.start()

    def forget(self, connection: _Connection) -> None:
        """Note that a connection has ended."""
        with self._changed:
            self._connections.discard(connection)


class _Connection:
    def __init__(self, server: IpcServer, peer: socket.socket) -> None:
        self._server, self._peer = server, peer
        self._sending = threading.Lock()
        self._streams: Dict[int, Stream] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        if self._thread is not threading.current_thread():
            self._thread.join()

    def close(self) -> None:
        try:
            self._peer.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # its peer has closed it already

    def send(self, message: Message) -> None:
        self._server.wait_while_hung()
        try:
            with self._sending:
                self._peer.sendall(encode(message))
        except OSError:
            pass  # the thread that reads notices it too, and ends the streams

    def forget(self, number: int) -> None:
        self._streams.pop(number, None)

    def _run(self) -> None:
        limit = self._server.nucleus.max_request_bytes
        try:
            self._connect(read(self._receive, limit))
            while True:
                self._take(read(self._receive, limit))
        except (MalformedMessage, _Closed) as reason:
            if str(reason):
                self._server.on_log(f"an IPC connection is closed: {reason}")
        finally:
            self._peer.close()
            streams: List[Stream] = list(self._streams.values())
            self._streams.clear()
            for stream in streams:
                stream.on_end()
            self._server.forget(self)

    def _receive(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            try:
                part = self._peer.recv(length - len(data))
            except OSError:
                raise _Closed from None
            if not part:
                raise _Closed
            data += part
        return data

    def _connect(self, message: Message) -> None:
        self._server.wait_while_hung()
        if message.headers.get(":message-type") != CONNECT or message.headers.get(":version") != VERSION:
            raise MalformedMessage(f"its first message does not connect with version {VERSION}")
        accepted = self._server.knows(_document(message).get("authToken"))
        if accepted or self._server.nucleus.answers_wrong_token:
            flags = ACCEPTED if accepted else 0
            self.send(Message({":message-type": CONNECT_ACK, ":message-flags": flags, ":stream-id": 0}))
        if not accepted:
            if self._server.nucleus.answers_wrong_token:
                self._wait_for_end()
            raise _Closed("its token is no component's")

    def _wait_for_end(self) -> None:
        """Wait until the client has closed, which may not see what was sent last if this end closes first."""
        try:
            self._receive(1)
        except _Closed:
            pass

    def _take(self, message: Message) -> None:
        self._server.wait_while_hung()
        number, flags = message.headers.get(":stream-id"), message.headers.get(":message-flags")
        if not isinstance(number, int) or not isinstance(flags, int) or number < 1:
            raise MalformedMessage("a message is on no stream")
        if flags & TERMINATE_STREAM:
            ended = self._streams.pop(number, None)
            if ended:
                ended.on_end()
            return
        stream = self._streams[number] = Stream(self, number)
        operation = str(message.headers.get("operation", ""))
        try:
            if message.headers.get(":message-type") != APPLICATION_MESSAGE or not operation.startswith(PREFIX):
                raise IpcError("ServiceError", f"there is no operation '{operation}'")
            self._server.serve(Request(operation[len(PREFIX) :], _document(message), stream))
        except IpcError as error:
            stream.fail(error, self._server.nucleus.error_text)


class _Closed(Exception):
    """The connection is over; the text says why, if the nucleus ends it."""


def _document(message: Message) -> Dict[str, Any]:
    try:
        document = json.loads(message.payload.decode())
    except ValueError as error:
        raise MalformedMessage(f"a payload is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise MalformedMessage("a payload is no JSON object")
    return document
