"""Alarms raised on the device: judges each reading by security profiles; logs and publishes alarms that begin or end.

Imported only where a profile is given. What is judged is every port and destination in the tables, not the bounded
lists of a report.
"""

from __future__ import annotations

import logging
import random
from typing import Any, Callable, Dict, List, Optional, Sequence

from . import names, profiles
from .clock import Clock
from .config import Config
from .detect.alarm import IN_ALARM
from .detect.engine import Detector
from .detect.event import Event, fitted, sentence
from .detect.measurement import Measurement, measure
from .detect.metrics import DESTINATIONS, TCP_PORTS, UDP_PORTS
from .detect.profile import Profile
from .health import Health, plain
from .kernel.dev import NOTHING, Counters
from .kernel.host import CpuTimes
from .memory import Memory
from .outbox import PAUSE_FROM, Outbox, encoded
from .publisher import Publisher
from .report import cpu_usage
from .snapshot import Snapshot, Wanted
from .traffic import Traffic, add
from .transports import Transport

MAX_LOGGED_CHARS = 1000


def make(
    parsed: Config,
    transport: Transport,
    clock: Clock,
    run_beside: Callable[[Callable[[], None]], None],
    health: Health,
    rng: random.Random,
    logger: logging.Logger,
) -> Optional[Alarms]:
    """Return the alarms of the profiles that the settings name; None where none of them can be used. Logs why.

    run_beside: runs a call of the transport on another thread.
    """
    found = profiles.load(parsed.security_profiles)
    for warning in found.warnings:
        logger.warning("SecurityProfiles: %s", plain(warning, MAX_LOGGED_CHARS))
    for note in found.notes:
        logger.info("SecurityProfiles: %s", plain(note, MAX_LOGGED_CHARS))
    if not found.usable:
        return None
    logger.info(
        "alarms of %s go to %s",
        ", ".join(profile.name for profile in found.usable),
        plain(parsed.violations_topic),
    )
    publisher: Publisher[int] = Publisher(transport, clock, run_beside, pause_from=PAUSE_FROM)
    most = transport.max_payload_bytes
    outbox = Outbox(
        parsed.violations_topic,
        publisher,
        parsed.interval,
        "alarms",
        clock,
        health,
        rng,
        encoded if most is None else lambda document: encoded(fitted(document, most)),
    )
    return Alarms(found.usable, parsed.thing, parsed.interval, outbox, clock, health, logger)


class Alarms:
    """Judges readings, and keeps the events until they are accepted.

    used: the profiles. interval: usual seconds between readings.
    unsaved: bool, whether the waiting events have changed since the last `dump`.
    """

    def __init__(
        self,
        used: Sequence[Profile],
        thing: str,
        interval: int,
        outbox: Outbox,
        clock: Clock,
        health: Health,
        logger: logging.Logger,
    ) -> None:
        self._detector = Detector(used, thing, interval)
        self._outbox = outbox
        self._clock = clock
        self._health = health
        self._logger = logger
        self._judged: Optional[float] = None  # when a reading was last judged, seconds on the monotonic clock
        self._cpu: Optional[CpuTimes] = None  # at the last reading that was judged and had it
        self._traffic = NOTHING  # since the last reading that could be compared
        self.wait = outbox.wait

    @property
    def unsaved(self) -> bool:
        return self._outbox.changed

    def wanted(self, wanted: Wanted) -> Wanted:
        """Return what a snapshot has to read for the profiles, besides what reports need."""
        needs = self._detector.needs
        return wanted._replace(
            all_ports=bool(needs & {TCP_PORTS, UDP_PORTS}),
            all_destinations=DESTINATIONS in needs,
        )

    def judge(self, snapshot: Snapshot, before: Memory, after: Memory, now: int) -> None:
        """Judge a reading and begin to send the events. Never raises: an error here must not cost the report.

        If nothing could be read there is no report and nothing is judged. The next reading's time then counts from the
        last judged one, as it does where reports are judged (packaging/detect.py).

        before, after: the memory without and with this reading. now: its time, epoch seconds, as in the report's id.
        """
        try:
            traffic = self._passed(snapshot, before.traffic, after.traffic)
            measurement = measured(snapshot, traffic, self._cpu or before.cpu)
            if measurement:
                self._cpu = snapshot.cpu or self._cpu
                self._judge(measurement, now)
            self._outbox.send()
        except Exception as error:
            self._health.failed("judging", repr(error), type(error).__name__)
        else:
            self._health.recovered("judging")

    def _judge(self, measurement: Measurement, now: int) -> None:
        monotonic = self._clock.monotonic()
        elapsed = None if self._judged is None else max(1, round(monotonic - self._judged))
        self._judged = monotonic
        for event in self._detector.judge(measurement, now, elapsed):
            self._take(event)

    def _passed(self, snapshot: Snapshot, before: Traffic, after: Traffic) -> Optional[Counters]:
        """Return the traffic since the last reading that had any; None where this one can't be compared."""
        if snapshot.counters is None:
            return None
        change = Counters(*(new - old for new, old in zip(after.unsent or NOTHING, before.unsent or NOTHING)))
        self._traffic = add(self._traffic, change)
        if not after.compared:
            return None
        passed, self._traffic = self._traffic, NOTHING
        return passed

    def _take(self, event: Event) -> None:
        document = event.document()
        text = plain(sentence(document), MAX_LOGGED_CHARS)
        if event.suppressed:
            self._logger.info("%s (suppressAlerts: not published)", text)
            return
        self._logger.log(logging.WARNING if event.change.type == IN_ALARM else logging.INFO, "%s", text)
        self._outbox.add(document)

    def dump(self) -> Dict[str, Any]:
        """Return what a restart must not lose, for JSON.

        The criteria of a behavior (up to 1,000 networks) are stored once, not with each of its events.
        """
        criteria: Dict[str, Any] = {}
        events: List[Dict[str, Any]] = []
        for document in self._outbox.documents:
            behavior = dict(document["behavior"])
            criteria[_key(document)] = behavior.pop("criteria")
            events.append({**document, "behavior": behavior})
        self._outbox.changed = False
        return {"detector": self._detector.dump(), "events": events, "criteria": criteria}

    def load(self, state: Optional[Dict[str, Any]]) -> None:
        """Go on from what `dump` returned in an earlier run. What is damaged is left out."""
        if state is None:
            return
        if self._judged is None:
            self._detector.load(state.get("detector"))
        documents = []
        events: Any = state.get("events")
        criteria: Any = state.get("criteria")
        for event in events if isinstance(events, list) else []:
            try:
                document = {**event, "behavior": {**event["behavior"], "criteria": criteria[_key(event)]}}
                sentence(document)
            except (KeyError, TypeError, ValueError):
                continue
            documents.append(document)
        self._outbox.put_before(documents)


def _key(document: Dict[str, Any]) -> str:
    return "{}/{}".format(document["securityProfileName"], document["behavior"]["name"])


def measured(snapshot: Snapshot, traffic: Optional[Counters], cpu_before: Optional[CpuTimes]) -> Measurement:
    """Return a reading as the engine takes it.

    traffic: what passed since the previous reading, None if unknown. cpu_before: processor times at that reading.
    """
    custom: Dict[str, float] = dict(snapshot.custom)
    cpu = cpu_usage(cpu_before, snapshot.cpu)
    if cpu is not None:
        custom[names.CPU_USAGE] = cpu
    return measure(
        tcp_ports_total=None if snapshot.listening_tcp is None else snapshot.listening_tcp.total,
        udp_ports_total=None if snapshot.listening_udp is None else snapshot.listening_udp.total,
        connections_total=None if snapshot.established is None else snapshot.established.total,
        tcp_ports=snapshot.all_tcp_ports,
        udp_ports=snapshot.all_udp_ports,
        destinations=snapshot.destinations,
        custom=custom,
        **({} if traffic is None else traffic._asdict()),
    )
