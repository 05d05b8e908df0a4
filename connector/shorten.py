"""Makes a report fit the transport: cuts all lists to one length, the greatest with which the report is short enough.

A cut list is a uniform sample, like every list over MaxListSize, so each entry is as likely to be in it as any other.
Totals and traffic stay exact. Imported only when a report does not fit.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Callable, Optional, TypeVar

from .snapshot import Connections, Ports, Snapshot

if TYPE_CHECKING:
    from .cycle import Made

Lists = TypeVar("Lists", Connections, Ports)

# Never 0: the service takes an empty list as "there are none", and clears an alarm.
MIN_LIST_SIZE = 1


def shorten(
    snapshot: Snapshot, make: Callable[[Snapshot], Optional[Made]], max_bytes: int, rng: random.Random
) -> Optional[Made]:
    """Return the longest report of the snapshot that fits in `max_bytes`; if none does, that with lists of one entry.

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
    """Return a function that draws a uniform sample of a given size, in the list's order.

    A larger sample contains every smaller one.
    """
    if lists is None:
        return lambda size: None
    found = lists
    places = rng.sample(range(len(found.items)), len(found.items))

    def sample(size: int) -> Lists:
        return found._replace(items=[found.items[place] for place in sorted(places[:size])])

    return sample
