"""Make the proc trees under fixtures/ and the reports beside them; see fixtures/README.md.

    python tests/tools/make_fixtures.py expect             rewrite the expected reports from the trees as they are
    python tests/tools/make_fixtures.py record [HOST ...]  record the trees again (root, iproute2), then as above

Recording sets up network namespaces like each host, opens its sockets, sends some traffic, and copies this kernel's
tables. Tables of modules that this kernel lacks are written in the format of the kernel's source.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Dict, List, Tuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "packaging"), str(ROOT / "tests")]

from support.fixtures import FIXTURES, HOSTS, expected_files  # noqa: E402
from support.recording import (  # noqa: E402
    CLONE_NEWNET,
    Network,
    cable,
    call,
    check,
    ip,
    kept,
    libc,
    listen,
    opened,
    send,
    talk,
    udp,
)

TABLES = ("tcp", "tcp6", "udp", "udp6", "dev", "if_inet6", "fib_trie", "route")


def copy(host: str, tree: str, tables: Tuple[str, ...]) -> Path:
    """Copy the tables of the current namespace."""
    time.sleep(0.2)  # for the last acknowledgements
    net = FIXTURES / host / tree / "1" / "net"
    net.mkdir(parents=True)
    for name in tables:
        (net / name).write_bytes(Path("/proc/thread-self/net", name).read_bytes())
    return FIXTURES / host / tree


def board() -> None:
    """A small board: a sensor that reports over MQTT, with an SSH session."""
    host, outside = Network(), Network()
    with host:
        cable(
            "eth0", outside, "192.0.2.10/24", "2001:db8::10/64", far=("192.0.2.1/24", "192.0.2.20/24", "2001:db8::1/64")
        )
        ip("route add default via 192.0.2.1")
        ssh = listen("0.0.0.0", 22)
        listen("::", 22)
        web = listen("::", 8080, only6=False)
        local = listen("127.0.0.1", 6379)
        listen("::1", 6379)
        listen("192.0.2.10", 9100)
        udp("0.0.0.0", 68)
        udp("0.0.0.0", 5353), udp("0.0.0.0", 5353), udp("::", 5353)
        udp("::ffff:0.0.0.0", 161, only6=False)
        ntp = udp("192.0.2.10", 40123)
        ntp.connect(("192.0.2.1", 123))
    with outside:
        mqtt, https = listen("192.0.2.1", 8883), listen("2001:db8::1", 443)
        session = call("192.0.2.20", 52000, ssh, "192.0.2.10", 22)
        call("192.0.2.20", 52001, web, "192.0.2.10", 8080)
    with host:
        reports = call("192.0.2.10", 40000, mqtt, "192.0.2.1", 8883)
        call("2001:db8::10", 40001, https, "2001:db8::1", 443)
        call("127.0.0.1", 40002, local, "127.0.0.1", 6379)
        copy_machine(copy("board", "before", ("dev",)), "stat")
        talk(reports, 20_000, 2_000)
        talk(session, 300, 4_000)
        done = call("192.0.2.10", 40003, mqtt, "192.0.2.1", 8883)
        for side in done:
            side.close()  # TIME_WAIT
        half = call("192.0.2.10", 40004, mqtt, "192.0.2.1", 8883)
        half[1].close()  # CLOSE_WAIT
        asking = opened(socket.SOCK_STREAM, "192.0.2.10", 40005)
        asking.setblocking(False)
        asking.connect_ex(("192.0.2.99", 443))  # no host has it: SYN_SENT
        copy_machine(copy("board", "proc", TABLES), "stat", "meminfo", "loadavg", "uptime")


def copy_machine(tree: Path, *names: str) -> None:
    """Copy the files of the custom metrics; of `stat` only the lines about processors."""
    for name in names:
        lines = Path("/proc", name).read_text().splitlines(keepends=True)
        (tree / name).write_text("".join(line for line in lines if name != "stat" or line.startswith("cpu")))


def gateway() -> None:
    """A gateway: an uplink, a bridged LAN, containers, VLANs over the uplink and over a bond."""
    host, outside, lan = Network(), Network(), Network()
    with host:
        cable("eth0", outside, "203.0.113.2/30", "2001:db8:ff::2/64", far=("203.0.113.1/30", "2001:db8:ff::1/64"))
        ip("route add default via 203.0.113.1")
        for bridge, member, address in (
            ("br-lan", "lan1", "198.51.100.1/24"),
            ("br-lan", "lan2", ""),
            ("docker0", "veth1a2b3c", "192.0.2.1/25"),
        ):
            if address:
                ip(f"link add {bridge} address 02:00:5e:00:53:f{len(bridge) % 10} type bridge")
                ip(f"link set {bridge} up")
                ip(f"address add {address} dev {bridge}")
            far = cable(member, lan)
            ip(f"link set {member} master {bridge}")
            if address:
                with lan:
                    ip("address add {} dev {}".format(address.replace(".1/", ".77/"), far))
        ip("tuntap add tap0 mode tap")
        ip("link set tap0 up")
        # Stand-ins by name, for want of the modules: VLANs over eth0, a bond of eth1 and eth2, a VLAN over the bond.
        for name, address in (
            ("eth0.100", "192.0.2.129/26"),
            ("eth0.100.200", "192.0.2.193/27"),
            ("eth1", ""),
            ("eth2", ""),
            ("bond0", ""),
            ("mgmt", "192.0.2.225/27"),
        ):
            cable(name, lan, *filter(None, [address]))
        for name, neighbour in (("eth0.100", "192.0.2.130"), ("eth0.100.200", "192.0.2.194"), ("mgmt", "192.0.2.226")):
            ip(f"neighbour add {neighbour} lladdr 02:00:5e:00:54:ff dev {name}")
        listen("0.0.0.0", 22), listen("::", 22)
        for address in ("198.51.100.1", "192.0.2.1", "127.0.0.1"):
            listen(address, 53), udp(address, 53)
        for _ in range(4):
            broker = listen("198.51.100.1", 1883)  # four workers, one port
        listen("192.0.2.225", 443)
        listen("192.0.2.129", 502)
        udp("0.0.0.0", 67), udp("::", 547), udp("0.0.0.0", 123), udp("203.0.113.2", 1194)
        workers = [made for made in kept if made.getsockname()[:2] == ("198.51.100.1", 1883)]
    with outside:
        cloud = listen("203.0.113.1", 8883)
        cloud6 = listen("2001:db8:ff::1", 8883)
    with host:
        uplink = call("203.0.113.2", 40000, cloud, "203.0.113.1", 8883)
        call("2001:db8:ff::2", 40001, cloud6, "2001:db8:ff::1", 8883)
    with lan:
        clients = [from_lan(50_000 + number, workers) for number in range(12)]
    with host:
        copy("gateway", "before", ("dev",))
        talk(uplink, 50_000, 1_000)
        for address in ("192.0.2.77", "192.0.2.130", "192.0.2.194", "192.0.2.226"):
            send(address, 10, 1000)  # by docker0 and the VLANs, which are not counted
    for client in clients:
        talk(client, 1_000, 100)
    with host:
        tree = copy("gateway", "proc", TABLES)
    assert broker in workers
    write_vlans_and_bond(tree / "1" / "net")


def from_lan(port: int, workers: List[socket.socket]) -> Tuple[socket.socket, socket.socket]:
    """Connect a client to the broker; the kernel chooses the worker."""
    client = opened(socket.SOCK_STREAM, "198.51.100.77", port)
    client.settimeout(5)
    client.connect(("198.51.100.1", 1883))
    for worker in workers:
        worker.settimeout(0.05)
        try:
            served = worker.accept()[0]
        except socket.timeout:
            continue
        kept.append(served)
        return client, served
    raise RuntimeError("no worker took the connection")


def far_of(address: str) -> str:
    shown = subprocess.run(["ip", "-o", "address", "show", "to", address], check=True, capture_output=True, text=True)
    return shown.stdout.split()[1]


def write_vlans_and_bond(net: Path) -> None:
    """Write the tables as net/8021q/vlanproc.c and drivers/net/bonding/bond_procfs.c print them."""
    vlans = (("eth0.100", 100, "eth0"), ("eth0.100.200", 200, "eth0.100"), ("mgmt", 30, "bond0"))
    (net / "vlan").mkdir()
    (net / "vlan" / "config").write_text(
        "VLAN Dev name\t | VLAN ID\nName-Type: VLAN_NAME_TYPE_RAW_PLUS_VID_NO_PAD\n"
        + "".join("{:<15}| {}  | {}\n".format(*vlan) for vlan in vlans)
    )
    for name, number, below in vlans:
        (net / "vlan" / name).write_text(
            f"{name}  VID: {number}\t REORDER_HDR: 1  dev->priv_flags: 1021\n"
            "         total frames received            0\n"
            "          total bytes received            0\n"
            "      Broadcast/Multicast Rcvd            0\n"
            "\n"
            "      total frames transmitted            0\n"
            "       total bytes transmitted            0\n"
            f"Device: {below}\n"
            "INGRESS priority mappings: 0:0  1:0  2:0  3:0  4:0  5:0  6:0 7:0\n"
            " EGRESS priority mappings: \n"
        )
    members = "".join(
        f"\nSlave Interface: {name}\nMII Status: up\nSpeed: 1000 Mbps\nDuplex: full\nLink Failure Count: 0\n"
        f"Permanent HW addr: 02:00:5e:00:53:{number}\nSlave queue ID: 0\n"
        for name, number in (("eth1", "e1"), ("eth2", "e2"))
    )
    (net / "bonding").mkdir()
    (net / "bonding" / "bond0").write_text(
        "Ethernet Channel Bonding Driver: v6.1.0\n"
        "\n"
        "Bonding Mode: fault-tolerance (active-backup)\n"
        "Primary Slave: None\n"
        "Currently Active Slave: eth1\n"
        "MII Status: up\n"
        "MII Polling Interval (ms): 100\n" + members
    )


def ipv6_only() -> None:
    """A host with IPv4 only on its loopback, and one link-local address on two interfaces."""
    host, outside = Network(), Network()
    with host:
        cable("eth0", outside, "2001:db8:1::5/64", far=("2001:db8:1::1/64", "fe80::2/64"))
        cable("wlan0", outside, "2001:db8:2::5/64", "fe80::1/64", far=("2001:db8:2::1/64",))
        ip("address add fe80::1/64 dev eth0")
        ssh = listen("::", 22)
        listen("2001:db8:2::5", 443)
        listen("fe80::1%eth0", 8080)
        udp("::", 546), udp("::1", 323), udp("2001:db8:1::5", 5683)
        coap = udp("2001:db8:1::5", 40002)
        coap.connect(("2001:db8:1::1", 5683))
    with outside:
        mqtt = listen("2001:db8:1::1", 8883)
        call("2001:db8:2::1", 52000, ssh, "2001:db8:2::5", 22)
        interface = far_of("2001:db8:1::1")
        call("fe80::2%" + interface, 52001, ssh, "fe80::1%" + interface, 22)
    with host:
        call("2001:db8:1::5", 40000, mqtt, "2001:db8:1::1", 8883)
        copy("ipv6-only", "proc", TABLES)


def no_ipv6() -> None:
    """A host whose kernel has no IPv6, and so none of its tables."""
    host, outside = Network(), Network()
    with host:
        cable("eth0", outside, "192.0.2.30/24", far=("192.0.2.1/24",))
        listen("0.0.0.0", 22), listen("192.0.2.30", 502), udp("0.0.0.0", 68)
    with outside:
        mqtt = listen("192.0.2.1", 8883)
    with host:
        call("192.0.2.30", 40000, mqtt, "192.0.2.1", 8883)
        copy("no-ipv6", "proc", tuple(name for name in TABLES if "6" not in name))


def idle() -> None:
    """A host without sockets."""
    host, outside = Network(), Network()
    with host:
        cable("eth0", outside, "192.0.2.40/24", far=("192.0.2.1/24",))
        copy("idle", "proc", TABLES)


def reset() -> None:
    """Counters twice: eth0 is kept, wwan0 made again, usb0 added, wlan0 removed, veth0 not counted."""
    host, outside = Network(), Network()

    def modem() -> None:
        cable("wwan0", outside, "198.51.100.2/30", far=("198.51.100.1/30",))

    with host:
        cable("eth0", outside, "192.0.2.50/24", far=("192.0.2.1/24",))
        cable("wlan0", outside, "203.0.113.2/30", far=("203.0.113.1/30",))
        cable("veth0", outside, "203.0.113.6/30", far=("203.0.113.5/30",))
        modem()
        send("192.0.2.1", 10, 1000)
        send("198.51.100.1", 20, 1000)
        send("203.0.113.1", 5, 100)
        copy("reset", "before", ("dev",))
        send("192.0.2.1", 3, 500)
        send("203.0.113.1", 5, 100)
        send("203.0.113.5", 50, 1000)
        ip("link delete wwan0")
        ip("link delete wlan0")
        modem()
        cable("usb0", outside, "203.0.113.10/30", far=("203.0.113.9/30",))
        send("198.51.100.1", 2, 200)
        send("203.0.113.9", 4, 300)
        copy("reset", "proc", TABLES)


RECORDERS: Dict[str, Callable[[], None]] = {
    "board": board,
    "gateway": gateway,
    "ipv6-only": ipv6_only,
    "no-ipv6": no_ipv6,
    "idle": idle,
    "reset": reset,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["record", "expect"])
    parser.add_argument("hosts", metavar="HOST", nargs="*", help="some of: " + " ".join(HOSTS))
    options = parser.parse_args()
    chosen = options.hosts or list(HOSTS)
    unknown = [name for name in chosen if name not in HOSTS]
    if unknown:
        parser.error("no such host: " + " ".join(unknown))
    if options.what == "record":
        check(libc.unshare(CLONE_NEWNET))  # so that an error here never changes this machine's network
    for name in chosen:
        if options.what == "record":
            for tree in ("before", "proc"):
                shutil.rmtree(str(FIXTURES / name / tree), ignore_errors=True)
            RECORDERS[name]()
            while kept:
                kept.pop().close()
        for file, content in expected_files(name).items():
            (FIXTURES / name / file).write_text(content)


if __name__ == "__main__":
    main()
