"""deploy.py status --mqtt: the answers to the cores' next reports, from a broker on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mqtt_broker import Broker
from support.ports import free_port
from v2_target import apply

TOPIC = "$aws/things/{}/defender/metrics/json"


@pytest.fixture
def start() -> Iterator[Any]:
    brokers = []

    def make(*messages: tuple[str, bytes], refuses: bool = False) -> Broker:
        brokers.append(Broker(list(messages), refuses))
        return brokers[-1]

    yield make
    for broker in brokers:
        broker.close()


@pytest.fixture
def deployed(core: Any, make_zip: Any, capsys: Any) -> Any:
    core.greengrass_v2.next_job = [{"numberOfSucceededThings": 2}]
    core.greengrass_v2.executions = {"gw-1": "SUCCEEDED", "gw-2": "SUCCEEDED"}
    assert apply(core, "--zip", make_zip(), target="--thing-group=fleet") == 0
    capsys.readouterr()
    return core


def status(account: Any, *flags: str) -> int:
    code: int = account.deploy("v2", "status", "--thing-group=fleet", *flags)
    return code


def test_answers_show_when_each_core_reported_and_what_came_of_it(deployed: Any, start: Any, capsys: Any) -> None:
    rejected = json.dumps({"status": "REJECTED", "statusDetails": {"ErrorCode": "InvalidPayload"}}).encode()
    others = (TOPIC.format("lamp") + "/accepted", b"{}")
    broker = start(others, (TOPIC.format("gw-1") + "/accepted", b"{}"), (TOPIC.format("gw-2") + "/rejected", rejected))
    assert status(deployed, "--mqtt", broker.address) == 0
    assert broker.filters == [TOPIC.format("+") + "/accepted", TOPIC.format("+") + "/rejected"]
    output = capsys.readouterr().out
    assert "last report 2025-01-01 00:00 UTC, accepted\n" in output
    assert "last report 2025-01-01 00:00 UTC, rejected (InvalidPayload)\n" in output
    assert "not known" not in output


def test_core_without_an_answer_is_named(deployed: Any, start: Any, capsys: Any) -> None:
    broker = start((TOPIC.format("gw-1") + "/accepted", b"{}"))
    assert status(deployed, "--mqtt", broker.address, "--mqtt-wait", "0.5") == 0
    assert "Last reports are not known: no answer in 0.5 s to a report of gw-2.\n" in capsys.readouterr().out


@pytest.mark.parametrize("payload", [b"", b"\xa1\x00", b"[]", b'{"statusDetails": {"ErrorCode": "a b"}}', b"1" * 5000])
def test_rejection_without_a_readable_code_is_a_rejection(
    deployed: Any, start: Any, capsys: Any, payload: bytes
) -> None:
    broker = start((TOPIC.format("gw-1") + "/accepted", b"{}"), (TOPIC.format("gw-2") + "/rejected", payload))
    assert status(deployed, "--mqtt", broker.address) == 0
    assert "last report 2025-01-01 00:00 UTC, rejected\n" in capsys.readouterr().out


def test_broker_that_refuses_fails(deployed: Any, start: Any, capsys: Any) -> None:
    broker = start(refuses=True)
    assert status(deployed, "--mqtt", broker.address) == 1
    assert f"deploy.py: --mqtt {broker.address}: refused: Not authorized" in capsys.readouterr().err


def test_broker_that_is_not_there_fails(deployed: Any, capsys: Any) -> None:
    address = f"127.0.0.1:{free_port()}"
    assert status(deployed, "--mqtt", address) == 1
    assert f"deploy.py: --mqtt {address}: [Errno 111] Connection refused" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["localhost", "localhost:mqtt", ":1883", "localhost:70000"])
def test_address_that_is_none_is_refused(deployed: Any, capsys: Any, address: str) -> None:
    assert status(deployed, "--mqtt", address) == 2
    assert f"--mqtt {address}: expected HOST:PORT, such as localhost:1883" in capsys.readouterr().err


def test_topic_without_the_things_name_cannot_be_listened_to(core: Any, make_zip: Any, capsys: Any) -> None:
    apply(core, "--zip", make_zip(), "--MetricsTopic", "site/all")
    assert core.deploy("v2", "status", "--thing=gw-1", "--mqtt", "localhost:1") == 2
    assert "--mqtt: the topic site/all has no level {thing}: answers don't name their thing" in capsys.readouterr().err


@pytest.fixture
def judging(core: Any, make_zip: Any, tmp_path: Path, capsys: Any) -> Any:
    """An account whose thing gw-1 judges a profile."""
    ports = {"comparisonOperator": "in-port-set", "value": {"ports": [22]}}
    behavior = {"name": "Open", "metric": "aws:listening-tcp-ports", "criteria": ports}
    profile = tmp_path / "Gateway.json"
    profile.write_text(json.dumps({"securityProfileName": "Gateway", "behaviors": [behavior]}))

    def deploy(*flags: str) -> None:
        assert apply(core, "--zip", make_zip(), "--security-profiles", str(profile), *flags) == 0
        capsys.readouterr()

    return deploy


def event(thing: str = "gw-1") -> bytes:
    criteria = {"comparisonOperator": "in-port-set", "value": {"ports": [22]}}
    document = {
        "violationEventTime": 1735689600000,
        "thingName": thing,
        "behavior": {"name": "Open", "metric": "aws:listening-tcp-ports", "criteria": criteria},
        "violationEventType": "in-alarm",
        "violationId": "37e18651d207bbc74236c13faf146127",
        "securityProfileName": "Gateway",
        "metricValue": {"ports": [23]},
        "violatingElementCount": 1,
    }
    return json.dumps(document).encode()


def test_alarms_while_listening_are_shown(core: Any, judging: Any, start: Any, capsys: Any) -> None:
    judging()
    alarms, accepted = "device-defender/gw-1/violations", (TOPIC.format("gw-1") + "/accepted", b"{}")
    others = [
        ("device-defender/lamp/violations", event("lamp")),
        (alarms, b"no event"),
        (alarms, b'{"thingName": "gw-1"}'),
    ]
    for flags in ([], ["--json"]):
        broker = start(*others, (alarms, event()), accepted)
        assert core.deploy("v2", "status", "--thing=gw-1", "--mqtt", broker.address, *flags) == 0
        assert broker.filters[2:] == ["device-defender/+/violations"]
        output = capsys.readouterr().out
        if flags:
            assert json.loads(output)["alarms"] == [json.loads(event())]
        else:
            assert (
                "Alarms while listening:\n  2025-01-01 00:00:00 gw-1: alarm Gateway/Open: aws:listening-tcp-ports is "
                "23; normal is in-port-set 22\nEvery core has it"
            ) in output


def test_no_alarm_while_listening_is_stated(core: Any, judging: Any, start: Any, capsys: Any) -> None:
    judging()
    broker = start((TOPIC.format("gw-1") + "/accepted", b"{}"))
    assert core.deploy("v2", "status", "--thing=gw-1", "--mqtt", broker.address) == 0
    assert "\nNo alarm began or ended while listening.\n" in capsys.readouterr().out


def test_alarms_of_basic_ingest_cannot_be_listened_to(core: Any, judging: Any, start: Any, capsys: Any) -> None:
    judging("--ViolationsTopic", "$aws/rules/Alarms/{thing}")
    broker = start((TOPIC.format("gw-1") + "/accepted", b"{}"))
    assert core.deploy("v2", "status", "--thing=gw-1", "--mqtt", broker.address) == 0
    assert len(broker.filters) == 2
    assert "Alarms are not known: they go to $aws/rules/Alarms/{thing}, which only" in capsys.readouterr().out
