"""Properties of the traffic reported: any order of traffic, failures and gaps."""

from __future__ import annotations

from typing import Dict, FrozenSet, List

from hypothesis import given, settings
from hypothesis import strategies as st

from connector.kernel.dev import Counters
from connector.snapshot import Snapshot
from connector.traffic import Traffic

thorough = settings(max_examples=120)


@thorough
@given(st.data())
def test_changes_sent_add_up_to_the_traffic(data: st.DataObject) -> None:
    """Whatever fails to be read or published in between.

    An interface that is made anew under its old name counts from zero; what passed one that is removed was read before.
    """
    shown: Dict[str, List[int]] = {"eth0": [10**6] * 4, "ppp0": [10**6] * 4, "lo": [10**6] * 4}
    indexes = {"eth0": 2, "ppp0": 3}
    traffic = Traffic()
    passed, sent = [0] * 4, [0] * 4
    seen: FrozenSet[str] = frozenset()
    since = 0  # traffic before the first reading is not reported
    for step in range(data.draw(st.integers(2, 25))):
        event = data.draw(st.sampled_from(["traffic", "traffic", "add", "remove", "report", "failure", "unreadable"]))
        if event == "traffic":
            name = data.draw(st.sampled_from(sorted(shown)))
            amounts = data.draw(st.lists(st.integers(0, 1000), min_size=4, max_size=4))
            shown[name] = [old + new for old, new in zip(shown[name], amounts)]
            if name != "lo" and since:
                passed = [old + new for old, new in zip(passed, amounts)]
            continue
        if event == "add":
            if "ppp0" not in shown:
                shown["ppp0"], indexes["ppp0"] = [0] * 4, 4 + step
            continue
        counters = {name: Counters(*numbers) for name, numbers in shown.items()}
        edge = frozenset(name for name in shown if name != "lo")
        snapshot = Snapshot("n", counters=None if event == "unreadable" else counters, edge=edge, indexes=dict(indexes))
        traffic = traffic.observe(snapshot)
        if event == "unreadable":
            assert traffic.carry(snapshot) is None
            continue
        if not since:
            since, passed = 1, [0] * 4
        seen = edge
        carried = traffic.carry(snapshot)
        assert carried is None or min(carried) >= 0
        if event == "report" and carried is not None:
            sent = [old + new for old, new in zip(sent, carried)]
            traffic = traffic.delivered(carried)
        if event == "remove" and "ppp0" in seen:  # right after a reading, so that nothing passes unread
            del shown["ppp0"], indexes["ppp0"]
    final = Snapshot(
        scope="n",
        counters={name: Counters(*numbers) for name, numbers in shown.items()},
        edge=frozenset(name for name in shown if name != "lo"),
        indexes=indexes,
    )
    carried = traffic.observe(final).carry(final)
    total = [old + new for old, new in zip(sent, carried or (0, 0, 0, 0))]
    assert total == (passed if since else [0] * 4)


@thorough
@given(
    before=st.dictionaries(st.sampled_from("abc"), st.builds(Counters, *[st.integers(0, 2**64 - 1)] * 4)),
    now=st.dictionaries(st.sampled_from("abc"), st.builds(Counters, *[st.integers(0, 2**64 - 1)] * 4)),
)
def test_no_change_is_negative_or_more_than_the_counters_show(
    before: Dict[str, Counters], now: Dict[str, Counters]
) -> None:
    edge = frozenset(now)
    first, second = (Snapshot(scope="n", counters=counters, edge=edge) for counters in (before, now))
    traffic = Traffic().observe(first).observe(second)
    carried = traffic.carry(second)
    if carried is None:  # its packets can't have carried it
        assert list(traffic.problems) == ["network_stats"]
        return
    shown = [sum(counters[place] for counters in now.values()) for place in range(4)]
    # A counter of 32 bits that began anew had shown more.
    assert all(0 <= number < most + len(now) * 2**32 for number, most in zip(carried, shown) if number)
