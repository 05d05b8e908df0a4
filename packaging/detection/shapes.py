"""A report as declared types, into which msgspec decodes JSON. It converts no value: 1.5, true and "12" are no count.

What these types accept, reports.from_document() accepts too, and reads the same. What they refuse, it decides: so the
rules stand there, and these types are the fast way through them. That is why a type for long names refuses a document
that uses a short name anywhere, and the reverse: from_document() reads documents that mix them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, Optional

import msgspec

from connector import names
from connector.detect.profile import MAX_COUNT

from .known import Known
from .reports import MAX_NUMBER, MAX_PORT, MAX_TIME_SECONDS

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]
PortNumber = Annotated[int, msgspec.Meta(ge=1, le=MAX_PORT)]
Time = Annotated[int, msgspec.Meta(ge=1, le=MAX_TIME_SECONDS)]
Number = Annotated[float, msgspec.Meta(ge=-MAX_NUMBER, le=MAX_NUMBER)]

MAX_KNOWN_BLOCKS = 10_000  # that list ports, about 5 MB

_Refused = Annotated[str, msgspec.Meta(min_length=1, max_length=0)]  # no value is of this type


class CustomValue(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The value of a custom metric; exactly one member is there. None is not a value: it stands for what is missing."""

    number: Number = None  # type: ignore[assignment]
    number_list: list[Number] = None  # type: ignore[assignment]
    string_list: list[str] = None  # type: ignore[assignment]
    ip_list: list[str] = None  # type: ignore[assignment]


CustomMetrics = dict[str, Annotated[list[CustomValue], msgspec.Meta(min_length=1, max_length=1)]]


class Listening(NamedTuple):
    """A block that lists ports, with the numbers only. None: not in the document."""

    ports: list[int] | None
    total: int | None


class Types(NamedTuple):
    """The types of a report in one style of names.

    report: all of it
    outer: the same, with the blocks that list ports left as JSON: they are the same in most reports of a device
    ports: such a block
    """

    report: type[msgspec.Struct]
    outer: type[msgspec.Struct]
    ports: type[msgspec.Struct]


def report_types(short: bool, thing_field: str) -> Types:
    """Return the types of a report in short or long names.

    Their attributes have the long names; those of members that are null or not in the document are None. thing_field:
    the field that names the thing, which becomes the attribute `thing`.
    """

    def struct(
        name: str, *fields: tuple[names.Field, Any], needed: names.Field | None = None, thing: bool = False
    ) -> Any:
        members: list[Any] = [
            (field.long, kind) if field == needed else (field.long, _or_null(kind), None) for field, kind in fields
        ]
        renamed = {field.long: field.short if short else field.long for field, _ in fields}
        for field, _ in fields:
            other = field.long if short else field.short
            members.append((f"not_{field.long}", _Refused, None))
            renamed[f"not_{field.long}"] = other
        if thing:
            members.append(("thing", str, None))
            renamed["thing"] = thing_field
        return msgspec.defstruct(name, members, rename=renamed, gc=False, kw_only=True)

    port = struct("Port", (names.PORT, PortNumber), needed=names.PORT)
    ports = struct("Ports", (names.PORTS, _list(port)), (names.TOTAL, Count))
    connection = struct("Connection", (names.REMOTE_ADDR, str), needed=names.REMOTE_ADDR)
    established = struct("Established", (names.CONNECTIONS, _list(connection)), (names.TOTAL, Count))
    connections = struct("Connections", (names.ESTABLISHED_CONNECTIONS, established))
    traffic = struct(
        "Traffic",
        (names.BYTES_IN, Count),
        (names.BYTES_OUT, Count),
        (names.PACKETS_IN, Count),
        (names.PACKETS_OUT, Count),
    )
    header = struct("Header", (names.REPORT_ID, Time), needed=names.REPORT_ID)

    def report(listed: Any) -> Any:
        metrics = struct(
            "Metrics",
            (names.NETWORK_STATS, traffic),
            (names.LISTENING_TCP_PORTS, listed),
            (names.LISTENING_UDP_PORTS, listed),
            (names.TCP_CONNECTIONS, connections),
        )
        return struct(
            "Report",
            (names.HEADER, header),
            (names.METRICS, metrics),
            (names.CUSTOM_METRICS, CustomMetrics),
            needed=names.HEADER,
            thing=True,
        )

    return Types(report(ports), report(msgspec.Raw), ports)


def converter(types: Types) -> Callable[[Any], Any]:
    """Return a function that makes a report of a decoded document. It raises what REFUSED in records.py names."""

    def convert(document: Any) -> Any:
        report: Any = msgspec.convert(document, types.report)
        blocks = report.metrics
        if blocks is not None:
            blocks.listening_tcp_ports = _listening(blocks.listening_tcp_ports)
            blocks.listening_udp_ports = _listening(blocks.listening_udp_ports)
        return report

    return convert


def decoder(types: Types) -> Callable[[bytes], Any]:
    """Return a function that makes a report of JSON. It raises what REFUSED in records.py names."""
    decode: Callable[[bytes], Any] = msgspec.json.Decoder(types.outer).decode
    decode_ports = msgspec.json.Decoder(_or_null(types.ports)).decode
    known: Known[bytes, Listening] = Known(lambda text: _listening(decode_ports(text)), MAX_KNOWN_BLOCKS)

    def with_ports(text: bytes) -> Any:
        report = decode(text)
        blocks = report.metrics
        if blocks is not None:
            tcp, udp = blocks.listening_tcp_ports, blocks.listening_udp_ports
            if tcp is not None:
                blocks.listening_tcp_ports = known[bytes(tcp)]
            if udp is not None:
                blocks.listening_udp_ports = known[bytes(udp)]
        return report

    return with_ports


def _listening(block: Any) -> Listening:
    if block is None:
        return Listening(None, None)
    return Listening(None if block.ports is None else [entry.port for entry in block.ports], block.total)


def _list(kind: Any) -> Any:
    return list[kind]


def _or_null(kind: Any) -> Any:
    return kind if kind is msgspec.Raw else Optional[kind]
