"""network_stats: every byte that crosses the edge, counted once, and reported once, whatever happens between."""

from __future__ import annotations

from typing import Dict, Iterable, Optional, Tuple

import pytest

from connector.kernel.dev import Counters
from connector.snapshot import Snapshot
from connector.traffic import Traffic, change

Seen = Dict[str, Tuple[int, int, int, int]]
# What happens between two readings -> before, now, what counts, the change.
CHANGES: Dict[str, Tuple[Seen, Seen, Iterable[str], Tuple[int, int, int, int]]] = {
    "no interface": ({}, {}, [], (0, 0, 0, 0)),
    "nothing passed": ({"eth0": (5, 6, 7, 8)}, {"eth0": (5, 6, 7, 8)}, ["eth0"], (0, 0, 0, 0)),
    "all counters rose": ({"eth0": (5, 6, 7, 8)}, {"eth0": (10, 106, 8, 18)}, ["eth0"], (5, 100, 1, 10)),
    "a sum over the edge": (
        {"eth0": (5, 5, 5, 5), "wlan0": (1, 1, 1, 1), "lo": (0, 0, 0, 0)},
        {"eth0": (6, 7, 8, 9), "wlan0": (2, 2, 2, 2), "lo": (900, 900, 9, 9)},
        ["eth0", "wlan0"],
        (2, 3, 4, 5),
    ),
    "one appeared": (
        {"eth0": (5, 5, 5, 5)},
        {"eth0": (5, 5, 5, 5), "ppp0": (7, 8, 9, 10)},
        ["eth0", "ppp0"],
        (7, 8, 9, 10),
    ),
    "one went": ({"eth0": (5, 5, 5, 5), "ppp0": (7, 8, 9, 10)}, {"eth0": (6, 6, 6, 6)}, ["eth0"], (1, 1, 1, 1)),
    "one was reset": ({"eth0": (500, 500, 50, 50)}, {"eth0": (3, 4, 1, 2)}, ["eth0"], (3, 4, 1, 2)),
    "one was reset and is ahead again in most": (
        {"eth0": (9, 9, 9, 9)},
        {"eth0": (90, 90, 90, 8)},
        ["eth0"],
        (90, 90, 90, 8),
    ),
    "one reset among others": (
        {"eth0": (9, 9, 9, 9), "eth1": (1, 1, 1, 1)},
        {"eth0": (8, 8, 8, 8), "eth1": (2, 2, 2, 2)},
        ["eth0", "eth1"],
        (9, 9, 9, 9),
    ),
    # A driver of a 32-bit kernel: bytes alone begin anew, while the packets they came in go on.
    "bytes in wrapped around": (
        {"eth0": (2**32 - 1, 1, 9, 9)},
        {"eth0": (10, 2, 12, 11)},
        ["eth0"],
        (11, 1, 3, 2),
    ),
    "bytes both ways wrapped around": (
        {"eth0": (2**32 - 1, 2**31, 9, 9)},
        {"eth0": (10, 2**31 - 1, 12, 9 + 2**17)},
        ["eth0"],
        (11, 2**32 - 1, 3, 2**17),
    ),
    # A reset takes the packets down too, 64 bits don't wrap, and no packet has a gigabyte.
    "a reset at the end of 32 bits": (
        {"eth0": (2**32 - 1, 1, 9, 9)},
        {"eth0": (10, 2, 3, 4)},
        ["eth0"],
        (10, 2, 3, 4),
    ),
    "bytes beyond 32 bits went down": (
        {"eth0": (2**32, 1, 1, 1)},
        {"eth0": (10, 2, 2**20, 2)},
        ["eth0"],
        (10, 2, 2**20, 2),
    ),
    "half of 32 bits is too far for a wrap": (
        {"eth0": (2**31 - 1, 1, 1, 1)},
        {"eth0": (10, 2, 2**20, 2)},
        ["eth0"],
        (10, 2, 2**20, 2),
    ),
    "too many bytes for the packets": (
        {"eth0": (2**31, 1, 1, 1)},
        {"eth0": (10, 2, 2**15, 2)},
        ["eth0"],
        (10, 2, 2**15, 2),
    ),
    "the greatest counters": ({"eth0": (0, 0, 0, 0)}, {"eth0": (2**64 - 1,) * 4}, ["eth0"], (2**64 - 1,) * 4),
}


def counters(seen: Seen) -> Dict[str, Counters]:
    return {name: Counters(*numbers) for name, numbers in seen.items()}


@pytest.mark.parametrize(("before", "now", "edge", "expected"), list(CHANGES.values()), ids=list(CHANGES))
def test_the_change_is_taken_per_interface(
    before: Seen, now: Seen, edge: Iterable[str], expected: Tuple[int, int, int, int]
) -> None:
    assert change(counters(before), counters(now), frozenset(edge)) == Counters(*expected)


def reading(bytes_in: Optional[int], name: str = "eth0", net: str = "/host_proc/1/net") -> Snapshot:
    """A snapshot of one interface; None: the counters could not be read."""
    if bytes_in is None:
        return Snapshot(scope=net)
    return Snapshot(scope=net, counters={name: Counters(bytes_in, 0, 0, 0)}, edge=frozenset({name}))


def bytes_in(carried: Optional[Counters]) -> Optional[int]:
    return None if carried is None else carried.bytes_in


def test_the_first_report_has_nothing_to_compare_with() -> None:
    """It carries no network_stats: neither zeros nor what passed since the boot."""
    assert Traffic().observe(reading(5000)).carry(reading(5000)) is None


def test_each_report_carries_what_none_before_it_did() -> None:
    traffic, sent = Traffic(), []
    for number in (1000, 1010, 1010, 1500):
        traffic = traffic.observe(reading(number))
        carried = traffic.carry(reading(number))
        sent.append(bytes_in(carried))
        traffic = traffic.delivered(carried)
    assert sent == [None, 10, 0, 490]


def test_after_a_failed_publish_the_next_report_carries_its_change_too() -> None:
    """Also what passed before an interface went away: its counters are not there to be asked any more."""
    traffic = Traffic().observe(reading(1000)).observe(reading(1010))
    traffic = traffic.observe(reading(5, name="wwan0"))
    carried = traffic.carry(reading(5, name="wwan0"))
    assert bytes_in(carried) == 15
    traffic = traffic.delivered(carried).observe(reading(6, name="wwan0"))
    assert bytes_in(traffic.carry(reading(6, name="wwan0"))) == 1


def test_counters_that_can_not_be_read_for_a_while_lose_nothing() -> None:
    """The block is left out of that report; the next one has the change since the last reading."""
    traffic = Traffic().observe(reading(1000)).observe(reading(None))
    assert traffic.carry(reading(None)) is None
    traffic = traffic.delivered(None).observe(reading(1010))
    assert bytes_in(traffic.carry(reading(1010))) == 10


def test_counters_of_another_network_are_not_compared() -> None:
    """When process 1 becomes hidden, or visible again, the counters are those of another network.

    Of what passed since the last look nothing is known, and nothing said; what was unsent before is sent with the next.
    """
    traffic = Traffic().observe(reading(1000)).observe(reading(1010))
    hidden = reading(7, net="/host_proc/net")
    traffic = traffic.observe(hidden)
    assert traffic.carry(hidden) is None
    traffic = traffic.delivered(traffic.carry(hidden)).observe(reading(9, net="/host_proc/net"))
    assert bytes_in(traffic.carry(reading(9, net="/host_proc/net"))) == 12


def test_what_got_through_twice_is_taken_off_the_next_reports() -> None:
    """A report given up as lost that was not: no number below zero, and in the end the sum is right."""
    traffic = Traffic().observe(reading(0)).observe(reading(100))
    carried = traffic.carry(reading(100))
    traffic = traffic.delivered(carried).delivered(carried)
    sent = []
    for number in (130, 180, 300):
        traffic = traffic.observe(reading(number))
        carried = traffic.carry(reading(number))
        sent.append(bytes_in(carried))
        traffic = traffic.delivered(carried)
    assert sent == [0, 0, 100]
