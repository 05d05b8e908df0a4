"""`detect.py watch` on standard input: events as lines or JSON, reports that are judged, a command, exit codes."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cbor2
import pytest
from support.detect_tool import INCIDENT, ORDINARY, PROFILES, ROOT, run

from connector.detect.engine import Detector
from connector.detect.measurement import measure
from connector.detect.profile import parse

COMMAND = [sys.executable, str(ROOT / "packaging" / "detect.py"), "watch", "-"]
PORTS = PROFILES / "RemoteManagementPorts.json"

Watch = Callable[..., int]


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Run `watch -` with some lines on standard input."""

    def run_watch(lines: list[Any], *arguments: Any) -> int:
        text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        return run("watch", "-", *arguments)

    return run_watch


def report(time: int, *ports: int, **more: Any) -> dict[str, Any]:
    block = {"ports": [{"port": port} for port in ports], "total": len(ports)}
    return {"header": {"report_id": time, "version": "1.0"}, "metrics": {"listening_tcp_ports": block}, **more}


def events(thing: str = "gateway-1") -> tuple[dict[str, Any], dict[str, Any]]:
    """The events of an alarm that begins and clears."""
    detector = Detector([parse(json.loads(PORTS.read_text()))], thing)
    (begun,) = detector.judge(measure(tcp_ports=[22]), 1767600000)
    (cleared,) = detector.judge(measure(tcp_ports=[]), 1767600300)
    return begun.document(), cleared.document()


def test_events_are_printed_as_lines(watch: Watch, capfd: pytest.CaptureFixture[str]) -> None:
    assert watch([*events(), ""]) == 0
    assert capfd.readouterr().out == (
        "2026-01-05 08:00:00 gateway-1: alarm RemoteManagementPorts/TcpManagementPorts: aws:listening-tcp-ports is 22;"
        " normal is not-in-port-set 22, 23, 512, 513, 514, 2222, 2323, 2375 and 10 more\n"
        "2026-01-05 08:05:00 gateway-1: alarm RemoteManagementPorts/TcpManagementPorts cleared:"
        " aws:listening-tcp-ports is normal again\n"
    )


def test_events_are_printed_as_json(watch: Watch, capfd: pytest.CaptureFixture[str]) -> None:
    assert watch([*events()], "--json") == 0
    assert [json.loads(line) for line in capfd.readouterr().out.splitlines()] == list(events())


def test_alarm_at_the_end_is_exit_code_3(watch: Watch) -> None:
    begun, cleared = events()
    other, _ = events("gateway-2")
    assert watch([begun]) == 3
    assert watch([begun, other, cleared]) == 3
    assert watch([begun, {**cleared, "violationEventType": "alarm-invalidated"}]) == 0


def test_reports_are_judged_with_profiles(watch: Watch, capfd: pytest.CaptureFixture[str]) -> None:
    recording = INCIDENT.read_text().splitlines()
    assert watch(recording, "--profile", PORTS, "--profile", PROFILES / "DataExfiltration.json", "--thing", "gw") == 0
    output = capfd.readouterr()
    assert [line.partition(";")[0] for line in output.out.splitlines()] == [
        "2026-01-06 09:15:00 gw: alarm RemoteManagementPorts/TcpManagementPorts: aws:listening-tcp-ports is 2323",
        "2026-01-06 10:00:00 gw: alarm DataExfiltration/HourlyBytesOut: aws:all-bytes-out is 103340491",
        "2026-01-06 10:05:01 gw: alarm RemoteManagementPorts/TcpManagementPorts cleared: aws:listening-tcp-ports is"
        " normal again",
        "2026-01-06 11:00:00 gw: alarm DataExfiltration/HourlyBytesOut cleared: aws:all-bytes-out is normal again",
    ]
    assert output.err.splitlines() == [
        f"detect.py: DataExfiltration/{name} is not judged: one device can't know p99.99 of the fleet; detect.py"
        " suggest --resolve puts its number beside it"
        for name in ("PacketExfiltration", "ByteExfiltration")
    ]


def test_ordinary_reports_print_nothing(watch: Watch, capfd: pytest.CaptureFixture[str]) -> None:
    assert watch(ORDINARY.read_text().splitlines(), "--profile", PORTS) == 0
    assert capfd.readouterr() == ("", "")


def test_each_thing_is_judged_on_its_own(watch: Watch, capfd: pytest.CaptureFixture[str]) -> None:
    reports = [report(300, 22, thing="a"), report(300, thing="b"), report(600, 22, thing="b"), report(600, thing="a")]
    assert watch(reports, "--profile", PORTS) == 3
    assert [line.split(": ")[0] for line in capfd.readouterr().out.splitlines()] == [
        "1970-01-01 00:05:00 a",
        "1970-01-01 00:10:00 b",
        "1970-01-01 00:10:00 a",
    ]


def test_alarm_with_suppressed_alerts_is_not_printed(watch: Watch, capfd: pytest.CaptureFixture[str]) -> None:
    document = json.loads(PORTS.read_text())
    document["behaviors"][0]["suppressAlerts"] = True
    Path("p.json").write_text(json.dumps(document))
    assert watch([report(300, 22)], "--profile", "p.json") == 0
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("INFO started", "neither JSON nor CBOR, ignored"),
        ("[" * 100000, "neither JSON nor CBOR, ignored"),
        ("[]", "a JSON object is expected; ignored"),
        ({"a": 1}, "not a report: it has a header, and metrics, custom_metrics or both; ignored"),
        (report(300), "report_id 300 of device is not above 300; ignored"),
        (report(600, thing=7), "thing: text is expected; ignored"),
        (report(600, thing="n/a"), "thing: the name of a thing is expected, not 'n/a'; ignored"),
        ({**events()[0], "thingName": 5}, "not an event: thingName or violationEventTime is missing; ignored"),
        ({**events()[0], "securityProfileName": []}, "not an event: a name is not text; ignored"),
        (
            {**events()[0], "violationEventTime": 10**30},
            f"violationEventTime {10**30} is no time in milliseconds; ignored",
        ),
        (
            {**events()[0], "violationEventType": "\x1b[2J"},
            "not an event: ValueError(\"violationEventType is '\\\\x1b[2J'\"); ignored",
        ),
    ],
)
def test_message_that_cannot_be_used_costs_itself_only(
    watch: Watch, capfd: pytest.CaptureFixture[str], line: Any, problem: str
) -> None:
    assert watch([report(300), line, report(900, 22)], "--profile", PORTS) == 3
    output = capfd.readouterr()
    assert output.err == f"detect.py: line 2: {problem}\n"
    assert output.out.count("\n") == 1


def test_thing_that_is_null_is_missing(watch: Watch, capfd: pytest.CaptureFixture[str]) -> None:
    assert watch([report(300, 22, thing=None)], "--profile", PORTS, "--thing", "gateway-1") == 3
    output = capfd.readouterr()
    assert (output.err, " gateway-1: alarm " in output.out) == ("", True)


def test_report_in_an_envelope_is_judged(watch: Watch, capfd: pytest.CaptureFixture[str]) -> None:
    """As a rule writes it that can't decode CBOR, and as `try` reads it."""
    data = base64.b64encode(cbor2.dumps(report(300, 22))).decode()
    assert watch([{"thing": "gateway-7", "data": data}], "--profile", PORTS) == 3
    output = capfd.readouterr()
    assert (output.err, output.out.count(" gateway-7: alarm ")) == ("", 1)
    assert watch([{"data": "%"}, {"data": "ey4="}], "--profile", PORTS) == 0
    first, second = capfd.readouterr().err.splitlines()
    assert first.startswith("detect.py: line 1: data: not base64: ")
    assert second.startswith("detect.py: line 2: data: not JSON: ")


def test_report_after_a_byte_order_mark_is_judged(watch: Watch, capfd: pytest.CaptureFixture[str]) -> None:
    assert watch(["\ufeff" + json.dumps(report(300, 22, thing="gateway-7"))], "--profile", PORTS) == 3
    output = capfd.readouterr()
    assert (output.err, output.out.count(" gateway-7: alarm ")) == ("", 1)


def test_report_without_profiles_is_a_problem(watch: Watch, capfd: pytest.CaptureFixture[str]) -> None:
    assert watch([report(300, 22)]) == 0
    assert capfd.readouterr().err == (
        "detect.py: line 1: not an event; to judge reports, name profiles with --profile; ignored\n"
    )


def test_command_gets_each_event(watch: Watch, capfd: pytest.CaptureFixture[str]) -> None:
    script = "import sys; open('got', 'a').write(sys.stdin.read() + '\\n'); print('done')"
    assert watch([*events()], "--exec", f'{sys.executable} -c "{script}"') == 0
    assert [json.loads(line) for line in Path("got").read_text().splitlines()] == list(events())
    output = capfd.readouterr()
    assert (output.err, "done" in output.out) == ("done\ndone\n", False)


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("no-such-command", "--exec no-such-command: No such file or directory"),
        (f'{sys.executable} -c "raise SystemExit(7)"', f"--exec {sys.executable}: exit code 7"),
    ],
)
def test_failing_command_does_not_end_the_watch(
    watch: Watch, capfd: pytest.CaptureFixture[str], command: str, problem: str
) -> None:
    assert watch([*events()], "--exec", command) == 0
    output = capfd.readouterr()
    assert output.err == f"detect.py: {problem}\n" * 2
    assert output.out.count("\n") == 2


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["-", "--exec", "'"], "detect.py: --exec ': No closing quotation"),
        (["-", "--exec", ""], None),
        (["-", "--exec", " "], "detect.py: --exec: a command is expected"),
        (
            ["--mqtt", "localhost"],
            "detect.py: 'localhost' is no MQTT broker: expected HOST:PORT, such as localhost:1883",
        ),
        (["--mqtt", "localhost:1883", "--cert", "c.pem"], "detect.py: --cert and --key go together"),
        (
            ["--mqtt", "localhost:1883", "--ca-file", "none.pem"],
            "detect.py: --ca-file, --cert or --key can't be used: [Errno 2] No such file or directory",
        ),
        (["-", "--profile", "none.json"], "detect.py: none.json: No such file or directory"),
        (
            [],
            "detect.py watch: one of the arguments input --mqtt is required (detect.py watch --help lists the options)",
        ),
    ],
)
def test_wrong_usage_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], arguments: list[str], error: str | None
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    assert run("watch", *arguments) == (2 if error else 0)
    assert capfd.readouterr().err == (error + "\n" if error else "")


@pytest.mark.parametrize(("with_alarm", "code"), [(True, 3), (False, 130)])
def test_ctrl_c_ends_it(with_alarm: bool, code: int) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        lines = [*events(), *([events()[0]] if with_alarm else [])]
        process.stdin.write("".join(json.dumps(line) + "\n" for line in lines).encode())
        process.stdin.flush()
        for _ in lines:
            assert b"gateway-1" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(300) == code
