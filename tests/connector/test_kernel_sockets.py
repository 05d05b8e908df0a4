"""The tables of sockets: which rows count, how addresses are decoded, and which tables are not used."""

from __future__ import annotations

import errno
import os
import random
import socket
import threading
import tracemalloc
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Set, Tuple

import pytest
from support import proc

from connector.errors import TableError
from connector.kernel.sample import Reservoir
from connector.kernel.socket_rows import Listeners, Socket
from connector.kernel.sockets import BLOCK_BYTES, read_tcp, read_udp

OWNERS = {
    socket.inet_aton("127.0.0.1"): "lo",
    socket.inet_aton("192.0.2.10"): "eth0",
    socket.inet_pton(socket.AF_INET6, "2001:db8::10"): "eth0",
}
# The states that no report may show.
OTHERS = sorted(set(proc.STATES) - {"LISTEN", "ESTABLISHED"})


class Tcp(NamedTuple):
    total: int
    sample: List[Socket]
    listeners: Dict[Optional[str], Set[int]]


def tcp_of(root: Path, size: int = 10_000) -> Tcp:
    tcp = read_tcp(str(root / "1" / "net"), Reservoir(size, random.Random(1)), OWNERS.get)
    return Tcp(tcp.total, tcp.sample, as_sets(tcp.listeners))


def udp_of(root: Path) -> Dict[Optional[str], Set[int]]:
    return as_sets(read_udp(str(root / "1" / "net"), OWNERS.get))


def as_sets(listeners: Listeners) -> Dict[Optional[str], Set[int]]:
    """Return listeners with sets of ports, and check that each named one has a port once."""
    sets = {name: set(ports) for name, ports in listeners.items()}
    assert all(len(sets[name]) == len(ports) for name, ports in listeners.items() if name)
    return sets


def text(sample: List[Socket]) -> List[Tuple[str, int, str, int]]:
    """Return sockets with their addresses as text."""

    def spelled(packed: bytes) -> str:
        return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)

    return [(spelled(row.local), row.local_port, spelled(row.remote), row.remote_port) for row in sample]


def test_rows_as_a_kernel_printed_them(tmp_path: Path) -> None:
    """Recorded rows (Linux 6.18, x86_64) are decoded to the addresses that were in use then."""
    recorded = {
        "tcp": b"""\
   0: 00000000:08AE 00000000:0000 0A 00000000:00000001 00:00000000 00000000     0        0 807027 3 00000000f00f0ebb 100 0 0 10 0
   1: 0100007F:DDA8 0100007F:08B0 01 00000000:00000000 00:00000000 00000000     0        0 807035 2 0000000079b88ea7 20 0 0 10 -1
   4: 0A0200C0:08AE 4D0200C0:115C 03 00000000:00000000 01:0000004B 00000000     0        0 0 0 00000000b1839c39
   5: 0A0200C0:AD10 630200C0:0050 02 00000001:00000000 01:0000004B 00000000     0        0 807037 2 00000000c5d65d73 100 0 0 10 -1
""",  # noqa: E501
        "tcp6": b"""\
   0: 00000000000000000000000000000000:08B1 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 807030 1 0000000034d120e2 100 0 0 10 0
   2: 0000000000000000FFFF000000000000:08AF 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 807028 1 000000008a835534 100 0 0 10 0
   3: 0000000000000000FFFF00000A0200C0:08B2 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 807031 1 00000000fd7efd7b 100 0 0 10 0
   4: 0000000000000000FFFF00000100007F:08B0 0000000000000000FFFF00000100007F:DDA8 01 00000000:00000000 00:00000000 00000000     0        0 0 1 00000000e6fbc150 20 0 0 10 -1
   5: B80D0120000000000000000010000000:01BB B80D01200000000000000000200000FE:C001 01 00000000:00000000 00:00000000 00000000     0        0 0 1 00000000e6fbc150 20 0 0 10 -1
""",  # noqa: E501
    }
    padded = b"".join(line.ljust(149) + b"\n" for line in recorded["tcp"].splitlines())
    proc.tree(tmp_path, tcp=proc.tcp() + padded, tcp6=proc.tcp6() + recorded["tcp6"])
    tcp = tcp_of(tmp_path)
    assert (tcp.total, text(tcp.sample), tcp.listeners) == (
        3,
        [
            ("127.0.0.1", 56744, "127.0.0.1", 2224),
            ("127.0.0.1", 2224, "127.0.0.1", 56744),
            ("2001:db8::10", 443, "2001:db8::fe00:20", 49153),
        ],
        {"0.0.0.0": {2222, 2223}, "::": {2225}, "eth0": {2226}},
    )


@pytest.mark.parametrize("state", OTHERS)
@pytest.mark.parametrize("version", ["tcp", "tcp6"])
def test_only_the_states_established_and_listen_count(tmp_path: Path, version: str, state: str) -> None:
    """Rows of another state are between rows that count."""
    local, remote, nobody = (
        ("192.0.2.10:80", "198.51.100.7:4444", proc.V4_NOBODY)
        if version == "tcp"
        else ("[2001:db8::10]:80", "[2001:db8::99]:4444", proc.V6_NOBODY)
    )
    rows = [(local, nobody, "LISTEN"), (local, remote, state), (local, remote, "ESTABLISHED"), (local, remote, state)]
    quiet = {"tcp": proc.tcp(), "tcp6": proc.tcp6()}
    quiet[version] = proc.table(version, rows)
    tcp = tcp_of(proc.tree(tmp_path, **quiet))
    assert (tcp.total, len(tcp.sample), tcp.listeners) == (1, 1, {"eth0": {80}})


def test_each_interface_and_port_is_one_entry(tmp_path: Path) -> None:
    """Sockets that share a port (SO_REUSEPORT) are one entry, and so are several addresses of an interface."""
    proc.tree(
        tmp_path,
        tcp=proc.tcp(*[("0.0.0.0:8080", proc.V4_NOBODY, "LISTEN")] * 4, ("192.0.2.10:8080", proc.V4_NOBODY, "LISTEN")),
        tcp6=proc.tcp6(
            ("[::]:8080", proc.V6_NOBODY, "LISTEN"),
            ("[::ffff:0.0.0.0]:8080", proc.V6_NOBODY, "LISTEN"),
            ("[2001:db8::10]:8080", proc.V6_NOBODY, "LISTEN"),
            ("[2001:db8::404]:8080", proc.V6_NOBODY, "LISTEN"),
        ),
        udp=proc.udp(*[("0.0.0.0:5353", proc.V4_NOBODY, "CLOSE")] * 3, ("127.0.0.1:5353", proc.V4_NOBODY, "CLOSE")),
        udp6=proc.udp6(("[::]:5353", proc.V6_NOBODY, "CLOSE"), ("[::ffff:127.0.0.1]:5353", proc.V6_NOBODY, "CLOSE")),
    )
    assert (tcp_of(tmp_path).listeners, udp_of(tmp_path)) == (
        {"0.0.0.0": {8080}, "eth0": {8080}, "::": {8080}, None: {8080}},
        {"0.0.0.0": {5353}, "lo": {5353}, "::": {5353}},
    )


def test_each_address_without_a_name_and_port_is_one_entry(tmp_path: Path) -> None:
    """Two addresses may be of two interfaces, so they are never merged."""
    unknown = ["203.0.113.1:80", "203.0.113.2:80", "203.0.113.1:80", "203.0.113.1:443"]
    mapped = ["[::ffff:203.0.113.2]:80", "[::203.0.113.2]:80", "[2001:db8::404]:80"]
    proc.tree(
        tmp_path,
        tcp=proc.tcp(*[(local, proc.V4_NOBODY, "LISTEN") for local in unknown]),
        tcp6=proc.tcp6(*[(local, proc.V6_NOBODY, "LISTEN") for local in mapped]),
        udp=proc.udp(*[(local, proc.V4_NOBODY, "CLOSE") for local in unknown]),
    )
    net = str(tmp_path / "1" / "net")
    tcp, udp = read_tcp(net, Reservoir(1, random.Random(1)), OWNERS.get), read_udp(net, OWNERS.get)
    assert {name: sorted(ports) for name, ports in tcp.listeners.items()} == {None: [80, 80, 80, 80, 443]}
    assert {name: sorted(ports) for name, ports in udp.items()} == {None: [80, 80, 443]}


def test_udp_socket_with_a_peer_or_without_a_port_is_no_listener(tmp_path: Path) -> None:
    """A connected UDP socket is a client's; nothing can be sent to one without a port."""
    proc.tree(
        tmp_path,
        udp=proc.udp(
            ("192.0.2.10:40000", "192.0.2.1:123", "ESTABLISHED"),
            ("0.0.0.0:0", proc.V4_NOBODY, "CLOSE"),
            ("0.0.0.0:68", proc.V4_NOBODY, "CLOSE"),
        ),
        udp6=proc.udp6(("[2001:db8::10]:40000", "[2001:db8::1]:123", "ESTABLISHED")),
    )
    assert udp_of(tmp_path) == {"0.0.0.0": {68}}


@pytest.mark.parametrize("name", ["tcp", "tcp6", "udp", "udp6"])
@pytest.mark.parametrize("first", [5, 9_985, 99_985], ids=["1 digit more", "5 digits", "6 digits"])
def test_row_numbers_may_have_more_digits_within_a_block(tmp_path: Path, name: str, first: int) -> None:
    """The columns of row 10,000 begin one character later than those of row 9,999."""
    states = ["LISTEN", "ESTABLISHED", "TIME_WAIT"] if name.startswith("tcp") else ["CLOSE", "ESTABLISHED"]
    address = "[2001:db8::10]" if name.endswith("6") else "192.0.2.10"
    rows = [
        (f"{address}:{1000 + place}", f"{address}:{2000 + place}", states[place % len(states)]) for place in range(30)
    ]
    proc.tree(tmp_path, **{name: proc.table(name, rows, first)})
    ports = {1000 + place for place in range(0, 30, len(states))}
    if name.startswith("udp"):
        assert udp_of(tmp_path) == {"eth0": ports}
    else:
        tcp = tcp_of(tmp_path)
        found = (tcp.total, {row.local_port for row in tcp.sample}, tcp.listeners)
        assert found == (10, {1001 + place for place in range(0, 30, 3)}, {"eth0": ports})


@pytest.mark.parametrize("name", ["tcp", "tcp6"])
def test_table_of_many_blocks_is_counted_exactly(tmp_path: Path, name: str) -> None:
    """Rows that a read cuts in two are joined."""
    local, remote, nobody = (
        ("192.0.2.10:{}", "198.51.100.7:{}", proc.V4_NOBODY)
        if name == "tcp"
        else ("[2001:db8::10]:{}", "[2001:db8::99]:{}", proc.V6_NOBODY)
    )
    rows = [
        (local.format(number), nobody, "LISTEN")
        if number % 100 == 0
        else (local.format(number), remote.format(number), "ESTABLISHED" if number % 2 else "TIME_WAIT")
        for number in range(1, 4001)
    ]
    content = proc.table(name, rows, first=8_000)
    assert len(content) > 5 * BLOCK_BYTES
    tcp = tcp_of(proc.tree(tmp_path, **{name: content}))
    assert (tcp.total, sorted(row.local_port for row in tcp.sample), tcp.listeners) == (
        2000,
        list(range(1, 4001, 2)),
        {"eth0": set(range(100, 4001, 100))},
    )


def test_row_longer_than_the_padding_counts(tmp_path: Path) -> None:
    """The kernel pads rows to 149 characters; a row with large numbers is longer."""
    long_row = proc.row("tcp", 1, "192.0.2.10:22", "192.0.2.1:5000", "ESTABLISHED").rstrip() + b" 4294967295" * 5
    short_row = proc.row("tcp", 0, "192.0.2.10:22", "192.0.2.1:5001", "ESTABLISHED")
    proc.tree(tmp_path, tcp=proc.tcp() + short_row + long_row + b"\n" + short_row)
    tcp = tcp_of(tmp_path)
    assert (tcp.total, [row.remote_port for row in tcp.sample]) == (3, [5001, 5000, 5001])


def test_sample_has_the_size_asked_for_and_the_total_is_exact(tmp_path: Path) -> None:
    rows = [("192.0.2.10:22", f"192.0.2.1:{1 + number}", "ESTABLISHED") for number in range(300)]
    tcp = tcp_of(proc.tree(tmp_path, tcp=proc.tcp(*rows)), size=7)
    assert (tcp.total, len(set(tcp.sample)), len(tcp.sample)) == (300, 7, 7)


def test_memory_does_not_grow_with_the_number_of_connections(tmp_path: Path) -> None:
    """Of 20,000 rows, 3 MB, only a few blocks are in memory at a time."""
    rows = [("192.0.2.10:22", f"192.0.2.1:{1 + number}", "ESTABLISHED") for number in range(20_000)]
    proc.tree(tmp_path, tcp=proc.tcp(*rows))
    tracemalloc.start()
    try:
        total = tcp_of(tmp_path, size=50).total
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == 20_000
    assert peak < 12 * BLOCK_BYTES


def test_memory_does_not_grow_with_the_number_of_listeners(tmp_path: Path) -> None:
    """Any local user may open all ports."""
    ports = range(1, 2**16, 3)
    everywhere = [(f"0.0.0.0:{port}", proc.V4_NOBODY, "CLOSE") for port in ports]
    proc.tree(tmp_path, udp=proc.udp(*everywhere))
    read_udp(str(tmp_path / "1" / "net"), OWNERS.get)  # the first call loads modules
    tracemalloc.start()
    try:
        listeners = read_udp(str(tmp_path / "1" / "net"), OWNERS.get)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert as_sets(listeners) == {"0.0.0.0": set(ports)}
    assert held < 3 * len(ports)
    assert peak < 12 * BLOCK_BYTES


LISTENING = ("192.0.2.10:22", proc.V4_NOBODY, "LISTEN")
ROW = proc.row("tcp", 1, "192.0.2.10:22", "192.0.2.1:5000", "ESTABLISHED")
ROW6 = proc.row("tcp6", 1, "[2001:db8::10]:22", "[2001:db8::1]:5000", "ESTABLISHED")
MANY = b"".join(proc.row("tcp", number, "0.0.0.0:1", "0.0.0.0:2", "TIME_WAIT") for number in range(1000))


# What is wrong -> table, its content, the error.
BROKEN: Dict[str, Tuple[str, Optional[bytes], str]] = {
    "absent": ("tcp", None, "tcp can't be read: No such file or directory"),
    "empty": ("tcp", b"", "tcp: cut short"),
    "cut in the header": ("tcp", proc.tcp()[:-1], "tcp: a row of unknown shape: b'  sl  local_address"),
    "empty header": ("tcp", b"\n" + ROW, "tcp: a row of unknown shape: b''"),
    "another table": ("tcp", b"protocol  size sockets  memory\n" + ROW, "unknown shape: b'protocol  size"),
    "no header": ("tcp", ROW + ROW, "unknown shape: b'   1: 0A0200C0:0016"),
    "cut in a row": ("tcp", proc.tcp() + ROW + ROW[:60], "tcp: cut short: b'   1: 0A0200C0:0016"),
    "cut before the last newline": ("tcp", proc.tcp() + ROW + ROW[:-1], "tcp: cut short: b'   1: 0A0200C0:0016"),
    "cut in a later block": ("tcp", proc.tcp() + MANY + ROW[:-30], "tcp: cut short: b'   1: 0A0200C0:0016"),
    "empty row": ("tcp", proc.tcp() + ROW + b"\n" + ROW, "unknown shape: b''"),
    "empty row among rows that do not count": ("tcp", proc.tcp() + MANY + b"\n" + MANY, "unknown shape: b''"),
    "garbage row": ("tcp", proc.tcp() + ROW + b"garbage".ljust(149) + b"\n" + ROW, "unknown shape: b'garbage "),
    "row of zeros": ("tcp", proc.tcp() + ROW + bytes(149) + b"\n" + ROW, r"unknown shape: b'\\x00\\x00"),
    "row without an end": ("tcp", proc.tcp() + ROW + ROW[:19] + b"\n" + ROW, "shape: b'   1: 0A0200C0:0016'"),
    "row without a beginning": ("tcp", proc.tcp() + ROW + ROW[20:] + ROW, "unknown shape: b'010200C0:1388 01"),
    "no row number, many rows later": (
        "tcp",
        proc.tcp() + MANY + b"?" + ROW[1:] + MANY[:150],
        r"unknown shape: b'\?  1: 0A0200C0:0016",
    ),
    "port of 5 digits": ("tcp", proc.tcp() + ROW.replace(b":0016", b":10016"), "shape: b'   1: 0A0200C0:10016"),
    "address that is no number": ("tcp", proc.tcp() + ROW.replace(b"0A02", b"0G02"), "unknown shape: b'   1: 0G02"),
    "state of two digits": ("tcp", proc.tcp() + ROW.replace(b" 01 ", b" 11 "), "shape: b'   1: 0A0200C0:0016"),
    "no space before a state": (
        "tcp",
        proc.tcp() + MANY.replace(b" 06 ", b"x06 ", 1),
        "shape: b'   0: 00000000:0001 0",
    ),
    "no space after a state": ("tcp", proc.tcp() + MANY.replace(b" 06 ", b" 06x", 1), "shape: b'   0: 00000000:0001 0"),
    "IPv6 row in tcp": ("tcp", proc.tcp() + ROW6, "unknown shape: b'   1: B80D0120"),
    "absent tcp6": ("tcp6", None, "tcp6 can't be read: No such file or directory"),
    "empty tcp6": ("tcp6", b"", "tcp6: cut short"),
    "tcp6 cut before the last newline": ("tcp6", proc.tcp6() + ROW6 + ROW6[:-1], "cut short: b'   1: B80D0120"),
    "IPv4 row in tcp6": ("tcp6", proc.tcp6() + ROW6 + ROW, "tcp6: a row of unknown shape"),
    "row without an end in tcp6": ("tcp6", proc.tcp6() + ROW6 + ROW6[:50] + b"\n" + ROW6, "shape: b'   1: B80D0120"),
    "absent udp": ("udp", None, "udp can't be read: No such file or directory"),
    "absent udp6": ("udp6", None, "udp6 can't be read: No such file or directory"),
    "udp row without an end": ("udp", proc.udp() + b"  312: 00000000:0044\n", "shape: b'  312: 00000000:0044'"),
    "udp6 cut in the header": ("udp6", proc.udp6()[:-40], "udp6: a row of unknown shape: b'  sl  local_address"),
}


@pytest.mark.parametrize(("name", "content", "reason"), list(BROKEN.values()), ids=list(BROKEN))
def test_table_that_can_not_be_read_to_its_end_is_an_error(
    tmp_path: Path, name: str, content: Optional[bytes], reason: str
) -> None:
    """The error names the table and quotes the row."""
    proc.tree(tmp_path, **{"tcp": proc.tcp(LISTENING), name: content})
    with pytest.raises(TableError, match=reason):
        udp_of(tmp_path) if name.startswith("udp") else tcp_of(tmp_path)


def test_host_without_any_table_of_ipv6_has_no_ipv6(tmp_path: Path) -> None:
    rows = proc.tcp(("192.0.2.10:22", "192.0.2.1:5000", "ESTABLISHED"))
    proc.tree(tmp_path, tcp=rows, tcp6=None, udp6=None, if_inet6=None)
    tcp = tcp_of(tmp_path)
    assert (tcp.total, tcp.listeners, udp_of(tmp_path)) == (1, {}, {})


@pytest.mark.parametrize("witness", ["if_inet6", "sockstat6"])
def test_missing_tcp6_is_an_error_if_there_is_another_table_of_ipv6(tmp_path: Path, witness: str) -> None:
    proc.tree(tmp_path, **{"tcp6": None, "udp6": None, "if_inet6": None, witness: b""})
    for read, name in ((tcp_of, "tcp6"), (udp_of, "udp6")):
        with pytest.raises(TableError, match=name + " can't be read: No such file or directory"):
            read(tmp_path)


def test_error_while_looking_for_ipv6_is_not_a_host_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise one failed call would report all IPv6 listeners as closed."""
    proc.tree(tmp_path, tcp6=proc.tcp6(("[::]:22", proc.V6_NOBODY, "LISTEN")))

    def fail(path: str) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(os, "lstat", fail)
    for read in (tcp_of, udp_of):
        with pytest.raises(TableError, match="p6 can't be read: Cannot allocate memory"):
            read(tmp_path)


def test_tcp6_is_read_even_if_it_is_the_only_table_of_ipv6(tmp_path: Path) -> None:
    proc.tree(tmp_path, tcp6=proc.tcp6(("[::]:22", proc.V6_NOBODY, "LISTEN")), if_inet6=None)
    assert tcp_of(tmp_path).listeners == {"::": {22}}


def test_failed_read_of_an_open_table_is_an_error(tmp_path: Path) -> None:
    """Opening a directory succeeds, reading it fails."""
    proc.tree(tmp_path, tcp=None)
    (tmp_path / "1" / "net" / "tcp").mkdir()
    with pytest.raises(TableError, match="tcp can't be read: Is a directory"):
        tcp_of(tmp_path)


def test_short_reads_are_joined(tmp_path: Path) -> None:
    """The kernel returns a page at a time, whatever is asked for, as a pipe does that is written page by page."""
    proc.tree(tmp_path, tcp=None)
    name = tmp_path / "1" / "net" / "tcp"
    os.mkfifo(str(name))
    rows = [("192.0.2.10:22", f"192.0.2.1:{1 + number}", "ESTABLISHED") for number in range(270)]
    content = proc.tcp(*rows)

    def feed() -> None:
        with open(str(name), "wb", buffering=0) as pipe:
            for start in range(0, len(content), 27 * 150):
                pipe.write(content[start : start + 27 * 150])

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    tcp = tcp_of(tmp_path)
    feeder.join(60)
    assert tcp.total == 270
    assert [row.remote_port for row in tcp.sample] == list(range(1, 271))
