"""Counts the records of recordings: read, there twice, skipped, cut off. The sum is always all that were found."""

from __future__ import annotations

from dataclasses import dataclass

MAX_SHOWN = 20  # lines about records that were skipped


@dataclass(frozen=True)
class RecordCounts:
    """The numbers of a reading. found = kept + doubled + torn_count + skipped_count.

    files: how many were read
    found: all records
    kept: reports that are in the table
    doubled: reports of a thing and report_id that another one in the table has
    differing: those of the doubled whose content differs from the kept one, which is the first by path and place
    skipped_count: records that could not be read
    skipped: "PLACE: REASON" of each, or of the first thousand of each part read
    torn_count: last records that are cut off where their file ends, as when its writer was stopped
    torn: "PLACE: REASON" of each, or of the first thousand
    things: how many devices the reports are of
    """

    files: int
    found: int
    kept: int
    doubled: int
    differing: int
    skipped_count: int
    skipped: tuple[str, ...]
    torn_count: int
    torn: tuple[str, ...]
    things: int

    @property
    def adds_up(self) -> bool:
        """Whether every record that was found is accounted for."""
        return self.found == self.kept + self.doubled + self.torn_count + self.skipped_count

    def lines(self) -> list[str]:
        """Return the numbers for a person: one line of numbers, then a line for each record that was skipped."""
        parts = [f"{self.kept:,} read"]
        if self.doubled:
            parts.append(f"{self.doubled:,} there twice and counted once")
        if self.skipped_count:
            parts.append(f"{self.skipped_count:,} skipped")
        if self.torn_count:
            parts.append(f"{self.torn_count:,} cut off at the end of a file")
        lines = [
            f"{_count(self.found, 'record')} in {_count(self.files, 'file')}: {', '.join(parts)};"
            f" {_count(self.things, 'device')}"
        ]
        if self.differing:
            lines.append(
                f"note: {self.differing:,} of those that are there twice differ from the one that counts, which is the"
                " first by path and place"
            )
        lines += [f"skipped: {text}" for text in self.skipped[:MAX_SHOWN]]
        more = self.skipped_count - len(self.skipped[:MAX_SHOWN])
        if more:
            lines.append(f"skipped: {more:,} more")
        lines += [f"cut off: {text}" for text in self.torn[:MAX_SHOWN]]
        more = self.torn_count - len(self.torn[:MAX_SHOWN])
        if more:
            lines.append(f"cut off: {more:,} more")
        return lines


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
