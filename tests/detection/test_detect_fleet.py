"""`detect.py try` on the recordings of several devices: the table, JSON, several profiles, the exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.detect_tool import FIXTURES, INCIDENT, ORDINARY, PROFILES, run

MANAGEMENT = PROFILES / "RemoteManagementPorts.json"


def test_fleet_is_a_table_worst_first(capsys: pytest.CaptureFixture[str]) -> None:
    profiles = [PROFILES / "WrongConfiguration.json", MANAGEMENT]
    assert run("try", *profiles, "--reports", INCIDENT, ORDINARY) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "74 records in 2 files: 74 read; 2 devices"
    assert lines[2:10] == [
        "WrongConfiguration, RemoteManagementPorts against 74 reports of 2 devices, 2026-01-05 08:00:00 to 2026-01-06"
        " 11:00:00",
        "(UTC)",
        "",
        "device    profile/behavior                          alarms    in alarm  violations  datapoints  worst",
        "incident  RemoteManagementPorts/TcpManagementPorts       1  50 min 1 s          10          37  2323",
        "incident  WrongConfiguration/ExpectedTcpPorts            1  50 min 1 s          10          37  2323",
        "",
        "profile/behavior                          devices in alarm  alarms  worst device  normal",
    ]
    assert lines[10] == (
        "WrongConfiguration/ExpectedTcpPorts                 1 of 2       1  incident      aws:listening-tcp-ports"
        " in-port-set 53, 443, 8883"
    )
    assert (
        f"{'WrongConfiguration/AuthorizationFailures':<82}not replayed: AWS IoT measures"
        " aws:num-authorization-failures itself; no report carries it"
    ) in lines


def test_device_that_alone_is_in_alarm_is_named_however_many_others_are_worse(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The table of devices ends after 40 lines, which a behavior can take that is in alarm everywhere."""

    def reports(ports: list[int], times: int) -> str:
        block = {"total": len(ports), "ports": [{"port": port} for port in ports]}
        return "".join(
            json.dumps({"header": {"report_id": 1767600000 + 300 * n}, "metrics": {"listening_tcp_ports": block}})
            + "\n"
            for n in range(times)
        )

    Path("fleet").mkdir()
    for number in range(50):
        Path(f"fleet/gateway-{number}").write_text(reports([8081], 10))
    Path("fleet/gateway-17").write_text(reports([2323], 3))
    assert run("try", PROFILES / "WrongConfiguration.json", MANAGEMENT, "--reports", "fleet") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.startswith("gateway-")]) == 40
    assert not any(line.startswith("gateway-17 ") for line in lines)
    (found,) = [line for line in lines if line.startswith("RemoteManagementPorts/TcpManagementPorts")]
    assert found.split()[1:6] == ["1", "of", "50", "1", "gateway-17"]


def test_folder_of_profiles_is_tried_as_its_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("try", PROFILES, "--json", "--reports", INCIDENT) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["profiles"] == sorted(path.stem for path in PROFILES.glob("*.json"))


def test_json_has_each_device_and_behavior(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("try", MANAGEMENT, "--json", "--reports", ORDINARY, "--reports", INCIDENT) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["reports"]["found"] == document["reports"]["kept"] == 74
    worst, other = document["devices"]
    assert (worst["thing"], worst["reports"], worst["first"], worst["last"]) == ("incident", 37, 1767686400, 1767697200)
    assert [one["behavior"] for one in worst["behaviors"]] == ["TcpManagementPorts", "UdpManagementPorts"]
    found = worst["behaviors"][0]
    assert (found["datapoints"], found["violations"], found["elements"]) == (37, 10, [[2323, 10]])
    assert found["alarms"] == [{"start": 1767690900, "end": 1767693901, "invalidated": False}]
    assert (other["thing"], [one["alarms"] for one in other["behaviors"]]) == ("ordinary", [[], []])


def test_order_of_recordings_does_not_matter(capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for reports in ([INCIDENT, ORDINARY], [ORDINARY, INCIDENT], [ORDINARY, INCIDENT, FIXTURES / "ordi*.jsonl"]):
        assert run("try", PROFILES / "DataExfiltration.json", "--reports", *reports) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1] == shown[2]


@pytest.mark.parametrize(("reports", "code"), [(INCIDENT, 3), (ORDINARY, 0)])
def test_exit_code_says_whether_there_is_an_alarm(capsys: pytest.CaptureFixture[str], reports: Path, code: int) -> None:
    assert run("try", MANAGEMENT, "--fail-on-alarm", "--reports", reports) == code
    assert run("try", MANAGEMENT, "--reports", reports) == 0


def test_suppressed_alarm_does_not_fail(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(MANAGEMENT.read_text())
    for behavior in document["behaviors"]:
        behavior["suppressAlerts"] = True
    Path("p.json").write_text(json.dumps(document))
    assert run("try", "p.json", "--fail-on-alarm", "--reports", INCIDENT) == 0
    assert "alerts are suppressed" in capsys.readouterr().out


def test_nothing_is_drawn_unless_asked_for(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run("try", MANAGEMENT, "--reports", INCIDENT) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("profiles", "error"),
    [
        ([MANAGEMENT, "copy.json"], f"copy.json: the profile RemoteManagementPorts is in {MANAGEMENT} too"),
        (["empty"], "empty: no profile there, a file whose name ends in .json"),
    ],
)
def test_profiles_that_cannot_be_tried_together(
    capsys: pytest.CaptureFixture[str], profiles: list[Any], error: str
) -> None:
    Path("copy.json").write_text(MANAGEMENT.read_text())
    Path("empty").mkdir()
    assert run("try", *profiles, "--reports", INCIDENT) == 2
    assert capsys.readouterr().err == f"detect.py: {error}\n"


def test_suggestion_from_a_fleet_says_how_many_devices(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("suggest", "--force", "--reports", INCIDENT, ORDINARY) == 0
    assert "check: learned from the first two thirds of the time, it would have alarmed" in capsys.readouterr().out
    document = json.loads(Path("NormalBehavior.json").read_text())
    assert "74 reports of 2 devices" in document["securityProfileDescription"]


def test_long_names_that_begin_alike_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 2):
        folder = Path(f"recordings-of-the-plant-in-the-north/gateway-{number}")
        folder.mkdir(parents=True)
        (folder / "reports.jsonl").write_text(INCIDENT.read_text())
    assert run("try", MANAGEMENT, "--reports", "recordings-of-the-plant-in-the-north") == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines() if "50 min 1 s" in line]
    assert names == [f"recording...orth/gateway-{number}/reports.jsonl" for number in (1, 2)]


def test_what_was_skipped_of_the_baseline_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken.jsonl").write_text("^C\n" + ORDINARY.read_text())
    arguments = ["try", PROFILES / "DataExfiltration.json", "--reports", INCIDENT, "--baseline", "broken.jsonl"]
    assert run(*arguments) == 0
    assert capsys.readouterr().out.splitlines()[:4] == [
        "37 records in 1 file: 37 read; 1 device",
        "baseline: 38 records in 1 file: 37 read, 1 skipped; 1 device",
        "baseline: skipped: broken.jsonl:1: not JSON",
        "",
    ]
    assert run(*arguments, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["reports"]["found"], document["baseline"]["found"], document["baseline"]["kept"]) == (37, 38, 37)
    assert run("try", MANAGEMENT, "--reports", INCIDENT, "--json") == 0
    assert json.loads(capsys.readouterr().out)["baseline"] is None
