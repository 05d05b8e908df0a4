"""Whether a value is what a behavior calls normal.

Source: developer guide, "Behaviors". `conforms` takes one number or one element of a list, so it serves a single
measurement as well as the distinct values of a column.
"""

from __future__ import annotations

import operator
from typing import Any, Callable, Collection, Dict, Iterable, NamedTuple, Set, Tuple, Union

from .networks import Networks
from .profile import Behavior

COMPARE: Dict[str, Callable[[Any, Any], bool]] = {
    "less-than": operator.lt,
    "less-than-equals": operator.le,
    "greater-than": operator.gt,
    "greater-than-equals": operator.ge,
}

MAX_HELD_ELEMENTS = 4096  # in memory at once while distinct elements are counted, about 400 KB of addresses


class Violation(NamedTuple):
    """What of a datapoint is not normal.

    elements: the first distinct ones; of a number, itself
    total: how many distinct ones there are; 0: the datapoint conforms
    """

    elements: Tuple[Any, ...] = ()
    total: int = 0


CONFORMING = Violation()


def conformity(behavior: Behavior) -> Callable[[Any], bool]:
    """Return a function from one number, or one element of a list, to whether it is normal."""
    assert behavior.operator is not None
    if behavior.operator in COMPARE:
        compare, limit = COMPARE[behavior.operator], behavior.limit
        return lambda value: compare(value, limit)
    elements: Union[Networks, Collection[Any]] = frozenset(behavior.elements)
    if behavior.kind == "cidrs":
        elements = Networks(behavior.elements)
    if behavior.operator.startswith("not-"):
        return lambda element: element not in elements
    return elements.__contains__


def judge(conforms: Callable[[Any], bool], value: Any, max_elements: int) -> Violation:
    """Return what of a number or a collection is not normal; every element of a collection must conform."""
    if isinstance(value, (int, float)):
        return CONFORMING if conforms(value) else Violation((value,), 1)
    first: Dict[Any, None] = {}  # keeps the order
    held: Set[Any] = set()
    count = 0
    for element in value:
        if conforms(element):
            continue
        count += 1
        if len(first) < max_elements:
            first[element] = None
        if len(held) < MAX_HELD_ELEMENTS:
            held.add(element)
    if len(held) < MAX_HELD_ELEMENTS:
        return Violation(tuple(first), len(held))
    held.clear()
    return Violation(tuple(first), _count_distinct(conforms, value, count // MAX_HELD_ELEMENTS + 1))


def _count_distinct(conforms: Callable[[Any], bool], elements: Iterable[Any], passes: int) -> int:
    """Return the number of distinct elements that don't conform.

    Each pass holds the elements of one share of the hash values, so a flood of connections doesn't fill the memory.
    """
    return sum(
        len({element for element in elements if hash(element) % passes == share and not conforms(element)})
        for share in range(passes)
    )
