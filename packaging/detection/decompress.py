"""Decompresses gzip and zstd, told by their first bytes, with any number of members or frames in a file."""

from __future__ import annotations

import zlib
from typing import BinaryIO

import zstandard

INPUT_BYTES = 2**16  # compressed, read at a time
# What one step gives at most: a few bytes may stand for a thousand times as many with gzip, ten thousand with zstd.
OUTPUT_BYTES = 2**18
ZSTD_STEP_BYTES = 2**10  # compressed; zstandard has no limit of the output, and 4 bytes give 128 KB at most

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
# A frame of zstd that holds no content: pzstd writes one before each other frame.
_SKIPPABLE = tuple(bytes([first]) + b"\x2a\x4d\x18" for first in range(0x50, 0x60))


class DamagedError(Exception):
    """What follows can't be decompressed. The text says why.

    cut: the file ends before the compressed data does, as if it was still being written
    """

    def __init__(self, reason: str, cut: bool = False) -> None:
        super().__init__(reason)
        self.cut = cut


def is_compressed(head: bytes) -> bool:
    """Return whether a file that begins with these bytes, 4 or more, is one that Decompressed reads."""
    return head.startswith((_GZIP, _ZSTD, *_SKIPPABLE))


class Decompressed:
    """The content of a compressed file. All that comes before a damage is read before the damage is raised.

    taken: bytes of the file that were decompressed
    """

    def __init__(self, file: BinaryIO) -> None:
        self.taken = 0
        self._file = file
        self._member: _Gzip | _Zstd | None = None  # being decompressed; None: between two
        self._pending = b""
        self._error: DamagedError | None = None

    def read(self, size: int) -> bytes:
        """Return about so many bytes; none at the end. Raises DamagedError, and OSError of the file itself."""
        parts: list[bytes] = []
        length = 0
        while length < size and self._error is None:
            try:
                part = self._read_some()
            except DamagedError as error:
                self._error = error
                break
            if part is None:
                break
            parts.append(part)
            length += len(part)
        if self._error is not None and not length:
            raise self._error
        return b"".join(parts)

    def _read_some(self) -> bytes | None:
        """Return what the next input gives, which may be nothing; None at the end."""
        data = self._pending or self._file.read(INPUT_BYTES)
        self._pending = b""
        if self._member is None:
            while data and not data.strip(b"\0"):  # padding, which some writers and disks leave at the end
                data = self._file.read(INPUT_BYTES)
            data = data.lstrip(b"\0")
            if not data:
                return None
            if len(data) < len(_ZSTD):
                data += self._file.read(INPUT_BYTES)
            self._member = _member(data)
        elif not data:
            raise DamagedError("the compressed data is cut off", cut=True)
        try:
            part, rest = self._member.step(data)
        except (zlib.error, zstandard.ZstdError) as error:
            raise DamagedError(f"the compressed data is damaged: {error}") from error
        self.taken += len(data) - len(rest)
        self._pending = rest
        if self._member.at_end:
            self._member = None
        return part


class _Gzip:
    """A member of a gzip file, being decompressed."""

    def __init__(self) -> None:
        self._object = zlib.decompressobj(wbits=31)  # 31: with gzip's header and checksum

    def step(self, data: bytes) -> tuple[bytes, bytes]:
        """Return some content, OUTPUT_BYTES at most, and what is left of the data."""
        part = self._object.decompress(data, OUTPUT_BYTES)
        return part, self._object.unconsumed_tail or self._object.unused_data

    @property
    def at_end(self) -> bool:
        return self._object.eof


class _Zstd:
    """A frame of a zstd file, being decompressed."""

    def __init__(self) -> None:
        self._object = zstandard.ZstdDecompressor().decompressobj()

    def step(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the content of ZSTD_STEP_BYTES, and what is left of the data."""
        part = self._object.decompress(data[:ZSTD_STEP_BYTES])
        return part, self._object.unused_data + data[ZSTD_STEP_BYTES:]

    @property
    def at_end(self) -> bool:
        return self._object.eof


def _member(data: bytes) -> _Gzip | _Zstd:
    if data.startswith(_GZIP):
        return _Gzip()
    if data.startswith((_ZSTD, *_SKIPPABLE)):
        return _Zstd()
    raise DamagedError("what follows the compressed data is not compressed")
