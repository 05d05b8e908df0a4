"""Reads recordings in Parquet: a row is a report, its columns are the members of the document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from .documents import Fault

MAX_ROWS = 2000  # decoded at a time


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


def _without_nulls(value: Any) -> Any:
    """Return a value as it would be in JSON: Parquet has a null for what is missing, and a map as pairs."""
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        if value and all(isinstance(inner, tuple) and len(inner) == 2 for inner in value):
            return {name: _without_nulls(inner) for name, inner in value if inner is not None}
        return [_without_nulls(inner) for inner in value if inner is not None]
    return value
