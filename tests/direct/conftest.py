"""What the tests of `python -m connector run` share: certificates, a broker, who reads there, and a log."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Iterator, List, NamedTuple

import pytest
from support.broker import OBSERVER, Broker
from support.direct import ACL, DEVICE, TOPIC, Gate, Log, Observer, endpoint, transport
from support.pki import Authority, Pair
from support.small_broker import SmallBroker

from connector.transports import mqtt
from connector.transports.mqtt import MqttTransport

ANSWERS = [TOPIC + "/accepted", TOPIC + "/rejected"]

Small = Callable[..., SmallBroker]
Connect = Callable[..., MqttTransport]


class Certificates(NamedTuple):
    """authority: signs all of them. device: of the connector."""

    authority: Authority
    device: Pair
    observer: Pair


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    return Certificates(authority, authority.issue(DEVICE), authority.issue(OBSERVER))


@pytest.fixture
def make_broker(tmp_path: Path, certificates: Certificates) -> Iterator[Callable[..., Broker]]:
    """Make brokers, which end with the test."""
    made: List[Broker] = []

    def make(acl: str = ACL, **more: Any) -> Broker:
        directory = tmp_path / f"broker-{len(made)}"
        directory.mkdir()
        made.append(Broker(directory, certificates.authority, acl, **more))
        return made[-1].start()

    yield make
    for broker in made:
        broker.stop()


@pytest.fixture
def broker(make_broker: Callable[..., Broker]) -> Broker:
    return make_broker()


@pytest.fixture
def observer(broker: Broker, certificates: Certificates) -> Iterator[Observer]:
    made = Observer(broker.port, certificates.authority, certificates.observer)
    yield made
    made.close()


@pytest.fixture
def gate(broker: Broker) -> Iterator[Gate]:
    made = Gate(broker.port)
    yield made
    made.close()


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses between attempts to connect."""
    monkeypatch.setattr(mqtt, "MIN_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(mqtt, "MAX_PAUSE_SECONDS", 0.2)


@pytest.fixture(scope="session")
def server(certificates: Certificates) -> Pair:
    return certificates.authority.issue("small-broker", hosts=("localhost",))


@pytest.fixture
def small(certificates: Certificates, server: Pair) -> Iterator[Callable[..., SmallBroker]]:
    made: List[SmallBroker] = []

    def make(**behaviour: Any) -> SmallBroker:
        made.append(SmallBroker(certificates.authority, server, **behaviour))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def connect(certificates: Certificates, log: Log) -> Iterator[Callable[..., MqttTransport]]:
    """Start transports to a port, which are closed with the test."""
    made: List[MqttTransport] = []

    def make(port: int, topics: Any = ANSWERS, where: Any = None, **more: Any) -> MqttTransport:
        one = transport(where or endpoint(port, certificates.authority, certificates.device), log, **more)
        made.append(one)
        one.start(topics)
        return one

    yield make
    for one in made:
        one.close()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> List[float]:
    """Return the seconds that transports wait at most for their connections, in a list that grows."""
    seconds_of_each: List[float] = []
    real = MqttTransport._poll

    def poll(self: MqttTransport, descriptor: int, events: int, seconds: float) -> int:
        seconds_of_each.append(seconds)
        return real(self, descriptor, events, seconds)

    monkeypatch.setattr(MqttTransport, "_poll", poll)
    return seconds_of_each
