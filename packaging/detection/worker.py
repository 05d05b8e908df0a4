"""What a process that reads recordings for another one runs. It imports nothing else before it begins to read."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .spans import Outcome, Span


def prepare() -> None:
    """Before Arrow is imported in a process that reads, keep it from what costs more than it gives there.

    It imports numpy and its file system on S3 if it can, which takes long, and keeps freed memory for itself, 20 MB in
    each process.
    """
    for name in ("numpy", "pyarrow._s3fs"):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"


def read(task: list[Span], part: Path, thing_field: str | None) -> Outcome:
    """Read parts of files into one Parquet file, as reading.read_spans() does."""
    from .reading import read_spans  # late: a process that lets others read does without Arrow

    return read_spans(task, part, thing_field)
