"""A report as declared types, into which msgspec decodes JSON. It converts no value: 1.5, true and "12" are no count.

What these types accept, reports.from_document() accepts too, and reads the same. What they refuse, it decides: so the
rules stand there, and these types are the fast way through them. That is why a type for long names refuses a document
that uses a short name anywhere, and the reverse: from_document() reads documents that mix them.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from connector import names
from connector.detect.profile import MAX_COUNT

from .reports import MAX_NUMBER, MAX_PORT, MAX_TIME_SECONDS

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]
PortNumber = Annotated[int, msgspec.Meta(ge=1, le=MAX_PORT)]
Time = Annotated[int, msgspec.Meta(ge=1, le=MAX_TIME_SECONDS)]
Number = Annotated[float, msgspec.Meta(ge=-MAX_NUMBER, le=MAX_NUMBER)]

_Refused = Annotated[str, msgspec.Meta(min_length=1, max_length=0)]  # no value is of this type


class CustomValue(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The value of a custom metric; exactly one member is there. None is not a value: it stands for what is missing."""

    number: Number = None  # type: ignore[assignment]
    number_list: list[Number] = None  # type: ignore[assignment]
    string_list: list[str] = None  # type: ignore[assignment]
    ip_list: list[str] = None  # type: ignore[assignment]


CustomMetrics = dict[str, Annotated[list[CustomValue], msgspec.Meta(min_length=1, max_length=1)]]


def report_type(short: bool, thing_field: str) -> type[msgspec.Struct]:
    """Return the type of a report in short or long names.

    Its attributes have the long names; those of members that are not in the document are None. thing_field: the field
    that names the thing, which becomes the attribute `thing`.
    """

    def struct(name: str, *fields: tuple[names.Field, Any], needed: names.Field | None = None, thing: bool = False) -> Any:
        members: list[Any] = [(field.long, kind) if field == needed else (field.long, kind, None) for field, kind in fields]
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
    metrics = struct(
        "Metrics",
        (names.NETWORK_STATS, traffic),
        (names.LISTENING_TCP_PORTS, ports),
        (names.LISTENING_UDP_PORTS, ports),
        (names.TCP_CONNECTIONS, connections),
    )
    header = struct("Header", (names.REPORT_ID, Time), needed=names.REPORT_ID)
    report: type[msgspec.Struct] = struct(
        "Report",
        (names.HEADER, header),
        (names.METRICS, metrics),
        (names.CUSTOM_METRICS, CustomMetrics),
        needed=names.HEADER,
        thing=True,
    )
    return report


def _list(kind: Any) -> Any:
    return list[kind]
