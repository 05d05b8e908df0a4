"""An HTTP proxy that knows CONNECT, or refuses it."""

from __future__ import annotations

import socket
import threading
from typing import List


class HttpProxy:
    """Listens on `port` until `close`. to: port of loopback to connect to. status: what it answers with."""

    def __init__(self, to: int, status: str = "200 Connection established") -> None:
        self.requests: List[str] = []
        self._to = to
        self._status = status
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(4)
        self.port: int = self._listener.getsockname()[1]
        self._open: List[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # ends the wait for the next connection
        self._listener.close()
        for connection in self._open:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                near = self._listener.accept()[0]
            except OSError:
                return
            request, byte = b"", b"-"
            while byte and not request.endswith(b"\r\n\r\n"):
                byte = near.recv(1)  # nothing where the client has gone
                request += byte
            self.requests.append(request.decode("ascii"))
            near.sendall(f"HTTP/1.1 {self._status}\r\nVia: test\r\n\r\n".encode("ascii"))
            far = socket.create_connection(("127.0.0.1", self._to))
            self._open += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=(one, other), daemon=True).start()


def _pump(one: socket.socket, other: socket.socket) -> None:
    try:
        while True:
            data = one.recv(65536)
            if not data:
                break
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        pass
