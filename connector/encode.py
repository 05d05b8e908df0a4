"""The fourth room: a report as bytes, compact, the same bytes for the same report."""

from __future__ import annotations

import json
from typing import Any, Mapping

from .errors import ConnectorError

FORMATS = ("json", "cbor")


def encode(report: Mapping[str, Any], report_format: str) -> bytes:
    """Return the report as JSON (RFC 8259) or CBOR (RFC 8949). Raises ConnectorError where cbor2 can't be imported."""
    if report_format == "json":
        return json.dumps(report, separators=(",", ":"), allow_nan=False).encode("ascii")
    try:
        import cbor2  # only here: a function that sends JSON does not pay for it
    except ImportError as error:
        raise ConnectorError(
            "CBOR needs cbor2, which can't be imported ({}): choose json, or install cbor2".format(error)
        ) from error
    encoded: bytes = cbor2.dumps(report)
    return encoded
