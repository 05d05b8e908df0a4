"""Turns reports as shapes.py declares them into columns, many at a time: a loop over all reports for each column."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from types import SimpleNamespace
from typing import Any

from connector.detect.event import element_text

from .gather import Column, lists, maps, plain
from .known import Known
from .reports import CUSTOM_NAME, is_text, packed_address, packed_remote

MAX_KNOWN_TEXTS = 100_000  # addresses and names that are remembered, about 20 MB

# Stands for a block that is not in a report: none of these is in it either.
_NOTHING = SimpleNamespace(
    network_stats=None,
    bytes_in=None,
    bytes_out=None,
    packets_in=None,
    packets_out=None,
    tcp_connections=None,
    established_connections=None,
    connections=None,
    listening_tcp_ports=None,
    listening_udp_ports=None,
    ports=None,
    total=None,
)


class NotDeclaredError(ValueError):
    """The declared types took a document that is not fully described by them; reports.from_document() decides."""


class Declared:
    """Makes columns of batches.SCHEMA, but for the thing, of reports. Remembers the addresses and names it has seen."""

    def __init__(self) -> None:
        self._remotes: Known[str, str] = Known(lambda text: address_text(packed_remote(text, "")), MAX_KNOWN_TEXTS)
        self._addresses: Known[str, str] = Known(lambda text: address_text(packed_address(text, "")), MAX_KNOWN_TEXTS)
        self._names = Known(_custom_name, MAX_KNOWN_TEXTS)

    def columns(self, reports: Sequence[Any]) -> dict[str, Column]:
        """Return the columns. Raises ValueError where only reports.py can say what one of the reports is."""
        blocks = [one.metrics or _NOTHING for one in reports]
        traffic = [one.network_stats or _NOTHING for one in blocks]
        tcp = [one.listening_tcp_ports or _NOTHING for one in blocks]
        udp = [one.listening_udp_ports or _NOTHING for one in blocks]
        connections = [(one.tcp_connections or _NOTHING).established_connections or _NOTHING for one in blocks]
        remotes = self._remotes
        return {
            "report_id": plain([one.header.report_id for one in reports]),
            "bytes_in": plain([one.bytes_in for one in traffic]),
            "bytes_out": plain([one.bytes_out for one in traffic]),
            "packets_in": plain([one.packets_in for one in traffic]),
            "packets_out": plain([one.packets_out for one in traffic]),
            "tcp_connections": plain([one.total for one in connections]),
            "tcp_ports_total": plain([one.total for one in tcp]),
            "udp_ports_total": plain([one.total for one in udp]),
            "tcp_ports": _ports(tcp),
            "udp_ports": _ports(udp),
            "destinations": lists(
                _lengths(one.connections for one in connections),
                [remotes[entry.remote_addr] for one in connections if one.connections for entry in one.connections],
            ),
            **self._custom([one.custom_metrics for one in reports]),
        }

    def _custom(self, customs: Sequence[dict[str, list[Any]] | None]) -> dict[str, Column]:
        names = self._names
        lengths: list[int | None] = []
        keys: list[str] = []
        values: list[float] = []
        others: dict[int, dict[str, list[tuple[str, Any]]]] = {}  # by place in the reports, for few have any
        for place, custom in enumerate(customs):
            before = len(values)
            for name, (value,) in custom.items() if custom else ():
                if value.number is None:
                    column, elements = self._elements(value)
                    others.setdefault(place, {}).setdefault(column, []).append((names[name], elements))
                    continue
                if value.number_list is not None or value.string_list is not None or value.ip_list is not None:
                    raise NotDeclaredError
                keys.append(names[name])
                values.append(value.number)
            lengths.append(len(values) - before or None)
        made = {"numbers": Column(lengths, keys, values)}
        for column in ("number_lists", "string_lists", "ip_lists"):
            made[column] = Column([None] * len(customs), [], [])
            if others:
                made[column] = maps(others.get(place, {}).get(column) for place in range(len(customs)))
        return made

    def _elements(self, value: Any) -> tuple[str, list[Any]]:
        """Return the column and the elements of a custom metric that is a list."""
        lists_of = {"number_lists": value.number_list, "string_lists": value.string_list, "ip_lists": value.ip_list}
        given = [(column, elements) for column, elements in lists_of.items() if elements is not None]
        if len(given) != 1:
            raise NotDeclaredError
        ((column, elements),) = given
        if column == "string_lists" and not all(map(is_text, elements)):
            raise NotDeclaredError
        if column == "ip_lists":
            elements = [self._addresses[text] for text in elements]
        return column, elements


def address_text(packed: bytes) -> str:
    """Return the text of a packed address: the same for the same address, and as in an event of the device.

    Not that of `ipaddress`, which writes ::ffff:192.0.2.1 in one way or another from Python to Python.
    """
    return str(element_text(packed))


def _ports(blocks: Sequence[Any]) -> Column:
    return lists(_lengths(one.ports for one in blocks), list(chain.from_iterable(one.ports or () for one in blocks)))


def _lengths(of_rows: Iterable[list[Any] | None]) -> list[int | None]:
    return [None if elements is None else len(elements) for elements in of_rows]


def _custom_name(name: str) -> str:
    if not CUSTOM_NAME.fullmatch(name):
        raise NotDeclaredError
    return name
