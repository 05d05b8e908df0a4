"""Recordings as they come: documents in the layouts, envelopes and compressions that files have."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Sequence
from typing import Any

import cbor2
import zstandard

from connector import names

SHORT_NAMES = {field.long: field.short for field in names.FIELDS}

Documents = Sequence[Any]


def compact(document: Any) -> bytes:
    """Return a document in JSON without spaces, as the connector sends it."""
    return json.dumps(document, separators=(",", ":")).encode()


def in_short_names(block: Any) -> Any:
    """Return a report with the names of MetricNames short. Custom metrics keep theirs."""
    if isinstance(block, dict):
        return {
            SHORT_NAMES.get(name, name): inner if name == "custom_metrics" else in_short_names(inner)
            for name, inner in block.items()
        }
    if isinstance(block, list):
        return [in_short_names(inner) for inner in block]
    return block


def cbor(document: Any) -> bytes:
    """Return a document in CBOR; one with half a surrogate pair, which CBOR can't hold, as what is no report."""
    try:
        return cbor2.dumps(document)
    except UnicodeEncodeError:
        return cbor2.dumps("no report")


def _enveloped(payload: Callable[[Any], bytes]) -> Callable[[Documents], bytes]:
    def write(documents: Documents) -> bytes:
        envelopes = [{"data": base64.b64encode(payload(one)).decode()} for one in documents]
        return b"\n".join(map(compact, envelopes))

    return write


# By name: how a file holds documents.
LAYOUTS: dict[str, Callable[[Documents], bytes]] = {
    "lines": lambda documents: b"".join(compact(one) + b"\n" for one in documents),
    "concatenated": lambda documents: b"".join(map(compact, documents)),
    "several on a line": lambda documents: b"".join(
        compact(one) + (b"\r\n" if number % 3 else b"") for number, one in enumerate(documents)
    ),
    "commas": lambda documents: b",".join(map(compact, documents)),
    "pretty": lambda documents: "\n".join(json.dumps(one, indent=2) for one in documents).encode(),
    "array": lambda documents: json.dumps(list(documents)).encode(),
    "pretty array": lambda documents: json.dumps(list(documents), indent=2).encode(),
    "byte order mark": lambda documents: b"\xef\xbb\xbf" + b"\n".join(map(compact, documents)),
    "CBOR": lambda documents: b"".join(map(cbor, documents)),
    "CBOR array": lambda documents: b"\x9f" + b"".join(map(cbor, documents)) + b"\xff",
    "JSON in envelopes": _enveloped(compact),
    "CBOR in envelopes": _enveloped(cbor),
    "under report": lambda documents: b"\n".join(compact({"report": one}) for one in documents),
}

COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda content: content,
    "gzip": gzip.compress,
    "gzip members": lambda content: (
        gzip.compress(content[: len(content) // 2]) + gzip.compress(content[len(content) // 2 :])
    ),
    "zstd": zstandard.compress,
    "zstd frames": lambda content: b"".join(
        map(zstandard.compress, (content[: len(content) // 3], content[len(content) // 3 :]))
    ),
    "pzstd": lambda content: b"".join(
        b"\x50\x2a\x4d\x18\x04\0\0\0size" + zstandard.compress(part)
        for part in (content[: len(content) // 3], content[len(content) // 3 :])
    ),
}
