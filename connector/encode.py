"""The fourth room: a report as bytes, compact, the same bytes for the same report."""

from __future__ import annotations

import json
from typing import Any, Mapping

from .errors import ConnectorError

FORMATS = ("json", "cbor")


def prepare(report_format: str) -> None:
    """Load what `encode` needs while the process is still small; where that can't be, `encode` says so.

    The zip for any processor has cbor2 as sources. To compile them takes 2 MB for a moment, which a function of 16 MB
    has at its start, and not any more beside a report.
    """
    if report_format == "cbor":
        try:
            import cbor2  # noqa: F401
        except ImportError:
            pass


def encode(report: Mapping[str, Any], report_format: str) -> bytes:
    """Return the report as JSON (RFC 8259) or CBOR (RFC 8949). Raises ConnectorError where cbor2 can't be imported."""
    if report_format == "json":
        return json.dumps(report, separators=(",", ":"), allow_nan=False).encode("ascii")
    try:
        import cbor2  # only where it is used: a function that sends JSON does not pay for it
    except ImportError as error:
        raise ConnectorError(
            f"CBOR needs cbor2, which can't be imported ({error}): choose json, or install cbor2"
        ) from error
    encoded: bytes = cbor2.dumps(report)
    return encoded
