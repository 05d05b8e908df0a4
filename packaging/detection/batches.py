"""Reports as columns: the one definition of the table `reports`, and how rows are gathered into Parquet."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from pyarrow import compute

from connector import names
from connector.detect import metrics

from .reports import CUSTOM_KINDS, CUSTOM_NAME, MAX_TIME_SECONDS, Report, is_text, packed_address, packed_remote

SCHEMA = pyarrow.schema(
    [
        ("thing", pyarrow.string()),
        ("report_id", pyarrow.int64()),
        ("bytes_in", pyarrow.int64()),
        ("bytes_out", pyarrow.int64()),
        ("packets_in", pyarrow.int64()),
        ("packets_out", pyarrow.int64()),
        ("tcp_connections", pyarrow.int64()),
        ("tcp_ports_total", pyarrow.int64()),
        ("udp_ports_total", pyarrow.int64()),
        ("tcp_ports", pyarrow.list_(pyarrow.int32())),
        ("udp_ports", pyarrow.list_(pyarrow.int32())),
        ("destinations", pyarrow.list_(pyarrow.string())),
        ("numbers", pyarrow.map_(pyarrow.string(), pyarrow.float64())),
        ("number_lists", pyarrow.map_(pyarrow.string(), pyarrow.list_(pyarrow.float64()))),
        ("string_lists", pyarrow.map_(pyarrow.string(), pyarrow.list_(pyarrow.string()))),
        ("ip_lists", pyarrow.map_(pyarrow.string(), pyarrow.list_(pyarrow.string()))),
    ]
)

# The metrics whose column has their value as it is.
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
# The column of custom metrics of a type, by the type as reports.py calls it.
CUSTOM_COLUMNS = {
    CUSTOM_KINDS[names.NUMBER]: "numbers",
    CUSTOM_KINDS[names.NUMBER_LIST]: "number_lists",
    CUSTOM_KINDS[names.STRING_LIST]: "string_lists",
    CUSTOM_KINDS[names.IP_LIST]: "ip_lists",
}

SEQUENCE = "sequence"  # where a row comes from: the number of its file, and its place there
FILE_SHIFT = 40  # bits of the place, a byte offset or a row; a file of 1 TB has room
PART_SCHEMA = SCHEMA.append(pyarrow.field(SEQUENCE, pyarrow.int64()))

MAX_ROWS = 25_000  # of a row group; about 25 MB while they are gathered
MAX_KNOWN_TEXTS = 100_000  # addresses that are remembered, about 20 MB


class NotDeclaredError(ValueError):
    """The declared types took a document that is not fully described by them; reports.from_document() decides."""


class Known(dict[str, str]):
    """Remembers what a function made of a text: a fleet talks to few addresses, many times."""

    def __init__(self, function: Callable[[str], str]) -> None:
        self._function = function

    def __missing__(self, text: str) -> str:
        if len(self) >= MAX_KNOWN_TEXTS:
            self.clear()
        made = self[text] = self._function(text)
        return made


class Batch:
    """Gathers reports and writes them as one Parquet file, MAX_ROWS at a time. The file is made with the first row.

    path: of the file
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pyarrow.parquet.ParquetWriter | None = None
        self._rows: list[tuple[Any, ...]] = []
        self._remotes = Known(lambda text: address_text(packed_remote(text, "")))
        self._addresses = Known(lambda text: address_text(packed_address(text, "")))
        self._names = Known(_custom_name)

    def add_declared(self, report: Any, thing: str, sequence: int) -> None:
        """Add a report as shapes.py declares it. Raises ValueError where only reports.py can say what it is."""
        header, blocks, custom = report.header, report.metrics, report.custom_metrics
        if header is None or header.report_id is None or (blocks is None and custom is None):
            raise NotDeclaredError
        traffic = (None, None, None, None)
        connections = tcp_total = udp_total = tcp = udp = destinations = None
        if blocks is not None:
            block = blocks.network_stats
            if block is not None:
                traffic = (block.bytes_in, block.bytes_out, block.packets_in, block.packets_out)
            block = blocks.tcp_connections
            if block is not None and block.established_connections is not None:
                block = block.established_connections
                connections = block.total
                if block.connections is not None:
                    known = self._remotes
                    destinations = [known[one.remote_addr] for one in block.connections]
            block = blocks.listening_tcp_ports
            if block is not None:
                tcp_total = block.total
                if block.ports is not None:
                    tcp = [one.port for one in block.ports]
            block = blocks.listening_udp_ports
            if block is not None:
                udp_total = block.total
                if block.ports is not None:
                    udp = [one.port for one in block.ports]
        self._add(
            (
                thing,
                header.report_id,
                *traffic,
                connections,
                tcp_total,
                udp_total,
                tcp,
                udp,
                destinations,
                *(self._custom(custom) if custom else _NO_CUSTOM),
                sequence,
            )
        )

    def add_report(self, report: Report, thing: str, sequence: int) -> None:
        """Add a report as reports.py reads it."""
        self._add((*row(report, thing).values(), sequence))

    def add_rows(self, rows: pyarrow.RecordBatch, sequence: int) -> pyarrow.RecordBatch:
        """Add rows of SCHEMA that are reports; return those that are none, of no thing or without a time.

        sequence: of the first row
        """
        time = rows.column("report_id")
        is_report = compute.and_(
            compute.greater(compute.fill_null(compute.utf8_length(rows.column("thing")), 0), 0),
            compute.fill_null(
                compute.and_(compute.greater(time, 0), compute.less_equal(time, MAX_TIME_SECONDS)), False
            ),
        )
        numbered = rows.append_column(
            SEQUENCE, pyarrow.array(range(sequence, sequence + rows.num_rows), pyarrow.int64())
        )
        self._flush()
        self._write(numbered.filter(is_report))
        return numbered.filter(compute.invert(is_report))

    def close(self) -> bool:
        """Write what is left and close the file. Returns whether there is one."""
        self._flush()
        if self._writer is None:
            return False
        self._writer.close()
        return True

    def _add(self, values: tuple[Any, ...]) -> None:
        self._rows.append(values)
        if len(self._rows) >= MAX_ROWS:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        columns = [
            pyarrow.array(values, field.type) for field, values in zip(PART_SCHEMA, zip(*self._rows), strict=True)
        ]
        self._rows.clear()
        self._write(pyarrow.record_batch(columns, schema=PART_SCHEMA))

    def _write(self, rows: pyarrow.RecordBatch) -> None:
        if self._writer is None:
            self._writer = pyarrow.parquet.ParquetWriter(self._path, PART_SCHEMA, compression="lz4")
        self._writer.write_batch(rows.cast(PART_SCHEMA))

    def _custom(self, custom: dict[str, list[Any]]) -> tuple[Any, ...]:
        numbers, number_lists, string_lists, ip_lists = [], [], [], []
        for name, (value,) in custom.items():
            name = self._names[name]
            given = 0
            if value.number is not None:
                numbers.append((name, value.number))
                given += 1
            if value.number_list is not None:
                number_lists.append((name, value.number_list))
                given += 1
            if value.string_list is not None:
                if not all(map(is_text, value.string_list)):
                    raise NotDeclaredError
                string_lists.append((name, value.string_list))
                given += 1
            if value.ip_list is not None:
                ip_lists.append((name, [self._addresses[text] for text in value.ip_list]))
                given += 1
            if given != 1:
                raise NotDeclaredError
        return numbers or None, number_lists or None, string_lists or None, ip_lists or None


def row(report: Report, thing: str) -> dict[str, Any]:
    """Return a report as a row of SCHEMA: the value of each column; of a map, its pairs."""
    values: dict[str, Any] = dict.fromkeys(SCHEMA.names)
    values.update(thing=thing, report_id=report.time)
    for metric, reading in report.readings.items():
        value = reading.value
        if reading.kind == "cidrs":
            value = [address_text(packed) for packed in value]
        elif reading.kind == "number":
            value = float(value)
        elif reading.kind == "numbers":
            value = [float(number) for number in value]
        elif isinstance(value, tuple):
            value = list(value)
        if metric in COLUMNS:
            values[COLUMNS[metric]] = value
        else:
            column = CUSTOM_COLUMNS[reading.kind]
            values[column] = [*(values[column] or ()), (metric, value)]
    return values


def address_text(packed: bytes) -> str:
    """Return the text of a packed address, which is the same for the same address."""
    return str(ipaddress.ip_address(packed))


def _custom_name(name: str) -> str:
    if not CUSTOM_NAME.fullmatch(name):
        raise NotDeclaredError
    return name


_NO_CUSTOM = (None, None, None, None)
