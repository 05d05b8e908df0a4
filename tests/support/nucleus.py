"""A local nucleus whose log lines a test can wait for, with times that fit a test."""

from __future__ import annotations

import queue
from pathlib import Path
from typing import Any, List, Optional

from local_core import LocalNucleus, Times

from support.ipc_client import SECONDS, IpcClient

QUICK = Times(restart=0.01, patience=0.05, keep_alive=0.05, reconnect=0.05)


class WatchedNucleus(LocalNucleus):
    """A nucleus that closes its clients when it stops."""

    def __init__(self, artifact: Optional[Path] = None, **settings: Any) -> None:
        self.lines: queue.Queue[str] = queue.Queue()
        self._clients: List[IpcClient] = []
        super().__init__(artifact, on_log=self.lines.put, **{"times": QUICK, **settings})

    def __enter__(self) -> WatchedNucleus:
        super().__enter__()
        return self

    def connect(self) -> IpcClient:
        """Return a client that is connected with a token of its own."""
        client = IpcClient(self.new_environment())
        self._clients.append(client)
        return client

    def stop(self) -> Optional[int]:
        for client in self._clients:
            client.close()
        return super().stop()

    def wait_for_state(self, state: str, timeout: float = SECONDS) -> None:
        super().wait_for_state(state, timeout)

    def line(self, start: str) -> str:
        """Return the next line that starts with some text, without it."""
        while True:
            line = self.lines.get(timeout=SECONDS)
            if line.startswith(start):
                return line[len(start) :].strip()

    def core_line(self, start: str) -> str:
        return self.line(f"{self.nucleus.name}: {start}")
