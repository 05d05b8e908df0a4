"""A socket's row, decoded, and what is made of the rows: the same whether sock_diag.py or sockets.py reads them."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional

from .ports import PortSet

if TYPE_CHECKING:
    from .destinations import Destinations

MAPPED = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96, an IPv4 address of an IPv6 socket
_WILDCARDS = {bytes(4): "0.0.0.0", bytes(16): "::"}


class Socket(NamedTuple):
    """One row, decoded.

    local, remote: packed addresses, 4 or 16 bytes; an IPv4 address mapped into IPv6 has 4.
    local_port, remote_port: 0 to 65535.
    device: index of the interface it is bound to; 0 for none, and always 0 in the tables, which don't have it.
    """

    local: bytes
    local_port: int
    remote: bytes
    remote_port: int
    device: int = 0


# Ports by the interface or wildcard address that they are bound to, each once. None: those on addresses whose interface
# is unknown, each once per address.
Listeners = Mapping[Optional[str], PortSet]

InterfaceOf = Callable[[bytes], Optional[str]]  # packed address -> name of the interface that owns it


class Tcp:
    """What `tcp` and `tcp6` show.

    total: how many connections are established.
    sample: all of these, or a uniform sample.
    listeners: ports.
    destinations: that of every established connection, if asked for.
    """

    def __init__(
        self, total: int, sample: List[Socket], listeners: Listeners, destinations: Optional[Destinations]
    ) -> None:
        self.total, self.sample, self.listeners, self.destinations = total, sample, listeners, destinations


def add_listeners(rows: Iterable[Socket], interface_of: InterfaceOf, listeners: Dict[Optional[str], PortSet]) -> None:
    """Add the ports of listening sockets. Port 0 is none."""
    for row in rows:
        if not row.local_port:
            continue
        bound_to = _WILDCARDS.get(row.local) or interface_of(row.local)
        if row.device and (bound_to is None or row.local in _WILDCARDS):
            bound_to = _name(row.device) or bound_to
        ports = listeners.get(bound_to)
        if ports is None:
            ports = listeners[bound_to] = PortSet(0 if bound_to else 16)
        ports.add(row.local_port, b"" if bound_to else (MAPPED + row.local)[-16:])


def _name(device: int) -> Optional[str]:
    try:
        return socket.if_indextoname(device)
    except OSError:  # it went away in the meantime
        return None
