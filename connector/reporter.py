"""The loop: when to report, what was not sent yet, and what to do when the core does not take it."""

from __future__ import annotations

import logging
import os
import random
from typing import Callable, Mapping, Optional

from . import state
from .clock import Clock
from .config import Config
from .cycle import delivered, make_report, observe
from .errors import PublishError
from .health import Health, plain
from .kernel.dev import Counters
from .publisher import Publisher
from .snapshot import NETWORK, Snapshot
from .state import Boot, Memory, StateError

FIRST_RETRY = 5.0  # seconds; doubled with each further failure, up to the interval
LATE = 1.0  # seconds; a report that begins later than this after its time had its time missed
STALLED = 60.0  # seconds; a report that takes longer had a stall in it: no core is waited for so long


class Reporter:
    """Reports until its clock is stopped.

    take: makes a snapshot. publisher: hands bytes to the core. read_boot: says which boot a saved state must be of, or
    None where that can't be read now.
    """

    def __init__(
        self,
        config: Config,
        take: Callable[[], Snapshot],
        publisher: Publisher[Optional[Counters]],
        clock: Clock,
        health: Health,
        rng: random.Random,
        logger: logging.Logger,
        read_boot: Callable[[], Optional[Boot]],
    ) -> None:
        self._config = config
        self._take = take
        self._publisher = publisher
        self._clock = clock
        self._health = health
        self._rng = rng
        self._logger = logger
        self._read_boot = read_boot
        self._boot: Optional[Boot] = None  # until a state is loaded and may be saved
        self._memory = Memory()
        self._problems: Mapping[str, str] = {}
        self._failures = 0

    def run(self) -> None:
        """Report at once, then every interval, until the clock is stopped. Never raises.

        The times are a grid on the monotonic clock, which does not drift with what a report takes; times missed in a
        stall are not made up for. A report that the core did not take is tried again before its successor's time, as a
        new one of that moment; then the distance that the service asks for may move the next off the grid.
        """
        self._load()
        origin = due = self._first_time()
        while self._wait_until(due):
            now = self._clock.monotonic()
            begun = due if now - due < LATE else now
            taken = self._guarded_report(begun)
            due = self._next_time(origin, begun, taken)

    def _first_time(self) -> float:
        now = self._clock.monotonic()
        sent = self._memory.sent
        if sent is None or sent > now:
            return now
        return max(now, sent + self._config.spacing)

    def _next_time(self, origin: float, begun: float, taken: Optional[bool]) -> float:
        """taken: whether the core took the report begun at `begun`; None where there was none to take."""
        interval = self._config.interval
        now = self._clock.monotonic()
        # The thousandth keeps a rounding error from finding the time that has just come.
        following = origin + interval * (int((now - origin) / interval + 0.001) + 1)
        if taken:
            self._failures = 0
            return max(following, (self._memory.sent or begun) + self._config.spacing)
        if taken is None:
            return following
        delay = min(interval, FIRST_RETRY * 2.0 ** min(self._failures, 30)) * self._rng.uniform(0.5, 1.0)
        self._failures += 1
        return min(following, now + delay)

    def _wait_until(self, due: float) -> bool:
        """Return whether there is a report to make, and not an end."""
        while not self._clock.stopped:
            left = due - self._clock.monotonic()
            if left <= 0:
                return True
            self._clock.wait(left)
        return False

    def _guarded_report(self, begun: float) -> Optional[bool]:
        try:
            taken = self._report(begun)
        except Exception as error:  # whatever it was, the next report must come
            self._health.failing("report", f"none could be made: {error!r} at {_place(error)}")
            return None
        if taken is not None:
            self._health.well("report")
        return taken

    def _report(self, begun: float) -> Optional[bool]:
        """Make one report of this moment; return whether the core took it, or None where there was nothing to send."""
        self._load()
        late = self._publisher.late()
        for late_carried in late:
            self._memory = self._memory._replace(traffic=self._memory.traffic.delivered(late_carried))
        if late and self._failures:
            self._health.well("publishing")
            self._remember(self._memory._replace(sent=begun))
            return True

        snapshot = self._take()
        problems = snapshot.problems
        if NETWORK in problems:  # what can't be looked at is no better than it was
            problems = {**self._problems, **problems}
        self._health.update(problems, self._problems)
        self._problems = problems
        self._memory = observe(self._memory, snapshot, self._clock.time())
        made = make_report(self._memory, snapshot, self._config.short_names, self._config.report_format)
        if made is None:
            return None
        try:
            self._publisher.publish(self._config.topic, made.payload, made.carried)
        except PublishError as error:
            if not self._clock.stopped:
                self._health.failing("publishing", str(error), type(error).__name__)
            # At a stop, too: what was seen now may be gone at the next start, and the core may have taken this id.
            self._remember(self._memory)
            return False
        self._health.well("publishing")
        now = self._clock.monotonic()
        sent = begun if now - begun < STALLED else now
        self._logger.debug("report %d was taken by the core: %d bytes", made.report_id, len(made.payload))
        self._remember(delivered(self._memory, made)._replace(sent=sent))
        return True

    def _load(self) -> None:
        """Take, once, what an earlier run has left; not before proc, a volume that may come late, tells the boot."""
        if not self._config.state_directory or self._boot is not None:
            return
        self._boot = self._read_boot()
        if self._boot is None:
            self._health.failing("StateDirectory", "not used yet: proc does not tell which boot of the host this is")
            return
        self._health.well("StateDirectory")
        try:
            left = state.load(self._config.state_directory, self._config.thing, self._boot)
        except StateError as error:
            left = error.memory
            self._logger.warning("StateDirectory: %s", plain(error))
        # A report that was under way when the function was killed may have used one more id.
        report_id = max(self._memory.report_id, left.report_id + 1)
        kept = left if self._memory.traffic.counters is None else self._memory
        self._memory = kept._replace(report_id=report_id)

    def _remember(self, memory: Memory) -> None:
        self._memory = memory
        if self._boot is not None:
            try:
                state.save(self._config.state_directory, self._config.thing, self._boot, memory)
            except StateError as error:
                self._health.failing("StateDirectory", str(error))
            else:
                self._health.well("StateDirectory")


def _place(error: BaseException) -> str:
    """Return where an error was raised, as `report.py:88`."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "?"
    return f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"
