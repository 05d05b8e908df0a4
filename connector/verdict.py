"""Device Defender's answers to the reports, on `<topic>/accepted` and `<topic>/rejected`."""

from __future__ import annotations

import logging
from collections import deque
from typing import Any, Callable, Deque, Dict, Optional, Tuple

from .decode import decode
from .health import Health, plain

VERDICT = "Device Defender's verdict"

# Changes from accepted to rejected and back that are logged in an hour: whoever may publish on the answer topics must
# not be able to fill the log.
MAX_CHANGES_PER_HOUR = 24

# Accepted reports without any verdict before the log says so. The first verdict comes within seconds of the first
# report, where it comes at all; the third report is 10 minutes later.
REPORTS_WITHOUT_VERDICT = 3

MAX_ID_DIGITS = 19  # of a number of 64 bits

ADVICE = {
    "InvalidPayload": "the service does not accept the report's format; please report this as a defect, with a "
    "report printed by `python -m connector`; custom metrics must exist in the account (aws iot create-custom-metric)",
    "Throttled": "reports come more often than every 300 s: is a second agent reporting for this thing, or is the "
    "function restarted again and again?",
}
OTHER_ADVICE = (
    "check that the thing is registered in this account and region and that Device Defender is available to it"
)


class Verdicts:
    """Logs the service's answers. Over a transport that proves delivery no report depends on them.

    on_answer: called with each answer: the report's id, None if it names none, and whether the report was accepted.
    """

    def __init__(
        self,
        thing: str,
        topic: str,
        health: Health,
        logger: logging.Logger,
        monotonic: Callable[[], float],
        on_answer: Callable[[Optional[int], bool], None] = lambda report_id, accepted: None,
    ) -> None:
        self._on_answer = on_answer
        self._thing = thing
        self._topic = topic
        self._health = health
        self._logger = logger
        self._monotonic = monotonic
        self._reports = 0  # accepted before the first verdict
        self._any_came = False
        self._other_message_logged = False
        self._rejected = False
        self._changes: Deque[float] = deque(maxlen=MAX_CHANGES_PER_HOUR)

    def count_report(self) -> None:
        """Count a report that the transport's peer accepted; log, once, when no verdict has come for the first few."""
        if self._any_came or self._reports >= REPORTS_WITHOUT_VERDICT:
            return
        self._reports += 1
        if self._reports == REPORTS_WITHOUT_VERDICT:
            self._logger.info(
                "%s: none came for the first %d reports: either no subscription brings %s/accepted and /rejected back "
                "to the connector, or the reports have not reached AWS IoT yet, or the account does not use Device "
                "Defender Detect; reporting goes on",
                VERDICT,
                REPORTS_WITHOUT_VERDICT,
                plain(self._topic),
            )

    def take(self, message: Any, topic: Optional[str]) -> None:
        """Log one message of the transport.

        message: bytes of a JSON or CBOR document, or the decoded value. topic: where it came on, None where unknown.
        """
        verdict = decode(bytes(message)) if isinstance(message, (bytes, bytearray)) else message
        is_ours = isinstance(verdict, dict) and verdict.get("thingName", self._thing) == self._thing
        if is_ours and topic == self._topic + "/accepted":
            self._any_came = True
            self._on_answer(_report_id(verdict), True)
            self._logger.debug("report %s was accepted by Device Defender", _field(verdict, "reportId"))
            if self._is_logged(rejected=False):
                self._health.recovered(VERDICT)
        elif is_ours and topic == self._topic + "/rejected":
            self._any_came = True
            self._on_answer(_report_id(verdict), False)
            if self._is_logged(rejected=True):
                code, sentence = _reason(verdict)
                self._health.failed(VERDICT, sentence, code if code in ADVICE else "")
        elif not self._other_message_logged:
            self._other_message_logged = True
            self._logger.warning(
                "ignored a message that is not an answer to this thing's reports, on topic %s; further ones are "
                "ignored without a line",
                plain(topic, 200),
            )

    def _is_logged(self, rejected: bool) -> bool:
        """Return whether to log this verdict: it is as the one before, or a change within MAX_CHANGES_PER_HOUR."""
        if rejected != self._rejected:
            now = self._monotonic()
            if len(self._changes) == MAX_CHANGES_PER_HOUR and now - self._changes[0] < 3600.0:
                return False
            self._changes.append(now)
            self._rejected = rejected
        return True


def _reason(verdict: Dict[Any, Any]) -> Tuple[str, str]:
    """Return the service's error code, and a sentence for the log."""
    details = verdict.get("statusDetails")
    details = details if isinstance(details, dict) else {}
    code = _field(details, "ErrorCode")
    return code, (
        f"report {_field(verdict, 'reportId')} was rejected: {code}: {_field(details, 'ErrorMessage')}; "
        f"{ADVICE.get(code, OTHER_ADVICE)}"
    )


def _report_id(verdict: Dict[Any, Any]) -> Optional[int]:
    """Return the id that an answer names, under the key `reportId`; also as text, or in another spelling of the key.

    The developer guide shows no accepted answer; AWS's own agent for C reads reportId from both kinds.
    """
    for key, value in verdict.items():
        if isinstance(key, str) and key.replace("_", "").lower() == "reportid":
            if isinstance(value, int) and not isinstance(value, bool):
                return value
            if isinstance(value, str) and value.isdigit() and len(value) <= MAX_ID_DIGITS:
                return int(value)
    return None


def _field(document: Dict[Any, Any], key: str) -> str:
    """Return a field as text for the log; "(no <key>)" where it is neither a text nor a number of 64 bits."""
    value = document.get(key)
    known = isinstance(value, str) or (isinstance(value, int) and abs(value) < 2**64)
    return plain(value, 200) if known else f"(no {key})"
