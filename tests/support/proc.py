"""Writes proc trees in the kernel's format, for cases that were not recorded; fixtures/ has the recorded ones.

The shapes are those of get_tcp4_sock(), get_tcp6_sock(), udp4_format_sock(), dev_seq_printf_stats(),
if6_seq_show(), fib_route_seq_show() and fib_trie_seq_show() in the kernel's net/.
"""

from __future__ import annotations

import ipaddress
import random
import socket
import sys
from pathlib import Path
from typing import Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Union

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
    """Return an address as the kernel prints it: 32-bit words, each in the machine's byte order."""
    words = [packed[place : place + 4] for place in range(0, len(packed), 4)]
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)


def row(table: str, number: int, local: str, remote: str, state: str) -> bytes:
    """Return a row of `tcp`, `tcp6`, `udp` or `udp6`; addresses as in "192.0.2.1:22" and "[2001:db8::1]:22"."""
    text = "{:>{}}: {} {} {} 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000".format(
        number, 5 if table.startswith("udp") else 4, _endpoint(local), _endpoint(remote), STATES[state]
    )
    if table.startswith("udp"):
        text += " 0"
    elif state not in ("SYN_RECV", "TIME_WAIT"):
        text += " 100 0 0 10 0"
    return text.ljust({"tcp": 149, "udp": 127}.get(table, 0)).encode() + b"\n"


def table(name: str, sockets: Iterable[Socket] = (), first: int = 0) -> bytes:
    """Return a whole table; `first` is the number of its first row."""
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
    """`net/fib_trie` of interfaces that have these addresses; "192.0.2.5" has no network, "192.0.2.5/24" is in one.

    An address or network that comes twice is of two interfaces. The tables are those of a host with routing rules; on
    others both have all leaves.
    """
    main: Dict[str, List[str]] = {}
    local: Dict[str, List[str]] = {}
    for address in addresses:
        interface = ipaddress.IPv4Interface(address)
        network = interface.network
        local.setdefault(str(interface.ip), []).append("/32 host LOCAL")
        if network.prefixlen < 31:
            local.setdefault(str(network.broadcast_address), []).append("/32 link BROADCAST")
            if interface.is_loopback:
                local.setdefault(str(network.network_address), []).append(f"/{network.prefixlen} host LOCAL")
            else:
                main.setdefault(str(network.network_address), []).append(f"/{network.prefixlen} link UNICAST")
    lines = []
    for name, leaves in (("Main", main), ("Local", local)):
        lines += [name + ":", "  +-- 0.0.0.0/0 3 0 5"]
        for leaf, routes in leaves.items():
            lines += [f"     |-- {leaf}", *(f"        {route}" for route in routes)]
    return "".join(line + "\n" for line in lines).encode()


def route(*routes: Tuple[str, ...], flags: int = 1) -> bytes:
    """`net/route` of (interface, network) or (interface, network, gateway), as in ("eth0", "192.0.2.0/24").

    flags: 1 is RTF_UP; RTF_GATEWAY is added for a gateway.
    """
    lines = ["Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT"]
    for interface, written, *gateways in routes:
        network = ipaddress.IPv4Network(written)
        gateway = ipaddress.IPv4Address(gateways[0] if gateways else 0)
        words = [_words(address.packed) for address in (network.network_address, gateway, network.netmask)]
        row_flags = flags | 2 * len(gateways)
        lines.append(f"{interface}\t{words[0]}\t{words[1]}\t{row_flags:04X}\t0\t0\t0\t{words[2]}\t0\t0\t0")
    return "".join(line.ljust(127) + "\n" for line in lines).encode()


# A host without a socket.
QUIET: Dict[str, bytes] = {
    "tcp": tcp(),
    "tcp6": tcp6(),
    "udp": udp(),
    "udp6": udp6(),
    "dev": dev({"lo": (0, 0, 0, 0), "eth0": (0, 0, 0, 0)}),
    "if_inet6": if_inet6(("::1", "lo"), ("2001:db8::5", "eth0")),
    "fib_trie": fib_trie("127.0.0.1/8", "192.0.2.5/24"),
    "route": route(("eth0", "192.0.2.0/24")),
}


def tree(root: Path, **tables: Content) -> Path:
    """Write a proc mount: QUIET with some tables replaced, or missing if None.

    A name such as `vlan__config` means `vlan/config`.
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


# A machine of 2 processors and 8 GB, whose processors worked for 6,055 of 22,825 ticks; the last two columns of `cpu`,
# the time of guests, are contained in the first two.
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


def machine(root: Path) -> Path:
    """Write the files that the custom metrics are read from."""
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
    """Take a snapshot of a tree, as a function in another network namespace."""
    wanted = Wanted(str(root), max_list_size, exclude, custom)
    return take(wanted, rng or random.Random(1), own=str(root / "no-proc-of-its-own"))
