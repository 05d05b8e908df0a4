"""A snapshot: what was read, what could not be read, and that nobody takes one for the other."""

from __future__ import annotations

import collections
import os
import random
import re
import socket
import threading
import tracemalloc
from pathlib import Path
from typing import Any, Counter, Dict, List, Mapping, Optional, Tuple

import pytest
from support import proc
from support.statistics import chi_square, limit
from support.user import ordinary_user, public_directory

from connector.config import CUSTOM_METRICS, DEFAULT_EXCLUDE
from connector.kernel.dev import Counters
from connector.snapshot import Connection, Connections, Port, Ports, Snapshot, Wanted, take

# A host with a bit of everything, and what a snapshot of it says.
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
        problems={},
    )


def test_everything_that_can_be_read(tmp_path: Path) -> None:
    proc.tree(tmp_path, **BUSY)
    assert proc.look(tmp_path) == whole(tmp_path)


def test_empty_is_read_and_is_empty(tmp_path: Path) -> None:
    """A host without a socket has empty lists and a total of 0: that is what clears an alarm."""
    snapshot = proc.look(proc.tree(tmp_path))
    assert (snapshot.established, snapshot.listening_tcp, snapshot.listening_udp, snapshot.problems) == (
        Connections(0, []),
        Ports(0, []),
        Ports(0, []),
        {},
    )


def nameless(snapshot: Snapshot) -> Dict[str, Any]:
    """Without the tables of addresses: the loopback and the wildcards are known, the others are not."""
    assert snapshot.established is not None
    bare = [item._replace(interface=None) for item in snapshot.established.items]
    return {"established": snapshot.established._replace(items=bare)}


Lost = Mapping[str, Any]
TCP_LOST: Lost = {"established": None, "listening_tcp": None}
UDP_LOST: Lost = {"listening_udp": None}
NO_INDEXES: Lost = {"last_index": 0}  # these trees have them in if_inet6 alone, where lo and eth0 have the same
COUNTERS_LOST: Lost = {"counters": None, "edge": frozenset(), **NO_INDEXES}
LEFT_OUT = "left out of the reports: "
WITHOUT_NAMES = "sockets are reported without them: "
# What happens to a table -> its name, content (None: gone), what is lost, the problem's name and words.
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
        nameless(whole(Path("x"))),
        "interface names",
        WITHOUT_NAMES + ".*/fib_trie can't be read: No such file or directory",
    ),
    "route garbled": (
        "route",
        b"x\ny\n",
        nameless(whole(Path("x"))),
        "interface names",
        WITHOUT_NAMES + "route: a row of unknown shape: b'y'",
    ),
    "if_inet6 cut": (
        "if_inet6",
        b"2001",
        {**nameless(whole(Path("x"))), **NO_INDEXES},
        "interface names",
        WITHOUT_NAMES + "if_inet6: a row of unknown shape: b'2001'",
    ),
}


@pytest.mark.parametrize(("name", "content", "lost", "problem", "words"), list(FAULTS.values()), ids=list(FAULTS))
def test_a_tables_fault_costs_what_comes_from_it_and_nothing_else(
    tmp_path: Path, name: str, content: Optional[bytes], lost: Lost, problem: str, words: str
) -> None:
    """It is None, never empty or cut, and one sentence says which file and why; the rest is as it was."""
    snapshot = proc.look(proc.tree(tmp_path, **{**BUSY, name: content}))
    assert list(snapshot.problems) == [problem]
    assert re.match(words, snapshot.problems[problem])
    assert snapshot._replace(problems={}) == whole(tmp_path)._replace(**lost)


@pytest.mark.parametrize("name", ["tcp", "tcp6", "udp", "udp6", "dev", "if_inet6"])
def test_permission_denied_is_not_empty(name: str) -> None:
    """As the ordinary user that a core runs a function as."""
    losses: Dict[str, Lost] = {
        "tcp": TCP_LOST,
        "tcp6": TCP_LOST,
        "udp": UDP_LOST,
        "udp6": UDP_LOST,
        "dev": COUNTERS_LOST,
        "if_inet6": {**nameless(whole(Path("x"))), **NO_INDEXES},
    }
    with public_directory() as root:
        proc.tree(root, **BUSY)
        (root / "1" / "net" / name).chmod(0)
        with ordinary_user():
            snapshot = proc.look(root)
        (sentence,) = snapshot.problems.values()
        assert sentence.endswith(f"/{name} can't be read: Permission denied")
        assert snapshot._replace(problems={}) == whole(root)._replace(**losses[name])


def test_a_table_that_vanishes_between_two_reads(tmp_path: Path) -> None:
    """Process 1's tables go while they are read: what was read to its end counts, the rest could not be read."""
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
    feeder.join(10)
    assert sorted(snapshot.problems) == ["UDP sockets", "network_stats"]
    assert snapshot._replace(problems={}) == whole(tmp_path)._replace(**UDP_LOST, **COUNTERS_LOST)


def test_nothing_can_be_read(tmp_path: Path) -> None:
    snapshot = proc.look(tmp_path / "absent")
    assert list(snapshot.problems) == ["network tables"]
    assert snapshot.problems["network tables"].startswith("nothing of the network can be read: no network tables under")
    assert snapshot._replace(problems={}) == Snapshot()


def test_an_empty_directory_of_tables_is_no_empty_host(tmp_path: Path) -> None:
    """Every table gone but `dev`, by which the directory is found: nothing is sent as empty."""
    tables = {name: None for name in proc.QUIET if name != "dev"}
    snapshot = proc.look(proc.tree(tmp_path, **tables))
    assert (snapshot.established, snapshot.listening_tcp, snapshot.listening_udp) == (None, None, None)
    assert sorted(snapshot.problems) == ["TCP sockets", "UDP sockets", "interface names"]


def test_a_host_without_ipv6_is_healthy(tmp_path: Path) -> None:
    snapshot = proc.look(proc.tree(tmp_path, **{**BUSY, "tcp6": None, "udp6": None, "if_inet6": None}))
    assert (snapshot.listening_tcp, snapshot.listening_udp, snapshot.problems) == (
        Ports(2, [Port(22, "0.0.0.0"), Port(53, "lo")]),
        Ports(1, [Port(68, "0.0.0.0")]),
        {},
    )


def test_where_the_host_is_hidden_a_sentence_says_whose_network_this_is(tmp_path: Path) -> None:
    """With hidepid only `<proc>/net` is left, which is the reader's own."""
    own = proc.tree(tmp_path / "own", **BUSY)
    hidden = tmp_path / "host_proc"
    hidden.mkdir()
    (hidden / "net").symlink_to(own / "1" / "net")
    snapshot = proc.look(hidden)
    assert snapshot == whole(own)._replace(
        scope=str(hidden / "net"),
        problems={
            "host's network": f"{hidden}/1/net can't be read (is proc mounted with hidepid?): reports show the "
            "network of this function, which is the host's only where they share it"
        },
    )


def test_link_local_addresses_of_several_interfaces_and_names_of_any_bytes(tmp_path: Path) -> None:
    """Where the owner is not certain the name is left out; a name stays what it is until it is written down."""
    names = [("fe80::1", "br0"), ("fe80::1", "br1"), ("2001:db8::5", "e\udcff")]
    table = b"".join(
        proc.if_inet6((address, "X")).replace(b"X", name.encode("utf-8", "surrogateescape")) for address, name in names
    )
    proc.tree(
        tmp_path,
        if_inet6=table,
        tcp6=proc.tcp6(
            ("[fe80::1]:22", proc.V6_NOBODY, "LISTEN"),
            ("[2001:db8::5]:22", proc.V6_NOBODY, "LISTEN"),
            ("[fe80::1]:22", "[fe80::2]:5000", "ESTABLISHED"),
        ),
        dev=proc.dev({"e\udcff": (1, 2, 3, 4)}),
    )
    snapshot = proc.look(tmp_path)
    assert snapshot.listening_tcp == Ports(2, [Port(22, None), Port(22, "e\udcff")])
    assert snapshot.established == Connections(1, [Connection(V6("fe80::2"), 5000, 22, None)])
    assert snapshot.edge == {"e\udcff"}


def test_ten_thousand_interfaces(tmp_path: Path) -> None:
    """A host of containers and VLANs: no counters of the containers', and at the edge only what is at the edge."""
    numbers: Dict[str, proc.Numbers] = {f"eth{number}": (number, 1, 1, 1) for number in range(100)}
    numbers.update((f"veth{number}", (1, 1, 1, 1)) for number in range(9000))
    numbers.update((f"eth{number % 100}.{number}", (1, 1, 1, 1)) for number in range(900))
    config = "VLAN Dev name | VLAN ID\nName-Type: X\n" + "".join(
        "{:<15}| {}  | {}\n".format(name, 1, name.partition(".")[0]) for name in numbers if "." in name
    )
    tree = proc.tree(tmp_path, dev=proc.dev(numbers), vlan__config=config.encode())
    for name in numbers:
        if "." in name:
            (tree / "1" / "net" / "vlan" / name).touch()
    snapshot = proc.look(tree)
    assert snapshot.counters is not None
    assert set(snapshot.counters) == {name for name in numbers if not name.startswith("veth")}
    assert snapshot.edge == {f"eth{number}" for number in range(100)}


def test_memory_does_not_grow_with_the_number_of_excluded_interfaces(tmp_path: Path) -> None:
    """Nor are the tables held: 10,000 containers and VLANs fit a function of 16 MB."""
    vlans = [f"eth0.{number}" for number in range(5000)]
    names = vlans + [f"veth{number}" for number in range(5000)]
    numbers: Dict[str, proc.Numbers] = dict.fromkeys(names, (2**63, 2**63, 1, 1))
    config = "VLAN Dev name | VLAN ID\nName-Type: X\n" + "".join(f"{name:<15}| 1  | eth0\n" for name in vlans)
    tree = proc.tree(tmp_path, dev=proc.dev(dict(numbers, eth0=(1, 2, 3, 4))), vlan__config=config.encode())
    for name in vlans:
        (tree / "1" / "net" / "vlan" / name).touch()
    exclude = ("veth*", "eth0.*")
    proc.look(tree, exclude=exclude)
    tracemalloc.start()
    try:
        snapshot = proc.look(tree, exclude=exclude)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert snapshot.counters == {"eth0": Counters(1, 2, 3, 4)}
    assert held < 50_000
    assert peak < 300_000


def test_lists_are_bounded_and_totals_are_not(tmp_path: Path) -> None:
    connections = [("192.0.2.5:22", f"192.0.2.9:{1 + number}", "ESTABLISHED") for number in range(700)]
    ports = [(f"0.0.0.0:{1 + number}", proc.V4_NOBODY) for number in range(300)]
    proc.tree(
        tmp_path,
        tcp=proc.tcp(*connections, *[(*port, "LISTEN") for port in ports]),
        udp=proc.udp(*[(*port, "CLOSE") for port in ports]),
    )
    for size in (1, 50, 300, 500):
        snapshot = proc.look(tmp_path, max_list_size=size)
        listed = [snapshot.established, snapshot.listening_tcp, snapshot.listening_udp]
        shape = [(block.total, len(block.items), len(set(block.items))) for block in listed if block is not None]
        least = min(size, 300)
        assert shape == [(700, size, size), (300, least, least), (300, least, least)]


def test_over_several_reports_everything_has_the_same_chance_to_be_seen(tmp_path: Path) -> None:
    """Connections of both IP versions and ports, first or last in their table: a uniform sample of each list."""
    v4 = [("192.0.2.5:22", f"192.0.2.9:{1 + number}", "ESTABLISHED") for number in range(40)]
    v6 = [("[2001:db8::5]:22", f"[2001:db8::9]:{101 + number}", "ESTABLISHED") for number in range(20)]
    tcp_ports = [(f"0.0.0.0:{1 + number}", proc.V4_NOBODY, "LISTEN") for number in range(30)]
    udp_ports = [(f"[2001:db8::5]:{1 + number}", proc.V6_NOBODY, "CLOSE") for number in range(30)]
    proc.tree(tmp_path, tcp=proc.tcp(*v4, *tcp_ports), tcp6=proc.tcp6(*v6), udp6=proc.udp6(*udp_ports))
    seen: Dict[str, Counter[int]] = {
        "established": collections.Counter(),
        "listening_tcp": collections.Counter(),
        "listening_udp": collections.Counter(),
    }
    rng = random.Random(20261121)
    for _ in range(500):
        snapshot = proc.look(tmp_path, max_list_size=6, rng=rng)
        assert snapshot.established is not None
        assert snapshot.listening_tcp is not None
        assert snapshot.listening_udp is not None
        seen["established"].update(item.remote_port for item in snapshot.established.items)
        seen["listening_tcp"].update(item.port for item in snapshot.listening_tcp.items)
        seen["listening_udp"].update(item.port for item in snapshot.listening_udp.items)
    assert {name: len(counts) for name, counts in seen.items()} == {
        "established": 60,
        "listening_tcp": 30,
        "listening_udp": 30,
    }
    for counts in seen.values():
        assert chi_square(counts.values()) < limit(counts.values())


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
    assert snapshot.cpu == pytest.approx((6055 / proc.TICKS, 22825 / proc.TICKS))
    assert snapshot._replace(custom={}, cpu=None) == whole(host)


def test_a_custom_metric_that_fails_is_one_sentence(host: Path) -> None:
    """The other metrics, sockets and traffic are as they were."""
    (host / "loadavg").write_bytes(b"busy\n")
    snapshot = proc.look(host, custom=["load_average_1m", "uptime_seconds"])
    assert snapshot == whole(host)._replace(
        custom={"uptime_seconds": 35353},
        problems={
            "custom metric load_average_1m": "left out of the reports: loadavg: no number at its start: b'busy\\n'"
        },
    )


def test_custom_metrics_flow_without_any_network(host: Path) -> None:
    for name in ("dev", "tcp"):
        (host / "1" / "net" / name).unlink()
    (host / "1" / "net").rename(host / "1" / "away")
    snapshot = proc.look(host, custom=["uptime_seconds", "load_average_1m"])
    assert (snapshot.custom, list(snapshot.problems)) == (
        {"uptime_seconds": 35353, "load_average_1m": 1.25},
        ["network tables"],
    )


def test_in_the_same_network_names_come_from_the_kernel(tmp_path: Path) -> None:
    """Where the tree is the reader's own network its tables of IPv4 addresses are not needed."""
    tree = proc.tree(tmp_path / "host", **{**BUSY, "fib_trie": None, "route": None})
    own = tmp_path / "proc"
    (own / "self").mkdir(parents=True)
    (own / "self" / "net").symlink_to(tree / "1" / "net")
    wanted = Wanted(str(tree), 50, ["lo"], ())
    assert take(wanted, random.Random(1), own=str(own)).problems == {}
    asked: List[str] = list(take(wanted, random.Random(1), own=str(tmp_path / "nothing")).problems)
    assert asked == ["interface names"]
