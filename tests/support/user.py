"""Run parts of a test with an ordinary user's rights, also if root runs the test."""

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
    """Make a temporary directory that every user may enter, unlike pytest's."""
    path = Path(tempfile.mkdtemp(prefix="connector-test-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(str(path), ignore_errors=True)


@contextlib.contextmanager
def ordinary_user() -> Iterator[None]:
    """Act as the user nobody if root runs the test."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
