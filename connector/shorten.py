"""A report that fits the transport: all lists as long as one size, the largest with which the report is short enough.

A shorter list is a uniform sample, as every list over MaxListSize is, so any entry is as likely as another. Totals and
traffic are exact whatever the size. Imported only where a report does not fit.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Callable, Optional, TypeVar

from .snapshot import Connections, Ports, Snapshot

if TYPE_CHECKING:
    from .cycle import Made

Lists = TypeVar("Lists", Connections, Ports)

# Never empty: the service takes an empty list for "there are none" and clears an alarm.
MIN_LIST_SIZE = 1


def shorten(
    snapshot: Snapshot, make: Callable[[Snapshot], Optional[Made]], max_bytes: int, rng: random.Random
) -> Optional[Made]:
    """Return the longest report of the snapshot that `max_bytes` hold; with lists of one entry where none does.

    make: makes the report of a snapshot.
    """
    connections = _sampler(snapshot.established, rng)
    tcp_ports, udp_ports = _sampler(snapshot.listening_tcp, rng), _sampler(snapshot.listening_udp, rng)

    def made_with(size: int) -> Optional[Made]:
        shown = snapshot._replace(
            established=connections(size), listening_tcp=tcp_ports(size), listening_udp=udp_ports(size)
        )
        made = make(shown)
        return None if made is None else made._replace(list_size=size)

    lists = (snapshot.established, snapshot.listening_tcp, snapshot.listening_udp)
    fits, too_long = MIN_LIST_SIZE, max((len(found.items) for found in lists if found is not None), default=0)
    best = made_with(fits)
    while too_long - fits > 1:
        size = (fits + too_long) // 2
        made = made_with(size)
        if made is not None and len(made.payload) <= max_bytes:
            fits, best = size, made
        else:
            too_long = size
    return best


def _sampler(lists: Optional[Lists], rng: random.Random) -> Callable[[int], Optional[Lists]]:
    """Return what draws a uniform sample of a size, in the list's own order; a larger one has all of a smaller one."""
    if lists is None:
        return lambda size: None
    found = lists
    places = rng.sample(range(len(found.items)), len(found.items))

    def sample(size: int) -> Lists:
        return found._replace(items=[found.items[place] for place in sorted(places[:size])])

    return sample
