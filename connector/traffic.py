"""What crossed the device's edge and was not reported yet: the one thing that is remembered between reports."""

from __future__ import annotations

from typing import Collection, Dict, Mapping, NamedTuple, Optional

from .kernel.dev import NOTHING, Counters
from .snapshot import Snapshot

LARGEST_PACKET = 1 << 16  # bytes; what is received or sent in one go may count as one packet


class Traffic(NamedTuple):
    """An account of the counters' change.

    scope, counters: of what and what the counters were when last seen; counters None before they ever were.
    unsent: the change that no accepted report carried; None before there was anything to compare. It may be below zero
    while a report that was given up and sent again turns out to have got through twice; then the next ones carry less.
    compared: whether the last look had one before it, of the same scope, to be compared with.
    """

    scope: str = ""
    counters: Optional[Dict[str, Counters]] = None
    unsent: Optional[Counters] = None
    compared: bool = False

    def observe(self, snapshot: Snapshot) -> Traffic:
        """Return the account after a look at the counters; as it was where they could not be read.

        The change since the last look, accepted or not, is added at once: so nothing that passed before an interface
        was reset or went away is lost to a failed publish.
        """
        if snapshot.counters is None:
            return self
        if self.counters is None or self.scope != snapshot.scope:
            return self._replace(scope=snapshot.scope, counters=snapshot.counters, compared=False)
        passed = change(self.counters, snapshot.counters, snapshot.edge)
        return self._replace(counters=snapshot.counters, unsent=add(self.unsent or NOTHING, passed), compared=True)

    def carry(self, snapshot: Snapshot) -> Optional[Counters]:
        """Return what a report of the snapshot, once observed, says as network_stats.

        None where the counters could not be read or there is nothing yet to compare them with.
        """
        if snapshot.counters is None or self.unsent is None or not self.compared:
            return None
        return Counters(*(max(0, number) for number in self.unsent))

    def delivered(self, carried: Optional[Counters]) -> Traffic:
        """Return the account after a report that carried this was accepted."""
        if carried is None:
            return self
        return self._replace(unsent=add(self.unsent or NOTHING, Counters(*(-number for number in carried))))


def change(before: Mapping[str, Counters], now: Mapping[str, Counters], edge: Collection[str]) -> Counters:
    """Return what passed the interfaces of `edge` between two readings; no number is below zero.

    One that is new counts from zero. One of whose counters any went down was reset, and counts what it shows now. One
    that went counts nothing.
    """
    total = NOTHING
    for name in edge:
        total = add(total, _passed(before.get(name, NOTHING), now[name]))
    return total


def _passed(start: Counters, end: Counters) -> Counters:
    """Return what passed one interface.

    A driver on a 32-bit kernel may count in 32 bits (`unsigned long` of struct net_device_stats): then bytes begin anew
    every 4 GiB. That is no reset, which takes the packets of the same direction down as well.
    """
    steps = [new - old for new, old in zip(end, start)]
    for size, count in ((0, 2), (1, 3)):  # bytes and packets in, bytes and packets out
        if steps[size] < 0 < steps[count] and 2**31 <= start[size] < 2**32 and end[size] < 2**31:
            around = steps[size] + 2**32
            if around <= LARGEST_PACKET * steps[count]:
                steps[size] = around
    return Counters(*steps) if min(steps) >= 0 else end


def add(one: Counters, other: Counters) -> Counters:
    return Counters(*(a + b for a, b in zip(one, other)))
