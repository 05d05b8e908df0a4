"""Decodes messages of the answer topics; checks the bytes before any decoder gets them.

Whoever may publish on `<topic>/accepted` chooses the bytes, and the function has 16 MB. A decoder may reserve memory
for as many bytes or elements as a message only declares, follow any depth, and make objects of tags. So the message's
length, its depth and, in CBOR, each head (RFC 8949, section 3) are checked first: it then costs a small multiple of the
memory of its own bytes.
"""

from __future__ import annotations

import json
from typing import Any, List, Optional

MAX_MESSAGE_BYTES = 4096  # an answer has about 200
MAX_DEPTH = 8  # of maps and arrays in each other; an answer has 2

MAJOR_BYTES, MAJOR_TEXT, MAJOR_ARRAY, MAJOR_MAP, MAJOR_TAG = 2, 3, 4, 5, 6
INDEFINITE = 31  # in a head's low five bits: the length is not declared, an item BREAK ends it
BREAK = 0xFF


def decode(message: bytes) -> Any:
    """Return the value of a JSON or CBOR document (RFC 8259, RFC 8949), or None where it is not one to decode.

    None: over MAX_MESSAGE_BYTES or MAX_DEPTH, not well-formed, with a tag, or CBOR where cbor2 can't be imported.
    """
    if len(message) > MAX_MESSAGE_BYTES:
        return None
    try:
        if message[:1] == b"{":
            return json.loads(message.decode("utf-8")) if json_depth(message) <= MAX_DEPTH else None
        if not is_harmless_cbor(message):
            return None
        import cbor2  # only where answers come in CBOR

        # A decoder of its own for each message: CVE-2025-68131 is about values that a decoder keeps for the next one.
        return cbor2.loads(message)
    except Exception:  # cbor2 raises more than its own errors
        return None


def json_depth(document: bytes) -> int:
    """Return how deep objects and arrays are in each other; brackets inside strings don't count."""
    depth = deepest = 0
    in_string = escaped = False
    for byte in document:
        if in_string:
            in_string = escaped or byte != ord('"')
            escaped = byte == ord("\\") and not escaped
        elif byte == ord('"'):
            in_string = True
        elif byte in b"{[":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"}]":
            depth -= 1
    return deepest


def is_harmless_cbor(document: bytes) -> bool:
    """Return whether this is one well-formed CBOR item without tags, not deeper than MAX_DEPTH.

    Every declared length is compared with the bytes that are left. For arrays and maps these are the elements that all
    open ones still lack together, each of one byte at least.
    """
    place = 0
    # How many items each open array or map still lacks; None where its length is indefinite. The document lacks one.
    open_items: List[Optional[int]] = [1]
    while open_items:
        if open_items[-1] == 0:
            open_items.pop()
            continue
        head = document[place : place + 1]
        if not head:
            return False
        if head[0] == BREAK and open_items[-1] is None:
            place += 1
            open_items.pop()
            continue
        major, info = head[0] >> 5, head[0] & 31
        size = 1 << (info - 24) if 24 <= info < 28 else 0
        argument = document[place + 1 : place + 1 + size]
        if len(argument) < size or 28 <= info < INDEFINITE:
            return False
        place += 1 + size
        value = int.from_bytes(argument, "big") if size else info
        left = len(document) - place
        last = open_items[-1]
        if last is not None:
            open_items[-1] = last - 1
        if major in (MAJOR_BYTES, MAJOR_TEXT):
            if info == INDEFINITE or value > left:  # strings in chunks: no answer of 200 bytes has any
                return False
            place += value
        elif major in (MAJOR_ARRAY, MAJOR_MAP):
            if len(open_items) > MAX_DEPTH:
                return False
            items = None if info == INDEFINITE else value * (2 if major == MAJOR_MAP else 1)
            open_items.append(items)
            if sum(count or 0 for count in open_items) > left:
                return False
        elif major == MAJOR_TAG or info == INDEFINITE:  # also a BREAK out of place
            return False
    return place == len(document)
