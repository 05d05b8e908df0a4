"""Finds the records of a file: reports as the types of shapes.py, where these take them, and documents, where not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Any, NamedTuple, TypeVar

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

_Item = TypeVar("_Item")

REFUSED = (msgspec.MsgspecError, ValueError, RecursionError)  # what decoding into declared types raises


class Record(NamedTuple):
    """A record of a file, not judged yet.

    place: its byte offset in what the file holds, decompressed; in Parquet its row
    document: what it was decoded to, or its text (bytes), or a Fault
    """

    place: int
    document: Any


class Pieces(NamedTuple):
    """Pieces of JSON text that follow each other.

    places: the byte offset of each
    texts: the pieces
    reports: each as shapes.py has it; None: it is no report, or only documents.py and reports.py can read it
    """

    places: list[int]
    texts: list[bytes]
    reports: list[Any]

    def part(self, begin: int, end: int | None = None) -> Pieces:
        """Return some of them."""
        return Pieces(self.places[begin:end], self.texts[begin:end], self.reports[begin:end])


class Text:
    """Finds the records of JSON text.

    types: of a report, in either style of names
    """

    def __init__(self, types: Iterable[Types]) -> None:
        self._decoders = [decoder(one) for one in types]

    def records(self, stream: sniff.Readable, base: int) -> Iterator[Record | Pieces]:
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
            failed: int | None = None  # where what was not accepted begins
            for pieces in self._decoded(buffer, base):
                begin = 0  # of those that were accepted and not yielded yet
                for index, report in enumerate(pieces.reports):
                    if report is None:
                        if begin < index:
                            yield pieces.part(begin, index)
                        begin = index + 1
                        if failed is None and pieces.texts[index].strip():
                            failed = pieces.places[index]
                    elif failed is not None:
                        yield from _scanned(buffer[failed - base : pieces.places[index] - base], failed, False)[0]
                        failed = None
                if begin < len(pieces.reports):
                    yield pieces.part(begin)
            rest = len(buffer)
            if failed is not None:
                records, taken = _scanned(buffer[failed - base :], failed, more)
                yield from records
                rest = failed - base + taken
            base += rest
            buffer = buffer[rest:]

    def _decoded(self, buffer: bytes, base: int) -> Iterator[Pieces]:
        """Yield all pieces of a text, some at a time. base: its byte offset."""
        is_utf8 = _is_utf8(buffer)
        decode = self._decode if is_utf8 else self._decode_text
        *lines, last = buffer.split(b"\n")
        for some in [*_grouped(lines), [last]]:  # apart, as it is cut off as a rule
            *places, base = accumulate((len(line) + 1 for line in some), initial=base)
            reports = self._decode_all(some) if is_utf8 else None
            if reports is not None:
                yield Pieces(places, some, reports)
                continue
            for pieces in _grouped([piece for line, place in zip(some, places) for piece in _apart(line, place)]):
                yield Pieces(
                    [place for place, _ in pieces],
                    [text for _, text in pieces],
                    [decode(text) for _, text in pieces],
                )

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


def with_damage(records: Iterator[Record | Pieces], content: Content) -> Iterator[Record | Pieces]:
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
        last = Record(last.place if last else content.last, Fault(f"{damage}; nothing was read from here on"))
    if last is not None:
        yield last
    if damage and not content.empty and not (damage.cut and last is not None and last.document.cut):
        yield Record(content.place, Fault(f"{damage}; nothing was read from here on", damage.cut))


def _grouped(items: list[_Item]) -> Iterator[list[_Item]]:
    for first in range(0, len(items), PIECES_AT_ONCE):
        yield items[first : first + PIECES_AT_ONCE]


def _apart(line: bytes, place: int) -> Iterator[tuple[int, bytes]]:
    """Yield place and text of the pieces of a line. place: its byte offset."""
    for piece in line.replace(b"}{", b"}\n{").split(b"\n"):
        yield place, piece
        place += len(piece)


def _scanned(content: bytes, base: int, more: bool) -> tuple[list[Record], int]:
    """Return the records of text that scan() finds, and how many bytes that took."""
    text = content.decode("utf-8", "surrogateescape")
    found, taken = scan(text, more)
    if text.isascii():
        return [Record(base + index, item) for index, item in found], taken
    size: Callable[[str], int] = lambda part: len(part.encode("utf-8", "surrogateescape"))  # noqa: E731
    records, before, place = [], 0, base
    for index, item in found:
        place += size(text[before:index])
        before = index
        records.append(Record(place, item))
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
