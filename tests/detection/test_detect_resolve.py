"""`detect.py suggest --resolve`: numbers beside percentiles, for devices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.detect_tool import INCIDENT, ORDINARY, PROFILES, run

from connector.detect.profile import parse


def test_percentiles_become_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("suggest", "--resolve", PROFILES / "DataExfiltration.json", "--reports", ORDINARY) == 0
    assert (
        capsys.readouterr().out
        == """\
37 records in 1 file: 37 read; 1 device
PacketExfiltration: p99.99 of 36 measurements of aws:all-packets-out is 1,240, the highest of them
ByteExfiltration: p99.99 of 36 measurements of aws:all-bytes-out is 312,630, the highest of them
Profile: DataExfiltration.resolved.json
"""
    )
    document = json.loads(Path("DataExfiltration.resolved.json").read_text())
    original = json.loads((PROFILES / "DataExfiltration.json").read_text())
    assert document["behaviors"][0]["criteria"].pop("value") == {"count": 1240}
    assert document["behaviors"][1]["criteria"].pop("value") == {"count": 312630}
    assert document == original


def test_resolved_profile_is_judged_on_a_device_and_by_try(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("suggest", "--resolve", PROFILES / "DataExfiltration.json", "--reports", ORDINARY) == 0
    parsed = parse(json.loads(Path("DataExfiltration.resolved.json").read_text()))
    assert [(behavior.limit, behavior.skipped) for behavior in parsed.behaviors] == [
        (1240, None),
        (312630, None),
        (100000000, None),
    ]
    capsys.readouterr()
    assert run("try", "DataExfiltration.resolved.json", "--reports", INCIDENT) == 0
    output = capsys.readouterr().out
    assert "normal: aws:all-packets-out less-than-equals p99.99 over 300 s (1,240 here)" in output
    assert "alarm 2026-01-06 09:10:02 at 21,776; cleared 2026-01-06 09:35:01, after 24 min 59 s" in output


def test_number_from_an_earlier_run_is_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("suggest", "--resolve", PROFILES / "DataExfiltration.json", "--reports", ORDINARY) == 0
    arguments = ["suggest", "--resolve", "DataExfiltration.resolved.json", "--reports", INCIDENT, "--output", "2.json"]
    assert run(*arguments) == 0
    criteria = json.loads(Path("2.json").read_text())["behaviors"][0]["criteria"]
    assert criteria["value"] == {"count": 23661}


def one(metric: str, **criteria: Any) -> dict[str, Any]:
    criteria = {"comparisonOperator": "less-than", "durationSeconds": 300, **criteria}
    return {"securityProfileName": "P", "behaviors": [{"name": "B", "metric": metric, "criteria": criteria}]}


@pytest.mark.parametrize(
    ("document", "notes"),
    [
        (one("aws:all-bytes-in", value={"count": 1}), []),
        ({"securityProfileName": "P"}, []),
        (
            one("users", statisticalThreshold={"statistic": "p50"}),
            ["B: the baseline has no users to take p50 from"],
        ),
        (
            one("aws:num-disconnects", statisticalThreshold={"statistic": "p50"}),
            ["B: AWS IoT measures aws:num-disconnects itself; no report carries it"],
        ),
    ],
)
def test_nothing_to_resolve_writes_no_profile(
    capsys: pytest.CaptureFixture[str], document: dict[str, Any], notes: list[str]
) -> None:
    Path("p.json").write_text(json.dumps(document))
    assert run("suggest", "--resolve", "p.json", "--reports", ORDINARY) == 2
    assert capsys.readouterr().err.splitlines() == [
        *(f"detect.py: note: not resolved: {note}" for note in notes),
        "detect.py: p.json: no percentile to resolve, so no profile is written",
    ]
    assert not Path("p.resolved.json").exists()


def test_faulty_profile_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    Path("p.json").write_text("{}")
    assert run("suggest", "--resolve", "p.json", "--reports", ORDINARY) == 2
    assert capsys.readouterr().err == (
        'detect.py: p.json:1: Missing required parameter in input: "securityProfileName"\n'
    )
