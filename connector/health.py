"""What fails and what is well again: a line in the log when that changes, not one a cycle."""

from __future__ import annotations

import logging
from typing import Callable, Dict, Mapping, Set

LONGEST = 500
LASTING = 3  # times in a row that a failure must have another reason to be said again


class _Failure:
    """since: the monotonic time. said: the reasons that were. reason, times: the last one, and how often in a row."""

    def __init__(self, since: float) -> None:
        self.since = since
        self.said: Set[str] = set()
        self.reason = ""
        self.times = 0

    def is_news(self, reason: str) -> bool:
        """Count a failure; return whether it is to be said."""
        self.times = self.times + 1 if reason == self.reason else 1
        self.reason = reason
        if reason in self.said or (self.said and self.times < LASTING):
            return False
        self.said.add(reason)
        return True


class Health:
    """Remembers what is failing since when."""

    def __init__(self, logger: logging.Logger, monotonic: Callable[[], float]) -> None:
        self._logger = logger
        self._monotonic = monotonic
        self._failures: Dict[str, _Failure] = {}

    def failing(self, what: str, sentence: str, reason: str = "") -> None:
        """Log that something fails: a WARNING the first time, DEBUG until it is well again.

        Another reason, one of few, gets a WARNING of its own if it lasts: a core that is not up yet must not hide that
        it then has no subscription.
        """
        failure = self._failures.setdefault(what, _Failure(self._monotonic()))
        level = logging.WARNING if failure.is_news(reason) else logging.DEBUG
        self._logger.log(level, "%s: %s", what, plain(sentence))

    def well(self, what: str) -> None:
        """Log, if it was failing, that something is well again and how long it was not."""
        failure = self._failures.pop(what, None)
        if failure is not None:
            self._logger.info("%s: well again after %s", what, duration(self._monotonic() - failure.since))

    def update(self, problems: Mapping[str, str], before: Mapping[str, str]) -> None:
        """Log what is in `problems`, and what was in `before` and is not any more."""
        for what, sentence in problems.items():
            self.failing(what, sentence)
        for what in before:
            if what not in problems:
                self.well(what)


def plain(text: object, longest: int = LONGEST) -> str:
    """Return the text as printable ASCII of bounded length: whoever wrote it does not get to write into a log."""
    shown = str(text)
    cut = shown[:longest] + ("..." if len(shown) > longest else "")
    return "".join(character if " " <= character <= "~" else "?" for character in cut)


def duration(seconds: float) -> str:
    """Return seconds as a person would say them: "40 s", "12 min", "3 h 5 min"."""
    minutes = int(seconds) // 60
    if minutes < 1:
        return f"{int(seconds)} s"
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
