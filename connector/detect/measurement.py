"""The input of the engine: the reading of each metric at one moment."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Mapping, NamedTuple, Optional, Union

from .metrics import (
    BYTES_IN,
    BYTES_OUT,
    CONNECTIONS_TOTAL,
    DESTINATIONS,
    PACKETS_IN,
    PACKETS_OUT,
    TCP_PORTS,
    TCP_PORTS_TOTAL,
    UDP_PORTS,
    UDP_PORTS_TOTAL,
)

Number = Union[int, float]


class Reading(NamedTuple):
    """The value of one metric.

    kind: the member of `criteria.value` it can be compared with: count, number, ports, cidrs, numbers or strings
    value: a number, or a collection of ports, packed addresses, numbers or strings; iterated more than once
    unlisted: how many more elements there were, where the value is a sample
    """

    kind: str
    value: Any
    unlisted: int = 0


# By metric. A metric that could not be read is missing; one that was read and is empty is not. A reading of which
# nothing could be read is no measurement: there is no report of it either.
Measurement = Mapping[str, Reading]


def measure(
    tcp_ports_total: Optional[int] = None,
    udp_ports_total: Optional[int] = None,
    connections_total: Optional[int] = None,
    tcp_ports: Optional[Iterable[int]] = None,
    udp_ports: Optional[Iterable[int]] = None,
    destinations: Optional[Iterable[bytes]] = None,
    bytes_in: Optional[int] = None,
    bytes_out: Optional[int] = None,
    packets_in: Optional[int] = None,
    packets_out: Optional[int] = None,
    custom: Optional[Mapping[str, Number]] = None,
) -> Dict[str, Reading]:
    """Return the measurement of what was read from the tables; None: it could not be read, or is not needed.

    Collections are complete, not a sample, and can be iterated more than once. destinations: the packed remote address
    of every established TCP connection. bytes and packets: what passed since the last measurement that had them.
    """
    counts = {
        TCP_PORTS_TOTAL: tcp_ports_total,
        UDP_PORTS_TOTAL: udp_ports_total,
        CONNECTIONS_TOTAL: connections_total,
        BYTES_IN: bytes_in,
        BYTES_OUT: bytes_out,
        PACKETS_IN: packets_in,
        PACKETS_OUT: packets_out,
    }
    readings = {metric: Reading("count", count) for metric, count in counts.items() if count is not None}
    if tcp_ports is not None:
        readings[TCP_PORTS] = Reading("ports", tcp_ports)
    if udp_ports is not None:
        readings[UDP_PORTS] = Reading("ports", udp_ports)
    if destinations is not None:
        readings[DESTINATIONS] = Reading("cidrs", destinations)
    for name, number in (custom or {}).items():
        readings[name] = Reading("number", number)
    return readings
