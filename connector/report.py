"""The third room: a snapshot as a metrics report (AWS IoT Developer Guide, "Device metrics document specification")."""

from __future__ import annotations

import socket
from typing import Any, Callable, Dict, List, Optional

from .kernel.dev import Counters
from .kernel.host import CpuTimes
from .snapshot import Connections, Ports, Snapshot

# Long name -> short name. No other file spells either.
SHORT_NAMES = {
    "header": "hed",
    "report_id": "rid",
    "version": "v",
    "metrics": "met",
    "custom_metrics": "cmet",
    "tcp_connections": "tc",
    "established_connections": "ec",
    "connections": "cs",
    "remote_addr": "rad",
    "local_port": "lp",
    "local_interface": "li",
    "listening_tcp_ports": "tp",
    "listening_udp_ports": "up",
    "ports": "pts",
    "port": "pt",
    "interface": "if",
    "total": "t",
    "network_stats": "ns",
    "bytes_in": "bi",
    "bytes_out": "bo",
    "packets_in": "pi",
    "packets_out": "po",
}

Report = Dict[str, Any]


def build(
    snapshot: Snapshot,
    report_id: int,
    network_stats: Optional[Counters] = None,
    cpu_before: Optional[CpuTimes] = None,
    short_names: bool = False,
) -> Optional[Report]:
    """Return the report of a snapshot, plain dicts and lists, or None where it would say nothing.

    What could not be read (None in the snapshot) is left out; what is empty is sent empty, so that an alarm can clear.

    report_id: positive, greater than that of every report before.
    network_stats: the traffic since the last report; None in the first one and where counters can't be read.
    cpu_before: processor times at the last report, for `cpu_usage`.
    """
    n: Callable[[str], str] = (lambda name: SHORT_NAMES[name]) if short_names else (lambda name: name)

    metrics: Dict[str, Any] = {}
    if snapshot.established is not None:
        metrics[n("tcp_connections")] = {n("established_connections"): _connections(snapshot.established, n)}
    if snapshot.listening_tcp is not None:
        metrics[n("listening_tcp_ports")] = _ports(snapshot.listening_tcp, n)
    if snapshot.listening_udp is not None:
        metrics[n("listening_udp_ports")] = _ports(snapshot.listening_udp, n)
    if network_stats is not None:
        metrics[n("network_stats")] = {n(name): number for name, number in network_stats._asdict().items()}

    numbers: Dict[str, float] = dict(snapshot.custom)
    cpu_usage = _cpu_usage(cpu_before, snapshot.cpu)
    if cpu_usage is not None:
        numbers["cpu_usage"] = cpu_usage

    report: Report = {n("header"): {n("report_id"): report_id, n("version"): "1.0"}}
    if metrics:
        report[n("metrics")] = metrics
    if numbers:
        # The type key stays long in both styles, and the list is required, even of one.
        report[n("custom_metrics")] = {name: [{"number": number}] for name, number in numbers.items()}
    return report if len(report) > 1 else None


def _connections(connections: Connections, n: Callable[[str], str]) -> Dict[str, Any]:
    entries: List[Dict[str, Any]] = []
    for connection in connections.items:
        entry = {
            n("remote_addr"): _endpoint(connection.remote, connection.remote_port),
            n("local_port"): connection.local_port,
        }
        if connection.interface is not None:
            entry[n("local_interface")] = plain_name(connection.interface)
        entries.append(entry)
    return {n("connections"): entries, n("total"): connections.total}


def _ports(ports: Ports, n: Callable[[str], str]) -> Dict[str, Any]:
    # Names that differ only in what plain_name() replaces are one entry; ports without a name have different addresses.
    entries: List[Dict[str, Any]] = []
    shown = set()
    for port, interface in ports.items:
        entry: Dict[str, Any] = {n("port"): port}
        if interface is not None:
            entry[n("interface")] = plain_name(interface)
            if (port, entry[n("interface")]) in shown:
                continue
            shown.add((port, entry[n("interface")]))
        entries.append(entry)
    return {n("ports"): entries, n("total"): ports.total}


def _endpoint(address: bytes, port: int) -> str:
    """Return "ip:port"; IPv6 as "[ip]:port"."""
    if len(address) == 4:
        return f"{socket.inet_ntop(socket.AF_INET, address)}:{port}"
    return f"[{socket.inet_ntop(socket.AF_INET6, address)}]:{port}"


def plain_name(interface: str) -> str:
    """Return a name that costs one byte a character in any encoding, which bounds the report's size."""
    return "".join(character if "!" <= character <= "~" and character not in '"\\' else "?" for character in interface)


def _cpu_usage(before: Optional[CpuTimes], now: Optional[CpuTimes]) -> Optional[float]:
    """Return the percentage of processor time at work between two readings, to a tenth."""
    if before is None or now is None or now.total <= before.total:
        return None
    usage = 100.0 * (now.busy - before.busy) / (now.total - before.total)
    return round(min(100.0, max(0.0, usage)), 1)
