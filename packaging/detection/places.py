"""Turns byte offsets into lines, for the few records that have to be named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from . import sniff
from .decompress import DamagedError

CHUNK_BYTES = 2**20


def places(recording: sniff.Recording, offsets: Sequence[int]) -> list[str]:
    """Return where each offset is, ready for a message; offsets in ascending order.

    Text has "FILE:LINE", as editors and compilers write it, and ":COLUMN" where a record does not begin its line. Other
    files have "FILE, byte N" or "FILE, row N", from 0.
    """
    path = recording.path
    if recording.kind == sniff.PARQUET:
        return [f"{path}, row {offset}" for offset in offsets]
    if recording.kind != sniff.TEXT:
        return [f"{path}, byte {offset}" for offset in offsets]
    try:
        return [f"{path}:{line}{f':{column}' if column > 1 else ''}" for line, column in _lines(recording, offsets)]
    except OSError:  # the file is gone by now
        return [f"{path}, byte {offset}" for offset in offsets]


def _lines(recording: sniff.Recording, offsets: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield (line, column), both from 1; the column is 1 for what has only white space before it on its line."""
    with sniff.content(recording) as stream:
        line, base, chunk = 1, 0, b""
        start = b""  # of the line that goes on in the chunk, as much as is needed
        length = 0  # of that
        for offset in offsets:
            while offset >= base + len(chunk):
                following = _read(stream)
                if not following:
                    break
                line += chunk.count(b"\n")
                last = chunk.rfind(b"\n")
                start = (start if last < 0 else b"")[:1] + chunk[last + 1 :].lstrip()[:1]
                length = length + len(chunk) if last < 0 else len(chunk) - last - 1
                base += len(chunk)
                chunk = following
            before = chunk[: offset - base]
            last = before.rfind(b"\n")
            in_chunk = before[last + 1 :]
            is_first = not (in_chunk if last >= 0 else start + in_chunk).strip()
            column = 1 if is_first else len(in_chunk) + 1 + (length if last < 0 else 0)
            yield line + before.count(b"\n"), column


def _read(stream: sniff.Readable) -> bytes:
    try:
        return stream.read(CHUNK_BYTES)
    except DamagedError:
        return b""
