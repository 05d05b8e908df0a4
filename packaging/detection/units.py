"""The units of metrics, for the axes of pictures and of the page."""

from __future__ import annotations

from connector.detect import metrics
from connector.detect.metrics import is_timed

_UNITS = {
    metrics.BYTES_IN: "bytes",
    metrics.BYTES_OUT: "bytes",
    metrics.PACKETS_IN: "packets",
    metrics.PACKETS_OUT: "packets",
    metrics.TCP_PORTS_TOTAL: "ports",
    metrics.UDP_PORTS_TOTAL: "ports",
    metrics.CONNECTIONS_TOTAL: "connections",
    metrics.TCP_PORTS: "TCP ports",
    metrics.UDP_PORTS: "UDP ports",
    metrics.DESTINATIONS: "destinations",
    # The connector's custom metrics; those of a user's own have no unit that is known here.
    "cpu_usage": "%",
    "memory_usage": "%",
    "process_count": "processes",
    "load_average_1m": "load average",
    "uptime_seconds": "s",
}

LISTS = ("ports", "cidrs", "numbers", "strings")  # kinds of values that are lists
WHOLE = ("process_count", "uptime_seconds")  # numbers of the connector that are always whole; counts are anyway

_EMPTY = {
    metrics.TCP_PORTS: "nothing listened",
    metrics.UDP_PORTS: "nothing listened",
    metrics.DESTINATIONS: "no connections",
}


def unit(metric: str, duration_seconds: int | None = None) -> str:
    """Return the unit of a metric, such as "bytes in 300 s", or the metric's name where none is known."""
    name = _UNITS.get(metric, metric)
    return f"{name} in {duration_seconds} s" if duration_seconds and is_timed(metric) else name


def is_whole(metric: str, kind: str | None) -> bool:
    """Return whether the values of a metric are whole numbers."""
    return kind == "count" or metric in WHOLE


def empty(metric: str) -> str:
    """Return what to say of a metric whose lists were all empty."""
    return _EMPTY.get(metric, "the lists were empty")
