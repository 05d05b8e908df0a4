"""A real broker (mosquitto) with mutual TLS, on a port of loopback: access by the certificate's name, as on AWS IoT."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Optional

from support.debian import program
from support.pki import Authority, Pair
from support.ports import free_port

MAX_WAIT_SECONDS = 60.0  # for what takes far less
OBSERVER = "observer"  # the name of the certificate that may read all topics


class Broker:
    """mosquitto. `start` and `stop` as often as the test likes: the port stays the same.

    directory: for its files. authority: signs its certificate and those it accepts.
    acl: lines of its access list, for certificates by their names (`user <name>`, `topic write <topic>`).
    server: its certificate; one for localhost and 127.0.0.1 by default. more: lines of its configuration.
    """

    def __init__(
        self, directory: Path, authority: Authority, acl: str, server: Optional[Pair] = None, more: str = ""
    ) -> None:
        self._directory = directory
        server = server or authority.issue("broker", hosts=("localhost", "127.0.0.1"))
        self.port = free_port()
        self.log = directory / "broker.log"
        self._acl = acl
        self._write_acl(acl)
        user = "root" if os.getuid() == 0 else ""
        (directory / "broker.conf").write_text(
            f"""\
listener {self.port} 127.0.0.1
cafile {authority.file}
certfile {server.cert}
keyfile {server.key}
require_certificate true
use_identity_as_username true
allow_anonymous false
acl_file {directory / "acl"}
log_dest file {self.log}
log_type all
connection_messages true
"""
            + (f"user {user}\n" if user else "")
            + more
        )
        self._process: Optional[subprocess.Popen[bytes]] = None

    def start(self) -> Broker:
        """Start the broker; return once it listens."""
        path, environment = program("mosquitto", "mosquitto")
        self._process = subprocess.Popen(
            [path, "-c", str(self._directory / "broker.conf")],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + MAX_WAIT_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self
            except OSError:
                assert self._process.poll() is None, f"mosquitto ended: {self.text()}"
                assert time.monotonic() < end, f"mosquitto does not listen: {self.text()}"
                time.sleep(0.01)

    def allow(self, acl: Optional[str] = None) -> None:
        """Change the access list, back to the first by default; return once the broker uses it."""
        assert self._process is not None
        before = self.text().count("Reloading config.")
        self._write_acl(self._acl if acl is None else acl)
        self._process.send_signal(signal.SIGHUP)
        end = time.monotonic() + MAX_WAIT_SECONDS
        while self.text().count("Reloading config.") == before:
            assert time.monotonic() < end, "mosquitto does not reload its configuration"
            time.sleep(0.01)

    def _write_acl(self, acl: str) -> None:
        path = self._directory / "acl"
        path.write_text(acl + f"\nuser {OBSERVER}\ntopic readwrite #\ntopic readwrite $aws/#\n")
        path.chmod(0o600)

    def freeze(self) -> None:
        """Have it answer nothing, without closing a connection."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            self._process.wait(MAX_WAIT_SECONDS)
            self._process = None

    def logged(self, words: str) -> bool:
        """Return whether its log has these words, within MAX_WAIT_SECONDS."""
        end = time.monotonic() + MAX_WAIT_SECONDS
        while words not in self.text():
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True

    def text(self) -> str:
        """Return the broker's log."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""
