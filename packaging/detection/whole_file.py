"""Writes a file whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give the path of a file to write, in the same folder and with the same ending.

    When all is written it takes the place of what was at `path`; after an error or Ctrl-C it is removed, and what was
    there is as before. What is no regular file, such as /dev/stdout, is written as it is.

    Raises InputError where the file can't be written.
    """
    try:
        if path.exists() and not path.is_file():
            yield path
            return
        target = path.resolve()  # a symbolic link stays one
        part = target.with_name(f".detect-{os.getpid()}{target.suffix}")
        try:
            yield part
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
