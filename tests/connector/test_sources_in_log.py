"""Where the sockets are read from is in the log at DEBUG: once, and again when it changes."""

from __future__ import annotations

import logging
from typing import List

import pytest

from connector.agent import logging_sources
from connector.snapshot import Connections, Ports, Snapshot

BOTH = Snapshot(established=Connections(0, []), listening_udp=Ports(0, []))
KERNEL = BOTH._replace(sources={"TCP sockets": "sock_diag", "UDP sockets": "sock_diag"})
REFUSED = KERNEL._replace(sources={"TCP sockets": "the tables (sock_diag: not\npermitted)", "UDP sockets": "sock_diag"})
NOTHING = Snapshot()


def lines(snapshots: List[Snapshot], caplog: pytest.LogCaptureFixture) -> List[str]:
    remaining = iter(snapshots)
    take = logging_sources(lambda: next(remaining), logging.getLogger("connector"))
    with caplog.at_level(logging.DEBUG, "connector"):
        assert [take() for _ in snapshots] == snapshots
    assert {record.levelno for record in caplog.records} <= {logging.DEBUG}
    return [record.getMessage() for record in caplog.records]


def test_source_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    assert lines([KERNEL, KERNEL, NOTHING, KERNEL], caplog) == [
        "TCP sockets are read from sock_diag",
        "UDP sockets are read from sock_diag",
    ]


def test_change_of_source_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert lines([KERNEL, REFUSED, REFUSED, KERNEL], caplog)[2:] == [
        "TCP sockets are read from the tables (sock_diag: not?permitted)",
        "TCP sockets are read from sock_diag",
    ]


def test_network_that_is_not_shared_is_read_from_the_tables(caplog: pytest.LogCaptureFixture) -> None:
    assert lines([BOTH], caplog) == ["TCP sockets are read from the tables", "UDP sockets are read from the tables"]


def test_nothing_is_logged_where_nothing_was_read(caplog: pytest.LogCaptureFixture) -> None:
    assert lines([NOTHING], caplog) == []
