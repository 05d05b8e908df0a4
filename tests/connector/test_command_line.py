"""`python -m connector`: what a person sees who tries it, and what a script can rely on."""

from __future__ import annotations

import io
import json
import os
import pty
import random
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Tuple

import cbor2
import pytest
from local_core.service import check_report
from support import proc

from connector import config
from connector.__main__ import main
from connector.cycle import make_report, observe
from connector.flags import READ_BY_FUNCTION, spellings
from connector.memory import Memory
from connector.snapshot import take

ROOT = Path(__file__).resolve().parents[2]
METRICS: Dict[str, Any] = {
    "tcp_connections": {
        "established_connections": {
            "connections": [
                {"remote_addr": "198.51.100.7:8883", "local_port": 40000, "local_interface": "eth0"},
                {"remote_addr": "198.51.100.8:5000", "local_port": 443, "local_interface": "eth0"},
            ],
            "total": 2,
        }
    },
    "listening_tcp_ports": {"ports": [{"port": 22, "interface": "::"}], "total": 1},
    "listening_udp_ports": {"ports": [], "total": 0},
}
NOTHING_PASSED = {"bytes_in": 0, "bytes_out": 0, "packets_in": 0, "packets_out": 0}


class Ran(NamedTuple):
    code: int
    out: bytes
    err: str

    def reports(self) -> List[Any]:
        """The reports of its output, one per line, each checked against the specification."""
        reports = [json.loads(line) for line in self.out.decode("ascii").splitlines()]
        for report in reports:
            check_report(report)
        return reports


def command(*arguments: str) -> List[str]:
    return [sys.executable, "-m", "connector", *arguments]


def run(*arguments: str) -> Ran:
    done = subprocess.run(command(*arguments), cwd=str(ROOT), capture_output=True, timeout=300)
    return Ran(done.returncode, done.stdout, done.stderr.decode())


def run_on_a_terminal(*arguments: str) -> Tuple[int, bytes]:
    """Its exit code and what a terminal that it writes to was sent."""
    ours, its = pty.openpty()
    process = subprocess.Popen(command(*arguments), cwd=str(ROOT), stdout=its, stderr=its)
    os.close(its)
    shown = b""
    try:
        while True:
            try:
                block = os.read(ours, 65536)
            except OSError:  # Linux: the other side is closed
                break
            shown += block
        return process.wait(300), shown.replace(b"\r\n", b"\n")
    finally:
        os.close(ours)
        process.kill()
        process.wait()


@pytest.fixture
def host(tmp_path: Path) -> str:
    """A mounted proc."""
    proc.tree(
        proc.machine(tmp_path),
        tcp=proc.tcp(("192.0.2.5:40000", "198.51.100.7:8883", "ESTABLISHED")),
        tcp6=proc.tcp6(
            ("[::]:22", proc.V6_NOBODY, "LISTEN"),
            ("[::ffff:192.0.2.5]:443", "[::ffff:198.51.100.8]:5000", "ESTABLISHED"),
        ),
    )
    return str(tmp_path)


def test_a_report_is_one_compact_line_when_piped(host: str) -> None:
    ran = run("--proc", host)
    (report,) = ran.reports()
    assert (ran.code, ran.err, report["metrics"], sorted(report)) == (0, "", METRICS, ["header", "metrics"])
    assert ran.out == json.dumps(report, separators=(",", ":")).encode() + b"\n"


def test_a_report_is_indented_on_a_terminal(host: str) -> None:
    code, shown = run_on_a_terminal("--proc", host)
    report = json.loads(shown.decode())
    assert (code, report["metrics"]) == (0, METRICS)
    assert shown.decode() == json.dumps(report, indent=2) + "\n"


def test_the_second_report_has_the_traffic_since_the_first(host: str) -> None:
    """The ids rise although no second passes between the two."""
    first, second = run("--proc", host, "-n", "2", "-s", "0").reports()
    assert (first["metrics"], second["metrics"]) == (METRICS, {**METRICS, "network_stats": NOTHING_PASSED})
    assert second["header"]["report_id"] > first["header"]["report_id"] > 1_600_000_000


def test_without_proc_the_reports_are_of_this_machine() -> None:
    """Without --proc: the machine it runs on, with what a metric needs two readings for in the second."""
    ran = run("-n", "2", "-s", "0.1", "--custom-metrics", "cpu_usage,process_count")
    first, second = ran.reports()
    assert ran.code == 0
    assert sorted(first["custom_metrics"]) == ["process_count"]
    assert 0 <= second["custom_metrics"]["cpu_usage"][0]["number"] <= 100
    assert second["metrics"]["network_stats"]["bytes_in"] >= 0


def test_short_names_and_custom_metrics(host: str) -> None:
    (report,) = run("--proc", host, "--short-names", "--custom-metrics", " load_average_1m,uptime_seconds").reports()
    assert (report["met"]["up"], report["cmet"]) == (
        {"pts": [], "t": 0},
        {"load_average_1m": [{"number": 1.25}], "uptime_seconds": [{"number": 35353}]},
    )


def test_max_list_size_bounds_a_list_and_not_its_total(host: str) -> None:
    (report,) = run("--proc", host, "--max-list-size", "1").reports()
    established = report["metrics"]["tcp_connections"]["established_connections"]
    assert (established["total"], len(established["connections"])) == (2, 1)


@pytest.mark.parametrize("spelling", [0, 1], ids=["name", "lower case"])
def test_every_parameter_of_a_device_is_accepted_in_both_spellings(host: str, spelling: int) -> None:
    """A recording then shows what the device sends; nothing is sent or kept here."""
    device = {"MetricNames": "short", "MaxListSize": "1", "CustomMetrics": "uptime_seconds", "LogLevel": "DEBUG"}
    values = {parameter: device.get(parameter.name, parameter.default) for parameter in READ_BY_FUNCTION}
    flags = [text for parameter, value in values.items() for text in (spellings(parameter)[spelling], value)]
    ran = run(*flags, "--proc", host)
    (report,) = ran.reports()
    assert (ran.code, ran.err, report["cmet"]) == (0, "", {"uptime_seconds": [{"number": 35353}]})
    assert report["met"]["tc"]["ec"]["t"] == 2
    assert len(report["met"]["tc"]["ec"]["cs"]) == 1


def test_report_is_the_one_that_the_loop_makes(host: str) -> None:
    """With a device's settings: the same names, numbers and order; only the header's id depends on the time."""
    environ = {"AWS_IOT_THING_NAME": "a-thing", "MetricNames": "short", "CustomMetrics": "uptime_seconds"}
    settings, warnings = config.parse(environ)
    snapshot = take(settings.wanted._replace(proc=host), random.Random())
    made = make_report(observe(Memory(), snapshot, 1_700_000_000), snapshot, settings.short_names, "json")
    assert warnings == []
    assert made is not None
    printed = run("--proc", host, "--MetricNames", "short", "--CustomMetrics", "uptime_seconds").out
    report_id = str(json.loads(printed)["hed"]["rid"]).encode()
    assert printed == made.payload.replace(b"1700000000", report_id) + b"\n"


def test_excluded_interfaces_are_not_in_the_traffic(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    host = proc.tree(tmp_path)
    count = [0]

    def wait(seconds: float) -> None:
        count[0] += 1
        table = proc.dev({"eth0": (count[0] * 7, 0, 0, 0), "wg0": (count[0] * 5, 0, 0, 0)})
        (host / "1" / "net" / "dev").write_bytes(table)

    monkeypatch.setattr("connector.__main__.time.sleep", wait)
    assert main(["--proc", str(host), "-n", "2", "--ExcludeInterfaces", "lo,wg*"]) == 0
    second = json.loads(capsys.readouterr().out.splitlines()[1])
    assert second["metrics"]["network_stats"]["bytes_in"] == 7


def test_seconds_between_reports_are_the_interval_parameter_unless_s_is_given(
    host: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: List[float] = []
    monkeypatch.setattr("connector.__main__.time.sleep", waits.append)
    monkeypatch.setattr("connector.__main__.time.monotonic", lambda: 100.0)
    for arguments in ([], ["--SampleIntervalSeconds", "600"], ["--sample-interval-seconds", "600", "-s", "1"]):
        assert main(["--proc", host, "-n", "2", *arguments]) == 0
    assert waits == [0.0, 5.0, 0.0, 600.0, 0.0, 1.0]


def test_cbor_is_bytes_when_piped_and_hexadecimal_on_a_terminal(host: str) -> None:
    ran = run("--proc", host, "--format", "cbor", "-n", "2", "-s", "0")
    stream = io.BytesIO(ran.out)
    decoder = cbor2.CBORDecoder(stream)
    first, second = decoder.decode(), decoder.decode()
    assert (ran.code, stream.tell(), first["metrics"]) == (0, len(ran.out), METRICS)
    assert second["metrics"] == {**METRICS, "network_stats": NOTHING_PASSED}
    code, shown = run_on_a_terminal("--proc", host, "--format", "cbor")
    assert (code, shown.count(b"\n"), cbor2.loads(bytes.fromhex(shown.decode()))["metrics"]) == (0, 1, METRICS)


def test_unreadable_proc_is_an_error_and_ends_with_1(tmp_path: Path) -> None:
    ran = run("--proc", str(tmp_path / "absent"), "-n", "3", "-s", "0")
    assert (ran.code, ran.out) == (1, b"")
    lines = ran.err.splitlines()
    assert len(lines) == 2
    start = "python -m connector: network tables: nothing of the network can be read: no network tables under"
    assert lines[0].startswith(start)
    assert lines[1] == f"python -m connector: nothing could be read under {tmp_path / 'absent'}"


def test_unreadable_table_is_reported_once_and_left_out(host: str) -> None:
    (Path(host) / "1" / "net" / "udp").unlink()
    ran = run("--proc", host, "-n", "3", "-s", "0")
    assert (ran.code, [sorted(report["metrics"]) for report in ran.reports()][1:]) == (
        0,
        [["listening_tcp_ports", "network_stats", "tcp_connections"]] * 2,
    )
    assert ran.err == (
        "python -m connector: UDP sockets: left out of the reports: "
        f"{host}/1/net/udp can't be read: No such file or directory\n"
    )


def test_missing_cbor2_is_an_error_that_names_it(
    host: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "cbor2", None)
    assert main(["--proc", host, "--format", "cbor"]) == 1
    out, err = capsys.readouterr()
    assert (out, err.startswith("python -m connector: CBOR needs cbor2, which ")) == ("", True)


def test_each_report_is_written_as_soon_as_it_is_made(host: str) -> None:
    """So that a day's recording can be followed."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    process = subprocess.Popen(
        command("--proc", host, "-n", "2", "-s", "86400"), cwd=str(ROOT), env=environ, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert select.select([process.stdout], [], [], 300)[0]
        check_report(json.loads(process.stdout.readline()))
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_closed_pipe_ends_it_without_an_error(host: str) -> None:
    """As `| head -1` does; no traceback."""
    process = subprocess.Popen(
        command("--proc", host, "-n", "100000", "-s", "0"),
        cwd=str(ROOT),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        check_report(json.loads(process.stdout.readline()))
        process.stdout.close()
        assert (process.wait(300), process.stderr.read()) == (-signal.SIGPIPE, b"")
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_recording_continues_after_an_unreadable_moment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    host = proc.tree(tmp_path / "proc")
    waits: List[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            host.rename(tmp_path / "hidden")
        elif len(waits) == 3:
            (tmp_path / "hidden").rename(host)

    monkeypatch.setattr("connector.__main__.time.sleep", wait)
    assert main(["--proc", str(host), "-n", "4", "-s", "0"]) == 1
    said = capsys.readouterr()
    assert len(waits) == 4
    assert len(said.out.splitlines()) == 3
    assert f"nothing could be read under {host}" in said.err


def test_reports_are_the_given_seconds_apart_and_each_has_its_own_traffic(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traffic of eth0 is counted; the same traffic on a bridge or in a container is not."""
    host = proc.tree(tmp_path)
    now = [100.0]
    begun: List[float] = []

    def wait(seconds: float) -> None:
        now[0] += seconds
        begun.append(now[0])
        count = len(begun)
        table = proc.dev({"eth0": (count * 7, 0, 0, 0), "docker0": (count * 1000, 0, 0, 0), "lo": (count, 0, 0, 0)})
        (host / "1" / "net" / "dev").write_bytes(table)
        now[0] += 0.25  # the time that a report takes does not delay the next one

    monkeypatch.setattr("connector.__main__.time.sleep", wait)
    monkeypatch.setattr("connector.__main__.time.monotonic", lambda: now[0])
    assert main(["--proc", str(host), "-n", "3", "-s", "10"]) == 0
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert begun == [100.0, 110.0, 120.0]
    traffic = [report["metrics"].get("network_stats", {}).get("bytes_in") for report in reports]
    assert traffic == [None, 7, 7]


@pytest.mark.parametrize(
    ("where", "words"),
    [(">/dev/full", "No space left on device"), (">&-", "there is no standard output")],
    ids=["a full disk", "a closed output"],
)
def test_failed_write_is_one_line_and_ends_with_1(host: str, where: str, words: str) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" ' + where, "sh", *command("--proc", host)],
        cwd=str(ROOT),
        capture_output=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr.decode()) == (
        1,
        f"python -m connector: the report can't be written: {words}\n",
    )


def test_closed_stderr_adds_nothing_to_the_reports(host: str) -> None:
    """print() to a file that is None writes to stdout, into the recording."""
    (Path(host) / "1" / "net" / "udp").unlink()
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", *command("--proc", host)],
        cwd=str(ROOT),
        stdout=subprocess.PIPE,
        timeout=300,
    )
    assert done.returncode == 0
    check_report(json.loads(done.stdout))


def test_ctrl_c_ends_it_with_130_and_no_output(host: str) -> None:
    process = subprocess.Popen(
        command("--proc", host, "-n", "2", "-s", "600"),
        cwd=str(ROOT),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"{")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (130, b"")
