"""The picture that `detect.py try` draws."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from support.detect_tool import INCIDENT, PROFILES, ROOT, run, try_profile


def tried(capsys: pytest.CaptureFixture[str], profile: str, *arguments: str | Path) -> str:
    try_profile(profile, *arguments)
    return capsys.readouterr().out


def test_picture_shows_thresholds_alarms_and_elements(capsys: pytest.CaptureFixture[str]) -> None:
    tried(capsys, "WrongConfiguration", "--reports", INCIDENT, "--picture", "p.svg")
    drawn = [text.text for text in ET.parse("p.svg").iter("{http://www.w3.org/2000/svg}text")]
    assert "WrongConfiguration" in drawn
    assert "ExpectedTcpPorts: normal is aws:listening-tcp-ports in-port-set 53, 443, 8883" in drawn
    assert "TcpPortCount: normal is aws:num-listening-tcp-ports less-than-equals 20" in drawn
    assert not any(text and text.startswith("AuthorizationFailures") for text in drawn)
    assert {"2323", "8883", "in alarm", "in violation", "measured", "threshold 20", "UTC"} <= set(drawn)


def test_picture_shows_texts_and_empty_lists(capsys: pytest.CaptureFixture[str]) -> None:
    report = {"header": {"report_id": 1767600000}, "custom_metrics": {"users": [{"string_list": ["$a", "x_{$", "é"]}]}}
    empty = {"header": {"report_id": 1767600300}, "metrics": {"listening_tcp_ports": {"ports": [], "total": 0}}}
    Path("reports.jsonl").write_text(json.dumps(report) + "\n" + json.dumps(empty) + "\n")
    users = {"comparisonOperator": "in-set", "value": {"strings": ["$a"]}}
    ports = {"comparisonOperator": "in-port-set", "value": {"ports": [22]}}
    behaviors = [
        {"name": "Users", "metric": "users", "criteria": users},
        {"name": "Ports", "metric": "aws:listening-tcp-ports", "criteria": ports},
    ]
    Path("p.json").write_text(json.dumps({"securityProfileName": "P", "behaviors": behaviors}))
    assert run("try", "p.json", "--reports", "reports.jsonl", "--picture", "p.svg") == 0
    drawn = {text.text for text in ET.parse("p.svg").iter("{http://www.w3.org/2000/svg}text")}
    assert {"Users: normal is users in-set $a", "$a", "x_{$", "é"} <= drawn


def test_control_characters_in_a_report_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """A compromised device can write anything into its reports."""
    names = ["\x1b[2J", "a\nb", "é"]
    peers = {"connections": [{"remote_addr": "[fe80::1%\x1b[2J]:443"}], "total": 1}
    report = {
        "header": {"report_id": 1767600000},
        "metrics": {"tcp_connections": {"established_connections": peers}},
        "custom_metrics": {"users": [{"string_list": names}]},
    }
    Path("reports.jsonl").write_text(json.dumps(report) + "\n")
    users = {"comparisonOperator": "in-set", "value": {"strings": ["root"]}}
    behaviors = [{"name": "Users", "metric": "users", "criteria": users}]
    Path("p.json").write_text(json.dumps({"securityProfileName": "P", "behaviors": behaviors}))
    shown = ["\\x1b[2J", "a\\nb", "é"]
    assert run("try", "p.json", "--reports", "reports.jsonl", "--picture", "p.svg") == 0
    assert f"  alarm 2026-01-05 08:00:00 at {', '.join(shown)};" in capsys.readouterr().out
    assert set(shown) <= {text.text for text in ET.parse("p.svg").iter("{http://www.w3.org/2000/svg}text")}
    assert run("suggest", "--force", "--reports", "reports.jsonl") == 0
    output = capsys.readouterr().out
    assert "recorded (reports): fe80::1 (1)\n" in output
    assert "\\x1b[2J (1), a\\nb (1), é (1)\n" in output
    Path("reports.jsonl").write_text(json.dumps({**report, "custom_metrics": {"\x1b[2J": [{"number": 1}]}}) + "\n")
    assert run("suggest", "--force", "--reports", "reports.jsonl") == 2
    assert capsys.readouterr().err.startswith(
        'detect.py: reports.jsonl:1: custom_metrics: "\\u001b[2J" is no name of a custom metric\n'
    )


def test_half_a_character_in_a_report_costs_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    reports = [
        {"header": {"report_id": 1767600000 + n}, "custom_metrics": {"users": [{"string_list": [name]}]}}
        for n, name in enumerate(["me", "\ud800"])
    ]
    Path("reports.jsonl").write_text("".join(json.dumps(report) + "\n" for report in reports))
    assert "users" in tried(capsys, "DataExfiltration", "--reports", "reports.jsonl").splitlines()[1]


def test_picture_is_reproducible(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.svg", "b.svg"):
        tried(capsys, "DataExfiltration", "--reports", INCIDENT, "--picture", name)
    assert Path("a.svg").read_bytes() == Path("b.svg").read_bytes()


def test_picture_as_png(capsys: pytest.CaptureFixture[str]) -> None:
    assert tried(capsys, "DataExfiltration", "--reports", INCIDENT, "--picture", "p.png").endswith("Picture: p.png\n")
    assert Path("p.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_picture_without_a_home_folder() -> None:
    """As of a service account: nothing is said but where the picture is."""
    tool, profile = ROOT / "packaging" / "detect.py", PROFILES / "RemoteManagementPorts.json"
    result = subprocess.run(
        [sys.executable, str(tool), "try", str(profile), "--reports", str(INCIDENT), "--picture", "p.svg"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"HOME": os.devnull, "PATH": os.defpath},
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.endswith("Picture: p.svg\n")
