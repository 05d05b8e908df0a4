"""Says in a few lines which behaviors were not replayed, and why."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from .outcome import Result

MAX_SHOWN = 3  # so many are shown one by one, each with its rule
WIDTH = 118  # characters of a line


def is_long(results: Sequence[Result]) -> bool:
    """Return whether there are too many behaviors that were not replayed to show each of them."""
    return sum(result.skipped is not None for result in results) > MAX_SHOWN


def by_reason(results: Sequence[Result]) -> list[str]:
    """Return the lines that say what was not replayed, one reason after the other, the most frequent first.

    Behaviors that differ in the metric only have the same reason.
    """
    groups: dict[str, list[Result]] = {}
    for result in results:
        if result.skipped is not None:
            groups.setdefault(result.skipped.replace(result.behavior.metric, "\0"), []).append(result)
    lines = ["Not replayed (--all shows each with its rule, --json too):"]
    for reason, group in sorted(groups.items(), key=lambda item: -len(item[1])):
        metrics = _joined(dict.fromkeys(result.behavior.metric for result in group))
        text = f"{_who(group)}: {reason.replace(chr(0), metrics)}"
        lines += textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
    return lines


def _who(group: Sequence[Result]) -> str:
    if len(group) <= MAX_SHOWN:
        return _joined({f"{result.profile}/{result.behavior.name}": None for result in group})
    return f"{len(group):,} behaviors of {_joined(dict.fromkeys(result.profile for result in group))}"


def _joined(names: dict[str, None]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
