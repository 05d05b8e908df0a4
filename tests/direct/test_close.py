"""How the transport ends: at once, whatever it is waiting for, and with a word to the broker."""

from __future__ import annotations

import itertools
import socket
import threading
from typing import Any, List

import pytest
from direct.conftest import Connect, Small
from support.broker import MAX_WAIT_SECONDS
from support.direct import TOPIC, wait_until
from support.loop import HOUR
from support.small_broker import CONNECT, DISCONNECT, PUBLISH, SILENT

from connector.errors import PublishError
from connector.transports import mqtt, mqtt_connection


@pytest.mark.parametrize("behaviour", [{}, {"publish": SILENT}, {"connect": SILENT}, {"connect": 135}])
def test_close_ends_every_send_at_once(
    small: Small, connect: Connect, waits: List[float], behaviour: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once: every time-out and pause is an hour here, so none of them has passed."""
    for name in ("MIN_PAUSE_SECONDS", "MAX_PAUSE_SECONDS", "MAX_CLOSE_SECONDS"):
        monkeypatch.setattr(mqtt, name, HOUR)
    for name in ("MAX_ANSWER_SECONDS", "MAX_SEND_SECONDS"):
        monkeypatch.setattr(mqtt_connection, name, HOUR)
    broker = small(**behaviour)
    one = connect(broker.port)
    errors: List[Exception] = []

    def send() -> None:
        try:
            one.send(TOPIC, b"{}")
        except PublishError as error:
            errors.append(error)

    sender = threading.Thread(target=send)
    sender.start()
    broker.wait_for(CONNECT)
    if "publish" in behaviour:
        broker.wait_for(PUBLISH)
    elif not behaviour:
        sender.join(MAX_WAIT_SECONDS)
    wait_until(lambda: waits[-1:] > [MAX_WAIT_SECONDS], "the transport never rests")
    closer = threading.Thread(target=one.close, daemon=True)
    closer.start()
    for thread in (closer, sender):
        thread.join(MAX_WAIT_SECONDS)
        assert not thread.is_alive()
    assert bool(errors) == bool(behaviour)
    with pytest.raises(PublishError, match="closed"):
        one.send(TOPIC, b"{}")


def test_close_waits_less_than_a_second_for_a_name_that_takes_long_to_resolve(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def getaddrinfo(*_: Any) -> None:
        asked.set()
        go_on.wait(MAX_WAIT_SECONDS)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    looks = itertools.count()  # at the clock, which moves by 0.01 s with each
    one = connect(8883, monotonic=lambda: next(looks) / 100)
    assert asked.wait(MAX_WAIT_SECONDS)
    before = next(looks)
    one.close()
    assert (next(looks) - before) / 100 < 1.0
    go_on.set()


def test_close_says_disconnect_to_the_broker(small: Small, connect: Connect) -> None:
    broker = small()
    one = connect(broker.port)
    one.send(TOPIC, b"{}")
    one.close()
    broker.wait_for(DISCONNECT)
