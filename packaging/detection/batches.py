"""Reports as columns: the table `reports` in Arrow's types, and how rows are gathered into Parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from .declared import Declared, address_text
from .gather import Column, Gathered, of_row, plain
from .reports import COLUMNS, CUSTOM_COLUMNS, TABLE, Report
from .spans import SEQUENCE

_ARROW_TYPES = {
    "string": pyarrow.string(),
    "int64": pyarrow.int64(),
    "array<int32>": pyarrow.list_(pyarrow.int32()),
    "array<string>": pyarrow.list_(pyarrow.string()),
    "map<string, float64>": pyarrow.map_(pyarrow.string(), pyarrow.float64()),
    "map<string, array<float64>>": pyarrow.map_(pyarrow.string(), pyarrow.list_(pyarrow.float64())),
    "map<string, array<string>>": pyarrow.map_(pyarrow.string(), pyarrow.list_(pyarrow.string())),
}

SCHEMA = pyarrow.schema([(name, _ARROW_TYPES[kind]) for name, kind in TABLE.items()])

PART_SCHEMA = SCHEMA.append(pyarrow.field(SEQUENCE, pyarrow.int64()))

MAX_ROWS = 8_000  # of a row group
MAX_GATHERED = 4000  # rows that wait to become columns of Arrow, which take less memory


class Batch:
    """Gathers reports and writes them as one Parquet file, MAX_ROWS at a time. The file is made with the first row.

    path: of the file
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pyarrow.parquet.ParquetWriter | None = None
        self._gathered = Gathered(PART_SCHEMA)
        self._taken: list[pyarrow.RecordBatch] = []
        self._declared = Declared()

    def add_declared(self, reports: Sequence[Any], things: list[str], sequences: list[int]) -> None:
        """Add reports as shapes.py declares them, all of them or, where it raises, none.

        Raises ValueError where only reports.py can say what one of them is.
        """
        columns = self._declared.columns(reports)
        self._add({"thing": plain(things), **columns, SEQUENCE: plain(sequences)}, len(reports))

    def add_report(self, report: Report, thing: str, sequence: int) -> None:
        """Add a report as reports.py reads it."""
        self._add(of_row(PART_SCHEMA, {**row(report, thing), SEQUENCE: sequence}), 1)

    def add_rows(self, rows: pyarrow.RecordBatch, sequence: int) -> dict[int, str]:
        """Add rows of SCHEMA that are reports; return why the others are none, by their index.

        sequence: of the first row
        """
        from .checked import faults  # late: it takes a tenth of a second

        refused = dict(faults(rows))
        numbered = rows.append_column(
            SEQUENCE, pyarrow.array(range(sequence, sequence + rows.num_rows), pyarrow.int64())
        )
        if refused:
            numbered = numbered.filter(pyarrow.array([index not in refused for index in range(rows.num_rows)]))
        self._flush()
        if numbered.num_rows:
            self._write(numbered)
        return refused

    def close(self) -> bool:
        """Write what is left and close the file. Returns whether there is one."""
        self._flush()
        if self._writer is None:
            return False
        self._writer.close()
        return True

    def _add(self, columns: Mapping[str, Column], rows: int) -> None:
        self._gathered.add(columns, rows)
        if self._gathered.rows >= MAX_GATHERED:
            self._taken.append(self._gathered.take())
            if sum(rows.num_rows for rows in self._taken) >= MAX_ROWS:
                self._flush()

    def _flush(self) -> None:
        if self._gathered.rows:
            self._taken.append(self._gathered.take())
        if self._taken:
            self._write(pyarrow.Table.from_batches(self._taken))
            self._taken.clear()

    def _write(self, rows: pyarrow.Table | pyarrow.RecordBatch) -> None:
        if self._writer is None:
            self._writer = pyarrow.parquet.ParquetWriter(self._path, PART_SCHEMA, compression="lz4")
        self._writer.write(rows.cast(PART_SCHEMA))


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
