"""Verdicts: the service's answers in the log, and other messages on the same topics."""

from __future__ import annotations

import json
import logging
from typing import Any, Dict, List, Optional, Tuple

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.loop import THING, TOPIC, FakeClock, Records

from connector.decode import MAX_MESSAGE_BYTES
from connector.health import Health
from connector.verdict import MAX_CHANGES_PER_HOUR, REPORTS_WITHOUT_VERDICT, Verdicts

ACCEPTED, REJECTED = TOPIC + "/accepted", TOPIC + "/rejected"
YES = {"thingName": THING, "reportId": 1635800375, "status": "ACCEPTED", "timestamp": 1635801636023}
NO = {
    "thingName": THING,
    "reportId": 1635800375,
    "status": "REJECTED",
    "statusDetails": {"ErrorCode": "InvalidPayload", "ErrorMessage": "Malformed metrics report"},
    "timestamp": 1635801636023,
}
# As the service's guide prints it: the id is a key.
YES_OF_THE_GUIDE = {"thingName": THING, "1635800375": 1635800375, "status": "ACCEPTED", "timestamp": 1635801636023}


class Watched:
    """Verdicts with their clock and their log."""

    def __init__(self, level: int = logging.INFO) -> None:
        self.clock = FakeClock()
        self.records = Records()
        logger = logging.Logger("test", level)
        logger.addHandler(self.records)
        health = Health(logger, self.clock.monotonic)
        self.verdicts = Verdicts(THING, TOPIC, health, logger, self.clock.monotonic)

    def message(self, event: Any, subject: Optional[str]) -> List[str]:
        """Return what one more message adds to the log."""
        before = len(self.records.lines)
        self.verdicts.take(event, subject)
        return self.records.lines[before:]


@pytest.fixture
def watched() -> Watched:
    return Watched()


def as_json(document: Any) -> bytes:
    return json.dumps(document).encode()


@pytest.mark.parametrize("encode", [lambda document: document, as_json, cbor2.dumps])
def test_rejection_is_one_warning_and_the_next_acceptance_one_info(watched: Watched, encode: Any) -> None:
    (line,) = watched.message(encode(NO), REJECTED)
    assert line.startswith(
        "WARNING Device Defender's verdict: report 1635800375 was rejected: InvalidPayload: Malformed metrics report; "
    )
    assert "aws iot create-custom-metric" in line
    for _ in range(100):
        assert watched.message(encode(NO), REJECTED) == []
    watched.clock.pass_by(600)
    assert watched.message(encode(YES), ACCEPTED) == ["INFO Device Defender's verdict: recovered after 10 min"]
    assert watched.message(encode(YES), ACCEPTED) == []


def test_second_error_code_is_logged_if_it_lasts(watched: Watched) -> None:
    throttled = dict(NO, statusDetails={"ErrorCode": "Throttled", "ErrorMessage": "slow down"})
    logged = watched.message(throttled, REJECTED)
    for _ in range(100):
        logged += watched.message(NO, REJECTED)
    assert [line.split(": ")[2] for line in logged] == ["Throttled", "InvalidPayload"]


def test_invented_error_codes_are_one_line(watched: Watched) -> None:
    logged = []
    for number in range(1000):
        made_up = {"statusDetails": {"ErrorCode": f"E{number // 5}"}}
        logged += watched.message(made_up, REJECTED)
    assert len(logged) == 1


@pytest.mark.parametrize("answer", [YES, YES_OF_THE_GUIDE, {}, {"thingName": THING}])
def test_acceptance_is_logged_at_debug_only(answer: Dict[str, Any]) -> None:
    assert Watched().message(answer, ACCEPTED) == []
    shown = answer.get("reportId", "(no reportId)")
    assert Watched(logging.DEBUG).message(answer, ACCEPTED) == [f"DEBUG report {shown} was accepted by Device Defender"]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (
            {},
            "report (no reportId) was rejected: (no ErrorCode): (no ErrorMessage); check that the thing is registered",
        ),
        ({"statusDetails": "no"}, "rejected: (no ErrorCode): (no ErrorMessage); check"),
        (
            {"reportId": "7", "statusDetails": {"ErrorCode": "Odd"}},
            "report 7 was rejected: Odd: (no ErrorMessage); che",
        ),
        ({"statusDetails": {"ErrorCode": "Throttled"}}, "is a second agent reporting for this thing"),
        ({"reportId": 1e400, "statusDetails": {"ErrorCode": ["x"]}}, "report (no reportId) was rejected: (no ErrorCod"),
        ({"reportId": 10**5000}, "report (no reportId) was rejected"),
    ],
)
def test_rejection_with_unexpected_fields_is_logged(watched: Watched, answer: Dict[str, Any], text: str) -> None:
    (line,) = watched.message(answer, REJECTED)
    assert text in line


OTHER_MESSAGES: List[Tuple[Any, Optional[str]]] = [
    (dict(YES, thingName="gateway-8"), ACCEPTED),
    (dict(NO, thingName="gateway-8"), REJECTED),
    (dict(NO, thingName=["gateway-7"]), REJECTED),
    (YES, TOPIC),
    (NO, TOPIC + "/rejected/"),
    (NO, "$aws/things/gateway-8/defender/metrics/json/rejected"),
    (NO, None),
    (NO, ""),
    (NO, "x\r\nERROR \x1b[2J forged"),
    (None, REJECTED),
    ([], REJECTED),
    ("text", REJECTED),
    (7, REJECTED),
    (b"", REJECTED),
    (b"not JSON", REJECTED),
    (b"{not JSON either", REJECTED),
    (bytearray(b"{}" * MAX_MESSAGE_BYTES), REJECTED),
    (as_json(NO) + b" " * MAX_MESSAGE_BYTES, REJECTED),
    (cbor2.dumps([NO]), REJECTED),
]


@pytest.mark.parametrize(
    ("event", "subject"), OTHER_MESSAGES, ids=[str(number) for number in range(len(OTHER_MESSAGES))]
)
def test_other_message_is_logged_once_and_further_ones_not_at_all(watched: Watched, event: Any, subject: Any) -> None:
    (line,) = watched.message(event, subject)
    assert line.startswith("WARNING ignored a message that is not an answer to this thing's")
    assert all(" " <= character <= "~" for character in line)
    assert len(line) < 400
    for other, topic in OTHER_MESSAGES:
        assert watched.message(other, topic) == []
    assert len(watched.message(NO, REJECTED)) == 1, "an answer to this thing is still logged"


def test_ten_thousand_forged_messages_are_a_few_lines(watched: Watched) -> None:
    """Also if they look as the service's own."""
    for number in range(2500):
        watched.message(dict(NO, reportId=number), REJECTED)
        watched.message(dict(YES, reportId=number), ACCEPTED)
        watched.message(OTHER_MESSAGES[number % len(OTHER_MESSAGES)][0], f"topic/{number}\n")
        watched.message(b"\x00" * (number % 5000), REJECTED)
        watched.clock.pass_by(1)
    assert len(watched.records.lines) <= 1 + MAX_CHANGES_PER_HOUR
    # After an hour without them answers are logged as before.
    watched.clock.pass_by(3600)
    watched.message(YES, ACCEPTED)
    assert watched.message(NO, REJECTED)[0].startswith("WARNING Device Defender's verdict: ")
    assert watched.message(YES, ACCEPTED)[0].startswith("INFO Device Defender's verdict: recovered")


def test_missing_verdicts_are_logged_once(watched: Watched) -> None:
    for number in range(1, 100):
        watched.verdicts.count_report()
        assert len(watched.records.lines) == (0 if number < REPORTS_WITHOUT_VERDICT else 1)
    (line,) = watched.records.lines
    assert line.startswith("INFO Device Defender's verdict: none came for the first 3 reports: either no subscription ")
    assert "does not use Device Defender Detect; reporting goes on" in line


@pytest.mark.parametrize(("answer", "topic"), [(YES, ACCEPTED), (NO, REJECTED)])
def test_first_verdict_ends_the_count_of_reports_without_one(watched: Watched, answer: Any, topic: str) -> None:
    watched.verdicts.count_report()
    logged = watched.message(answer, topic)
    for _ in range(100):
        watched.verdicts.count_report()
    assert watched.records.lines == logged


def test_other_messages_are_no_verdict(watched: Watched) -> None:
    watched.message(dict(YES, thingName="gateway-8"), ACCEPTED)
    for _ in range(REPORTS_WITHOUT_VERDICT):
        watched.verdicts.count_report()
    assert len(watched.records.lines) == 2


def test_verdict_that_changes_every_five_minutes_is_always_logged(watched: Watched) -> None:
    for _ in range(100):
        assert len(watched.message(NO, REJECTED)) == 1
        watched.clock.pass_by(300)
        assert len(watched.message(YES, ACCEPTED)) == 1
        watched.clock.pass_by(300)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values, max_size=5) | st.dictionaries(st.text(), values, max_size=5),
    max_leaves=20,
)
answers = st.fixed_dictionaries(
    {}, optional={"thingName": st.just(THING) | json_values, "reportId": json_values, "statusDetails": json_values}
)
details = st.fixed_dictionaries({"ErrorCode": json_values, "ErrorMessage": json_values})


@given(
    event=json_values | answers | details.map(lambda found: {"statusDetails": found}) | st.binary(max_size=80),
    subject=st.sampled_from([ACCEPTED, REJECTED]) | st.none() | st.text(),
)
def test_any_message_is_at_most_one_line_of_plain_text(event: Any, subject: Optional[str]) -> None:
    for level in (logging.INFO, logging.DEBUG):
        lines = Watched(level).message(event, subject)
        assert len(lines) <= 1
        assert all(len(line) < 800 and all(" " <= character <= "~" for character in line) for line in lines)
