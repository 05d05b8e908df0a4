"""Every name that a report has on the wire, and its topic, for what writes reports and what reads them.

Source: AWS IoT Device Defender developer guide, "Device metrics document specification" and "Device-side metrics".
"""

from __future__ import annotations

import re


class Field:
    """A key of the report.

    long: used with MetricNames long, str
    short: used with MetricNames short, str
    """

    __slots__ = ("long", "short")

    def __init__(self, long: str, short: str) -> None:
        self.long, self.short = long, short


HEADER = Field("header", "hed")
REPORT_ID = Field("report_id", "rid")
VERSION = Field("version", "v")
METRICS = Field("metrics", "met")
CUSTOM_METRICS = Field("custom_metrics", "cmet")
TCP_CONNECTIONS = Field("tcp_connections", "tc")
ESTABLISHED_CONNECTIONS = Field("established_connections", "ec")
CONNECTIONS = Field("connections", "cs")
REMOTE_ADDR = Field("remote_addr", "rad")
LOCAL_PORT = Field("local_port", "lp")
LOCAL_INTERFACE = Field("local_interface", "li")
LISTENING_TCP_PORTS = Field("listening_tcp_ports", "tp")
LISTENING_UDP_PORTS = Field("listening_udp_ports", "up")
PORTS = Field("ports", "pts")
PORT = Field("port", "pt")
INTERFACE = Field("interface", "if")
TOTAL = Field("total", "t")
NETWORK_STATS = Field("network_stats", "ns")
BYTES_IN = Field("bytes_in", "bi")
BYTES_OUT = Field("bytes_out", "bo")
PACKETS_IN = Field("packets_in", "pi")
PACKETS_OUT = Field("packets_out", "po")

FIELDS = (
    HEADER,
    REPORT_ID,
    VERSION,
    METRICS,
    CUSTOM_METRICS,
    TCP_CONNECTIONS,
    ESTABLISHED_CONNECTIONS,
    CONNECTIONS,
    REMOTE_ADDR,
    LOCAL_PORT,
    LOCAL_INTERFACE,
    LISTENING_TCP_PORTS,
    LISTENING_UDP_PORTS,
    PORTS,
    PORT,
    INTERFACE,
    TOTAL,
    NETWORK_STATS,
    BYTES_IN,
    BYTES_OUT,
    PACKETS_IN,
    PACKETS_OUT,
)

SCHEMA_VERSION = "1.0"  # the value of VERSION

# Types of a custom metric. They have no short form.
NUMBER = "number"
NUMBER_LIST = "number_list"
STRING_LIST = "string_list"
IP_LIST = "ip_list"

# The custom metric that is a change between two reports; kernel/host.py has the names of those that one reading gives.
CPU_USAGE = "cpu_usage"

# Encodings, which are also the last level of the topic.
JSON = "json"
CBOR = "cbor"

# {thing} and {format} are filled in. The service answers on the two topics below the report's.
REPORT_TOPIC = "$aws/things/{thing}/defender/metrics/{format}"
ACCEPTED = "accepted"
REJECTED = "rejected"

# Of this project's own: where the events of alarms go that the connector itself raises.
VIOLATIONS_TOPIC = "device-defender/{thing}/violations"

VALID_THING_NAME = "1 to 128 of a-zA-Z0-9:_-"  # AWS IoT's rule for the names of things and of thing groups


def is_thing_name(text: str) -> bool:
    return re.fullmatch("[a-zA-Z0-9:_-]{1,128}", text) is not None
