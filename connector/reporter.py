"""The loop: when to report, what to do when a report is not accepted, and what is kept for the next one."""

from __future__ import annotations

import logging
import os
import random
from typing import TYPE_CHECKING, Callable, Mapping, Optional

from .clock import Clock
from .config import Config
from .cycle import Made, delivered, make_report, observe
from .errors import PublishError
from .health import Health, plain
from .kernel.host import give_back_memory
from .memory import Memory
from .publisher import FIRST_RETRY_SECONDS, Publisher, retry_delay
from .snapshot import NETWORK, Snapshot
from .verdict import Verdicts

if TYPE_CHECKING:
    from .alarms import Alarms
    from .deliveries import Deliveries
    from .state import Boot, DirectoryLock

MAX_DELAY_SECONDS = 1.0  # a report that begins at most this late counts as begun on time
# A report takes at most 30 s for its answer and little else. If one took longer, the process or the device was
# suspended meanwhile, and it is not known when the report was sent: the time to the next one then counts from its end.
MAX_REPORT_SECONDS = 60.0
MIN_WAIT_SECONDS = 0.001  # so that a wait for what is due already does not spin
MAX_LOADS = 3  # attempts to read the state file before reporting begins without it


class Reporter:
    """Reports until its clock is stopped.

    take: makes a snapshot. read_boot: returns the present boot, which a saved state must be of, or None if it can't be
    read now. verdicts: told of each accepted report. alarms: judges each reading; None if no profile is given.
    deliveries: says which reports have arrived; None if the transport proves that. max_payload_bytes: the transport's.
    memory: what the reporter before this one knew last; None if this is the first of the process.
    """

    def __init__(
        self,
        config: Config,
        take: Callable[[], Snapshot],
        publisher: Publisher[Made],
        clock: Clock,
        health: Health,
        rng: random.Random,
        logger: logging.Logger,
        read_boot: Callable[[], Optional[Boot]],
        verdicts: Verdicts,
        alarms: Optional[Alarms] = None,
        deliveries: Optional[Deliveries] = None,
        max_payload_bytes: Optional[int] = None,
        memory: Optional[Memory] = None,
    ) -> None:
        self._config = config
        self._take = take
        self._publisher = publisher
        self._clock = clock
        self._health = health
        self._rng = rng
        self._logger = logger
        self._read_boot = read_boot
        self._verdicts = verdicts
        self._alarms = alarms
        self._deliveries = deliveries
        self._max_payload_bytes = max_payload_bytes
        self._shortened = False  # whether the log has that reports are made shorter
        self._wait = clock.wait if alarms is None else alarms.wait
        self._lock: Optional[DirectoryLock] = None  # made where there is a StateDirectory
        self._loads = 0
        self._boot: Optional[Boot] = None  # set once the state was loaded; nothing is saved before
        self._memory = memory or Memory()
        if alarms is not None:
            alarms.load(self._memory.alarms)
        self._problems: Mapping[str, str] = {}
        self._failures = 0
        self._origin: Optional[float] = None

    def run(self) -> None:
        """Report at once, then every interval, until the clock is stopped. Never raises.

        Report times form a grid on the monotonic clock, so they don't drift with the time that a report takes; times
        missed while the process was suspended are skipped. After a report that was not accepted, a new one follows
        after a delay, which grows with each failure.
        """
        try:
            while not self._clock.stopped:
                try:
                    self._report_on_time()
                except Exception as error:  # such as MemoryError, anywhere: reporting must go on
                    self._survive(error)
        finally:
            try:
                self._settle()
                if self._lock is not None:
                    self._lock.release()
            except Exception:
                pass  # the end of the process releases it too

    def _report_on_time(self) -> None:
        """Run the loop. May raise at any point; when called again, it goes on from the state in its attributes."""
        self._load()
        due = self._first_time()
        if self._origin is None:
            self._origin = due
        while self._wait_until(due):
            now = self._clock.monotonic()
            begun = due if now - due < MAX_DELAY_SECONDS else now
            accepted = self._guarded_report(begun)
            due = self._next_time(begun, accepted)
            give_back_memory()

    def _survive(self, error: Exception) -> None:
        """Log an error of the loop itself and wait a little. Out of memory both may fail again, which is ignored."""
        try:
            self._health.failed("report", f"none could be made: {error!r} at {_place(error)}")
        except Exception:
            pass
        del error  # its frames hold a snapshot and a report
        try:
            self._clock.wait(FIRST_RETRY_SECONDS)
        except Exception:
            pass

    def report_once(self) -> bool:
        """Make one report now; return whether it was accepted. Never raises."""
        return self._guarded_report(self._clock.monotonic()) is True

    @property
    def memory(self) -> Memory:
        """What is known of the reports so far, for the reporter that takes over. To be called once `run` has ended."""
        alarms = self._memory.alarms if self._alarms is None else self._alarms.dump()
        return self._memory._replace(alarms=alarms)

    @property
    def awaits_answer(self) -> bool:
        """Whether the service's answer to a report may still come in time."""
        return self._deliveries is not None and self._deliveries.awaiting

    def _first_time(self) -> float:
        """Return when the first report is due: now, or as long after the last one as the service demands."""
        now = self._clock.monotonic()
        sent = self._memory.sent
        if sent is None or sent > now:  # a time to come can't be one of this boot
            return now
        return max(now, sent + self._config.spacing)

    def _next_time(self, begun: float, accepted: Optional[bool]) -> float:
        """Return when the next report is due, in seconds on the monotonic clock.

        begun: when the last one began. accepted: whether it was accepted; None if there was nothing to send.
        """
        interval = self._config.interval
        now = self._clock.monotonic()
        origin = now if self._origin is None else self._origin
        # +0.001 so that rounding never yields the time that has just passed.
        following = origin + interval * (int((now - origin) / interval + 0.001) + 1)
        if accepted:
            self._failures = 0
            return max(following, (self._memory.sent or begun) + self._config.spacing)
        if accepted is None:
            return max(following, self._first_time())
        delay = retry_delay(self._failures, interval, self._rng)
        self._failures += 1
        return min(following, now + delay)

    def _wait_until(self, due: float) -> bool:
        """Return whether a report is due now; False at a stop."""
        while not self._clock.stopped:
            left = due - self._clock.monotonic()
            if left <= 0:
                return True
            if self._deliveries is not None:
                left = min(left, max(MIN_WAIT_SECONDS, self._deliveries.deadline - self._clock.monotonic()))
            self._wait(left)
            self._settle()
            if self._alarms is not None and self._alarms.unsaved:
                self._save(self._memory)
        return False

    def _settle(self) -> None:
        """Apply the answers that came, or did not come in time, to the unsent traffic, and save it."""
        if self._deliveries is not None and self._clock.monotonic() >= self._deliveries.deadline:
            settled = self._deliveries.settle(self._memory)
            if settled is not self._memory:  # others' answers change nothing, and a write is synced
                self._save(settled)

    def _guarded_report(self, begun: float) -> Optional[bool]:
        try:
            accepted = self._report(begun)
        except Exception as error:
            self._health.failed("report", f"none could be made: {error!r} at {_place(error)}")
            return None
        if accepted is not None:
            self._health.recovered("report")
        return accepted

    def _report(self, begun: float) -> Optional[bool]:
        """Make and send one report of this moment; return whether it was accepted, None where nothing could be read."""
        if not self._load():
            return False
        if self._accepted_late() and self._failures:
            # A report that had failed was accepted after all, just now. It takes the place of this one, which would
            # come too soon after it: the service throttles reports less than `spacing` apart.
            self._health.recovered("publishing")
            self._save(self._memory._replace(sent=begun))
            self._count_report()
            return True
        made = self._make()
        if made is None:
            return None
        self._log_size(made)
        # Frees the report's memory. The publisher keeps `made` until a call has ended, which may take 15 minutes.
        payload, made = made.payload, made._replace(report={}, payload=b"")
        return self._send(payload, made, begun)

    def _make(self) -> Optional[Made]:
        """Take a snapshot, have it judged, and make a report of it; return None where nothing could be read."""
        snapshot = self._take()
        now = self._clock.time()
        before, self._memory = self._memory, observe(self._memory, snapshot, now)
        if self._alarms is not None:
            self._alarms.judge(snapshot, before, self._memory, int(now))
            snapshot = snapshot._replace(all_tcp_ports=None, all_udp_ports=None, destinations=None)  # frees them
            if self._alarms.unsaved:  # an event must not be lost if the process is killed while it is sent
                self._save(self._memory)
        problems = {**snapshot.problems, **self._memory.traffic.problems}
        if NETWORK in problems:  # no table could be read: what failed before has not recovered
            problems = {**self._problems, **problems}
        self._health.update(problems, self._problems)
        self._problems = problems
        return make_report(
            self._memory,
            snapshot,
            self._config.short_names,
            self._config.report_format,
            self._max_payload_bytes,
            self._rng,
        )

    def _send(self, payload: bytes, made: Made, begun: float) -> bool:
        """Send a report; return whether it was accepted. What is unsent is saved either way."""
        if self._deliveries is not None:
            self._memory = self._deliveries.begin(self._memory, made)
        asked = self._clock.monotonic()
        try:
            self._publisher.publish(self._config.topic, payload, made)
        except PublishError as error:
            if not self._clock.stopped:
                self._health.failed("publishing", str(error), type(error).__name__, asked)
            # Saved at a stop, too: an interface may be gone at the next start, and the report may have been accepted,
            # so that its id is used up.
            self._save(self._memory)
            return False
        ended = self._clock.monotonic()
        sent = begun if ended - begun < MAX_REPORT_SECONDS else ended
        self._save(self._taken(made)._replace(sent=sent))
        self._health.recovered("publishing")
        self._logger.debug("report %d was accepted: %d bytes", made.report_id, len(payload))
        self._count_report()
        return True

    def _taken(self, made: Made) -> Memory:
        """Return the memory after the transport's peer has accepted a report."""
        if self._deliveries is not None:
            return self._deliveries.taken(self._memory, made.report_id)
        return delivered(self._memory, made)

    def _accepted_late(self) -> bool:
        """Subtract reports that were accepted after they had failed from the unsent traffic; return whether any was."""
        late = self._publisher.late()
        if self._deliveries is None:
            for made in late:
                self._memory = self._memory._replace(traffic=self._memory.traffic.delivered(made.carried))
            return bool(late)
        self._memory = self._deliveries.settle(self._memory)
        arrived = self._deliveries.arrived_after_all()
        for made in late:
            self._memory = self._deliveries.taken(self._memory, made.report_id)
        return bool(late) or arrived

    def _count_report(self) -> None:
        if self._deliveries is None:  # which logs missing answers itself
            self._verdicts.count_report()

    def _log_size(self, made: Made) -> None:
        """Log, once, that reports have to be shorter than they would be."""
        if made.list_size is not None and not self._shortened:
            self._shortened = True
            self._logger.warning(
                "a report is %d bytes long with lists of at most %d entries, because the transport carries %d bytes: "
                "its lists are uniform samples, its totals exact. A lower MaxListSize or MetricNames short avoids "
                "that; further reports are shortened without a line",
                len(made.payload),
                made.list_size,
                self._max_payload_bytes,
            )

    def _load(self) -> bool:
        """Load, once, what an earlier run has saved. Return False if the report has to wait for that.

        After MAX_LOADS attempts reporting goes on without it: no report depends on StateDirectory. Nothing is saved
        before the file was loaded, or found to be unusable.
        """
        directory = self._config.state_directory
        if not directory or self._boot is not None:
            return True
        from . import state  # only here and in _save, so that a function without StateDirectory does not load it

        self._loads += 1
        saved = Memory()
        self._lock = self._lock or state.DirectoryLock(directory)
        try:
            self._lock.acquire()
            boot = self._read_boot()
            if boot is None:
                raise state.StateError(
                    "not used yet: proc does not show which boot of the host this is", is_transient=True
                )
            saved = state.load(directory, self._config.thing, boot)
        except state.StateError as error:
            if error.is_transient:
                self._health.failed("StateDirectory", str(error))
                return self._loads > MAX_LOADS
            saved = error.memory
            self._logger.warning("StateDirectory: %s", plain(error))
        # + 1: a report that was on its way when the function was killed may have used one more id.
        report_id = max(self._memory.report_id, saved.report_id + 1)
        if self._alarms is not None and self._memory.alarms is None:
            self._alarms.load(saved.alarms)
        kept = saved if self._memory.traffic.counters is None else self._memory
        self._memory = kept._replace(report_id=report_id)
        self._boot = boot
        self._health.recovered("StateDirectory")
        return True

    def _save(self, memory: Memory) -> None:
        """Keep the memory, in this process and in the state file."""
        self._memory = memory
        if self._boot is None or self._lock is None:
            return
        from . import state

        try:
            self._lock.acquire()
            if self._alarms is not None:
                self._memory = memory = memory._replace(alarms=self._alarms.dump())
            state.save(self._config.state_directory, self._config.thing, self._boot, memory)
        except state.StateError as error:
            self._health.failed("StateDirectory", str(error))
        else:
            self._health.recovered("StateDirectory")


def _place(error: BaseException) -> str:
    """Return where an error was raised, as "report.py:88"."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "?"
    return f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"
