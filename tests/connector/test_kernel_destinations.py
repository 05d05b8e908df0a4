"""Every remote address of established connections: from the tables and from sock_diag, and what they take."""

from __future__ import annotations

import ipaddress
import random
import sys
from pathlib import Path
from typing import List, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.proc import Socket, table, tcp, tcp6, tree

from connector.errors import TableError
from connector.kernel import sockets
from connector.kernel.destinations import Destinations
from connector.kernel.ports import AllPorts, PortSet
from connector.kernel.sample import Reservoir
from connector.snapshot import Wanted, take

PACKED = st.one_of(
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=4, max_size=4).map(lambda ipv4: bytes(10) + b"\xff\xff" + ipv4),
    st.binary(min_size=4, max_size=4).map(lambda ipv4: bytes(10) + b"\xff\x00" + ipv4),
)


def mapped_to_ipv4(address: bytes) -> bytes:
    ipv4 = ipaddress.IPv6Address(address).ipv4_mapped
    return address if ipv4 is None else ipv4.packed


@given(st.lists(st.lists(PACKED, min_size=1), max_size=5), st.lists(st.binary(min_size=4, max_size=4)))
def test_addresses_come_back_with_mapped_ones_as_ipv4(blocks: List[List[bytes]], ipv4: List[bytes]) -> None:
    destinations = Destinations()
    for block in blocks:
        destinations.add_ipv6(b"".join(block))
    destinations.add_ipv4(b"".join(ipv4))
    expected = [mapped_to_ipv4(address) for block in blocks for address in block] + ipv4
    assert sorted(destinations) == sorted(destinations) == sorted(expected)
    assert len(destinations) == len(expected)
    assert all(address in destinations for address in expected)


def test_36_000_addresses_take_less_than_600_kb() -> None:
    destinations = Destinations()
    for number in range(360):
        destinations.add_ipv6(bytes(range(1, 17)) * 100)
        assert len(destinations) == 100 * (number + 1)
    assert sum(sys.getsizeof(getattr(destinations, name)) for name in destinations.__slots__) < 700_000


def read(root: Path) -> List[str]:
    destinations = Destinations()
    sample: Reservoir[bytes] = Reservoir(1, random.Random(1))
    found = sockets.read_tcp(str(root / "1" / "net"), sample, lambda address: None, destinations)
    assert found.destinations is destinations
    return [str(ipaddress.ip_address(address)) for address in destinations]


IPV4 = [f"203.0.113.{number}" for number in range(1, 200)]
IPV6 = [f"2001:db8::{number:x}" for number in range(1, 200)]


def established(local: str, addresses: Sequence[str], state: str = "ESTABLISHED") -> List[Socket]:
    return [(f"{local}:443", f"[{ip}]:5000" if ":" in ip else f"{ip}:5000", state) for ip in addresses]


def test_tables_give_every_established_destination(tmp_path: Path) -> None:
    rows = [
        ("0.0.0.0:22", "0.0.0.0:0", "LISTEN"),
        *established("192.0.2.1", IPV4),
        *established("192.0.2.1", ["198.51.100.1"], "TIME_WAIT"),
        *established("192.0.2.1", ["198.51.100.2"], "SYN_SENT"),
    ]
    mapped = [f"::ffff:{ip}" for ip in IPV4[:3]]
    rows6 = [*established("[2001:db8::ffff]", IPV6), *established("[::ffff:192.0.2.1]", mapped)]
    tree(tmp_path, tcp=tcp(*rows), tcp6=tcp6(*rows6))
    assert sorted(read(tmp_path)) == sorted(IPV4 + IPV6 + IPV4[:3])


def test_row_numbers_of_different_length_are_no_hindrance(tmp_path: Path) -> None:
    """From the 10,000th row on the number is longer than the column."""
    rows = established("[2001:db8::ffff]", IPV6)
    tree(tmp_path, tcp6=table("tcp6", rows, first=9_900), tcp=tcp())
    assert sorted(read(tmp_path)) == sorted(IPV6)


def test_address_that_is_not_hexadecimal_is_an_error(tmp_path: Path) -> None:
    good = tcp(*established("192.0.2.1", IPV4[:3]))
    bad = good.replace(b"027100CB", b"02710XCB")
    assert bad != good
    tree(tmp_path, tcp=bad)
    with pytest.raises(TableError, match="row of unknown shape"):
        read(tmp_path)


def test_snapshot_has_all_lists_only_where_they_are_wanted(tmp_path: Path) -> None:
    rows = [(f"0.0.0.0:{port}", "0.0.0.0:0", "LISTEN") for port in range(1, 101)]
    tree(tmp_path, tcp=tcp(*rows, *established("192.0.2.1", IPV4)), udp=None)
    wanted = Wanted(str(tmp_path), 5, (), ())
    own = str(tmp_path / "none")
    bounded = take(wanted, random.Random(1), own)
    assert (bounded.all_tcp_ports, bounded.destinations) == (None, None)
    full = take(wanted._replace(all_ports=True, all_destinations=True), random.Random(1), own)
    assert full.all_tcp_ports is not None
    assert full.destinations is not None
    assert sorted(full.all_tcp_ports) == list(range(1, 101))
    assert len(full.destinations) == len(IPV4)
    assert full.all_udp_ports is None  # its table could not be read, which is not the same as empty
    assert full._replace(all_tcp_ports=None, destinations=None) == bounded


def test_all_ports_are_those_of_every_set() -> None:
    one, other = PortSet(), PortSet(16)
    one.add(22)
    other.add(22, bytes(16))
    other.add(80, bytes(16))
    ports = AllPorts([one, other])
    assert sorted(ports) == sorted(ports) == [22, 22, 80]
    assert (len(ports), 80 in ports, 81 in ports) == (3, True, False)
