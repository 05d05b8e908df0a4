"""The built zip judges security profiles of its own and of a file, under a core that has faults."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest
from local_core import LocalCore, read_profile
from support import core as support_core
from support.core import PROC, FunctionCore
from support.proc import V4_NOBODY, tcp, tree
from support.threads import LONG
from support.user import public_directory

pytestmark = pytest.mark.skipif(support_core.refusal() is not None, reason=str(support_core.refusal()))
ROOT = Path(__file__).resolve().parents[2]
PROFILES = ROOT / "packaging" / "security_profiles"


class Device:
    """A proc tree in whose tables ports are listening."""

    def __init__(self, directory: Path) -> None:
        self.tree = tree(directory / "proc")
        random = self.tree / "sys" / "kernel" / "random"
        random.mkdir(parents=True)
        (random / "boot_id").write_text("b0071d00-0000-4000-8000-000000000001\n")
        self.listens_on()

    def listens_on(self, *ports: int) -> None:
        table = self.tree / "1" / "net" / "tcp"
        new = table.with_name("tcp.new")
        new.write_bytes(tcp(*[(f"0.0.0.0:{port}", V4_NOBODY, "LISTEN") for port in ports]))
        os.replace(str(new), str(table))


@pytest.fixture
def directory() -> Iterator[Path]:
    with public_directory() as path:
        yield path


@pytest.fixture
def device(directory: Path) -> Device:
    return Device(directory)


def wait_until(ready: Callable[[], Any], core: LocalCore) -> None:
    end = time.monotonic() + LONG
    while not ready():
        assert time.monotonic() < end, core.function_log
        time.sleep(0.02)


def types(events: List[Dict[str, Any]]) -> List[str]:
    return [f"{event['violationEventType']} {event['behavior']['name']}" for event in events]


def without_time(event: Dict[str, Any]) -> Dict[str, Any]:
    """Return the event without its time, and without its id, which depends on the time."""
    return {name: value for name, value in event.items() if name not in ("violationEventTime", "violationId")}


def test_alarms_of_the_zip_are_those_that_the_service_would_raise(directory: Path, device: Device) -> None:
    settings = {"ProcDestinationPath": PROC, "SecurityProfiles": "RemoteManagementPorts"}
    profiles = [read_profile(PROFILES / "RemoteManagementPorts.json")]
    with FunctionCore(directory, device.tree, environment=settings, profiles=profiles) as core:
        core.wait_for_delivery()
        device.listens_on(443, 2323)
        wait_until(lambda: len(core.violations) == 1, core)
        device.listens_on(443)
        wait_until(lambda: len(core.violations) == len(core.alarms) == 2, core)
        assert core.stop() == 0
    assert types(core.violations) == ["in-alarm TcpManagementPorts", "alarm-cleared TcpManagementPorts"]
    assert [without_time(event) for event in core.violations] == [without_time(event) for event in core.alarms]
    for event, alarm in zip(core.violations, core.alarms):
        # The service has the time from the report's id, which is one more than the last one's if both are made within a
        # second, as after a report that was held up.
        assert event["violationId"] == core.violations[0]["violationId"]
        assert 0 <= alarm["violationEventTime"] - event["violationEventTime"] <= 2000
    assert core.violations[0]["metricValue"] == {"ports": [2323]}
    assert "WARNING connector: alarm RemoteManagementPorts/TcpManagementPorts: aws:listening-tcp-ports is 2323" in (
        core.function_log
    )


@pytest.mark.parametrize("fault", ["status:503", "reset", "lost", "full", "restart"])
def test_faults_of_the_core_lose_no_event(directory: Path, device: Device, fault: str) -> None:
    settings = {"ProcDestinationPath": PROC, "SecurityProfiles": "RemoteManagementPorts"}
    with FunctionCore(directory, device.tree, environment=settings) as core:
        core.wait_for_delivery()
        core.faults.add(fault, 2)
        device.listens_on(23)
        wait_until(lambda: types(core.violations)[-1:] == ["in-alarm TcpManagementPorts"], core)
        device.listens_on()
        wait_until(lambda: types(core.violations)[-1:] == ["alarm-cleared TcpManagementPorts"], core)
        assert core.stop() == 0
    kinds = types(core.violations)
    assert kinds == sorted(kinds, reverse=True)  # told at least once, the beginning before the end
    assert {event["violationId"] for event in core.violations} == {core.violations[0]["violationId"]}


def test_alarm_clears_after_a_restart_of_the_function(directory: Path, device: Device) -> None:
    state = directory / "state"
    state.mkdir()
    state.chmod(0o777)
    mine = directory / "mine.json"
    mine.write_text(
        json.dumps(
            {
                "securityProfileName": "Mine",
                "behaviors": [
                    {
                        "name": "Ports",
                        "metric": "aws:listening-tcp-ports",
                        "criteria": {"comparisonOperator": "in-port-set", "value": {"ports": [443]}},
                    }
                ],
            }
        )
    )
    settings = {
        "ProcDestinationPath": PROC,
        "SecurityProfiles": f"{mine},Missing",
        "StateDirectory": str(state),
        "ViolationsTopic": "alarms/{thing}",
    }
    with FunctionCore(directory, device.tree, environment=settings) as core:
        core.wait_for_delivery()
        device.listens_on(443, 4444)
        wait_until(lambda: core.violations, core)
        core.restart_function()
        device.listens_on(443)
        wait_until(lambda: types(core.violations)[-1:] == ["alarm-cleared Ports"], core)
        assert core.stop() == 0
    # The beginning is published again if the function was stopped before it had the core's answer.
    assert types(core.violations) in (
        ["in-alarm Ports", "alarm-cleared Ports"],
        ["in-alarm Ports", "in-alarm Ports", "alarm-cleared Ports"],
    )
    assert {event["violationId"] for event in core.violations} == {core.violations[0]["violationId"]}
    assert {delivery.topic for delivery in core.deliveries if delivery.verdict is None} == {"alarms/local-core"}
    assert core.function_log.count("SecurityProfiles: Missing is not used: no profile of this name comes with") == 2
