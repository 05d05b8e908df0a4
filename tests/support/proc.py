"""Proc trees in the kernel's own format, for cases that no recording has; fixtures/ holds the recorded ones.

The shapes are those of get_tcp4_sock(), get_tcp6_sock(), udp4_format_sock(), dev_seq_printf_stats(),
if6_seq_show(), fib_route_seq_show() and fib_trie_seq_show() in the kernel's net/.
"""

from __future__ import annotations

import os
import random
import socket
import struct
import sys
from pathlib import Path
from typing import Dict, Iterable, Mapping, Optional, Sequence, Tuple, Union

from connector.config import DEFAULT_EXCLUDE
from connector.snapshot import Snapshot, Wanted, take

# include/net/tcp_states.h
STATES = {
    "ESTABLISHED": "01",
    "SYN_SENT": "02",
    "SYN_RECV": "03",
    "FIN_WAIT1": "04",
    "FIN_WAIT2": "05",
    "TIME_WAIT": "06",
    "CLOSE": "07",
    "CLOSE_WAIT": "08",
    "LAST_ACK": "09",
    "LISTEN": "0A",
    "CLOSING": "0B",
}
V4_NOBODY, V6_NOBODY = "0.0.0.0:0", "[::]:0"

HEADERS = {
    "tcp": b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
    + b" " * 53
    + b"\n",
    "tcp6": b"  sl  local_address                         remote_address                        st tx_queue rx_queue"
    b" tr tm->when retrnsmt   uid  timeout inode\n",
    "udp": b"   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref"
    b" pointer drops            \n",
    "udp6": b"  sl  local_address                         remote_address                        st tx_queue rx_queue"
    b" tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n",
}

Socket = Tuple[str, str, str]  # local address, remote address, state
Numbers = Tuple[int, int, int, int]  # bytes in, bytes out, packets in, packets out
Content = Union[bytes, None]


def _endpoint(text: str) -> str:
    address, _, port = text.rpartition(":")
    family = socket.AF_INET6 if address.startswith("[") else socket.AF_INET
    return "{}:{:04X}".format(_words(socket.inet_pton(family, address.strip("[]"))), int(port))


def _words(packed: bytes) -> str:
    """As the kernel prints an address: 32-bit words, each in the machine's byte order."""
    words = [packed[place : place + 4] for place in range(0, len(packed), 4)]
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)


def row(table: str, number: int, local: str, remote: str, state: str) -> bytes:
    """One row of `tcp`, `tcp6`, `udp` or `udp6`; addresses as in "192.0.2.1:22" and "[2001:db8::1]:22"."""
    text = "{:>{}}: {} {} {} 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000".format(
        number, 5 if table.startswith("udp") else 4, _endpoint(local), _endpoint(remote), STATES[state]
    )
    if table.startswith("udp"):
        text += " 0"
    elif state not in ("SYN_RECV", "TIME_WAIT"):
        text += " 100 0 0 10 0"
    return text.ljust({"tcp": 149, "udp": 127}.get(table, 0)).encode() + b"\n"


def table(name: str, sockets: Iterable[Socket] = (), first: int = 0) -> bytes:
    """A whole table; `first` is the number of its first row."""
    return HEADERS[name] + b"".join(row(name, number, *entry) for number, entry in enumerate(sockets, first))


def tcp(*sockets: Socket) -> bytes:
    return table("tcp", sockets)


def tcp6(*sockets: Socket) -> bytes:
    return table("tcp6", sockets)


def udp(*sockets: Socket) -> bytes:
    return table("udp", sockets)


def udp6(*sockets: Socket) -> bytes:
    return table("udp6", sockets)


def dev(interfaces: Mapping[str, Numbers]) -> bytes:
    """`net/dev`."""
    lines = [
        "Inter-|   Receive                                                |  Transmit",
        " face |bytes    packets errs drop fifo frame compressed multicast"
        "|bytes    packets errs drop fifo colls carrier compressed",
    ]
    for name, (bytes_in, bytes_out, packets_in, packets_out) in interfaces.items():
        lines.append(
            f"{name:>6}: {bytes_in:>7} {packets_in:>7}    1    2    3     4          5         6"
            f" {bytes_out:>8} {packets_out:>7}    7    8    9     0       1          2"
        )
    return "".join(line + "\n" for line in lines).encode("utf-8", "surrogateescape")


def if_inet6(*pairs: Tuple[str, str]) -> bytes:
    """`net/if_inet6` of (address, interface)."""
    return b"".join(
        f"{socket.inet_pton(socket.AF_INET6, address).hex()} 02 40 00 80 {interface:>8}\n".encode()
        for address, interface in pairs
    )


def fib_trie(*addresses: str) -> bytes:
    """`net/fib_trie` with these local addresses, each in the network 192.0.2.0/24's company."""
    lines = ["Main:", "  +-- 0.0.0.0/0 3 0 5", "     |-- 192.0.2.0", "        /24 link UNICAST"]
    for address in addresses:
        lines += ["     |-- " + address, "        /32 host LOCAL"]
    return "".join(line + "\n" for line in lines).encode()


def route(*routes: Tuple[str, str, int], flags: int = 1) -> bytes:
    """`net/route` of (interface, network, prefix length); flags 1 is RTF_UP."""
    lines = ["Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT"]
    for interface, network, length in routes:
        mask = struct.pack("!I", (0xFFFFFFFF << (32 - length)) & 0xFFFFFFFF)
        lines.append(
            f"{interface}\t{_words(socket.inet_aton(network))}\t00000000\t{flags:04X}\t0\t0\t0\t{_words(mask)}\t0\t0\t0"
        )
    return "".join(line.ljust(127) + "\n" for line in lines).encode()


# A healthy host without a socket.
QUIET: Dict[str, bytes] = {
    "tcp": tcp(),
    "tcp6": tcp6(),
    "udp": udp(),
    "udp6": udp6(),
    "dev": dev({"lo": (0, 0, 0, 0), "eth0": (0, 0, 0, 0)}),
    "if_inet6": if_inet6(("::1", "lo"), ("2001:db8::5", "eth0")),
    "fib_trie": fib_trie("127.0.0.1", "192.0.2.5"),
    "route": route(("eth0", "192.0.2.0", 24)),
}


def tree(root: Path, **tables: Content) -> Path:
    """Write a proc mount: a quiet host, but for the tables that are given; None for one that is not there.

    A name such as `vlan__config` stands for `vlan/config`.
    """
    contents: Dict[str, Content] = {**QUIET, **tables}
    for name, content in contents.items():
        path = root.joinpath("1", "net", *name.split("__"))
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is not None:
            path.write_bytes(content)
        elif path.exists():
            path.unlink()
    return root


# A machine of 2 processors and 8 GB: 60.55 s of processor time at work, 228.25 s in all, at 100 ticks a second; the
# last two columns of `cpu`, a guest's time, are counted in the first two as well.
MACHINE = {
    "stat": b"cpu  4705 150 1120 16250 520 30 45 5 100 20\ncpu0 2352 75 560 8125 260 15 22 2 50 10\nbtime 1795220000\n",
    "meminfo": b"""\
MemTotal:        8000000 kB
MemFree:         1000000 kB
MemAvailable:    6000000 kB
Buffers:          100000 kB
Cached:          4000000 kB
Active:          2000000 kB
Inactive:        3000000 kB
Shmem:             50000 kB
Slab:             200000 kB
SReclaimable:     150000 kB
""",
    "loadavg": b"1.25 0.50 0.25 2/345 6789\n",
    "uptime": b"35353.98 7070.1\n",
}
TICKS = os.sysconf("SC_CLK_TCK")


def machine(root: Path) -> Path:
    """Write what the custom metrics are read from."""
    for name, content in MACHINE.items():
        (root / name).write_bytes(content)
    return root


def look(
    root: Path,
    max_list_size: int = 50,
    exclude: Sequence[str] = tuple(DEFAULT_EXCLUDE.split(",")),
    custom: Sequence[str] = (),
    rng: Optional[random.Random] = None,
) -> Snapshot:
    """Take a snapshot of a tree, from a network that is not the tree's."""
    wanted = Wanted(str(root), max_list_size, exclude, custom)
    return take(wanted, rng or random.Random(1), own=str(root / "no-proc-of-its-own"))
