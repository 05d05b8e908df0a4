"""What a behavior may measure and how it is compared (developer guide, "Device-side metrics", "Cloud-side metrics").

The service model of botocore knows the shapes of a profile but not which operator and value go with which metric; that
stands here.
"""

from __future__ import annotations

from dataclasses import dataclass

LESS = ("less-than", "less-than-equals")
COMPARISONS = LESS + ("greater-than", "greater-than-equals")
PORT_SET = ("in-port-set", "not-in-port-set")
CIDR_SET = ("in-cidr-set", "not-in-cidr-set")
SET = ("in-set", "not-in-set")

DURATIONS = (300, 600, 900, 1800, 3600)
"""The values of durationSeconds, in seconds."""


@dataclass(frozen=True)
class Metric:
    """One row of the guide."""

    operators: tuple[str, ...]
    kind: str
    """The member of `criteria.value` it is compared with: count, ports, cidrs."""
    reported: bool = True
    """A device reports it; False where AWS IoT measures it, so that no report carries it."""
    timed: bool = False
    """It is counted over durationSeconds, which must then be given."""
    ml: bool = False
    """ML Detect can learn it."""


_TRAFFIC = Metric(COMPARISONS, "count", timed=True, ml=True)
_TOTAL = Metric(COMPARISONS, "count", ml=True)
_EVENTS = Metric(COMPARISONS, "count", reported=False, timed=True, ml=True)

METRICS = {
    "aws:all-bytes-out": _TRAFFIC,
    "aws:all-bytes-in": _TRAFFIC,
    "aws:all-packets-out": _TRAFFIC,
    "aws:all-packets-in": _TRAFFIC,
    "aws:num-listening-tcp-ports": _TOTAL,
    "aws:num-listening-udp-ports": _TOTAL,
    "aws:num-established-tcp-connections": _TOTAL,
    "aws:listening-tcp-ports": Metric(PORT_SET, "ports"),
    "aws:listening-udp-ports": Metric(PORT_SET, "ports"),
    "aws:destination-ip-addresses": Metric(CIDR_SET, "cidrs"),
    "aws:message-byte-size": Metric(COMPARISONS, "count", reported=False, ml=True),
    "aws:num-messages-sent": _EVENTS,
    "aws:num-messages-received": _EVENTS,
    "aws:num-authorization-failures": _EVENTS,
    "aws:num-connection-attempts": _EVENTS,
    "aws:num-disconnects": _EVENTS,
    "aws:disconnect-duration": Metric(LESS, "count", reported=False),
    "aws:source-ip-address": Metric(CIDR_SET, "cidrs", reported=False),
}

CUSTOM = {
    "number": Metric(COMPARISONS, "number", ml=True),
    "numbers": Metric(SET, "numbers"),
    "strings": Metric(SET, "strings"),
    "cidrs": Metric(CIDR_SET, "cidrs"),
}
"""A custom metric by the member of `criteria.value` it is compared with; its type in a report decides which."""
