"""Dumps over netlink(7): one request, an answer of many messages, read a block at a time."""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import Callable, Dict, FrozenSet, Iterator, List, Tuple, TypeVar

from ..errors import TableError

T = TypeVar("T")

# linux/netlink.h
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_REQUEST, _NLM_F_DUMP, _NLM_F_DUMP_INTR = 0x1, 0x300, 0x10
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence number, port id
_NLA_F_NESTED, _NLA_F_NET_BYTEORDER, _NLA_TYPE_MASK = 0x8000, 0x4000, 0x3FFF
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr: length, type

MAX_BLOCK_BYTES = 32768  # the kernel sends less than 32 KiB at a time (kernel: netlink_dump)
MAX_ANSWER_SECONDS = 5.0
MAX_ATTEMPTS = 3  # what is listed may change meanwhile
MAX_LAYOUTS = 16  # of messages, that Attributes remembers

# Errors that last: the kernel, or a sandbox around this process, has no such protocol or does not allow it.
_UNAVAILABLE = (
    errno.EACCES,
    errno.EPERM,
    errno.EAFNOSUPPORT,
    errno.EPROTONOSUPPORT,
    errno.ESOCKTNOSUPPORT,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
)


class NetlinkUnavailable(TableError):
    """This process can't ask the kernel: the tables under proc have to do."""


class DumpInterrupted(TableError):
    """What the kernel listed changed meanwhile, so the list may lack an entry or have one twice: ask again."""


def blocks(family: int, message_type: int, body: bytes) -> Iterator[bytes]:
    """Send a dump request; yield the kernel's answer block by block, without an end of its own. Raises OSError.

    family: such as NETLINK_ROUTE. Whoever drops each block before asking for the next one never has two in memory.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family) as kernel:
        kernel.settimeout(MAX_ANSWER_SECONDS)
        flags = _NLM_F_REQUEST | _NLM_F_DUMP
        kernel.send(_HEADER.pack(_HEADER.size + len(body), message_type, flags, 1, 0) + body)
        while True:
            block, _, receive_flags, _ = kernel.recvmsg(MAX_BLOCK_BYTES)
            if receive_flags & socket.MSG_TRUNC:
                raise OSError(errno.EMSGSIZE, f"a block of over {MAX_BLOCK_BYTES} bytes")
            if not block:
                return
            yield block
            del block


def dump(family: int, message_type: int, body: bytes) -> Iterator[Tuple[int, bytes]]:
    """Send a dump request; yield the type and the payload of each message of the answer.

    family: such as NETLINK_ROUTE. Raises NetlinkUnavailable, DumpInterrupted, and TableError for any other failure.
    """
    try:
        for block in blocks(family, message_type, body):
            for kind, payload in messages(block):
                if kind == _NLMSG_DONE:
                    return
                yield kind, payload
            del block
    except OSError as error:
        raise _failure(error.errno or 0, error.strerror or str(error)) from error
    raise TableError("netlink: the answer has no end")


def uninterrupted(read: Callable[[], T]) -> T:
    """Return what `read` returns, which uses dump(): called again if the list has changed meanwhile, a few times."""
    for _ in range(MAX_ATTEMPTS - 1):
        try:
            return read()
        except DumpInterrupted:
            pass
    return read()


def messages(block: bytes) -> Iterator[Tuple[int, bytes]]:
    """Yield the type and the payload of each message of a block.

    Raises TableError as dump() does, also for a dump that the kernel ended with an error.
    """
    place = 0
    while place < len(block):
        if len(block) - place < _HEADER.size:
            raise TableError("netlink: a message that is cut short")
        length, kind, flags, _, _ = _HEADER.unpack_from(block, place)
        if not _HEADER.size <= length <= len(block) - place:
            raise TableError(f"netlink: a message of {length} bytes, {len(block) - place} were received")
        payload = block[place + _HEADER.size : place + length]
        if kind in (_NLMSG_ERROR, _NLMSG_DONE):
            status = struct.unpack_from("=i", payload)[0] if len(payload) >= 4 else -errno.EPROTO
            if status < 0:
                raise _failure(-status, os.strerror(-status))
            if kind == _NLMSG_ERROR:
                raise TableError("netlink: an unexpected acknowledgement")
        if flags & _NLM_F_DUMP_INTR:
            raise DumpInterrupted("netlink: the list changed while it was read")
        yield kind, payload
        place += _aligned(length)


def flagged(*types: int) -> FrozenSet[int]:
    """Return types of attributes as messages have them, with and without each flag."""
    return frozenset(kind | flags for kind in types for flags in (0, _NLA_F_NESTED, _NLA_F_NET_BYTEORDER))


def attributes(payload: bytes, place: int, wanted: FrozenSet[int]) -> Dict[int, bytes]:
    """Return those attributes (struct nlattr) of a payload from an offset on that have a wanted type, by type.

    wanted: as flagged() returns them. Raises TableError.
    """
    return {
        kind & _NLA_TYPE_MASK: payload[begin + _ATTRIBUTE.size : begin + length]
        for begin, length, kind in _headers(payload, place)
        if kind in wanted
    }


class Attributes:
    """Does what attributes() does, for many messages of one dump, whose attributes mostly have the same places.

    A link has 40 attributes, of which few are used. On a host with hundreds of links, walking from one attribute to the
    next is most of what a reading costs. Here the headers of a message are compared, all at once, with those of an
    earlier message of the same length and the same first header.
    """

    def __init__(self, place: int, wanted: FrozenSet[int]) -> None:
        self._place = place
        self._wanted = wanted
        # Length and first header -> what reads all headers, these, and type, begin and end of each wanted attribute.
        self._known: Dict[Tuple[int, bytes], Tuple[struct.Struct, Tuple[int, ...], List[Tuple[int, int, int]]]] = {}

    def of(self, payload: bytes) -> Dict[int, bytes]:
        """Return the wanted attributes of a message's payload, by type. Raises TableError."""
        key = len(payload), payload[self._place : self._place + _ATTRIBUTE.size]
        known = self._known.get(key)
        if known is not None and known[0].unpack_from(payload, self._place) == known[1]:
            return {kind: payload[begin:end] for kind, begin, end in known[2]}
        if known is None and len(self._known) < MAX_LAYOUTS:
            self._remember(key, payload)
        return attributes(payload, self._place, self._wanted)

    def _remember(self, key: Tuple[int, bytes], payload: bytes) -> None:
        found = list(_headers(payload, self._place))
        if found:
            ends = [begin for begin, _, _ in found[1:]] + [len(payload)]
            skip = [f"HH{end - begin - _ATTRIBUTE.size}x" for (begin, _, _), end in zip(found, ends)]
            self._known[key] = (
                struct.Struct("=" + "".join(skip)),
                tuple([number for _, length, kind in found for number in (length, kind)]),
                [
                    (kind & _NLA_TYPE_MASK, begin + _ATTRIBUTE.size, begin + length)
                    for begin, length, kind in found
                    if kind in self._wanted
                ],
            )


def _headers(payload: bytes, place: int) -> Iterator[Tuple[int, int, int]]:
    """Yield offset, length and type of each attribute. Raises TableError."""
    last = len(payload) - _ATTRIBUTE.size
    while place <= last:
        length, kind = _ATTRIBUTE.unpack_from(payload, place)
        if length < _ATTRIBUTE.size:
            raise TableError(f"netlink: an attribute of {length} bytes")
        yield place, length, kind
        place += _aligned(length)
    if place > _aligned(len(payload)):
        raise TableError(f"netlink: an attribute that ends {place - len(payload)} bytes beyond its message")


def _failure(number: int, text: str) -> TableError:
    kind = NetlinkUnavailable if number in _UNAVAILABLE else TableError
    return kind(f"netlink: {text}")


def _aligned(length: int) -> int:
    return (length + 3) & ~3
