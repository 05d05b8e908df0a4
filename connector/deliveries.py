"""Which reports have arrived, over a transport whose OK does not prove it: Device Defender's answers decide.

Imported only with such a transport (`Transport.proves_delivery`). A nucleus answers OK once it has written the report
to its MQTT connection, so a report may be lost after OK; and one that was answered with an error may arrive minutes
later. So every report that was handed over is pending: its traffic stays unsent, and is in the next report too.

- Accepted: the traffic of the report with this id is no longer unsent. It is subtracted once, whenever the answer
  comes, also after a restart.
- Rejected, for any reason: the traffic stays unsent, as the service has not counted the report. The next report, with
  the traffic of both, comes at its usual time, after Throttled too: an earlier one would be throttled again.
- No answer within VERDICT_SECONDS: the traffic stays unsent. If answers came before, and none to a later report, the
  transport subscribes anew.
- No answer to any of the first MAX_REPORTS_WITHOUT_ANSWER reports that got an OK: the AWS account does not send
  answers, or they can't reach this device. From then on OK counts as delivered. If an answer comes after all, answers
  decide again, and a rejection makes that report's traffic unsent again.

So traffic is reported at least once. The service counts it twice only if a report arrived and its answer was lost, or
came after MAX_PENDING_REPORTS later reports.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Callable, Deque, Dict, Optional, Tuple

from .clock import Clock
from .cycle import Made
from .health import Health
from .kernel.dev import NOTHING
from .memory import Memory
from .pending import Pending
from .traffic import add

VERDICT_SECONDS = 30.0  # for the answer; it comes within a few seconds where it comes at all
MAX_REPORTS_WITHOUT_ANSWER = 3
MAX_PENDING_REPORTS = 8
MAX_WAITING_ANSWERS = 64  # not applied yet; bounded, as anyone who may publish on the answer topics can send them

DELIVERY = "delivery of reports"


class Deliveries:
    """Subtracts delivered reports from the unsent traffic, by Device Defender's answers.

    renew: makes the transport subscribe anew. peer: who says OK, for the log.
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
        self._unanswered = 0  # reports with an OK and no answer, while no answer ever came
        self._trusts_ok = False  # whether OK counts as delivered
        self._awaited: Dict[int, float] = {}  # report id -> until when its answer is in time, on the monotonic clock
        self._answered: Optional[int] = None  # id of the last report that had an answer
        self._taken = self._accepted = 0  # highest ids of the reports that the peer took, and that the service accepted

    def answer(self, report_id: Optional[int], accepted: bool) -> None:
        """Take an answer of the service, from any thread. report_id: None where the answer names no report."""
        if accepted and report_id is None:
            return  # it does not say which report arrived
        self._answers.append((report_id, accepted))
        self._clock.wake()

    @property
    def deadline(self) -> float:
        """When `settle` has to be called next, in seconds on the monotonic clock; infinity if nothing is awaited."""
        if self._answers:
            return float("-inf")
        return min(self._awaited.values(), default=float("inf"))

    @property
    def awaiting(self) -> bool:
        """Whether the answer to a report that was taken may still come in time."""
        return bool(self._awaited)

    def begin(self, memory: Memory, made: Made) -> Memory:
        """Return the memory with a pending report. To be called before the report is handed over."""
        pending = (*memory.pending, Pending(made.report_id, made.carried, made.cpu))
        return memory._replace(pending=pending[-MAX_PENDING_REPORTS:])

    def taken(self, memory: Memory, report_id: int) -> Memory:
        """Return the memory after the peer has said OK to a report."""
        self._taken = max(self._taken, report_id)
        memory = self.settle(memory)
        if self._trusts_ok:
            return _subtract(memory, report_id)
        if self._answered != report_id:
            self._awaited[report_id] = self._clock.monotonic() + VERDICT_SECONDS
        return memory

    def arrived_after_all(self) -> bool:
        """Return, once, whether the service has accepted a report that got an error, or no answer, from the peer."""
        arrived = self._accepted > self._taken
        self._taken = max(self._taken, self._accepted)
        return arrived

    def settle(self, memory: Memory) -> Memory:
        """Apply the answers that came, and those that did not come in time; return the memory."""
        while self._answers:
            memory = self._apply(memory, *self._answers.popleft())
        now = self._clock.monotonic()
        for report_id in [report_id for report_id, until in self._awaited.items() if until <= now]:
            taken = self._awaited.pop(report_id) - VERDICT_SECONDS
            memory = self._missing(memory, report_id, taken)
        return memory

    def _apply(self, memory: Memory, report_id: Optional[int], accepted: bool) -> Memory:
        if report_id is None and memory.pending:  # a rejection without an id: taken for the latest report's
            report_id = memory.pending[-1].report_id
        if report_id is None or not any(one.report_id == report_id for one in memory.pending):
            return memory  # accepted before, too old, or another agent's report
        self._any_came = True
        self._answered = report_id
        self._awaited.pop(report_id, None)
        if self._trusts_ok:
            self._trusts_ok = False
            self._logger.info("%s: Device Defender answers now, so its answers decide again", DELIVERY)
        self._health.recovered(DELIVERY)
        if not accepted:
            # It stays pending: a message that arrives twice is accepted once and rejected once, in any order.
            return _add_back(memory, report_id)
        self._accepted = max(self._accepted, report_id)
        memory = _subtract(memory, report_id)
        return memory._replace(pending=tuple(one for one in memory.pending if one.report_id != report_id))

    def _missing(self, memory: Memory, report_id: int, taken: float) -> Memory:
        """Return the memory after the answer to a report, which the peer took at `taken`, did not come in time.

        taken: by the monotonic clock
        """
        if self._any_came:
            is_alive = self._answered is not None and self._answered > report_id  # the subscription
            self._health.failed(
                DELIVERY,
                f"Device Defender has not answered report {report_id} within {VERDICT_SECONDS:.0f} s, so the next one "
                f"has its traffic too{'' if is_alive else '; subscribing to the answers anew'}",
                since=taken,
            )
            if not is_alive:
                self._renew()
            return memory
        self._unanswered += 1
        if self._unanswered < MAX_REPORTS_WITHOUT_ANSWER or self._trusts_ok:
            return memory
        self._trusts_ok = True
        self._logger.info(
            "%s: no answer of Device Defender came for the first %d reports, so from now on one that %s has taken "
            "counts as delivered: either the account does not use Device Defender Detect, or the component may not "
            "subscribe to the answers",
            DELIVERY,
            MAX_REPORTS_WITHOUT_ANSWER,
            self._peer,
        )
        # The last one only: it has the traffic of those before too.
        return _subtract(memory, report_id)


def _subtract(memory: Memory, report_id: int) -> Memory:
    """Return the memory with a pending report's traffic no longer unsent; unchanged if it was subtracted before."""
    for place, one in enumerate(memory.pending):
        if one.report_id == report_id and not one.counted:
            cpu = one.cpu if memory.cpu is None or (one.cpu and one.cpu.total > memory.cpu.total) else memory.cpu
            return memory._replace(
                traffic=memory.traffic.delivered(one.carried),
                cpu=cpu,
                pending=_replaced(memory.pending, place, one._replace(counted=True)),
            )
    return memory


def _add_back(memory: Memory, report_id: int) -> Memory:
    """Return the memory with a pending report's traffic unsent again, if it was subtracted."""
    for place, one in enumerate(memory.pending):
        if one.report_id == report_id and one.counted:
            traffic = memory.traffic._replace(unsent=add(memory.traffic.unsent or NOTHING, one.carried or NOTHING))
            return memory._replace(
                traffic=traffic, pending=_replaced(memory.pending, place, one._replace(counted=False))
            )
    return memory


def _replaced(pending: Tuple[Pending, ...], place: int, one: Pending) -> Tuple[Pending, ...]:
    return (*pending[:place], one, *pending[place + 1 :])
