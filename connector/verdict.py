"""What Device Defender answers, on `<topic>/accepted` and `<topic>/rejected`, where the group subscribes to it."""

from __future__ import annotations

import json
import logging
from typing import Any, Dict, Optional

from .health import Health, plain

# The service's answers have some 200 bytes. What is longer is not one, and is not worth parsing.
LONGEST = 4096

ADVICE = {
    "InvalidPayload": "the report has a shape that the service does not take; please report this as a defect, with a "
    "report printed by `python -m connector`; custom metrics must exist in the account (aws iot create-custom-metric)",
    "Throttled": "reports come more often than every 300 s: is a second agent reporting for this thing, or is the "
    "function restarted again and again?",
}
ASK = "check that the thing is registered in this account and region and that Device Defender is available to it"


class Verdicts:
    """Takes what the core delivers to the function."""

    def __init__(self, thing: str, topic: str, health: Health, logger: logging.Logger) -> None:
        self._thing = thing
        self._topic = topic
        self._health = health
        self._logger = logger
        self._ignored = False

    def take(self, event: Any, subject: Optional[str]) -> None:
        """Log one message: the event as the core decoded it, and the topic it came on, or None. Never raises for it."""
        verdict = _decode(event)
        if subject == self._topic + "/accepted" and self._is_ours(verdict):
            self._logger.debug("report %s was accepted by Device Defender", _said(verdict, "reportId"))
            self._health.well("Device Defender's verdict")
        elif subject == self._topic + "/rejected" and self._is_ours(verdict):
            details = verdict.get("statusDetails")
            details = details if isinstance(details, dict) else {}
            code = _said(details, "ErrorCode")
            self._health.failing(
                "Device Defender's verdict",
                "report {} was rejected: {}: {}; {}".format(
                    _said(verdict, "reportId"),
                    code,
                    _said(details, "ErrorMessage"),
                    ADVICE.get(code, ASK),
                ),
            )
        elif not self._ignored:
            self._ignored = True
            self._logger.warning(
                "ignored, as all further ones will be: a message that is no answer to this thing's reports; topic: %s",
                plain(subject, 200),
            )

    def _is_ours(self, verdict: Any) -> bool:
        return isinstance(verdict, dict) and verdict.get("thingName", self._thing) == self._thing


def _said(document: Dict[Any, Any], key: str) -> str:
    """Return a field as text for the log, whatever the message has in its place."""
    value = document.get(key)
    known = isinstance(value, str) or (isinstance(value, int) and abs(value) < 2**64)
    return plain(value, 200) if known else "(no {})".format(key)


def _decode(event: Any) -> Any:
    """Return the event as a value: with ENCODING_TYPE binary it comes as the bytes of a JSON or CBOR document."""
    if not isinstance(event, (bytes, bytearray)):
        return event
    if len(event) > LONGEST:
        return None
    try:
        if event[:1] == b"{":
            return json.loads(event.decode("utf-8"))
        import cbor2  # only where answers come in CBOR

        # A decoder of its own for each message: CVE-2025-68131 is about what a decoder keeps for the next one.
        return cbor2.loads(bytes(event))
    except Exception:  # any bytes may come, and cbor2 raises more than its own errors
        return None
