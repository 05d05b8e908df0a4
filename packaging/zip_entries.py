"""A zip's files as it holds them, and zips with the same bytes on every machine, for build_zip.py and deploy.py."""

from __future__ import annotations

import struct
import zipfile
import zlib
from typing import NamedTuple


class Entry(NamedTuple):
    """A file in a zip.

    method: 0 stored, 8 deflated
    crc: CRC-32 of the content
    size: of the content, bytes
    data: as stored or deflated
    comment: of this file, for tools; it is not unpacked
    """

    method: int
    crc: int
    size: int
    data: bytes
    comment: bytes = b""


def content(entry: Entry) -> bytes:
    """Return the uncompressed content of a file in a zip."""
    return entry.data if entry.method == zipfile.ZIP_STORED else zlib.decompress(entry.data, -zlib.MAX_WBITS)


def stored(data: bytes, comment: bytes = b"") -> Entry:
    """Return an entry that is not compressed: zlib's versions and forks compress differently."""
    return Entry(zipfile.ZIP_STORED, zlib.crc32(data), len(data), data, comment)


def taken_over(archive: bytes, info: zipfile.ZipInfo) -> Entry:
    """Return an entry of another zip as that zip compressed it."""
    name_length, extra_length = struct.unpack_from("<HH", archive, info.header_offset + 26)
    start = info.header_offset + 30 + name_length + extra_length
    return Entry(
        info.compress_type, info.CRC, info.file_size, archive[start : start + info.compress_size], info.comment
    )


def zip_bytes(entries: dict[str, Entry]) -> bytes:
    """Return a zip with sorted names, mode 0644 and the date 1980-01-01 (PKWARE's APPNOTE.TXT, 4.3 and 4.4).

    Written here because zipfile has no way to add a file that is already compressed.
    """
    files, directory = bytearray(), bytearray()
    for name, (method, crc, size, data, comment) in sorted(entries.items()):
        path = name.encode("ascii")
        common = struct.pack("<5H3I2H", 20, 0, method, 0, 0x21, crc, len(data), size, len(path), 0)
        # Made by version 2.0 on Unix (3): the upper half of the attributes is the file's mode.
        directory += b"PK\1\2" + struct.pack("<BB", 20, 3) + common
        directory += struct.pack("<3H2I", len(comment), 0, 0, 0o100644 << 16, len(files)) + path + comment
        files += b"PK\3\4" + common + path + data
    sizes = (0, 0, len(entries), len(entries), len(directory), len(files), 0)
    return bytes(files + directory + b"PK\5\6" + struct.pack("<4H2IH", *sizes))
