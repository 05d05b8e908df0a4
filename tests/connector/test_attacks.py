"""Attacks over real sockets in a network namespace of the test's own: each alarms when it happens, and clears."""

from __future__ import annotations

from typing import Any

import pytest
from support import namespace

pytestmark = pytest.mark.skipif(namespace.refusal() is not None, reason=str(namespace.refusal()))

SOCKETS = 2000  # others at the time; tests/tools/attacks.py takes 18,000
ATTACKS = ["Exfiltration", "Backdoor", "Destination", "Scan", "NewUdpService"]
# Two ordinary readings, then each attack for one reading, and an ordinary one after it.
EXPECTED = [
    event
    for number, name in enumerate(ATTACKS)
    for event in ([2 + 2 * number, f"in-alarm {name}"], [3 + 2 * number, f"alarm-cleared {name}"])
]


@pytest.fixture(scope="module")
def seen() -> Any:
    return namespace.play("attacks", str(SOCKETS), "none", script=namespace.ATTACKS)


def test_each_attack_alarms_at_its_reading_and_clears_at_the_next(seen: Any) -> None:
    assert [event[:2] for event in seen["events"]] == EXPECTED
    assert seen["reports"] == 13


def test_one_destination_is_found_among_thousands(seen: Any) -> None:
    values = {summary: value for _, summary, value in seen["events"]}
    assert values["in-alarm Destination"] == {"cidrs": ["203.0.113.9"]}
    assert values["in-alarm Backdoor"] == {"ports": [31337]}
    assert values["in-alarm NewUdpService"] == {"ports": [1900]}
    assert seen["established"] >= SOCKETS


def test_log_has_a_line_for_each_beginning_and_end(seen: Any) -> None:
    alarms = [line for line in seen["log"] if "alarm Attacks/" in line]
    assert [line.split()[0] for line in alarms] == ["WARNING", "INFO"] * len(ATTACKS)


def test_faults_of_the_core_meanwhile_lose_no_event_and_keep_the_order() -> None:
    seen = namespace.play("attacks", "20", "faults", script=namespace.ATTACKS)
    assert [event[1] for event in seen["events"]] == [summary for _, summary in EXPECTED]
