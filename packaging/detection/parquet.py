"""Reads recordings in Parquet: a row is a report, its columns are the members of the document.

What recordings.py wrote has the columns of batches.py instead and is copied as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from .batches import SCHEMA
from .documents import Fault

MAX_ROWS = 2000  # decoded at a time
MAX_TABLE_ROWS = 25_000  # copied at a time


def read_parquet(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield (row, document or Fault) for each row. A member that is null is not in the document."""
    row = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(MAX_ROWS):
                for document in batch.to_pylist():
                    yield row, _without_nulls(document)
                    row += 1
    except (OSError, pyarrow.ArrowException) as error:
        yield row, Fault(f"not Parquet that can be read: {error}")


def is_table(path: Path) -> bool:
    """Return whether a file has the columns of batches.py. False also for one that can't be read."""
    try:
        found = pyarrow.parquet.read_schema(path)
    except (OSError, pyarrow.ArrowException):
        return False
    return all(name in found.names for name in SCHEMA.names)


def read_table(path: Path) -> Iterator[tuple[int, pyarrow.RecordBatch | Fault]]:
    """Yield (first row, rows of batches.SCHEMA or Fault) of a file of which is_table() is true."""
    row = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(MAX_TABLE_ROWS, columns=SCHEMA.names):
                yield row, batch.select(SCHEMA.names).cast(SCHEMA)
                row += batch.num_rows
    except (OSError, pyarrow.ArrowException) as error:
        yield row, Fault(f"not Parquet that can be read: {error}")


def _without_nulls(value: Any) -> Any:
    """Return a value as it would be in JSON: Parquet has a null for what is missing, and a map as pairs."""
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        if value and all(isinstance(inner, tuple) and len(inner) == 2 for inner in value):
            return {name: _without_nulls(inner) for name, inner in value if inner is not None}
        return [_without_nulls(inner) for inner in value if inner is not None]
    return value
