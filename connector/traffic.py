"""The traffic that no accepted report has carried yet, from one reading of the interfaces' counters to the next.

Which interface is which: an interface is the one that had its index at the last reading, whatever its name. Where an
index is not known, the name is all there is. What a change of one interface's counters means is in kernel/counting.py.

An interface that was not there at the last reading counts from zero if it is known to be new:

- its name was that of a counted interface that is gone (ppp0, wwan0 and VPNs are made anew under their old names), and
  its index, another one, is higher than those of the first reading, of excluded interfaces and of others known to be
  new: the kernel counts up;
- or no table has its index (all of Linux have, for what is up), and none that is gone may have been renamed to it.

Otherwise it counts from this reading on: it may come from another network namespace, with all that it counted there, or
have been excluded. One that is gone counts nothing; when it comes back, it is one that was not there.

Known limit: a device that comes from another network namespace between two readings, with the index of one that
left and no counter lower, counts as that one renamed; with the name of one that is gone and such a higher index, as
that one made anew.
"""

from __future__ import annotations

from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .kernel.counting import Earlier, History, count, difference, may_continue, restarted
from .kernel.dev import NOTHING, Counters
from .snapshot import Snapshot

MAX_GONE = 64  # names of interfaces that are gone, the latest
MAX_FAULTY = 128  # interfaces with more than one reading to go on from; with more, the others have the last one only


class Traffic(NamedTuple):
    """The last reading of the counters, and the traffic that is still unsent.

    scope, excluded: as in Snapshot.
    counters: the last reading, by name, of the interfaces that are not excluded; None before the first.
    unsent: the change that no accepted report carried; None before there were two readings. It may be below zero after
        a report that was sent again was accepted twice; then the next ones carry less.
    compared: whether the last reading was compared with one before it.
    indexes: those of `counters` whose index was known, by name.
    last_index: the highest index that an interface known to be new must exceed, 0 if none is known.
    others: the readings besides `counters` that an interface may go on from (kernel/counting.py), by name.
    gone: names of interfaces that are gone, and the indexes they had, 0 if not known.
    problems: as in Snapshot: what is left out, and why.
    """

    scope: str = ""
    counters: Optional[Dict[str, Counters]] = None
    unsent: Optional[Counters] = None
    compared: bool = False
    indexes: Mapping[str, int] = {}
    last_index: int = 0
    others: Mapping[str, Tuple[Earlier, ...]] = {}
    gone: Mapping[str, int] = {}
    excluded: str = ""
    problems: Mapping[str, str] = {}

    def observe(self, snapshot: Snapshot) -> Traffic:
        """Return the traffic after a reading of the counters; unchanged if they could not be read.

        The change since the last reading is added at once, accepted or not: what passed before an interface was reset
        or removed is not lost to a failed publish.
        """
        if snapshot.counters is None:
            return self._replace(problems={})
        if self.counters is None or self.scope != snapshot.scope:
            return Traffic(
                scope=snapshot.scope,
                excluded=snapshot.excluded,
                counters=snapshot.counters,
                unsent=self.unsent,
                indexes=snapshot.indexes,
                last_index=max([snapshot.last_index, *snapshot.indexes.values()]),
            )
        return self._compare(self.counters, snapshot, snapshot.counters)

    def _compare(self, before: Dict[str, Counters], snapshot: Snapshot, now: Dict[str, Counters]) -> Traffic:
        # As nearly always: the same interfaces, each with its name and index. Then no table of them is made.
        same = now.keys() == before.keys() and snapshot.indexes == self.indexes
        sources = {} if same else self._sources(before, snapshot, now)
        left = _without([name for name in before if name not in now], sources)
        went = [name for name in left if before[name] != NOTHING]
        unsent = self.unsent or NOTHING
        last_index = max(self.last_index, snapshot.last_index)
        if not self.indexes:
            last_index = max([last_index, *snapshot.indexes.values()])
        counters: Dict[str, Counters] = {}
        others: Dict[str, Tuple[Earlier, ...]] = {}
        wrong: List[str] = []
        for name, reading in now.items():
            source = name if same else sources.get(name)
            if source is not None:
                start = History(before[source], self.others.get(source, ()))
            elif self._is_new(name, before, snapshot, went):
                start = History(NOTHING)
                last_index = max(last_index, snapshot.indexes.get(name, 0))
            else:
                start = History(reading)
            if source not in (None, name) and not may_continue(start, reading):
                # Another interface has got the index, or the one that was renamed shows wrong counters.
                start = restarted(start, reading)
            passed, (counters[name], kept) = count(start, reading)
            if kept and len(others) < MAX_FAULTY:
                others[name] = kept
            if name in snapshot.edge:
                if passed is None:
                    wrong.append(_impossible(name, difference(reading, start.last)))
                else:
                    unsent = add(unsent, passed)
        gone: Dict[str, int] = {}
        for name, index in [*self.gone.items(), *((name, self.indexes.get(name, 0)) for name in left)]:
            # A name leads to one index: one that is forgotten here must not seem new when it comes back.
            if name not in now:
                last_index = max(last_index, gone.pop(name, 0))
                gone[name] = index
            elif index != snapshot.indexes.get(name, index):
                last_index = max(last_index, index)
        for name in list(gone)[:-MAX_GONE]:
            last_index = max(last_index, gone.pop(name))
        return Traffic(
            scope=self.scope,
            excluded=snapshot.excluded,
            counters=counters,
            unsent=unsent,
            compared=not wrong,
            indexes=snapshot.indexes,
            last_index=last_index,
            others=others,
            gone=gone,
            problems={"network_stats": f"left out of the reports: {'; '.join(wrong[:3])}"} if wrong else {},
        )

    def _sources(self, before: Dict[str, Counters], snapshot: Snapshot, now: Dict[str, Counters]) -> Dict[str, str]:
        """Return under which name of the last reading each interface's counters are, if it was there."""
        names = {index: name for name, index in self.indexes.items() if name in before}
        sources = {name: names[index] for name, index in snapshot.indexes.items() if name in now and index in names}
        by_name = [name for name in now if name not in sources and name in before]
        for name in _without(by_name, sources):
            if name not in self.indexes or name not in snapshot.indexes:
                sources[name] = name
        return sources

    def _is_new(self, name: str, before: Mapping[str, Counters], snapshot: Snapshot, went: Sequence[str]) -> bool:
        index = snapshot.indexes.get(name, 0)
        if index and self.last_index:
            old = self.indexes.get(name, 0) if name in before else self.gone.get(name, index)
            came_back = index == old or index in self.gone.values()
            return index > self.last_index and not came_back and old not in snapshot.indexes.values()
        if self.excluded != snapshot.excluded or len(went) > MAX_GONE:
            return False
        reading = (snapshot.counters or {})[name]
        return not any(all(new >= old for old, new in zip(before[other], reading)) for other in went)

    def carry(self, snapshot: Snapshot) -> Optional[Counters]:
        """Return what a report of the snapshot, once observed, carries as network_stats.

        None if the counters could not be read or believed, or there was nothing to compare them with.
        """
        if snapshot.counters is None or self.unsent is None or not self.compared:
            return None
        return Counters(*[max(0, number) for number in self.unsent])

    def delivered(self, carried: Optional[Counters]) -> Traffic:
        """Return the traffic after a report with these network_stats was accepted; None: it had none."""
        if carried is None:
            return self
        return self._replace(unsent=difference(self.unsent or NOTHING, carried))


def _without(names: List[str], sources: Mapping[str, str]) -> List[str]:
    """Return those names that are the source of no interface. Mostly there are none to ask for, and no set is made."""
    used = set(sources.values()) if names else ()
    return [name for name in names if name not in used]


def add(one: Counters, other: Counters) -> Counters:
    """Return the sum, counter by counter."""
    return Counters(*[a + b for a, b in zip(one, other)])  # of a list, as in kernel/counting.py


def _impossible(name: str, change: Counters) -> str:
    return (
        f"{name} shows {change.bytes_in} bytes in {change.packets_in} packets received and {change.bytes_out} bytes in "
        f"{change.packets_out} packets sent since the last reading, which its packets can't have carried"
    )
