"""30 days at the 300 s interval with random faults and restarts: nothing grows, every byte is reported once."""

from __future__ import annotations

import gc
import json
import random
import sys
import threading
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, NamedTuple

import pytest
from support.descriptors import open_paths
from support.loop import START, After, Answer, Core, Loop, Never
from support.proc import dev

from connector.kernel.dev import NOTHING, Counters
from connector.publisher import ANSWER_SECONDS
from connector.reporter import MAX_DELAY_SECONDS
from connector.traffic import add

DAY = 86_400.0
DAYS = 30
RESTART_DAYS = 6  # at the beginning, in which the function is restarted again and again
MEASURED = (8, 29)  # days whose memory, threads and descriptors are compared
CALM = 1500.0  # seconds without faults before a restart: longer than the latest answer, with some reports after it
LATEST = 700.0  # seconds that the latest answer takes
EDGE = ("eth0", "wwan0")


class Size(NamedTuple):
    """What the process holds at a moment.

    objects: known to the garbage collector. blocks: of memory, for objects of any kind. descriptors: open files.
    """

    objects: int
    blocks: int
    threads: int
    descriptors: int


def size(others: Iterable[threading.Thread], others_paths: Iterable[str]) -> Size:
    """Return the present size, without threads and files that were there before, which earlier tests may still end."""
    gc.collect()
    threads = set(threading.enumerate()) - set(others)
    descriptors = set(open_paths()) - set(others_paths)
    return Size(len(gc.get_objects()), sys.getallocatedblocks(), len(threads), len(descriptors))


class FaultyCore(Core):
    """A core with single faults and outages. It checks each report and keeps none."""

    def __init__(self, soak: Soak) -> None:
        super().__init__(soak.loop.clock)
        self.sum = NOTHING
        self.accepted = self.late = self.failed = 0
        self.wrong: List[str] = []
        self.ids_by_call: Dict[int, int] = {}
        self._soak = soak
        self._outage_until = 0.0
        self._number = 0
        self._called = 0.0
        self._of_call = 0
        self._last_accepted = -DAY

    def start_call(self, call: Callable[[], None]) -> None:
        self._number += 1
        number, moment = self._number, self._clock.monotonic()

        def watched() -> None:
            self._of_call, self._called = number, moment
            call()

        if self.hanging and self._soak.rng.random() < 0.05:  # the core has restarted: unanswered calls are reset
            while self.hanging:
                self.hanging.pop()(ConnectionResetError())
        self.answers.append(self._answer(moment))
        super().start_call(watched)
        self.calls.clear()

    def _answer(self, now: float) -> Answer:
        rng = self._soak.rng
        if now > self._soak.calm_from:
            return None
        if rng.random() < 0.01:
            self._outage_until = now + rng.choice([60.0, 900.0, 8000.0])
        if now > self._outage_until and rng.random() > 0.02:
            return None
        error = rng.choice([ConnectionRefusedError(), ConnectionResetError(), Exception("HTTP Error 503: no")])
        late = After(rng.uniform(0.5, LATEST), rng.choice([None, error]))
        answers: List[Answer] = [error, error, After(rng.uniform(0.5, ANSWER_SECONDS - 0.5)), late, Never()]
        return rng.choice(answers)

    def send(self, topic: str, payload: bytes) -> None:
        report = json.loads(payload.decode("ascii"))
        self.ids_by_call[self._of_call] = report["header"]["report_id"]
        if self._error is not None:
            self.failed += 1
            raise self._error
        stats = report["metrics"].get("network_stats")
        if stats is not None:
            self.sum = add(self.sum, Counters(**stats))
        self.accepted += 1
        if self._clock.monotonic() - self._called >= ANSWER_SECONDS:
            self.late += 1  # given up by then: the connector can't know that its next report comes too soon
            return
        if (
            self._called - self._last_accepted < 300.0 - MAX_DELAY_SECONDS
        ):  # an exception here would be taken for the core's
            self.wrong.append(f"two reports within {self._called - self._last_accepted} s")
        self._last_accepted = self._called

    def check_ids(self) -> None:
        """Check that ids increase by call; keep those of calls that may still be answered."""
        numbers = sorted(self.ids_by_call)
        ids = [self.ids_by_call[number] for number in numbers]
        assert all(before < after for before, after in zip(ids, ids[1:])), ids
        for number in numbers[:-30]:
            del self.ids_by_call[number]


class Soak:
    """A device over 30 days."""

    def __init__(self, root: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.loop = Loop(root, seed=seed).remember()
        self.loop.core = self.core = FaultyCore(self)
        self.loop.before_reading = self.happen
        self.loop.host.write = self.write  # type: ignore[method-assign]
        self.readable = True
        self.readings = 0
        self.calm_from = 0.0
        self.interfaces: Dict[str, Counters] = dict.fromkeys([*EDGE, "lo"], NOTHING)
        self.seen: Dict[str, Counters] = {}
        self.passed = NOTHING  # over the counted interfaces, since the first reading
        self.sizes: Dict[int, Size] = {}
        self.others, self.others_paths = threading.enumerate(), open_paths()
        self.restarts = 0

    def run(self) -> None:
        clock = self.loop.clock
        while clock.monotonic() < START + DAYS * DAY:
            seconds = self.rng.choice([3000.0, 20_000.0, DAY / 2]) + self.rng.uniform(0, 300)
            if clock.monotonic() > START + RESTART_DAYS * DAY:  # then without an end: what one run gathers would show
                seconds = START + DAYS * DAY - clock.monotonic() + 1.0
            self.calm_from = clock.monotonic() + seconds - CALM
            self.rng.choice([self.loop.run, self.loop.kill])(seconds)
            clock._plan.clear()
            clock.pass_by(self.rng.choice([0.0, 5.0, 400.0]))
            self.restarts += 1
        # Traffic that was reported twice is subtracted from the next reports; this is enough for all of it.
        self.calm_from = 0.0
        self.interfaces["eth0"] = add(self.interfaces["eth0"], Counters(*[2**45] * 4))
        self.loop.run(1000.0)

    def happen(self) -> None:
        """Let things happen to the device before each reading of its tables."""
        self.readings += 1
        clock, rng = self.loop.clock, self.rng
        day = int((clock.monotonic() - START) / DAY)
        if day in MEASURED and day not in self.sizes:
            self.check_log()
            self.core.check_ids()
            self.forget()
            self.sizes[day] = size(self.others, self.others_paths)
        calm = clock.monotonic() > self.calm_from
        if not calm and rng.random() < 0.003:
            clock.step(rng.choice([-3600.0, -1.0, 1.0, 3600.0]))
        if rng.random() < 0.003 and clock.monotonic() + 6000.0 < self.calm_from:
            stall = rng.choice([2.0, 400.0, 5000.0])
            clock.at(clock.monotonic() + rng.uniform(0.0, 300.0), lambda: clock.pass_by(stall))
        self.readable = calm or rng.random() > 0.01
        for name, before in self.interfaces.items():
            small = Counters(*(rng.randrange(1, 1000) for _ in before))
            if self.readable and min(self.seen.get(name, NOTHING)) > 1000 and rng.random() < 0.005:
                self.interfaces[name] = small  # its driver was loaded again
                self.seen[name] = NOTHING
            else:
                self.interfaces[name] = add(before, Counters(*(1001 * number for number in small)))
        if self.readable:
            if self.readings > 1:
                for name in EDGE:
                    change = (now - then for now, then in zip(self.interfaces[name], self.seen[name]))
                    self.passed = add(self.passed, Counters(*change))
            self.seen = dict(self.interfaces)

    def write(self) -> None:
        content = dev({name: tuple(counters) for name, counters in self.interfaces.items()})  # type: ignore[misc]
        (self.loop.host.directory / "1" / "net" / "dev").write_bytes(content if self.readable else content[:-9])

    def check_log(self) -> None:
        assert not self.loop.logged("none could be made")
        assert not self.loop.logged("StateDirectory")

    def forget(self) -> None:
        """Drop what the doubles have kept; only the connector is measured."""
        kept: List[List[Any]] = [self.loop.readings, self.loop.lines, self.core.ids, self.core.topics, self.core.taken]
        for records in kept:
            records.clear()


@pytest.mark.parametrize("seed", [1])
def test_thirty_days_report_every_byte_once_without_growth(tmp_path: Path, seed: int) -> None:
    soak = Soak(tmp_path, seed)
    soak.run()
    core = soak.core
    assert core.wrong == []
    soak.check_log()
    core.check_ids()
    assert soak.readings >= 0.9 * DAYS * DAY / 300
    assert min(core.accepted, core.failed, core.late, soak.restarts) > 10, "this seed leaves a kind of fault out"
    assert core.sum == soak.passed
    early, late = (soak.sizes[day] for day in MEASURED)
    assert (late.threads, late.descriptors) == (early.threads, early.descriptors)
    # Unanswered calls hold a few hundred objects. One object kept for each report would be 6,000 more.
    assert late.objects - early.objects < 300, (early, late)
    assert late.blocks - early.blocks < 700, (early, late)
