"""The second room: one picture of the host's network, made of what the kernel's tables say at one moment."""

from __future__ import annotations

import random
from typing import Callable, Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Sequence, TypeVar

from .errors import TableError
from .kernel.addresses import owner, read_owners
from .kernel.dev import Counters
from .kernel.host import CpuTimes, read_host
from .kernel.interfaces import read_interfaces
from .kernel.proc import locate
from .kernel.sample import Reservoir
from .kernel.sockets import Established, Listeners, read_tcp, read_udp

T = TypeVar("T")

NETWORK = "network tables"  # the problem that leaves nothing else of the network to be looked at


class Connection(NamedTuple):
    """An established TCP connection; addresses packed, 4 or 16 bytes; the interface None where it is unknown."""

    remote: bytes
    remote_port: int
    local_port: int
    interface: Optional[str]


class Port(NamedTuple):
    """A listening port and the interface, or wildcard address, it is bound to."""

    port: int
    interface: Optional[str]


class Connections(NamedTuple):
    """How many there are, exactly, and all of them or a uniform sample."""

    total: int
    items: List[Connection]


class Ports(NamedTuple):
    """How many there are, exactly, and all of them or a uniform sample."""

    total: int
    items: List[Port]


class Snapshot(NamedTuple):
    """What was read; None stands for what could not be read, which is not the same as empty.

    scope: the network that the counters are of; those of another one can't be compared with them.
    excluded: the patterns of interfaces that are not among them, separated by commas.
    counters, edge, indexes, last_index: as in kernel/interfaces.py.
    custom: custom metrics by name, units as in kernel/host.py. cpu: for `cpu_usage`, if wanted.
    problems: what could not be read -> a sentence for the log.
    """

    scope: str = ""
    excluded: str = ""
    established: Optional[Connections] = None
    listening_tcp: Optional[Ports] = None
    listening_udp: Optional[Ports] = None
    counters: Optional[Dict[str, Counters]] = None
    edge: FrozenSet[str] = frozenset()
    indexes: Mapping[str, int] = {}
    last_index: int = 0
    custom: Mapping[str, float] = {}
    cpu: Optional[CpuTimes] = None
    problems: Mapping[str, str] = {}


class Wanted(NamedTuple):
    """What to look at.

    proc: the mount point of the host's proc. max_list_size: the longest list in a report.
    exclude_interfaces: shell patterns of interfaces that are not at the edge.
    custom_metrics: names as in kernel/host.py.
    """

    proc: str
    max_list_size: int
    exclude_interfaces: Sequence[str]
    custom_metrics: Sequence[str]


def take(wanted: Wanted, rng: random.Random, own: str = "/proc") -> Snapshot:
    """Read everything once. A table's fault costs what comes from that table and is named in `problems`.

    own: the reader's own proc, to see whether it shares the host's network.
    """
    problems: Dict[str, str] = {}

    def attempt(name: str, loss: str, step: Callable[[], T]) -> Optional[T]:
        try:
            return step()
        except TableError as error:
            problems[name] = f"{loss}: {error}"
            return None

    host = read_host(wanted.proc, wanted.custom_metrics)
    for name, reason in host.missing.items():
        problems["custom metric " + name] = f"left out of the reports: {reason}"
    nothing = Snapshot(custom=host.values, cpu=host.cpu, problems=problems)

    proc = attempt(NETWORK, "nothing of the network can be read", lambda: locate(wanted.proc, own))
    if proc is None:
        return nothing
    net = proc.net
    if not proc.host:
        problems["host's network"] = (
            f"{wanted.proc}/1/net can't be read (is proc mounted with hidepid?): reports show the network of this "
            "function, which is the host's only where they share it"
        )

    owners = attempt("interface names", "sockets are reported without them", lambda: read_owners(proc)) or {}

    def interface_of(address: bytes) -> Optional[str]:
        return owner(owners, address)

    sample: Reservoir[bytes] = Reservoir(wanted.max_list_size, rng)
    tcp = attempt("TCP sockets", "left out of the reports", lambda: read_tcp(net, sample, interface_of))
    udp = attempt("UDP sockets", "left out of the reports", lambda: read_udp(net, interface_of))
    exclude = tuple(wanted.exclude_interfaces)
    interfaces = attempt("network_stats", "left out of the reports", lambda: read_interfaces(proc, exclude))
    return nothing._replace(
        scope=net,
        excluded=",".join(exclude),
        established=tcp and _connections(tcp.established, interface_of),
        listening_tcp=tcp and _ports(tcp.listeners, wanted.max_list_size, rng),
        listening_udp=None if udp is None else _ports(udp, wanted.max_list_size, rng),
        counters=interfaces and interfaces.counters,
        edge=interfaces.edge if interfaces else frozenset(),
        indexes=interfaces.indexes if interfaces else {},
        last_index=interfaces.last_index if interfaces else 0,
    )


def _connections(established: Established, interface_of: Callable[[bytes], Optional[str]]) -> Connections:
    return Connections(
        established.total,
        [
            Connection(row.remote, row.remote_port, row.local_port, interface_of(row.local))
            for row in established.sample
        ],
    )


def _ports(listeners: Listeners, size: int, rng: random.Random) -> Ports:
    """Each (interface, port) once; drawn by number, so that no list of thousands is made for the fifty that stay."""
    total = sum(map(len, listeners.values()))
    chosen = set(rng.sample(range(total), size)) if total > size else range(total)
    pairs = ((port, interface) for interface, ports in listeners.items() for port in ports)
    items = [Port(*pair) for number, pair in enumerate(pairs) if number in chosen]
    return Ports(total, sorted(items, key=lambda port: (port.port, port.interface or "")))
