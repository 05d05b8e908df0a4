"""Encodes a report as compact JSON or CBOR; equal reports give equal bytes."""

from __future__ import annotations

import json
from typing import Any, Mapping

from .errors import ConnectorError
from .names import CBOR, JSON

FORMATS = (JSON, CBOR)


def prepare(report_format: str) -> None:
    """Import what `encode` needs, at the start of the process.

    The zip for any processor has cbor2 as source files. Compiling them takes 2 MB for a moment, which a function with a
    limit of 16 MB has at its start, but not while it makes a report. If the import fails, `encode` raises the error.
    """
    if report_format == CBOR:
        try:
            import cbor2  # noqa: F401
        except ImportError:
            pass


def encode(report: Mapping[str, Any], report_format: str) -> bytes:
    """Return the report as JSON (RFC 8259) or CBOR (RFC 8949). Raises ConnectorError where cbor2 can't be imported."""
    if report_format == JSON:
        return json.dumps(report, separators=(",", ":"), allow_nan=False).encode("ascii")
    try:
        import cbor2  # only here, so that a function that sends JSON does not load it
    except ImportError as error:
        raise ConnectorError(
            f"CBOR needs cbor2, which can't be imported ({error}): choose json, or install cbor2. Its compiled module "
            "can't be imported from a zip on the path: unpack the zip first"
        ) from error
    encoded: bytes = cbor2.dumps(report)
    return encoded
