"""Remembers what was made of values that come again and again: a fleet has few addresses and lists of ports."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")


class Known(dict[Given, Made]):
    """What a function makes of a value, by the value; the function is called for those that are not there.

    most: with so many, all are forgotten
    """

    def __init__(self, function: Callable[[Given], Made], most: int) -> None:
        self._function = function
        self._most = most

    def __missing__(self, value: Given) -> Made:
        if len(self) >= self._most:
            self.clear()
        made = self[value] = self._function(value)
        return made
