"""Recordings read into columns: which files, which things, what comes twice, and the account of every record."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow
import pyarrow.parquet
import pytest
from detection import recordings
from detection.errors import InputError
from detection.recordings import Recordings, Source
from support.fleet_files import COMPRESSIONS, LAYOUTS, compact, in_short_names

BEGIN = 1767225600
TRAFFIC = {"bytes_in": 1, "bytes_out": 2, "packets_in": 3, "packets_out": 4}


def report(number: int = 0, thing: str | None = None, **blocks: Any) -> dict[str, Any]:
    document = {"header": {"report_id": BEGIN + 300 * number}, "metrics": {"network_stats": TRAFFIC, **blocks}}
    return document if thing is None else {**document, "thing": thing}


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Recordings]:
    made: list[Path] = []

    def read(*paths: Any, **options: Any) -> Recordings:
        made.append(tmp_path / f"rows-{len(made)}")
        made[-1].mkdir()
        options.setdefault("thing_from", None)
        return recordings.read(Source(tuple(map(str, paths)), **options), made[-1], processes=1)

    return read


def write(path: Path, documents: Sequence[Any], layout: str = "lines", compression: str = "plain") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(COMPRESSIONS[compression](LAYOUTS[layout](documents)))
    return path


def rows(found: Recordings, columns: str = "thing, report_id") -> list[Any]:
    return found.connection.execute(f"SELECT {columns} FROM reports ORDER BY thing, report_id").fetchall()


def test_row_has_every_metric_of_a_report(tmp_path: Path, read: Callable[..., Recordings]) -> None:
    document = report(
        thing="g",
        tcp_connections={
            "established_connections": {
                "connections": [{"remote_addr": "192.0.2.7:443"}, {"remote_addr": "[2001:DB8::7]:8883"}],
                "total": 73,
            }
        },
        listening_tcp_ports={"ports": [{"port": 22}, {"port": 22}], "total": 2},
        listening_udp_ports={"ports": [], "total": 0},
    )
    document["custom_metrics"] = {
        "cpu_usage": [{"number": 12.5}],
        "sizes": [{"number_list": [1, 2.5]}],
        "users": [{"string_list": ["a", "b"]}],
        "peers": [{"ip_list": ["192.0.2.9"]}],
    }
    found = read(write(tmp_path / "r", [document, in_short_names(report(1, "g"))]))
    assert rows(found, "*") == [
        ("g", BEGIN, 1, 2, 3, 4, 73, 2, 0, [22, 22], [], ["192.0.2.7", "2001:db8::7"])
        + ({"cpu_usage": 12.5}, {"sizes": [1, 2.5]}, {"users": ["a", "b"]}, {"peers": ["192.0.2.9"]}),
        ("g", BEGIN + 300, 1, 2, 3, 4, *[None] * 10),
    ]


def test_columns_have_the_declared_types(tmp_path: Path, read: Callable[..., Recordings]) -> None:
    """Where a metric is in no report, too: a type that is inferred from what comes first is wrong for what follows."""
    found = read(write(tmp_path / "r", [{"header": {"report_id": 7}, "metrics": {}}]))
    kinds = {name: kind for name, kind, *_ in found.connection.execute("DESCRIBE reports").fetchall()}
    assert kinds == {
        "thing": "VARCHAR",
        **dict.fromkeys(["report_id", *TRAFFIC], "BIGINT"),
        **dict.fromkeys(["tcp_connections", "tcp_ports_total", "udp_ports_total"], "BIGINT"),
        **dict.fromkeys(["tcp_ports", "udp_ports"], "INTEGER[]"),
        "destinations": "VARCHAR[]",
        "numbers": "MAP(VARCHAR, DOUBLE)",
        "number_lists": "MAP(VARCHAR, DOUBLE[])",
        "string_lists": "MAP(VARCHAR, VARCHAR[])",
        "ip_lists": "MAP(VARCHAR, VARCHAR[])",
    }


@pytest.mark.parametrize(
    ("layout", "compression"), [*((layout, "plain") for layout in LAYOUTS), *(("lines", one) for one in COMPRESSIONS)]
)
def test_every_layout_is_read(tmp_path: Path, read: Callable[..., Recordings], layout: str, compression: str) -> None:
    documents = [report(number, f"g{number % 2}") for number in range(5)]
    found = read(write(tmp_path / "r", documents, layout, compression))
    assert rows(found) == sorted((one["thing"], one["header"]["report_id"]) for one in documents)
    assert found.account.lines() == ["5 records in 1 file: 5 read; 2 devices"]


def test_parquet_is_read(tmp_path: Path, read: Callable[..., Recordings]) -> None:
    documents = [
        report(0, "g", listening_tcp_ports={"ports": [{"port": 22}], "total": 1}),
        {**report(1, "g"), "custom_metrics": None},
        {"header": {"report_id": -1}, "metrics": {}, "thing": "g"},
    ]
    path = tmp_path / "r"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(documents), path)
    found = read(path)
    assert rows(found, "report_id, tcp_ports, bytes_out") == [(BEGIN, [22], 2), (BEGIN + 300, None, 2)]
    assert found.account.skipped == (f"{path}, row 2: header.report_id: an integer from 1 is expected, not -1",)


def test_files_folders_and_globs_are_read_once_in_any_order(tmp_path: Path, read: Callable[..., Recordings]) -> None:
    for number in range(4):
        write(tmp_path / "day" / f"{number}" / "r", [report(number, "g")])
    write(tmp_path / "day" / "_SUCCESS", ["not a report"])
    arguments = (tmp_path / "day" / "[01]" / "r", tmp_path / "day" / "**" / "r", tmp_path / "day", tmp_path / "day/2/r")
    for order in (arguments, arguments[::-1]):
        assert read(*order).account.lines() == ["4 records in 4 files: 4 read; 1 device"]


def test_argument_without_files_is_an_error(tmp_path: Path, read: Callable[..., Recordings]) -> None:
    with pytest.raises(InputError, match=r"^-: no files there; what comes through a pipe has to be written to a file"):
        read("-")
    with pytest.raises(InputError, match=r"^/none: no files there$"):
        read("/none")


def test_recording_without_reports_is_an_error(tmp_path: Path, read: Callable[..., Recordings]) -> None:
    path = tmp_path / "r"
    path.write_text("INFO started\n")
    with pytest.raises(InputError) as error:
        read(path)
    assert str(error.value) == (
        f"{path}:1: not JSON\n{path}: no reports; record some with: python -m connector -n 288 -s 300 > reports.jsonl"
    )


@pytest.mark.parametrize(
    ("path", "document", "options", "thing"),
    [
        ("r", report(0, "g"), {}, "g"),
        ("thing=h/r", report(0, "g"), {}, "g"),
        ("thing=h%3A7/date=1/r", report(), {}, "h:7"),
        ("thing=007/r", report(), {}, "007"),
        ("thing=h/r", report(0, "n/a"), {}, "h"),
        ("gateway-1.jsonl.gz", report(), {}, "gateway-1"),
        ("r", {**report(), "clientid": "c"}, {"thing_field": "clientid"}, "c"),
        ("site/g7/r", report(), {"thing_from": re.compile("/(g[0-9]+)/")}, "g7"),
        ("site/g7/r", report(), {"thing_from": re.compile("g[0-9]+")}, "g7"),
    ],
)
def test_thing_comes_from_field_then_path_then_file(
    tmp_path: Path, read: Callable[..., Recordings], path: str, document: Any, options: Any, thing: str
) -> None:
    assert rows(read(write(tmp_path / path, [document]), **options), "thing") == [(thing,)]


def test_files_of_one_name_are_different_devices(tmp_path: Path, read: Callable[..., Recordings]) -> None:
    paths = [write(tmp_path / folder / "reports.jsonl", [report()]) for folder in "ab"]
    assert rows(read(*paths), "thing") == [(str(path),) for path in paths]


@pytest.mark.parametrize(
    ("document", "options", "reason"),
    [
        (report(0, "n/a"), {}, "thing: n/a is what clientid() gives"),
        (report(0, ""), {}, "thing: the name of a thing is expected, not ''"),
        ({**report(), "thing": 7}, {}, "thing: the name of a thing is expected, not 7"),
        (report(0, "g"), {"thing_field": "clientid"}, "no field clientid (--thing-field)"),
    ],
)
def test_report_of_nobody_is_skipped(
    tmp_path: Path, read: Callable[..., Recordings], document: Any, options: Any, reason: str
) -> None:
    path = write(tmp_path / "r", [{**report(0, "g"), "clientid": "g"}, document])
    found = read(path, **options)
    assert len(found.account.skipped) == 1
    assert found.account.skipped[0].startswith(f"{path}:2: {reason}")


def test_path_without_what_thing_from_looks_for_is_an_error(tmp_path: Path, read: Callable[..., Recordings]) -> None:
    path = write(tmp_path / "r", [report()])
    with pytest.raises(InputError, match="--thing-from 'thing-.*' finds no thing in this path"):
        read(path, thing_from=re.compile("thing-(.*)"))


def test_report_that_comes_again_counts_once(tmp_path: Path, read: Callable[..., Recordings]) -> None:
    first = [report(number, "g") for number in range(3)]
    write(tmp_path / "day/1", first)
    other = report(1, "g")
    other["metrics"] = {"network_stats": {"bytes_in": 9}}
    write(tmp_path / "day/2", [first[2], other, report(1, "h"), report(1, "h")])
    found = read(tmp_path / "day")
    assert rows(found, "thing, report_id, bytes_in") == [
        *[("g", BEGIN + 300 * number, 1) for number in range(3)],
        ("h", BEGIN + 300, 1),
    ]
    assert found.account.lines() == [
        "7 records in 2 files: 4 read, 3 there twice and counted once; 2 devices",
        "note: 1 of those that are there twice differ from the one that counts, which is the first by path and place",
    ]


def test_bad_record_costs_itself_and_is_named(tmp_path: Path, read: Callable[..., Recordings]) -> None:
    path = tmp_path / "r"
    good = compact(report(0, "g"))
    wrong = b'{"header":{"report_id":true},"metrics":{}}'
    path.write_bytes(
        good
        + b"\nINFO started\n\n"
        + wrong
        + compact(report(1, "g"))
        + wrong
        + b'\n{"header":{"rep\n'
        + compact(report(2, "g"))
    )
    found = read(path)
    reason = "header.report_id: an integer from 1 is expected, not true"
    column = len(wrong) + len(good) + 1
    assert found.account.lines() == [
        "7 records in 1 file: 3 read, 4 skipped; 1 device",
        f"skipped: {path}:2: not JSON",
        f"skipped: {path}:4: {reason}",
        f"skipped: {path}:4:{column}: {reason}",
        f"skipped: {path}:5: not JSON: Invalid control character at",
    ]
    with pytest.raises(InputError) as error:
        read(path, strict=True)
    assert str(error.value).splitlines() == list(found.account.skipped)


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (LAYOUTS["lines"]([report(0, "g")]) + b'{"header":{"rep', ":2"),
        (LAYOUTS["pretty"]([report(0, "g")]) + LAYOUTS["pretty"]([report(1, "g")])[:60], ":14:2"),
        (LAYOUTS["CBOR"]([report(0, "g"), report(1, "g")])[:-3], ", byte 102"),
        (COMPRESSIONS["gzip"](LAYOUTS["lines"]([report(0, "g")]))[:-2], ":2"),
    ],
    ids=["line", "pretty", "CBOR", "gzip"],
)
def test_record_that_the_end_of_its_file_cuts_off_is_ordinary(
    tmp_path: Path, read: Callable[..., Recordings], content: bytes, place: str
) -> None:
    path = tmp_path / "r"
    path.write_bytes(content)
    found = read(path, strict=True)
    assert found.account.lines()[0] == "2 records in 1 file: 1 read, 1 cut off at the end of a file; 1 device"
    assert found.account.torn[0].startswith(f"{path}{place}: ")


def test_value_of_another_kind_is_not_converted(tmp_path: Path, read: Callable[..., Recordings]) -> None:
    path = tmp_path / "r"
    values = ["true", '"12"', "1.5", "[]", "-1", "9223372036854775808", "12"]
    path.write_text(
        "".join(
            f'{{"header":{{"report_id":{number}}},"metrics":{{"network_stats":{{"bytes_in":{value}}}}}}}\n'
            for number, value in enumerate(values, 1)
        )
    )
    found = read(path)
    assert rows(found, "report_id, bytes_in") == [(7, 12)]
    assert [one.split(": ")[0] for one in found.account.skipped] == [f"{path}:{line}" for line in range(1, 7)]


@pytest.mark.parametrize(
    "entry", ['{"interface":"lo"}', '{"port":null}', '{"port":"22"}', '{"port":22.5}', "{}", "[]", "22"]
)
def test_port_that_is_no_number_costs_its_record(tmp_path: Path, read: Callable[..., Recordings], entry: str) -> None:
    """Though such blocks are decoded once, and many reports become columns together."""
    path = tmp_path / "r"
    good = '{"header":{"report_id":%d},"metrics":{"listening_tcp_ports":{"ports":[{"port":22}],"total":1}}}\n'
    lines = [good % number for number in range(1, 300)]
    for number in (150, 152):
        lines[number] = lines[number].replace('{"port":22}', entry)
    path.write_text("".join(lines))
    found = read(path)
    expected = [(number, [22]) for number in range(1, 300) if number not in (151, 153)]
    assert rows(found, "report_id, tcp_ports") == expected
    assert [one.split(": ")[0] for one in found.account.skipped] == [f"{path}:151", f"{path}:153"]


def test_what_is_done_meanwhile_can_end_the_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "r", [report(0, "g")])
    (tmp_path / "rows").mkdir()

    def meanwhile() -> None:
        raise InputError("not a profile")

    for least in (0, 2**20):  # in other processes, and in this one
        monkeypatch.setattr(recordings, "MIN_PARALLEL_BYTES", least)
        with pytest.raises(InputError, match="not a profile"):
            recordings.read(Source((str(path),)), tmp_path / "rows", processes=2, meanwhile=meanwhile)


def test_large_file_is_read_in_parts_by_several_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "TASK_BYTES", 20_000)
    monkeypatch.setattr(recordings, "MIN_PARALLEL_BYTES", 0)
    monkeypatch.setattr(recordings, "PROCESS_BYTES", 20_000)
    path = write(tmp_path / "r", [report(number, f"g{number % 7}") for number in range(2000)])
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1500] = b"INFO stopped\n"
    path.write_bytes(b"".join(lines) + b'{"header":')
    rows_folder = tmp_path / "rows"
    rows_folder.mkdir()
    found = recordings.read(Source((str(path),)), rows_folder, processes=2)
    assert len(list(rows_folder.glob("part-*"))) > 5
    assert found.account.lines()[:2] == [
        "2,001 records in 1 file: 1,999 read, 1 skipped, 1 cut off at the end of a file; 7 devices",
        f"skipped: {path}:1501: not JSON",
    ]
    assert len(rows(found)) == 1999


def test_memory_of_duckdb_is_bounded(tmp_path: Path) -> None:
    connection = recordings.connect(tmp_path, 1, 300)
    try:
        ((limit, threads),) = connection.execute(
            "SELECT current_setting('memory_limit'), current_setting('threads')"
        ).fetchall()
    finally:
        connection.close()
    assert isinstance(connection, duckdb.DuckDBPyConnection)
    assert (limit, threads) == ("286.1 MiB", 1)


def test_json_of_a_rule_with_its_time_is_read(tmp_path: Path, read: Callable[..., Recordings]) -> None:
    document = {**report(0, "g"), "timestamp": 1767225600123, "topic": "$aws/things/g/defender/metrics/json"}
    path = tmp_path / "r"
    path.write_text(json.dumps(document))
    assert rows(read(path)) == [("g", BEGIN)]


def test_what_was_written_is_read_again(tmp_path: Path, read: Callable[..., Recordings]) -> None:
    document = report(1, "g", listening_tcp_ports={"ports": [{"port": 22}], "total": 1})
    document["custom_metrics"] = {"users": [{"string_list": ["a"]}]}
    found = read(write(tmp_path / "r", [document, report(0, "h"), report(0, "h")]))
    found.write(tmp_path / "kept")
    again = read(tmp_path / "kept", tmp_path / "r")
    assert rows(again, "*") == rows(found, "*")
    assert again.account.lines() == ["5 records in 2 files: 2 read, 3 there twice and counted once; 2 devices"]
    with pytest.raises(InputError, match="kept: File exists"):
        found.write(tmp_path / "kept")


def test_row_without_a_thing_or_a_time_is_skipped(tmp_path: Path, read: Callable[..., Recordings]) -> None:
    found = read(write(tmp_path / "r", [report(0, "g")]))
    path = tmp_path / "odd.parquet"
    found.connection.execute(
        f"""COPY (SELECT * FROM reports UNION ALL SELECT * REPLACE (NULL AS thing) FROM reports
        UNION ALL SELECT * REPLACE (NULL AS report_id) FROM reports) TO '{path}'"""
    )
    account = read(path).account
    assert (account.found, account.kept, account.skipped_count) == (3, 1, 2)
    assert account.skipped[0].endswith(": no report: thing or report_id is missing or invalid")
