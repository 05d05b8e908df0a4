"""Remembers the starts of a component, and how long it has to wait before it may end, so that it is not given up.

A nucleus starts a component again that has ended with an error, but not for the third time within an hour: then it is
BROKEN until somebody deploys it anew.
"""

from __future__ import annotations

import json
import os
from typing import List

FILE = "device-defender-connector.starts.json"
MAX_FILE_BYTES = 4_096
MAX_KEPT = 8
MAX_STARTS = 2  # within WINDOW_SECONDS, so that there never is a third
WINDOW_SECONDS = 3_600.0
SPARE_SECONDS = 10.0  # for a nucleus that counts a little differently


class Starts:
    """The starts of this boot, in seconds on the monotonic clock, the last being this process' own.

    directory: where they are kept, "" for nowhere. boot_id: of this boot; those of another one don't count.
    """

    def __init__(self, directory: str, boot_id: str, now: float) -> None:
        self._path = os.path.join(directory, FILE) if directory else ""
        self._boot_id = boot_id
        self._known = bool(directory)
        self._starts = [*self._load(), now][-MAX_KEPT:]
        self._save()

    def wait_seconds(self, now: float) -> float:
        """Return how long the end of this process has to wait, 0 or more."""
        recent = [start for start in self._starts if now - start < WINDOW_SECONDS + SPARE_SECONDS]
        if not self._known:
            # Nobody knows of those before: two starts an hour are none too many, whatever they were.
            return max(0.0, self._starts[-1] + WINDOW_SECONDS / MAX_STARTS + SPARE_SECONDS - now)
        if len(recent) < MAX_STARTS:
            return 0.0
        return recent[-MAX_STARTS] + WINDOW_SECONDS + SPARE_SECONDS - now

    def _load(self) -> List[float]:
        if not self._path:
            return []
        try:
            with open(self._path, "rb", opener=_open) as file:
                state = json.loads(file.read(MAX_FILE_BYTES).decode("ascii"))
            if state["boot"] != self._boot_id:
                return []
            return [float(start) for start in state["starts"]]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, LookupError, TypeError):
            self._known = False
            return []

    def _save(self) -> None:
        if not self._path:
            return
        new = self._path + ".new"
        try:
            try:
                os.unlink(new)  # of a process that was killed while it wrote
            except FileNotFoundError:
                pass
            with open(new, "w", encoding="ascii", opener=_open_new) as file:
                json.dump({"boot": self._boot_id, "starts": self._starts}, file)
            os.replace(new, self._path)
        except OSError:
            self._known = False


def _open(path: str, flags: int) -> int:
    """Open without waiting where somebody has put a pipe in the file's place."""
    return os.open(path, flags | os.O_NONBLOCK)


def _open_new(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_EXCL | os.O_NOFOLLOW, 0o600)
