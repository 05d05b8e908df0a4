"""A uniform random sample of a stream whose length is not known beforehand."""

from __future__ import annotations

import math
import random
from typing import Callable, Generic, List, TypeVar

T = TypeVar("T")


class Reservoir(Generic[T]):
    """A sample of the items seen so far, in which each subset of its size is equally likely.

    Algorithm L (Li, "Reservoir-Sampling Algorithms of Time Complexity O(n(1 + log(N/n)))", ACM TOMS 20, 1994). It draws
    the number of items to skip until the next one that enters, so the number of draws grows with the logarithm of the
    stream's length.

    items: the sample, `size` items at most.
    seen: the number of items seen.
    """

    def __init__(self, size: int, rng: random.Random) -> None:
        self.items: List[T] = []
        self.seen = 0
        self._size = size
        self._rng = rng
        self._next = 0  # the index, in the whole stream, of the next item that enters
        self._weight = 1.0

    def extend(self, count: int, items: Callable[[], Callable[[int], T]]) -> None:
        """See the next `count` items of the stream.

        items: called only if one enters; returns what gives an item by its number among these, from 0.
        """
        start = self.seen
        self.seen += count
        if self._next >= self.seen:
            return
        item_at = items()
        while self._next < self.seen:
            item = item_at(self._next - start)
            if len(self.items) < self._size:
                self.items.append(item)
            else:
                self.items[int(self._size * self._rng.random())] = item
            self._next += 1 + self._skip()

    def _skip(self) -> int:
        if len(self.items) < self._size:
            return 0
        # log(0) never occurs: random() is below 1, and the weight, once in 2**53 draws exactly 1, is kept below it.
        self._weight *= (1.0 - self._rng.random()) ** (1.0 / self._size)
        return int(math.log(1.0 - self._rng.random()) / math.log1p(-min(self._weight, 1 - 2**-53)))
