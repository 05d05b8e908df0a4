"""Log changes of state: one line when something fails, one when it recovers, none in between."""

from __future__ import annotations

import logging
from typing import Callable, Dict, Mapping, Optional, Set

MAX_TEXT_CHARS = 500  # of a message from outside in one log line
MIN_REPEATS = 3  # failures in a row for another reason before that reason is logged too


class _Failure:
    """Something that has failed and has not recovered.

    since: float, seconds on the monotonic clock.
    logged: the reasons that have had a line.
    reason, times: the latest reason, and how often in a row it came.
    """

    def __init__(self, since: float) -> None:
        self.since = since
        self.logged: Set[str] = set()
        self.reason = ""
        self.times = 0

    def is_news(self, reason: str) -> bool:
        """Count a failure; return whether its reason has to be logged."""
        self.times = self.times + 1 if reason == self.reason else 1
        self.reason = reason
        if reason in self.logged or (self.logged and self.times < MIN_REPEATS):
            return False
        self.logged.add(reason)
        return True


class Health:
    """Remembers what has failed, since when and why, so that the log is not filled with repetitions."""

    def __init__(self, logger: logging.Logger, monotonic: Callable[[], float]) -> None:
        self._logger = logger
        self._monotonic = monotonic
        self._failures: Dict[str, _Failure] = {}

    def failed(self, what: str, sentence: str, reason: str = "", since: Optional[float] = None) -> None:
        """Log a failure: WARNING the first time, DEBUG from then on until `recovered`.

        reason: one of a few kinds, such as an error's class. Another reason than the logged ones gets a WARNING of its
        own after MIN_REPEATS in a row: at a boot "connection refused" must not hide that the core, once it is up, has
        no subscription.
        since: when what failed began, such as a call that was not answered, seconds on the monotonic clock; now unless
        given.
        """
        failure = self._failures.setdefault(what, _Failure(self._monotonic() if since is None else since))
        level = logging.WARNING if failure.is_news(reason) else logging.DEBUG
        self._logger.log(level, "%s: %s", what, plain(sentence))

    def recovered(self, what: str) -> None:
        """Log that something works again and how long it did not, from the first failure; nothing if none was."""
        failure = self._failures.pop(what, None)
        if failure is not None:
            self._logger.info("%s: recovered after %s", what, duration(self._monotonic() - failure.since))

    def update(self, problems: Mapping[str, str], before: Mapping[str, str]) -> None:
        """Log a failure for each entry of `problems`, and a recovery for those that only `before` has."""
        for what, sentence in problems.items():
            self.failed(what, sentence)
        for what in before:
            if what not in problems:
                self.recovered(what)


def plain(text: object, longest: int = MAX_TEXT_CHARS) -> str:
    """Return the text as printable ASCII, cut to `longest` characters: no outsider can forge or flood the log."""
    shown = str(text)
    cut = shown[:longest] + ("..." if len(shown) > longest else "")
    return "".join(character if " " <= character <= "~" else "?" for character in cut)


def duration(seconds: float) -> str:
    """Return a time in its two largest units: "40 s", "1 min 30 s", "12 min", "3 h 5 min"."""
    minutes, rest = divmod(int(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    large, small = (f"{hours} h", f"{minutes} min") if hours else (f"{minutes} min", f"{rest} s")
    return large if small.startswith("0 ") else f"{large} {small}"
