"""What passes between the process that asks for a reading and those that read: parts of files, and their account."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from .sniff import Recording

SEQUENCE = "sequence"  # the column that says where a row comes from: the number of its file, and its place there
FILE_SHIFT = 40  # bits of the place, a byte offset or a row; a file of 1 TB has room


@dataclass(frozen=True)
class Span:
    """A part of a file, or all of it.

    number: of the file, in the order in which a report that comes twice is the first
    device: the name of the thing where neither a report nor the path has one
    start, end: byte offsets where a document begins; end None: the end of the file
    """

    recording: Recording
    number: int
    device: str
    start: int = 0
    end: int | None = None

    @property
    def size(self) -> int:
        """How many bytes of the file it is."""
        return (self.recording.size if self.end is None else self.end) - self.start


class Skipped(NamedTuple):
    """A record that could not be read.

    number: of the file
    place: its byte offset in what the file holds, decompressed; in Parquet its row
    """

    number: int
    place: int
    reason: str


@dataclass
class Outcome:
    """The account of a part.

    found: records that are there
    kept: those that are in the rows
    skipped: those that could not be read, the first MAX_FAULTS of them
    skipped_count: how many those are
    torn: the last record of a file, cut off where the file ends
    has_rows: whether there is a file of rows
    """

    found: int = 0
    kept: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    skipped_count: int = 0
    torn: list[Skipped] = field(default_factory=list)
    has_rows: bool = False
