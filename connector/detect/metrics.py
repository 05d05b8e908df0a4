"""Which operators and values go with which metric.

Source: AWS IoT Device Defender developer guide, "Device-side metrics", "Cloud-side metrics" and "Custom metrics".
"""

from __future__ import annotations

from typing import NamedTuple, Tuple

LESS = ("less-than", "less-than-equals")
COMPARISONS = LESS + ("greater-than", "greater-than-equals")
PORT_SET = ("in-port-set", "not-in-port-set")
CIDR_SET = ("in-cidr-set", "not-in-cidr-set")
SET = ("in-set", "not-in-set")

DURATIONS = (300, 600, 900, 1800, 3600)  # valid durationSeconds


class Metric(NamedTuple):
    """One row of the guide.

    operators: the comparison operators it takes
    kind: the member of `criteria.value` it is compared with: count, ports or cidrs; of a custom metric also number,
        numbers or strings
    reported: whether a device reports it; False where AWS IoT measures it itself
    timed: whether it is counted over durationSeconds, which must then be given
    ml: whether ML Detect can learn it
    """

    operators: Tuple[str, ...]
    kind: str
    reported: bool = True
    timed: bool = False
    ml: bool = False


_TRAFFIC = Metric(COMPARISONS, "count", timed=True, ml=True)
_TOTAL = Metric(COMPARISONS, "count", ml=True)
_CLOUD = Metric(COMPARISONS, "count", reported=False, timed=True, ml=True)

BYTES_IN = "aws:all-bytes-in"
BYTES_OUT = "aws:all-bytes-out"
PACKETS_IN = "aws:all-packets-in"
PACKETS_OUT = "aws:all-packets-out"
TCP_PORTS_TOTAL = "aws:num-listening-tcp-ports"
UDP_PORTS_TOTAL = "aws:num-listening-udp-ports"
CONNECTIONS_TOTAL = "aws:num-established-tcp-connections"
TCP_PORTS = "aws:listening-tcp-ports"
UDP_PORTS = "aws:listening-udp-ports"
DESTINATIONS = "aws:destination-ip-addresses"

METRICS = {
    BYTES_OUT: _TRAFFIC,
    BYTES_IN: _TRAFFIC,
    PACKETS_OUT: _TRAFFIC,
    PACKETS_IN: _TRAFFIC,
    TCP_PORTS_TOTAL: _TOTAL,
    UDP_PORTS_TOTAL: _TOTAL,
    CONNECTIONS_TOTAL: _TOTAL,
    TCP_PORTS: Metric(PORT_SET, "ports"),
    UDP_PORTS: Metric(PORT_SET, "ports"),
    DESTINATIONS: Metric(CIDR_SET, "cidrs"),
    "aws:message-byte-size": Metric(COMPARISONS, "count", reported=False, ml=True),
    "aws:num-messages-sent": _CLOUD,
    "aws:num-messages-received": _CLOUD,
    "aws:num-authorization-failures": _CLOUD,
    "aws:num-connection-attempts": _CLOUD,
    "aws:num-disconnects": _CLOUD,
    "aws:disconnect-duration": Metric(LESS, "count", reported=False),
    "aws:source-ip-address": Metric(CIDR_SET, "cidrs", reported=False),
}

# A custom metric has no row of its own: the member of `criteria.value` shows its type.
CUSTOM = {
    "number": Metric(COMPARISONS, "number", ml=True),
    "numbers": Metric(SET, "numbers"),
    "strings": Metric(SET, "strings"),
    "cidrs": Metric(CIDR_SET, "cidrs"),
}


def is_timed(metric: str) -> bool:
    """Return whether a metric's values are summed over durationSeconds."""
    return metric in METRICS and METRICS[metric].timed
