"""Whether a sample is fair: a chi-square test, without a library for it."""

from __future__ import annotations

from typing import Collection


def chi_square(counts: Collection[int]) -> float:
    """Return how far the counts are from equal, as the chi-square statistic with len(counts) - 1 degrees of freedom."""
    expected = sum(counts) / len(counts)
    return sum((count - expected) ** 2 for count in counts) / expected


def limit(counts: Collection[int]) -> float:
    """Return what the statistic of a fair sample exceeds once in a thousand (Wilson and Hilferty's approximation)."""
    freedom = len(counts) - 1
    return float(freedom * (1 - 2 / (9 * freedom) + 3.0902 * (2 / (9 * freedom)) ** 0.5) ** 3)
