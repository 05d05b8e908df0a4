"""Addresses and their interfaces from tables: what each table contains, its bounds, and what a malformed row costs."""

from __future__ import annotations

import io
import ipaddress
import socket
import tracemalloc
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import pytest
from support import proc

from connector.errors import TableError
from connector.kernel.address_proof import FibTrie, Route, parse_fib_trie, parse_route, prove_owners
from connector.kernel.addresses import MAX_ADDRESSES, owner, parse_if_inet6, read_ipv4_owners, read_ipv6_owners
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
    """The tree as the proc of another network namespace."""
    return Proc(str(root), str(root / "1" / "net"), host=True, shared=False)


def test_recorded_tables(tmp_path: Path) -> None:
    """198.51.100.7/32 has no name: the only network around it is a route to nowhere."""
    host = elsewhere(proc.tree(tmp_path, route=ROUTE, fib_trie=FIB_TRIE, if_inet6=IF_INET6))
    assert read_ipv4_owners(host) == {packed("192.0.2.10"): "eth0"}
    assert read_ipv6_owners(host) == {
        packed("2001:db8::10"): "eth0",
        packed("fe80::e003:1eff:fedc:e459"): "p0",
        packed("::1"): "lo",
    }


@pytest.mark.parametrize(
    ("owners", "address", "name"),
    [
        ({"127.0.0.1": "lo"}, "127.0.0.1", "lo"),
        ({"127.0.0.1": "lo"}, "127.0.0.53", "lo"),
        ({"127.0.0.1": "loop"}, "127.255.255.254", "loop"),
        ({}, "127.1.2.3", "lo"),
        ({"::1": "lo"}, "::1", "lo"),
        ({}, "::1", "lo"),
        ({"192.0.2.1": "eth0"}, "192.0.2.1", "eth0"),
        ({"192.0.2.1": "eth0"}, "192.0.2.2", None),
        ({"::7f00:1": "eth0"}, "::7f00:1", "eth0"),
        ({}, "128.0.0.1", None),
        ({}, "7f00::1", None),
        ({"::1": "loop"}, "::1", "loop"),
    ],
)
def test_loopback_owns_127_and_ipv6_1_even_if_no_table_lists_them(
    owners: Dict[str, str], address: str, name: Optional[str]
) -> None:
    assert owner({packed(text): interface for text, interface in owners.items()}, packed(address)) == name


def test_link_local_address_of_two_interfaces_has_no_owner(tmp_path: Path) -> None:
    rows = [("fe80::1", "br0"), ("fe80::1", "br1"), ("fe80::1", "br0"), ("fe80::2", "br1"), ("fe80::2", "br1")]
    owners = read_ipv6_owners(elsewhere(proc.tree(tmp_path, if_inet6=proc.if_inet6(*rows))))
    assert owners == {packed("fe80::1"): None, packed("fe80::2"): "br1"}
    assert owner(owners, packed("fe80::1")) is None


def test_host_without_ipv6_has_no_ipv6_owners(tmp_path: Path) -> None:
    assert read_ipv6_owners(elsewhere(proc.tree(tmp_path, if_inet6=None))) == {}


def test_interface_name_may_have_any_bytes() -> None:
    raw = b'20010db8000000000000000000000010 03 40 00 82  \xff"|\xc3\xa9\n'
    assert of_if_inet6(raw) == [(packed("2001:db8::10"), '\udcff"|\u00e9')]


def of_if_inet6(table: bytes) -> List[Tuple[bytes, str]]:
    return list(parse_if_inet6(io.BytesIO(table)))


def of_route(table: bytes) -> List[Route]:
    return list(parse_route(io.BytesIO(table)))


def of_fib_trie(table: bytes) -> FibTrie:
    return parse_fib_trie(io.BytesIO(table))


def number(address: str) -> int:
    return int(ipaddress.IPv4Address(address))


def test_routes_that_are_down_or_reject_are_left_out() -> None:
    table = proc.route(("eth0", "192.0.2.0/24"), ("eth0", "0.0.0.0/0", "192.0.2.1"))
    assert of_route(table) == [
        Route(number("192.0.2.0"), number("255.255.255.0"), 0, "eth0"),
        Route(0, 0, number("192.0.2.1"), "eth0"),
    ]
    assert of_route(proc.route(("eth0", "192.0.2.0/24"), flags=0)) == []
    assert of_route(proc.route(("eth0", "192.0.2.0/24"), flags=0x201)) == []
    assert of_route(proc.route(("*", "192.0.2.0/24"))) == []


def test_ipv6_gateway_of_an_ipv4_route_is_a_gateway() -> None:
    """The kernel sets the flag and prints 0.0.0.0; the network is not reached directly."""
    (found,) = of_route(proc.route(("eth0", "192.0.2.0/24"), flags=3))
    assert found.gateway != 0


def test_addresses_and_broadcast_addresses_are_counted_per_interface() -> None:
    """A host without routing rules has the leaves in both tables; those are not two interfaces."""
    twice = proc.fib_trie("127.0.0.1/8", "192.0.2.5/24", "192.0.2.6/24", "198.51.100.7", "198.51.100.7")
    expected = FibTrie(
        {number("127.0.0.1"): 1, number("192.0.2.5"): 1, number("192.0.2.6"): 1, number("198.51.100.7"): 2},
        {number("192.0.2.255"): 2},
    )
    assert of_fib_trie(twice) == expected
    leaves = twice.partition(b"Main:\n")[2].replace(b"Local:\n", b"")
    assert of_fib_trie(b"Main:\n" + leaves + b"Local:\n" + leaves) == expected


@pytest.mark.parametrize("vrf_first", [True, False])
def test_address_in_a_vrf_is_counted_and_its_network_is_not(vrf_first: bool) -> None:
    """`Id 10:` may come before or after the main tables."""
    main = proc.fib_trie("192.0.2.5/24")
    vrf = b"Id 10:\n" + proc.fib_trie("192.0.2.5/24", "203.0.113.5/24").partition(b"Local:\n")[2]
    table = vrf + main if vrf_first else main + vrf
    assert of_fib_trie(table) == FibTrie({number("192.0.2.5"): 2, number("203.0.113.5"): 1}, {number("192.0.2.255"): 1})


# What is malformed -> the parser, its table, the error.
MALFORMED: Dict[str, Tuple[Callable[[bytes], Any], bytes, str]] = {
    "if_inet6: a column less": (of_if_inet6, IF_INET6 + b"20010db8 00\n", "if_inet6: .* b'20010db8 00"),
    "if_inet6: short address": (of_if_inet6, IF_INET6[1:], "if_inet6: .* b'0010db8000"),
    "if_inet6: no number": (of_if_inet6, IF_INET6.replace(b"20010", b"2001g"), "if_inet6: .* b'2001gdb8"),
    "if_inet6: no name": (of_if_inet6, IF_INET6.replace(b"p0", b"a/b"), "not an interface's name: b'a/b'"),
    "route: no name": (of_route, ROUTE.replace(b"eth0", b"a/b"), "not an interface's name: b'a/b'"),
    "route: a column less": (of_route, ROUTE + b"eth0\t0\t0\t1\t0\t0\t0\n", "route: .* b'eth0"),
    "route: no number": (of_route, ROUTE.replace(b"0002", b"000x"), "route: .* b'eth0"),
    "route: too long a number": (of_route, ROUTE.replace(b"000200C0", b"1000200C0"), "route: .* b'eth0"),
    "fib_trie: no address": (
        of_fib_trie,
        FIB_TRIE.replace(b"|-- 192.0.2.10", b"|-- 192.0.2.1000"),
        "fib_trie: a row of unknown shape: .*192.0.2.1000",
    ),
    "fib_trie: other bytes": (
        of_fib_trie,
        FIB_TRIE.replace(b"|-- 192.0.2.10", b"|-- \xff\x00"),
        "fib_trie: a row of unknown shape",
    ),
    "fib_trie: leaf without an address": (
        of_fib_trie,
        FIB_TRIE.replace(b"|-- 192.0.2.10", b"|--"),
        "fib_trie: a row of unknown shape",
    ),
}


@pytest.mark.parametrize(("parse", "table", "reason"), list(MALFORMED.values()), ids=list(MALFORMED))
def test_malformed_row_is_named_in_the_error(parse: Callable[[bytes], Any], table: bytes, reason: str) -> None:
    with pytest.raises(TableError, match=reason):
        parse(table)


def many_networks(count: int) -> List[Tuple[str, str, str]]:
    """Return so many interfaces, each with its address and network."""
    networks = [ipaddress.IPv4Network(((10 << 24) + (place << 2), 30)) for place in range(count)]
    return [(f"eth{place}", f"{network[1]}/30", str(network)) for place, network in enumerate(networks)]


def test_addresses_up_to_the_limit_are_known_and_one_more_is_an_error(tmp_path: Path) -> None:
    known = many_networks(MAX_ADDRESSES)
    tables = {
        "fib_trie": proc.fib_trie(*[address for _, address, _ in known]),
        "route": proc.route(*[(name, network) for name, _, network in known]),
        "if_inet6": proc.if_inet6(*[(f"2001:db8::{place:x}", "eth0") for place in range(MAX_ADDRESSES)]),
    }
    host = elsewhere(proc.tree(tmp_path, **tables))
    assert read_ipv4_owners(host) == {packed(address[:-3]): name for name, address, _ in known}
    assert len(read_ipv6_owners(host)) == MAX_ADDRESSES
    more = {
        "fib_trie": proc.fib_trie(*[address for _, address, _ in known], "192.0.2.1"),
        "if_inet6": tables["if_inet6"] + proc.if_inet6(("fe80::1", "eth0")),
    }
    host = elsewhere(proc.tree(tmp_path, **{**tables, **more}))
    for read in (read_ipv4_owners, read_ipv6_owners):
        with pytest.raises(TableError, match=f"^the host has over {MAX_ADDRESSES} addresses$"):
            read(host)


def test_more_gateways_than_the_limit_are_an_error() -> None:
    gateways = [str(ipaddress.IPv4Address((10 << 24) + place)) for place in range(MAX_ADDRESSES + 1)]
    rows = [Route(number("198.51.100.0"), number("255.255.255.0"), number(gateway), "eth0") for gateway in gateways]
    assert prove_owners(FibTrie({}, {}), rows[1:]) == {}
    with pytest.raises(TableError, match=f"^route: over {MAX_ADDRESSES} gateways$"):
        prove_owners(FibTrie({}, {}), rows)


def test_memory_does_not_grow_with_the_number_of_routes(tmp_path: Path) -> None:
    networks = [f"172.{place >> 8}.{place & 255}.0/24" for place in range(10_000)]
    leaves = b"".join(
        b"        |-- %b\n           /24 link UNICAST\n" % network[:-3].encode("ascii") for network in networks
    )
    routes = [("eth1", network) for network in networks]
    fib_trie = proc.fib_trie("10.0.0.1/8") + leaves
    proc.tree(tmp_path, fib_trie=fib_trie, route=proc.route(("eth0", "10.0.0.0/8"), *routes), if_inet6=None)
    tracemalloc.start()
    try:
        owners = read_ipv4_owners(elsewhere(tmp_path))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert owners == {packed("10.0.0.1"): "eth0"}
    assert peak < 300_000


@pytest.mark.parametrize("name", ["fib_trie", "route"])
def test_unreadable_table_is_named_and_costs_only_the_names_of_ipv4(tmp_path: Path, name: str) -> None:
    host = elsewhere(proc.tree(tmp_path, **{name: None}))
    with pytest.raises(TableError, match=name + " can't be read: No such file or directory"):
        read_ipv4_owners(host)
    assert read_ipv6_owners(host) == {packed("::1"): "lo", packed("2001:db8::5"): "eth0"}


def test_malformed_table_of_ipv6_costs_only_the_names_of_ipv6(tmp_path: Path) -> None:
    host = elsewhere(proc.tree(tmp_path, if_inet6=b"garbage\n"))
    with pytest.raises(TableError, match="if_inet6: a row of unknown shape: b'garbage'"):
        read_ipv6_owners(host)
    assert read_ipv4_owners(host) == {packed("192.0.2.5"): "eth0"}
