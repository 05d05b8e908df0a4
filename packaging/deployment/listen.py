"""Listen on an MQTT broker for Device Defender's answers, and for the connector's alarms."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from detection import watch
from paho.mqtt.enums import CallbackAPIVersion

from deployment.errors import DeployError, UsageError
from deployment.settings import filter_of

CONNECT_SECONDS = 10.0
MAX_ANSWER_BYTES = 4096  # the service's answers have some 200; anything longer is ignored
MAX_EVENT_BYTES = 128 << 10  # AWS IoT's limit of a message
MAX_EVENTS = 100  # of which the last are kept
BASIC_INGEST = "$aws/rules/"


@dataclass(frozen=True)
class Certificates:
    """Files for a connection with TLS, as AWS IoT Core's endpoint wants it; none for one without."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True)
class Answer:
    """One answer of the service.

    moment: when it arrived here
    verdict: accepted, or rejected with the service's code
    """

    moment: datetime
    verdict: str


@dataclass
class Listener:
    """Subscribes to the answers to the reports on `topic`, which has `{thing}` where the thing's name is.

    address: HOST:PORT
    now: the clock
    things: whose answers and alarms count
    violations: topic of the alarms' events; empty: none are listened to
    answers: the last one of each of them
    events: the last of them, as the connector sent them
    """

    address: str
    topic: str
    certificates: Certificates
    now: Callable[[], datetime]
    things: frozenset[str]
    violations: str = ""
    answers: dict[str, Answer] = field(default_factory=dict, init=False)
    events: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=MAX_EVENTS), init=False)

    def __post_init__(self) -> None:
        """Raise UsageError for an address or a topic that can't be listened to."""
        host, _, port = self.address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise UsageError(f"--mqtt {self.address}: expected HOST:PORT, such as localhost:1883")
        self._host, self._port = host.strip("[]"), int(port)
        if "{thing}" not in self.topic.split("/"):
            raise UsageError(f"--mqtt: the topic {self.topic} has no level {{thing}}: answers don't name their thing")

    def listen(self, seconds: float) -> None:
        """Listen for so long, or until each thing had an answer; raise DeployError if the broker fails."""
        ready, enough, refusal = threading.Event(), threading.Event(), [""]
        client = mqtt.Client(CallbackAPIVersion.VERSION2)

        def connected(_: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
            if reason.is_failure:
                refusal[0] = str(reason)
                ready.set()
                return
            client.subscribe([(filter_, 0) for filter_ in self._filters])

        def subscribed(_: Any, userdata: Any, id_: int, reasons: list[Any], properties: Any) -> None:
            refused = [f for f, reason in zip(self._filters, reasons, strict=True) if reason.is_failure]
            if refused:
                refusal[0] = f"it does not allow to subscribe to {', '.join(refused)}"
            ready.set()

        def received(_: Any, userdata: Any, message: mqtt.MQTTMessage) -> None:
            self._note(message.topic, bytes(message.payload))
            if self.things <= self.answers.keys():
                enough.set()

        client.on_connect, client.on_subscribe, client.on_message = connected, subscribed, received
        try:
            if self.certificates.ca or self.certificates.certificate:
                paths = (self.certificates.ca, self.certificates.certificate, self.certificates.key)
                ca, certificate, key = (str(path) if path else None for path in paths)
                client.tls_set(ca, certificate, key)
            client.connect(self._host, self._port)
        except (OSError, ValueError) as error:
            raise DeployError(f"--mqtt {self.address}: {error}") from error
        client.loop_start()
        try:
            if not ready.wait(CONNECT_SECONDS) or refusal[0]:
                raise DeployError(f"--mqtt {self.address}: refused: {refusal[0] or 'no answer'}")
            enough.wait(seconds)
        finally:
            client.disconnect()
            client.loop_stop()

    @property
    def _filters(self) -> list[str]:
        answers = filter_of(self.topic)
        return [
            f"{answers}/accepted",
            f"{answers}/rejected",
            *([filter_of(self.violations)] if self.violations else []),
        ]

    def _note(self, topic: str, payload: bytes) -> None:
        if self.violations and mqtt.topic_matches_sub(filter_of(self.violations), topic):
            self._note_event(payload)
        levels, pattern = topic.split("/"), self.topic.split("/")
        if len(levels) != len(pattern) + 1 or levels[-1] not in ("accepted", "rejected"):
            return
        verdict = levels[-1] + (_code(payload) if levels[-1] == "rejected" else "")
        thing = levels[pattern.index("{thing}")]
        if thing in self.things:
            self.answers[thing] = Answer(self.now(), verdict)

    def _note_event(self, payload: bytes) -> None:
        """Keep an event of one of the things; anything else there is ignored."""
        if len(payload) > MAX_EVENT_BYTES:
            return
        try:
            document = json.loads(payload)
            if document["thingName"] in self.things:
                watch.line(document)  # raises ValueError for what is no event
                self.events.append(document)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            pass


def _code(payload: bytes) -> str:
    """Return the service's code for a rejection, empty if the answer is not in JSON."""
    if len(payload) > MAX_ANSWER_BYTES:
        return ""
    try:
        code = json.loads(payload)["statusDetails"]["ErrorCode"]
    except (ValueError, KeyError, TypeError):
        return ""
    return f" ({code})" if isinstance(code, str) and code.isalnum() else ""
