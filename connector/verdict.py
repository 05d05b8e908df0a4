"""What Device Defender answers, on `<topic>/accepted` and `<topic>/rejected`, where the group subscribes to it."""

from __future__ import annotations

import json
import logging
from collections import deque
from typing import Any, Callable, Deque, Dict, Optional, Tuple

from .health import Health, plain

# The service's answers have some 200 bytes. What is longer is not one, and is not worth parsing.
LONGEST = 4096

# Changes from accepted to rejected and back that are logged in an hour: whoever may publish where the service answers
# must not be able to fill the log.
MOST_CHANGES = 24

ADVICE = {
    "InvalidPayload": "the report has a shape that the service does not take; please report this as a defect, with a "
    "report printed by `python -m connector`; custom metrics must exist in the account (aws iot create-custom-metric)",
    "Throttled": "reports come more often than every 300 s: is a second agent reporting for this thing, or is the "
    "function restarted again and again?",
}
ASK = "check that the thing is registered in this account and region and that Device Defender is available to it"


class Verdicts:
    """Takes what the core delivers to the function."""

    def __init__(
        self,
        thing: str,
        topic: str,
        health: Health,
        logger: logging.Logger,
        monotonic: Callable[[], float],
    ) -> None:
        self._thing = thing
        self._topic = topic
        self._health = health
        self._logger = logger
        self._monotonic = monotonic
        self._ignored = False
        self._rejected = False
        self._changes: Deque[float] = deque(maxlen=MOST_CHANGES)

    def take(self, event: Any, subject: Optional[str]) -> None:
        """Log one message: the event as the core decoded it, and the topic it came on, or None. Never raises for it."""
        verdict = _decode(event)
        if subject == self._topic + "/accepted" and self._is_ours(verdict):
            self._logger.debug("report %s was accepted by Device Defender", _said(verdict, "reportId"))
            if self._may_be(rejected=False):
                self._health.well("Device Defender's verdict")
        elif subject == self._topic + "/rejected" and self._is_ours(verdict):
            if self._may_be(rejected=True):
                code, sentence = _reason(verdict)
                self._health.failing("Device Defender's verdict", sentence, code if code in ADVICE else "")
        elif not self._ignored:
            self._ignored = True
            self._logger.warning(
                "ignored, as all further ones will be: a message that is no answer to this thing's reports; topic: %s",
                plain(subject, 200),
            )

    def _is_ours(self, verdict: Any) -> bool:
        return isinstance(verdict, dict) and verdict.get("thingName", self._thing) == self._thing

    def _may_be(self, rejected: bool) -> bool:
        """Return whether there is no change from the verdict before, or one more may be logged."""
        if rejected != self._rejected:
            now = self._monotonic()
            if len(self._changes) == MOST_CHANGES and now - self._changes[0] < 3600.0:
                return False
            self._changes.append(now)
            self._rejected = rejected
        return True


def _reason(verdict: Dict[Any, Any]) -> Tuple[str, str]:
    """Return the service's error code, and a sentence for the log."""
    details = verdict.get("statusDetails")
    details = details if isinstance(details, dict) else {}
    code = _said(details, "ErrorCode")
    return code, "report {} was rejected: {}: {}; {}".format(
        _said(verdict, "reportId"), code, _said(details, "ErrorMessage"), ADVICE.get(code, ASK)
    )


def _said(document: Dict[Any, Any], key: str) -> str:
    """Return a field as text for the log, whatever the message has in its place."""
    value = document.get(key)
    known = isinstance(value, str) or (isinstance(value, int) and abs(value) < 2**64)
    return plain(value, 200) if known else f"(no {key})"


def _decode(event: Any) -> Any:
    """Return the event as a value: with ENCODING_TYPE binary it comes as the bytes of a JSON or CBOR document."""
    if not isinstance(event, (bytes, bytearray)):
        return event
    if len(event) > LONGEST:
        return None
    document = bytes(event)
    try:
        if document[:1] == b"{":
            return json.loads(document.decode("utf-8"))
        if _has_tag(document):
            return None
        import cbor2  # only where answers come in CBOR

        # A decoder of its own for each message: CVE-2025-68131 is about what a decoder keeps for the next one.
        return cbor2.loads(document)
    except Exception:  # any bytes may come, and cbor2 raises more than its own errors
        return None


def _has_tag(document: bytes) -> bool:
    """Return whether any value has a tag (RFC 8949, 3.4), which none has in an answer of the service.

    cbor2 makes of it what it says, a compiled regular expression or a parsed mail, whose caches and modules stay: some
    hundred messages could take the function's whole memory. Heads (section 3) follow each other, whatever is in what.
    """
    place = 0
    while place < len(document):
        major, info = document[place] >> 5, document[place] & 31
        size = 1 << (info - 24) if 24 <= info < 28 else 0
        value = int.from_bytes(document[place + 1 : place + 1 + size], "big") if size else info
        if major == 6:
            return True
        place += 1 + size + (value if major in (2, 3) and info < 28 else 0)
    return False
