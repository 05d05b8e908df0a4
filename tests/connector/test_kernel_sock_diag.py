"""kernel/sock_diag.py: the kernel's binary rows say what its tables say, or the tables are read."""

from __future__ import annotations

import errno
import os
import random
import socket
import struct
import tempfile
from pathlib import Path
from typing import Any, Iterator, List, NamedTuple, Optional, Set, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import proc

from connector.kernel import sock_diag, socket_rows, sockets
from connector.kernel.destinations import Destinations
from connector.kernel.netlink import NetlinkUnavailable
from connector.kernel.sample import Reservoir

ESTABLISHED, TIME_WAIT, UNCONN, LISTEN = 1, 6, 7, 10
OWNERS = {bytes([192, 0, 2, 1]): "eth0", socket.inet_pton(socket.AF_INET6, "2001:db8::1"): "eth1"}


def message(kind: int, body: bytes, flags: int = 2) -> bytes:
    """Return a netlink message (netlink(7)) of one of many (NLM_F_MULTI)."""
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body


def row(state: int, local: Tuple[str, int], remote: Tuple[str, int], device: int = 0, attributes: int = 28) -> bytes:
    """Return a row as the kernel sends it: struct inet_diag_msg and some bytes of attributes."""
    family = socket.AF_INET6 if ":" in local[0] else socket.AF_INET
    ends = [socket.inet_pton(family, address).ljust(16, b"\0") for address, _ in (local, remote)]
    ports = struct.pack(">HH", local[1], remote[1])
    body = struct.pack("=BBBB", family, state, 0, 0) + ports + b"".join(ends) + struct.pack("=I", device) + bytes(28)
    return message(20, body + bytes(attributes))


def done(status: int = 0) -> bytes:
    return message(3, struct.pack("=i", status))


class Answers:
    """Answers as the kernel would, with these blocks for TCP over IPv4 and nothing for the rest."""

    def __init__(self, *blocks: bytes) -> None:
        self._blocks = blocks

    def __call__(self, family: int, protocol: int, wanted: int) -> Iterator[bytes]:
        if (family, protocol) == (socket.AF_INET, socket.IPPROTO_TCP):
            yield from self._blocks
        else:
            yield done()


def read(ask: Any, size: int = 50) -> socket_rows.Tcp:
    return sock_diag.read_tcp(Reservoir(size, random.Random(1)), OWNERS.get, ask)


def ports(listeners: socket_rows.Listeners) -> Set[Tuple[Optional[str], int]]:
    return {(name, port) for name, found in listeners.items() for port in found}


PEER = ("203.0.113.9", 443)
CONNECTION = row(ESTABLISHED, ("192.0.2.1", 50000), PEER)
LISTENER = row(LISTEN, ("0.0.0.0", 22), ("0.0.0.0", 0))


def test_rows_of_one_length_and_of_several_are_counted_alike() -> None:
    longer = row(ESTABLISHED, ("192.0.2.1", 50001), PEER, attributes=36)
    for blocks in (
        [CONNECTION * 3, done()],
        [CONNECTION + longer + CONNECTION + done()],
        [CONNECTION * 2, longer, done()],
    ):
        assert read(Answers(*blocks)).total == 3
    tcp = read(Answers(LISTENER + CONNECTION, done()))
    assert (tcp.total, ports(tcp.listeners)) == (1, {("0.0.0.0", 22)})
    (found,) = tcp.sample
    assert found == socket_rows.Socket(bytes([192, 0, 2, 1]), 50000, bytes([203, 0, 113, 9]), 443)


@pytest.mark.parametrize(
    ("blocks", "reason"),
    [
        ([done(-2)], "ended its answer with status -2"),
        ([CONNECTION, done(-errno.ENOMEM)], "ended its answer with status -12"),
        ([message(2, struct.pack("=i", -errno.EPERM) + bytes(16))], "an unexpected message: type 2"),
        ([CONNECTION], "the answer has no end"),
        ([], "the answer has no end"),
        ([CONNECTION[:-4]], "an unexpected message: type 20"),
        ([CONNECTION + b"\0\0"], "cut short"),
        ([struct.pack("=IHHII", 8, 20, 2, 1, 0) + bytes(80)], "an unexpected message: type 20"),
        ([message(20, CONNECTION[16:], flags=2 | 0x10), done()], "an unexpected message: type 20, flags 18"),
        ([CONNECTION * 2 + message(20, CONNECTION[16:], flags=2 | 0x10), done()], "flags 18"),
    ],
    ids=[
        "no handler",
        "failed late",
        "refused",
        "no end",
        "nothing",
        "cut",
        "a rest",
        "too short",
        "interrupted",
        "late",
    ],
)
def test_incomplete_answer_is_unavailable_and_never_an_empty_table(blocks: List[bytes], reason: str) -> None:
    with pytest.raises(NetlinkUnavailable, match=reason):
        read(Answers(*blocks))


def test_refused_socket_is_unavailable() -> None:
    def refuse(family: int, protocol: int, wanted: int) -> Iterator[bytes]:
        if wanted:
            raise OSError(errno.EPROTONOSUPPORT, os.strerror(errno.EPROTONOSUPPORT))
        yield b""

    with pytest.raises(NetlinkUnavailable, match="Protocol not supported"):
        read(refuse)


def test_listener_bound_to_a_device_has_its_name() -> None:
    loopback = socket.if_nametoindex("lo")
    gone = 2**31 - 1
    tcp = read(
        Answers(
            row(LISTEN, ("0.0.0.0", 80), ("0.0.0.0", 0), loopback),
            row(LISTEN, ("0.0.0.0", 81), ("0.0.0.0", 0), gone),
            row(LISTEN, ("192.0.2.1", 82), ("0.0.0.0", 0), loopback),
            row(LISTEN, ("198.51.100.7", 83), ("0.0.0.0", 0), loopback),
            done(),
        )
    )
    assert ports(tcp.listeners) == {("lo", 80), ("0.0.0.0", 81), ("eth0", 82), ("lo", 83)}


STATES = {ESTABLISHED: "ESTABLISHED", TIME_WAIT: "TIME_WAIT", UNCONN: "CLOSE", LISTEN: "LISTEN"}


def spelled(end: Tuple[str, int]) -> str:
    return "{}:{}".format(f"[{end[0]}]" if ":" in end[0] else end[0], end[1])


class Made(NamedTuple):
    """A socket that both ways of reading are given."""

    udp: bool
    state: int
    local: Tuple[str, int]
    remote: Tuple[str, int]
    attributes: int


ADDRESSES = ("0.0.0.0", "192.0.2.1", "127.0.0.1", "198.51.100.7", "::", "2001:db8::1", "::ffff:192.0.2.1", "fe80::1")


def made(draw: Any) -> Made:
    udp = draw(st.booleans())
    local = draw(st.sampled_from(ADDRESSES))
    state = draw(st.sampled_from((ESTABLISHED, UNCONN) if udp else (ESTABLISHED, TIME_WAIT, LISTEN)))
    nowhere = "::" if ":" in local else "0.0.0.0"
    remote = (nowhere, 0) if state in (UNCONN, LISTEN) else ("2001:db8::9" if ":" in local else "203.0.113.9", 443)
    port = draw(st.integers(0, 65535) if state == UNCONN else st.integers(1, 65535))
    return Made(udp, state, (local, port), remote, draw(st.sampled_from((28, 28, 28, 36))))


sockets_made = st.composite(made)


@settings(max_examples=100)
@given(st.lists(sockets_made(), max_size=40), st.integers(1, 12))
def test_the_same_sockets_read_both_ways_are_the_same(all_made: List[Made], rows_in_a_block: int) -> None:
    def ask(family: int, protocol: int, wanted: int) -> Iterator[bytes]:
        rows = [
            row(one.state, one.local, one.remote, attributes=one.attributes)
            for one in all_made
            if one.udp == (protocol == socket.IPPROTO_UDP)
            and (":" in one.local[0]) == (family == socket.AF_INET6)
            and wanted >> one.state & 1
        ]
        for start in range(0, len(rows), rows_in_a_block):
            yield b"".join(rows[start : start + rows_in_a_block])
        yield done()

    with tempfile.TemporaryDirectory() as directory:
        root = proc.tree(
            Path(directory),
            **{
                name: proc.table(
                    name,
                    [
                        (spelled(one.local), spelled(one.remote), STATES[one.state])
                        for one in all_made
                        if one.udp == name.startswith("udp") and (":" in one.local[0]) == name.endswith("6")
                    ],
                )
                for name in ("tcp", "tcp6", "udp", "udp6")
            },
        )
        net = str(root / "1" / "net")
        size = len(all_made) + 1
        tables = sockets.read_tcp(net, Reservoir(size, random.Random(1)), OWNERS.get)
        kernel = read(ask, size)
        assert kernel.total == tables.total
        assert sorted(kernel.sample) == sorted(tables.sample)
        assert ports(kernel.listeners) == ports(tables.listeners)
        assert ports(sock_diag.read_udp(OWNERS.get, ask)) == ports(sockets.read_udp(net, OWNERS.get))
        of_tables, of_kernel = Destinations(), Destinations()
        sockets.read_tcp(net, Reservoir(1, random.Random(1)), OWNERS.get, of_tables)
        sock_diag.read_tcp(Reservoir(1, random.Random(1)), OWNERS.get, ask, of_kernel)
        assert sorted(of_tables) == sorted(of_kernel) == sorted(row.remote for row in tables.sample)
