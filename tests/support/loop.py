"""The loop without waiting and without a core: a clock, a host and a transport that do what the test says.

One thread runs all of it: a wait of the clock moves its time on and lets happen what was planned for that time.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import logging
import random
from pathlib import Path
from typing import Any, Callable, ContextManager, Deque, Dict, List, NamedTuple, Optional, Tuple, Union

import pytest

from connector import clock as real
from connector import config
from connector.agent import assemble
from connector.kernel.dev import Counters
from connector.memory import Memory
from connector.reporter import Reporter
from connector.snapshot import Snapshot, Source, Wanted
from connector.transports import Transport
from support.proc import dev, tree

THING = "gateway-7"
TOPIC = "$aws/things/gateway-7/defender/metrics/json"
HOUR = 3600.0
DAY = 24 * HOUR
STEP = Counters(1_000_003, 70_001, 701, 303)  # what `moving` lets pass before each reading
START = 1_000_000.0  # seconds, of both of a fake clock's clocks: a device that has been up for a while
EPOCH = 1_700_000_000.0
MAX_WAITS = 100_000  # of one test; 60 days of reports are 17,280


class FakeClock(real.Clock):
    """Two clocks that move when somebody waits. `at` plans what happens meanwhile, also in the middle of a wait."""

    def __init__(self, monotonic: float = START, wall: float = EPOCH) -> None:
        self.stopped = False
        self.woken = False
        self._monotonic = monotonic
        self._ahead = wall - monotonic
        self._plan: List[Tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._waits = 0

    def time(self) -> float:
        return self._monotonic + self._ahead

    def monotonic(self) -> float:
        return self._monotonic

    def wake(self) -> None:
        self.woken = True

    def stop(self) -> None:
        self.stopped = True
        self.wake()

    def wait(self, seconds: float) -> None:
        assert seconds > 0, "a wait for nothing would spin"
        self._waits += 1
        if self._waits > MAX_WAITS:
            # No AssertionError: the reporter logs errors and goes on.
            pytest.fail(f"the loop has waited {MAX_WAITS} times: what ends the test did not happen, see the log")
        end = self._monotonic + seconds
        while not self.woken and self._plan and self._plan[0][0] <= end:
            moment, _, happen = heapq.heappop(self._plan)
            self._monotonic = max(self._monotonic, moment)
            happen()
        if not self.woken:
            self._monotonic = max(self._monotonic, end)
        self.woken = False

    def at(self, moment: float, happen: Callable[[], object]) -> None:
        """Plan something for a moment of the monotonic clock."""
        heapq.heappush(self._plan, (moment, next(self._order), happen))

    def step(self, seconds: float) -> None:
        """Set the wall clock forward, or back."""
        self._ahead += seconds

    def pass_by(self, seconds: float) -> None:
        """Let time pass that nobody waited for: a slow call, a stall."""
        self._monotonic += seconds


class Host:
    """A proc tree whose interfaces, tables and boot the test changes; `directory` is the mount."""

    def __init__(self, directory: Path, boot_id: str = "b0071d00-0000-4000-8000-000000000001") -> None:
        self.directory = directory
        self.interfaces: Dict[str, Tuple[int, int, int, int]] = {"lo": (0, 0, 0, 0), "eth0": (0, 0, 0, 0)}
        tree(directory)
        self.booted(boot_id)

    def booted(self, boot_id: str, seconds: int = 1_699_000_000) -> None:
        """Say which boot it is, and when it was."""
        path = self.directory / "sys" / "kernel" / "random"
        path.mkdir(parents=True, exist_ok=True)
        (path / "boot_id").write_text(boot_id + "\n")
        (self.directory / "stat").write_text(f"cpu  10 0 10 100 0 0 0 0 0 0\nbtime {seconds}\n")

    def passed(self, name: str, *numbers: int) -> None:
        """Add to an interface's counters: bytes in, bytes out, packets in, packets out."""
        before = self.interfaces.get(name, (0, 0, 0, 0))
        self.interfaces[name] = (
            before[0] + numbers[0],
            before[1] + numbers[1],
            before[2] + numbers[2],
            before[3] + numbers[3],
        )

    def write(self) -> None:
        """Put the counters where the kernel has them."""
        (self.directory / "1" / "net" / "dev").write_bytes(dev(self.interfaces))


class Taken(NamedTuple):
    """A report that the core took: when (monotonic), and what it says."""

    moment: float
    report: Dict[str, Any]

    @property
    def id(self) -> int:
        number: int = self.report["header"]["report_id"]
        return number

    @property
    def traffic(self) -> Optional[Counters]:
        stats = self.report["metrics"].get("network_stats")
        return None if stats is None else Counters(**stats)


class Told(NamedTuple):
    """An event of an alarm that the core took: when (monotonic), and what it says."""

    moment: float
    event: Dict[str, Any]

    @property
    def summary(self) -> str:
        """Return the type and the behavior: "in-alarm Ports"."""
        return f"{self.event['violationEventType']} {self.event['behavior']['name']}"


class Never:
    """The core accepts the call and does not answer, until the test lets it."""


class After(NamedTuple):
    """The core answers after so many seconds: with an error, or it took the report."""

    seconds: float
    error: Optional[Exception] = None


Answer = Union[Exception, Never, After, None]  # None: the report is taken at once


class Core(Transport):
    """A transport without a core, and the thread that a call is made on.

    answers: what it does with the next calls, in order. usual: with those after them. verdicts: whether Device Defender
    answers an accepted report.
    """

    peer = "the core"

    def __init__(self, clock: FakeClock) -> None:
        self.answers: Deque[Answer] = Deque()
        self.usual: Answer = None
        self.verdicts = True
        self.calls: List[float] = []  # when each call was made
        self.ids: List[int] = []  # the report id of each call, once it got through to the client
        self.topics: List[str] = []  # the topic of each
        self.taken: List[Taken] = []
        self.refused: Dict[str, Exception] = {}  # by topic, whatever `answers` says
        self.events: List[Told] = []  # of alarms
        self.hanging: List[Callable[[Optional[Exception]], None]] = []
        self._clock = clock
        self._error: Optional[Exception] = None

    def start_call(self, call: Callable[[], None]) -> None:
        """What the publisher takes for a new thread."""
        self.calls.append(self._clock.monotonic())
        answer = self.answers.popleft() if self.answers else self.usual

        def answered(error: Optional[Exception]) -> None:
            self._error = error
            call()

        if isinstance(answer, Never):
            self.hanging.append(answered)
        elif isinstance(answer, After):
            late = answer
            self._clock.at(self._clock.monotonic() + late.seconds, lambda: answered(late.error))
        else:
            answered(answer)

    def send(self, topic: str, payload: bytes) -> None:
        self.topics.append(topic)
        document = json.loads(payload.decode("ascii"))
        if topic in self.refused:
            raise self.refused[topic]
        if "violationEventType" in document:
            if self._error is not None:
                raise self._error
            self.events.append(Told(self._clock.monotonic(), document))
            return
        self.ids.append(document["header"]["report_id"])
        if self._error is not None:
            raise self._error
        self.taken.append(Taken(self._clock.monotonic(), document))
        if self.verdicts:
            self.on_message(
                {"thingName": topic.split("/")[2], "reportId": self.ids[-1], "status": "ACCEPTED"}, topic + "/accepted"
            )


class Records(logging.Handler):
    """Keeps what was logged as "LEVEL text"."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: List[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.getMessage()}")


class Killed(BaseException):
    """The function is gone at once, as after SIGKILL."""


class Loop:
    """A connector on a host and a core. `run` runs it for a while, from a start of the function to a stop."""

    def __init__(self, root: Path, clock: Optional[FakeClock] = None, seed: int = 4, **settings: str) -> None:
        self.clock = clock or FakeClock()
        self.seed = seed
        self.core = Core(self.clock)
        self.host = Host(root / "host_proc")
        self.state = root / "state"
        self.settings = {"AWS_IOT_THING_NAME": THING, **settings}
        self.records = Records()
        self.logger = logging.Logger("test", logging.INFO)
        self.logger.addHandler(self.records)
        self.readings: List[float] = []
        self.before_reading: Callable[[], None] = lambda: None
        self.memory: Optional[Memory] = None  # what the next start takes over from another reporter of its process

    def remember(self) -> Loop:
        """Give the function a StateDirectory."""
        self.state.mkdir(exist_ok=True)
        self.settings["StateDirectory"] = str(self.state)
        return self

    def reporter(self) -> Reporter:
        """Make what a start of the function makes."""
        self.clock.stopped = self.clock.woken = False
        parsed, warnings = config.parse(self.settings)
        assert not warnings
        wanted = parsed.wanted._replace(proc=str(self.host.directory))

        loop = self

        class HostSource(Source):
            """Reads the made host, whose network is not this process' own."""

            def take(self) -> Snapshot:
                loop.readings.append(loop.clock.monotonic())
                loop.before_reading()
                loop.host.write()
                return super().take()

        def source(wanted: Wanted, rng: random.Random) -> Source:
            return HostSource(wanted, rng, own=str(self.host.directory / "none"))

        rng = random.Random(self.seed)
        wanted_too = parsed._replace(wanted=wanted)
        return assemble(
            wanted_too, self.core, self.clock, rng, self.logger, source, self.core.start_call, memory=self.memory
        )

    def run(self, seconds: float, watch: Optional[ContextManager[object]] = None) -> Loop:
        """Start the function, and stop it after so long. watch: entered while the loop runs."""
        self.clock.at(self.clock.monotonic() + seconds, self.clock.stop)
        reporter = self.reporter()
        with watch or contextlib.nullcontext():
            reporter.run()
        if reporter._lock is not None:
            reporter._lock.release()  # as the end of the process does
        self.core.hanging.clear()  # the core sees the connections close
        return self

    def hand_over(self, seconds: float) -> Loop:
        """Report for so long; the next reporter is of the same process, as after a change of the settings."""
        self.clock.at(self.clock.monotonic() + seconds, self.clock.stop)
        reporter = self.reporter()
        reporter.run()
        self.memory = reporter.memory
        return self

    def kill(self, seconds: float) -> Loop:
        """Start the function, and let it vanish after so long, or in the wait for the core that is on then."""

        def kill() -> None:
            raise Killed

        self.clock.at(self.clock.monotonic() + seconds, kill)
        try:
            self.reporter().run()
        except Killed:
            self.core.hanging.clear()
        return self

    @property
    def lines(self) -> List[str]:
        """What was logged."""
        return self.records.lines

    def logged(self, *words: str) -> List[str]:
        """The lines that have all these words."""
        return [line for line in self.lines if all(word in line for word in words)]

    def calls_within(self, seconds: float) -> List[int]:
        """How many calls there were from each call on, for so long."""
        calls = self.core.calls
        return [sum(begin <= call < begin + seconds for call in calls) for begin in calls]

    @property
    def moments(self) -> List[float]:
        """When reports were taken, in seconds since the clock's start."""
        return [taken.moment - START for taken in self.core.taken]


def total(reports: List[Taken]) -> Counters:
    """What the reports say passed, in all."""
    numbers = [report.traffic for report in reports if report.traffic is not None]
    return Counters(*(sum(column) for column in zip(*numbers))) if numbers else Counters(0, 0, 0, 0)


def times(count: int) -> Counters:
    """So many times STEP."""
    return Counters(*(count * number for number in STEP))


def moving(loop: Loop) -> None:
    """Let STEP pass on eth0 before each reading of the counters."""
    loop.before_reading = lambda: loop.host.passed("eth0", *STEP)


def gaps(moments: List[float]) -> List[float]:
    """Return the seconds from each moment to the next."""
    return [after - before for before, after in zip(moments, moments[1:])]
