"""Real sockets of a real kernel: the report contains what `ss` and `ip` show of the same machine."""

from __future__ import annotations

import collections
import contextlib
import random
import re
import shutil
import socket
import subprocess
import time
from typing import Any, Counter, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

import pytest
from local_core.service import check_report
from support import namespace as support_namespace
from support import proc

from connector.kernel.sample import Reservoir
from connector.kernel.sockets import read_tcp, read_udp

needs_ss = pytest.mark.skipif(shutil.which("ss") is None, reason="no ss (iproute2) to compare with")
needs_namespace = pytest.mark.skipif(support_namespace.refusal() is not None, reason=str(support_namespace.refusal()))

MAX_WAIT_SECONDS = 60  # for what takes far less

Established = Counter[Tuple[str, int, Optional[str]]]  # remote address, local port, interface
Listening = Counter[Tuple[int, Optional[str]]]  # port, interface; without a name, one for each address


class Seen(NamedTuple):
    established: Established
    tcp: Listening
    udp: Listening


def of_ss(tcp: List[str], udp: List[str], owners: Dict[str, Optional[str]], devices: bool) -> Seen:
    """Return what should be reported for lines of ss, as `ESTAB 0 0 [::ffff:192.0.2.10]:22 [::ffff:192.0.2.1]:5000`.

    devices: whether the device that a socket is bound to is known, as in `0.0.0.0%eth0:80`; the tables don't have it.
    """
    established: Established = collections.Counter()
    listening: Dict[str, Set[Tuple[int, Optional[str], str]]] = {"tcp": set(), "udp": set()}
    for line in tcp:
        state, _, _, local, peer = line.split()[:5]
        if state == "ESTAB":
            address, port = _split(local)
            remote, remote_port = _split(peer)
            written = "{}:{}".format(f"[{remote}]" if ":" in remote else remote, remote_port)
            established[written, port, _interface(address, owners)] += 1
        elif state == "LISTEN":
            listening["tcp"].add(_bound(local, owners, devices))
    for line in udp:
        state, _, _, local, _ = line.split()[:5]
        if state == "UNCONN":
            listening["udp"].add(_bound(local, owners, devices))
    tcp_ports, udp_ports = (
        collections.Counter((port, name) for port, name, _ in listening[kind]) for kind in ("tcp", "udp")
    )
    return Seen(established, tcp_ports, udp_ports)


def _split(endpoint: str) -> Tuple[str, int]:
    address, _, port = endpoint.rpartition(":")
    address = re.sub("%.*", "", address.replace("]", "")).lstrip("[")  # fe80::1%eth0, 0.0.0.0%eth0
    return address[len("::ffff:") :] if re.match(r"::ffff:[0-9.]+$", address) else address, int(port)


def _interface(address: str, owners: Dict[str, Optional[str]]) -> Optional[str]:
    return "lo" if address.startswith("127.") else owners.get(address)


def _bound(endpoint: str, owners: Dict[str, Optional[str]], devices: bool) -> Tuple[int, Optional[str], str]:
    """Return port, interface, and what makes it an entry of its own: the address if there is no name."""
    address, port = _split(endpoint)
    address = "::" if address == "*" else address  # a socket of both IP versions
    is_wildcard = address in ("0.0.0.0", "::")
    name = address if is_wildcard else _interface(address, owners)
    device = re.search(r"%([^]:]+)", endpoint)
    if device and devices and (is_wildcard or name is None):
        name = device.group(1)
    return port, name, "" if name else address


def of_report(report: Dict[str, Any]) -> Seen:
    metrics = report["metrics"]
    established = metrics["tcp_connections"]["established_connections"]
    seen = Seen(
        collections.Counter(
            (entry["remote_addr"], entry["local_port"], entry.get("local_interface"))
            for entry in established["connections"]
        ),
        *(
            collections.Counter((entry["port"], entry.get("interface")) for entry in metrics[name]["ports"])
            for name in ("listening_tcp_ports", "listening_udp_ports")
        ),
    )
    # All lists are shorter than the longest, so the totals are their lengths.
    assert established["total"] == sum(seen.established.values())
    assert metrics["listening_tcp_ports"]["total"] == sum(seen.tcp.values())
    assert metrics["listening_udp_ports"]["total"] == sum(seen.udp.values())
    return seen


def of_ip(lines: List[str]) -> Dict[str, Optional[str]]:
    """Return interfaces by address, from lines such as `2: eth0    inet 192.0.2.10/24 ...`; None for several."""
    owners: Dict[str, Optional[str]] = {}
    for line in lines:
        _, name, _, address = line.split()[:4]
        address = address.partition("/")[0]
        owners[address] = name if owners.get(address, name) == name else None
    return owners


@pytest.fixture(scope="module")
def machine() -> Any:
    """A host of its own with every kind of socket, as seen by ss, ip and the connector."""
    return support_namespace.play("sockets")


@needs_ss
@needs_namespace
def test_every_kind_of_socket_is_reported_as_ss_shows_it(machine: Any) -> None:
    """TCP and UDP, both IP versions, wildcard, mapped, shared ports, connected UDP, and every state."""
    states = {line.split()[0] for line in machine["tcp"]}
    assert states >= {"ESTAB", "LISTEN", "SYN-SENT", "SYN-RECV", "TIME-WAIT", "CLOSE-WAIT", "FIN-WAIT-2"}
    assert {line.split()[0] for line in machine["udp"]} == {"ESTAB", "UNCONN"}
    report, problems = (machine["with names from the kernel"][name] for name in ("report", "problems"))
    expected = of_ss(machine["tcp"], machine["udp"], of_ip(machine["addresses"]), devices=True)
    assert (of_report(report), problems) == (expected, {})
    assert sum(expected.established.values()) > 300
    check_report(report)


@needs_ss
@needs_namespace
def test_names_from_the_tables_are_those_of_the_kernel_or_missing(machine: Any) -> None:
    """Not proven: 192.0.2.10 and .11, as eth0 and eth1 are in the same network; 203.0.113.5, whose link has a peer."""
    owners = of_ip(machine["addresses"])
    assert [owners.pop(address) for address in ("192.0.2.10", "192.0.2.11", "203.0.113.5")] == ["eth0", "eth1", "eth2"]
    report, problems = (machine["with names from the tables"][name] for name in ("report", "problems"))
    assert (of_report(report), problems) == (of_ss(machine["tcp"], machine["udp"], owners, devices=False), {})


@needs_namespace
def test_the_tests_own_tables_are_like_the_kernels(machine: Any) -> None:
    """The headers and columns that support/proc.py writes for other tests are this kernel's."""
    state = {"tcp": 34, "tcp6": 82, "udp": 35, "udp6": 83}
    for name, lines in machine["tables"].items():
        nobody = proc.V6_NOBODY if name.endswith("6") else proc.V4_NOBODY
        own = proc.row(name, 7, nobody, nobody, "LISTEN").decode()
        assert lines[0] + "\n" == proc.HEADERS[name].decode()
        assert [len(line.split()) for line in lines[1:2]] == [len(own.split())]
        assert {line[state[name] - 1] + line[state[name] + 2] for line in lines[1:]} == {"  "}
        assert own[state[name] : state[name] + 2] == proc.STATES["LISTEN"]


Endpoint = Tuple[str, int]


def spelled(packed: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


@contextlib.contextmanager
def some_sockets() -> Iterator[Dict[str, Set[Endpoint]]]:
    """Open listeners, connections and UDP sockets on this machine's loopback; yield their endpoints."""
    bound: Dict[str, Set[Endpoint]] = {"tcp": set(), "udp": set()}
    with contextlib.ExitStack() as stack:

        def opened(kind: int, family: int, address: str, port: int = 0) -> socket.socket:
            made = stack.enter_context(socket.socket(family, kind))
            made.settimeout(MAX_WAIT_SECONDS)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            made.bind((address, 0))
            if port:
                made.connect((address, port))
            name, number = made.getsockname()[:2]
            bound["tcp" if kind == socket.SOCK_STREAM else "udp"].add((name.replace("::ffff:", ""), number))
            return made

        families = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET, "127.0.0.53")]
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
            families += [(socket.AF_INET6, "::1"), (socket.AF_INET6, "::"), (socket.AF_INET6, "::ffff:127.0.0.1")]
        for family, address in families:
            to = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
            server, waiting = opened(socket.SOCK_STREAM, family, address), opened(socket.SOCK_DGRAM, family, address)
            server.listen(4)
            opened(socket.SOCK_STREAM, family, to, server.getsockname()[1])
            opened(socket.SOCK_DGRAM, family, to, waiting.getsockname()[1])
        yield bound


@needs_ss
def test_own_sockets_on_this_machine_are_read_as_ss_shows_them() -> None:
    """While others open and close sockets.

    The kernel returns its table a page at a time. If thousands of sockets open and close in between, a few rows are
    doubled or missing for any reader, ss too, so sets are compared, and both read again until they agree.
    """
    end = time.monotonic() + MAX_WAIT_SECONDS
    with some_sockets() as bound:
        while True:
            found, expected = of_tables(bound), of_ss_in(bound)
            if found == expected or time.monotonic() > end:
                break
            time.sleep(0.1)
        assert found == expected
        assert [len(part) >= 3 for part in expected] == [True] * 3


Own = Tuple[Set[Tuple[str, int, str, int]], Set[Endpoint], Set[Endpoint]]  # established, listening TCP and UDP


def of_tables(bound: Dict[str, Set[Endpoint]]) -> Own:
    """The sockets of `bound` as connector/kernel/sockets.py reads them."""
    sample: Reservoir[bytes] = Reservoir(10**6, random.Random(1))
    tcp, udp = read_tcp("/proc/self/net", sample, spelled), read_udp("/proc/self/net", spelled)
    assert tcp.total == len(tcp.sample)
    rows = [(spelled(row.local), row.local_port, spelled(row.remote), row.remote_port) for row in tcp.sample]
    return (
        {row for row in rows if row[:2] in bound["tcp"]},
        {(str(name), port) for name, ports in tcp.listeners.items() for port in ports} & bound["tcp"],
        {(str(name), port) for name, ports in udp.items() for port in ports} & bound["udp"],
    )


def of_ss_in(bound: Dict[str, Set[Endpoint]]) -> Own:
    """The sockets of `bound` as ss shows them."""

    def shown(*command: str) -> Iterator[Tuple[str, Endpoint, Endpoint]]:
        for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
            state, _, _, local, peer = line.split()[:5]
            address, port = _split(local)
            yield state, ("::" if address == "*" else address, port), _split(peer.replace(":*", ":0"))

    tcp, udp = list(shown("ss", "-H", "-tan")), list(shown("ss", "-H", "-uan"))
    return (
        {(*local, *peer) for state, local, peer in tcp if state == "ESTAB" and local in bound["tcp"]},
        {local for state, local, _ in tcp if state == "LISTEN" and local in bound["tcp"]},
        {local for state, local, _ in udp if state == "UNCONN" and local in bound["udp"]},
    )
