"""The built zip as a core's function and an ordinary user's process: reports, faults, restarts and verdicts.

On the running Python; the suite is run under each version.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional

import pytest
from local_core import FUNCTION_ARN, Delivery, LocalCore, Subscription
from support import core as support_core
from support.core import PROC, FunctionCore, patient
from support.proc import dev, tree
from support.threads import LONG, states
from support.user import NOBODY, public_directory

from connector.config import CUSTOM_METRICS
from connector.kernel.dev import Counters

TOPIC = "$aws/things/local-core/defender/metrics/"
needs_mounts = pytest.mark.skipif(support_core.refusal() is not None, reason=str(support_core.refusal()))


@pytest.fixture
def directory() -> Iterator[Path]:
    with public_directory() as path:
        yield path


class Host:
    """A proc tree whose counters go up."""

    def __init__(self, directory: Path) -> None:
        self.directory = tree(directory / "proc")
        (self.directory / "sys" / "kernel" / "random").mkdir(parents=True)
        (self.directory / "sys" / "kernel" / "random" / "boot_id").write_text("b0071d00-0000-4000-8000-000000000001\n")
        (self.directory / "stat").write_text("cpu  1 0 1 1 0 0 0 0 0 0\nbtime 1700000000\n")
        self.counters = Counters(1000, 1000, 1000, 1000)
        self.pass_by(Counters(0, 0, 0, 0))

    def pass_by(self, numbers: Counters) -> None:
        self.counters = Counters(*(a + b for a, b in zip(self.counters, numbers)))
        new = self.directory / "1" / "net" / "dev.new"
        new.write_bytes(dev({"lo": (0, 0, 0, 0), "eth0": self.counters}))
        os.replace(str(new), str(self.directory / "1" / "net" / "dev"))


def accepted(core: LocalCore) -> List[Delivery]:
    """Return the reports, all of which the service must have accepted."""
    for delivery in core.deliveries:
        assert delivery.verdict is not None
        assert delivery.verdict.accepted, delivery
    return core.deliveries


def reported(deliveries: List[Delivery]) -> Counters:
    """Return the sum of the traffic in the reports."""
    stats = [delivery.report["metrics"].get("network_stats") for delivery in deliveries]
    numbers = [Counters(0, 0, 0, 0), *(Counters(**found) for found in stats if found)]
    return Counters(*map(sum, zip(*numbers)))


def lines(core: LocalCore, *words: str) -> List[str]:
    """Return the function's log lines with all these words, without their time."""
    found = [line.partition(" ")[2].partition(" ")[2] for line in core.function_log.splitlines()]
    return [line for line in found if all(word in line for word in words)]


def wait_until(ready: Callable[[], Any], core: LocalCore) -> None:
    end = time.monotonic() + LONG
    while not ready():
        assert time.monotonic() < end, core.function_log
        time.sleep(0.01)


def is_quiet(core: LocalCore) -> bool:
    """Return whether the log has no traceback, no error and no control characters."""
    bad = r"^Traceback|^\S+ \S+ (ERROR|CRITICAL)|[\x00-\x09\x0b-\x1f\x7f-\x9f]"
    return not re.search(bad, core.function_log, re.MULTILINE)


@pytest.mark.parametrize(
    ("report_format", "metric_names", "encoding_type"),
    [("json", "long", "json"), ("cbor", "short", "binary"), ("json", "short", "binary")],
)
def test_reports_of_this_machine_are_accepted(
    directory: Path, report_format: str, metric_names: str, encoding_type: str
) -> None:
    settings: Dict[str, Any] = {
        "ReportFormat": report_format,
        "MetricNames": metric_names,
        "CustomMetrics": ",".join(CUSTOM_METRICS),
        "LogLevel": "DEBUG",
    }
    with FunctionCore(directory, environment=settings, encoding_type=encoding_type) as core:
        first, second = core.wait_for_delivery(), core.wait_for_delivery()
        wait_until(lambda: lines(core, "was accepted by Device Defender"), core)
        status = Path("/proc", str(core.pid), "status").read_text()
        assert core.stop() == 0
    if support_core.refusal() is None:
        assert re.search(f"^Uid:\t{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}$", status, re.MULTILINE)
    assert first.topic == second.topic == TOPIC + report_format
    for delivery in accepted(core):
        assert len(delivery.payload) < 20_000
    metrics, custom, stats = ("metrics", "custom_metrics", "network_stats")
    if metric_names == "short":
        metrics, custom, stats = ("met", "cmet", "ns")
    assert stats not in first.report[metrics], "no reading to compare with yet"
    assert len(second.report[metrics]) == 4
    assert set(second.report[custom]) == set(CUSTOM_METRICS)
    assert is_quiet(core), core.function_log
    assert lines(core, "WARNING") == []


@needs_mounts
def test_faults_of_the_core_lose_no_byte_and_leave_nothing_behind(directory: Path) -> None:
    host = Host(directory)
    step = Counters(1_000_003, 70_001, 701, 303)
    with FunctionCore(directory, tree=host.directory) as core:
        core.wait_for_delivery()
        start = host.counters
        before = descriptors_at_rest(core)
        faults = ["reset", "status:403", "status:503", "cut", "full", "restart", "hang"]
        for fault in faults:
            core.faults.add(fault)
        for left in reversed(range(len(faults))):
            host.pass_by(step)
            assert core.faults.wait(LONG, left), core.function_log
        core.faults.release()  # dropped; the 30 s of patience are tested on a clock without waiting
        wait_until(lambda: lines(core, "INFO", "publishing: recovered"), core)
        core.faults.add("refuse", 3600)
        host.pass_by(step)
        wait_until(lambda: len(lines(core, "WARNING", "publishing: ")) == 2, core)
        core.faults.release()
        passed = Counters(*(now - then for now, then in zip(host.counters, start)))
        assert passed == Counters(*(8 * number for number in step))
        wait_until(lambda: reported(core.deliveries) == passed, core)
        assert descriptors_at_rest(core) == before
        assert core.stop() == 0
        deliveries = accepted(core)
    assert reported(deliveries) == passed
    assert [line.split()[0] for line in lines(core, "publishing: ")] == ["WARNING", "INFO"] * 2
    ids = [delivery.report["header"]["report_id"] for delivery in deliveries]
    assert ids == sorted(set(ids))
    assert is_quiet(core), core.function_log


@needs_mounts
def test_report_whose_answer_was_lost_is_sent_again(directory: Path) -> None:
    """Whether it was accepted can't be known: its traffic is reported at least once, later traffic once."""
    host = Host(directory)
    core = FunctionCore(directory, tree=host.directory)
    with core:
        core.wait_for_delivery()
        host.pass_by(Counters(1000, 100, 10, 1))
        core.faults.add("lost")
        assert core.faults.wait(LONG), core.function_log
        wait_until(lambda: lines(core, "INFO", "publishing: recovered"), core)
        host.pass_by(Counters(7, 7, 7, 7))
        wait_until(lambda: reported(core.deliveries).packets_out in (8, 9), core)
        assert core.stop() == 0
    stats = [delivery.report["metrics"].get("network_stats") for delivery in accepted(core)]
    amounts = [found["bytes_in"] for found in stats if found and found["bytes_in"]]
    assert amounts in ([1000, 1000, 7], [1000, 7])
    assert is_quiet(core), core.function_log


def test_redirect_is_not_an_acceptance_and_is_not_followed(directory: Path) -> None:
    """A 302 on the core's port, to a server that would answer 200: the report is not accepted, and is sent again."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(5)
        other.settimeout(0)
        with FunctionCore(directory) as core:
            core.wait_for_delivery()
            core.faults.add(f"redirect:{other.getsockname()[1]}")
            wait_until(lambda: lines(core, "INFO", "publishing: recovered"), core)
            assert core.stop() == 0
        with pytest.raises(BlockingIOError):
            other.accept()
    (warning,) = lines(core, "WARNING")
    assert "did not accept the message: Failed to invoke function due to HTTP Error 302" in warning
    assert is_quiet(core), core.function_log


def descriptors_at_rest(core: LocalCore) -> int:
    """Wait until the function has nothing to do; return how many descriptors it then has.

    Its three threads sleep then: the runtime's waits for work, on its connection to the core, the loop's for the next
    report, the third for SIGTERM.
    """
    counts: List[int] = []

    def rests() -> bool:
        if states(core.pid) != ["S"] * 3:
            return False
        counts.append(len(os.listdir(f"/proc/{core.pid}/fd")))
        return states(core.pid) == ["S"] * 3

    wait_until(rests, core)
    return counts[-1]


@needs_mounts
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_restart_with_a_state_directory_loses_no_byte(directory: Path, number: int) -> None:
    host = Host(directory)
    state = directory / "state"
    state.mkdir()
    state.chmod(0o777)
    settings: Dict[str, Optional[str]] = {"StateDirectory": str(state)}
    artifact = patient(directory / "function")
    with FunctionCore(directory, tree=host.directory, artifact=artifact, environment=settings) as core:
        core.wait_for_delivery()
        core.wait_for_delivery()
        host.pass_by(Counters(11, 22, 33, 44))
        if number == signal.SIGKILL:  # between the acceptance and the file it would have the report sent again
            wait_until(lambda: is_stopped_at_rest(core, state), core)
        os.kill(core.pid, number)
        wait_until(lambda: core.exit_code is not None, core)
        assert core.exit_code == (0 if number == signal.SIGTERM else -number)
        host.pass_by(Counters(1100, 2200, 3300, 4400))
        core.restart_function()
        wait_until(lambda: reported(core.deliveries) == Counters(1111, 2222, 3333, 4444), core)
        assert core.stop() == 0
        deliveries = accepted(core)
        (name,) = os.listdir(str(state))
        mode = (state / name).stat().st_mode
    assert reported(deliveries) == Counters(1111, 2222, 3333, 4444)
    assert [("network_stats" in delivery.report["metrics"]) for delivery in deliveries[:2]] == [False, True]
    assert mode & 0o777 == 0o600
    assert lines(core, "WARNING") == []


def is_stopped_at_rest(core: LocalCore, state: Path) -> bool:
    """Stop the function where it stands; return whether its file has all that the core has accepted, else let it go on.

    A report that is on its way has a thread of its own, besides the three that are always there.
    """
    os.kill(core.pid, signal.SIGSTOP)
    wait_until(lambda: set(states(core.pid)) == {"T"}, core)
    document = json.loads((state / "device-defender-connector.json").read_text())
    accepted_last = core.deliveries[-1].report["header"]["report_id"]
    if len(states(core.pid)) == 3 and document["report_id"] == accepted_last:
        return True
    os.kill(core.pid, signal.SIGCONT)
    return False


@needs_mounts
def test_proc_unmounted_and_mounted_again_needs_no_restart(directory: Path) -> None:
    host = Host(directory)
    net = host.directory / "1" / "net"
    with FunctionCore(directory, tree=host.directory) as core:
        core.wait_for_delivery()
        net.rename(net.with_name("away"))
        wait_until(lambda: lines(core, "WARNING", "network tables: "), core)
        net.with_name("away").rename(net)
        host.pass_by(Counters(5, 6, 7, 8))
        wait_until(lambda: lines(core, "INFO", "network tables: recovered"), core)
        wait_until(lambda: reported(core.deliveries) == Counters(5, 6, 7, 8), core)
        assert core.stop() == 0
    assert reported(accepted(core)) == Counters(5, 6, 7, 8)
    warning, _ = lines(core, "network tables: ")
    assert warning.startswith("WARNING")
    assert warning.endswith("is the host's /proc mounted there?")


@needs_mounts
def test_unwritable_state_directory_is_one_warning(directory: Path) -> None:
    host = Host(directory)
    state = directory / "state"
    state.mkdir()  # root's
    with FunctionCore(directory, tree=host.directory, environment={"StateDirectory": str(state)}) as core:
        for _ in range(3):
            core.wait_for_delivery()
        assert core.stop() == 0
    (line,) = lines(core, "WARNING")
    assert line.endswith(f"StateDirectory: {state}/device-defender-connector.json can't be written: Permission denied")


def test_verdict_is_logged_and_other_messages_are_ignored(directory: Path) -> None:
    rejected = TOPIC + "json/rejected"
    table = [
        Subscription(FUNCTION_ARN, TOPIC + "json", "cloud"),
        Subscription("cloud", TOPIC + "json/+", FUNCTION_ARN),
        Subscription("cloud", "test/#", FUNCTION_ARN),
    ]
    with FunctionCore(directory, interval=300, encoding_type="binary", subscriptions=table) as core:
        core.wait_for_delivery()
        for payload in (
            b"\x1b[2J\r\nforged",
            b'{"a":' * 12,
            b"\x81" * 12,
            b"[" * 12 + b"x" * 100_000,
            b"",
            b'{"thingName":"other"}',
        ):
            for topic in (rejected, "test/x"):
                assert core.send(topic, payload)
        answer = {"thingName": "local-core", "reportId": 1, "status": "REJECTED"}
        answer["statusDetails"] = {"ErrorCode": "\x1b[31mThrottled", "ErrorMessage": "no\r\nERROR more"}
        assert core.send(rejected, json.dumps(answer).encode())
        wait_until(lambda: lines(core, "was rejected"), core)
        assert core.stop() == 0
    assert is_quiet(core), core.function_log
    ignored, rejection = lines(core, "WARNING")
    assert "ignored a message that is not an answer to this thing's reports, on topic" in ignored
    assert "report 1 was rejected: ?[31mThrottled: no??" in rejection


def test_missing_subscription_is_logged_with_what_to_add(directory: Path) -> None:
    with FunctionCore(directory, interval=300, subscriptions=[]) as core:
        wait_until(lambda: lines(core, "publishing: "), core)
        assert core.stop() == 0
    (line,) = lines(core, "publishing: ")
    assert "no subscription carries the message: add one with this function" in line
    assert is_quiet(core), core.function_log


def test_mount_path_of_the_tests_is_a_valid_parameter() -> None:
    assert re.fullmatch(r"/[a-zA-Z0-9_-]+", PROC)
