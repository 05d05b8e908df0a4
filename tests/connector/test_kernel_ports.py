"""Sets of ports: each port, or pair of address and port, once, in bounded memory."""

from __future__ import annotations

import random
import socket
import tracemalloc
from typing import List, Set, Tuple

import pytest

from connector.errors import TableError
from connector.kernel.ports import MAX_UNNAMED_PORTS, PortSet, UnnamedPorts


def test_port_set_contains_what_was_added() -> None:
    ports = PortSet()
    for port in (22, 65535, 256, 22):
        ports.add(port)
    assert ports == {22, 256, 65535}
    assert len(ports) == 3
    assert 255 not in ports
    assert 2**16 not in ports


def test_unnamed_ports_has_a_port_once_for_each_address() -> None:
    rng = random.Random(7)
    addresses: List[bytes] = [bytes(rng.choices(range(256), k=size)) for size in (4, 16) for _ in range(10)]
    ports = UnnamedPorts()
    added: Set[Tuple[bytes, int]] = set()
    for _ in range(2000):
        pair = rng.choice(addresses), rng.randint(1, 100)
        added.add(pair)
        ports.add(*pair)
    assert len(ports) == len(added)
    assert sorted(ports) == sorted(port for _, port in added)
    assert 101 not in ports


def test_ipv4_address_is_not_the_ipv6_address_with_the_same_last_bytes() -> None:
    ports = UnnamedPorts()
    ports.add(socket.inet_aton("203.0.113.1"), 80)
    ports.add(socket.inet_pton(socket.AF_INET6, "::203.0.113.1"), 80)
    assert list(ports) == [80, 80]


def test_unnamed_ports_are_bounded() -> None:
    """More than the bound is an error and not a smaller total; all up to it take about 1 MB."""
    ports = UnnamedPorts()
    tracemalloc.start()
    try:
        for number in range(5000):
            ports.add(number.to_bytes(16, "big"), 53)
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < 24 * len(ports)
    for number in range(5000, MAX_UNNAMED_PORTS):
        ports.add(number.to_bytes(16, "big"), 53)
    assert len(ports) == MAX_UNNAMED_PORTS
    ports.add(bytes(16), 53)  # again
    with pytest.raises(TableError, match=f"^over {MAX_UNNAMED_PORTS} listeners on addresses of unknown interfaces$"):
        ports.add(bytes(16), 54)
