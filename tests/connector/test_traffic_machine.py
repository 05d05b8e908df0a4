"""After any sequence of faults the sum of all accepted network_stats is the kernel counters' change, to the byte.

A Hypothesis rule machine. The kernel counters' change is what looks at them can tell: traffic before the first, or
after the last look at an interface that was then reset or taken away, is in no counter that anybody could read.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.loop import After, Answer, Core, Loop, Never
from support.proc import dev
from support.stepped_clock import SteppedClock

from connector import state
from connector.kernel.counting import History, count
from connector.kernel.dev import NOTHING, Counters
from connector.memory import Memory
from connector.publisher import ANSWER_SECONDS
from connector.reporter import MAX_DELAY_SECONDS
from connector.traffic import add

EDGE = ["eth0", "wlan0", "wwan0", "\udce9th"]
NAMES = EDGE + ["lo", "veth12", "docker0"]  # the others' traffic does not leave the device


class TrafficAccount(NamedTuple):
    """What can be known.

    seen: what is known of each interface's counters; None before the first reading. What a change of them means is
        tested in test_traffic.py and test_counters_model.py.
    passed: the change since the first reading; None before the second.
    believed: whether the last reading was.
    told: of it, what is in reports of which the connector knows that the core has them.
    calls: how many were made; accepted: when the last accepted one was.
    """

    seen: Optional[Dict[str, History]] = None
    passed: Optional[Counters] = None
    believed: bool = True
    told: Counters = NOTHING
    calls: int = 0
    accepted: Optional[float] = None

    def look(self, interfaces: Dict[str, Counters]) -> TrafficAccount:
        edge = {name: counters for name, counters in interfaces.items() if name in EDGE}
        if self.seen is None:
            return self._replace(seen={name: History(counters) for name, counters in edge.items()})
        went = [history.last for name, history in self.seen.items() if name not in edge and history.last != NOTHING]
        passed, believed = self.passed or NOTHING, True
        seen: Dict[str, History] = {}
        for name, now in edge.items():
            renamed = any(all(new >= old for old, new in zip(last, now)) for last in went)
            change, seen[name] = count(self.seen.get(name) or History(now if renamed else NOTHING), now)
            passed, believed = add(passed, change or NOTHING), believed and change is not None
        return self._replace(seen=seen, passed=passed, believed=believed)

    def to_tell(self) -> Optional[Counters]:
        """What the next report has to say."""
        if self.passed is None or not self.believed:
            return None
        return Counters(*(max(0, passed - told) for passed, told in zip(self.passed, self.told)))


class Call(NamedTuple):
    """A call of the core: which, when, and what it has to carry."""

    number: int
    moment: float
    to_tell: Optional[Counters]


class ObservedCore(Core):
    """A core that shows each call and each report to the machine."""

    def __init__(self, machine: TrafficMachine) -> None:
        super().__init__(machine.clock)
        self._machine = machine
        self._call: Optional[Call] = None

    def start_call(self, call: Callable[[], None]) -> None:
        mine = self._machine.called()

        def watched() -> None:
            self._call = mine
            call()

        super().start_call(watched)

    def send(self, topic: str, payload: bytes) -> None:
        report = json.loads(payload.decode("ascii"))
        stats = report["metrics"].get("network_stats")
        carried = None if stats is None else Counters(**stats)
        assert self._call is not None
        self._machine.ids[self._call.number] = report["header"]["report_id"]
        if carried != self._call.to_tell:
            self._machine.wrong.append(f"a report says {carried}, not {self._call.to_tell}")
        super().send(topic, payload)
        self._machine.accepted(self._call, carried or NOTHING)


counts = st.integers(0, 3) | st.integers(2**33, 2**40)
# No more bytes than the packets can carry.
numbers = st.builds(
    lambda bytes_in, bytes_out, packets_in, packets_out: (
        min(bytes_in, packets_in << 16),
        min(bytes_out, packets_out << 16),
        packets_in,
        packets_out,
    ),
    *[counts] * 4,
)
errors = st.sampled_from(
    [ConnectionRefusedError(), ConnectionResetError(), Exception("HTTP Error 503: no"), ValueError()]
)
answers = st.one_of(
    st.none(),
    errors,
    st.builds(Never),
    st.builds(
        After,
        st.sampled_from([0.5, ANSWER_SECONDS - 0.5, ANSWER_SECONDS, ANSWER_SECONDS + 0.5, 70.0, 290.0, 700.0]),
        st.none() | errors,
    ),
)
names = st.sampled_from(NAMES)


class TrafficMachine(RuleBasedStateMachine):
    """A device's life: its interfaces, its core, its clocks and its function's restarts."""

    @initialize(remember=st.booleans(), wall=st.sampled_from([1_700_000_000.0, 3.0]))
    def begin(self, remember: bool, wall: float) -> None:
        self.root = tempfile.TemporaryDirectory()
        self.clock = SteppedClock()
        self.clock.step(wall - self.clock.time())
        self.loop = Loop(Path(self.root.name), clock=self.clock)
        self.loop.core = self.core = ObservedCore(self)
        self.loop.before_reading = self.look
        self.loop.host.write = lambda: None  # type: ignore[method-assign]
        self.remember = remember
        if remember:
            self.loop.remember()
        self.readable = True
        self.wrong: List[str] = []
        self.account = self.saved = TrafficAccount()
        self.late = NOTHING  # accepted, and the connector can't know before its next report
        self.twice = NOTHING  # what was told again, as the function ended before it could know
        self.sum = NOTHING  # of all accepted reports, of this boot or, without a state, of this run
        self.current: Optional[Call] = None
        self.looked = False
        self.ids: Dict[int, int] = {}  # report ids by the number of their call
        self.first_of_run = 0
        self.boots = 0
        patched = mock.patch.object(state, "save", self.save)
        patched.start()
        self.unpatch = patched.stop
        self.start()

    # --- what the connector does, seen from outside

    def look(self) -> None:
        """Before each look at the tables."""
        self.fold()
        self.looked = True
        interfaces = self.loop.host.interfaces
        content = dev(interfaces)
        (self.loop.host.directory / "1" / "net" / "dev").write_bytes(content if self.readable else content[:-9])
        if self.readable:
            self.account = self.account.look({name: Counters(*counters) for name, counters in interfaces.items()})

    def fold(self) -> None:
        self.account = self.account._replace(told=add(self.account.told, self.late))
        self.late = NOTHING

    def called(self) -> Call:
        to_tell = self.account.to_tell() if self.readable else None
        self.current = Call(len(self.core.calls), self.clock.monotonic(), to_tell)
        return self.current

    def accepted(self, call: Call, carried: Counters) -> None:
        self.sum = add(self.sum, carried)
        if call is not self.current:
            self.late = add(self.late, carried)
            return
        last = self.account.accepted
        if last is not None and call.moment - last < 300 - MAX_DELAY_SECONDS:
            self.wrong.append(f"two reports within {call.moment - last} s")
        self.account = self.account._replace(told=add(self.account.told, carried), accepted=call.moment)

    def save(self, directory: str, thing: str, boot: state.Boot, memory: Memory) -> None:
        """In the place of state.save: what is known now is known after a restart."""
        REAL_SAVE(directory, thing, boot, memory)
        if not self.looked:
            self.fold()
        self.looked = False
        self.current = None
        self.saved = self.account._replace(calls=len(self.core.calls))

    # --- what happens to it

    def start(self) -> None:
        self.loop.records.lines.clear()
        self.first_of_run = len(self.core.calls)
        self.clock.run(self.loop.reporter().run)

    def ended(self) -> None:
        """Forget what dies with the process; check what the run has said."""
        self.core.hanging.clear()
        self.clock._plan.clear()
        self.check_log()
        unknown = add(self.account.told, self.late)
        self.account = self.saved if self.remember else TrafficAccount()
        if self.remember:
            self.twice = add(self.twice, Counters(*(a - b for a, b in zip(unknown, self.account.told))))
        else:
            self.sum = self.twice = NOTHING
        # A call whose end was not seen by the connector: its number may be used again where the clock does not go on.
        self.ids = {number: report_id for number, report_id in self.ids.items() if number < self.account.calls}
        self.late = NOTHING
        self.current = None
        self.looked = False

    def check_log(self) -> None:
        said = [line.split()[0] for line in self.loop.logged(" publishing: ")]
        assert said == (["WARNING", "INFO"] * len(said))[: len(said)], self.loop.lines

    @rule(name=names, numbers=numbers)
    def traffic(self, name: str, numbers: Tuple[int, int, int, int]) -> None:
        """Also on an interface that is new."""
        self.loop.host.passed(name, *numbers)

    @rule(name=names, numbers=numbers)
    def reset(self, name: str, numbers: Tuple[int, int, int, int]) -> None:
        """A driver is loaded again, or the interface goes and another one of its name comes; then traffic passes."""
        self.loop.host.interfaces[name] = numbers

    @rule(name=names)
    def go(self, name: str) -> None:
        self.loop.host.interfaces.pop(name, None)

    @rule()
    def break_or_mend_the_table(self) -> None:
        self.readable = not self.readable

    @rule(answer=answers)
    def next_answer(self, answer: Answer) -> None:
        self.core.answers.append(answer)

    @rule(answer=answers)
    def usual_answer(self, answer: Answer) -> None:
        self.core.usual = answer

    @precondition(lambda self: self.core.hanging)
    @rule(data=st.data(), error=st.none() | errors)
    def answer_after_all(self, data: Any, error: Optional[Exception]) -> None:
        place = data.draw(st.integers(0, len(self.core.hanging) - 1), "which")
        self.core.hanging.pop(place)(error)

    @rule(answer=answers, numbers=numbers, seconds=st.sampled_from([29.0, 31.0, 40.0, 400.0]))
    def answer_too_late(self, answer: Answer, numbers: Tuple[int, int, int, int], seconds: float) -> None:
        """The core takes a report, perhaps after its successor: a way through the rules that chance seldom finds."""
        self.core.answers.extend([Never(), answer])
        self.clock.advance(300.0)
        self.loop.host.passed("eth0", *numbers)
        self.clock.advance(seconds)
        while self.core.hanging:
            self.core.hanging.pop(0)(None)

    @rule(seconds=st.sampled_from([0.0, 0.7, 2.0, 5.0, 29.9, 31.0, 100.0, 299.0, 300.0, 301.0, 900.0, 4000.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from([-40 * 365 * 86_400.0, -3600.0, -1.0, 1.0, 3600.0, 86_400.0 * 30]))
    def step_of_the_wall_clock(self, seconds: float) -> None:
        self.clock.step(max(seconds, -self.clock.time()))

    @rule(seconds=st.sampled_from([0.4, 1.5, 400.0, 40_000.0]))
    def stall(self, seconds: float) -> None:
        self.clock.pass_by(seconds)

    @rule(kill=st.booleans(), down=st.sampled_from([0.0, 3.0, 200.0, 2000.0]))
    def restart(self, kill: bool, down: float) -> None:
        self.clock.end(kill)
        self.ended()
        self.clock.pass_by(down)
        self.start()

    @precondition(lambda self: self.remember)
    @rule(kill=st.booleans(), wall=st.sampled_from([5.0, 1_700_100_000.0, 1_900_000_000.0]))
    def reboot(self, kill: bool, wall: float) -> None:
        self.clock.end(kill)
        self.ended()
        self.boots += 1
        self.account = self.saved = TrafficAccount(calls=len(self.core.calls))
        self.sum = self.twice = NOTHING
        for name in self.loop.host.interfaces:
            self.loop.host.interfaces[name] = (0, 0, 0, 0)
        self.clock.reboot(wall)
        self.loop.host.booted(f"b0071d00-0000-4000-8000-{self.boots + 1:012}", int(wall) - 10)
        self.start()

    # --- what must hold

    @invariant()
    def nothing_went_wrong(self) -> None:
        assert self.wrong == []
        assert self.clock.running, "the loop has ended"
        odd = [line for line in self.loop.lines if "none could be made" in line]
        assert odd == []

    @invariant()
    def there_is_no_burst(self) -> None:
        calls = self.core.calls[self.first_of_run :]
        assert all(tenth - first >= 300 for first, tenth in zip(calls, calls[9:])), calls

    @invariant()
    def report_ids_increase(self) -> None:
        ids = [self.ids[number] for number in sorted(self.ids) if self.remember or number >= self.first_of_run]
        assert all(before < after for before, after in zip([0] + ids, ids)), ids

    def teardown(self) -> None:
        """Mend everything, let enough pass for what was told twice, and settle the account."""
        if not hasattr(self, "root"):
            return
        try:
            self.core.answers.clear()
            self.core.usual = None
            self.readable = True
            self.clock.advance(2 * ANSWER_SECONDS + 1)
            for answered in self.core.hanging[:]:
                answered(None)
            self.core.hanging.clear()
            self.clock.advance(1000.0)
            for _ in range(2):
                self.loop.host.passed("eth0", *[2**50] * 4)
                self.clock.advance(300.0)
            self.nothing_went_wrong()
            self.check_log()
            assert self.account.passed is not None
            assert self.sum == add(self.account.passed, self.twice)
            assert self.account.to_tell() == NOTHING
        finally:
            if self.clock.running:
                self.clock.end(kill=True)
            self.unpatch()
            self.root.cleanup()


REAL_SAVE = state.save

TestTraffic = TrafficMachine.TestCase
TestTraffic.settings = settings(max_examples=60, stateful_step_count=40)
