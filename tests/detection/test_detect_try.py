"""`detect.py try`: what a person sees of a replay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.detect_tool import FIXTURES, INCIDENT, ORDINARY, PROFILES, run, try_profile


def tried(capsys: pytest.CaptureFixture[str], profile: str, *arguments: str | Path) -> str:
    try_profile(profile, *arguments)
    return capsys.readouterr().out


def test_walk_through_profile_alarms_on_ordinary_reports(capsys: pytest.CaptureFixture[str]) -> None:
    """By the guide's rules, every packet count below the highest is a violation."""
    assert (
        tried(capsys, "DataExfiltrationCheck", "--reports", ORDINARY)
        == """\
37 records in 1 file: 37 read; 1 device

DataExfiltrationCheck against 37 reports of one device, 2026-01-05 08:00:00 to 2026-01-05 11:00:00 (UTC)

PacketExfiltration
  normal: aws:all-packets-out greater-than p99.99 over 300 s (1,240 here)
  36 datapoints, 36 in violation; 1 in a row to alarm, 1 to clear
  alarm 2026-01-05 08:05:01 at 883; not cleared at the end, 2 h 54 min later
  note: p99.99 of so few measurements is the highest, which none of them exceeds; --baseline takes it from other days
    or devices

1 behavior: 1 in alarm at some time, 0 not replayed
Percentiles are of the measurements recorded here, of all devices; the service takes them from all devices that the
profile is attached to.
"""
    )


def test_corrected_profile_alarms_on_the_incident(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        tried(capsys, "DataExfiltration", "--reports", INCIDENT, "--baseline", ORDINARY)
        == """\
37 records in 1 file: 37 read; 1 device

DataExfiltration against 37 reports of one device, 2026-01-06 08:00:00 to 2026-01-06 11:00:00 (UTC)

PacketExfiltration
  normal: aws:all-packets-out less-than-equals p99.99 over 300 s (1,240 here)
  36 datapoints, 5 in violation; 1 in a row to alarm, 1 to clear
  alarm 2026-01-06 09:10:02 at 21,776; cleared 2026-01-06 09:35:01, after 24 min 59 s

ByteExfiltration
  normal: aws:all-bytes-out less-than-equals p99.99 over 300 s (312,630 here)
  36 datapoints, 5 in violation; 1 in a row to alarm, 1 to clear
  alarm 2026-01-06 09:10:02 at 22,124,416; cleared 2026-01-06 09:35:01, after 24 min 59 s

HourlyBytesOut
  normal: aws:all-bytes-out less-than-equals 100,000,000 over 3600 s
  3 datapoints, 1 in violation; 1 in a row to alarm, 1 to clear
  alarm 2026-01-06 10:00:00 at 103,340,491; cleared 2026-01-06 11:00:00, after 1 h

3 behaviors: 3 in alarm at some time, 0 not replayed
Percentiles are of the measurements recorded here, of all devices; the service takes them from all devices that the
profile is attached to.
"""
    )


def test_port_sets_alarm_and_cloud_side_metric_is_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        tried(capsys, "WrongConfiguration", "--reports", INCIDENT, "--baseline", ORDINARY)
        == """\
37 records in 1 file: 37 read; 1 device

WrongConfiguration against 37 reports of one device, 2026-01-06 08:00:00 to 2026-01-06 11:00:00 (UTC)

ExpectedTcpPorts
  normal: aws:listening-tcp-ports in-port-set 53, 443, 8883
  37 datapoints, 10 in violation; 1 in a row to alarm, 1 to clear
  alarm 2026-01-06 09:15:00 at 2323; cleared 2026-01-06 10:05:01, after 50 min 1 s
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
  alarm 2026-01-06 09:25:02 at 4; cleared 2026-01-06 10:15:00, after 49 min 58 s

UdpPortsUnusual
  normal: aws:num-listening-udp-ports less-than-equals p99.9 over 300 s (3 here)
  36 datapoints, 0 in violation; 3 in a row to alarm, 3 to clear

AuthorizationFailures
  normal: aws:num-authorization-failures less-than-equals 5 over 300 s
  not replayed: AWS IoT measures aws:num-authorization-failures itself; no report carries it

7 behaviors: 2 in alarm at some time, 1 not replayed
Percentiles are of the measurements recorded here, of all devices; the service takes them from all devices that the
profile is attached to.
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
    output = tried(capsys, name, "--reports", FIXTURES / f"{recording}.jsonl", *baseline)
    blocks = [block.splitlines() for block in output.split("\n\n")[2:-1]]
    alarmed = {lines[0] for lines in blocks if any(line.startswith("  alarm ") for line in lines)}
    assert alarmed == ALARMS[recording][name]


def test_ml_profile_draws_no_picture(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    output = tried(capsys, "MachineLearningHost", "--all", "--reports", ORDINARY, "--picture", "p.svg")
    assert output.splitlines()[4:7] == [
        "Cpu",
        "  normal: cpu_usage (ML Detect, confidence HIGH)",
        "  not replayed: ML Detect learns from 14 days and 25,000 datapoints of the fleet, in the service only",
    ]
    assert output.endswith(
        "4 behaviors: 0 in alarm at some time, 4 not replayed\nNo picture: there is nothing to draw.\n"
    )
    assert list(tmp_path.iterdir()) == []


NOT_REPLAYED = """
Not replayed (--all shows each with its rule, --json too):
  11 behaviors of MachineLearning and MachineLearningHost: ML Detect learns from 14 days and 25,000 datapoints of the
    fleet, in the service only
  7 behaviors of DataExfiltration, DataExfiltrationCheck and DenialOfService: no report carries aws:all-packets-out,
    aws:all-bytes-out and aws:all-packets-in
  4 behaviors of CryptocurrencyMining: no report carries cpu_usage, load_average_1m, memory_usage and process_count
    among its custom metrics (parameter CustomMetrics of the connector)
  DenialOfService/MessageFlood and WrongConfiguration/AuthorizationFailures: AWS IoT measures aws:num-messages-sent
    and aws:num-authorization-failures itself; no report carries it
"""


def short_recording(*things: str) -> Path:
    """Write a report of each thing, with ports and connections only."""
    connections = {"connections": [{"remote_addr": "10.0.0.1:443"}], "total": 1}
    metrics: dict[str, Any] = {"tcp_connections": {"established_connections": connections}}
    metrics.update(dict.fromkeys(("listening_tcp_ports", "listening_udp_ports"), {"ports": [], "total": 0}))
    reports = [{"thing": thing, "header": {"report_id": 1767600000}, "metrics": metrics} for thing in things]
    path = Path("short.jsonl")
    path.write_text("".join(json.dumps(report) + "\n" for report in reports))
    return path


@pytest.mark.parametrize("things", [["a"], ["a", "b"]])
def test_many_behaviors_that_are_not_replayed_are_summed_up(
    capsys: pytest.CaptureFixture[str], things: list[str]
) -> None:
    reports = short_recording(*things)
    assert run("try", PROFILES, "--reports", reports) == 0
    output = capsys.readouterr().out
    assert NOT_REPLAYED in output
    assert "not replayed: " not in output
    assert "MachineLearning against" not in output

    assert run("try", PROFILES, "--reports", reports, "--all") == 0
    output = capsys.readouterr().out
    assert "Not replayed (" not in output
    assert output.count("not replayed: ") == 11 + 7 + 4 + 2


def test_three_behaviors_that_are_not_replayed_are_shown_with_their_rules(capsys: pytest.CaptureFixture[str]) -> None:
    output = tried(capsys, "DataExfiltration", "--reports", short_recording("a"))
    assert output.count("  not replayed: no report carries aws:all-") == 3
    assert "  normal: aws:all-bytes-out less-than-equals p99.99 over 300 s\n" in output


def test_profiles_of_which_nothing_was_replayed_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    output = tried(capsys, "MachineLearning", "--reports", short_recording("a"))
    assert "MachineLearning against 1 report of one device" in output
    assert "\n  7 behaviors of MachineLearning: ML Detect learns" in output


def test_reports_more_frequent_than_the_service_takes_are_noted(capsys: pytest.CaptureFixture[str]) -> None:
    reports = [{"header": {"report_id": 1767600000 + 5 * n}, "metrics": {}} for n in range(3)]
    Path("fast.jsonl").write_text("".join(json.dumps(report) + "\n" for report in reports))
    assert tried(capsys, "RemoteManagementPorts", "--reports", "fast.jsonl").splitlines()[2:5] == [
        "RemoteManagementPorts against 3 reports of one device, 2026-01-05 08:00:00 to 2026-01-05 08:00:10 (UTC)",
        "These reports are 5 s apart. A device sends one in 300 s at most, so datapoints in a row take longer there;"
        " record",
        "with -s 300.",
    ]


def test_reports_of_two_devices_are_noted(capsys: pytest.CaptureFixture[str]) -> None:
    times = [1767600000 + 300 * n + offset for n in range(5) for offset in (0, 7)]
    reports = [{"header": {"report_id": time}, "metrics": {}} for time in times]
    Path("mixed.jsonl").write_text("".join(json.dumps(report) + "\n" for report in reports))
    assert tried(capsys, "RemoteManagementPorts", "--reports", "mixed.jsonl").splitlines()[3] == (
        "Reports come unevenly, 7 s to 293 s apart; is this one device's recording?"
    )


def test_long_lists_of_alarms_and_elements_are_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """Ten alarms are shown and the rest counted; of the elements, the eight most frequent are shown."""
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
    assert lines[6] == "  24 datapoints, 12 in violation; 1 in a row to alarm, 1 to clear; alerts are suppressed"
    assert lines[7] == "  alarm 2026-01-05 08:05:00 at 5901, 23; cleared 2026-01-05 08:10:00, after 5 min"
    assert lines[17:] == [
        "  and 2 more alarms",
        "  in violation (datapoints): 23 (12), 5901 (1), 5903 (1), 5905 (1), 5907 (1), 5909 (1), 5911 (1), 5913 (1) and"
        " 5 more",
        "",
        "1 behavior: 1 in alarm at some time, 0 not replayed",
    ]
