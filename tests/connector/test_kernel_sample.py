"""The reservoir: every item of a stream is equally likely to be in the sample."""

from __future__ import annotations

import collections
import itertools
import random
from typing import Counter, List, Sequence, Tuple

import pytest
from support.statistics import chi_square, limit

from connector.kernel.sample import Reservoir


def drawn(stream: Sequence[int], size: int, rng: random.Random, blocks: Sequence[int] = ()) -> List[int]:
    """Return the sample of a stream that comes in blocks of these lengths and one with the rest."""
    reservoir: Reservoir[int] = Reservoir(size, rng)
    start = 0
    for length in [*blocks, len(stream) - sum(blocks)]:
        block = stream[start : start + length]
        reservoir.extend(len(block), lambda block=block: block.__getitem__)  # type: ignore[misc]
        start += length
    assert reservoir.seen == len(stream)
    return reservoir.items


@pytest.mark.parametrize(
    ("size", "length", "blocks"),
    [
        (1, 1, []),
        (1, 2, []),
        (1, 40, [1] * 40),
        (5, 6, [3, 0, 2]),
        (5, 40, []),
        (5, 40, [7, 0, 1, 30]),
        (39, 40, [39]),
        (50, 400, [50, 350]),
    ],
)
def test_every_item_is_equally_likely(size: int, length: int, blocks: List[int]) -> None:
    """Over many samples, all items are drawn equally often, whatever the blocks."""
    rng = random.Random(20261121)
    counts: Counter[int] = collections.Counter(dict.fromkeys(range(length), 0))
    for _ in range(max(1000, 30 * length // size)):
        sample = drawn(range(length), size, rng, blocks)
        assert len(sample) == len(set(sample)) == min(size, length)
        counts.update(sample)
    assert size >= length or chi_square(counts.values()) < limit(counts.values())


def test_every_subset_is_equally_likely() -> None:
    """No items are drawn together more often than others."""
    rng = random.Random(7)
    subsets: Counter[Tuple[int, ...]] = collections.Counter()
    for _ in range(8000):
        subsets[tuple(sorted(drawn(range(6), 3, rng, [2, 2])))] += 1
    assert sorted(subsets) == sorted(itertools.combinations(range(6), 3))
    assert chi_square(subsets.values()) < limit(subsets.values())


def test_blocks_without_a_drawn_item_are_not_decoded() -> None:
    """The number of draws grows with the logarithm of the stream's length."""
    made = []

    def block(number: int) -> range:
        made.append(number)
        return range(number * 100, number * 100 + 100)

    reservoir: Reservoir[int] = Reservoir(10, random.Random(3))
    for number in range(10_000):
        reservoir.extend(100, lambda number=number: block(number).__getitem__)  # type: ignore[misc]
    assert (reservoir.seen, len(set(reservoir.items))) == (1_000_000, 10)
    assert len(made) < 250  # 10 * ln(1,000,000 / 10) = 115 items are expected to enter


def test_extreme_random_numbers_raise_no_error() -> None:
    """0.0 and the greatest number below 1 cause no division by zero and no logarithm of it."""
    for draw in (0.0, 1 - 2**-53, 2**-53):
        rng = random.Random()
        rng.random = lambda draw=draw: draw  # type: ignore[method-assign, misc]
        assert set(drawn(range(1000), 3, rng)) <= set(range(1000))
