"""A uniform sample of a stream whose length is not known beforehand."""

from __future__ import annotations

import math
import random
from typing import Callable, Generic, List, Sequence, TypeVar

T = TypeVar("T")


class Reservoir(Generic[T]):
    """At most `size` items of all that were seen, each subset as likely as any other.

    Algorithm L (Li, "Reservoir-Sampling Algorithms of Time Complexity O(n(1 + log(N/n)))", ACM TOMS 20, 1994): instead
    of a draw for each item it draws how many to skip until the next one that enters, so a flood costs no more draws
    than its logarithm.
    """

    def __init__(self, size: int, rng: random.Random) -> None:
        self.items: List[T] = []
        self.seen = 0
        self._size = size
        self._rng = rng
        self._next = 0  # the index, in the whole stream, of the next item that enters
        self._weight = 1.0

    def extend(self, count: int, items: Callable[[], Sequence[T]]) -> None:
        """Let the next `count` items of the stream pass by; `items` makes them, and is called only if one is drawn."""
        start = self.seen
        self.seen += count
        if self._next >= self.seen:
            return
        block = items()
        while self._next < self.seen:
            item = block[self._next - start]
            if len(self.items) < self._size:
                self.items.append(item)
            else:
                self.items[int(self._size * self._rng.random())] = item
            self._next += 1 + self._skip()

    def _skip(self) -> int:
        if len(self.items) < self._size:
            return 0
        # 1 - random() is never 0, which has no logarithm; nor has 1 - weight where the weight is 1, one draw in 2**53.
        self._weight *= (1.0 - self._rng.random()) ** (1.0 / self._size)
        return int(math.log(1.0 - self._rng.random()) / math.log1p(-min(self._weight, 1 - 2**-53)))
