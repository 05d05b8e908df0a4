"""One recorded report: a JSON document in long or short names, and the readings in it.

Source of the shapes: developer guide, "Device metrics document specification".
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from connector import names
from connector.detect import metrics
from connector.detect.measurement import Measurement, Reading
from connector.detect.profile import MAX_COUNT

LONG_NAMES = {field.short: field.long for field in names.FIELDS}

TRAFFIC = {
    names.BYTES_IN.long: metrics.BYTES_IN,
    names.BYTES_OUT.long: metrics.BYTES_OUT,
    names.PACKETS_IN.long: metrics.PACKETS_IN,
    names.PACKETS_OUT.long: metrics.PACKETS_OUT,
}

# Type of a custom metric in a report -> the member of `criteria.value` it is compared with.
CUSTOM_KINDS = {
    names.NUMBER: "number",
    names.NUMBER_LIST: "numbers",
    names.STRING_LIST: "strings",
    names.IP_LIST: "cidrs",
}

# The columns of a table of reports: of the service's own metrics, and of custom metrics by their kind.
COLUMNS = {
    metrics.BYTES_IN: "bytes_in",
    metrics.BYTES_OUT: "bytes_out",
    metrics.PACKETS_IN: "packets_in",
    metrics.PACKETS_OUT: "packets_out",
    metrics.CONNECTIONS_TOTAL: "tcp_connections",
    metrics.TCP_PORTS_TOTAL: "tcp_ports_total",
    metrics.UDP_PORTS_TOTAL: "udp_ports_total",
    metrics.TCP_PORTS: "tcp_ports",
    metrics.UDP_PORTS: "udp_ports",
    metrics.DESTINATIONS: "destinations",
}
CUSTOM_COLUMNS = {
    "number": "numbers",
    "numbers": "number_lists",
    "strings": "string_lists",
    "cidrs": "ip_lists",
}

# The table: each column and its type, as ibis writes it.
TABLE = {
    "thing": "string",
    "report_id": "int64",  # epoch seconds
    "bytes_in": "int64",
    "bytes_out": "int64",
    "packets_in": "int64",
    "packets_out": "int64",
    "tcp_connections": "int64",
    "tcp_ports_total": "int64",
    "udp_ports_total": "int64",
    "tcp_ports": "array<int32>",
    "udp_ports": "array<int32>",
    "destinations": "array<string>",
    "numbers": "map<string, float64>",
    "number_lists": "map<string, array<float64>>",
    "string_lists": "map<string, array<string>>",
    "ip_lists": "map<string, array<string>>",
}

MAX_PORT = 2**16 - 1
MAX_NUMBER = 1e300  # can still be multiplied and drawn; no metric is near it

MAX_INTEGER_DIGITS = 1000

MAX_TIME_SECONDS = 253402300799  # the end of the year 9999; agents that count milliseconds are beyond it

# What stands where a thing's name should, if there was none: clientid() gives the first for a message that did not come
# by MQTT, Hive and Spark write the second.
NOT_A_THING, HIVE_NULL = "n/a", "__HIVE_DEFAULT_PARTITION__"

CUSTOM_NAME = re.compile(r"(?!aws:)[a-zA-Z0-9:_-]{1,128}")


@dataclass(frozen=True)
class Report:
    """One report of a recording.

    where: file and line
    time: its report_id, epoch seconds
    readings: by metric; a metric that is not in the report is missing, one with an empty list is not
    """

    where: str
    time: int
    readings: Measurement


def parse(line: bytes, where: str) -> Report:
    """Return the report of one JSON document. Raises ValueError with the fault."""
    try:
        document = json.loads(line.decode("utf-8-sig"), parse_constant=no_constant, parse_int=integer)
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8 text: reports in JSON are expected (--format json), uncompressed") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"not one report in JSON on one line: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise ValueError("not a report: nested too deep") from error
    if not isinstance(document, dict):
        raise ValueError("not a report: a JSON object is expected")
    return from_document(document, where)


def from_document(document: dict[str, Any], where: str) -> Report:
    """Return the report of a decoded document. Raises ValueError with the fault.

    A member that is null is missing, as in what other tools write from tables. An element of a list is not.
    """
    document = {LONG_NAMES.get(name, name): block for name, block in document.items() if block is not None}
    if "header" not in document or not {"metrics", "custom_metrics"} & document.keys():
        raise ValueError("not a report: it has a header, and metrics, custom_metrics or both")
    header = _object(_long(document["header"]), "header")
    time = _integer(header.get("report_id"), "header.report_id", 1)
    if time > MAX_TIME_SECONDS:
        raise ValueError(f"header.report_id: {time} is no time in epoch seconds")
    readings = dict(_metrics(_object(_long(document.get("metrics", {})), "metrics")))
    readings.update(_custom_metrics(_object(document.get("custom_metrics", {}), "custom_metrics")))
    return Report(where, time, readings)


def no_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python reads and JSON does not have. For the parse_constant of json."""
    raise ValueError(f"{name} is not a JSON number")


def integer(digits: str) -> int | float:
    """Return an integer; infinity for one that is beyond every number here. For the parse_int of json.

    Python refuses to read thousands of digits, also where nobody asks for the number.
    """
    if len(digits) <= MAX_INTEGER_DIGITS:
        return int(digits)
    return -math.inf if digits.startswith("-") else math.inf


def _long(block: Any) -> Any:
    """Return the block with long names, without members that are null. Not for custom metrics, whose names are own."""
    if isinstance(block, dict):
        return {LONG_NAMES.get(name, name): _long(inner) for name, inner in block.items() if inner is not None}
    if isinstance(block, list):
        return [_long(inner) for inner in block]
    return block


def _metrics(blocks: dict[str, Any]) -> Iterator[tuple[str, Reading]]:
    for name, change in _object(blocks.get("network_stats", {}), "network_stats").items():
        if name in TRAFFIC:
            yield TRAFFIC[name], Reading("count", _integer(change, f"network_stats.{name}", 0))
    for protocol in ("tcp", "udp"):
        place = f"listening_{protocol}_ports"
        block = _object(blocks.get(place, {}), place)
        yield from _listed(
            block, place, "ports", f"aws:num-listening-{protocol}-ports", f"aws:listening-{protocol}-ports"
        )
    block = _object(blocks.get("tcp_connections", {}), "tcp_connections")
    block = _object(block.get("established_connections", {}), "established_connections")
    yield from _listed(
        block,
        "established_connections",
        "connections",
        "aws:num-established-tcp-connections",
        "aws:destination-ip-addresses",
    )


def _listed(
    block: dict[str, Any], place: str, member: str, number_metric: str, list_metric: str
) -> Iterator[tuple[str, Reading]]:
    """Yield the two metrics of a block that has a list and a total."""
    total = None
    if "total" in block:
        total = _integer(block["total"], f"{place}.total", 0)
        yield number_metric, Reading("count", total)
    if member in block:
        place = f"{place}.{member}"
        entries = [_object(entry, place) for entry in _list(block[member], place)]
        kind = metrics.METRICS[list_metric].kind
        if kind == "ports":
            values: tuple[Any, ...] = tuple(_port(entry.get("port"), f"{place}.port") for entry in entries)
        else:
            values = tuple(packed_remote(entry.get("remote_addr"), place) for entry in entries)
        yield list_metric, Reading(kind, values, max(0, total - len(values)) if total is not None else 0)


def _custom_metrics(blocks: dict[str, Any]) -> Iterator[tuple[str, Reading]]:
    for name, block in blocks.items():
        if block is None:
            continue
        place = f"custom_metrics.{name}"
        if not (isinstance(name, str) and CUSTOM_NAME.fullmatch(name)):
            raise ValueError(f"custom_metrics: {_shown(name)} is no name of a custom metric")
        typed = block[0] if isinstance(block, list) and len(block) == 1 else None
        given = [(kind, value) for kind, value in typed.items() if value is not None] if isinstance(typed, dict) else []
        if len(given) != 1:
            raise ValueError(f'{place}: a list of one typed value is expected: [{{"number": 12.5}}]')
        ((kind, value),) = given
        read_element = {names.NUMBER_LIST: _number, names.STRING_LIST: _text, names.IP_LIST: packed_address}.get(kind)
        if kind == names.NUMBER:
            yield name, Reading(CUSTOM_KINDS[kind], _number(value, place))
        elif read_element:
            values = tuple(read_element(entry, place) for entry in _list(value, place))
            yield name, Reading(CUSTOM_KINDS[kind], values)
        else:
            raise ValueError(f"{place}: {_shown(kind)} is not one of {', '.join(CUSTOM_KINDS)}")


def packed_remote(text: Any, place: str) -> bytes:
    """Return the packed address of "192.0.2.1:443" or "[2001:db8::1]:443". Raises ValueError with the place."""
    address, _, port = _text(text, f"{place}.remote_addr").rpartition(":")
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    try:
        if not port.isdigit() or (":" in bare and bare == address):
            raise ValueError
        return packed_address(bare, place)
    except ValueError:
        raise ValueError(f'{place}.remote_addr: {text!r} is neither "ipv4:port" nor "[ipv6]:port"') from None


def packed_address(text: Any, place: str) -> bytes:
    """Return a packed address, without the scope that link-local addresses of some agents have (fe80::1%eth0).

    Raises ValueError with the place.
    """
    try:
        return ipaddress.ip_address(_text(text, place).partition("%")[0]).packed
    except ValueError:
        raise ValueError(f"{place}: {_shown(text)} is not an IP address") from None


def packed(address: str) -> bytes:
    """Return a packed address of its text in the table of reports. Raises OSError or ValueError for what is none."""
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def _shown(value: Any) -> str:
    """Return the beginning of a value for a message; what only CBOR has, as Python writes it."""
    try:
        return json.dumps(value)[:50]
    except (TypeError, ValueError):
        return repr(value)[:50]


def _object(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{place}: an object is expected, not {_shown(value)}")
    return value


def _list(value: Any, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{place}: a list is expected, not {_shown(value)}")
    return value


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{place}: text is expected, not {_shown(value)}")
    if not is_text(value):
        raise ValueError(f"{place}: {_shown(value)} is not Unicode text")
    return value


def is_text(value: str) -> bool:
    """Return whether a string can be stored as text: JSON can write half a surrogate pair, which is no character."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _number(value: Any, place: str) -> int | float:
    if isinstance(value, Decimal) and value.is_finite():  # CBOR has decimal fractions
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -MAX_NUMBER <= value <= MAX_NUMBER:
        raise ValueError(f"{place}: a number is expected, not {_shown(value)}")
    return value


def _port(value: Any, place: str) -> int:
    port = _integer(value, place, 1)
    if port > MAX_PORT:
        raise ValueError(f"{place}: {port} is no port, which are at most {MAX_PORT}")
    return port


def _integer(value: Any, place: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{place}: an integer from {least} is expected, not {_shown(value)}")
    if value > MAX_COUNT:
        raise ValueError(f"{place}: {_shown(value)} is more than the service takes")
    return value
