"""The lists of a snapshot: their size, their totals, a uniform sample; many interfaces."""

from __future__ import annotations

import collections
import random
import socket
import tracemalloc
from pathlib import Path
from typing import Counter, Dict

from support import proc
from support.statistics import chi_square, limit

from connector.kernel.dev import Counters
from connector.snapshot import Connection, Connections, Port, Ports


def V6(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, text)


def test_address_of_two_interfaces_has_no_name_and_a_name_may_have_any_bytes(tmp_path: Path) -> None:
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
    """A host of containers and VLANs: excluded interfaces have no counters, and VLANs are not at the edge."""
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
    """10,000 containers and VLANs fit a function of 16 MB."""
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


def test_lists_are_bounded_and_totals_exact(tmp_path: Path) -> None:
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


def test_every_entry_is_equally_likely_to_be_in_a_list(tmp_path: Path) -> None:
    """Connections of both IP versions and ports, wherever they are in their tables, with and without a name."""
    v4 = [("192.0.2.5:22", f"192.0.2.9:{1 + number}", "ESTABLISHED") for number in range(40)]
    v6 = [("[2001:db8::5]:22", f"[2001:db8::9]:{101 + number}", "ESTABLISHED") for number in range(20)]
    tcp_ports = [(f"0.0.0.0:{1 + number}", proc.V4_NOBODY, "LISTEN") for number in range(30)]
    udp_ports = [
        (f"[2001:db8::{'5' if number % 2 else '404'}]:{1 + number}", proc.V6_NOBODY, "CLOSE") for number in range(30)
    ]
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
