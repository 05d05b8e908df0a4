"""network_stats: which interface is which, what a change of its counters means, and that each change is sent once."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

import pytest

from connector import state
from connector.kernel.dev import Counters
from connector.memory import Memory
from connector.snapshot import Snapshot
from connector.state import Boot
from connector.traffic import MAX_GONE, Traffic

Numbers = Tuple[int, int, int, int]  # bytes in, bytes out, packets in, packets out
Seen = Mapping[str, Numbers]
GB = 10**9
NOTHING = (0, 0, 0, 0)
TURN = 2**32


def reading(seen: Seen, indexes: Optional[Mapping[str, int]] = None, last: int = 0, excluded: str = "lo") -> Snapshot:
    indexes = indexes or {}
    return Snapshot(
        scope="/host_proc/1/net",
        excluded=excluded,
        counters={name: Counters(*numbers) for name, numbers in seen.items()},
        edge=frozenset(seen) - {"lo"},
        indexes=indexes,
        last_index=last,
    )


def sent(*snapshots: Snapshot) -> List[Optional[Numbers]]:
    """What a report of each snapshot carries, if each report is accepted."""
    traffic = Traffic()
    reports: List[Optional[Numbers]] = []
    for snapshot in snapshots:
        traffic = traffic.observe(snapshot)
        carried = traffic.carry(snapshot)
        reports.append(carried and (*carried,))
        traffic = traffic.delivered(carried)
    return reports


# The counters of one interface, reading after reading -> what passed before the second, the third and so on.
COUNTERS: Dict[str, Tuple[Sequence[Numbers], Sequence[Optional[Numbers]]]] = {
    "nothing passed": ([(5, 6, 7, 8)] * 2, [NOTHING]),
    "all grew": ([(5, 6, 7, 8), (10, 106, 8, 18)], [(5, 100, 1, 10)]),
    "from nothing": ([NOTHING, (9, 8, 1, 1)], [(9, 8, 1, 1)]),
    "reset": ([(500, 500, 50, 50), (3, 4, 1, 2)], [(3, 4, 1, 2)]),
    "reset of an interface that only received": ([(500, 0, 50, 0), (3, 0, 1, 0)], [(3, 0, 1, 0)]),
    "reset, and it goes on": ([(5000, 500, 50, 50), (30, 40, 1, 2), (35, 40, 2, 2)], [(30, 40, 1, 2), (5, 0, 1, 0)]),
    "reset of one direction": ([(500, 500, 50, 50), (3, 600, 1, 60)], [(0, 100, 0, 10)]),
    # 32-bit kernels.
    "bytes in turn": ([(TURN - 1, 1, 9, 9), (10, 2, 12, 11)], [(11, 1, 3, 2)]),
    "bytes turn in both directions": (
        [(TURN - 1, 2**31, 9, 9), (10, 2**31 - 1, 12, 9 + 2**17)],
        [(11, TURN - 1, 3, 2**17)],
    ),
    "as many bytes as the packets can carry": ([(TURN - 1, 1, 1, 1), (65535, 1, 2, 1)], [(65536, 0, 1, 0)]),
    "one byte more": ([(TURN - 1, 1, 1, 1), (65536, 1, 2, 1)], [(0, 0, 1, 0)]),
    "at half the turn": ([(2**31 - 1, 1, 1, 1), (10, 2, 2**20, 2)], [(2**31 + 11, 1, 2**20 - 1, 1)]),
    "packets turn": ([(1000, 5000, TURN - 1, 9), (2000, 5001, 3, 10)], [(1000, 1, 4, 1)]),
    "bytes and packets turn at once": (
        [(TURN - 1000, 5, TURN - 10, 9), (1000, 6, 10, 10)],
        [(2000, 1, 20, 1)],
    ),
    "bytes past 32 bits can't turn": ([(TURN, 1, 1, 1), (10, 2, 2**20, 2)], [(0, 1, 2**20 - 1, 1)]),
    "if the other direction is past 32 bits, this one can't turn": (
        [(40 * GB, 3 * GB, 10**8, 10**8), (40 * GB, 2_999_000_000, 10**8, 10**8 + 10**6)],
        [(0, 0, 0, 10**6)],
    ),
    "too few packets for a turn": ([(2**31, 1, 1, 1), (10, 2, 2**15, 2)], [(0, 1, 2**15 - 1, 1)]),
    "too few bytes for a turn of packets": ([(10**6, 9, 1000, 9), (10**6 + 9000, 9, 995, 9)], [(0, 0, 0, 0)]),
    "a value of zero is no turn": ([(3 * GB, 9, 10**7, 9), (0, 9, 10**7 + 10**5, 9)], [(0, 0, 10**5, 0)]),
    # Steps back.
    "an aggregate's member leaves": (
        [
            (100 * GB, GB, 10**8, 10**6),
            (99_900_000_000, GB, 99_900_000, 10**6),
            (99_900_005_000, GB, 99_900_004, 10**6),
        ],
        [NOTHING, (5000, 0, 4, 0)],
    ),
    "all four step back": (
        [(100 * GB, 50 * GB, 10**8, 10**7), (99 * GB, 49 * GB, 99 * 10**6, 99 * 10**5)],
        [NOTHING],
    ),
    "a stale reading": (
        [(100 * GB, GB, 10**8, 10**6), (99 * GB, GB, 99 * 10**6, 10**6), (100 * GB + 7000, GB, 10**8 + 5, 10**6)],
        [NOTHING, (7000, 0, 5, 0)],
    ),
    "packets step back while bytes grow: the next reading has both": (
        [(10 * GB, 9, 1000, 9), (10 * GB + 500, 9, 990, 9), (10 * GB + 900, 9, 1010, 9)],
        [NOTHING, (900, 0, 10, 0)],
    ),
    # Zeros that pass.
    "zeros once": (
        [(9 * GB, GB, 10**7, 10**6), NOTHING, (9 * GB + 1000, GB, 10**7 + 3, 10**6)],
        [NOTHING, (1000, 0, 3, 0)],
    ),
    "zeros twice, then a reset": (
        [(9 * GB, GB, 10**7, 10**6), NOTHING, NOTHING, (1000, 60, 3, 1)],
        [NOTHING, NOTHING, (1000, 60, 3, 1)],
    ),
    "zeros of one direction": (
        [(9 * GB, GB, 10**7, 10**6), (0, GB + 60, 0, 10**6 + 1), (9 * GB + 500, GB + 90, 10**7 + 2, 10**6 + 2)],
        [(0, 60, 0, 1), (500, 30, 2, 1)],
    ),
    "a low reading of all four, and back": (
        [(9 * GB, GB, 10**7, 10**6), (400, 300, 2, 1), (9 * GB + 1000, GB + 300, 10**7 + 3, 10**6 + 1)],
        [(400, 300, 2, 1), (600, 0, 1, 0)],
    ),
    # What can't be.
    "too many bytes once": (
        [(2147480000, 100, 2000000, 1), (2**64 - 2**31, 200, 2000010, 2), (2147490000, 200, 2000012, 2)],
        [None, (10000, 100, 12, 1)],
    ),
    "too many bytes for good": (
        [(2147480000, 100, 2000000, 1), (2**64 - 2**31, 200, 2000010, 2), (2**64 - 2**31 + 70, 230, 2000011, 3)],
        [None, (70, 30, 1, 1)],
    ),
    "a packet's bytes before the packet": ([(100, 1, 10, 1), (1600, 1, 10, 1)], [(1500, 0, 0, 0)]),
    "more bytes than one packet has, without any": ([(100, 1, 10, 1), (100 + 65537, 1, 10, 1)], [None]),
    "the highest counters": ([(0, 0, 0, 0), (2**64 - 1,) * 4], [(2**64 - 1,) * 4]),
}


@pytest.mark.parametrize(("readings", "expected"), list(COUNTERS.values()), ids=list(COUNTERS))
def test_change_of_one_interface_is_counted(readings: Sequence[Numbers], expected: Sequence[Optional[Numbers]]) -> None:
    snapshots = [reading({"eth0": numbers}, {"eth0": 2}) for numbers in readings]
    assert sent(*snapshots) == [None, *expected]


def test_change_that_packets_can_not_have_carried_is_a_problem_until_the_next_reading() -> None:
    before = reading({"eth0": (0, 0, 0, 0), "eth1": (5, 5, 1, 1)})
    jump = reading({"eth0": (10**15, 60, 10, 1), "eth1": (65, 5, 2, 1)})
    after = reading({"eth0": (1000, 60, 12, 1), "eth1": (65, 5, 2, 1)})
    traffic = Traffic().observe(before).observe(jump)
    assert traffic.problems == {
        "network_stats": "left out of the reports: eth0 shows 1000000000000000 bytes in 10 packets received and 60 "
        "bytes in 1 packets sent since the last reading, which its packets can't have carried"
    }
    assert traffic.carry(jump) is None
    traffic = traffic.observe(after)
    assert traffic.problems == {}
    assert traffic.carry(after) == (1060, 60, 13, 1), "eth1's traffic is in the next report"


E0, E1 = (4_300_000, 900_000, 5000, 4000), (10, 20, 1, 1)
# Which interface is which: readings with indexes -> what the last report carries.
IDENTITIES: Dict[str, Tuple[Sequence[Snapshot], Numbers]] = {
    "renamed": (
        [reading({"eth0": E0}, {"eth0": 2}), reading({"wan0": (4_300_060, *E0[1:])}, {"wan0": 2})],
        (60, 0, 0, 0),
    ),
    "renamed, and another one made under the old name": (
        [reading({"eth0": E0}, {"eth0": 2}), reading({"wan0": E0, "eth0": (60, 0, 1, 0)}, {"wan0": 2, "eth0": 9})],
        NOTHING,
    ),
    "swapped": (
        [
            reading({"eth0": E0, "eth1": E1}, {"eth0": 2, "eth1": 3}),
            reading({"eth1": E0, "eth0": (70, 20, 2, 1)}, {"eth1": 2, "eth0": 3}),
        ],
        (60, 0, 1, 0),
    ),
    "moved in, with an index of its own": (
        [reading({"eth0": E1}, {"eth0": 4}), reading({"eth0": E1, "eth1": E0}, {"eth0": 4, "eth1": 3})],
        NOTHING,
    ),
    "moved in, with the next index": (
        [reading({"eth0": E1}, {"eth0": 2}), reading({"eth0": E1, "eth1": E0}, {"eth0": 2, "eth1": 3})],
        NOTHING,
    ),
    "moved in, and counted from then on": (
        [
            reading({"eth0": E1}, {"eth0": 2}),
            reading({"eth0": E1, "eth1": E0}, {"eth0": 2, "eth1": 3}),
            reading({"eth0": E1, "eth1": (4_300_500, 900_000, 5001, 4000)}, {"eth0": 2, "eth1": 3}),
        ],
        (500, 0, 1, 0),
    ),
    "moved away and back": (
        [
            reading({"eth0": E1, "eth1": E1}, {"eth0": 2, "eth1": 3}),
            reading({"eth0": E1}, {"eth0": 2}),
            reading({"eth0": E1, "eth1": E0}, {"eth0": 2, "eth1": 3}),
        ],
        NOTHING,
    ),
    "an index taken by another device with lower counters": (
        [reading({"eth1": E0}, {"eth1": 3}), reading({"wan1": E1}, {"wan1": 3})],
        NOTHING,
    ),
    "made anew, past its old counters": (
        [reading({"ppp0": E1}, {"ppp0": 7}), reading({"ppp0": E0}, {"ppp0": 8})],
        E0,
    ),
    "made anew after a reading without it": (
        [reading({"ppp0": E0}, {"ppp0": 7}), reading({}, {"eth9": 2}, 7), reading({"ppp0": E1}, {"ppp0": 8})],
        E1,
    ),
    "made anew with an index that was seen before": (
        [reading({"ppp0": E1}, {"ppp0": 7}, 12), reading({"ppp0": E0}, {"ppp0": 9}, 12)],
        NOTHING,
    ),
    "made anew, beside one that moved in with a higher index": (
        [
            reading({"ppp0": E1}, {"ppp0": 4}),
            reading({"ppp0": E1, "eth1": E1}, {"ppp0": 4, "eth1": 80}),
            reading({"ppp0": E0, "eth1": E1}, {"ppp0": 5, "eth1": 80}),
        ],
        E0,
    ),
    "another device of the same name and index": (
        [
            reading({"eth0": E1}, {"eth0": 2}),
            reading({"eth0": E1, "eth1": E1}, {"eth0": 2, "eth1": 3}),
            reading({"eth0": E1}, {"eth0": 2}),
            reading({"eth0": E1, "eth1": E0}, {"eth0": 2, "eth1": 3}),
        ],
        NOTHING,
    ),
    "moved away and back, after others had its name": (
        [
            reading({"eth0": E1, "wan0": E1}, {"eth0": 2, "wan0": 6}),
            reading({"eth0": E1, "wan0": E1, "wwan0": E1}, {"eth0": 2, "wan0": 6, "wwan0": 9}),
            reading({"eth0": E1, "wan0": E1}, {"eth0": 2, "wan0": 6}),
            reading({"eth0": E1, "wwan0": E1}, {"eth0": 2, "wwan0": 6}),
            reading({"eth0": E1}, {"eth0": 2}),
            reading({"eth0": E1, "wwan0": E0}, {"eth0": 2, "wwan0": 9}),
        ],
        NOTHING,
    ),
    "gone": ([reading({"eth0": E1, "ppp0": E0}), reading({"eth0": (70, 20, 2, 1)})], (60, 0, 1, 0)),
    "without indexes: by name": ([reading({"eth0": E0}), reading({"eth0": (4_300_060, *E0[1:])})], (60, 0, 0, 0)),
    "without indexes: a new one": ([reading({"eth0": E0}), reading({"eth0": E0, "usb0": E1})], E1),
    "without indexes: a new one that may be a renamed one": ([reading({"eth0": E1}), reading({"wan0": E0})], NOTHING),
    "without indexes: a new one that can't be the one that went": (
        [reading({"wlan0": E0}), reading({"usb0": E1})],
        E1,
    ),
    "the index is known from now on": (
        [reading({"eth0": E0}), reading({"eth0": (4_300_060, *E0[1:])}, {"eth0": 2})],
        (60, 0, 0, 0),
    ),
    "the indexes are known from now on, and another one moves in": (
        [
            reading({"eth0": E1}),
            reading({"eth0": E1}, {"eth0": 2}),
            reading({"eth0": E1, "eth1": E0}, {"eth0": 2, "eth1": 3}),
        ],
        NOTHING,
    ),
    "the index is no longer known": (
        [reading({"eth0": E0}, {"eth0": 2}), reading({"eth0": (4_300_060, *E0[1:])})],
        (60, 0, 0, 0),
    ),
    "excluded until now": (
        [
            reading({"eth0": E1}, {"eth0": 2}, 5, "lo,tun0"),
            reading({"eth0": (70, 20, 2, 1), "tun0": E0}, {"eth0": 2, "tun0": 5}),
        ],
        (60, 0, 1, 0),
    ),
    "excluded until now, without indexes": (
        [reading({"eth0": E1}, excluded="lo,tun0"), reading({"eth0": (70, 20, 2, 1), "tun0": E0})],
        (60, 0, 1, 0),
    ),
    "excluded from now on": (
        [reading({"eth0": E1, "tun0": E1}), reading({"eth0": (70, 20, 2, 1)}, excluded="lo,tun0")],
        (60, 0, 1, 0),
    ),
    "a sum over the edge": (
        [reading({"eth0": E1, "eth1": E1, "lo": E1}), reading({"eth0": (11, 22, 1, 1), "eth1": E0, "lo": E0})],
        (4_299_991, 899_982, 4999, 3999),
    ),
}


@pytest.mark.parametrize(("readings", "expected"), list(IDENTITIES.values()), ids=list(IDENTITIES))
def test_interface_is_told_by_its_index(readings: Sequence[Snapshot], expected: Numbers) -> None:
    assert sent(*readings)[-1] == expected


def test_redeploy_with_other_excluded_interfaces_compares_those_that_count_before_and_after(tmp_path: Path) -> None:
    """With a StateDirectory: eth0 counts on, tun0 no longer, and wg0 from its first reading on."""
    boot = Boot("b0071d00-0000-4000-8000-000000000001", 0)
    before = reading({"eth0": (1000, 0, 10, 0), "tun0": E1}, excluded="lo,wg*")
    traffic = Traffic().observe(before).observe(before._replace(counters={"eth0": Counters(2100, 0, 20, 0)}))
    state.save(str(tmp_path), "gateway-7", boot, Memory(traffic=traffic))
    after = reading({"eth0": (9100, 0, 90, 0), "wg0": E0}, excluded="lo,tun*")
    loaded = state.load(str(tmp_path), "gateway-7", boot).traffic
    assert loaded.observe(after).carry(after) == (8100, 0, 80, 0)


def test_names_of_interfaces_that_are_gone_are_bounded() -> None:
    traffic = Traffic().observe(reading({}))
    for number in range(3 * MAX_GONE):
        traffic = traffic.observe(reading({f"tun{number}": E1}, {f"tun{number}": number + 1}))
    assert len(traffic.gone) == MAX_GONE
    assert list(traffic.gone.items())[-1] == (f"tun{3 * MAX_GONE - 2}", 3 * MAX_GONE - 1)


def one(bytes_in: Optional[int], name: str = "eth0", net: str = "/host_proc/1/net") -> Snapshot:
    """A reading of one interface; None: the counters could not be read."""
    if bytes_in is None:
        return Snapshot(scope=net)
    return Snapshot(scope=net, counters={name: Counters(bytes_in, 0, 1, 0)}, edge=frozenset({name}))


def bytes_in(carried: Optional[Counters]) -> Optional[int]:
    return None if carried is None else carried.bytes_in


def test_first_report_has_no_network_stats() -> None:
    """Neither zeros nor what passed since the boot."""
    assert Traffic().observe(one(5000)).carry(one(5000)) is None


def test_failed_publish_leaves_the_change_to_the_next_report() -> None:
    """Also what passed before an interface was removed, whose counters can't be read any more."""
    traffic = Traffic().observe(one(1000)).observe(one(1010))
    traffic = traffic.observe(one(5, name="wwan0"))
    carried = traffic.carry(one(5, name="wwan0"))
    assert bytes_in(carried) == 15
    traffic = traffic.delivered(carried).observe(one(6, name="wwan0"))
    assert bytes_in(traffic.carry(one(6, name="wwan0"))) == 1


def test_unreadable_counters_leave_the_change_to_the_next_report() -> None:
    traffic = Traffic().observe(one(1000)).observe(one(None))
    assert traffic.carry(one(None)) is None
    traffic = traffic.delivered(None).observe(one(1010))
    assert bytes_in(traffic.carry(one(1010))) == 10


def test_counters_of_another_network_are_not_compared() -> None:
    """If process 1 becomes hidden, or visible again, the counters are those of another network.

    What passed since the last reading is not known, and not reported; what was unsent before is sent with the next.
    """
    traffic = Traffic().observe(one(1000)).observe(one(1010))
    hidden = one(7, net="/host_proc/net")
    traffic = traffic.observe(hidden)
    assert traffic.carry(hidden) is None
    traffic = traffic.delivered(traffic.carry(hidden)).observe(one(9, net="/host_proc/net"))
    assert bytes_in(traffic.carry(one(9, net="/host_proc/net"))) == 12


def test_report_that_was_accepted_twice_is_taken_off_the_next_ones() -> None:
    """No number is negative, and in the end the sum is right."""
    traffic = Traffic().observe(one(0)).observe(one(100))
    carried = traffic.carry(one(100))
    traffic = traffic.delivered(carried).delivered(carried)
    reports = []
    for number in (130, 180, 300):
        traffic = traffic.observe(one(number))
        carried = traffic.carry(one(number))
        reports.append(bytes_in(carried))
        traffic = traffic.delivered(carried)
    assert reports == [0, 0, 100]
