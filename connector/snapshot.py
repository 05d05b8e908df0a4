"""A snapshot: what the kernel's tables show of the host at one moment, with interface names and bounded lists."""

from __future__ import annotations

import random
from typing import (
    TYPE_CHECKING,
    AbstractSet,
    Any,
    Callable,
    Collection,
    Dict,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    TypeVar,
)

from .errors import TableError
from .kernel import sock_diag
from .kernel.addresses import Owners, owner, read_ipv4_owners, read_ipv6_owners
from .kernel.dev import Counters
from .kernel.host import CpuTimes, read_host
from .kernel.interfaces import read_interfaces
from .kernel.netlink import NetlinkUnavailable
from .kernel.ports import AllPorts
from .kernel.proc import Proc, locate
from .kernel.sample import Reservoir
from .kernel.socket_rows import Listeners, Tcp

if TYPE_CHECKING:
    from .kernel.destinations import Destinations

T = TypeVar("T")

NETWORK = "network tables"  # the problem that nothing of the network can be read


class Connection(NamedTuple):
    """An established TCP connection.

    remote: its packed address, 4 or 16 bytes.
    remote_port, local_port: port numbers.
    interface: the name of the interface that has the local address; None if it is unknown.
    """

    remote: bytes
    remote_port: int
    local_port: int
    interface: Optional[str]


class Port(NamedTuple):
    """A listening port.

    port: its number.
    interface: the name of the interface that has its address, or the wildcard address; None if it is unknown. There is
        one Port for each address of an unknown interface.
    """

    port: int
    interface: Optional[str]


class Connections(NamedTuple):
    """Established TCP connections.

    total: exactly how many there are.
    items: all of them, or a uniform sample.
    """

    total: int
    items: List[Connection]


class Ports(NamedTuple):
    """Listening ports of one protocol.

    total: exactly how many there are.
    items: all of them, or a uniform sample.
    """

    total: int
    items: List[Port]


class Snapshot(NamedTuple):
    """What was read. None means that it could not be read, which is not the same as empty.

    scope: the network that the counters are of; those of another one can't be compared with them.
    excluded: the patterns of interfaces that are not among them, separated by commas.
    counters, edge, indexes, last_index: as in kernel/edge.py.
    host_network: whether the network is that of process 1, the host's.
    custom: custom metrics by name, units as in kernel/host.py.
    cpu: processor times for `cpu_usage`, if wanted.
    problems: what could not be read -> a sentence for the log.
    sources: in a shared network, "TCP sockets" and "UDP sockets" -> where they were read, for the log.
    all_tcp_ports, all_udp_ports: every listening port, if wanted; one on several interfaces may be there several times.
    destinations: the remote address of every established TCP connection, if wanted.
    """

    scope: str = ""
    excluded: str = ""
    established: Optional[Connections] = None
    listening_tcp: Optional[Ports] = None
    listening_udp: Optional[Ports] = None
    counters: Optional[Dict[str, Counters]] = None
    edge: AbstractSet[str] = frozenset()
    indexes: Mapping[str, int] = {}
    last_index: int = 0
    host_network: bool = False
    custom: Mapping[str, float] = {}
    cpu: Optional[CpuTimes] = None
    problems: Mapping[str, str] = {}
    sources: Mapping[str, str] = {}
    all_tcp_ports: Optional[Collection[int]] = None
    all_udp_ports: Optional[Collection[int]] = None
    destinations: Optional[Collection[bytes]] = None


class Wanted(NamedTuple):
    """What to read.

    proc: the mount point of the host's proc.
    max_list_size: the most connections, or ports of a protocol, in a snapshot.
    exclude_interfaces: shell patterns of the interfaces whose traffic is not counted.
    custom_metrics: names as in kernel/host.py.
    all_ports, all_destinations: whether a snapshot has every one of them besides the bounded lists.
    """

    proc: str
    max_list_size: int
    exclude_interfaces: Sequence[str]
    custom_metrics: Sequence[str]
    all_ports: bool = False
    all_destinations: bool = False


class Source:
    """Takes snapshots. Once one has shown the host's network, none shows this process' own network in its place.

    wanted, rng, own: as for `take`.
    """

    def __init__(self, wanted: Wanted, rng: random.Random, own: str = "/proc") -> None:
        self._wanted = wanted
        self._rng = rng
        self._own = own
        self._host_seen = False

    def take(self) -> Snapshot:
        """Return a snapshot of this moment."""
        snapshot = take(self._wanted, self._rng, self._own, self._host_seen)
        self._host_seen = self._host_seen or snapshot.host_network
        return snapshot


def take(wanted: Wanted, rng: random.Random, own: str = "/proc", host_seen: bool = False) -> Snapshot:
    """Read everything once. If a table can't be read, only what comes from it is missing, and `problems` says why.

    rng: draws the samples.
    own: the reader's own proc, to find out whether it shares the host's network.
    host_seen: whether an earlier snapshot showed the host's network; then the reader's own is never read in its place.
    """
    problems: Dict[str, str] = {}

    def attempt(name: str, loss: str, step: Callable[[], T]) -> Optional[T]:
        try:
            return step()
        except TableError as error:
            problems[name] = f"{loss}: {error}"
            return None

    host = read_host(wanted.proc, wanted.custom_metrics)
    for names, reason in host.missing.items():
        kind = "custom metrics" if "," in names else "custom metric"
        problems[f"{kind} {names}"] = f"left out of the reports: {reason}"
    nothing = Snapshot(custom=host.values, cpu=host.cpu, problems=problems)

    proc = attempt(NETWORK, "nothing of the network can be read", lambda: locate(wanted.proc, own, host_seen))
    if proc is None:
        return nothing
    net = proc.net
    if not proc.host:
        problems["host's network"] = (
            f"{wanted.proc}/1/net can't be read (is proc mounted with hidepid?): reports show the network of this "
            "function, which is the host's only where they share it"
        )

    nameless = "sockets are reported without them"
    owners: Owners = attempt("IPv4 interface names", nameless, lambda: read_ipv4_owners(proc)) or {}
    owners.update(attempt("IPv6 interface names", nameless, lambda: read_ipv6_owners(proc)) or {})
    sources: Dict[str, str] = {}
    tcp = attempt("TCP sockets", "left out of the reports", lambda: _read_tcp(proc, wanted, rng, owners, sources))
    udp = attempt("UDP sockets", "left out of the reports", lambda: _read_udp(proc, wanted, rng, owners, sources))
    owners.clear()  # memory for the counters
    exclude = tuple(wanted.exclude_interfaces)
    interfaces = attempt("network_stats", "left out of the reports", lambda: read_interfaces(proc, exclude))
    return nothing._replace(
        scope=net,
        excluded=",".join(exclude),
        sources=sources,
        counters=None if interfaces is None else interfaces.counters,
        edge=frozenset() if interfaces is None else interfaces.edge,
        indexes={} if interfaces is None else interfaces.indexes,
        last_index=0 if interfaces is None else interfaces.last_index,
        host_network=proc.host,
        **tcp or {},
        **udp or {},
    )


def _read_tcp(
    proc: Proc, wanted: Wanted, rng: random.Random, owners: Owners, sources: Dict[str, str]
) -> Dict[str, Any]:
    """Read established connections and listening ports, fields of Snapshot. Raises TableError."""
    size = wanted.max_list_size

    def interface_of(address: bytes) -> Optional[str]:
        return owner(owners, address)

    def destinations() -> Optional[Destinations]:
        if not wanted.all_destinations:
            return None
        from .kernel.destinations import Destinations  # only here, as only rules about destinations need it

        return Destinations()

    def from_tables() -> Tcp:
        from .kernel.sockets import read_tcp  # only here, so that it is not loaded where the kernel answers

        return read_tcp(proc.net, Reservoir(size, rng), interface_of, destinations())

    found = _from_kernel_or_tables(
        proc,
        lambda: sock_diag.read_tcp(Reservoir(size, rng), interface_of, destinations=destinations()),
        from_tables,
        "TCP sockets",
        sources,
    )
    connections = [
        Connection(row.remote, row.remote_port, row.local_port, interface_of(row.local)) for row in found.sample
    ]
    return {
        "established": Connections(found.total, connections),
        "listening_tcp": _ports(found.listeners, size, rng),
        "all_tcp_ports": AllPorts(found.listeners.values()) if wanted.all_ports else None,
        "destinations": found.destinations,
    }


def _read_udp(
    proc: Proc, wanted: Wanted, rng: random.Random, owners: Owners, sources: Dict[str, str]
) -> Dict[str, Any]:
    """Read listening ports, fields of Snapshot. Raises TableError."""

    def interface_of(address: bytes) -> Optional[str]:
        return owner(owners, address)

    def from_tables() -> Listeners:
        from .kernel.sockets import read_udp

        return read_udp(proc.net, interface_of)

    listeners = _from_kernel_or_tables(
        proc, lambda: sock_diag.read_udp(interface_of), from_tables, "UDP sockets", sources
    )
    return {
        "listening_udp": _ports(listeners, wanted.max_list_size, rng),
        "all_udp_ports": AllPorts(listeners.values()) if wanted.all_ports else None,
    }


def _from_kernel_or_tables(
    proc: Proc, kernel: Callable[[], T], tables: Callable[[], T], name: str, sources: Dict[str, str]
) -> T:
    """Return what was read: in a shared network from the kernel, or from the tables if that fails; tell `sources`."""
    if not proc.shared:
        return tables()
    try:
        found = kernel()
    except NetlinkUnavailable as error:
        found = tables()
        sources[name] = f"the tables ({error})"
    else:
        sources[name] = "sock_diag"
    return found


def _ports(listeners: Listeners, size: int, rng: random.Random) -> Ports:
    """Draw the ports by their number in the sequence, so that no list of all of them is made."""
    total = sum(map(len, listeners.values()))
    chosen = set(rng.sample(range(total), size)) if total > size else range(total)
    pairs = ((port, interface) for interface, ports in listeners.items() for port in ports)
    items = [Port(*pair) for number, pair in enumerate(pairs) if number in chosen]
    return Ports(total, sorted(items, key=lambda port: (port.port, port.interface or "")))
