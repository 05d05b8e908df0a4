"""The component's life on a nucleus: settings that change while it runs, and how it ends."""

from __future__ import annotations

import logging
import math
import re
import threading
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

import pytest
from support.direct import Log
from support.ipc_client import SECONDS
from support.nucleus import WatchedNucleus

from connector import component, config
from connector.clock import Clock
from connector.component import Component
from connector.component_starts import FILE, Starts
from connector.state import FILE as STATE
from connector.state import read_boot
from connector.transports.greengrass_ipc import GreengrassIpc
from connector.transports.greengrass_ipc_connection import IpcConnection

PACKAGE = "/artifacts/1.0.0"


class Process:
    """A component as its process runs it, on a thread, with a nucleus of its own. code: what it ended with."""

    def __init__(self, directory: str, faults: Sequence[str], **configuration: Any) -> None:
        self.nucleus = WatchedNucleus(interval=1, configuration=configuration)
        self.nucleus.start()
        for fault in faults:
            self.nucleus.faults.begin(fault, math.inf)
        self.clock = Clock()
        self.code: Optional[int] = None
        environ = self.nucleus.new_environment()
        self.component = Component(
            environ,
            directory,
            PACKAGE,
            lambda on_lost: IpcConnection(environ, on_lost),
            lambda connection, settings: GreengrassIpc(connection, settings.max_payload_bytes, component.logger),
            self.clock,
        )
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.code = self.component.run()

    def report(self, *keys: str) -> Dict[str, Any]:
        """Return the next report that has one of these keys."""
        while True:
            report: Dict[str, Any] = self.nucleus.wait_for_delivery().report
            if not keys or any(key in report for key in keys):
                return report

    def ended(self) -> Optional[int]:
        self._thread.join(SECONDS)
        return self.code

    def stop(self) -> Optional[int]:
        self.clock.stop()
        try:
            return self.ended()
        finally:
            self.nucleus.stop()


@pytest.fixture
def log() -> Log:
    made = Log()
    logging.getLogger("connector").addHandler(made)
    return made


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Log) -> Iterator[Callable[..., Process]]:
    monkeypatch.setattr(config, "MIN_SAMPLE_INTERVAL", 1)
    monkeypatch.setattr(component, "SETTLE_SECONDS", 0.01)
    made: List[Process] = []

    def begin(directory: str = str(tmp_path), faults: Sequence[str] = (), **configuration: Any) -> Process:
        made.append(Process(directory, faults, **configuration))
        return made[-1]

    yield begin
    for process in made:
        process.stop()


def test_it_reports_as_its_configuration_says_and_keeps_its_state_in_the_work_folder(
    start: Callable[..., Process], tmp_path: Path
) -> None:
    process = start(MetricNames="short", CustomMetrics=["memory_usage"])
    report = process.report()
    assert "memory_usage" in report["cmet"]
    assert process.stop() == 0
    assert {path.name for path in tmp_path.iterdir()} == {STATE, FILE}


def test_a_changed_configuration_takes_effect_in_the_same_process(start: Callable[..., Process], log: Log) -> None:
    process = start()
    first = process.report("header")
    process.nucleus.configure({"MetricNames": "short", "MaxListSize": 5})
    report = process.report("hed")
    assert report["hed"]["rid"] > first["header"]["report_id"]
    assert len(log.having("the configuration has changed: reporting starts anew with it")) == 1
    # The traffic goes on where it was: the account came over with the state file.
    assert "ns" in report["met"]


def test_a_change_loses_no_traffic_where_nothing_can_be_kept_in_a_file(start: Callable[..., Process]) -> None:
    process = start(directory="")
    first = process.report("header")
    process.report("header")
    process.nucleus.configure({"MetricNames": "short"})
    report = process.report("hed")
    assert "ns" in report["met"]
    assert report["hed"]["rid"] > first["header"]["report_id"]  # else the service rejects it


def test_a_change_of_something_else_changes_nothing(start: Callable[..., Process], log: Log) -> None:
    process = start(LogLevel="DEBUG")
    process.report()
    process.nucleus.configure({"another": 1})
    log.wait_for("the configuration has 'another', which is no parameter: it is ignored")
    process.report()
    assert log.having("starts anew") == []


def test_a_change_that_nobody_tells_of_is_found_and_the_next_one_is_told_again(
    start: Callable[..., Process], monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    monkeypatch.setattr(component, "CHECK_SECONDS", 0.2)
    process = start()
    process.report("header")
    process.nucleus.faults.begin("config-restart")
    process.nucleus.configure({"MetricNames": "short"})
    process.report("hed")
    monkeypatch.setattr(component, "CHECK_SECONDS", 3600.0)
    process.nucleus.configure({"MaxListSize": 7})
    process.nucleus.configure({"MetricNames": "long"})
    process.report("header")


def test_a_configuration_that_can_not_be_read_at_the_start_is_read_later(
    start: Callable[..., Process], monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    monkeypatch.setattr(component, "MAX_CONFIGURATION_SECONDS", 0.0)
    monkeypatch.setattr(component, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(component, "RETRY_SECONDS", 0.2)
    process = start(faults=["config-lost"], MetricNames="short")
    process.report("header")
    assert "ServiceError; they take effect within 1 h" in log.wait_for("WARNING configuration updates: ")
    process.nucleus.faults.release()
    process.report("hed")


def test_a_lost_connection_ends_it_with_an_error_after_what_is_unsent_was_saved(
    start: Callable[..., Process], tmp_path: Path, log: Log
) -> None:
    process = start()
    process.report()
    process.nucleus.faults.begin("ipc-restart")
    assert process.ended() == 1
    assert (tmp_path / STATE).exists()
    assert "Only a new process can connect again" in log.wait_for("ERROR the connection to the nucleus is lost")


def test_an_end_that_would_be_one_too_many_waits_and_sigterm_ends_the_wait(
    start: Callable[..., Process], tmp_path: Path, log: Log
) -> None:
    process = start()
    process.report()
    boot = read_boot("/proc")
    assert boot is not None
    for seconds in (100, 50):
        Starts(str(tmp_path), boot.boot_id, process.clock.monotonic() - seconds, PACKAGE).add_error(
            process.clock.monotonic() - seconds + 10
        )
    process.component._starts = Starts(str(tmp_path), boot.boot_id, process.clock.monotonic(), PACKAGE)
    process.nucleus.faults.begin("ipc-restart")
    line = log.wait_for("this one ends with an error in ")
    assert re.search(r"in (1 h|5\d min)", line)
    assert process.code is None
    assert process.stop() == 0


def test_a_report_is_never_lost_to_a_nucleus_that_restarts_its_mqtt_daemon(
    start: Callable[..., Process], log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.deliveries.VERDICT_SECONDS", 0.2)
    process = start(LogLevel="DEBUG")
    process.report()
    log.wait_for("was accepted by Device Defender")
    process.nucleus.faults.begin("mqtt-restart")
    log.wait_for("delivery of reports: recovered after")  # subscribed anew, and answered again
    assert process.code is None
