"""The check of a message before it is decoded; all inputs are harmless."""

from __future__ import annotations

import json
from typing import Any, List

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.decode import MAX_DEPTH, MAX_MESSAGE_BYTES, decode, is_harmless_cbor, json_depth

ANSWER = {"thingName": "t", "reportId": 1635800375, "status": "ACCEPTED", "timestamp": 1635801636023}


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = {"a": value}
    return value


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize("encode", [as_json, cbor2.dumps])
def test_answer_is_decoded(encode: Any) -> None:
    assert decode(encode(ANSWER)) == ANSWER


@pytest.mark.parametrize("length", [0, 22, 23, 24, 255, 256, 3000])
def test_strings_with_heads_of_each_size_are_decoded(length: int) -> None:
    """Up to 23 bytes the head has the length itself, then one byte more, then two (RFC 8949, section 3)."""
    for value in ({"a": "x" * length}, {"a": b"x" * length}):
        assert decode(cbor2.dumps(value)) == value


def test_maps_of_indefinite_length_are_decoded() -> None:
    """Encoders that write as they go, as many in Java do, don't declare the number of entries."""
    assert decode(b"\xbf\x61a\x01\x61b\x9f\x02\x03\xff\xff") == {"a": 1, "b": [2, 3]}


@pytest.mark.parametrize("encode", [as_json, cbor2.dumps])
def test_length_and_depth_are_bounded(encode: Any) -> None:
    empty = len(encode({"a": "x" * 300})) - 300
    assert decode(encode({"a": "x" * (MAX_MESSAGE_BYTES - empty - 1)})) is not None
    assert decode(encode({"a": "x" * (MAX_MESSAGE_BYTES - empty + 2)})) is None
    assert decode(encode(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    assert decode(encode(nested(MAX_DEPTH + 1))) is None


@pytest.mark.parametrize(
    ("document", "depth"),
    [
        (b"{}", 1),
        (b'{"a":[1,[2]],"b":[]}', 3),
        (b'{"[[[":"{{{"}', 1),
        (rb'{"\"[[":"\\","a":[]}', 2),
        (b'{"a":"', 1),
        (b"}}}{", 0),
    ],
)
def test_depth_of_json_ignores_brackets_in_strings(document: bytes, depth: int) -> None:
    assert json_depth(document) == depth


HARMLESS = [
    b"\x00",
    b"\x18\x64",
    b"\x39\x01\xf3",
    b"\x80",
    b"\xa0",
    b"\xf5",
    b"\xfb" + bytes(8),
    b"\xf8\xff",
    b"\x82\x01\x82\x02\x03",
    b"\xa1\x61a\x81\x00",
    b"\x9f\xff",
    b"\xbf\xff",
    b"\x78\x01a",
    b"\x7b" + bytes(7) + b"\x01a",
]


@pytest.mark.parametrize("document", HARMLESS, ids=bytes.hex)
def test_well_formed_documents_pass(document: bytes) -> None:
    assert is_harmless_cbor(document)


# Too short, too long, with a declared length that its bytes don't have (by a little), or with a tag.
NOT_WELL_FORMED = [
    b"",
    b"\x18",
    b"\x19\x00",
    b"\x00\x00",
    b"\x62a",
    b"\x42a",
    b"\x78\x05abc",
    b"\x58\x05abc",
    b"\x82\x01",
    b"\x98\x04\x01\x02",
    b"\xa1\x01",
    b"\xb8\x02\x01\x02\x03",
    b"\x83\x01\x83\x02\x03",
    b"\x9f\x01",
    b"\xbf\x01",
    b"\xff",
    b"\x81\xff",
    b"\xf8",
    b"\xfb\x00",
    b"\x1c",
    b"\x7d",
    b"\x9e\x00",
    b"\x5f\x41a\xff",
    b"\x1f",
]
TAGGED = [
    b"\xc0\x61a",
    b"\xa1\x61a\xc1\x01",
    b"\x82\x61\xc1\xc1\x01",
    b"\x9f\xd8\x1c\x80\xff",
    b"\xa1" + cbor2.dumps("x" * 300) + b"\xd9\x01\x02\x80",
    b"\xa1\x7b" + bytes(7) + b"\x01a\xc1\x00",
]


@pytest.mark.parametrize("document", NOT_WELL_FORMED + TAGGED, ids=bytes.hex)
def test_other_documents_never_reach_the_decoder(document: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: List[Any] = []
    monkeypatch.setattr(cbor2, "loads", decoded.append)
    assert not is_harmless_cbor(document)
    assert decode(document) is None
    assert decoded == []


def test_lengths_of_nested_arrays_count_together() -> None:
    """Each alone declares no more than what is left, but both together do."""
    assert is_harmless_cbor(b"\x83\x00\x81\x00\x00")
    assert not is_harmless_cbor(b"\x83\x82\x00\x00\x00")


@pytest.mark.parametrize(
    "value", [{"a": "\xc1" * 30, "b": b"\xc1\xd8\x9f\xff" * 100, "c": [1.5, -3, 2**40, None, True, {"d": []}]}]
)
def test_bytes_inside_strings_are_not_heads(value: Any) -> None:
    assert decode(cbor2.dumps(value)) == value


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(), inside, max_size=4),
    max_leaves=12,
)


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


@given(value=values)
def test_everything_without_tags_is_harmless_up_to_the_depth(value: Any) -> None:
    document = cbor2.dumps(value)
    assert is_harmless_cbor(document) is (depth_of(value) <= MAX_DEPTH)
    assert not is_harmless_cbor(document[:-1])
    assert not is_harmless_cbor(document + b"\x00")


def test_cbor_without_cbor2_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "cbor2", None)
    assert decode(cbor2.dumps(ANSWER)) is None
    assert decode(as_json(ANSWER)) == ANSWER
