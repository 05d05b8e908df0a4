"""`detect.py suggest`: what is printed and written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.detect_tool import INCIDENT, ORDINARY, run


def test_suggested_profile_does_not_alarm_on_its_recording(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("suggest", "--reports", ORDINARY, "--name", "Gateway", "--force") == 0
    assert (
        capsys.readouterr().out
        == """\
37 records in 1 file: 37 read; 1 device
all-bytes-in: normal is aws:all-bytes-in less-than-equals 10,000,000 over 300 s
all-bytes-out: normal is aws:all-bytes-out less-than-equals 1,000,000 over 300 s
all-packets-in: normal is aws:all-packets-in less-than-equals 10,000 over 300 s
all-packets-out: normal is aws:all-packets-out less-than-equals 10,000 over 300 s
listening-tcp-ports: normal is aws:listening-tcp-ports in-port-set 53, 443, 8883
listening-udp-ports: normal is aws:listening-udp-ports in-port-set 68, 123, 5353
num-established-tcp-connections: normal is aws:num-established-tcp-connections less-than-equals 10
num-listening-tcp-ports: normal is aws:num-listening-tcp-ports less-than-equals 5
num-listening-udp-ports: normal is aws:num-listening-udp-ports less-than-equals 5
cpu_usage: normal is cpu_usage less-than-equals 50, 3 in a row to alarm
load_average_1m: normal is load_average_1m less-than-equals 1, 3 in a row to alarm
memory_usage: normal is memory_usage less-than-equals 63
process_count: normal is process_count less-than-equals 190
note: 3 h recorded: what the device does only at other hours will alarm; record a day or a week
note: aws:destination-ip-addresses: no set is learned, name the networks you know yourself; recorded (reports): \
10.0.0.21 (37), 198.51.100.17 (37), 2001:db8:7::5 (37)
note: uptime_seconds: it only grows until a restart, so no limit is learned
note: create the custom metrics first: cpu_usage, load_average_1m, memory_usage, process_count
check: learned from the first two thirds of the time, it would have alarmed 0 times in the last third
Profile: Gateway.json
"""
    )
    assert run("try", "Gateway.json", "--reports", ORDINARY) == 0
    assert "13 behaviors: 0 in alarm at some time, 0 not replayed\n" in capsys.readouterr().out
    assert run("try", "Gateway.json", "--reports", INCIDENT) == 0
    assert "13 behaviors: 4 in alarm at some time, 0 not replayed\n" in capsys.readouterr().out


def test_nothing_learned_writes_no_profile(capsys: pytest.CaptureFixture[str]) -> None:
    report = {"header": {"report_id": 1767600000}, "custom_metrics": {"uptime_seconds": [{"number": 7}]}}
    Path("reports.jsonl").write_text(json.dumps(report) + "\n")
    assert run("suggest", "--reports", "reports.jsonl", "--force") == 2
    assert capsys.readouterr().err == (
        "detect.py: note: 0 s recorded: what the device does only at other hours will alarm; record a day or a week\n"
        "detect.py: note: uptime_seconds: it only grows until a restart, so no limit is learned\n"
        "detect.py: nothing was learned, so no profile is written\n"
    )
    assert not Path("NormalBehavior.json").exists()


def test_recording_of_less_than_a_day_gives_no_profile(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("suggest", "--reports", ORDINARY) == 2
    assert capsys.readouterr().err == (
        "detect.py: 3 h recorded: what the device does only at other hours will alarm; record a day or a week; --force"
        " writes a profile all the same\n"
    )
    assert not Path("NormalBehavior.json").exists()


def test_existing_file_is_not_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.json").write_text("{}")
    assert run("suggest", "--reports", ORDINARY, "--output", "mine.json", "--force") == 2
    assert capsys.readouterr().err == "detect.py: mine.json: exists; name another with --output, or remove it\n"
    assert Path("mine.json").read_text() == "{}"


def test_what_was_skipped_is_said_where_too_little_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken.jsonl").write_text("^C\n" + ORDINARY.read_text())
    assert run("suggest", "--reports", "broken.jsonl") == 2
    shown = capsys.readouterr()
    assert shown.out == "38 records in 1 file: 37 read, 1 skipped; 1 device\nskipped: broken.jsonl:1: not JSON\n"
    assert shown.err.startswith("detect.py: 3 h recorded: ")


@pytest.mark.parametrize(
    ("options", "path", "advice"),
    [
        ([], "NormalBehavior.json", "exists; name another with --output, or remove it"),
        (["--resolve", "P.json"], "P.resolved.json", "exists; name another with --output, or remove it"),
        (["--output", "mine.json"], "mine.json", "exists; name another with --output, or remove it"),
        (["--parquet", "kept"], "kept", "File exists"),
    ],
)
def test_what_exists_is_refused_before_anything_is_read(
    capsys: pytest.CaptureFixture[str], options: list[str], path: str, advice: str
) -> None:
    Path(path).write_text("mine")
    assert run("suggest", "--reports", "missing.jsonl", *options) == 2
    assert capsys.readouterr() == ("", f"detect.py: {path}: {advice}\n")
