"""The built zip under the local core: its first report, an unprivileged user, a core that misbehaves, verdicts."""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence

import pytest
from local_core import Delivery, LocalCore, Verdict
from support_core import PROC, built_zip, launcher, refusal
from support_proc import dev, tree
from support_user import NOBODY, public_directory

REPORTS = "$aws/things/local-core/defender/metrics/"


class Watched(LocalCore):
    """The zip under a local core whose lines, its own and the function's, are waited for."""

    def __init__(self, artifact: Any = None, **settings: Any) -> None:
        self.lines: List[str] = []
        self._printed = threading.Condition()
        super().__init__(artifact or built_zip(), on_log=self._print, **settings)

    def __enter__(self) -> Watched:
        super().__enter__()
        return self

    def _print(self, line: str) -> None:
        with self._printed:
            self.lines.append(line)
            self._printed.notify_all()

    def lines_with(self, text: str, begin: int = 0) -> List[str]:
        return [line for line in self.lines[begin:] if text in line]

    def wait_for_line(self, text: str, begin: int = 0, times: int = 1) -> None:
        """Wait until so many lines from number `begin` on have the text."""
        with self._printed:
            there = self._printed.wait_for(lambda: len(self.lines_with(text, begin)) >= times, 20)
        assert there, "no {!r} in:\n{}".format(text, "\n".join(self.lines[begin:]))

    def start_with(self, launcher: Path) -> None:
        """Have a program start the interpreter."""
        self.interpreter = self.interpreter._replace(path=str(launcher))


MOUNTS = pytest.mark.skipif(refusal() is not None, reason=str(refusal()))
FORMATS = [
    ({"ReportFormat": "json", "MetricNames": "long"}, b'{"header":', {"header", "metrics"}),
    ({"ReportFormat": "json", "MetricNames": "short"}, b'{"hed":', {"hed", "met"}),
    ({"ReportFormat": "cbor", "MetricNames": "short"}, b"\xa2\x63hed", {"hed", "met"}),
]


def check_first_report(core: Watched, environment: Dict[str, str], start: bytes, keys: object) -> None:
    delivery = core.wait_for_delivery()
    assert delivery.verdict == Verdict(accepted=True)
    assert delivery.topic == REPORTS + environment["ReportFormat"]
    assert delivery.payload.startswith(start)
    assert set(delivery.report) == keys


@pytest.mark.parametrize(("environment", "start", "keys"), FORMATS, ids=["json-long", "json-short", "cbor-short"])
def test_the_first_report_is_accepted(environment: Dict[str, str], start: bytes, keys: object) -> None:
    with Watched(environment=environment, encoding_type="binary") as core:
        check_first_report(core, environment, start, keys)
        assert core.stop() == 0
        assert core.lines_with("WARNING") + core.lines_with("ERROR") == []


@MOUNTS
@pytest.mark.parametrize(("environment", "start", "keys"), FORMATS, ids=["json-long", "json-short", "cbor-short"])
def test_an_unprivileged_user_is_enough(environment: Dict[str, str], start: bytes, keys: object) -> None:
    with public_directory() as public:
        core = Watched(environment=environment, encoding_type="binary")
        core.start_with(launcher(public))
        with core:
            user = Path("/proc/{}/status".format(core.pid)).read_text()
            assert "\nUid:\t{0}\t{0}\t{0}\t{0}\n".format(NOBODY) in user
            check_first_report(core, environment, start, keys)
            assert core.stop() == 0
            assert core.lines_with("WARNING") + core.lines_with("ERROR") == []


class Host:
    """A host's proc of the test's own, whose only interface has the traffic it is given."""

    def __init__(self, root: Path) -> None:
        self.root = tree(root)
        self.bytes = 0
        self.receive(1000)

    def receive(self, number: int) -> None:
        self.bytes += number
        new = self.root / "1" / "net" / "dev.new"
        new.write_bytes(dev({"eth0": (self.bytes, 10 * self.bytes, 1, 1)}))
        new.rename(new.with_name("dev"))


@pytest.fixture(scope="module")
def public() -> Iterator[Path]:
    with public_directory() as path:
        yield path


@pytest.fixture(scope="module")
def host(public: Path) -> Host:
    (public / "proc").mkdir()
    return Host(public / "proc")


@pytest.fixture(scope="module")
def running(public: Path, host: Host) -> Iterator[Watched]:
    """The function with a report every second, on that host, for all faults to befall in turn."""
    core = Watched(interval=1, proc=PROC)
    core.start_with(launcher(public, tree=host.root))
    with core:
        assert core.wait_for_delivery().verdict == Verdict(accepted=True)
        yield core


def received(deliveries: Sequence[Delivery]) -> List[int]:
    stats = [delivery.report["metrics"].get("network_stats", {}) for delivery in deliveries]
    assert all(one["bytes_out"] == 10 * one["bytes_in"] for one in stats if one)
    return [one["bytes_in"] for one in stats if one]


def check_traffic(core: Watched, host: Host) -> None:
    """All that the host received since the first report is in those that the core took, once."""
    end = time.monotonic() + 20
    while sum(received(core.deliveries)) < host.bytes - 1000 and time.monotonic() < end:
        core.wait_for_delivery()
    known = len(core.deliveries)
    while len(core.deliveries) == known:  # one more, as what comes twice would come late
        core.wait_for_delivery()
    assert sum(received(core.deliveries)) == host.bytes - 1000
    # Of reports a second apart, one that was held up may be too near to the next for the service.
    assert {delivery.verdict and delivery.verdict.code for delivery in core.deliveries} <= {"", "Throttled"}


@MOUNTS
@pytest.mark.parametrize("fault", ["status:503", "status:400", "full", "reset", "cut", "restart", "refuse"])
def test_after_a_fault_reports_go_on_and_no_traffic_is_lost(running: Watched, host: Host, fault: str) -> None:
    begin = len(running.lines)
    host.receive(7_000_000)
    running.faults.add(fault)
    running.wait_for_line("WARNING connector: publishing: ", begin)
    host.receive(300)
    running.faults.release()  # of a port that is refused
    running.wait_for_line("INFO connector: publishing: well again after ", begin)
    check_traffic(running, host)
    said = running.lines_with("connector: publishing: ", begin)
    assert ["WARNING" in line for line in said] == [True, False], said
    assert running.lines_with("Traceback", begin) == []


@MOUNTS
def test_a_slow_core_is_no_fault(running: Watched, host: Host) -> None:
    begin = len(running.lines)
    host.receive(5_000)
    running.faults.add("slow")
    assert running.faults.wait(20)
    check_traffic(running, host)
    assert running.lines_with("publishing: ", begin) == []


def test_a_rejected_report_is_one_warning() -> None:
    rejected = {
        "thingName": "local-core",
        "reportId": 7,
        "status": "REJECTED",
        "statusDetails": {"ErrorCode": "Throttled", "ErrorMessage": "too\x1b[2Jmany"},
    }
    with Watched(environment={"LogLevel": "DEBUG"}) as core:
        core.wait_for_line("was accepted by Device Defender")
        for _ in range(3):
            assert core.send(REPORTS + "json/rejected", json.dumps(rejected).encode())
        core.wait_for_line("was rejected: Throttled: too?[2Jmany; reports come more often than every 300 s", times=3)
        assert len(core.lines_with("WARNING")) == 1


def test_a_missing_subscription_is_said_once_with_what_to_add() -> None:
    with Watched(interval=1, subscriptions=[]) as core:
        core.wait_for_line("answered with HTTP 400", times=3)
        core.wait_for_line("WARNING")
        (line,) = core.lines_with("WARNING")
        assert "publishing: no subscription carries the reports: add one with this function " in line
        assert REPORTS + "json as subject and IoT Core (V2: cloud) as target" in line
        assert core.deliveries == []


def test_a_restarted_function_reports_again() -> None:
    with ExitStack() as stack:
        core = stack.enter_context(Watched(interval=1))
        first = core.wait_for_delivery().report["header"]["report_id"]
        assert core.restart_function() == 0
        begin = len(core.deliveries)
        while len(core.deliveries) == begin:
            core.wait_for_delivery()
        assert core.deliveries[-1].report["header"]["report_id"] >= first
