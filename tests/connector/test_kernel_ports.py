"""Sets of ports: each port, or pair of key and port, once, in bounded memory."""

from __future__ import annotations

import random
import tracemalloc
from typing import List, Set, Tuple

import pytest

from connector.errors import TableError
from connector.kernel.ports import MAX_PORTS, PortSet


def test_port_set_contains_each_port_once() -> None:
    ports = PortSet()
    for port in (22, 65535, 256, 22, 1):
        ports.add(port)
    assert list(ports) == [1, 22, 256, 65535]
    assert len(ports) == 4
    assert 256 in ports
    assert 255 not in ports


def test_port_set_with_keys_contains_a_port_once_for_each_key() -> None:
    rng = random.Random(7)
    keys: List[bytes] = [bytes(rng.choices(range(256), k=16)) for _ in range(20)]
    ports = PortSet(16)
    added: Set[Tuple[bytes, int]] = set()
    for _ in range(2000):
        key, port = rng.choice(keys), rng.randint(1, 100)
        added.add((key, port))
        ports.add(port, key)
    assert len(ports) == len(added)
    assert sorted(ports) == sorted(port for _, port in added)


def test_port_set_is_bounded() -> None:
    """More than the bound is an error and not a smaller total."""
    ports = PortSet(16)
    tracemalloc.start()
    try:
        for number in range(5000):
            ports.add(53, number.to_bytes(16, "big"))
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < 24 * len(ports)
    for number in range(5000, MAX_PORTS):
        ports.add(53, number.to_bytes(16, "big"))
    assert len(ports) == MAX_PORTS
    ports.add(53, bytes(16))  # it is there already
    with pytest.raises(TableError, match=f"^over {MAX_PORTS} listeners on addresses of unknown interfaces$"):
        ports.add(54, bytes(16))
