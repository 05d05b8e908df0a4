"""Follows alarms as they come: the connector's events, and reports that are judged here."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from connector.detect.alarm import IN_ALARM
from connector.detect.engine import Detector
from connector.detect.event import sentence
from connector.detect.profile import Profile

from .errors import InputError
from .reports import NOT_A_THING, from_document
from .summary import moment, printable

MAX_THINGS = 100_000  # whose reports are judged at a time, about 10 KB each
COMMAND_SECONDS = 60.0

_THING_IN_TOPIC = re.compile(r"\$aws/things/([^/]+)/defender/metrics/")


class Watch:
    """Takes messages and hands on events.

    profiles: judge reports; without any, a report is a problem
    thing: the thing of reports that have neither `thing` nor a topic with its name
    on_event: is called with each event's document, in order; not with those of behaviors with suppressAlerts
    on_problem: is called with a sentence about a message that can't be used and is left out
    """

    def __init__(
        self,
        profiles: Sequence[Profile],
        thing: str,
        on_event: Callable[[dict[str, Any]], None],
        on_problem: Callable[[str], None],
    ) -> None:
        self._profiles = profiles
        self._thing = thing
        self._on_event = on_event
        self._on_problem = on_problem
        self._detectors: dict[str, tuple[Detector, int]] = {}  # by thing, with the time of its last report
        self._alarms: set[tuple[str, str, str]] = set()

    @property
    def in_alarm(self) -> bool:
        """Whether an alarm has begun that has not ended."""
        return bool(self._alarms)

    def take(self, where: str, payload: bytes) -> None:
        """Take one message. where: its topic, or another name of its place."""
        try:
            document = json.loads(payload)
        except (ValueError, RecursionError):  # ValueError: also text that is not UTF-8
            self._on_problem(f"{where}: not JSON, ignored")
            return
        try:
            if not isinstance(document, dict):
                raise ValueError("a JSON object is expected")
            if "violationEventType" in document:
                self._event(document)
            else:
                self._report(document, where)
        except ValueError as error:
            self._on_problem(f"{where}: {error}; ignored")

    def _event(self, document: dict[str, Any]) -> None:
        line(document)  # raises ValueError where it is no event
        key = (document["thingName"], document["securityProfileName"], document["behavior"]["name"])
        if document["violationEventType"] == IN_ALARM:
            self._alarms.add(key)
        else:
            self._alarms.discard(key)
        self._on_event(document)

    def _report(self, document: dict[str, Any], where: str) -> None:
        if not self._profiles:
            raise ValueError("not an event; to judge reports, name profiles with --profile")
        report = from_document(document, where)
        in_topic = _THING_IN_TOPIC.match(where)
        thing = document.get("thing")
        if thing is None:
            thing = in_topic[1] if in_topic else self._thing
        if not isinstance(thing, str):
            raise ValueError("thing: text is expected")
        if thing in ("", NOT_A_THING):  # of any number of devices, which would be one
            raise ValueError(f"thing: the name of a thing is expected, not {thing!r}")
        if thing not in self._detectors and len(self._detectors) >= MAX_THINGS:
            raise ValueError(f"more than {MAX_THINGS} things")
        detector, last = self._detectors.get(thing) or (Detector(self._profiles, thing), 0)
        if report.time <= last:  # a message that comes twice must not count its traffic twice
            raise ValueError(f"report_id {report.time} of {thing} is not above {last}")
        self._detectors[thing] = (detector, report.time)
        for event in detector.judge(report.readings, report.time):
            if not event.suppressed:
                self._event(event.document())


def line(document: dict[str, Any]) -> str:
    """Return an event for a terminal. Raises ValueError where the document is no event."""
    thing, time = document.get("thingName"), document.get("violationEventTime")
    text = sentence(document)
    if not isinstance(thing, str) or isinstance(time, bool) or not isinstance(time, int):
        raise ValueError("not an event: thingName or violationEventTime is missing")
    names = (document["securityProfileName"], document["behavior"]["name"])
    if not all(isinstance(name, str) for name in names):
        raise ValueError("not an event: a name is not text")
    try:
        return f"{moment(time // 1000)} {printable(thing)}: {text}"
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"violationEventTime {time} is no time in milliseconds") from None


class Command:
    """Runs a command for each event, which it gets on its standard input as JSON. What it prints goes to stderr.

    Raises InputError where the command can't be split into words.
    """

    def __init__(self, command: str, on_problem: Callable[[str], None]) -> None:
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise InputError(f"--exec {command}: {error}") from error
        if not self._words:
            raise InputError("--exec: a command is expected")
        self._on_problem = on_problem

    def run(self, document: dict[str, Any]) -> None:
        """Run it and wait for its end. A failure is a problem, not an error: the next event still counts."""
        try:
            done = subprocess.run(
                self._words,
                input=json.dumps(document).encode(),
                stdout=sys.stderr.fileno(),
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            self._on_problem(f"--exec {self._words[0]}: ended after {COMMAND_SECONDS:.0f} s without a result")
        except OSError as error:
            self._on_problem(f"--exec {self._words[0]}: {error.strerror}")
        else:
            if done.returncode:
                self._on_problem(f"--exec {self._words[0]}: exit code {done.returncode}")
