"""Recordings as they lie on a disk after some months: odd names, cut files, values that are no reports."""

from __future__ import annotations

import base64
import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cbor2
import pytest
from detection import documents, recordings, records, worker
from detection.errors import DetectionError
from support.detect_tool import PROFILES, run
from support.fleet_files import compact

BEGIN = 1767225600
PROFILE = PROFILES / "RemoteManagementPorts.json"


def report(number: int = 0, thing: str | None = None, **more: Any) -> dict[str, Any]:
    document = {"header": {"report_id": BEGIN + 300 * number}, "metrics": {"network_stats": {"bytes_in": 1}}, **more}
    return document if thing is None else {**document, "thing": thing}


def write(path: str | Path, *documents: Any, content: bytes | None = None) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(b"\n".join(map(compact, documents)) if content is None else content)


def tried(capsys: pytest.CaptureFixture[str], *paths: str, options: Sequence[str] = ()) -> dict[str, Any]:
    """Return what --json prints."""
    assert run("try", PROFILE, "--json", "--reports", *paths, *options) == 0
    return dict(json.loads(capsys.readouterr().out))


def things(document: dict[str, Any]) -> list[str]:
    return sorted(device["thing"] for device in document["devices"])


@pytest.mark.parametrize(
    ("folder", "thing"),
    [
        ("thing=007", "007"),
        ("thing=gateway%2D1%3Ab", "gateway-1:b"),
        ("thing=%FE", "%FE"),
        ("thing=%FF", "%FF"),
        ("thing=a b", "a b"),
        (b"thing=g\xff", "g\\xff"),
    ],
)
def test_thing_of_a_hive_folder(capsys: pytest.CaptureFixture[str], folder: str | bytes, thing: str) -> None:
    write(f"{os.fsdecode(folder)}/date=2026-01-01/part-0", report())
    assert things(tried(capsys, ".")) == [thing]


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        ("thing=n/a/date=2026-01-01", "n/a is what clientid() gives"),
        ("thing=n%2Fa", "n/a is what clientid() gives"),
        ("thing=__HIVE_DEFAULT_PARTITION__", "__HIVE_DEFAULT_PARTITION__ is what Hive writes where there is no value"),
    ],
)
def test_folder_of_no_thing_is_no_device(capsys: pytest.CaptureFixture[str], folder: str, reason: str) -> None:
    """Reports of any number of devices are there: together they would be those of a device that does not exist."""
    write(f"{folder}/part-0", report(0), report(1, "gateway-1"))
    found = tried(capsys, ".")
    assert things(found) == ["gateway-1"]
    assert [one.split("; ")[0] for one in found["reports"]["skipped"]] == [
        f"{folder}/part-0:1: thing: {reason}" + (" for a report that did not come by MQTT" if "n/a" in reason else "")
    ]


def test_file_whose_name_is_no_text_is_a_device(capsys: pytest.CaptureFixture[str]) -> None:
    write(os.fsdecode(b"gateway-\xff.jsonl"), report())
    assert things(tried(capsys, ".")) == ["gateway-\\xff"]


def test_argument_that_is_too_long_for_a_file_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("try", PROFILE, "--reports", "x" * 5000) == 2
    assert capsys.readouterr().err == f"detect.py: {'x' * 200}: File name too long\n"


def test_more_files_that_are_cut_off_than_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(1002):
        write(f"day/{number}", content=compact(report(number, "gateway-1")) + b'\n{"header":')
    found = tried(capsys, "day", options=["--strict"])["reports"]
    assert (found["found"], found["kept"], found["torn_count"], len(found["torn"])) == (2004, 1002, 1002, 1000)
    assert run("try", PROFILE, "--reports", "day") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2,004 records in 1,002 files: 1,002 read, 1,002 cut off at the end of a file; 1 device"
    assert lines[21] == "cut off: 982 more"


def envelope(payload: bytes | str, **more: Any) -> dict[str, Any]:
    return {"data": base64.b64encode(payload if isinstance(payload, bytes) else payload.encode()).decode(), **more}


@pytest.mark.parametrize(
    "document",
    [
        envelope(json.dumps(envelope(cbor2.dumps(report()))), thing="g"),
        envelope(compact({"report": report()}), thing="g"),
        {"report": envelope(cbor2.dumps(report(0, "g")))},
        {"report": {"report": report(0, "h")}, "thing": "g"},
        {"header": None, "data": envelope(compact(report()))["data"], "thing": "g"},
        [[envelope(compact(report()), thing="g")], []],
    ],
    ids=["JSON in JSON", "report in JSON", "CBOR in report", "report in report", "header is null", "arrays"],
)
def test_report_is_found_in_its_envelopes(capsys: pytest.CaptureFixture[str], document: Any) -> None:
    write("json", document)
    write("cbor", content=cbor2.dumps(document))
    for path in ("json", "cbor"):
        found = tried(capsys, path)
        assert (things(found), found["reports"]["found"], found["reports"]["kept"]) == (["g"], 1, 1)


def test_payload_of_an_envelope_in_cbor_needs_no_base64(capsys: pytest.CaptureFixture[str]) -> None:
    payloads = [cbor2.dumps(report(0)), compact(report(1)), envelope(cbor2.dumps(report(2)))["data"].encode()]
    write("r", content=b"".join(cbor2.dumps({"data": payload, "thing": "g"}) for payload in payloads))
    assert tried(capsys, "r")["reports"]["kept"] == 3


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (cbor2.dumps(report()) + cbor2.dumps(report(1)), "data: more follows the report in it"),
        (compact(report()) + compact(report(1)), "data: not JSON: Extra data: line 1 column 79 (char 78)"),
        (compact([report(), report(1)]), "not a report: a JSON object is expected"),
        (b"\xa1\x66header", "data: neither JSON nor CBOR: premature end of stream"),
    ],
    ids=["CBOR twice", "JSON twice", "array", "CBOR that is cut off"],
)
def test_envelope_that_holds_not_one_report_is_named(
    capsys: pytest.CaptureFixture[str], payload: bytes, reason: str
) -> None:
    """A second report in it, of which nothing is read, must not be lost without a word."""
    write("r", report(7), envelope(payload))
    found = tried(capsys, "r")["reports"]
    assert (found["found"], found["kept"], found["skipped_count"]) == (2, 1, 1)
    assert found["skipped"][0].startswith(f"r:2: {reason}")


def test_reports_in_nested_arrays_of_cbor_are_read_as_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    documents = [[report(0), report(1)], [], [[report(2)], 7]]
    write("r", content=cbor2.dumps(documents))
    found = tried(capsys, "r")["reports"]
    assert (found["found"], found["kept"]) == (4, 3)


def test_array_of_cbor_that_contains_itself_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    write("r", content=cbor2.dumps(report()) + bytes.fromhex("d81c81d81d00"))
    found = tried(capsys, "r")["reports"]
    assert (found["found"], found["kept"], found["skipped_count"]) == (2, 1, 1)


@pytest.mark.parametrize("first", ["header", "metrics", "custom_metrics", "thing", "timestamp"])
def test_record_that_is_cut_off_does_not_cost_the_next_one(capsys: pytest.CaptureFixture[str], first: str) -> None:
    """As when a writer was stopped within a line and appends to it later. A document's members have any order."""
    document = report(0, "g", custom_metrics={"a": [{"number": 1}]}, timestamp=1767225600123)
    documents = [{first: document[first], **document, "header": {"report_id": BEGIN + number}} for number in (0, 300)]
    cut, whole = map(compact, documents)
    write("r", content=cut[:-20] + whole + b"\n")
    found = tried(capsys, "r")["reports"]
    assert (found["found"], found["kept"], found["skipped_count"]) == (2, 1, 1)
    assert found["skipped"][0].startswith("r:1: not JSON")


def test_file_that_is_gone_when_it_is_read_is_named(tmp_path: Path) -> None:
    """As when a log is rotated in the meantime: the other files are read."""
    write("a.jsonl", report())
    write("b.jsonl", report())
    (tmp_path / "rows").mkdir()
    source = recordings.Source(("a.jsonl", "b.jsonl"))
    found = recordings.read(source, tmp_path / "rows", 1, meanwhile=Path("a.jsonl").unlink)
    assert found.account.lines() == [
        "2 records in 2 files: 1 read, 1 skipped; 1 device",
        "skipped: a.jsonl, byte 0: it can't be read: No such file or directory",
    ]


def test_file_that_grows_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    write("a.jsonl", report())
    (tmp_path / "rows").mkdir()

    def grow() -> None:
        with Path("a.jsonl").open("ab") as file:
            file.write(b"\n" + compact(report(1)) + b'\n{"header":{"repo')

    found = recordings.read(recordings.Source(("a.jsonl",)), tmp_path / "rows", 1, meanwhile=grow)
    assert found.account.lines()[0] == "3 records in 1 file: 2 read, 1 cut off at the end of a file; 1 device"


def test_member_that_is_null_is_missing_as_in_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """As in what DuckDB, pandas or Parquet make of reports: the later values count, and so do the other members."""
    path = Path("r")
    nulls = {"custom_metrics": None, "thing": None}
    other = {"header": {"report_id": BEGIN + 300 * 21_000}, "metrics": None}
    documents = [
        *(report(number, **nulls) for number in range(21_000)),
        {**other, "custom_metrics": {"cpu_usage": [{"number": 91.5, "number_list": None}], "gone": None}},
    ]
    documents[7]["metrics"] = {"network_stats": {"bytes_in": None, "bytes_out": 2}, "listening_tcp_ports": None}
    documents[8]["metrics"] = {"listening_tcp_ports": {"ports": None, "total": 3}}
    write(path, *documents)
    behavior = {"name": "Busy", "metric": "cpu_usage"}
    criteria = {"comparisonOperator": "less-than", "value": {"number": 90}}
    write("p.json", {"securityProfileName": "P", "behaviors": [{**behavior, "criteria": criteria}]})
    assert run("try", "p.json", "--json", "--reports", path) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["reports"]["found"], found["reports"]["kept"]) == (21_001, 21_001)
    assert [one["worst"] for one in found["devices"][0]["behaviors"]] == [91.5]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({**report(), "header": {"report_id": None}}, "header.report_id: an integer from 1 is expected, not null"),
        ({**report(), "metrics": None}, "not a report: it has a header, and metrics, custom_metrics or both"),
        (report(custom_metrics={"a": [None]}), "custom_metrics.a: a list of one typed value is expected"),
        (report(custom_metrics={"a": [{"number": None}]}), "custom_metrics.a: a list of one typed value is expected"),
        (
            report(custom_metrics={"a": [{"number_list": [1, None]}]}),
            "custom_metrics.a: a number is expected, not null",
        ),
    ],
)
def test_null_where_a_value_is_needed_costs_the_record(
    capsys: pytest.CaptureFixture[str], document: dict[str, Any], reason: str
) -> None:
    write("r", report(7), document)
    found = tried(capsys, "r")["reports"]
    assert (found["kept"], found["skipped_count"]) == (1, 1)
    assert found["skipped"][0].startswith(f"r:2: {reason}")


def end_this_process(*arguments: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_process_that_is_ended_from_outside_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel ends one where memory runs out."""
    monkeypatch.setattr(worker, "read", end_this_process)
    monkeypatch.setattr(recordings, "TASK_BYTES", 2000)
    monkeypatch.setattr(recordings, "MIN_PARALLEL_BYTES", 0)
    monkeypatch.setattr(recordings, "PROCESS_BYTES", 1000)
    write("r", *(report(number) for number in range(200)))
    (tmp_path / "rows").mkdir()
    with pytest.raises(DetectionError, match="^a process that read recordings was ended from outside"):
        recordings.read(recordings.Source(("r",)), tmp_path / "rows", 2)


def test_what_nothing_ends_is_searched_a_few_times_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not again for each piece that is read: a file that is no recording took a second a megabyte."""
    searched = []

    def counting(text: str, more: bool) -> Any:
        searched.append(len(text))
        return documents.scan(text, more)

    monkeypatch.setattr(records, "scan", counting)
    monkeypatch.setattr(documents, "CHUNK_BYTES", 2**10)
    size = 2**17
    write("r", content=compact(report()) + b"\n" + b"a" * size)
    (tmp_path / "rows").mkdir()
    found = recordings.read(recordings.Source(("r",)), tmp_path / "rows", 1)
    assert found.account.lines() == ["2 records in 1 file: 1 read, 1 skipped; 1 device", "skipped: r:2: not JSON"]
    assert sum(searched) < 4 * size


def test_system_that_does_not_say_which_processors_may_be_used(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As macOS, where an operator may work."""
    monkeypatch.delattr(os, "sched_getaffinity")
    write("r", report())
    assert tried(capsys, "r")["reports"]["kept"] == 1


def test_what_is_nested_too_deep_is_not_searched_at_each_level(capsys: pytest.CaptureFixture[str]) -> None:
    """Each search goes down a thousand levels again, which took ten seconds a megabyte."""
    write("r", content=b'{"header":' * 20_000 + b"\n" + compact(report()))
    found = tried(capsys, "r")["reports"]
    assert (found["kept"], found["found"] - found["skipped_count"]) == (1, 1)
    assert found["skipped"][0] == "r:1: nested too deep"
    assert found["skipped_count"] < 15_000  # of 20,000; how deep Python goes depends on its version
