"""What run_local.py shows on a terminal and elsewhere, what it records, and options that do not go together."""

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, List

import pytest
from local_core import Screen
from local_core.service import Service
from run_local import wants_documents
from run_local_options import parse
from support.functions import REPORT, REPORTER

ROOT = Path(__file__).resolve().parents[2]
TOPIC = "$aws/things/gateway-7/defender/metrics/json"


def on_terminal(until: str, *arguments: object) -> str:
    """Run it on a pseudo-terminal until its output has a match, then press Ctrl-C; return the output."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "packaging" / "run_local.py"), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=slave,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(slave)
    output = ""
    try:
        while not re.search(until, output):
            output += _read(master)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130
    finally:
        process.kill()
        process.wait()
        os.close(master)
    return output.replace("\r\n", "\n")


def _read(terminal: int) -> str:
    try:
        data = os.read(terminal, 4096)
    except OSError:  # the other end was closed
        data = b""
    if not data:
        raise AssertionError("it ended without what was waited for")
    return data.decode()


def test_terminal_shows_one_line_a_report_and_the_recording_has_all(
    make_zip: Callable[..., Path], tmp_path: Path
) -> None:
    path, recording = make_zip({"function.py": REPORTER}), tmp_path / "recording.jsonl"
    earlier = {"thing": "gateway-7", "header": {"report_id": 1, "version": "1.0"}, "metrics": {}}
    recording.write_text(json.dumps(earlier) + "\n")
    arguments = ["--handler", "function.handler", "--thing", "gateway-7", "--record", recording]
    output = on_terminal("verdict ACCEPTED", path, *arguments)
    assert re.search(r"^\d\d:\d\d:\d\d  ACCEPTED \d+ B  0 UDP ports$", output, re.MULTILINE), output
    assert '"header"' not in output
    first, second = map(json.loads, recording.read_text().splitlines())
    assert first == earlier
    metrics = {"listening_udp_ports": {"ports": [], "total": 0}}
    assert second == {"thing": "gateway-7", "header": second["header"], "metrics": metrics}


@pytest.mark.parametrize(
    ("arguments", "on_a_terminal", "elsewhere"),
    [
        ([], False, True),
        (["--once"], True, True),
        (["--full"], True, True),
        (["--lines"], False, False),
        (["--once", "--lines"], False, False),
    ],
)
def test_whole_reports_are_shown_once_and_to_programs(
    arguments: List[str], on_a_terminal: bool, elsewhere: bool
) -> None:
    options = parse(["a.zip", *arguments], None)
    assert wants_documents(options, terminal=True) is on_a_terminal
    assert wants_documents(options, terminal=False) is elsewhere


def show(full: bool, capsys: pytest.CaptureFixture[str], topic: str, payload: bytes) -> str:
    delivery, _ = Service().receive(topic, payload)
    Screen(full, on_lost=lambda: None, clock=lambda: 0.0).show(delivery)
    return capsys.readouterr().out


def test_full_shows_verdict_and_document(capsys: pytest.CaptureFixture[str]) -> None:
    shown = show(True, capsys, TOPIC, REPORT)
    first, _, document = shown.partition("\n")
    assert first == f"{TOPIC}, {len(REPORT)} bytes: ACCEPTED"
    assert document == json.dumps(json.loads(REPORT), indent=2) + "\n"


def test_line_has_the_time_of_day(capsys: pytest.CaptureFixture[str]) -> None:
    shown = show(False, capsys, TOPIC, REPORT)
    assert re.fullmatch(rf"\d\d:\d\d:00  ACCEPTED {len(REPORT)} B  0 UDP ports\n", shown)


@pytest.mark.parametrize(
    ("topic", "payload", "recorded"),
    [
        (TOPIC, REPORT, {"thing": "gateway-7", **json.loads(REPORT)}),
        (TOPIC, b"{}", None),  # rejected
        ("my/topic", REPORT, None),  # nobody has judged it
    ],
)
def test_only_accepted_reports_are_recorded(topic: str, payload: bytes, recorded: Any) -> None:
    record = io.StringIO()
    delivery, _ = Service().receive(topic, payload)
    Screen(False, on_lost=lambda: None, record=record).show(delivery)
    assert record.getvalue() == (json.dumps(recorded) + "\n" if recorded else "")


def test_a_full_disk_ends_the_recording_and_says_so_once(capsys: Any) -> None:
    delivery, _ = Service().receive(TOPIC, REPORT)
    with open("/dev/full", "a", encoding="utf-8") as record:
        screen = Screen(False, on_lost=lambda: None, record=record)
        screen.show(delivery)
        screen.show(delivery)
    reports, failure = capsys.readouterr()
    assert failure == "run_local.py: /dev/full: No space left on device: nothing more is recorded\n"
    assert len(reports.splitlines()) == 2


def test_recording_that_can_not_be_opened_is_an_error(tmp_path: Path) -> None:
    missing = tmp_path / "no" / "file"
    done = subprocess.run(
        [sys.executable, str(ROOT / "packaging" / "run_local.py"), "a.zip", "--record", str(missing)],
        capture_output=True,
        timeout=120,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"run_local.py: {missing}: No such file or directory\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--full", "--lines"], "not allowed with argument"),
        (["--nucleus", "java"], "--nucleus needs --native"),
        (["--fault", "mqtt-lost"], "the fault mqtt-lost needs --native"),
        (["--native", "--fault", "hang"], "the fault hang is not one of a nucleus"),
        (["--native", "--nucleus", "java", "--fault", "ipc-hang"], "the fault ipc-hang is not one of the Java nucleus"),
        (["--native", "--handler", "a.b"], "--handler can't be used with --native"),
        (["--native", "--generation", "1"], "--generation can't be used with --native"),
    ],
)
def test_options_that_do_not_go_together_are_bad_usage(
    arguments: List[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["a.zip", *arguments], None)
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err
