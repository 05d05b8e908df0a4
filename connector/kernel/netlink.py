"""Dumps over netlink(7): one request, an answer of many messages, read a block at a time."""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import Dict, FrozenSet, Iterator, Tuple

from ..errors import TableError

# linux/netlink.h
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_REQUEST, _NLM_F_DUMP, _NLM_F_DUMP_INTR = 0x1, 0x300, 0x10
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence number, port id
_NLA_F_NESTED, _NLA_F_NET_BYTEORDER, _NLA_TYPE_MASK = 0x8000, 0x4000, 0x3FFF
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr: length, type

MAX_BLOCK_BYTES = 65536  # the kernel sends 32 KiB at a time at most
MAX_ANSWER_SECONDS = 5.0

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


def dump(family: int, message_type: int, body: bytes) -> Iterator[Tuple[int, bytes]]:
    """Send a dump request; yield the type and the payload of each message of the answer.

    family: such as NETLINK_ROUTE. Raises NetlinkUnavailable, DumpInterrupted, and TableError for any other failure.
    """
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family) as kernel:
            kernel.settimeout(MAX_ANSWER_SECONDS)
            flags = _NLM_F_REQUEST | _NLM_F_DUMP
            kernel.send(_HEADER.pack(_HEADER.size + len(body), message_type, flags, 1, 0) + body)
            while True:
                block, _, receive_flags, _ = kernel.recvmsg(MAX_BLOCK_BYTES)
                if receive_flags & socket.MSG_TRUNC:
                    raise TableError(f"netlink: a block of over {MAX_BLOCK_BYTES} bytes")
                for kind, payload in messages(block):
                    if kind == _NLMSG_DONE:
                        return
                    yield kind, payload
    except OSError as error:
        raise _failure(error.errno or 0, error.strerror or str(error)) from error


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

    wanted: as flagged() returns them. A link has 40 attributes, of which few are used: where a host has hundreds of
    links, this loop is most of what a reading costs.
    """
    found: Dict[int, bytes] = {}
    last = len(payload) - _ATTRIBUTE.size
    read = _ATTRIBUTE.unpack_from
    while place <= last:
        length, kind = read(payload, place)
        if length < 4:
            raise TableError(f"netlink: an attribute of {length} bytes")
        if kind in wanted:
            found[kind & _NLA_TYPE_MASK] = payload[place + 4 : place + length]
        place += (length + 3) & ~3
    if place > _aligned(len(payload)):
        raise TableError(f"netlink: an attribute that ends {place - len(payload)} bytes beyond its message")
    return found


def _failure(number: int, text: str) -> TableError:
    kind = NetlinkUnavailable if number in _UNAVAILABLE else TableError
    return kind(f"netlink: {text}")


def _aligned(length: int) -> int:
    return (length + 3) & ~3
