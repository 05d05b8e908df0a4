"""What passed an interface between two readings of its counters, which may wrap, be reset, or be wrong for a moment.

A report that claims traffic which did not pass raises a false alarm; one that leaves some out may miss a real one. The
rule, per interface (`count`):

1. All four counters grew: the change counts, provided that its packets can have carried its bytes (`_plausible`).
2. A counter fell, by itself, and a wrap at 32 bits explains it: what passed up to and after the wrap counts
   (`_wrapped`). Drivers of 32-bit kernels count in 32 bits, bytes as well as packets.
3. All four fell, and show less than half of what they did: a reset. What they show now counts.
4. Any other fall is a step back, as of a bond whose member left, or of a sum that was read while it changed: what fell
   counts nothing, and goes on from where it is now.
5. Four zeros say nothing: drivers show them while their hardware starts anew. The next reading is compared with the
   last one that was not zero.
6. A change that its packets can't have carried is not believed, and nothing of that reading counts.

After 3, 4 and 6 the interface may return to where it was, as after 5. So the counters from before are kept beside the
new ones (`History.others`). After a step back, a counter that passes its old value counts from there, and then they are
forgotten. After a reset they are forgotten unless all four are back at the next reading, which then counts from there.
A change that was not believed counts if at the next reading the packets can have carried all of it.

Limits, as the tables don't tell more:
- A reset after which more than half of the old values passed within one interval counts as a step back: what passed
  since the reset is left out. A step back of all four by more than half counts as a reset: up to half of the old values
  is counted without having passed.
- A counter below 4 GiB that steps back while its direction carries over 65,536 packets, so that a wrap at 32 bits is
  possible, counts as a wrap, unless the other direction's counter is past 32 bits. Two wraps in one interval count as
  one, and a wrap together with another fault of the same interface is not recognised.
- A reset after which all four pass their old values before the reading after the next leaves out what they had
  counted before it. Counters that are low for longer than one reading, but not zero, and then return count twice.
- When a counter passes the value that it had before a step back, up to one interval's traffic of it is left out.
- An interface's first reading is taken as it is, also if it is wrong.
- What passed before a reading that is not believed is left out if the next one goes on from that.
- What is wrong for longer than MAX_OTHERS further faults of the same interface counts as true.
"""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Tuple

from .dev import NOTHING, Counters

MAX_PACKET_BYTES = 1 << 16  # received or sent at once (GRO, TSO), which may count as one packet
MIN_PACKET_BYTES = 14  # an Ethernet header; packets without one have more (IPv4: 20)
MAX_OTHERS = 2  # earlier readings that are kept for an interface
_WRAP = 1 << 32  # a counter of 32 bits starts again at 0
_DIRECTIONS = ((0, 2), (1, 3))  # the places of bytes and packets in Counters, in and out


class Earlier(NamedTuple):
    """A reading that a later one may go on from, and what was counted since."""

    reading: Counters
    counted: Counters = NOTHING


class History(NamedTuple):
    """What is known of an interface's counters.

    last: the reading that the next one is compared with.
    others: earlier ones, at most MAX_OTHERS, that the next one may go on from instead.
    """

    last: Counters
    others: Tuple[Earlier, ...] = ()


# The outcome of a reading: what passed, None if the reading is not believed; and the history for the next one.
Passed = Tuple[Optional[Counters], History]


def count(history: History, now: Counters) -> Passed:
    """Return what passed an interface since the readings in `history`, by the rule above; no number is negative."""
    last, others = history
    if now == NOTHING:
        return NOTHING, history
    disbelieved = [other for other in others if all(low <= high for low, high in zip(other.reading, last))]
    starts = [start for start in (*disbelieved, Earlier(last), *others) if _grew(start.reading, now)]
    if starts:
        passed = _least(_since(starts[0], now), history, now)
        return passed, History(now, _remaining(last, others, now, passed))
    if _is_reset(last, now):
        return _believed(history, now, _least(now, history, now), now)
    return _fallen(history, now)


def _is_reset(last: Counters, now: Counters) -> bool:
    """Return whether all counters but those at 0 fell, and some of these show what passed since."""
    pairs = [(old, new) for old, new in zip(last, now) if old]
    return all(2 * new < old for old, new in pairs) and any(new for _, new in pairs)


def may_continue(history: History, now: Counters) -> bool:
    """Return whether a reading may be of the same interface: no counter is below one of the readings in `history`."""
    if now == NOTHING:
        return True
    starts = (history.last, *(other.reading for other in history.others))
    return any(all(new >= old for old, new in zip(start, now)) for start in starts)


def restarted(history: History, now: Counters) -> History:
    """Return the history of an interface whose counters count from now on, unless they return to where they were."""
    return History(now, (Earlier(history.last), *history.others)[:MAX_OTHERS])


def _fallen(history: History, now: Counters) -> Passed:
    """Return what passed if it is no reset, where each counter grew, wrapped or stepped back."""
    last = history.last
    passed, goes_on = list(NOTHING), list(now)
    has_wrapped = stepped_back = False
    for size, packets in _DIRECTIONS:
        steps = now[size] - last[size], now[packets] - last[packets]
        if min(steps) < 0:
            wrap = _wrapped(last, now, size, packets)
            has_wrapped, stepped_back = has_wrapped or wrap is not None, stepped_back or wrap is None
            if wrap is None and steps[1] < 0 < steps[0]:
                # How many packets carried these bytes is not known: the next reading has both.
                goes_on[size] = last[size]
                steps = NOTHING[:2]
            steps = wrap or steps
        passed[size], passed[packets] = max(0, steps[0]), max(0, steps[1])
    if has_wrapped and not stepped_back and _plausible(Counters(*passed)):
        return Counters(*passed), History(now)
    return _believed(history, now, _least(Counters(*passed), history, now), Counters(*goes_on))


def _believed(history: History, now: Counters, passed: Counters, goes_on: Counters) -> Passed:
    """Return what passed where counters fell, if its packets can have carried it, with the old readings kept."""
    if not _plausible(passed):
        higher = Counters(*map(max, history.last, now))
        return None, restarted(history, higher)
    kept = [Earlier(history.last), *history.others][:MAX_OTHERS]
    return passed, History(goes_on, tuple(_counted(other, passed) for other in kept))


def _least(passed: Counters, history: History, now: Counters) -> Counters:
    """Return the smallest change of each counter, from any reading that it may go on from.

    After a reset that is the one before it only if all counters are back.
    """
    least = list(passed)
    for other in history.others:
        back = [new >= old for old, new in zip(other.reading, now)]
        if all(back) or not _is_reset(other.reading, history.last):
            since = _since(other, now)
            least = [min(least[place], since[place]) if back[place] else least[place] for place in range(4)]
    return Counters(*least)


def _counted(other: Earlier, passed: Counters) -> Earlier:
    return Earlier(other.reading, Counters(*[a + b for a, b in zip(other.counted, passed)]))


def _since(start: Earlier, now: Counters) -> Counters:
    return Counters(*[max(0, number) for number in difference(difference(now, start.reading), start.counted)])


def _remaining(last: Counters, others: Tuple[Earlier, ...], now: Counters, passed: Counters) -> Tuple[Earlier, ...]:
    """Return those of `others` that a later reading may still go on from.

    None of the counters that stepped back has passed them; after a reset it is only the next one that may.
    """
    return tuple(
        _counted(other, passed)
        for other in others
        if any(old > low for old, low in zip(other.reading, last))
        and not any(new >= old > low for old, low, new in zip(other.reading, last, now))
        and not _is_reset(other.reading, last)
    )


def _wrapped(last: Counters, now: Counters, size: int, packets: int) -> Optional[Tuple[int, int]]:
    """Return the change of a direction's bytes and packets if a wrap at 32 bits of what fell explains it, else None.

    A fall to exactly 0 is no wrap: that would be a rare chance, while drivers often show 0 when they have no value.
    """
    steps: List[int] = []
    for place, other in ((size, size ^ 1), (packets, packets ^ 1)):
        step = now[place] - last[place]
        if step < 0:
            if not now[place] or max(last[place], last[other], now[other]) >= _WRAP:
                return None
            step += _WRAP
        steps.append(step)
    passed_bytes, passed_packets = steps
    if passed_bytes > MAX_PACKET_BYTES * passed_packets:
        return None
    if now[packets] < last[packets] and passed_bytes < MIN_PACKET_BYTES * passed_packets:
        return None
    return passed_bytes, passed_packets


def _grew(start: Counters, now: Counters) -> bool:
    return all(new >= old for old, new in zip(start, now)) and _plausible(difference(now, start))


def _plausible(change: Counters) -> bool:
    """Return whether a change's packets can have carried its bytes.

    One packet more is allowed: drivers count a packet's bytes a moment before, or after, the packet.
    """
    return all(change[size] <= MAX_PACKET_BYTES * (change[packets] + 1) for size, packets in _DIRECTIONS)


def difference(now: Counters, start: Counters) -> Counters:
    """Return the change from `start` to `now`, counter by counter; may be negative."""
    # Of a list, not of a generator: Python keeps the memory of each tuple that is made of one, up to 2,000 of them.
    return Counters(*[new - old for new, old in zip(now, start)])
