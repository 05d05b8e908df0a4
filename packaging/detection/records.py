"""Finds the records of a file: reports as the types of shapes.py, where these take them, and documents, where not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from . import sniff
from .decompress import DamagedError, Decompressed
from .documents import Fault, next_bytes, scan
from .shapes import Types, decoder

PIECES_AT_ONCE = 128  # decoded, before they are used: what does not fit into a processor's cache takes twice the time

# A compressed file is not read further after this much content without a document, if it has been compressed by this
# factor. No recording is like that, and a few MB of it could expand to gigabytes, which would take long to search.
MAX_EMPTY_BYTES = 4 * 2**20
MIN_EMPTY_RATIO = 200  # of the content to the file

REFUSED = (msgspec.MsgspecError, ValueError, RecursionError)  # what decoding into declared types raises


class Record(NamedTuple):
    """A record of a file, not judged yet.

    place: its byte offset in what the file holds, decompressed; in Parquet its row
    declared: as shapes.py has it; None: see document
    document: what it was decoded to, or its text (bytes), or a Fault
    """

    place: int
    declared: Any
    document: Any


class Text:
    """Finds the records of JSON text.

    types: of a report, in either style of names
    """

    def __init__(self, types: Iterable[Types]) -> None:
        self._decoders = [decoder(one) for one in types]

    def records(self, stream: sniff.Readable, base: int) -> Iterator[Record | list[Record]]:
        """Yield the records of JSON text, those that the types accept many at a time.

        base: the byte offset of what the stream gives first

        The text is taken apart at line ends and between "}" and "{". Each piece that the types accept is a report: a
        piece that was cut out of a string by mistake is none, as no key of a report can stand outside strings. The
        other pieces are put together again and searched for documents.
        """
        buffer = b""
        more = True
        while more or buffer:
            read = stream.read(next_bytes(len(buffer)))
            more = bool(read)
            buffer += read
            position, failed = 0, -1
            accepted: list[Record] = []
            for piece, declared in self._decoded(buffer):
                if declared is not None:
                    if failed >= 0:
                        yield from _scanned(buffer[failed:position], base + failed, False)[0]
                        failed = -1
                    accepted.append(Record(base + position, declared, piece))
                elif failed < 0 and piece and not piece.isspace():
                    failed = position
                if accepted and (failed >= 0 or len(accepted) == PIECES_AT_ONCE):
                    yield accepted
                    accepted = []
                position += len(piece)
                position += buffer[position : position + 1] == b"\n"
            if accepted:
                yield accepted
            rest = len(buffer)
            if failed >= 0:
                records, taken = _scanned(buffer[failed:], base + failed, more)
                yield from records
                rest = failed + taken
            base += rest
            buffer = buffer[rest:]

    def _decoded(self, buffer: bytes) -> Iterator[tuple[bytes, Any]]:
        """Yield the pieces of a text, and for each its report as shapes.py reads it, or None if it is no report."""
        is_utf8 = _is_utf8(buffer)
        decode = self._decode if is_utf8 else self._decode_text
        lines = buffer.split(b"\n")
        for first in range(0, len(lines), PIECES_AT_ONCE):
            pieces = lines[first : first + PIECES_AT_ONCE]
            reports = self._decode_all(pieces[:-1]) if is_utf8 else None
            last = decode(pieces[-1])  # of the whole text it is cut off, as a rule
            if reports is not None and (last is not None or b"}{" not in pieces[-1]):
                yield from zip(pieces, [*reports, last])
                continue
            for piece in b"\n".join(pieces).replace(b"}{", b"}\n{").split(b"\n"):
                yield piece, decode(piece)

    def _decode_all(self, lines: list[bytes]) -> list[Any] | None:
        """Return the reports of lines, None for an empty line; or None if one is not a report in the usual names."""
        decode = self._decoders[0]
        try:
            reports = [decode(line) if line else None for line in lines]
        except REFUSED:
            return None
        return reports if all(report is None or says_something(report) for report in reports) else None

    def _decode(self, piece: bytes) -> Any:
        for decode in self._decoders if piece else ():
            try:
                report = decode(piece)
            except REFUSED:
                continue
            if not says_something(report):
                return None
            if decode is not self._decoders[0]:
                self._decoders.reverse()  # a file has one style of names
            return report
        return None

    def _decode_text(self, piece: bytes) -> Any:
        return self._decode(piece) if _is_utf8(piece) else None


class Content:
    """What a span holds, read piece by piece; ends where the file is damaged.

    place: the byte offset after what was read
    damage: why it could not be read to its end; None: it could
    empty: whether that is for having no document, see MAX_EMPTY_BYTES
    last: the byte offset after what was read when there last was a document
    """

    def __init__(self, stream: sniff.Readable, start: int, end: int | None) -> None:
        self._stream = stream
        self._end = end
        self.place = start
        self.damage: DamagedError | None = None
        self.empty = False
        self.found()

    def found(self) -> None:
        """Note that there was a document in what was read so far."""
        self.last = self.place
        self._taken = self._taken_so_far

    @property
    def _taken_so_far(self) -> int:
        """How many bytes of the file the content so far takes, at most."""
        return self._stream.taken if isinstance(self._stream, Decompressed) else self.place

    def _is_empty(self) -> bool:
        empty = self.place - self.last
        return empty >= MAX_EMPTY_BYTES and empty > MIN_EMPTY_RATIO * (self._taken_so_far - self._taken)

    def read(self, size: int) -> bytes:
        if self.damage:
            return b""
        if self._is_empty():
            self.empty = True
            empty, taken = self.place - self.last, self._taken_so_far - self._taken
            self.damage = DamagedError(f"no document in {empty:,} bytes, which take {taken:,} of the file")
            return b""
        if self._end is not None:
            size = min(size, self._end - self.place)
        try:
            read = self._stream.read(size)
        except DamagedError as damage:
            self.damage = damage
            return b""
        except OSError as error:
            self.damage = DamagedError(f"it can't be read: {error.strerror}")
            return b""
        self.place += len(read)
        return read


def with_damage(records: Iterator[Record | list[Record]], content: Content) -> Iterator[Record | list[Record]]:
    """Yield records, then that the file could not be read to its end, unless the last record says so already."""
    last: Record | None = None  # if it is no document
    for record in records:
        if last is not None:
            yield last
            last = None
        if isinstance(record, Record) and isinstance(record.document, Fault):
            last = record
        else:
            content.found()
            yield record
    damage = content.damage
    if content.empty:  # one line for the file: the last record stands for what was read without a document
        last = Record(last.place if last else content.last, None, Fault(f"{damage}; nothing was read from here on"))
    if last is not None:
        yield last
    if damage and not content.empty and not (damage.cut and last is not None and last.document.cut):
        yield Record(content.place, None, Fault(f"{damage}; nothing was read from here on", damage.cut))


def _scanned(content: bytes, base: int, more: bool) -> tuple[list[Record], int]:
    """Return the records of text that scan() finds, and how many bytes that took."""
    text = content.decode("utf-8", "surrogateescape")
    found, taken = scan(text, more)
    if text.isascii():
        return [Record(base + index, None, item) for index, item in found], taken
    size: Callable[[str], int] = lambda part: len(part.encode("utf-8", "surrogateescape"))  # noqa: E731
    records, before, place = [], 0, base
    for index, item in found:
        place += size(text[before:index])
        before = index
        records.append(Record(place, None, item))
    return records, size(text[:taken])


def says_something(report: Any) -> bool:
    """Return whether a report has anything beside its header, as it must."""
    return report.metrics is not None or report.custom_metrics is not None


def _is_utf8(content: bytes) -> bool:
    if content.isascii():
        return True
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
