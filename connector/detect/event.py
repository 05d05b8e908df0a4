"""The message about a change of an alarm, in the shape of the service's alert (SNS) message.

Source: developer guide, "Alerts": the message that Device Defender sends to an SNS topic. `violatingElementCount` is
this project's own: the number of all elements in violation, of which `metricValue` lists the first 50. So is
`criteriaElementCount`, where a transport carries less than all networks or ports of the criteria.
"""

from __future__ import annotations

import json
import random
import socket
from typing import Any, Callable, Dict, List, Mapping, NamedTuple

from .alarm import CLEARED, IN_ALARM, INVALIDATED, Change
from .conformity import Violation
from .profile import Behavior

MAX_EVENT_ELEMENTS = 50
MAX_SENTENCE_ELEMENTS = 8


class Event(NamedTuple):
    """A change of the alarm of one behavior.

    thing: the thing's name
    profile: the profile's name
    behavior: the behavior
    change: what changed and when
    value: what was measured, a number; None for a list, and where no metric came
    violation: what of it is not normal
    """

    thing: str
    profile: str
    behavior: Behavior
    change: Change
    value: Any
    violation: Violation

    @property
    def suppressed(self) -> bool:
        """Whether the profile asks to record it, but not to alert anybody."""
        return self.behavior.suppressed

    def document(self) -> Dict[str, Any]:
        """Return the message, for JSON."""
        behavior, change = self.behavior, self.change
        document = {
            "violationEventTime": 1000 * change.time,
            "thingName": self.thing,
            "behavior": {"name": behavior.name, "metric": behavior.metric, "criteria": dict(behavior.criteria)},
            "violationEventType": change.type,
            "violationId": self._id(),
            "securityProfileName": self.profile,
        }
        if change.type == INVALIDATED:
            return document
        if self.value is not None:
            document["metricValue"] = {behavior.kind: self.value}
        else:
            # Sorted, as a table has them in another order than the report made of it; IPv4 before IPv6.
            elements = sorted(self.violation.elements[:MAX_EVENT_ELEMENTS])
            if behavior.kind == "cidrs":
                elements.sort(key=len)
            document["metricValue"] = {behavior.kind: [element_text(element) for element in elements]}
            document["violatingElementCount"] = self.violation.total
        return document

    def _id(self) -> str:
        """Return 32 hexadecimal digits, the same for an alarm and its end, and wherever the same reports are judged.

        Random() makes them of the text with SHA-512, the same on every Python; hashlib would load 4 MB of OpenSSL.
        """
        text = f"{self.thing}/{self.profile}/{self.behavior.name}/{self.change.since}"
        return f"{random.Random(text).getrandbits(128):032x}"


def fitted(document: Dict[str, Any], max_bytes: int) -> Dict[str, Any]:
    """Return an event's message with lists so short that it is no longer than `max_bytes` as compact JSON.

    The criteria's list first, which whoever has the profile knows, then the elements in violation; the counts beside
    them stay exact. Both keep one element at least, so that the message may be longer where `max_bytes` is below 1,024.
    """
    document = _shortened(document, document["behavior"]["criteria"].get("value"), max_bytes, _with_criteria)
    return _shortened(document, document.get("metricValue"), max_bytes, _with_value)


def _shortened(
    document: Dict[str, Any],
    lists: Any,
    max_bytes: int,
    replaced: Callable[[Dict[str, Any], str, List[Any], int], Dict[str, Any]],
) -> Dict[str, Any]:
    """Return the document with the one list of `lists`, such as {"ports": [...]}, cut to what fits."""
    items: Any = next(iter(lists.values())) if isinstance(lists, dict) and lists else None
    if len(_json(document)) <= max_bytes or not isinstance(items, list) or len(items) < 2:
        return document
    (kind,) = lists
    fits, too_long = 1, len(items)
    while too_long - fits > 1:
        size = (fits + too_long) // 2
        if len(_json(replaced(document, kind, items[:size], len(items)))) <= max_bytes:
            fits = size
        else:
            too_long = size
    return replaced(document, kind, items[:fits], len(items))


def _with_criteria(document: Dict[str, Any], kind: str, items: List[Any], total: int) -> Dict[str, Any]:
    behavior = document["behavior"]
    return {
        **document,
        "behavior": {**behavior, "criteria": {**behavior["criteria"], "value": {kind: items}}},
        "criteriaElementCount": total,
    }


def _with_value(document: Dict[str, Any], kind: str, items: List[Any], total: int) -> Dict[str, Any]:
    return {**document, "metricValue": {kind: items}}


def _json(document: Dict[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"))


def element_text(element: Any) -> Any:
    """Return an element as JSON has it: a packed address as text, anything else as it is."""
    if not isinstance(element, bytes):
        return element
    return socket.inet_ntop(socket.AF_INET if len(element) == 4 else socket.AF_INET6, element)


def sentence(document: Mapping[str, Any]) -> str:
    """Return an event's message as one sentence for a log or a terminal. Raises ValueError where it is no event."""
    try:
        behavior, kind = document["behavior"], document["violationEventType"]
        place = f"{document['securityProfileName']}/{behavior['name']}"
        if kind == INVALIDATED:
            text = f"alarm {place} invalidated: no {behavior['metric']} for over two days"
        elif kind == CLEARED:
            text = f"alarm {place} cleared: {behavior['metric']} is normal again"
        elif kind == IN_ALARM:
            text = f"alarm {place}: {behavior['metric']} is {_value(document)}; normal is {_rule(behavior['criteria'])}"
        else:
            raise ValueError(f"violationEventType is {kind!r}")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"not an event: {error!r}") from error
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def _value(document: Mapping[str, Any]) -> str:
    """Return "54", or "23, 2323 and 5 more"."""
    (value,) = document["metricValue"].values()
    return _listed(value, document.get("violatingElementCount")) if isinstance(value, list) else str(value)


def _rule(criteria: Mapping[str, Any]) -> str:
    """Return "less-than-equals 10 over 300 s"; the service's own events also have percentiles and ML."""
    if "mlDetectionConfig" in criteria:
        return "as ML Detect learned it"
    if "value" in criteria:
        (value,) = criteria["value"].values()
        against = _listed(value) if isinstance(value, list) else value
    else:
        against = criteria["statisticalThreshold"]["statistic"]
    over = f" over {criteria['durationSeconds']} s" if criteria.get("durationSeconds") else ""
    return f"{criteria['comparisonOperator']} {against}{over}"


def _listed(values: List[Any], total: Any = None) -> str:
    shown = values[:MAX_SENTENCE_ELEMENTS]
    more = (total if isinstance(total, int) else len(values)) - len(shown)
    return ", ".join(map(str, shown)) + (f" and {more} more" if more > 0 else "")
