"""Over a transport whose OK proves nothing, no byte is lost, and none is counted twice that the connector knows of.

Any sequence of OK, error, loss, late arrival, rejection, duplicates, missing answers, stops and kills.
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import List, Tuple
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from support.nucleus_loop import GOOD, Fate, NucleusLoop

from connector import deliveries
from connector.kernel.dev import Counters
from connector.traffic import add

delays = st.none() | st.sampled_from([0.0, 0.5, 12.0, 31.0, 299.0, 650.0, 1700.0])
fates = st.builds(
    Fate,
    ok=st.booleans(),
    arrives=delays,
    copies=st.sampled_from([1, 1, 2]),
    accepted=st.booleans(),
    answer=delays,
    names=st.just(True),
)
# (fates of the next reports, how much passes between readings, seconds of the run, whether it is killed, seconds down)
runs = st.tuples(
    st.lists(fates | st.just(GOOD), min_size=1, max_size=6),
    st.integers(0, 5),
    st.sampled_from([45.0, 700.0, 2000.0]),
    st.booleans(),
    st.sampled_from([0.0, 40.0, 500.0]),
)


def live(loop: NucleusLoop, life: List[Tuple[List[Fate], int, float, bool, float]]) -> None:
    for fates, factor, seconds, killed, down in life:
        loop.nucleus.fates.extend(fates)
        loop.before_reading = functools.partial(loop.passed, factor)
        if killed:
            loop.kill(seconds)
        else:
            loop.run(seconds)
        loop.clock.pass_by(down)


def settle(loop: NucleusLoop) -> Counters:
    """Mend everything, let what is late come, and enough pass for what is to be made up for; return what has passed."""
    loop.nucleus.fates.clear()
    if loop.nucleus.usual_fate.answer is not None:
        loop.nucleus.usual_fate = GOOD._replace(answer=0.0)  # also of a report that is the last before the stop
    loop.before_reading = lambda: loop.passed(1000)
    loop.run(4000)
    first = loop.nucleus.reports[0][0]
    assert first.traffic is None  # there was nothing to compare with
    received = Counters(*loop.host.interfaces["eth0"])
    return Counters(*(now - before for now, before in zip(received, FIRST)))


FIRST = (1_000_003, 70_001, 701, 303)  # what the first reading sees: it is where counting begins


@settings(max_examples=60)
@given(st.lists(runs, min_size=1, max_size=4))
def test_the_service_has_what_passed_and_twice_only_what_nobody_could_know_of(
    life: List[Tuple[List[Fate], int, float, bool, float]],
) -> None:
    with tempfile.TemporaryDirectory() as root, mock.patch.object(deliveries, "MAX_REPORTS_WITHOUT_ANSWER", 10**9):
        loop = NucleusLoop(Path(root))
        loop.passed()
        life[0] = ([GOOD, *life[0][0]], 0, *life[0][2:])
        live(loop, life)
        passed = settle(loop)
        assert loop.nucleus.sum == add(passed, loop.nucleus.unknown)
        assert loop.nucleus.counted[loop.nucleus.ids[-1]] is not None


@settings(max_examples=25)
@given(st.lists(runs, min_size=1, max_size=4))
def test_without_any_answer_ok_counts_as_delivery_and_still_nothing_is_lost_of_what_arrives(
    life: List[Tuple[List[Fate], int, float, bool, float]],
) -> None:
    with tempfile.TemporaryDirectory() as root:
        loop = NucleusLoop(Path(root))
        loop.passed()
        loop.nucleus.usual_fate = GOOD._replace(answer=None)
        life = [
            # Without answers only a report that arrives with its OK can be told from one that does not.
            (
                [fate._replace(arrives=0.0 if fate.ok else None, accepted=True, answer=None) for fate in fates],
                factor,
                seconds,
                killed,
                down,
            )
            for fates, factor, seconds, killed, down in life
        ]
        life[0] = ([loop.nucleus.usual_fate, *life[0][0]], 0, *life[0][2:])
        live(loop, life)
        passed = settle(loop)
        assert all(got >= sent for got, sent in zip(loop.nucleus.sum, passed))
        # The last report was taken off as soon as it was taken: the next one has what came after it alone.
        assert loop.nucleus.reports[-1][0].traffic == Counters(*(1000 * number for number in FIRST))
        assert len(loop.logged("no answer of Device Defender came")) <= len(life) + 1
