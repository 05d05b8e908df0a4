"""Decompresses gzip and zstd, told by their first bytes, with any number of members or frames in a file."""

from __future__ import annotations

import zlib
from typing import Any, BinaryIO

import zstandard

INPUT_BYTES = 2**16  # compressed, read at a time

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
    """The content of a compressed file. All that comes before a damage is read before the damage is raised."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._member: Any = None  # being decompressed; None: between two
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
            part: bytes = self._member.decompress(data)
        except (zlib.error, zstandard.ZstdError) as error:
            raise DamagedError(f"the compressed data is damaged: {error}") from error
        if self._member.eof:
            self._pending = self._member.unused_data
            self._member = None
        return part


def _member(data: bytes) -> Any:
    if data.startswith(_GZIP):
        return zlib.decompressobj(wbits=31)  # 31: with gzip's header and checksum
    if data.startswith((_ZSTD, *_SKIPPABLE)):
        return zstandard.ZstdDecompressor().decompressobj()
    raise DamagedError("what follows the compressed data is not compressed")
