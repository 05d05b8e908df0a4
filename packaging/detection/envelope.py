"""Takes a report out of what a rule has put around it, and decodes a message that is one."""

from __future__ import annotations

import base64
import binascii
import io
import json
from typing import Any

import cbor2

from .reports import integer, no_constant

MAX_ENVELOPES = 8  # one in the other

_CBOR_BEGINS = range(0xA0, 0xE0)  # a map or a tag; neither JSON, with or without a byte order mark, nor base64


def unwrap(document: Any, thing_field: str) -> tuple[dict[str, Any], Any]:
    """Return the report in a document and the thing that it or an envelope around it names, or None.

    Raises ValueError with the fault, and RecursionError where it is nested too deep.
    """
    named = None
    for _ in range(MAX_ENVELOPES):
        if not isinstance(document, dict):
            raise ValueError("not a report: a JSON object is expected")
        if named is None:
            named = document.get(thing_field)
        if document.get("header") is not None or document.get("hed") is not None:
            break
        if isinstance(document.get("data"), (str, bytes)):
            document = _enveloped(document["data"])
        elif isinstance(document.get("report"), dict):
            document = document["report"]
        else:
            break
    return document, named


def message(payload: bytes) -> Any:
    """Return the document that is a message, in JSON or CBOR. Raises ValueError, and RecursionError as `unwrap`."""
    return _from_cbor(payload) if payload and payload[0] in _CBOR_BEGINS else loads(payload)


def loads(text: bytes) -> Any:
    """Return the document in JSON text. Raises ValueError."""
    return json.loads(text, parse_constant=no_constant, parse_int=integer)


def _enveloped(data: str | bytes) -> Any:
    """Return the document in an envelope: one of JSON or CBOR, in base64; in CBOR and Parquet also as it is."""
    payload = data if isinstance(data, bytes) and _is_document(data) else _unarmored(data)
    if payload.lstrip()[:1] in (b"{", b"["):
        try:
            return loads(payload)
        except ValueError as error:
            raise ValueError(f"data: not JSON: {error}") from error
    try:
        return _from_cbor(payload)
    except ValueError as error:
        raise ValueError(f"data: {error}") from error


def _from_cbor(payload: bytes) -> Any:
    items = io.BytesIO(payload)
    try:
        document = cbor2.CBORDecoder(items).decode()
    except Exception as error:  # cbor2 raises what its decoders of tags raise
        raise ValueError(f"neither JSON nor CBOR: {error}") from error
    if items.tell() < len(payload):
        raise ValueError("more follows the report in it")
    return document


def _is_document(data: bytes) -> bool:
    """Return whether bytes begin as an object in JSON or CBOR does, which text in base64 can't."""
    return data.lstrip()[:1] == b"{" or (data != b"" and data[0] in _CBOR_BEGINS)


def _unarmored(data: str | bytes) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"data: not base64: {error}") from error
