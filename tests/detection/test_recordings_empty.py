"""Compressed recordings of which a small part of the file stands for much that is no report.

The limits are lowered, so that harmless input reaches them.
"""

from __future__ import annotations

import io
import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from detection import decompress, recordings, records
from detection.decompress import Decompressed
from detection.record_counts import RecordCounts
from detection.recordings import Source
from support.fleet_files import COMPRESSIONS

EMPTY_BYTES = 2**18  # as much as is read at a time
FILLERS = {
    "letters": b"x" * 2**23,
    "lines": b"x" * 50_000 + b"\n" + b"x" * 2**23,
    "white space": b" " * 2**23,
    "NUL": b"\0" * 2**23,
    "string": b'{"a": "' + b"x" * 2**23,
}


def report(number: int) -> bytes:
    ports = {"ports": [], "total": 0}
    header = {"report_id": 1767600000 + 300 * number}
    return json.dumps({"header": header, "metrics": {"listening_tcp_ports": ports}}).encode() + b"\n"


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], RecordCounts]:
    """Read a file with this content."""
    monkeypatch.setattr(records, "MAX_EMPTY_BYTES", EMPTY_BYTES)
    monkeypatch.setattr(decompress, "ZSTD_STEP_BYTES", 16)

    def read_content(content: bytes) -> RecordCounts:
        folder = tmp_path / "kept"
        folder.mkdir()
        (tmp_path / "f").write_bytes(content)
        found = recordings.read(Source((str(tmp_path / "f"),)), folder, processes=1)
        found.connection.close()
        return found.account

    return read_content


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("filler", FILLERS)
def test_what_holds_no_document_is_given_up_early_and_named_once(
    read: Callable[[bytes], RecordCounts], tmp_path: Path, filler: str, compression: str
) -> None:
    account = read(COMPRESSIONS[compression](report(0) + FILLERS[filler] + b"\n" + report(1)))
    *others, named = account.skipped
    assert account.kept == 1
    reason = "no document in [0-9,]+ bytes, which take [0-9,]+ of the file; nothing was read from here on"
    assert re.fullmatch(f"{tmp_path}/f:[0-9:]+: {reason}", named)
    assert others == ([f"{tmp_path}/f:2: not JSON"] if filler == "lines" else [])


def test_reports_after_much_that_is_no_report_are_read(read: Callable[[bytes], RecordCounts]) -> None:
    noise = random.Random(1)
    lines = b"".join(b"%032x\n" % noise.getrandbits(128) for _ in range(2**15))  # takes half of its size in the file
    account = read(COMPRESSIONS["gzip"](report(0) + lines + report(1)))
    assert (account.kept, account.skipped_count) == (2, 2**15)


def test_content_of_a_file_that_is_not_compressed_is_read_to_its_end(read: Callable[[bytes], RecordCounts]) -> None:
    assert read(report(0) + b" " * 2**23 + b"\n" + report(1)).kept == 2


def test_reports_that_compress_well_are_read(read: Callable[[bytes], RecordCounts]) -> None:
    assert read(COMPRESSIONS["zstd"](report(0) * 20_000 + report(1))).found == 20_001


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_little_is_decompressed_at_a_time(monkeypatch: pytest.MonkeyPatch, compression: str) -> None:
    monkeypatch.setattr(decompress, "OUTPUT_BYTES", 1000)
    monkeypatch.setattr(decompress, "ZSTD_STEP_BYTES", 10)
    content = b"".join(b"%d\n" % number * 30 for number in range(10_000))
    compressed = COMPRESSIONS[compression](content)
    stream = Decompressed(io.BytesIO(compressed))
    pieces = list(iter(lambda: stream.read(1), b""))
    assert b"".join(pieces) == content
    assert stream.taken == len(compressed)
    assert max(map(len, pieces)) <= (1000 if compression == "gzip" else 3 * 128 * 2**10)
