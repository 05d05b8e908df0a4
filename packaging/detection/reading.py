"""Reads recordings into Parquet, in any process: files in, one file of rows and an account out.

JSON goes through the types of shapes.py, several times as fast as through reports.py. What those refuse goes through
documents.py and reports.py, which have the last word on what can be read and what it says.
"""

from __future__ import annotations

import base64
import binascii
import gc
import io
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cbor2

from . import sniff
from .batches import Batch
from .decompress import DamagedError
from .documents import Fault, read_cbor
from .parquet import decompressed, is_table, read_parquet, read_table
from .records import REFUSED, Content, Pieces, Record, Text, says_something, with_damage
from .reports import HIVE_NULL, NOT_A_THING, from_document, integer, is_text, no_constant
from .shapes import converter, report_types
from .spans import FILE_SHIFT, Outcome, Skipped, Span

THING_FIELD = "thing"

MAX_ENVELOPES = 8  # one in the other

MAX_FAULTS = 1000  # that are kept with their places; more are only counted


def read_spans(spans: list[Span], output: Path, thing_field: str | None) -> Outcome:
    """Read parts of files into one Parquet file of batches.PART_SCHEMA.

    output: the file to make
    thing_field: the field that names the thing, which a report then must have unless its path names it; None: `thing`,
        where there is one
    """
    gc_was_enabled = gc.isenabled()
    gc.disable()  # millions of lists without a cycle among them
    try:
        reader = Reader(Batch(output), thing_field)
        for span in spans:
            reader.read(span)
        return reader.close()
    finally:
        if gc_was_enabled:
            gc.enable()


class Reader:
    """Reads spans into a batch."""

    def __init__(self, batch: Batch, thing_field: str | None) -> None:
        self._batch = batch
        self._thing_field = thing_field or THING_FIELD
        self._must_name = thing_field is not None
        types = [report_types(short, self._thing_field) for short in (False, True)]
        self._text = Text(types)
        self._converters = [converter(one) for one in types]
        self._outcome = Outcome()

    def read(self, span: Span) -> None:
        """Read one span."""
        if span.recording.kind == sniff.PARQUET:
            self._read_parquet(span)
            return
        if span.recording.kind == sniff.UNKNOWN:
            self._take_all(span, iter([Record(0, Fault("neither JSON, CBOR nor Parquet, nor gzip or zstd of one"))]))
            return
        with ExitStack() as stack:
            try:
                stream = stack.enter_context(sniff.content(span.recording, span.start))
            except OSError as error:  # it is gone since the files were looked for, as when a log is rotated
                self._take_all(span, iter([Record(span.start, Fault(f"it can't be read: {error.strerror}"))]))
                return
            content = Content(stream, span.start, span.end)
            records: Iterator[Record | Pieces]
            if span.recording.kind == sniff.CBOR:
                records = (Record(place, document) for place, document in read_cbor(content))
            else:
                records = self._text.records(content, span.start)
            self._take_all(span, with_damage(records, content))

    def close(self) -> Outcome:
        """End the batch and return the account."""
        self._outcome.has_rows = self._batch.close()
        return self._outcome

    def _take_all(self, span: Span, records: Iterator[Record | Pieces]) -> None:
        outcome = self._outcome
        last: Record | None = None
        for record in records:
            if last is not None:  # a fault, of which only the last of a file may be cut off
                self._skip(span, last.place, last.document.reason)
                last = None
            if isinstance(record, Pieces):
                outcome.found += len(record.reports)
                self._add_declared(span, record)
                continue
            outcome.found += 1
            if isinstance(record.document, Fault):
                last = record
            else:
                self._add_document(span, record.place, record.document)
        if last is not None:
            if last.document.cut and span.end is None:
                outcome.torn.append(Skipped(span.number, last.place, last.document.reason))
            else:
                self._skip(span, last.place, last.document.reason)

    def _read_parquet(self, span: Span) -> None:
        try:
            with decompressed(span.recording) as path:
                if is_table(path):
                    self._copy(span, path)
                else:
                    self._take_all(span, (Record(row, document) for row, document in read_parquet(path)))
        except DamagedError as damage:
            self._take_all(span, iter([Record(0, Fault(f"{damage}; nothing was read", damage.cut))]))

    def _copy(self, span: Span, path: Path) -> None:
        sequence = span.number << FILE_SHIFT
        for row, rows in read_table(path):
            if isinstance(rows, Fault):
                self._outcome.found += 1
                self._skip(span, row, rows.reason)
                continue
            refused = self._batch.add_rows(rows, sequence + row)
            for index, reason in refused.items():
                self._skip(span, row + index, reason)
            self._outcome.found += rows.num_rows
            self._outcome.kept += rows.num_rows - len(refused)

    def _add_declared(self, span: Span, pieces: Pieces) -> None:
        """Add reports as shapes.py has them. Where not all are taken, each half is tried, down to what is not taken."""
        base = span.number << FILE_SHIFT
        try:
            named = [report.thing for report in pieces.reports]
            things = {name: self._thing(span, name) for name in set(named)}
            self._batch.add_declared(
                pieces.reports, [things[name] for name in named], [base + place for place in pieces.places]
            )
            self._outcome.kept += len(pieces.reports)
        except ValueError:
            if len(pieces.reports) == 1:
                self._add_document(span, pieces.places[0], pieces.texts[0])
                return
            middle = len(pieces.reports) // 2
            self._add_declared(span, pieces.part(0, middle))
            self._add_declared(span, pieces.part(middle))

    def _add_document(self, span: Span, place: int, document: Any) -> None:
        """Add a document, or its text, or skip it if it is no report."""
        try:
            if isinstance(document, bytes):
                document = _loads(document)
            self._add_unwrapped(span, (span.number << FILE_SHIFT) + place, *self._unwrap(document))
            self._outcome.kept += 1
        except (ValueError, RecursionError) as error:
            self._skip(span, place, "nested too deep" if isinstance(error, RecursionError) else str(error))

    def _add_unwrapped(self, span: Span, sequence: int, document: dict[str, Any], named: Any) -> None:
        thing = self._thing(span, named)
        for convert in self._converters:
            try:
                declared = convert(document)
                if says_something(declared):
                    self._batch.add_declared([declared], [thing], [sequence])
                    return
            except REFUSED:
                pass
        self._batch.add_report(from_document(document, ""), thing, sequence)

    def _unwrap(self, document: Any) -> tuple[dict[str, Any], Any]:
        """Return the report in a document and the thing that it or an envelope around it names, or None."""
        named = None
        for _ in range(MAX_ENVELOPES):
            if not isinstance(document, dict):
                raise ValueError("not a report: a JSON object is expected")
            if named is None:
                named = document.get(self._thing_field)
            if document.get("header") is not None or document.get("hed") is not None:
                break
            if isinstance(document.get("data"), (str, bytes)):
                document = _enveloped(document["data"])
            elif isinstance(document.get("report"), dict):
                document = document["report"]
            else:
                break
        return document, named

    def _thing(self, span: Span, named: Any) -> str:
        if named is not None and not (isinstance(named, str) and named and is_text(named)):
            raise ValueError(f"{self._thing_field}: the name of a thing is expected, not {named!r:.50}")
        by_path = span.recording.thing
        for name in (named, by_path):
            if name not in (None, NOT_A_THING, HIVE_NULL):
                return str(name)
        if NOT_A_THING in (named, by_path):
            raise ValueError(
                f"{self._thing_field}: {NOT_A_THING} is what clientid() gives for a report that did not come by"
                " MQTT; let the rule select topic(3), or name the thing by the path (--thing-from)"
            )
        if HIVE_NULL in (named, by_path):
            raise ValueError(
                f"{self._thing_field}: {HIVE_NULL} is what Hive writes where there is no value; let the reports"
                " name their things, or name the thing by the path (--thing-from)"
            )
        if self._must_name:
            raise ValueError(f"no field {self._thing_field} (--thing-field)")
        return span.device

    def _skip(self, span: Span, place: int, reason: str) -> None:
        self._outcome.skipped_count += 1
        if len(self._outcome.skipped) < MAX_FAULTS:
            self._outcome.skipped.append(Skipped(span.number, place, reason))


def _loads(text: bytes) -> Any:
    return json.loads(text, parse_constant=no_constant, parse_int=integer)


def _enveloped(data: str | bytes) -> Any:
    """Return the document in an envelope: one of JSON or CBOR, in base64; in CBOR and Parquet also as it is."""
    payload = data if isinstance(data, bytes) and _is_document(data) else _unarmored(data)
    if payload.lstrip()[:1] in (b"{", b"["):
        try:
            return _loads(payload)
        except ValueError as error:
            raise ValueError(f"data: not JSON: {error}") from error
    items = io.BytesIO(payload)
    try:
        document = cbor2.CBORDecoder(items).decode()
    except Exception as error:  # cbor2 raises what its decoders of tags raise
        raise ValueError(f"data: neither JSON nor CBOR: {error}") from error
    if items.tell() < len(payload):
        raise ValueError("data: more follows the report in it")
    return document


def _is_document(data: bytes) -> bool:
    """Return whether bytes begin as an object in JSON or CBOR does, which text in base64 can't."""
    return data.lstrip()[:1] == b"{" or data[:1] >= b"\xa0"


def _unarmored(data: str | bytes) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"data: not base64: {error}") from error
