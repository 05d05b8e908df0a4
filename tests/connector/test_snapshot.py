"""A snapshot: what was read and what could not be read, which is never confused with empty."""

from __future__ import annotations

import os
import re
import socket
import threading
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple

import pytest
from support import proc
from support.user import ordinary_user, public_directory

from connector.config import CUSTOM_METRICS, DEFAULT_EXCLUDE
from connector.kernel.dev import Counters
from connector.kernel.host import CpuTimes
from connector.snapshot import Connection, Connections, Port, Ports, Snapshot

# A host with some of everything; whole() is the snapshot of it.
BUSY: Dict[str, bytes] = {
    "tcp": proc.tcp(
        ("0.0.0.0:22", proc.V4_NOBODY, "LISTEN"),
        ("127.0.0.53:53", proc.V4_NOBODY, "LISTEN"),
        ("192.0.2.5:40000", "198.51.100.7:8883", "ESTABLISHED"),
        ("203.0.113.9:40001", "198.51.100.7:443", "ESTABLISHED"),
    ),
    "tcp6": proc.tcp6(
        ("[::]:22", proc.V6_NOBODY, "LISTEN"),
        ("[::ffff:192.0.2.5]:443", "[::ffff:198.51.100.8]:5000", "ESTABLISHED"),
        ("[2001:db8::5]:40002", "[2001:db8::99]:443", "ESTABLISHED"),
    ),
    "udp": proc.udp(("0.0.0.0:68", proc.V4_NOBODY, "CLOSE"), ("192.0.2.5:40003", "192.0.2.1:123", "ESTABLISHED")),
    "udp6": proc.udp6(("[::1]:323", proc.V6_NOBODY, "CLOSE")),
    "dev": proc.dev({"lo": (9, 9, 1, 1), "eth0": (1000, 200, 10, 2), "veth1": (5, 5, 5, 5), "wlan0": (1, 2, 3, 4)}),
}
V4 = socket.inet_aton


def V6(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, text)


def whole(root: Path) -> Snapshot:
    return Snapshot(
        scope=str(root / "1" / "net"),
        excluded=DEFAULT_EXCLUDE,
        established=Connections(
            4,
            [
                Connection(V4("198.51.100.7"), 8883, 40000, "eth0"),
                Connection(V4("198.51.100.7"), 443, 40001, None),
                Connection(V4("198.51.100.8"), 5000, 443, "eth0"),
                Connection(V6("2001:db8::99"), 443, 40002, "eth0"),
            ],
        ),
        listening_tcp=Ports(3, [Port(22, "0.0.0.0"), Port(22, "::"), Port(53, "lo")]),
        listening_udp=Ports(2, [Port(68, "0.0.0.0"), Port(323, "lo")]),
        counters={"eth0": Counters(1000, 200, 10, 2), "wlan0": Counters(1, 2, 3, 4)},
        edge=frozenset({"eth0", "wlan0"}),
        last_index=2,
        custom={},
        cpu=None,
        host_network=True,
        problems={},
    )


def test_snapshot_of_a_host_that_can_be_read(tmp_path: Path) -> None:
    proc.tree(tmp_path, **BUSY)
    assert proc.look(tmp_path) == whole(tmp_path)


def test_host_without_sockets_has_empty_lists(tmp_path: Path) -> None:
    """A total of 0 clears an alarm."""
    snapshot = proc.look(proc.tree(tmp_path))
    assert (snapshot.established, snapshot.listening_tcp, snapshot.listening_udp, snapshot.problems) == (
        Connections(0, []),
        Ports(0, []),
        Ports(0, []),
        {},
    )


def nameless(snapshot: Snapshot, local_port: Tuple[int, ...]) -> Dict[str, Any]:
    """Return the connections of a snapshot, without the interface of those with some local ports."""
    assert snapshot.established is not None
    items = [
        item._replace(interface=None) if item.local_port in local_port else item for item in snapshot.established.items
    ]
    return {"established": snapshot.established._replace(items=items)}


Lost = Mapping[str, Any]
TCP_LOST: Lost = {"established": None, "listening_tcp": None}
UDP_LOST: Lost = {"listening_udp": None}
IPV4_NAMES_LOST: Lost = nameless(whole(Path("x")), (40000, 443))
IPV6_NAMES_LOST: Lost = nameless(whole(Path("x")), (40002,))
NO_INDEXES: Lost = {"last_index": 0}  # these trees have them in if_inet6 alone, where lo and eth0 have the same
COUNTERS_LOST: Lost = {"counters": None, "edge": frozenset(), **NO_INDEXES}
LEFT_OUT = "left out of the reports: "
WITHOUT_NAMES = "sockets are reported without them: "
# What happens to a table -> its name, content (None: gone), what is missing, the problem's name and text.
FAULTS: Dict[str, Tuple[str, Optional[bytes], Lost, str, str]] = {
    "tcp gone": ("tcp", None, TCP_LOST, "TCP sockets", LEFT_OUT + ".*/tcp can't be read: No such file or directory"),
    "tcp6 gone": ("tcp6", None, TCP_LOST, "TCP sockets", LEFT_OUT + ".*/tcp6 can't be read: No such file"),
    "tcp cut": ("tcp", BUSY["tcp"][:-9], TCP_LOST, "TCP sockets", LEFT_OUT + ".*/tcp: cut short: b'   3: "),
    "tcp6 cut": ("tcp6", BUSY["tcp6"][:-9], TCP_LOST, "TCP sockets", LEFT_OUT + ".*/tcp6: cut short: b'   2: "),
    "tcp garbled": (
        "tcp",
        BUSY["tcp"].replace(b" 0A ", b" ?? ", 1),
        TCP_LOST,
        "TCP sockets",
        LEFT_OUT + ".*/tcp: a row of unknown shape: b'   0: ",
    ),
    "udp gone": ("udp", None, UDP_LOST, "UDP sockets", LEFT_OUT + ".*/udp can't be read: No such file or directory"),
    "udp6 gone": ("udp6", None, UDP_LOST, "UDP sockets", LEFT_OUT + ".*/udp6 can't be read: No such file"),
    "udp6 cut": ("udp6", BUSY["udp6"][:-9], UDP_LOST, "UDP sockets", LEFT_OUT + ".*/udp6: cut short: b'    0: "),
    "dev cut": ("dev", BUSY["dev"][:-9], COUNTERS_LOST, "network_stats", LEFT_OUT + "net/dev: cut short"),
    "dev garbled": (
        "dev",
        BUSY["dev"].replace(b"1000", b"1x00"),
        COUNTERS_LOST,
        "network_stats",
        LEFT_OUT + "net/dev: a row of unknown shape: b'  eth0:",
    ),
    "dev too long": (
        "dev",
        BUSY["dev"] + proc.dev({f"veth{number}": (1, 1, 1, 1) for number in range(17_000)})[len(proc.dev({})) :],
        COUNTERS_LOST,
        "network_stats",
        LEFT_OUT + ".*/dev is over 2097152 bytes long",
    ),
    "fib_trie gone": (
        "fib_trie",
        None,
        IPV4_NAMES_LOST,
        "IPv4 interface names",
        WITHOUT_NAMES + ".*/fib_trie can't be read: No such file or directory",
    ),
    "route garbled": (
        "route",
        b"x\ny\n",
        IPV4_NAMES_LOST,
        "IPv4 interface names",
        WITHOUT_NAMES + "route: a row of unknown shape: b'y'",
    ),
    "if_inet6 cut": (
        "if_inet6",
        b"2001",
        {**IPV6_NAMES_LOST, **NO_INDEXES},
        "IPv6 interface names",
        WITHOUT_NAMES + "if_inet6: a row of unknown shape: b'2001'",
    ),
}


@pytest.mark.parametrize(("name", "content", "lost", "problem", "words"), list(FAULTS.values()), ids=list(FAULTS))
def test_unreadable_table_costs_only_what_comes_from_it(
    tmp_path: Path, name: str, content: Optional[bytes], lost: Lost, problem: str, words: str
) -> None:
    """The missing part is None, never empty or cut; one sentence names the file and the reason."""
    snapshot = proc.look(proc.tree(tmp_path, **{**BUSY, name: content}))
    assert list(snapshot.problems) == [problem]
    assert re.match(words, snapshot.problems[problem])
    assert snapshot._replace(problems={}) == whole(tmp_path)._replace(**lost)


@pytest.mark.parametrize("name", ["tcp", "tcp6", "udp", "udp6", "dev", "if_inet6"])
def test_table_without_permission_is_missing_and_not_empty(name: str) -> None:
    """As the ordinary user that a core runs functions as."""
    losses: Dict[str, Lost] = {
        "tcp": TCP_LOST,
        "tcp6": TCP_LOST,
        "udp": UDP_LOST,
        "udp6": UDP_LOST,
        "dev": COUNTERS_LOST,
        "if_inet6": {**IPV6_NAMES_LOST, **NO_INDEXES},
    }
    with public_directory() as root:
        proc.tree(root, **BUSY)
        (root / "1" / "net" / name).chmod(0)
        with ordinary_user():
            snapshot = proc.look(root)
        (sentence,) = snapshot.problems.values()
        assert sentence.endswith(f"/{name} can't be read: Permission denied")
        assert snapshot._replace(problems={}) == whole(root)._replace(**losses[name])


def test_tables_that_vanish_while_others_are_read_are_missing(tmp_path: Path) -> None:
    net = proc.tree(tmp_path, **BUSY) / "1" / "net"
    content = (net / "tcp6").read_bytes()
    (net / "tcp6").unlink()
    os.mkfifo(str(net / "tcp6"))

    def vanish() -> None:
        with open(str(net / "tcp6"), "wb") as pipe:
            for name in ("udp", "udp6", "dev"):
                (net / name).unlink()
            pipe.write(content)

    feeder = threading.Thread(target=vanish, daemon=True)
    feeder.start()
    snapshot = proc.look(tmp_path)
    feeder.join(60)
    assert sorted(snapshot.problems) == ["UDP sockets", "network_stats"]
    assert snapshot._replace(problems={}) == whole(tmp_path)._replace(**UDP_LOST, **COUNTERS_LOST)


def test_missing_mount_is_one_problem(tmp_path: Path) -> None:
    snapshot = proc.look(tmp_path / "absent")
    assert list(snapshot.problems) == ["network tables"]
    assert snapshot.problems["network tables"].startswith("nothing of the network can be read: no network tables under")
    assert snapshot._replace(problems={}) == Snapshot()


def test_directory_with_no_table_but_dev_is_no_host_without_sockets(tmp_path: Path) -> None:
    tables = {name: None for name in proc.QUIET if name != "dev"}
    snapshot = proc.look(proc.tree(tmp_path, **tables))
    assert (snapshot.established, snapshot.listening_tcp, snapshot.listening_udp) == (None, None, None)
    assert sorted(snapshot.problems) == ["IPv4 interface names", "TCP sockets", "UDP sockets"]


def test_host_without_ipv6_has_no_problems(tmp_path: Path) -> None:
    snapshot = proc.look(proc.tree(tmp_path, **{**BUSY, "tcp6": None, "udp6": None, "if_inet6": None}))
    assert (snapshot.listening_tcp, snapshot.listening_udp, snapshot.problems) == (
        Ports(2, [Port(22, "0.0.0.0"), Port(53, "lo")]),
        Ports(1, [Port(68, "0.0.0.0")]),
        {},
    )


@pytest.fixture
def host(tmp_path: Path) -> Path:
    return proc.machine(proc.tree(tmp_path, **BUSY))


def test_custom_metrics_come_from_the_same_tree(host: Path) -> None:
    snapshot = proc.look(host, custom=CUSTOM_METRICS)
    assert snapshot.custom == {
        "memory_usage": 25.0,
        "process_count": 1,
        "load_average_1m": 1.25,
        "uptime_seconds": 35353,
    }
    assert snapshot.cpu == CpuTimes(6055, 22825)
    assert snapshot._replace(custom={}, cpu=None) == whole(host)


def test_custom_metric_that_fails_costs_only_itself(host: Path) -> None:
    (host / "loadavg").write_bytes(b"busy\n")
    snapshot = proc.look(host, custom=["load_average_1m", "uptime_seconds"])
    assert snapshot == whole(host)._replace(
        custom={"uptime_seconds": 35353},
        problems={
            "custom metric load_average_1m": "left out of the reports: loadavg: no number at its start: b'busy\\n'"
        },
    )


def test_custom_metrics_do_not_need_the_network(host: Path) -> None:
    for name in ("dev", "tcp"):
        (host / "1" / "net" / name).unlink()
    (host / "1" / "net").rename(host / "1" / "away")
    snapshot = proc.look(host, custom=["uptime_seconds", "load_average_1m"])
    assert (snapshot.custom, list(snapshot.problems)) == (
        {"uptime_seconds": 35353, "load_average_1m": 1.25},
        ["network tables"],
    )
