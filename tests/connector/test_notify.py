"""Messages to systemd, to a socket of the test's own."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path
from typing import Iterator, Tuple

import pytest

from connector import notify


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest) -> Iterator[Tuple[str, socket.socket]]:
    """The value of NOTIFY_SOCKET, and the socket that it names."""
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        path = str(Path(directory) / "notify")  # short: pytest's own paths are longer than a socket's may be
        made.settimeout(60)
        if request.param == "abstract":
            made.bind("\0" + path)
            path = "@" + path
        else:
            made.bind(path)
        yield path, made


def test_message_arrives(systemd: Tuple[str, socket.socket]) -> None:
    path, made = systemd
    notify.notifier({"NOTIFY_SOCKET": path})("WATCHDOG=1")
    assert made.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/nowhere/notify"}])
def test_missing_systemd_is_no_error(environ: dict) -> None:  # type: ignore[type-arg]
    notify.notifier(environ)("WATCHDOG=1")


def test_watchdog_waits_for_two_intervals_and_some_minutes() -> None:
    message = notify.ready({"WATCHDOG_USEC": "900000000"}, 300)
    assert message.splitlines() == ["READY=1", "WATCHDOG=1", "WATCHDOG_USEC=900000000"]
    assert notify.ready({"WATCHDOG_USEC": "1"}, 86400).endswith("WATCHDOG_USEC=173100000000")


def test_unit_without_watchdog_gets_none() -> None:
    assert notify.ready({}, 300) == "READY=1"
