"""AWS event stream messages, the bytes of Greengrass IPC: two lengths, headers, a payload, two checksums.

Source: "Event stream encoding" in the AWS documentation (Amazon Transcribe, streaming). All numbers are big-endian:

    total length (4 bytes), length of the headers (4), CRC-32 of these 8 bytes (4)
    headers: length of the name (1), name, type of the value (1), value
    payload
    CRC-32 of everything before it (4)
"""

from __future__ import annotations

import struct
import uuid
import zlib
from typing import Callable, Dict, NamedTuple, Tuple, Union

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
MAX_HEADERS_BYTES = 128 * 1024
MAX_NAME_BYTES = 127
PRELUDE_BYTES = 12
CHECKSUM_BYTES = 4

HeaderValue = Union[bool, int, bytes, str, uuid.UUID]

# Types of a header's value by their number: those of a fixed size as `struct` writes them.
TRUE, FALSE, INT32, BYTES, STRING, UUID = 0, 1, 4, 6, 7, 9
FIXED = {2: ">b", 3: ">h", INT32: ">i", 5: ">q", 8: ">q"}  # 8 is a time, milliseconds since the epoch
UUID_BYTES = 16


class MalformedMessage(Exception):
    """The bytes are no event stream message; the text says why."""


class Message(NamedTuple):
    """A message. headers: by name, in the order they are sent."""

    headers: Dict[str, HeaderValue]
    payload: bytes = b""


def encode(message: Message) -> bytes:
    """Return a message's bytes. Integers are sent as 32 bits. Raises ValueError for what the format can't hold."""
    headers = b"".join(_encode_header(name, value) for name, value in message.headers.items())
    total = PRELUDE_BYTES + len(headers) + len(message.payload) + CHECKSUM_BYTES
    if len(headers) > MAX_HEADERS_BYTES or total > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message of {total} bytes with {len(headers)} of headers is too long for the format")
    lengths = struct.pack(">II", total, len(headers))
    whole = lengths + _checksum(lengths) + headers + message.payload
    return whole + _checksum(whole)


def length_after(prelude: bytes) -> int:
    """Return how many bytes follow a prelude of PRELUDE_BYTES. Raises MalformedMessage."""
    total, headers = struct.unpack(">II", prelude[:8])
    if prelude[8:] != _checksum(prelude[:8]):
        raise MalformedMessage("the checksum of the lengths is wrong")
    if headers > MAX_HEADERS_BYTES or not PRELUDE_BYTES + headers + CHECKSUM_BYTES <= total <= MAX_MESSAGE_BYTES:
        raise MalformedMessage(f"a message can't have {total} bytes with {headers} bytes of headers")
    return int(total - PRELUDE_BYTES)


def decode(prelude: bytes, rest: bytes) -> Message:
    """Return the message of a prelude and the `length_after` bytes that follow it. Raises MalformedMessage."""
    if len(rest) != length_after(prelude):
        raise MalformedMessage(f"{len(rest)} bytes follow the prelude instead of {length_after(prelude)}")
    if rest[-CHECKSUM_BYTES:] != _checksum(prelude + rest[:-CHECKSUM_BYTES]):
        raise MalformedMessage("the checksum of the message is wrong")
    end = int(struct.unpack(">I", prelude[4:8])[0])
    return Message(_decode_headers(rest[:end]), rest[end:-CHECKSUM_BYTES])


def read(receive: Callable[[int], bytes], max_bytes: int = MAX_MESSAGE_BYTES) -> Message:
    """Read one message.

    receive: returns exactly as many bytes as it is asked for, or raises
    max_bytes: that may follow the prelude

    Raises MalformedMessage, also for a longer message, of which nothing but the prelude was read then.
    """
    prelude = receive(PRELUDE_BYTES)
    length = length_after(prelude)
    if length > max_bytes:
        raise MalformedMessage(f"a message with {length} bytes after the prelude; at most {max_bytes} are taken")
    return decode(prelude, receive(length))


def _checksum(data: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(data))


def _encode_header(name: str, value: HeaderValue) -> bytes:
    encoded = name.encode()
    if not 0 < len(encoded) <= MAX_NAME_BYTES:
        raise ValueError(f"a header's name has 1 to {MAX_NAME_BYTES} bytes, unlike '{name}'")
    return bytes([len(encoded)]) + encoded + _encode_value(value)


def _encode_value(value: HeaderValue) -> bytes:
    if isinstance(value, bool):
        return bytes([TRUE if value else FALSE])
    if isinstance(value, int):
        return bytes([INT32]) + struct.pack(FIXED[INT32], value)
    if isinstance(value, uuid.UUID):
        return bytes([UUID]) + value.bytes
    kind, data = (STRING, value.encode()) if isinstance(value, str) else (BYTES, value)
    return bytes([kind]) + struct.pack(">H", len(data)) + data


def _decode_headers(data: bytes) -> Dict[str, HeaderValue]:
    headers: Dict[str, HeaderValue] = {}
    place = 0
    try:
        while place < len(data):
            name, place = _take(data, place + 1, data[place])
            kind = data[place]
            headers[name.decode()], place = _decode_value(kind, data, place + 1)
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise MalformedMessage(f"a header breaks off or has bytes that are no text, near byte {place}") from error
    return headers


def _decode_value(kind: int, data: bytes, place: int) -> Tuple[HeaderValue, int]:
    if kind in (TRUE, FALSE):
        return kind == TRUE, place
    if kind in FIXED:
        value, place = _take(data, place, struct.calcsize(FIXED[kind]))
        return int(struct.unpack(FIXED[kind], value)[0]), place
    if kind == UUID:
        value, place = _take(data, place, UUID_BYTES)
        return uuid.UUID(bytes=value), place
    if kind in (BYTES, STRING):
        length, place = _take(data, place, 2)
        value, place = _take(data, place, struct.unpack(">H", length)[0])
        return (value.decode() if kind == STRING else value), place
    raise MalformedMessage(f"a header's value has the type {kind}, which is none")


def _take(data: bytes, place: int, length: int) -> Tuple[bytes, int]:
    if place + length > len(data):
        raise IndexError
    return data[place : place + length], place + length
