"""Which interface owns an address: asked of the kernel in the same network, else read in the host's tables."""

from __future__ import annotations

import io
import ipaddress
import os
import socket
import struct
import tracemalloc
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

import pytest
from support import proc

from connector.errors import TableError
from connector.kernel.addresses import (
    MOST_ADDRESSES,
    Route,
    ask_kernel,
    owner,
    parse_fib_trie,
    parse_if_inet6,
    parse_route,
    read_owners,
)
from connector.kernel.proc import Proc

# Linux 6.18: eth0 has 192.0.2.10/24 and 198.51.100.7/32 (of a network that is routed to nowhere), a default route.
ROUTE = b"".join(
    line.ljust(127) + b"\n"
    for line in (
        b"Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT",
        b"eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0",
        b"eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0",
        b"*\t006433C6\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0",
    )
)
FIB_TRIE = b"""\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 127.0.0.0/8 2 0 2
        +-- 127.0.0.0/31 1 0 0
           |-- 127.0.0.0
              /8 host LOCAL
           |-- 127.0.0.1
              /32 host LOCAL
        |-- 127.255.255.255
           /32 link BROADCAST
     +-- 192.0.0.0/5 2 0 2
        +-- 192.0.2.0/24 2 0 2
           +-- 192.0.2.0/28 2 0 2
              |-- 192.0.2.0
                 /24 link UNICAST
              |-- 192.0.2.10
                 /32 host LOCAL
           |-- 192.0.2.255
              /32 link BROADCAST
        +-- 198.51.100.0/29 2 0 2
           |-- 198.51.100.0
              /24 universe BLACKHOLE
           |-- 198.51.100.7
              /32 host LOCAL
"""
IF_INET6 = b"""\
20010db8000000000000000000000010 03 40 00 82     eth0
fe80000000000000e0031efffedce459 02 40 20 c0       p0
00000000000000000000000000000001 01 80 10 80       lo
"""


def packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def elsewhere(root: Path) -> Proc:
    """The tree as the proc of a network that is not the reader's."""
    return Proc(str(root), str(root / "1" / "net"), host=True, shared=False)


def test_recorded_tables(tmp_path: Path) -> None:
    """Of 198.51.100.7 they do not tell the interface: the network that holds it is a route to nowhere."""
    owners = read_owners(elsewhere(proc.tree(tmp_path, route=ROUTE, fib_trie=FIB_TRIE, if_inet6=IF_INET6)))
    assert owners == {
        packed("192.0.2.10"): "eth0",
        packed("2001:db8::10"): "eth0",
        packed("fe80::e003:1eff:fedc:e459"): "p0",
        packed("::1"): "lo",
    }


# What the case is about -> the host's addresses, its routes, who owns them.
FIB: Dict[str, Tuple[List[str], bytes, Dict[str, str]]] = {
    "the narrowest network": (
        ["10.0.0.1", "10.1.0.1", "10.1.2.1"],
        proc.route(("eth0", "10.0.0.0", 8), ("eth1", "10.1.0.0", 16), ("wlan0", "10.1.2.0", 24)),
        {"10.0.0.1": "eth0", "10.1.0.1": "eth1", "10.1.2.1": "wlan0"},
    ),
    "no network": (["203.0.113.1"], proc.route(("eth0", "192.0.2.0", 24)), {}),
    "not by the default route": (["203.0.113.1"], proc.route(("ppp0", "0.0.0.0", 0)), {}),
    "not by a route with a gateway": (["203.0.113.1"], proc.route(("eth0", "203.0.113.0", 24), flags=3), {}),
    "not by a route that is down": (["203.0.113.1"], proc.route(("eth0", "203.0.113.0", 24), flags=0), {}),
    "not by a route that rejects": (["203.0.113.1"], proc.route(("eth0", "203.0.113.0", 24), flags=0x201), {}),
    "not by a route to nowhere": (["203.0.113.1"], proc.route(("*", "203.0.113.0", 24)), {}),
    "a host's route": (
        ["192.0.2.7"],
        proc.route(("eth0", "192.0.2.0", 24), ("tun0", "192.0.2.7", 32)),
        {"192.0.2.7": "tun0"},
    ),
    "a neighbouring network": (
        ["192.0.3.1"],
        proc.route(("eth0", "192.0.2.0", 24), ("eth1", "192.0.2.0", 23)),
        {"192.0.3.1": "eth1"},
    ),
}


@pytest.mark.parametrize(("addresses", "routes", "owned"), list(FIB.values()), ids=list(FIB))
def test_an_ipv4_address_is_of_the_interface_in_its_network(
    tmp_path: Path, addresses: List[str], routes: bytes, owned: Dict[str, str]
) -> None:
    proc.tree(tmp_path, fib_trie=proc.fib_trie(*addresses), route=routes, if_inet6=None)
    assert read_owners(elsewhere(tmp_path)) == {packed(address): name for address, name in owned.items()}


def test_an_address_that_several_may_own_is_nobodys(tmp_path: Path) -> None:
    """Two interfaces in one network, or one link-local address on two: the report leaves the name out."""
    owners = read_owners(
        elsewhere(
            proc.tree(
                tmp_path,
                fib_trie=proc.fib_trie("192.0.2.5", "192.0.2.5"),
                route=proc.route(("eth0", "192.0.2.0", 24), ("wlan0", "192.0.2.0", 24)),
                if_inet6=proc.if_inet6(
                    ("fe80::1", "br0"), ("fe80::1", "br1"), ("fe80::1", "br0"), ("fe80::2", "br1"), ("fe80::2", "br1")
                ),
            )
        )
    )
    assert owners == {packed("192.0.2.5"): None, packed("fe80::1"): None, packed("fe80::2"): "br1"}
    assert owner(owners, packed("fe80::1")) is None


@pytest.mark.parametrize(
    ("owners", "address", "name"),
    [
        ({packed("127.0.0.1"): "lo"}, "127.0.0.1", "lo"),
        ({packed("127.0.0.1"): "lo"}, "127.0.0.53", "lo"),
        ({packed("127.0.0.1"): "loop"}, "127.255.255.254", "loop"),
        ({}, "127.1.2.3", "lo"),
        ({packed("::1"): "lo"}, "::1", "lo"),
        ({}, "::1", "lo"),
        ({packed("192.0.2.1"): "eth0"}, "192.0.2.1", "eth0"),
        ({packed("192.0.2.1"): "eth0"}, "192.0.2.2", None),
        ({packed("::7f00:1"): "eth0"}, "::7f00:1", "eth0"),
        ({}, "128.0.0.1", None),
        ({}, "7f00::1", None),
        ({packed("::1"): "loop"}, "::1", "loop"),
    ],
)
def test_all_of_127_and_the_one_of_ipv6_are_the_loopbacks(
    owners: Dict[bytes, Optional[str]], address: str, name: Optional[str]
) -> None:
    """Whether or not a table names them: every address of 127.0.0.0/8 is the device's own."""
    assert owner(owners, packed(address)) == name


def test_a_host_without_ipv6_has_no_table_of_it(tmp_path: Path) -> None:
    assert read_owners(elsewhere(proc.tree(tmp_path, if_inet6=None))) == {packed("192.0.2.5"): "eth0"}


def test_in_the_same_network_the_kernel_is_asked(tmp_path: Path) -> None:
    """What it answers is what getifaddrs(3) tells psutil; the mounted tables of IPv4 are not needed."""
    psutil = pytest.importorskip("psutil", reason="no psutil for this machine")
    own = Proc("/proc", "/proc/self/net", host=False, shared=True)
    expected: Dict[bytes, Optional[str]] = {}
    for name, addresses in psutil.net_if_addrs().items():
        for entry in addresses:
            if entry.family in (socket.AF_INET, socket.AF_INET6):
                address = packed(entry.address.partition("%")[0])
                expected[address] = name if expected.get(address, name) == name else None
    if not os.path.exists("/proc/self/net/if_inet6"):
        expected = {address: name for address, name in expected.items() if len(address) == 4}
    assert read_owners(own) == expected
    assert dict(ask_kernel()) == {address: name for address, name in expected.items() if len(address) == 4}

    proc.tree(tmp_path, fib_trie=None, route=None, if_inet6=proc.if_inet6(("2001:db8::1", "eth9")))
    shared = elsewhere(tmp_path)._replace(shared=True)
    assert read_owners(shared) == {**dict(ask_kernel()), packed("2001:db8::1"): "eth9"}


def test_names_of_any_bytes() -> None:
    raw = b'20010db8000000000000000000000010 03 40 00 82  \xff"|\xc3\xa9\n'
    assert of_if_inet6(raw) == [(packed("2001:db8::10"), '\udcff"|\u00e9')]


def of_if_inet6(table: bytes) -> List[Tuple[bytes, str]]:
    return list(parse_if_inet6(io.BytesIO(table)))


def of_route(table: bytes) -> List[Route]:
    return list(parse_route(io.BytesIO(table)))


def of_fib_trie(table: bytes) -> Set[int]:
    return parse_fib_trie(io.BytesIO(table))


# What is broken -> the parser, its table, the error.
BROKEN: Dict[str, Tuple[Callable[[bytes], Any], bytes, str]] = {
    "if_inet6: a column less": (of_if_inet6, IF_INET6 + b"20010db8 00\n", "if_inet6: .* b'20010db8 00"),
    "if_inet6: short address": (of_if_inet6, IF_INET6[1:], "if_inet6: .* b'0010db8000"),
    "if_inet6: no number": (of_if_inet6, IF_INET6.replace(b"20010", b"2001g"), "if_inet6: .* b'2001gdb8"),
    "if_inet6: no name": (of_if_inet6, IF_INET6.replace(b"p0", b"p:0"), "no interface has: b'p:0'"),
    "route: no name": (of_route, ROUTE.replace(b"eth0", b"a/b"), "no interface has: b'a/b'"),
    "route: a column less": (of_route, ROUTE + b"eth0\t0\t0\t1\t0\t0\t0\n", "route: .* b'eth0"),
    "route: no number": (of_route, ROUTE.replace(b"0002", b"000x"), "route: .* b'eth0"),
    "route: too long a number": (of_route, ROUTE.replace(b"000200C0", b"1000200C0"), "route: .* b'eth0"),
    "fib_trie: no address": (
        of_fib_trie,
        FIB_TRIE.replace(b"|-- 192.0.2.10", b"|-- 192.0.2.1000"),
        "fib_trie: a leaf of unknown shape",
    ),
    "fib_trie: odd bytes": (
        of_fib_trie,
        FIB_TRIE.replace(b"|-- 192.0.2.10", b"|-- \xff\x00"),
        "fib_trie: a leaf of unknown shape",
    ),
}


@pytest.mark.parametrize(("parse", "table", "reason"), list(BROKEN.values()), ids=list(BROKEN))
def test_a_row_of_another_shape_is_named(parse: Callable[[bytes], Any], table: bytes, reason: str) -> None:
    with pytest.raises(TableError, match=reason):
        parse(table)


def test_as_many_addresses_as_are_kept_and_one_more(tmp_path: Path) -> None:
    """Of both IP versions; whatever is not kept costs nothing: the routes, of which a router has thousands."""
    v4 = [str(ipaddress.IPv4Address((10 << 24) + number)) for number in range(MOST_ADDRESSES - 1)]
    routes = [("eth1", str(ipaddress.IPv4Address((172 << 24) + (number << 8))), 24) for number in range(10_000)]
    tables = {
        "fib_trie": proc.fib_trie(*v4),
        "route": proc.route(("eth0", "10.0.0.0", 8), *routes),
        "if_inet6": proc.if_inet6(("fe80::1", "eth0")),
    }
    proc.tree(tmp_path, **tables)
    assert read_owners(elsewhere(tmp_path)) == {packed(address): "eth0" for address in [*v4, "fe80::1"]}
    for name, table in (
        ("if_inet6", proc.if_inet6(("fe80::1", "eth0"), ("fe80::2", "eth0"))),
        ("fib_trie", proc.fib_trie(*v4, "10.255.0.1", "10.255.0.2")),
    ):
        proc.tree(tmp_path, **{**tables, name: table})
        with pytest.raises(TableError, match=f"^the host has over {MOST_ADDRESSES} addresses$"):
            read_owners(elsewhere(tmp_path))


def test_memory_does_not_grow_with_the_number_of_routes(tmp_path: Path) -> None:
    routes = [("eth1", str(ipaddress.IPv4Address((172 << 24) + (number << 8))), 24) for number in range(10_000)]
    leaves = b"".join(
        b"        |-- %b\n           /24 link UNICAST\n" % network.encode("ascii") for _, network, _ in routes
    )
    fib_trie = proc.fib_trie("10.0.0.1") + leaves
    proc.tree(tmp_path, fib_trie=fib_trie, route=proc.route(("eth0", "10.0.0.0", 8), *routes), if_inet6=None)
    tracemalloc.start()
    try:
        owners = read_owners(elsewhere(tmp_path))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert owners == {packed("10.0.0.1"): "eth0"}
    assert peak < 300_000


@pytest.mark.parametrize("name", ["fib_trie", "route"])
def test_a_table_that_can_not_be_read_is_named(tmp_path: Path, name: str) -> None:
    proc.tree(tmp_path, **{name: None})
    with pytest.raises(TableError, match=name + " can't be read: No such file or directory"):
        read_owners(elsewhere(tmp_path))


def test_a_table_of_ipv6_that_can_not_be_understood_is_named(tmp_path: Path) -> None:
    """That it is not there is no fault; that it has another shape is one, and not to be passed over in silence."""
    proc.tree(tmp_path, if_inet6=b"garbage\n")
    with pytest.raises(TableError, match="if_inet6: a row of unknown shape: b'garbage'"):
        read_owners(elsewhere(tmp_path))


class Kernel:
    """A netlink socket that answers what a test has prepared."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def settimeout(self, seconds: float) -> None:
        pass

    def send(self, request: bytes) -> None:
        pass

    def recv(self, size: int) -> bytes:
        return self.answers.pop(0)


NEW_ADDRESS, ERROR, DONE = 20, 2, 3  # linux/rtnetlink.h, linux/netlink.h


def message(kind: int, content: bytes, length: Optional[int] = None) -> bytes:
    return struct.pack("=IHHII", length or 16 + len(content), kind, 0, 1, 0) + content


def attribute(kind: int, content: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(content), kind) + content + bytes(-len(content) % 4)


def test_an_attribute_of_the_kernels_answer_is_taken_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in an interface's label is no attribute of its own; a label of 5 bytes is padded to 8."""
    label = attribute(2, packed("198.51.100.1"))
    content = struct.pack("=BBBBI", socket.AF_INET, 24, 0, 0, 1) + attribute(3, label)
    content += attribute(3, b"lo:1\0") + attribute(1, packed("192.0.2.6")) + attribute(2, packed("192.0.2.5"))
    answers = [message(NEW_ADDRESS, content), message(DONE, bytes(4))]
    monkeypatch.setattr(socket, "socket", lambda *_: Kernel(*answers))
    (found,) = ask_kernel()
    assert found == (packed("192.0.2.5"), socket.if_indextoname(1))


@pytest.mark.parametrize(
    "answer",
    [message(ERROR, bytes(20)), message(NEW_ADDRESS, b"", length=8)],
    ids=["refused", "no whole header"],
)
def test_a_kernel_that_refuses_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    monkeypatch.setattr(socket, "socket", lambda *_: Kernel(answer))
    shared = elsewhere(proc.tree(tmp_path))._replace(shared=True)
    with pytest.raises(TableError, match="the kernel does not list its addresses: rtnetlink refuses"):
        read_owners(shared)
