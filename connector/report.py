"""Makes a metrics report of a snapshot.

Source: AWS IoT developer guide, "Device metrics document specification".
"""

from __future__ import annotations

import operator
import socket
from typing import Any, Callable, Dict, List, Optional

from . import names
from .kernel.dev import Counters
from .kernel.host import CpuTimes
from .snapshot import Connections, Ports, Snapshot

Report = Dict[str, Any]
Name = Callable[[names.Field], str]  # picks the long or the short name


def build(
    snapshot: Snapshot,
    report_id: int,
    network_stats: Optional[Counters] = None,
    cpu_before: Optional[CpuTimes] = None,
    short_names: bool = False,
) -> Optional[Report]:
    """Return the report of a snapshot as plain dicts and lists, or None if there is nothing to report.

    What could not be read (None in the snapshot) is left out; an empty list is sent empty, so that an alarm can clear.

    report_id: greater than that of every earlier report, and than 0
    network_stats: traffic since the last report; None in the first report and where counters can't be read
    cpu_before: processor times at the last report, for `cpu_usage`
    """
    n: Name = operator.attrgetter("short" if short_names else "long")

    metrics: Dict[str, Any] = {}
    if snapshot.established is not None:
        metrics[n(names.TCP_CONNECTIONS)] = {
            n(names.ESTABLISHED_CONNECTIONS): _connections(snapshot.established, n),
        }
    if snapshot.listening_tcp is not None:
        metrics[n(names.LISTENING_TCP_PORTS)] = _ports(snapshot.listening_tcp, n)
    if snapshot.listening_udp is not None:
        metrics[n(names.LISTENING_UDP_PORTS)] = _ports(snapshot.listening_udp, n)
    if network_stats is not None:
        metrics[n(names.NETWORK_STATS)] = {
            n(names.BYTES_IN): network_stats.bytes_in,
            n(names.BYTES_OUT): network_stats.bytes_out,
            n(names.PACKETS_IN): network_stats.packets_in,
            n(names.PACKETS_OUT): network_stats.packets_out,
        }

    numbers: Dict[str, float] = dict(snapshot.custom)
    cpu = cpu_usage(cpu_before, snapshot.cpu)
    if cpu is not None:
        numbers[names.CPU_USAGE] = cpu

    report: Report = {n(names.HEADER): {n(names.REPORT_ID): report_id, n(names.VERSION): names.SCHEMA_VERSION}}
    if metrics:
        report[n(names.METRICS)] = metrics
    if numbers:
        # The service requires a list, even of one value.
        report[n(names.CUSTOM_METRICS)] = {name: [{names.NUMBER: number}] for name, number in numbers.items()}
    return report if len(report) > 1 else None


def _connections(connections: Connections, n: Name) -> Dict[str, Any]:
    entries: List[Dict[str, Any]] = []
    for connection in connections.items:
        entry = {
            n(names.REMOTE_ADDR): _endpoint(connection.remote, connection.remote_port),
            n(names.LOCAL_PORT): connection.local_port,
        }
        if connection.interface is not None:
            entry[n(names.LOCAL_INTERFACE)] = plain_name(connection.interface)
        entries.append(entry)
    return {n(names.CONNECTIONS): entries, n(names.TOTAL): connections.total}


def _ports(ports: Ports, n: Name) -> Dict[str, Any]:
    # The service accepts an interface and port only once: names that plain_name() makes equal become one entry. Ports
    # without a name are at different addresses.
    entries: List[Dict[str, Any]] = []
    shown = set()
    for port, interface in ports.items:
        entry: Dict[str, Any] = {n(names.PORT): port}
        if interface is not None:
            entry[n(names.INTERFACE)] = plain_name(interface)
            if (port, entry[n(names.INTERFACE)]) in shown:
                continue
            shown.add((port, entry[n(names.INTERFACE)]))
        entries.append(entry)
    return {n(names.PORTS): entries, n(names.TOTAL): ports.total}


def _endpoint(address: bytes, port: int) -> str:
    """Return "ip:port", for IPv6 "[ip]:port"."""
    if len(address) == 4:
        return f"{socket.inet_ntop(socket.AF_INET, address)}:{port}"
    return f"[{socket.inet_ntop(socket.AF_INET6, address)}]:{port}"


def plain_name(interface: str) -> str:
    """Return an interface's name with `?` for what JSON would escape, so that each character is one byte.

    That bounds the report's size; a kernel name may hold any byte but NUL, `/` and whitespace.
    """
    return "".join(character if "!" <= character <= "~" and character not in '"\\' else "?" for character in interface)


def cpu_usage(before: Optional[CpuTimes], now: Optional[CpuTimes]) -> Optional[float]:
    """Return how much of the processor time between two readings was spent at work: percent, to a tenth."""
    if before is None or now is None or now.total <= before.total:
        return None
    usage = 100.0 * (now.busy - before.busy) / (now.total - before.total)
    return round(min(100.0, max(0.0, usage)), 1)
