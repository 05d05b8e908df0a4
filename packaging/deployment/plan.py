"""What a run would change: documents before and after, shown as a diff."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import yaml

Document = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """One resource that would be written.

    before: None if it does not exist
    after: None if it is removed
    apply: writes it
    """

    title: str
    before: Document | None
    after: Document | None
    apply: Callable[[], None]

    def __str__(self) -> str:
        sign, verb = (
            ("+", "create") if self.before is None else ("-", "remove") if self.after is None else ("~", "change")
        )
        return "\n".join([f"{sign} {verb} {self.title}", *(f"    {line}" for line in self._diff())])

    def _diff(self) -> Iterable[str]:
        changed = difflib.unified_diff(_lines(self.before), _lines(self.after), lineterm="")
        for number, line in enumerate(list(changed)[2:]):
            if not line.startswith("@@"):
                yield f"{line[0]} {line[1:]}".rstrip()
            elif number:  # between two places of the document
                yield "  ..."


def _lines(document: Document | None) -> list[str]:
    # Sorted, because the services hand documents back in an order of their own.
    return yaml.safe_dump(document, width=1000).splitlines() if document else []


def show(changes: Iterable[Change], notes: Iterable[str] = (), settings: Iterable[str] = ()) -> str:
    """Return the plan as text: every change, then the settings that don't follow from a default, then the notes."""
    parts = [str(change) for change in changes] or ["Nothing to change."]
    lines = [f"  {line}" for line in settings]
    if lines:
        parts.append("\n".join(["Settings, beside those at their default:", *lines]))
    return "\n\n".join([*parts, *(f"Note: {note}" for note in notes)])
