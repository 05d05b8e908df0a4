"""The open files of the tests' own process, told apart from those of other tests' threads in it."""

from __future__ import annotations

import os
from typing import List


def open_paths() -> List[str]:
    """Return what each descriptor leads to: a path, or such as "pipe:[4711]"."""
    paths = []
    for name in os.listdir("/proc/self/fd"):
        try:
            paths.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            pass  # closed meanwhile, as the listing's own
    return paths
