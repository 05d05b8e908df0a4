"""The loop over a transport whose OK proves nothing, without waiting: what becomes of each report, the test says."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any, Callable, Deque, Dict, List, NamedTuple, Optional, Tuple

from connector.deliveries import MAX_PENDING_REPORTS
from connector.errors import PublishError
from connector.kernel.dev import NOTHING, Counters
from connector.traffic import add
from support.loop import TOPIC, Core, FakeClock, Loop, Taken


class Fate(NamedTuple):
    """What becomes of one report.

    ok: whether the nucleus says OK; an error where not.
    arrives: seconds until it reaches the service, 0 for before the nucleus says anything; None for never.
    copies: how often it arrives then; the service rejects all but the first.
    accepted: whether the service accepts it.
    answer: seconds from then until the answer reaches the connector, if it runs, 0 for at once; None for never.
    names: whether the answer names the report.
    """

    ok: bool = True
    arrives: Optional[float] = 0.0
    copies: int = 1
    accepted: bool = True
    answer: Optional[float] = 0.5
    names: bool = True


GOOD = Fate()


class Nucleus(Core):
    """Says OK or an error as the fates say, with the service behind it.

    fates: of the next reports, in order. usual_fate: of those after them. counted: what the service has, by report id.
    known: ids of those whose acceptance the connector was told of, early enough. pending: ids of those of which it
    still may be told. renewed: when it subscribed anew.
    """

    peer = "the nucleus"
    proves_delivery = False

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.fates: Deque[Fate] = Deque()
        self.usual_fate = GOOD
        self.counted: Dict[int, Counters] = {}
        self.known: List[int] = []
        self.pending: List[int] = []
        self.renewed: List[float] = []
        self.reports: List[Tuple[Taken, Fate]] = []
        self.running = False

    def start_call(self, call: Callable[[], None]) -> None:
        self.calls.append(self._clock.monotonic())
        call()

    def renew(self) -> None:
        self.renewed.append(self._clock.monotonic())

    def send(self, topic: str, payload: bytes) -> None:
        taken = Taken(self._clock.monotonic(), json.loads(payload.decode("ascii")))
        fate = self.fates.popleft() if self.fates else self.usual_fate
        self.ids.append(taken.id)
        self.pending = [*self.pending, taken.id][-MAX_PENDING_REPORTS:]
        self.reports.append((taken, fate))
        if fate.arrives == 0:
            self._arrive(topic, taken, fate)
        elif fate.arrives is not None:
            self._clock.at(taken.moment + fate.arrives, lambda: self._arrive(topic, taken, fate))
        if not fate.ok:
            raise PublishError("the nucleus did not take the message: ServiceError")

    def _arrive(self, topic: str, taken: Taken, fate: Fate) -> None:
        for copy in range(fate.copies):
            accepted = fate.accepted and not copy
            if accepted:
                self.counted[taken.id] = taken.traffic or NOTHING
            if fate.answer == 0:
                self._answer(topic, taken.id, accepted, fate.names)
            elif fate.answer is not None:
                moment = self._clock.monotonic() + fate.answer
                self._clock.at(moment, functools.partial(self._answer, topic, taken.id, accepted, fate.names))

    def accept(self, report_id: int) -> None:
        """Let the acceptance of a report reach the connector now."""
        self._answer(TOPIC, report_id, accepted=True, names=True)

    def say(self, answer: Dict[str, Any]) -> None:
        """Let any message come on the topic of acceptances."""
        self.on_message(answer, TOPIC + "/accepted")

    def _answer(self, topic: str, report_id: int, accepted: bool, names: bool) -> None:
        if not self.running:
            return  # nobody subscribes
        if accepted and names and report_id in self.pending:
            self.pending.remove(report_id)
            self.known.append(report_id)
        answer: Dict[str, Any] = {"thingName": topic.split("/")[2], "status": "ACCEPTED" if accepted else "REJECTED"}
        if names:
            answer["reportId"] = report_id
        self.on_message(answer, topic + ("/accepted" if accepted else "/rejected"))

    @property
    def sum(self) -> Counters:
        """What the service has counted."""
        return total(self.counted.values())

    @property
    def unknown(self) -> Counters:
        """What it has counted of reports whose acceptance the connector can't know."""
        return total(carried for report_id, carried in self.counted.items() if report_id not in self.known)


def total(parts: Any) -> Counters:
    found = NOTHING
    for part in parts:
        found = add(found, part)
    return found


class NucleusLoop(Loop):
    """A connector with a StateDirectory on such a nucleus."""

    def __init__(self, root: Path, clock: Optional[FakeClock] = None, **settings: str) -> None:
        super().__init__(root, clock)
        self.settings.update(settings)
        self.core = self.nucleus = Nucleus(self.clock)
        self.remember()

    def run(self, seconds: float, watch: Any = None) -> Loop:
        self.nucleus.running = True
        try:
            return super().run(seconds, watch)
        finally:
            self.nucleus.running = False

    def kill(self, seconds: float) -> Loop:
        self.nucleus.running = True
        try:
            return super().kill(seconds)
        finally:
            self.nucleus.running = False

    def passed(self, factor: int = 1) -> None:
        """Let something pass that can't be mistaken for anything else: a different prime for each counter."""
        self.host.passed("eth0", 1_000_003 * factor, 70_001 * factor, 701 * factor, 303 * factor)
