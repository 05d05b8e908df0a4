"""Recordings in Parquet, of other writers and as detect.py keeps them itself."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cbor2
import pyarrow
import pyarrow.parquet
import pytest
import zstandard
from detection import parquet
from detection.batches import SCHEMA
from support.detect_tool import PROFILES, run
from support.fleet_files import compact

BEGIN = 1767225600

CUSTOM = pyarrow.map_(
    pyarrow.string(),
    pyarrow.list_(
        pyarrow.struct([("number", pyarrow.float64()), ("number_list", pyarrow.list_(pyarrow.float64()))]),
    ),
)
NESTED = pyarrow.schema(
    [
        ("thing", pyarrow.string()),
        ("header", pyarrow.struct([("report_id", pyarrow.int64())])),
        ("metrics", pyarrow.struct([("network_stats", pyarrow.struct([("bytes_in", pyarrow.int64())]))])),
        ("custom_metrics", CUSTOM),
    ]
)


def write(path: str, rows: Sequence[dict[str, Any]], schema: pyarrow.Schema | None = None) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema), path)


def tried(capsys: pytest.CaptureFixture[str], *paths: str) -> dict[str, Any]:
    assert run("try", PROFILES / "RemoteManagementPorts.json", "--json", "--reports", *paths) == 0
    return dict(json.loads(capsys.readouterr().out))


def row(number: int, **members: Any) -> dict[str, Any]:
    return {"thing": "g", "header": {"report_id": BEGIN + 300 * number}, **members}


ROWS = [
    row(0, metrics={"network_stats": {"bytes_in": 5}}, custom_metrics=[]),
    row(1, metrics={"network_stats": None}, custom_metrics=None),
    row(2, metrics=None, custom_metrics=[("a", [{"number": 1.5}])]),
    row(3, metrics=None, custom_metrics=[("a", [{"number": float("nan")}])]),
    row(4, metrics=None, custom_metrics=[("a", [{"number_list": [1.0, None]}])]),
    row(5, metrics=None, custom_metrics=None),
]


def test_maps_and_nulls_of_a_table_are_read(capsys: pytest.CaptureFixture[str]) -> None:
    """A map without entries is no fault, and an element that is null must not vanish from its list."""
    write("r", ROWS, NESTED)
    account = tried(capsys, "r")["reports"]
    assert (account["found"], account["kept"]) == (6, 3)
    assert account["skipped"] == [
        "r, row 3: custom_metrics.a: a number is expected, not NaN",
        "r, row 4: custom_metrics.a: a number is expected, not null",
        "r, row 5: not a report: it has a header, and metrics, custom_metrics or both",
    ]


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_compressed_file_is_read(capsys: pytest.CaptureFixture[str], compress: Any) -> None:
    write("r", ROWS[:3], NESTED)
    whole = compress(Path("r").read_bytes())
    Path("r").write_bytes(whole)
    assert tried(capsys, "r")["reports"]["kept"] == 3
    Path("cut").write_bytes(whole[:-9])
    account = tried(capsys, "r", "cut")["reports"]
    assert (account["found"], account["kept"], account["torn_count"]) == (4, 3, 1)
    assert ": the compressed data is cut off; nothing was read" in account["torn"][0]


def test_file_that_stands_for_far_more_is_not_decompressed_to_its_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would fill the disk."""
    monkeypatch.setattr(parquet, "MAX_EMPTY_BYTES", 2**16)
    monkeypatch.setattr(parquet, "COPY_BYTES", 2**14)
    Path("r").write_bytes(gzip.compress(b"PAR1" + bytes(2**20)))
    write("s", ROWS[:3], NESTED)
    account = tried(capsys, "r", "s")["reports"]
    assert (account["found"], account["kept"]) == (4, 3)
    assert account["skipped"][0].endswith(", which is no Parquet; nothing was read")
    stands_for = int(account["skipped"][0].split(" stand for ")[1].split(", which")[0].replace(",", ""))
    assert stands_for < 2**20


def test_envelopes_in_a_table_are_read(capsys: pytest.CaptureFixture[str]) -> None:
    report = {"header": {"report_id": BEGIN}, "metrics": {}}
    payloads = [compact(report), cbor2.dumps({**report, "header": {"report_id": BEGIN + 300}})]
    write("text", [{"thing": "g", "data": base64.b64encode(payload).decode()} for payload in payloads])
    write("binary", [{"thing": "h", "data": payload} for payload in payloads])
    assert {one["thing"]: one["reports"] for one in tried(capsys, "text", "binary")["devices"]} == {"g": 2, "h": 2}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("destinations", ["gateway"]),
        ("destinations", [None]),
        ("destinations", ["fe80::1%eth0"]),
        ("tcp_ports", [None]),
        ("udp_ports", [22, 0]),
        ("bytes_in", -5),
        ("numbers", [("a", float("nan"))]),
        ("numbers", [("a", None)]),
        ("numbers", [("aws:a", 1.0)]),
        ("number_lists", [("a", [1.0, float("inf")])]),
        ("number_lists", [("a", None)]),
        ("string_lists", [("a", [None])]),
        ("ip_lists", [("a", ["gateway"])]),
        ("report_id", 0),
        ("thing", ""),
    ],
)
def test_row_that_no_report_gives_is_named(capsys: pytest.CaptureFixture[str], column: str, value: Any) -> None:
    """In the columns that --parquet writes, which another tool can fill, too."""
    good = {
        **dict.fromkeys(SCHEMA.names),
        "thing": "g",
        "bytes_in": 5,
        "tcp_ports": [22],
        "destinations": ["192.0.2.1", "2001:db8::1"],
        "numbers": [("a", -1.5), ("b", 1e300)],
        "number_lists": [("c", []), ("d", [0.0])],
        "string_lists": [("e", [""])],
        "ip_lists": [("f", ["10.0.0.1"])],
    }
    rows = [{**good, "report_id": BEGIN + 300 * number} for number in range(9)]
    rows[6] = {**rows[6], column: value}
    write("r", rows, SCHEMA)
    found = tried(capsys, "r")
    assert (found["reports"]["found"], found["reports"]["kept"], found["devices"][0]["reports"]) == (9, 8, 8)
    (skipped,) = found["reports"]["skipped"]
    assert skipped.startswith("r, row 6: no report: ")
    assert column in skipped


def test_file_without_a_report_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    write("r", [{**dict.fromkeys(SCHEMA.names), "thing": "g"}], SCHEMA)
    assert run("try", PROFILES / "RemoteManagementPorts.json", "--reports", "r") == 2
    assert capsys.readouterr().err.startswith("detect.py: r, row 0: no report: thing or report_id is missing")
