"""Finds the documents in what a file holds: JSON however it is laid out, or CBOR. It does not know what a report is.

JSON documents may stand on a line each, several on a line with nothing between them, be printed over many lines, be the
elements of an array, or all of this in one file. What can't be read is left out: the search goes on where the next
document begins.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import cbor2

from .reports import integer, no_constant
from .sniff import Readable

CHUNK_BYTES = 2**18  # read at a time
MAX_DOCUMENT_BYTES = 16 * 2**20  # what is longer is no report; AWS IoT takes 128 KB
MIN_DEEP = 500  # levels that Python's decoder goes down at least, so no document begins in as many characters
MAX_ARRAYS = 8  # of CBOR, one in the other, that are looked into

# The names that come first in a report, an envelope, or what a rule added to one. A search for the next document looks
# for them where nothing else shows that a document begins.
_FIRST_NAMES = (
    *("header", "hed", "metrics", "met", "custom_metrics", "cmet", "report", "data"),
    *("thing", "timestamp", "topic", "clientid"),
)

_DECODER = json.JSONDecoder(parse_constant=no_constant, parse_int=integer)
# Commas and brackets: the elements of an array are documents. NUL: what a disk has at the end of a file whose writer
# lost its power. U+FEFF: a byte order mark.
_BETWEEN = re.compile("[\\s,\\[\\]\0\ufeff]*")
_NEXT_JSON = re.compile(rf'(?<=\n)(?=\{{)|(?<=\}})(?=\{{)|(?=\{{\s*"(?:{"|".join(_FIRST_NAMES)})")')
_NEXT_CBOR = re.compile(
    b"[\xa1-\xbf](?:%s)" % b"|".join(re.escape(cbor2.dumps(name)) for name in _FIRST_NAMES), re.DOTALL
)


class Fault(NamedTuple):
    """What is no document.

    reason: why, for a person
    cut: it ends where the text ends, and would go on
    """

    reason: str
    cut: bool = False


def next_bytes(left: int) -> int:
    """Return how much to read next. left: bytes in which no document ended, and which are searched again with it.

    Twice as much each time: else what is not ended by anything would be searched again every CHUNK_BYTES.
    """
    return max(CHUNK_BYTES, left)


def scan(text: str, more: bool) -> tuple[list[tuple[int, Any]], int]:
    """Return (index, document or Fault) for each JSON object in a text, and how much of the text that took.

    more: the text may go on; then what is not complete is left, as it can be read with what follows
    """
    found: list[tuple[int, Any]] = []
    position = 0
    while True:
        start = position = _between(text, position)
        if position == len(text):
            return found, position
        item: Any
        if text[position] != "{":
            item, position = Fault("not JSON"), _end_of_line(text, position)
            if more and position == len(text) and len(text) - start < MAX_DOCUMENT_BYTES:
                return found, start
        else:
            try:
                item, position = _DECODER.raw_decode(text, position)
                text[start:position].encode()
            except UnicodeEncodeError:
                item = Fault("not UTF-8 text")
            except (ValueError, RecursionError) as error:
                item = _fault(text, error)
                if more and item.cut and len(text) - start < MAX_DOCUMENT_BYTES:
                    return found, start
                nested = MIN_DEEP if isinstance(error, RecursionError) else 1
                following = _NEXT_JSON.search(text, start + nested)
                if following is None and more and len(text) - start < MAX_DOCUMENT_BYTES:
                    return found, start
                position = following.start() if following else len(text)
                if following:
                    item = item._replace(cut=False)
        found.append((start, item))


def read_cbor(stream: Readable) -> Iterator[tuple[int, Any]]:
    """Yield (byte offset, document or Fault) for each CBOR item of a file; those of arrays one by one, as in JSON."""
    base = 0
    buffer = b""
    more = True
    while more or buffer:
        read = stream.read(next_bytes(len(buffer)))
        more = bool(read)
        buffer += read
        position = 0
        file, decoder = _cbor_at(buffer, position)
        while position < len(buffer):
            may_go_on = more and len(buffer) - position < MAX_DOCUMENT_BYTES
            try:
                item = decoder.decode()
            except cbor2.CBORDecodeEOF as error:
                if may_go_on:
                    break
                item = Fault(f"not CBOR: {error}", cut=True)
            except Exception as error:  # cbor2 raises what its decoders of tags raise
                item = Fault(f"not CBOR: {error}")
            if isinstance(item, Fault):
                following = _NEXT_CBOR.search(buffer, position + 1)
                if following is None and may_go_on:
                    break
                yield base + position, item._replace(cut=item.cut and not following)
                position = following.start() if following else len(buffer)
                file, decoder = _cbor_at(buffer, position)
                continue
            # Each element takes a byte or more, so their offsets differ, though they are not where the element is.
            for number, element in enumerate(_elements(item)):
                yield base + position + number, element
            position = file.tell()
        base += position
        buffer = buffer[position:]


def _elements(item: Any, deepest: int = MAX_ARRAYS) -> Iterator[Any]:
    """Yield what is in arrays; deeper ones, which may contain themselves in CBOR, as they are."""
    if not isinstance(item, (list, tuple)) or not deepest:
        yield item
        return
    for element in item:
        yield from _elements(element, deepest - 1)


def _cbor_at(buffer: bytes, position: int) -> tuple[Any, cbor2.CBORDecoder]:
    file = io.BytesIO(buffer)
    file.seek(position)
    return file, cbor2.CBORDecoder(file)


def _between(text: str, position: int) -> int:
    match = _BETWEEN.match(text, position)
    assert match  # it matches nothing, too
    return match.end()


def _end_of_line(text: str, position: int) -> int:
    end = text.find("\n", position)
    following = _NEXT_JSON.search(text, position, end if end >= 0 else len(text))
    if following:
        return following.start()
    return end if end >= 0 else len(text)


def _fault(text: str, error: ValueError | RecursionError) -> Fault:
    if isinstance(error, RecursionError):
        return Fault("nested too deep")
    if not isinstance(error, json.JSONDecodeError):
        return Fault(str(error))  # no_constant()
    # What is cut off ends inside a string, or within the last word or escape sequence, of at most 5 letters.
    cut = error.msg.startswith("Unterminated string") or len(text.rstrip()) - error.pos <= 5
    return Fault(f"not JSON: {error.msg}", cut)
