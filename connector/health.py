"""What fails and what is well again: a line in the log when that changes, not one a cycle."""

from __future__ import annotations

import logging
from typing import Callable, Dict, Mapping

LONGEST = 500


class Health:
    """Remembers what is failing since when."""

    def __init__(self, logger: logging.Logger, monotonic: Callable[[], float]) -> None:
        self._logger = logger
        self._monotonic = monotonic
        self._since: Dict[str, float] = {}

    def failing(self, what: str, sentence: str) -> None:
        """Log that something fails: a WARNING the first time, DEBUG until it is well again."""
        level = logging.DEBUG if what in self._since else logging.WARNING
        self._since.setdefault(what, self._monotonic())
        self._logger.log(level, "%s: %s", what, plain(sentence))

    def well(self, what: str) -> None:
        """Log, if it was failing, that something is well again and how long it was not."""
        since = self._since.pop(what, None)
        if since is not None:
            self._logger.info("%s: well again after %s", what, duration(self._monotonic() - since))

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
        return "{} s".format(int(seconds))
    if minutes < 60:
        return "{} min".format(minutes)
    return "{} h {} min".format(minutes // 60, minutes % 60)
