"""The command line: what a person sees, which files are written, which exit code a script gets."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import detect
import pytest

ROOT = Path(__file__).parents[2]
PROFILES = ROOT / "packaging" / "security_profiles"
FIXTURES = Path(__file__).parent / "fixtures"
ORDINARY, INCIDENT = FIXTURES / "ordinary.jsonl", FIXTURES / "incident.jsonl"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files that are written by default go into the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str | Path) -> int:
    try:
        return detect.main([str(argument) for argument in arguments])
    except SystemExit as exit:  # argparse
        return int(str(exit.code))


def tried(capsys: pytest.CaptureFixture[str], profile: str, *arguments: str | Path) -> str:
    assert run("try", PROFILES / f"{profile}.json", *arguments) == 0
    return capsys.readouterr().out


def test_walk_through_profile_on_ordinary_reports(capsys: pytest.CaptureFixture[str]) -> None:
    """Read by the guide, it calls every packet count below the highest a violation."""
    assert (
        tried(capsys, "DataExfiltrationCheck", "--reports", ORDINARY)
        == """\
DataExfiltrationCheck against 37 reports of one device, 2026-01-05 08:00:00 to 2026-01-05 11:00:00 (UTC)

PacketExfiltration
  normal: aws:all-packets-out greater-than p99.99 over 300 s (1,240 here)
  36 datapoints, 36 in violation; 1 in a row to alarm, 1 to clear
  alarm 2026-01-05 08:05:01 at 883; not cleared at the end, 2 h 55 min later
  note: p99.99 of so few measurements is the highest, which none of them exceeds; --baseline takes it from other days
    or devices

1 behavior: 1 in alarm at some time, 0 not replayed
Percentiles are of the measurements recorded here; the service takes them from all devices that the profile is
attached to.
Picture: DataExfiltrationCheck.svg
"""
    )


def test_corrected_profile_on_an_incident(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        tried(capsys, "DataExfiltration", "--reports", INCIDENT, "--baseline", ORDINARY)
        == """\
DataExfiltration against 37 reports of one device, 2026-01-06 08:00:00 to 2026-01-06 11:00:00 (UTC)

PacketExfiltration
  normal: aws:all-packets-out less-than-equals p99.99 over 300 s (1,240 here)
  36 datapoints, 5 in violation; 1 in a row to alarm, 1 to clear
  alarm 2026-01-06 09:10:02 at 21,776; cleared 2026-01-06 09:35:01, after 25 min

ByteExfiltration
  normal: aws:all-bytes-out less-than-equals p99.99 over 300 s (312,630 here)
  36 datapoints, 5 in violation; 1 in a row to alarm, 1 to clear
  alarm 2026-01-06 09:10:02 at 22,124,416; cleared 2026-01-06 09:35:01, after 25 min

HourlyBytesOut
  normal: aws:all-bytes-out less-than-equals 100,000,000 over 3600 s
  3 datapoints, 1 in violation; 1 in a row to alarm, 1 to clear
  alarm 2026-01-06 10:00:00 at 103,340,491; cleared 2026-01-06 11:00:00, after 1 h 0 min

3 behaviors: 3 in alarm at some time, 0 not replayed
Percentiles are of the measurements recorded here; the service takes them from all devices that the profile is
attached to.
Picture: DataExfiltration.svg
"""
    )


def test_port_sets_and_a_cloud_side_metric(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        tried(capsys, "WrongConfiguration", "--reports", INCIDENT, "--baseline", ORDINARY)
        == """\
WrongConfiguration against 37 reports of one device, 2026-01-06 08:00:00 to 2026-01-06 11:00:00 (UTC)

ExpectedTcpPorts
  normal: aws:listening-tcp-ports in-port-set 53, 443, 8883
  37 datapoints, 10 in violation; 1 in a row to alarm, 1 to clear
  alarm 2026-01-06 09:15:00 at 2323; cleared 2026-01-06 10:05:01, after 50 min
  in violation (datapoints): 2323 (10)

ExpectedUdpPorts
  normal: aws:listening-udp-ports in-port-set 53, 67, 68, 123, 546, 547, 5353
  36 datapoints, 0 in violation; 1 in a row to alarm, 1 to clear

TcpPortCount
  normal: aws:num-listening-tcp-ports less-than-equals 20
  37 datapoints, 0 in violation; 1 in a row to alarm, 1 to clear

UdpPortCount
  normal: aws:num-listening-udp-ports less-than-equals 20
  36 datapoints, 0 in violation; 1 in a row to alarm, 1 to clear

TcpPortsUnusual
  normal: aws:num-listening-tcp-ports less-than-equals p99.9 over 300 s (3 here)
  37 datapoints, 10 in violation; 3 in a row to alarm, 3 to clear
  alarm 2026-01-06 09:25:02 at 4; cleared 2026-01-06 10:15:00, after 50 min

UdpPortsUnusual
  normal: aws:num-listening-udp-ports less-than-equals p99.9 over 300 s (3 here)
  36 datapoints, 0 in violation; 3 in a row to alarm, 3 to clear

AuthorizationFailures
  normal: aws:num-authorization-failures less-than-equals 5 over 300 s
  not replayed: AWS IoT measures aws:num-authorization-failures itself; no report carries it

7 behaviors: 2 in alarm at some time, 1 not replayed
Percentiles are of the measurements recorded here; the service takes them from all devices that the profile is
attached to.
Picture: WrongConfiguration.svg
"""
    )


# The behaviors of every rule profile that alarm on the two recordings.
ALARMS = {
    "ordinary": {
        "DataExfiltrationCheck": {"PacketExfiltration"},
        "DataExfiltration": set(),
        "DenialOfService": set(),
        "CommandAndControl": {"KnownDestinations"},
        "CryptocurrencyMining": set(),
        "WrongConfiguration": set(),
        "RemoteManagementPorts": set(),
    },
    "incident": {
        "DataExfiltrationCheck": {"PacketExfiltration"},
        "DataExfiltration": {"PacketExfiltration", "ByteExfiltration", "HourlyBytesOut"},
        "DenialOfService": set(),
        "CommandAndControl": {"KnownDestinations", "ConnectionsUnusual"},
        "CryptocurrencyMining": {"SustainedCpu"},
        "WrongConfiguration": {"ExpectedTcpPorts", "TcpPortsUnusual"},
        "RemoteManagementPorts": {"TcpManagementPorts"},
    },
}


@pytest.mark.parametrize("name", ALARMS["ordinary"])
@pytest.mark.parametrize("recording", ALARMS)
def test_which_behaviors_alarm(capsys: pytest.CaptureFixture[str], recording: str, name: str) -> None:
    baseline: list[str | Path] = ["--baseline", ORDINARY] if recording == "incident" else []
    output = tried(capsys, name, "--reports", FIXTURES / f"{recording}.jsonl", *baseline, "--picture", "p.svg")
    blocks = [block.splitlines() for block in output.split("\n\n")[1:-1]]
    alarmed = {lines[0] for lines in blocks if any(line.startswith("  alarm ") for line in lines)}
    assert alarmed == ALARMS[recording][name]


def test_ml_profile_says_why_nothing_is_drawn(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    output = tried(capsys, "MachineLearningHost", "--reports", ORDINARY)
    assert output.splitlines()[2:5] == [
        "Cpu",
        "  normal: cpu_usage (ML Detect, confidence HIGH)",
        "  not replayed: ML Detect learns from 14 days and 25,000 datapoints of the fleet, in the service only",
    ]
    assert output.endswith(
        "4 behaviors: 0 in alarm at some time, 4 not replayed\nNo picture: there is nothing to draw.\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_reports_more_often_than_a_device_sends_them_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    reports = [{"header": {"report_id": 1767600000 + 5 * n}, "metrics": {}} for n in range(3)]
    Path("fast.jsonl").write_text("".join(json.dumps(report) + "\n" for report in reports))
    assert tried(capsys, "RemoteManagementPorts", "--reports", "fast.jsonl").splitlines()[:3] == [
        "RemoteManagementPorts against 3 reports of one device, 2026-01-05 08:00:00 to 2026-01-05 08:00:10 (UTC)",
        "These reports are 5 s apart. A device sends one in 300 s at most, so datapoints in a row take longer there;"
        " record",
        "with -s 300.",
    ]


def test_reports_of_two_devices_are_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    times = [1767600000 + 300 * n + offset for n in range(5) for offset in (0, 7)]
    reports = [{"header": {"report_id": time}, "metrics": {}} for time in times]
    Path("mixed.jsonl").write_text("".join(json.dumps(report) + "\n" for report in reports))
    assert tried(capsys, "RemoteManagementPorts", "--reports", "mixed.jsonl").splitlines()[1] == (
        "Reports come unevenly, 7 s to 293 s apart; is this one device's recording?"
    )


def test_a_long_story_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """Ten alarms are told, the rest counted; of the elements the eight most frequent."""
    reports = []
    for n in range(24):
        ports = [{"port": 5900 + n}, {"port": 23}] if n % 2 else []
        block = {"ports": ports, "total": len(ports)}
        reports.append({"header": {"report_id": 1767600000 + 300 * n}, "metrics": {"listening_tcp_ports": block}})
    Path("reports.jsonl").write_text("".join(json.dumps(report) + "\n" for report in reports))
    everything: dict[str, Any] = {"comparisonOperator": "in-port-set", "value": {"ports": [1]}}
    behavior = {"name": "None", "metric": "aws:listening-tcp-ports", "criteria": everything, "suppressAlerts": True}
    Path("p.json").write_text(json.dumps({"securityProfileName": "P", "behaviors": [behavior]}))
    assert run("try", "p.json", "--reports", "reports.jsonl") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[4] == "  24 datapoints, 12 in violation; 1 in a row to alarm, 1 to clear; alerts are suppressed"
    assert lines[5] == "  alarm 2026-01-05 08:05:00 at 5901, 23; cleared 2026-01-05 08:10:00, after 5 min"
    assert lines[15:] == [
        "  and 2 more alarms",
        "  in violation (datapoints): 23 (12), 5901 (1), 5903 (1), 5905 (1), 5907 (1), 5909 (1), 5911 (1), 5913 (1) and"
        " 5 more",
        "",
        "1 behavior: 1 in alarm at some time, 0 not replayed",
        "Picture: p.svg",
    ]


# Pictures


def test_picture_shows_thresholds_alarms_and_elements(capsys: pytest.CaptureFixture[str]) -> None:
    tried(capsys, "WrongConfiguration", "--reports", INCIDENT, "--picture", "p.svg")
    drawn = [text.text for text in ET.parse("p.svg").iter("{http://www.w3.org/2000/svg}text")]
    assert "WrongConfiguration" in drawn
    assert "ExpectedTcpPorts: normal is aws:listening-tcp-ports in-port-set 53, 443, 8883" in drawn
    assert "TcpPortCount: normal is aws:num-listening-tcp-ports less-than-equals 20" in drawn
    assert not any(text and text.startswith("AuthorizationFailures") for text in drawn)
    assert {"2323", "8883", "in alarm", "in violation", "measured", "threshold 20", "UTC"} <= set(drawn)


def test_picture_of_text_and_of_empty_lists(capsys: pytest.CaptureFixture[str]) -> None:
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
    assert run("try", "p.json", "--reports", "reports.jsonl") == 0
    drawn = {text.text for text in ET.parse("p.svg").iter("{http://www.w3.org/2000/svg}text")}
    assert {"Users: normal is users in-set $a", "$a", "x_{$", "é"} <= drawn


def test_what_a_terminal_obeys_is_shown_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """A device that was taken over writes what it likes into its reports."""
    names = ["\x1b[2J", "\ud800", "a\nb", "é"]
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
    shown = ["\\x1b[2J", "\\ud800", "a\\nb", "é"]
    assert run("try", "p.json", "--reports", "reports.jsonl") == 0
    assert f"  alarm 2026-01-05 08:00:00 at {', '.join(shown)};" in capsys.readouterr().out
    assert set(shown) <= {text.text for text in ET.parse("p.svg").iter("{http://www.w3.org/2000/svg}text")}
    assert run("suggest", "--reports", "reports.jsonl") == 0
    output = capsys.readouterr().out
    assert "recorded (reports): fe80::1%\\x1b[2J (1)\n" in output
    assert "\\x1b[2J (1), \\ud800 (1), a\\nb (1), é (1)\n" in output
    Path("reports.jsonl").write_text(json.dumps({**report, "custom_metrics": {"\x1b[2J": [{"number": 1}]}}) + "\n")
    assert run("suggest", "--reports", "reports.jsonl") == 2
    assert capsys.readouterr().err == ('reports.jsonl:1: custom_metrics: "\\u001b[2J" is no name of a custom metric\n')


def test_picture_is_the_same_every_time(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.svg", "b.svg"):
        tried(capsys, "DataExfiltration", "--reports", INCIDENT, "--picture", name)
    assert Path("a.svg").read_bytes() == Path("b.svg").read_bytes()


def test_picture_as_png(capsys: pytest.CaptureFixture[str]) -> None:
    assert tried(capsys, "DataExfiltration", "--reports", INCIDENT, "--picture", "p.png").endswith("Picture: p.png\n")
    assert Path("p.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


# suggest


def test_suggested_profile_is_ready_and_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("suggest", "--reports", ORDINARY, "--name", "Gateway") == 0
    assert (
        capsys.readouterr().out
        == """\
all-bytes-in: normal is aws:all-bytes-in less-than-equals 610,000 over 300 s
all-bytes-out: normal is aws:all-bytes-out less-than-equals 470,000 over 300 s
all-packets-in: normal is aws:all-packets-in less-than-equals 1,800 over 300 s
all-packets-out: normal is aws:all-packets-out less-than-equals 1,900 over 300 s
listening-tcp-ports: normal is aws:listening-tcp-ports in-port-set 53, 443, 8883
listening-udp-ports: normal is aws:listening-udp-ports in-port-set 68, 123, 5353
num-established-tcp-connections: normal is aws:num-established-tcp-connections less-than-equals 5
num-listening-tcp-ports: normal is aws:num-listening-tcp-ports less-than-equals 5
num-listening-udp-ports: normal is aws:num-listening-udp-ports less-than-equals 5
cpu_usage: normal is cpu_usage less-than-equals 18
load_average_1m: normal is load_average_1m less-than-equals 0.75
memory_usage: normal is memory_usage less-than-equals 63
process_count: normal is process_count less-than-equals 190
note: 3 h 0 min recorded: what the device does only at other hours will alarm; record a day or a week
note: aws:destination-ip-addresses: no set is learned, name the networks you know yourself; recorded (reports): \
198.51.100.17 (37), 10.0.0.21 (37), 2001:db8:7::5 (37)
note: uptime_seconds: it only grows until a restart, so no limit is learned
note: create the custom metrics first: cpu_usage, load_average_1m, memory_usage, process_count
Profile: Gateway.json
"""
    )
    assert run("try", "Gateway.json", "--reports", ORDINARY) == 0
    assert "13 behaviors: 0 in alarm at some time, 0 not replayed\n" in capsys.readouterr().out
    assert run("try", "Gateway.json", "--reports", INCIDENT) == 0
    assert "13 behaviors: 4 in alarm at some time, 0 not replayed\n" in capsys.readouterr().out


def test_suggest_writes_no_profile_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    report = {"header": {"report_id": 1767600000}, "custom_metrics": {"uptime_seconds": [{"number": 7}]}}
    Path("reports.jsonl").write_text(json.dumps(report) + "\n")
    assert run("suggest", "--reports", "reports.jsonl") == 2
    assert capsys.readouterr().err == (
        "note: 0 s recorded: what the device does only at other hours will alarm; record a day or a week\n"
        "note: uptime_seconds: it only grows until a restart, so no limit is learned\n"
        "nothing was learned, so no profile is written\n"
    )
    assert not Path("NormalBehavior.json").exists()


def test_suggest_leaves_a_file_that_exists_alone(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.json").write_text("{}")
    assert run("suggest", "--reports", ORDINARY, "--output", "mine.json") == 2
    assert capsys.readouterr().err == "mine.json: exists; name another with --output, or remove it\n"
    assert Path("mine.json").read_text() == "{}"


# What can't be used


PROFILE = """\
{
  "securityProfileName": "P",
  "behaviors": [
    {"name": "Fine", "metric": "aws:num-listening-tcp-ports"},
    {
      "name": "Wrong",
      "metric": "aws:listening-tcp-ports",
      "criteria": {"comparisonOperator": "less-than", "value": {"count": 5}}
    }
  ]
}
"""


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ("{", "p.json:1: not JSON: Expecting property name enclosed in double quotes at column 2\n"),
        ("[]", "p.json:1: a JSON object is expected\n"),
        (
            PROFILE,
            "p.json:6: behaviors[1] Wrong: value has count; aws:listening-tcp-ports is compared with ports\n"
            "p.json:6: behaviors[1] Wrong: comparisonOperator is less-than; aws:listening-tcp-ports takes in-port-set,"
            " not-in-port-set\n",
        ),
        (
            PROFILE.replace('"Fine", ', '"Fine", "suppress": true, '),
            'p.json:4: Unknown parameter in behaviors[0]: "suppress", must be one of: name, metric, metricDimension,'
            " criteria, suppressAlerts, exportMetric\n",
        ),
    ],
)
def test_profile_that_can_not_be_used(capsys: pytest.CaptureFixture[str], text: str, errors: str) -> None:
    Path("p.json").write_text(text)
    assert run("try", "p.json", "--reports", ORDINARY) == 2
    assert capsys.readouterr().err == errors


def test_recording_that_can_not_be_used(capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(ORDINARY, "broken.jsonl")
    with Path("broken.jsonl").open("a") as output:
        output.write("^C\n")
    for arguments in (
        ["try", PROFILES / "DataExfiltration.json", "--reports", "broken.jsonl"],
        ["try", PROFILES / "DataExfiltration.json", "--reports", ORDINARY, "--baseline", "broken.jsonl"],
        ["suggest", "--reports", "broken.jsonl"],
    ):
        assert run(*arguments) == 2
        assert capsys.readouterr().err == (
            "broken.jsonl:38: not one report in JSON on one line: Expecting value at column 1\n"
        )


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["try", "p.json"], "the following arguments are required: --reports"),
        (
            ["try", "p.json", "--reports", "r", "--picture", "p.gif"],
            "argument --picture: p.gif ends neither in .svg nor in .png",
        ),
        (["suggest", "--reports", "r", "--headroom", "0.5"], "argument --headroom: 0.5 is not a number from 1 to 1000"),
        (
            ["suggest", "--reports", "r", "--headroom", "much"],
            "argument --headroom: much is not a number from 1 to 1000",
        ),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], arguments: list[str], error: str) -> None:
    assert run(*arguments) == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"error: {error}")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["try", PROFILES / "DataExfiltration.json", "--reports", ORDINARY, "--picture", "no/p.svg"], "no/p.svg"),
        (["suggest", "--reports", ORDINARY, "--output", "no/p.json"], "no/p.json"),
        (["try", "none.json", "--reports", ORDINARY], "none.json"),
    ],
)
def test_file_that_can_not_be_opened(capsys: pytest.CaptureFixture[str], arguments: list[Any], error: str) -> None:
    assert run(*arguments) == 2
    assert capsys.readouterr().err == f"{error}: No such file or directory\n"


def test_reader_that_has_enough() -> None:
    """As in `detect.py try ... | head`."""
    command = [sys.executable, str(ROOT / "packaging" / "detect.py"), "suggest", "--reports", str(ORDINARY)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0
    assert Path("NormalBehavior.json").exists()


def test_runs_by_its_path() -> None:
    command = [sys.executable, str(ROOT / "packaging" / "detect.py"), "suggest", "--reports", str(ORDINARY)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.endswith("Profile: NormalBehavior.json\n")


def test_says_what_to_install(tmp_path: Path) -> None:
    """-S: no site-packages, as in an environment where nothing is installed."""
    command = [sys.executable, "-S", str(ROOT / "packaging" / "detect.py"), "--help"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env={})
    assert result.returncode == 1
    assert result.stderr == (
        "detect.py: No module named 'botocore'. Make an environment with what it needs, and use its python:"
        " packaging/venv.sh build/tools packaging/requirements-tools.txt\n"
    )
