"""Reads recordings in Parquet: a row is a report, its columns are the members of the document.

What is null is missing, as in JSON: reports.from_document() leaves it out. What recordings.py wrote has the columns of
batches.py instead and is copied as it is, once checked.py has seen it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import pyarrow
import pyarrow.parquet

from . import sniff
from .batches import SCHEMA
from .decompress import DamagedError, Decompressed
from .documents import Fault
from .records import MAX_EMPTY_BYTES, MIN_EMPTY_RATIO

MAX_ROWS = 2000  # decoded at a time
COPY_BYTES = 2**20
MAX_TABLE_ROWS = 25_000  # copied at a time


@contextmanager
def decompressed(recording: sniff.Recording) -> Iterator[Path]:
    """Yield the path of a file, or of its decompressed content: Parquet is read from its end. Raises DamagedError."""
    if not recording.compressed:
        yield recording.path
        return
    with NamedTemporaryFile() as file:
        with sniff.content(recording) as stream:
            written = 0
            for piece in iter(lambda: stream.read(COPY_BYTES), b""):
                file.write(piece)
                written += len(piece)
                taken = stream.taken if isinstance(stream, Decompressed) else written
                if written > MAX_EMPTY_BYTES and written > MIN_EMPTY_RATIO * taken:
                    raise DamagedError(f"{taken:,} bytes of the file stand for {written:,}, which is no Parquet")
        file.flush()
        yield Path(file.name)


def read_parquet(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield (row, document or Fault) for each row."""
    row = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(MAX_ROWS):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of a name that is twice in a map; the last counts, as in JSON
                    documents = batch.to_pylist(maps_as_pydicts="lossy")
                for document in documents:
                    yield row, document
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
