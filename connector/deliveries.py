"""Which reports have arrived, over a transport whose "accepted" does not prove it: the service's answers decide.

Imported only with such a transport (`Transport.proves_delivery`). A nucleus answers OK once it has written the report
to its MQTT connection, so a report may be lost after OK; and one that was answered with an error may arrive minutes
later. So every report that was handed over is pending: its traffic stays in the account and is in the next report too.

- An accepted answer for its id takes it off the account, once, whenever it comes, also after a restart.
- A rejected answer leaves it in, whatever the reason: the service has not counted the report. That holds for Throttled
  too, and the next report, with the traffic of both, comes at its usual time: one that came sooner would be throttled.
- No answer within VERDICT_SECONDS: it stays in. If answers came before, the transport subscribes anew.
- No answer at all for the first MAX_REPORTS_WITHOUT_ANSWER reports that were taken: the account gives none, or they
  can't come back. Then OK has to do: it takes a report off. Should an answer come later, answers decide again, and a
  rejected one puts that report's traffic back.

So what passed is reported at least once. The service counts traffic twice only where a report arrived and its answer
did not, or came after MAX_PENDING_REPORTS later ones.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Callable, Deque, Dict, Optional, Tuple

from .clock import Clock
from .cycle import Made
from .health import Health
from .kernel.dev import NOTHING
from .memory import Memory, Pending
from .traffic import add

VERDICT_SECONDS = 30.0  # for the answer; it comes within a few seconds where it comes at all
MAX_REPORTS_WITHOUT_ANSWER = 3
MAX_PENDING_REPORTS = 8
MAX_WAITING_ANSWERS = 64  # not applied yet; who may publish on the answer topics must not fill the memory

DELIVERY = "delivery of reports"


class Deliveries:
    """Keeps the account right by the answers.

    renew: has the transport subscribe anew. peer: who says OK, for the log.
    """

    def __init__(
        self, clock: Clock, health: Health, logger: logging.Logger, renew: Callable[[], None], peer: str
    ) -> None:
        self._clock = clock
        self._health = health
        self._logger = logger
        self._renew = renew
        self._peer = peer
        self._answers: Deque[Tuple[Optional[int], bool]] = deque(maxlen=MAX_WAITING_ANSWERS)
        self._any_came = False
        self._without = 0  # reports that were taken and not answered, while no answer ever came
        self._ok_does = False
        self._awaited: Dict[int, float] = {}  # reports whose answer may still come in time: until when
        self._answered: Optional[int] = None  # the last report that had an answer
        self._taken = self._accepted = 0  # the last reports that the peer took, and the service

    def answer(self, report_id: Optional[int], accepted: bool) -> None:
        """Take an answer of the service, from any thread. report_id: None where the answer names no report."""
        if accepted and report_id is None:
            return  # it proves nothing of any one report
        self._answers.append((report_id, accepted))
        self._clock.wake()

    @property
    def deadline(self) -> float:
        """Until when nothing is to be settled, in seconds on the monotonic clock."""
        if self._answers:
            return float("-inf")
        return min(self._awaited.values(), default=float("inf"))

    @property
    def awaiting(self) -> bool:
        """Whether the answer to a report that was taken may still come in time."""
        return bool(self._awaited)

    def begin(self, memory: Memory, made: Made) -> Memory:
        """Return the memory with a report that is handed over now, before anybody can have answered it."""
        pending = (*memory.pending, Pending(made.report_id, made.carried, made.cpu))
        return memory._replace(pending=pending[-MAX_PENDING_REPORTS:])

    def taken(self, memory: Memory, report_id: int) -> Memory:
        """Return the memory after the peer has said OK to a report."""
        self._taken = max(self._taken, report_id)
        memory = self.settle(memory)
        if self._ok_does:
            return _count(memory, report_id)
        if self._answered != report_id:
            self._awaited[report_id] = self._clock.monotonic() + VERDICT_SECONDS
        return memory

    def arrived_after_all(self) -> bool:
        """Return, once, whether the service has accepted a report that the peer had refused, or not answered."""
        arrived = self._accepted > self._taken
        self._taken = max(self._taken, self._accepted)
        return arrived

    def settle(self, memory: Memory) -> Memory:
        """Return the memory after all that was answered, and what was not in time. To be called at `deadline`."""
        while self._answers:
            memory = self._apply(memory, *self._answers.popleft())
        now = self._clock.monotonic()
        for report_id in [report_id for report_id, until in self._awaited.items() if until <= now]:
            taken = self._awaited.pop(report_id) - VERDICT_SECONDS
            memory = self._missing(memory, report_id, taken)
        return memory

    def _apply(self, memory: Memory, report_id: Optional[int], accepted: bool) -> Memory:
        if report_id is None and memory.pending:  # a rejection, and it can only be of the latest
            report_id = memory.pending[-1].report_id
        if report_id is None or not any(one.report_id == report_id for one in memory.pending):
            return memory  # it was answered before, is too old, or is another agent's
        self._any_came = True
        self._answered = report_id
        self._awaited.pop(report_id, None)
        if self._ok_does:
            self._ok_does = False
            self._logger.info("%s: Device Defender answers now, so its answers decide again", DELIVERY)
        self._health.recovered(DELIVERY)
        if not accepted:
            # It stays pending: a message that arrives twice is accepted once and rejected once, in any order.
            return _put_back(memory, report_id)
        self._accepted = max(self._accepted, report_id)
        memory = _count(memory, report_id)
        return memory._replace(pending=tuple(one for one in memory.pending if one.report_id != report_id))

    def _missing(self, memory: Memory, report_id: int, taken: float) -> Memory:
        """The answer to a report, which the peer took at `taken` on the monotonic clock, did not come in time."""
        if self._any_came:
            self._health.failed(
                DELIVERY,
                f"Device Defender has not answered report {report_id} within {VERDICT_SECONDS:.0f} s, so the next one "
                "has its traffic too; subscribing to the answers anew",
                since=taken,
            )
            self._renew()
            return memory
        self._without += 1
        if self._without < MAX_REPORTS_WITHOUT_ANSWER or self._ok_does:
            return memory
        self._ok_does = True
        self._logger.info(
            "%s: no answer of Device Defender came for the first %d reports, so from now on one that %s has taken "
            "counts as delivered: either the account does not use Device Defender Detect, or the component may not "
            "subscribe to the answers",
            DELIVERY,
            MAX_REPORTS_WITHOUT_ANSWER,
            self._peer,
        )
        # The last one only: it has the traffic of those before, of which nobody knows more.
        return _count(memory, report_id)


def _count(memory: Memory, report_id: int) -> Memory:
    """Return the memory with a pending report off the account, unless it is already."""
    for place, one in enumerate(memory.pending):
        if one.report_id == report_id and not one.counted:
            cpu = one.cpu if memory.cpu is None or (one.cpu and one.cpu.total > memory.cpu.total) else memory.cpu
            return memory._replace(
                traffic=memory.traffic.delivered(one.carried),
                cpu=cpu,
                pending=_replaced(memory.pending, place, one._replace(counted=True)),
            )
    return memory


def _put_back(memory: Memory, report_id: int) -> Memory:
    """Return the memory with a pending report on the account again, if it was taken off."""
    for place, one in enumerate(memory.pending):
        if one.report_id == report_id and one.counted:
            traffic = memory.traffic._replace(unsent=add(memory.traffic.unsent or NOTHING, one.carried or NOTHING))
            return memory._replace(
                traffic=traffic, pending=_replaced(memory.pending, place, one._replace(counted=False))
            )
    return memory


def _replaced(pending: Tuple[Pending, ...], place: int, one: Pending) -> Tuple[Pending, ...]:
    return (*pending[:place], one, *pending[place + 1 :])
