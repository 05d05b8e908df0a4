"""A TLS server with as much MQTT as a test needs to misbehave: refuse, stay silent, hang up, or demand ALPN."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from support.broker import MAX_WAIT_SECONDS
from support.pki import Authority, Pair

# Types of packets (MQTT 3.1.1, 2.2.1).
CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = 1, 2, 3, 4, 8, 9, 12, 13, 14

# What it does with a packet, instead of answering with a reason code.
SILENT, HANG_UP = "silent", "hang up"


class Event(NamedTuple):
    """A packet that came. text: client ID, topic, or nothing."""

    kind: int
    text: str = ""


class SmallBroker:
    """Accepts connections on `port`, until `close`.

    levels: versions that it speaks. alpn: protocol that TLS has to name, or None.
    connect, subscribe, publish: what it does with these packets: a reason code to answer with, SILENT or HANG_UP.
    keep_alive: seconds that it dictates (MQTT 5), or None.
    """

    def __init__(
        self,
        authority: Authority,
        server: Pair,
        levels: Sequence[int] = (4, 5),
        alpn: Optional[str] = None,
        connect: Any = 0,
        subscribe: Any = 1,
        publish: Any = 0,
        keep_alive: Optional[int] = None,
    ) -> None:
        self.levels, self.connect, self.subscribe, self.publish = levels, connect, subscribe, publish
        self.keep_alive = keep_alive
        self.events: List[Event] = []
        self.protocols: List[Optional[str]] = []  # that the clients' TLS named
        self._alpn = alpn
        self._changed = threading.Condition()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(str(server.cert), str(server.key))
        self._context.load_verify_locations(str(authority.file))
        self._context.verify_mode = ssl.CERT_REQUIRED
        if alpn is not None:
            self._context.set_alpn_protocols([alpn])
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(8)
        self.port: int = self._listener.getsockname()[1]
        self._connections: List[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def wait_for(self, kind: int, times: int = 1) -> Event:
        """Return the nth packet of this kind. Fails after MAX_WAIT_SECONDS."""
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(self.of(kind)) >= times, MAX_WAIT_SECONDS)
            assert arrived, f"no {times} packets of type {kind}: {self.events}"
            return self.of(kind)[times - 1]

    def of(self, kind: int) -> List[Event]:
        return [event for event in self.events if event.kind == kind]

    def drop(self) -> None:
        """End the connections."""
        for connection in self._connections:
            try:
                # Not SSLSocket.shutdown, after which its thread would read what comes without decrypting it.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
            except OSError:
                pass  # ended already

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # ends the wait for the next connection
        self._listener.close()
        self.drop()

    def _accept(self) -> None:
        while True:
            try:
                raw = self._listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(raw,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        try:
            with self._context.wrap_socket(raw, server_side=True) as connection:
                self._connections.append(connection)
                self.protocols.append(connection.selected_alpn_protocol())
                if self._alpn is not None and connection.selected_alpn_protocol() != self._alpn:
                    return
                level = 0
                while True:
                    kind, flags, body = _read(connection)
                    if kind == CONNECT:
                        level = body[6]
                    with self._changed:
                        self.events.append(Event(kind, _text(kind, level, body)))
                        self._changed.notify_all()
                    answer = self._answer(kind, level, flags, body)
                    if answer is None:
                        return
                    connection.sendall(answer)
        except (OSError, EOFError):
            pass
        finally:
            raw.close()

    def _answer(self, kind: int, level: int, flags: int, body: bytes) -> Optional[bytes]:
        """Return the packet to send, empty for none; None to hang up."""
        behaviour: Dict[int, Any] = {CONNECT: self.connect, SUBSCRIBE: self.subscribe, PUBLISH: self.publish}
        code = behaviour.get(kind, 0)
        if code == SILENT:
            return b""
        if code == HANG_UP or kind == DISCONNECT:
            return None
        properties = b"\0" if level == 5 else b""
        if kind == CONNECT:
            if level not in self.levels:
                return _packet(CONNACK, b"\0\1")  # MQTT 3.1.1, 3.1.2.2, whatever the client speaks
            if level == 5 and self.keep_alive is not None:
                properties = struct.pack("!BBH", 3, 19, self.keep_alive)
            return _packet(CONNACK, bytes([0, code]) + properties)
        if kind == SUBSCRIBE:
            return _packet(SUBACK, body[:2] + properties + bytes([code]) * _topics(level, body))
        if kind == PUBLISH:
            after = 2 + struct.unpack("!H", body[:2])[0]
            return _packet(PUBACK, body[after : after + 2] + (bytes([code]) + properties if level == 5 else b""))
        return _packet(PINGRESP, b"") if kind == PINGREQ else b""


def _read(connection: ssl.SSLSocket) -> Tuple[int, int, bytes]:
    first = _exactly(connection, 1)[0]
    length, shift = 0, 0
    while True:
        byte = _exactly(connection, 1)[0]
        length |= (byte & 127) << shift
        shift += 7
        if not byte & 128:
            return first >> 4, first & 15, _exactly(connection, length)


def _exactly(connection: ssl.SSLSocket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def _packet(kind: int, body: bytes) -> bytes:
    return bytes([kind << 4, len(body)]) + body


def _text(kind: int, level: int, body: bytes) -> str:
    if kind == CONNECT:
        begin = 10 + (1 + body[10] if level == 5 else 0)
        return body[begin + 2 : begin + 2 + struct.unpack("!H", body[begin : begin + 2])[0]].decode()
    if kind == PUBLISH:
        return body[2 : 2 + struct.unpack("!H", body[:2])[0]].decode()
    return ""


def _topics(level: int, body: bytes) -> int:
    """Return how many topics a SUBSCRIBE has."""
    at, count = 2 + (1 + body[2] if level == 5 else 0), 0
    while at < len(body):
        at += 2 + struct.unpack("!H", body[at : at + 2])[0] + 1
        count += 1
    return count
