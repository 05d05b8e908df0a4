"""`python -m connector run` as a process of its own, against a real broker."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Callable, Iterator, List

import pytest
from direct.conftest import Certificates
from support.broker import MAX_WAIT_SECONDS, Broker
from support.direct import DEVICE, TOPIC, Observer
from support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
# A stop without its time-outs, 1.5 s for the loop and 0.9 s for the connection: where it ends, it waited for neither.
# That the process ends after the first whatever happens: tests/zip/test_stop.py.
PATIENT = """\
import sys
from connector import __main__, sigterm
from connector.transports import mqtt
sigterm.MAX_STOP_SECONDS = mqtt.MAX_CLOSE_SECONDS = 3600.0
sys.exit(__main__.main(sys.argv[1:]))
"""


class Command:
    """Starts `python -m connector run`; what it started ends with the test."""

    def __init__(self, certificates: Certificates, directory: Path) -> None:
        self._certificates = certificates
        self._directory = directory
        self.processes: List[subprocess.Popen[str]] = []

    def options(self, port: int) -> List[str]:
        return [
            "--endpoint=localhost",
            f"--port={port}",
            f"--thing-name={DEVICE}",
            f"--cert={self._certificates.device.cert}",
            f"--key={self._certificates.device.key}",
            f"--ca-file={self._certificates.authority.file}",
        ]

    def start(self, *arguments: str, patient: bool = False, **environ: str) -> subprocess.Popen[str]:
        program = ["-c", PATIENT] if patient else ["-m", "connector"]
        process = subprocess.Popen(
            [sys.executable, *program, "run", *arguments],
            cwd=str(self._directory),
            env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def end(self, process: subprocess.Popen[str]) -> str:
        """Return what it wrote to stderr, once it has ended."""
        return process.communicate(timeout=MAX_WAIT_SECONDS)[1]


@pytest.fixture
def command(certificates: Certificates, tmp_path: Path) -> Iterator[Command]:
    made = Command(certificates, tmp_path)
    yield made
    for process in made.processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_neither_a_closed_log_nor_a_reset_connection_ends_it(
    command: Command, broker: Broker, observer: Observer
) -> None:
    """Writing to either raises SIGPIPE, which ends a process that does not ignore it."""
    process = command.start(*command.options(broker.port))
    observer.wait_for(1)
    status = Path(f"/proc/{process.pid}/status").read_text()
    ignored = int(status.partition("SigIgn:")[2].split()[0], 16)
    assert ignored & 1 << signal.SIGPIPE - 1


def test_sigterm_ends_it_at_once_with_disconnect(command: Command, broker: Broker, observer: Observer) -> None:
    process = command.start(*command.options(broker.port), patient=True)
    (report,) = observer.wait_for(1)
    assert report["metrics"]["listening_tcp_ports"]["total"] >= 1
    process.send_signal(signal.SIGTERM)
    log = command.end(process)
    assert process.returncode == 0
    assert "the client ID is device-device-defender, not the thing's name: a Greengrass core is connected under" in log
    assert "metrics of device go to " in log
    assert broker.logged("Received DISCONNECT from device-device-defender")


def test_sigterm_ends_it_at_once_while_the_broker_is_frozen(
    command: Command, broker: Broker, observer: Observer
) -> None:
    process = command.start(*command.options(broker.port), patient=True)
    observer.wait_for(1)
    broker.freeze()
    process.send_signal(signal.SIGTERM)
    command.end(process)
    assert process.returncode == 0


def test_ctrl_c_ends_it_with_130(command: Command, broker: Broker, observer: Observer) -> None:
    process = command.start(*command.options(broker.port))
    observer.wait_for(1)
    process.send_signal(signal.SIGINT)
    log = command.end(process)
    assert process.returncode == 130
    assert "Traceback" not in log


def test_once_sends_one_report_and_ends(command: Command, broker: Broker, observer: Observer, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    options = [*command.options(broker.port), "--once", f"--StateDirectory={state}"]
    for _ in range(2):
        process = command.start(*options)
        log = command.end(process)
        assert process.returncode == 0, log
    first, second = observer.wait_for(2)
    assert "network_stats" not in first["metrics"]
    assert "network_stats" in second["metrics"]
    assert second["header"]["report_id"] > first["header"]["report_id"]


def test_once_without_a_broker_fails_and_says_why(command: Command) -> None:
    process = command.start(*command.options(free_port()), "--once")
    log = command.end(process)
    assert process.returncode == 1
    assert "Connection refused" in log


def test_dry_run_prints_what_it_would_send_and_connects_to_nothing(command: Command) -> None:
    process = command.start("--dry-run", "--once", "--MetricNames=short", MaxListSize="3")
    out = process.communicate(timeout=MAX_WAIT_SECONDS)[0]
    assert process.returncode == 0
    assert set(json.loads(out)) == {"hed", "met"}


def test_dry_run_with_an_invalid_variable_warns_and_uses_the_default(command: Command) -> None:
    process = command.start("--dry-run", "--once", MetricNames="tiny")
    out, log = process.communicate(timeout=MAX_WAIT_SECONDS)
    assert process.returncode == 0
    assert set(json.loads(out)) == {"header", "metrics"}
    assert "MetricNames" in log


@pytest.mark.parametrize("arguments", [["--port=x"], ["--nonsense"], ["--MaxListSize=0"], ["--check", "--dry-run"]])
def test_wrong_usage_is_one_line(command: Command, arguments: List[str]) -> None:
    process = command.start(*command.options(1), *arguments)
    log = command.end(process)
    assert process.returncode == 2
    assert log.startswith("python -m connector run: ")
    assert log.count("\n") == 1


def test_missing_paho_says_what_to_install(command: Command, tmp_path: Path) -> None:
    (tmp_path / "paho").mkdir()
    (tmp_path / "paho" / "__init__.py").write_text("raise ImportError('no paho here')\n")
    process = command.start(*command.options(1), PYTHONPATH=f"{tmp_path}:{ROOT}")
    log = command.end(process)
    assert process.returncode == 1
    assert "in the connector's repository, pip install '.[mqtt]'" in log


def test_private_key_is_not_in_the_command_line_and_others_see_no_secret(
    command: Command, broker: Broker, observer: Observer, certificates: Certificates
) -> None:
    process = command.start(*command.options(broker.port), "--LogLevel=DEBUG")
    observer.wait_for(1)
    secret = certificates.device.key.read_text().splitlines()[1]
    assert secret not in Path(f"/proc/{process.pid}/cmdline").read_text()
    assert secret not in Path(f"/proc/{process.pid}/environ").read_text()
    limits = Path(f"/proc/{process.pid}/limits").read_text()
    assert "Max core file size        0                    0" in limits
    process.send_signal(signal.SIGTERM)
    assert secret not in command.end(process)


def test_systemd_hears_ready_with_a_watchdog_and_a_sign_of_life_at_each_reading(
    command: Command, broker: Broker, observer: Observer
) -> None:
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        path = str(Path(directory) / "notify")
        systemd.bind(path)
        systemd.settimeout(MAX_WAIT_SECONDS)
        command.start(
            *command.options(broker.port),
            "--SampleIntervalSeconds=600",
            NOTIFY_SOCKET=path,
            WATCHDOG_USEC="900000000",
        )
        messages = {systemd.recv(200).decode(), systemd.recv(200).decode()}
    assert messages == {"WATCHDOG=1", "READY=1\nWATCHDOG=1\nWATCHDOG_USEC=1500000000"}


def test_reports_are_in_cbor_where_that_is_set(
    command: Command, make_broker: Callable[..., Broker], certificates: Certificates
) -> None:
    topic = TOPIC.replace("json", "cbor")
    broker = make_broker(acl=f"user {DEVICE}\ntopic write {topic}")
    observer = Observer(broker.port, certificates.authority, certificates.observer)
    try:
        process = command.start(*command.options(broker.port), "--once", "--ReportFormat=cbor")
        command.end(process)
        assert process.returncode == 0
        observer.wait_for(1)
        assert [name for name, _ in observer.messages] == [topic]
    finally:
        observer.close()


def test_rejection_by_the_service_is_logged(command: Command, broker: Broker, observer: Observer) -> None:
    process = command.start(*command.options(broker.port))
    (report,) = observer.wait_for(1)
    rejection = {
        "thingName": DEVICE,
        "reportId": report["header"]["report_id"],
        "status": "REJECTED",
        "statusDetails": {"ErrorCode": "InvalidPayload", "ErrorMessage": "no such metric"},
        "timestamp": 1,
    }
    observer.publish(TOPIC + "/rejected", json.dumps(rejection).encode())
    assert process.stderr is not None
    give_up = threading.Timer(MAX_WAIT_SECONDS, process.kill)  # its log ends then, and so does the loop
    give_up.start()
    logged = any("InvalidPayload" in line for line in process.stderr)
    give_up.cancel()
    assert logged


def test_zip_of_the_lambda_function_has_no_run_and_says_so(tmp_path: Path) -> None:
    shutil.copytree(str(ROOT / "connector"), str(tmp_path / "connector"), ignore=shutil.ignore_patterns("direct*"))
    done = subprocess.run(
        [sys.executable, "-m", "connector", "run"],
        cwd=str(tmp_path),
        stderr=subprocess.PIPE,
        text=True,
        timeout=MAX_WAIT_SECONDS,
    )
    assert done.returncode == 2
    assert "`run` is in neither zip: in the connector's repository, pip install '.[mqtt]'" in done.stderr
    assert done.stderr.count("\n") == 1
