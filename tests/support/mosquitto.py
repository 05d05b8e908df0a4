"""A broker (mosquitto) that lets everybody in, for tests of its clients; broker.py has one with an access list."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from support.ports import free_port

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
MAX_WAIT_SECONDS = 60.0  # for what takes far less
needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto, an MQTT broker, is not installed")


class Mosquitto:
    """A broker on a port of its own of 127.0.0.1, started at once.

    folder: for its file. configuration: lines of it beside the port; none lets everybody in
    """

    def __init__(self, folder: Path, *configuration: str) -> None:
        self.port = free_port()
        self._configuration = folder / "mosquitto.conf"
        lines = [f"listener {self.port} 127.0.0.1", *(configuration or ["allow_anonymous true"])]
        self._configuration.write_text("".join(line + "\n" for line in lines))
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, also again; return once it listens."""
        self._process = subprocess.Popen(
            [str(MOSQUITTO), "-c", str(self._configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + MAX_WAIT_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=MAX_WAIT_SECONDS).close()
                return
            except OSError:
                assert time.monotonic() < end, "mosquitto does not listen"
                assert self._process.poll() is None, "mosquitto ended"
                time.sleep(0.01)

    def stop(self) -> None:
        """End it; it can be started again."""
        self._process.terminate()
        self._process.wait(MAX_WAIT_SECONDS)
