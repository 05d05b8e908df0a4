"""Remembers a component's starts and says how long it must wait before it may end, so that it does not become BROKEN.

A nucleus restarts a component that ended with an error, but only a few times: then it is BROKEN until somebody deploys
it again. Nucleus lite counts starts within an hour, for whatever reason. The Java nucleus counts errors, until an hour
has passed without one.
"""

from __future__ import annotations

import json
import os
from typing import Any, List

from .state import open_file, replace_file

FILE = "device-defender-connector.starts.json"
MAX_FILE_BYTES = 4_096
MAX_KEPT = 8
MAX_STARTS = 3  # within WINDOW_SECONDS: what systemd, which starts the components of nucleus lite, allows
MAX_ERRORS = 2  # each within WINDOW_SECONDS of the one before: at the third the Java nucleus gives a component up
WINDOW_SECONDS = 3_600.0
SPARE_SECONDS = 10.0  # for a nucleus that counts a little differently
MOST_SECONDS = WINDOW_SECONDS + SPARE_SECONDS


class Starts:
    """The starts and the ends with an error of this boot, in seconds on the monotonic clock.

    directory: where they are kept, "" for nowhere. boot_id: of this boot; those of another one don't count. now: when
    this process started. package: the folder of its code, another one for each version.
    too_long: bytes of a message on which the nucleus has closed the connection, 0 for none.
    """

    def __init__(self, directory: str, boot_id: str, now: float, package: str = "") -> None:
        self._path = os.path.join(directory, FILE) if directory else ""
        self._boot_id = boot_id
        self._package = package
        self._known = bool(directory)
        self._starts: List[float] = []
        self._errors: List[float] = []
        self.too_long = 0
        self._load(now)
        self._starts.append(now)
        self._save()

    def wait_seconds(self, now: float) -> float:
        """Return how long an end with an error has to wait, 0 or more."""
        if not self._known:
            # Earlier ends are unknown. One an hour stays within both limits, whatever they were.
            return max(0.0, self._starts[-1] + MOST_SECONDS - now)
        of_starts = self._starts[-MAX_STARTS] + MOST_SECONDS - now if len(self._starts) >= MAX_STARTS else 0.0
        of_errors = self._errors[-1] + MOST_SECONDS - now if _in_a_row(self._errors) >= MAX_ERRORS else 0.0
        return max(0.0, of_starts, of_errors)

    def add_error(self, now: float) -> None:
        """Remember that this process ends with an error now."""
        self._errors.append(now)
        self._save()

    def add_too_long(self, message_bytes: int) -> None:
        """Remember that the nucleus has closed the connection on a message of this length."""
        self.too_long = message_bytes
        self._save()

    def _load(self, now: float) -> None:
        if not self._path:
            return
        try:
            with open(self._path, "rb", opener=open_file) as file:
                state = json.loads(file.read(MAX_FILE_BYTES).decode("ascii"))
            if state["boot"] == self._boot_id:
                starts, errors = ([_moment(value, now) for value in state[key]] for key in ("starts", "errors"))
                # Nucleus lite counts from zero at the deployment of another version (systemctl reset-failed).
                self._starts = starts if state.get("package", "") == self._package else []
                self._errors = errors
                self.too_long = int(state.get("too_long", 0))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, LookupError, TypeError, OverflowError, RecursionError):
            self._known = False

    def _save(self) -> None:
        del self._starts[:-MAX_KEPT], self._errors[:-MAX_KEPT]
        if not self._path:
            return
        try:
            replace_file(
                self._path,
                {
                    "boot": self._boot_id,
                    "package": self._package,
                    "starts": self._starts,
                    "errors": self._errors,
                    "too_long": self.too_long,
                },
            )
        except OSError:
            self._known = False


def _moment(value: Any, now: float) -> float:
    """Return a moment of this boot before `now`; a later one, or infinity, would have an end wait for ever."""
    moment = float(value)
    if not 0 <= moment <= now:
        raise ValueError(f"{moment} is not before {now}")
    return moment


def _in_a_row(moments: List[float]) -> int:
    """Return how many of the last moments are each within the window of the one before."""
    count = 0
    for place, moment in enumerate(moments):
        count = count + 1 if place and moment - moments[place - 1] < MOST_SECONDS else 1
    return count
