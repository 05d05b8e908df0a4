"""The service's answers, and whatever else somebody may send in their place."""

from __future__ import annotations

import json
import logging
import struct
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.loop import THING, TOPIC, FakeClock, Records

from connector.health import Health
from connector.verdict import LONGEST, MOST_CHANGES, Verdicts

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


class Ears:
    """Verdicts with their clock and their log."""

    def __init__(self, level: int = logging.INFO) -> None:
        self.clock = FakeClock()
        self.records = Records()
        logger = logging.Logger("test", level)
        logger.addHandler(self.records)
        health = Health(logger, self.clock.monotonic)
        self.verdicts = Verdicts(THING, TOPIC, health, logger, self.clock.monotonic)

    def hear(self, event: Any, subject: Optional[str]) -> List[str]:
        """Return what one more message adds to the log."""
        before = len(self.records.lines)
        self.verdicts.take(event, subject)
        return self.records.lines[before:]


@pytest.fixture
def ears() -> Ears:
    return Ears()


def as_json(document: Any) -> bytes:
    return json.dumps(document).encode()


@pytest.mark.parametrize("encode", [lambda document: document, as_json, cbor2.dumps])
def test_a_rejection_is_one_warning_and_its_end_one_info(ears: Ears, encode: Any) -> None:
    (line,) = ears.hear(encode(NO), REJECTED)
    assert line.startswith(
        "WARNING Device Defender's verdict: report 1635800375 was rejected: InvalidPayload: Malformed metrics report; "
    )
    assert "aws iot create-custom-metric" in line
    for _ in range(100):
        assert ears.hear(encode(NO), REJECTED) == []
    ears.clock.pass_by(600)
    assert ears.hear(encode(YES), ACCEPTED) == ["INFO Device Defender's verdict: well again after 10 min"]
    assert ears.hear(encode(YES), ACCEPTED) == []


@pytest.mark.parametrize("length", [0, 22, 23, 24, 255, 256])
def test_strings_of_every_length_are_heard_in_cbor(ears: Ears, length: int) -> None:
    """Their heads differ (RFC 8949, 3): up to 23 bytes it has the length itself, then one byte more, then two."""
    details = {"ErrorMessage": "x" * length, "ErrorCode": "Odd"}
    (line,) = ears.hear(bytearray(cbor2.dumps(dict(NO, statusDetails=details))), REJECTED)
    assert "was rejected: Odd: {};".format("x" * min(length, 200) + ("..." if length > 200 else "")) in line


def test_a_tag_after_a_string_with_a_long_head_is_seen(ears: Ears) -> None:
    """A length may take eight bytes, however short the string."""
    long_head = b"\x7b" + (1).to_bytes(8, "big") + b"a"
    assert ears.hear(b"\xa1" + long_head + b"\xc1\x00", REJECTED)[0].startswith("WARNING ignored")
    assert ears.hear(b"\xa1" + long_head + b"\x00", REJECTED)[0].startswith("WARNING Device Defender's verdict")


def test_another_error_that_lasts_is_said_too(ears: Ears) -> None:
    throttled = dict(NO, statusDetails={"ErrorCode": "Throttled", "ErrorMessage": "slow down"})
    said = ears.hear(throttled, REJECTED)
    for _ in range(100):
        said += ears.hear(NO, REJECTED)
    assert [line.split(": ")[2] for line in said] == ["Throttled", "InvalidPayload"]


def test_codes_that_somebody_makes_up_are_one_line(ears: Ears) -> None:
    said = []
    for number in range(1000):
        made_up = {"statusDetails": {"ErrorCode": f"E{number // 5}"}}
        said += ears.hear(made_up, REJECTED)
    assert len(said) == 1


@pytest.mark.parametrize("answer", [YES, YES_OF_THE_GUIDE, {}, {"thingName": THING}])
def test_an_acceptance_is_no_line_but_for_debug(answer: Dict[str, Any]) -> None:
    assert Ears().hear(answer, ACCEPTED) == []
    said = answer.get("reportId", "(no reportId)")
    assert Ears(logging.DEBUG).hear(answer, ACCEPTED) == [f"DEBUG report {said} was accepted by Device Defender"]


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
def test_a_rejection_of_another_shape_is_said_too(ears: Ears, answer: Dict[str, Any], text: str) -> None:
    (line,) = ears.hear(answer, REJECTED)
    assert text in line


STRANGERS: List[Tuple[Any, Optional[str]]] = [
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
    (bytearray(b"{}" * LONGEST), REJECTED),
    (as_json(NO) + b" " * LONGEST, REJECTED),
    (b'{"a":' * 2000, REJECTED),
    (b'{"reportId":' + b"9" * 4000 + b"}"[:0], REJECTED),
    (b"\x81" * LONGEST, REJECTED),
    (b"\xa1\x61a" * 1000, REJECTED),
    (b"\x9b" + b"\xff" * 8, REJECTED),
    (b"\x5b\x00\x00\x01" + bytes(5), REJECTED),
    (cbor2.dumps([NO]), REJECTED),
]


@pytest.mark.parametrize(("event", "subject"), STRANGERS, ids=[str(number) for number in range(len(STRANGERS))])
def test_what_is_no_answer_to_this_thing_is_said_once_and_never_again(ears: Ears, event: Any, subject: Any) -> None:
    (line,) = ears.hear(event, subject)
    assert line.startswith("WARNING ignored, as all further ones will be: a message that is no answer to this thing's")
    assert all(" " <= character <= "~" for character in line)
    assert len(line) < 400
    for other, topic in STRANGERS:
        assert ears.hear(other, topic) == []
    assert len(ears.hear(NO, REJECTED)) == 1, "a true answer is still heard"


def test_ten_thousand_hostile_messages_are_a_handful_of_lines(ears: Ears) -> None:
    """Also where they are made as the service makes them."""
    for number in range(2500):
        ears.hear(dict(NO, reportId=number), REJECTED)
        ears.hear(dict(YES, reportId=number), ACCEPTED)
        ears.hear(STRANGERS[number % len(STRANGERS)][0], f"topic/{number}\n")
        ears.hear(b"\x00" * (number % 5000), REJECTED)
        ears.clock.pass_by(1)
    assert len(ears.records.lines) <= 1 + MOST_CHANGES
    # When they stop, the service is heard as before.
    ears.clock.pass_by(3600)
    ears.hear(YES, ACCEPTED)
    assert ears.hear(NO, REJECTED)[0].startswith("WARNING Device Defender's verdict: ")
    assert ears.hear(YES, ACCEPTED)[0].startswith("INFO Device Defender's verdict: well again")


def test_an_answer_every_five_minutes_is_never_too_many(ears: Ears) -> None:
    for _ in range(100):
        assert len(ears.hear(NO, REJECTED)) == 1
        ears.clock.pass_by(300)
        assert len(ears.hear(YES, ACCEPTED)) == 1
        ears.clock.pass_by(300)


def resident() -> int:
    """This process' memory in KB (proc(5), statm)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4


def test_messages_with_tags_are_not_decoded_and_cost_no_memory(ears: Ears) -> None:
    """Tag 35 is a regular expression, which cbor2 compiles; Python keeps 512 of them, some 15 MB of this size."""

    def hostile(number: int) -> bytes:
        pattern = "{:06}{}".format(number, "(?:[a-z0-9]{1,3}x|y)*" * 190).encode()[:4000]
        return b"\xd8\x23\x79" + struct.pack(">H", len(pattern)) + pattern

    assert cbor2.loads(hostile(0)).match("000000")
    before = resident()
    for number in range(600):
        ears.hear(hostile(number), REJECTED)
    assert resident() - before < 2000
    assert len(ears.records.lines) == 1


TAGGED = [
    b"\xc0\x61a",
    b"\xa1\x61a\xc1\x01",
    b"\x82\x61\xc1\xc1\x01",
    b"\x5f\x41\xc0\xff\xc1\x01",
    b"\x9f\xd8\x1c\x80\xff",
    b"\xa1" + cbor2.dumps("x" * 300) + b"\xd9\x01\x02\x80",
]
UNTAGGED = [NO, YES, {"a": "\xc1" * 30, "b": b"\xc1\xd8" * 200, "c": [1.5, -3, 2**40, None, True, {"d": []}]}]


@pytest.mark.parametrize("document", TAGGED)
def test_a_tag_anywhere_makes_it_no_answer(document: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: List[Any] = []
    monkeypatch.setattr(cbor2, "loads", decoded.append)
    Ears().hear(document, REJECTED)
    assert decoded == []


@pytest.mark.parametrize("document", UNTAGGED)
def test_bytes_that_look_like_tags_inside_texts_are_none(document: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = cbor2.loads
    decoded: List[Any] = []
    monkeypatch.setattr(cbor2, "loads", lambda content: decoded.append(loads(content)))
    Ears().hear(cbor2.dumps(document), REJECTED)
    assert decoded == [document]


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
def test_no_message_raises_or_writes_more_than_a_line_of_plain_text(event: Any, subject: Optional[str]) -> None:
    for level in (logging.INFO, logging.DEBUG):
        lines = Ears(level).hear(event, subject)
        assert len(lines) <= 1
        assert all(len(line) < 800 and all(" " <= character <= "~" for character in line) for line in lines)
