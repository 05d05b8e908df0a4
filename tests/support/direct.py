"""The connector's loop over real MQTT: a host of the test's own, a clock that runs ahead, and who reads the reports."""

from __future__ import annotations

import json
import logging
import random
import re
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from connector import config
from connector.agent import assemble, run
from connector.kernel.dev import Counters
from connector.snapshot import Snapshot, Source, Wanted
from connector.transports import Transport
from connector.transports.mqtt import MqttTransport, Settings
from connector.transports.mqtt_connection import MQTT_5
from connector.transports.tls import Endpoint, make_context
from support.broker import MAX_WAIT_SECONDS, OBSERVER
from support.loop import FakeClock, Host
from support.pki import Authority, Pair

DEVICE = "device"
CLIENT_ID = "device-device-defender"
TOPIC = f"$aws/things/{DEVICE}/defender/metrics/json"
# As an AWS IoT policy for one thing: publish reports, subscribe to the answers.
ACL = f"""\
user {DEVICE}
topic write {TOPIC}
topic read {TOPIC}/accepted
topic read {TOPIC}/rejected
"""


class Log(logging.Handler):
    """Keeps log lines as "LEVEL text", from any thread, and lets a test wait for one."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: List[str] = []
        self._changed = threading.Condition()

    def emit(self, record: logging.LogRecord) -> None:
        with self._changed:
            self.lines.append(f"{record.levelname} {record.getMessage()}")
            self._changed.notify_all()

    def wait_for(self, words: str, times: int = 1) -> str:
        """Return the nth line with these words. Fails after MAX_WAIT_SECONDS."""
        with self._changed:
            found = self._changed.wait_for(lambda: len(self.having(words)) >= times, MAX_WAIT_SECONDS)
            assert found, f"no {times} lines with {words!r} in {self.lines}"
            return self.having(words)[times - 1]

    def wait_until_connected(self) -> None:
        """Return while there is a connection, as far as the log tells."""

        def connected() -> bool:
            # Not "publishing: not connected to", which a report during the outage logs.
            changes = [line for line in self.lines if re.match("[A-Z]+ connect(ed|ion) to localhost:", line)]
            return bool(changes) and " connected to " in changes[-1]

        with self._changed:
            assert self._changed.wait_for(connected, MAX_WAIT_SECONDS), f"no connection: {self.lines}"

    def having(self, words: str) -> List[str]:
        return [line for line in self.lines if words in line]

    @property
    def warnings(self) -> List[str]:
        return [line for line in self.lines if line.startswith("WARNING ")]


def logger(log: Log, level: int = logging.DEBUG) -> logging.Logger:
    made = logging.Logger("test", level)
    made.addHandler(log)
    return made


def endpoint(port: int, authority: Authority, device: Pair, **more: Any) -> Endpoint:
    values: Dict[str, Any] = {"host": "localhost", "ca_file": str(authority.file), **more}
    return Endpoint(port=port, cert_file=str(device.cert), key_file=str(device.key), **values)


def transport(where: Endpoint, log: Log, monotonic: Callable[[], float] = time.monotonic, **more: Any) -> MqttTransport:
    settings = Settings(where, **{"client_id": CLIENT_ID, "protocol": MQTT_5, **more})
    made = MqttTransport(settings, make_context(where), random.Random(4), logger(log), monotonic)
    made.on_message = lambda message, topic: None
    return made


class Observer:
    """Subscribes to every report at the broker, as AWS IoT Device Defender would; keeps what it gets."""

    def __init__(self, port: int, authority: Authority, pair: Pair) -> None:
        self.messages: List[Tuple[str, bytes]] = []
        self._subscribed = 0
        self._changed = threading.Condition()
        context = ssl.create_default_context(cafile=str(authority.file))
        context.load_cert_chain(str(pair.cert), str(pair.key))
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=OBSERVER, protocol=paho.MQTTv5)
        self._client.tls_set_context(context)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.connect("localhost", port)
        self._client.loop_start()
        self.wait_until_subscribed(1)

    def _on_connect(self, *_: Any) -> None:
        self._client.subscribe([("#", 1), ("$aws/#", 1)])

    def _on_subscribe(self, *_: Any) -> None:
        with self._changed:
            self._subscribed += 1
            self._changed.notify_all()

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        with self._changed:
            self.messages.append((message.topic, message.payload))
            self._changed.notify_all()

    def wait_until_subscribed(self, times: int) -> None:
        """Return once it has subscribed so often: anew after each restart of the broker."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._subscribed >= times, MAX_WAIT_SECONDS)

    def wait_for(self, count: int) -> List[Dict[str, Any]]:
        """Return the reports, once there are so many."""
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(self.messages) >= count, MAX_WAIT_SECONDS)
            assert arrived, f"{len(self.messages)} messages instead of {count}"
            return [json.loads(payload.decode()) for topic, payload in self.messages if topic == TOPIC]

    def publish(self, topic: str, payload: bytes) -> None:
        self._client.publish(topic, payload, qos=1).wait_for_publish(MAX_WAIT_SECONDS)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Gate:
    """A TCP proxy in front of a port. Held, it swallows what comes and passes nothing, with connections open."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._open = threading.Event()
        self._open.set()
        self._sockets: List[socket.socket] = []
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(8)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def held(self) -> bool:
        return not self._open.is_set()

    def hold(self) -> None:
        self._open.clear()

    def release(self, dead: bool = False) -> None:
        """Pass on again. dead: what was open before stays dead, as after a reboot of a router."""
        if dead:
            for one in self._sockets:
                one.close()
            self._sockets.clear()
        self._open.set()

    def _accept(self) -> None:
        while True:
            try:
                near = self._listener.accept()[0]
                far = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                if self._listener.fileno() < 0:
                    return
                near.close()
                continue
            self._sockets += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while True:
                data = one.recv(65536)
                self._open.wait()
                if not data:
                    break
                other.sendall(data)
        except OSError:
            pass
        for end in (one, other):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # ends the wait for the next connection
        self._listener.close()
        self.release(dead=True)


class DirectLoop(Transport):
    """A connector's loop on a fake host and over a real transport.

    Its clock moves as fast as the broker allows. patient: while a call is under way, a wait is for its end; not where
    the broker does not answer. up: while there is no connection, a wait is for the next; not where the broker is away.
    """

    def __init__(self, root: Path, inner: MqttTransport, log: Log, **settings: str) -> None:
        self.clock = _Clock(self)
        self.host = Host(root / "host_proc")
        self.log = log
        self.patient = True
        self.up = True
        self.accepted = 0  # messages
        self.peer = inner.peer
        self._inner = inner
        self._running = 0
        self._changed = threading.Condition()
        self._rng = random.Random(7)
        self._seen: List[Counters] = []  # by reading
        self._failures: List[BaseException] = []
        self._settings = {"AWS_IOT_THING_NAME": DEVICE, **settings}

    def start(self, topics: Any) -> None:
        self._inner.on_message = self.on_message
        self._inner.start(topics)

    def send(self, topic: str, payload: bytes) -> None:
        self._inner.send(topic, payload)
        with self._changed:
            self.accepted += 1

    def close(self) -> None:
        self._inner.close()

    def wake_connection(self) -> None:
        """Have the transport look at its clock, as it does when the time that it waits for has passed."""
        self._inner._wake()

    def run(self, seconds: float) -> None:
        """Report for so long, from a start to a stop."""
        parsed, warnings = config.parse(self._settings)
        assert not warnings
        wanted = parsed.wanted._replace(proc=str(self.host.directory))
        self.clock.at(self.clock.monotonic() + seconds, self.clock.stop)
        made = logger(self.log)
        reporter = assemble(
            parsed._replace(wanted=wanted), self, self.clock, random.Random(4), made, self._source, self._beside
        )
        run(reporter, self, made)
        if self._failures:
            raise self._failures[0]

    def at(self, seconds: float, happen: Callable[[], object]) -> None:
        """Plan something for so many seconds after now. What it raises ends the run, and fails it."""

        def checked() -> None:
            try:
                happen()
            except BaseException as error:  # the loop would go on after it
                self._failures.append(error)
                self.clock.stop()

        self.clock.at(self.clock.monotonic() + seconds, checked)

    def answered(self) -> None:
        """Wait until no call is under way."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._running == 0, MAX_WAIT_SECONDS), "a call is not answered"

    @property
    def passed(self) -> Counters:
        """The traffic between the first reading and the last."""
        first, last = self._seen[0], self._seen[-1]
        return Counters(*(after - before for before, after in zip(first, last)))

    def _source(self, wanted: Wanted, rng: random.Random) -> Source:
        agent = self

        class HostSource(Source):
            """Reads the made host, whose interface has carried something since the reading before."""

            def take(self) -> Snapshot:
                sizes = [agent._rng.randrange(1, 10**6) for _ in range(2)]
                packets = [agent._rng.randrange(100, 10**4) for _ in range(2)]
                agent.host.passed("eth0", *sizes, *packets)
                agent.host.write()
                agent._seen.append(Counters(*agent.host.interfaces["eth0"]))
                return super().take()

        return HostSource(wanted, rng, own=str(self.host.directory / "none"))

    def _beside(self, call: Callable[[], None]) -> None:
        def run_call() -> None:
            call()
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

        with self._changed:
            self._running += 1
        threading.Thread(target=run_call, daemon=True).start()


class _Clock(FakeClock):
    def __init__(self, loop: DirectLoop) -> None:
        super().__init__()
        self._loop = loop

    def wait(self, seconds: float) -> None:
        if self._loop.patient:
            self._loop.answered()
            if self._loop.up:
                self._loop.log.wait_until_connected()
        super().wait(seconds)


def total(reports: List[Dict[str, Any]]) -> Counters:
    """Return the traffic that reports say passed, in all."""
    numbers = [_counters(report["metrics"].get("network_stats")) for report in reports]
    return Counters(*(sum(column) for column in zip(*numbers)))


def _counters(stats: Optional[Dict[str, int]]) -> Counters:
    return Counters(0, 0, 0, 0) if stats is None else Counters(**stats)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that nothing else announces. Fails after MAX_WAIT_SECONDS."""
    end = time.monotonic() + MAX_WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)
