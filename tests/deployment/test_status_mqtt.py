"""deploy.py status --mqtt: the answers to the cores' next reports, from a broker on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from mqtt_broker import Broker
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


def test_broker_that_is_not_there_fails(deployed: Any, start: Any, capsys: Any) -> None:
    broker = start()
    broker.close()
    assert status(deployed, "--mqtt", broker.address) == 1
    assert f"deploy.py: --mqtt {broker.address}: [Errno 111] Connection refused" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["localhost", "localhost:mqtt", ":1883", "localhost:70000"])
def test_address_that_is_none_is_refused(deployed: Any, capsys: Any, address: str) -> None:
    assert status(deployed, "--mqtt", address) == 2
    assert f"--mqtt {address}: expected HOST:PORT, such as localhost:1883" in capsys.readouterr().err


def test_topic_without_the_things_name_cannot_be_listened_to(core: Any, make_zip: Any, capsys: Any) -> None:
    apply(core, "--zip", make_zip(), "--MetricsTopic", "site/all")
    assert core.deploy("v2", "status", "--thing=gw-1", "--mqtt", "localhost:1") == 2
    assert "--mqtt: the topic site/all has no level {thing}: answers don't name their thing" in capsys.readouterr().err
