"""A chi-square test of uniform samples, without a library for it."""

from __future__ import annotations

from typing import Collection


def chi_square(counts: Collection[int]) -> float:
    """Return the chi-square statistic of counts that should be equal, with len(counts) - 1 degrees of freedom."""
    expected = sum(counts) / len(counts)
    return sum((count - expected) ** 2 for count in counts) / expected


def limit(counts: Collection[int]) -> float:
    """Return the value that chi_square() of a uniform sample exceeds once in 1,000 (Wilson-Hilferty)."""
    freedom = len(counts) - 1
    return float(freedom * (1 - 2 / (9 * freedom) + 3.0902 * (2 / (9 * freedom)) ** 0.5) ** 3)
