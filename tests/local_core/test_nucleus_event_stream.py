"""Event stream messages: bytes as the standard's examples have them, and everything that is no message."""

import struct
import uuid
import zlib
from typing import Dict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from local_core.event_stream import (
    MAX_HEADERS_BYTES,
    PRELUDE_BYTES,
    HeaderValue,
    MalformedMessage,
    Message,
    decode,
    encode,
    length_after,
    read,
)

# Messages of the standard's test vectors: name, message, bytes.
KNOWN = [
    ("empty", Message({}), "00000010 00000000 05c248eb 7d98c8ff"),
    (
        "one number and a payload",
        Message({"event-type": 40972}, b"{'foo':'bar'}"),
        "0000002d 00000010 41c424b8 0a 6576656e742d74797065 04 0000a00c 7b27666f6f273a27626172277d 36f480a0",
    ),
]


@pytest.mark.parametrize(("message", "text"), [row[1:] for row in KNOWN], ids=[row[0] for row in KNOWN])
def test_known_bytes_both_ways(message: Message, text: str) -> None:
    data = bytes.fromhex(text)
    assert encode(message) == data
    assert decode(data[:PRELUDE_BYTES], data[PRELUDE_BYTES:]) == message


NAMES = st.text("abc:-", min_size=1, max_size=20)
VALUES = st.one_of(
    st.booleans(), st.integers(-(2**31), 2**31 - 1), st.binary(max_size=50), st.text(max_size=50), st.uuids()
)


@given(st.dictionaries(NAMES, VALUES, max_size=8), st.binary(max_size=200))
def test_what_is_encoded_is_decoded_again(headers: Dict[str, HeaderValue], payload: bytes) -> None:
    data = encode(Message(headers, payload))
    place = 0

    def receive(length: int) -> bytes:
        nonlocal place
        place += length
        return data[place - length : place]

    found = read(receive)
    assert (found.headers, found.payload, place) == (headers, payload, len(data))
    assert [type(value) for value in found.headers.values()] == [type(value) for value in headers.values()]


def sealed(headers: bytes) -> bytes:
    """Return a message of raw headers whose checksums are right."""
    lengths = struct.pack(">II", PRELUDE_BYTES + len(headers) + 4, len(headers))
    whole = lengths + struct.pack(">I", zlib.crc32(lengths)) + headers
    return whole + struct.pack(">I", zlib.crc32(whole))


@pytest.mark.parametrize(
    ("headers", "value"),
    [
        (b"\x01a\x02\xff", -1),
        (b"\x01a\x03\xff\xfe", -2),
        (b"\x01a\x05" + b"\x00" * 7 + b"\x07", 7),
        (b"\x01a\x08" + b"\x00" * 6 + b"\x01\x00", 256),
        (b"\x01a\x09" + bytes(range(16)), uuid.UUID(bytes=bytes(range(16)))),
    ],
)
def test_types_that_only_others_send_are_decoded(headers: bytes, value: object) -> None:
    data = sealed(headers)
    assert decode(data[:PRELUDE_BYTES], data[PRELUDE_BYTES:]).headers == {"a": value}


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        (b"\x05ab", "breaks off"),
        (b"\x01a", "breaks off"),
        (b"\x01a\x07\x00\x09abc", "breaks off"),
        (b"\x01a\x04\x00", "breaks off"),
        (b"\x01\xff\x00", "bytes that are no text"),
        (b"\x01a\x0a", "has the type 10, which is none"),
    ],
)
def test_broken_headers_are_refused(headers: bytes, reason: str) -> None:
    data = sealed(headers)
    with pytest.raises(MalformedMessage, match=reason):
        decode(data[:PRELUDE_BYTES], data[PRELUDE_BYTES:])


def test_each_changed_byte_is_noticed() -> None:
    data = encode(Message({"a": "text"}, b"payload"))
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(MalformedMessage):
            decode(changed[:PRELUDE_BYTES], changed[PRELUDE_BYTES:])


@pytest.mark.parametrize(("total", "headers"), [(15, 0), (16, 1), (2**31, 0), (200_000, MAX_HEADERS_BYTES + 1)])
def test_impossible_lengths_are_refused(total: int, headers: int) -> None:
    lengths = struct.pack(">II", total, headers)
    with pytest.raises(MalformedMessage, match="can't have"):
        length_after(lengths + struct.pack(">I", zlib.crc32(lengths)))


def test_message_over_the_readers_limit_is_not_read() -> None:
    data = encode(Message({}, bytes(100)))
    asked = []

    def receive(length: int) -> bytes:
        asked.append(length)
        return data[:length]

    with pytest.raises(MalformedMessage, match="104 bytes after the prelude; at most 103 are taken"):
        read(receive, 103)
    assert asked == [PRELUDE_BYTES]


LONGEST = 65535  # bytes of a header's value
TOO_MUCH: Dict[str, HeaderValue] = {"a": "x" * LONGEST, "b": b"x" * LONGEST, "c": "x"}


@pytest.mark.parametrize("message", [Message({"": 1}), Message({"a" * 128: 1}), Message(TOO_MUCH)])
def test_what_the_format_can_not_hold_is_an_error(message: Message) -> None:
    with pytest.raises(ValueError, match="a header's name|too long"):
        encode(message)
