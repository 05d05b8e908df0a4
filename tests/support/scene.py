"""What namespace.play() runs as process 1 of a host of its own: open sockets, look at them, print the view."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, List

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "packaging")]

from connector.__main__ import main  # noqa: E402
from connector.config import DEFAULT_EXCLUDE  # noqa: E402
from connector.kernel.dev import parse_dev  # noqa: E402
from connector.report import build  # noqa: E402
from connector.snapshot import Wanted, take  # noqa: E402

kept: List[socket.socket] = []
IPV6 = os.path.exists("/proc/net/if_inet6")
NOBODY = 65534
IPPROTO_MPTCP = 262
MAX_WAIT_SECONDS = 60  # for what takes far less


def ip(arguments: str) -> None:
    subprocess.run(["ip", *arguments.split()], check=True)


def opened(kind: int, address: str, port: int, only6: bool = False) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    kept.append(made)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if made.family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(only6))
    made.bind(socket.getaddrinfo(address, port, made.family, kind)[0][4])
    return made


def listen(address: str, port: int, only6: bool = False) -> socket.socket:
    made = opened(socket.SOCK_STREAM, address, port, only6)
    made.listen(64)
    return made


def udp(address: str, port: int, only6: bool = False) -> socket.socket:
    return opened(socket.SOCK_DGRAM, address, port, only6)


def multipath() -> None:
    """Open a listener and a connection of Multipath TCP, where the kernel has it: their subflows are TCP sockets."""
    try:
        server, client = (socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP) for _ in range(2))
    except OSError:
        return
    server.bind(("192.0.2.10", 2207))
    server.listen(1)
    client.connect(("192.0.2.10", 2207))
    kept.extend((server, client, server.accept()[0]))


def connected(port: int, to: str) -> socket.socket:
    """Return a connection to a port. An address that was just added may be unreachable for a moment."""
    end = time.monotonic() + MAX_WAIT_SECONDS
    while True:
        client = socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET)
        client.settimeout(MAX_WAIT_SECONDS)
        try:
            client.connect((to, port))
            return client
        except OSError as error:
            client.close()
            if error.errno != errno.EHOSTUNREACH or time.monotonic() > end:
                raise OSError(error.errno, f"connect to {to} port {port}: {error.strerror or error}") from error
            time.sleep(0.05)


def call(server: socket.socket, to: str) -> List[socket.socket]:
    """Connect to a listener at one of its addresses; return both sides."""
    client = connected(server.getsockname()[1], to)
    sides = [client, server.accept()[0]]
    kept.extend(sides)
    return sides


def half_open(source: str, destination: str, port: int) -> None:
    """Send the SYN of a peer that will not answer, so that the listener's side stays in SYN_RECV."""

    def checksum(data: bytes) -> int:
        total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
        total = (total >> 16) + (total & 0xFFFF)
        return ~(total + (total >> 16)) & 0xFFFF

    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    segment = struct.pack("!HHIIBBHHH", 4444, port, 1, 0, 5 << 4, 2, 1000, 0, 0)
    pseudo = addresses + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(segment))
    segment = segment[:16] + struct.pack("!H", checksum(pseudo + segment)) + segment[18:]
    header = struct.pack("!BBHHHBBH", 0x45, 0, 40, 1, 0, 64, socket.IPPROTO_TCP, 0) + addresses
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(header + segment, (destination, 0))


def wait_for_states(*wanted: str) -> None:
    """Wait until there are TCP sockets in all these states, as ss names them, where ss is installed."""
    if shutil.which("ss") is None:
        return
    end = time.monotonic() + MAX_WAIT_SECONDS
    while True:
        text = subprocess.run(["ss", "-H", "-tan"], check=True, capture_output=True, text=True).stdout
        missing = set(wanted) - {line.split()[0] for line in text.splitlines()}
        if not missing:
            return
        assert time.monotonic() < end, f"no socket becomes {missing}"
        time.sleep(0.01)


def network() -> None:
    """lo, eth0 and eth1 in one IPv4 network, eth2 in another; their peers are named veth*."""
    ip("link set lo up")
    for number, addresses in enumerate(
        (
            ["192.0.2.10/24", "2001:db8::10/64", "fe80::1/64"],
            ["192.0.2.11/24", "fe80::1/64"],
            ["198.51.100.2/30"],
        )
    ):
        ip(f"link add eth{number} type veth peer name veth{number}")
        ip(f"link set eth{number} up")
        ip(f"link set veth{number} up")
        for address in addresses:
            if IPV6 or ":" not in address:
                ip("address add {} dev eth{} {}".format(address, number, "nodad" if ":" in address else ""))


def every_kind_of_socket() -> Any:
    """Open them all, then ask ss, ip and the connector."""
    network()
    for name in ("all", "default", "lo"):
        Path("/proc/sys/net/ipv4/conf", name, "rp_filter").write_text("0")
    ip("address add 203.0.113.5 peer 203.0.113.6 dev eth2")
    listen("203.0.113.5", 2205)
    wildcard = listen("0.0.0.0", 2200)
    listen("192.0.2.10", 2201), listen("192.0.2.11", 2201), listen("198.51.100.2", 2202), listen("127.0.0.1", 2203)
    listen("127.0.0.53", 2203)
    for _ in range(3):
        listen("192.0.2.10", 2204)
    listen("0.0.0.0", 2204)
    udp("0.0.0.0", 5300), udp("0.0.0.0", 5300), udp("192.0.2.10", 5301), udp("127.0.0.1", 5302)
    bound = udp("0.0.0.0", 5303)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth2")
    listen("0.0.0.0", 2206).setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth1")
    multipath()
    for address in ("127.0.0.1", "192.0.2.10"):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.connect((address, 5300))
        kept.append(client)
    if IPV6:
        dual, only6 = listen("::", 2210), listen("::", 2211, only6=True)
        mapped = listen("::ffff:0.0.0.0", 2212)
        listen("::ffff:192.0.2.10", 2213), listen("2001:db8::10", 2214), listen("::1", 2215)
        listen("fe80::1%eth0", 2216)
        udp("::", 5310), udp("::", 5311, only6=True), udp("::ffff:0.0.0.0", 5312), udp("::ffff:127.0.0.1", 5313)
        udp("2001:db8::10", 5314), udp("fe80::1%eth1", 5315)
        client = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        client.connect(("::1", 5310))
        kept.append(client)
        for server, addresses in (
            (dual, ["127.0.0.1", "::1", "2001:db8::10", "192.0.2.10"]),
            (only6, ["::1", "2001:db8::10"]),
            (mapped, ["127.0.0.1", "198.51.100.2"]),
        ):
            for address in addresses:
                call(server, address)
    for number in range(150):
        call(wildcard, f"127.0.0.{1 + number}")
    call(wildcard, "192.0.2.10"), call(wildcard, "198.51.100.2")
    for side in call(wildcard, "127.0.0.1"):
        side.close()  # TIME_WAIT
    call(wildcard, "127.0.0.1")[0].close()  # FIN_WAIT2 and CLOSE_WAIT
    # Hosts with a link-layer address that nobody has: to one without, the kernel gives up after 3 s.
    for host in ("192.0.2.99", "192.0.2.77"):
        ip(f"neighbour add {host} lladdr 02:00:00:00:00:63 dev eth0 nud permanent")
    asking = socket.socket()
    asking.setblocking(False)
    asking.connect_ex(("192.0.2.99", 80))  # SYN_SENT
    kept.append(asking)
    half_open("192.0.2.77", "192.0.2.10", 2200)
    wait_for_states("ESTAB", "LISTEN", "SYN-SENT", "SYN-RECV", "TIME-WAIT", "CLOSE-WAIT", "FIN-WAIT-2")

    def shown(*command: str) -> List[str]:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()

    def reported(own: str) -> Any:
        snapshot = take(Wanted("/proc", 500, DEFAULT_EXCLUDE.split(","), ()), random.Random(1), own=own)
        return {"report": build(snapshot, 1), "problems": dict(snapshot.problems)}

    tables = {name: Path("/proc/net", name).read_text().splitlines() for name in ("tcp", "tcp6", "udp", "udp6") if IPV6}
    return {
        "tcp": shown("ss", "-H", "-tan"),
        "udp": shown("ss", "-H", "-uan"),
        "addresses": shown("ip", "-o", "address"),
        "tables": tables,
        "with names from the kernel": reported("/proc"),
        "with names from the tables": reported("/nothing"),
    }


def host_and_container(directory: str) -> Any:
    """A host with sockets and counters, and what the connector in a container on it says of its /proc."""
    network()
    listen("0.0.0.0", 22), listen("192.0.2.10", 502), listen("198.51.100.2", 443)
    udp("0.0.0.0", 68)
    local = listen("127.0.0.1", 6379)
    client = opened(socket.SOCK_STREAM, "127.0.0.1", 40000)
    client.connect(local.getsockname())
    if IPV6:
        listen("::", 8080), udp("2001:db8::10", 5683)
    mount, hidden = os.path.join(directory, "host_proc"), os.path.join(directory, "hidden_proc")
    os.mkdir(mount)
    os.mkdir(hidden)
    subprocess.run(["mount", "--rbind", "/proc", mount], check=True)
    isolated = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    sharing = [flag for flag in isolated if flag != "--net"]

    def inside(flags: List[str], *arguments: str) -> Any:
        done = subprocess.run(
            [*flags, sys.executable, __file__, "container", *arguments], check=True, stdout=subprocess.PIPE, timeout=300
        )
        return json.loads(done.stdout.decode())

    seen = {
        "before": counters("/proc/1/net/dev"),
        "own network": inside(isolated, mount, "root"),
        "shared network": inside(sharing, mount, "root"),
    }
    if os.getuid() == 0 and Path("/proc/self/uid_map").read_text().split()[2] != "1":
        seen["own network, ordinary user"] = inside(isolated, mount, "nobody")
        subprocess.run(["mount", "-t", "proc", "-o", "hidepid=2", "proc", hidden], check=True)
        seen["hidden, own network"] = inside(isolated, hidden, "nobody")
        seen["hidden, shared network"] = inside(sharing, hidden, "nobody")
    seen["after"] = counters("/proc/1/net/dev")
    return seen


def counters(name: str) -> Any:
    with open(name, "rb") as table:
        return parse_dev(table)


def container(mount: str, user: str) -> Any:
    """In the container: a listener of its own, and the connector on the mounted proc."""
    ip("link set lo up")
    listen("127.0.0.1", 7777)

    def run() -> int:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            return main(["--proc", mount, "-n", "2", "-s", "0"])

    out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    if user == "nobody":
        run()  # imports what is imported late: an ordinary user may not be able to read this interpreter's files
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    code = run()
    assert code == 0, err.getvalue()
    out.seek(0)
    snapshot = take(Wanted(mount, 50, (), ()), random.Random(1))  # the counters of all interfaces
    return {
        "reports": [json.loads(line) for line in out],
        "said": err.getvalue().splitlines(),
        "counters": snapshot.counters,
    }


SCENES: Dict[str, Callable[..., Any]] = {
    "sockets": every_kind_of_socket,
    "host": host_and_container,
    "container": container,
}

if __name__ == "__main__":
    print(json.dumps(SCENES[sys.argv[1]](*sys.argv[2:])))
