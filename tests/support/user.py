"""An ordinary user's rights, for tests that may be run by root."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Iterator

NOBODY = 65534


@contextlib.contextmanager
def public_directory() -> Iterator[Path]:
    """A temporary directory that every user may enter, as pytest's are not."""
    path = Path(tempfile.mkdtemp(prefix="connector-test-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(str(path), ignore_errors=True)


@contextlib.contextmanager
def ordinary_user() -> Iterator[None]:
    """For the time being, root reads as nobody does; everybody else as themselves."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
