"""A broker for one subscriber on loopback: as much of MQTT 3.1.1 as `status --mqtt` uses."""

from __future__ import annotations

import contextlib
import socket
import threading

CONNECT, PUBLISH, SUBSCRIBE = 0x10, 0x30, 0x82
SECONDS = 60.0  # for what takes far less


class Broker:
    """Accepts one connection and answers its subscription with messages and then SUBACK (allowed: MQTT 3.1.1, 3.8.4).

    So all messages are there when the client begins to count the seconds that it waits for them.

    messages: topics and payloads
    refuses: answers the connection with "not authorized"
    filters: what the client subscribed to
    address: HOST:PORT
    """

    def __init__(self, messages: list[tuple[str, bytes]], refuses: bool = False):
        self.filters: list[str] = []
        self._messages, self._refuses = messages, refuses
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(SECONDS)
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the broker; it has ended when this returns."""
        if self._thread.is_alive():
            with contextlib.suppress(OSError), socket.create_connection(self._server.getsockname(), 1):
                pass  # ends accept(), if it still waits there
        self._thread.join(SECONDS)
        self._server.close()

    def _serve(self) -> None:
        try:
            client, _ = self._server.accept()
        except OSError:
            return
        with client:
            client.settimeout(SECONDS)
            try:
                while self._answer(client):
                    pass
            except (OSError, EOFError):
                pass

    def _answer(self, client: socket.socket) -> bool:
        """Read one packet and answer it; return whether the connection goes on."""
        kind, size = self._read(client, 2)
        assert size < 128, "a length of one byte is enough here"
        body = self._read(client, size)
        if kind == CONNECT:
            client.sendall(bytes([0x20, 2, 0, 5 if self._refuses else 0]))
        elif kind == SUBSCRIBE:
            rest = body[2:]
            while rest:
                length = int.from_bytes(rest[:2], "big")
                self.filters.append(rest[2 : 2 + length].decode())
                rest = rest[3 + length :]
            for topic, payload in self._messages:
                name = topic.encode()
                packet = len(name).to_bytes(2, "big") + name + payload
                length_bytes = [len(packet) % 128 | 0x80, len(packet) // 128] if len(packet) > 127 else [len(packet)]
                client.sendall(bytes([PUBLISH, *length_bytes]) + packet)
            client.sendall(bytes([0x90, 2 + len(self.filters)]) + body[:2] + bytes(len(self.filters)))
        return True

    @staticmethod
    def _read(client: socket.socket, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = client.recv(size - len(data))
            if not more:
                raise EOFError
            data += more
        return data
