"""Detect's rules written a second time, plainly and without connector/detect, to compare with; profiles and series.

A series is a list of (epoch seconds, measurement); a measurement is the content of one report, by metric: a number,
a list of ports or a list of addresses as text.
"""

import ipaddress
import json
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from hypothesis import strategies as st

PROFILES = sorted((Path(__file__).parents[2] / "packaging" / "security_profiles").glob("*.json"))
TWO_DAYS = 2 * 24 * 3600
INTERVAL = 300

Series = Sequence[Tuple[int, Mapping[str, Any]]]

TRAFFIC = ["aws:all-bytes-in", "aws:all-bytes-out", "aws:all-packets-in", "aws:all-packets-out"]
TOTALS = ["aws:num-listening-tcp-ports", "aws:num-listening-udp-ports", "aws:num-established-tcp-connections"]
PORTS = ["aws:listening-tcp-ports", "aws:listening-udp-ports"]
PEERS = "aws:destination-ip-addresses"
CUSTOM = ["cpu_usage", "memory_usage", "load_average_1m", "process_count"]


def expected_events(document: Mapping[str, Any], thing: str, series: Series) -> List[Dict[str, Any]]:
    """Return the events that a profile gives, without their ids, in the order of behaviors and then of time."""
    return [event for item in document["behaviors"] for event in _events(document, item, thing, series)]


def _events(document: Mapping[str, Any], item: Mapping[str, Any], thing: str, series: Series) -> List[Dict[str, Any]]:
    criteria = {"consecutiveDatapointsToAlarm": 1, "consecutiveDatapointsToClear": 1, **item.get("criteria", {})}
    if "value" not in criteria:  # ML, a percentile of the fleet, or no criteria
        return []
    ((kind, limit),) = criteria["value"].items()
    clock = _clock(series)
    found = _datapoints(item["metric"], criteria.get("durationSeconds"), clock, series)
    events: List[Dict[str, Any]] = []
    in_alarm = False
    last: Optional[int] = None  # when the last datapoint came, by the clock
    history: List[bool] = []  # violations since the alarm last changed, or the metric was away
    for index, (time, _) in enumerate(series):
        ended = False
        if last is not None and clock[index] - last > TWO_DAYS:
            history = []
            if in_alarm:
                in_alarm, ended = False, True
                expired = time - (clock[index] - last - TWO_DAYS)
                events.append(_event(document, item, criteria, thing, "alarm-invalidated", expired, None))
            last = None
        if index not in found:
            continue
        value = found[index]
        outside = _outside(kind, criteria["comparisonOperator"], limit, value)
        last = clock[index]
        history.append(bool(outside))
        if ended:
            continue
        wanted = criteria["consecutiveDatapointsToClear" if in_alarm else "consecutiveDatapointsToAlarm"]
        recent = history[-wanted:]
        if len(recent) == wanted and all(violates is not in_alarm for violates in recent):
            in_alarm = not in_alarm
            history = []
            metric_value = {kind: _ordered(kind, outside[:50]) if isinstance(value, list) else value}
            kind_of_event = "in-alarm" if in_alarm else "alarm-cleared"
            event = _event(document, item, criteria, thing, kind_of_event, time, metric_value)
            if isinstance(value, list):
                event["violatingElementCount"] = len(outside)
            events.append(event)
    return events


def _ordered(kind: str, elements: List[Any]) -> List[Any]:
    if kind == "cidrs":
        return sorted(elements, key=lambda text: (":" in text, ipaddress.ip_address(text).packed))
    return sorted(elements)


def _event(
    document: Mapping[str, Any],
    item: Mapping[str, Any],
    criteria: Mapping[str, Any],
    thing: str,
    kind: str,
    time: int,
    value: Any,
) -> Dict[str, Any]:
    event = {
        "violationEventTime": time * 1000,
        "thingName": thing,
        "behavior": {"name": item["name"], "metric": item["metric"], "criteria": criteria},
        "violationEventType": kind,
        "securityProfileName": document["securityProfileName"],
    }
    return event if value is None else {**event, "metricValue": value}


def _clock(series: Series) -> List[int]:
    """Return seconds since an interval before the first measurement; a step back counts as one interval."""
    clock: List[int] = []
    for index, (time, _) in enumerate(series):
        step = time - series[index - 1][0] if index else 0
        clock.append((clock[-1] if clock else 0) + (step if step > 0 else INTERVAL))
    return clock


def _datapoints(metric: str, duration: Any, clock: Sequence[int], series: Series) -> Dict[int, Any]:
    """Return the datapoints by the index of their measurement."""
    if metric not in TRAFFIC:
        return {index: measured[metric] for index, (_, measured) in enumerate(series) if metric in measured}
    found = {}
    start = 0 if series and metric in series[0][1] else INTERVAL
    parts: List[int] = []
    for index, (_, measured) in enumerate(series):
        parts += [measured[metric]] if metric in measured else []
        before = clock[index - 1] if index else start
        if clock[index] > start and (clock[index] - start) + (clock[index] - before) / 2 >= duration:
            if parts:
                found[index] = sum(parts)
            start, parts = clock[index], []
    return found


def _outside(kind: str, operator: str, limit: Any, value: Any) -> List[Any]:
    if isinstance(value, list):
        distinct = sorted(set(value), key=value.index)
        return [element for element in distinct if _is_in(kind, element, limit) is operator.startswith("not-")]
    conforms = {
        "less-than": value < limit,
        "less-than-equals": value <= limit,
        "greater-than": value > limit,
        "greater-than-equals": value >= limit,
    }[operator]
    return [] if conforms else [value]


def _is_in(kind: str, element: Any, members: Sequence[Any]) -> bool:
    if kind == "cidrs":
        address = ipaddress.ip_address(element)
        return any(address in ipaddress.ip_network(cidr, strict=False) for cidr in members)
    return element in members


# Reports of measurements.

NETWORK_STATS = {
    "aws:all-bytes-in": "bytes_in",
    "aws:all-bytes-out": "bytes_out",
    "aws:all-packets-in": "packets_in",
    "aws:all-packets-out": "packets_out",
}


def report(time: int, measured: Dict[str, Any]) -> Dict[str, Any]:
    """The report of a measurement, in the connector's long names."""
    metrics: Dict[str, Any] = {}
    custom: Dict[str, Any] = {}
    for metric, value in measured.items():
        if metric in NETWORK_STATS:
            metrics.setdefault("network_stats", {})[NETWORK_STATS[metric]] = value
        elif metric == PEERS:
            connections = [{"remote_addr": f"[{ip}]:443" if ":" in ip else f"{ip}:443"} for ip in value]
            metrics.setdefault("tcp_connections", {}).setdefault("established_connections", {}).update(
                connections=connections
            )
        elif metric == "aws:num-established-tcp-connections":
            block = metrics.setdefault("tcp_connections", {}).setdefault("established_connections", {})
            block["total"] = value
        elif metric.startswith("aws:num-listening-"):
            metrics.setdefault(f"listening_{metric[18:21]}_ports", {})["total"] = value
        elif metric.startswith("aws:listening-"):
            metrics.setdefault(f"listening_{metric[14:17]}_ports", {})["ports"] = [{"port": port} for port in value]
        else:
            custom[metric] = [{"number": value}]
    return {"header": {"report_id": time, "version": "1.0"}, "metrics": metrics, "custom_metrics": custom}


# Profiles and series to try.


def resolved(document: Mapping[str, Any]) -> Dict[str, Any]:
    """Return a profile with a number beside each percentile, low enough that some measurements are above it."""
    copy: Dict[str, Any] = json.loads(json.dumps(document))
    for item in copy["behaviors"]:
        if "statisticalThreshold" in item.get("criteria", {}) and not is_cloud_side(item["metric"]):
            item["criteria"]["value"] = {"count" if item["metric"].startswith("aws:") else "number": 100}
    return copy


def is_cloud_side(metric: str) -> bool:
    """Return whether no report carries it."""
    return metric.startswith("aws:") and metric not in [*TRAFFIC, *TOTALS, *PORTS, PEERS]


SHIPPED = [resolved(json.loads(path.read_text())) for path in PROFILES]
for _document in SHIPPED:
    _document["behaviors"] = [item for item in _document["behaviors"] if not is_cloud_side(item["metric"])]

ADDRESSES = ["10.0.0.7", "10.255.255.255", "11.0.0.0", "192.0.2.7", "::1", "2001:db8::7", "2001:db9::1", "fe80::1"]
CIDRS = ["10.0.0.0/8", "10.1.2.3/9", "192.0.2.7", "192.0.2.0/24", "0.0.0.0/0", "2001:db8::/32", "::/0", "fe80::1/10"]
NUMBERS = st.sampled_from([0, 1, 3, 20, 85, 100, 101, 200, 201, 300_001, 10**9])
PORT_NUMBERS = st.sampled_from([22, 23, 53, 80, 443, 4444, 8883, 161, 5353, 50000])
_comparison = st.sampled_from(["less-than", "less-than-equals", "greater-than", "greater-than-equals"])
_duration = st.sampled_from([300, 600, 900, 1800, 3600])


def _criteria(operator: Any, value: Any, **more: Any) -> Any:
    return st.fixed_dictionaries(
        {"comparisonOperator": operator, "value": value, **more},
        optional={
            "consecutiveDatapointsToAlarm": st.integers(1, 4),
            "consecutiveDatapointsToClear": st.integers(1, 4),
        },
    )


_count = st.fixed_dictionaries({"count": NUMBERS})
_ports = st.fixed_dictionaries({"ports": st.lists(PORT_NUMBERS, min_size=1, max_size=5)})
_cidrs = st.fixed_dictionaries({"cidrs": st.lists(st.sampled_from(CIDRS), min_size=1, max_size=4)})
_number = st.fixed_dictionaries({"number": NUMBERS})
_behaviors = st.one_of(
    st.tuples(st.sampled_from(TRAFFIC), _criteria(_comparison, _count, durationSeconds=_duration)),
    st.tuples(st.sampled_from(TOTALS), _criteria(_comparison, _count)),
    st.tuples(st.sampled_from(PORTS), _criteria(st.sampled_from(["in-port-set", "not-in-port-set"]), _ports)),
    st.tuples(st.just(PEERS), _criteria(st.sampled_from(["in-cidr-set", "not-in-cidr-set"]), _cidrs)),
    st.tuples(st.sampled_from(CUSTOM), _criteria(_comparison, _number)),
)


def _profile(behaviors: Any) -> Dict[str, Any]:
    items = [
        {"name": f"B{index}", "metric": metric, "criteria": criteria}
        for index, (metric, criteria) in enumerate(behaviors)
    ]
    return {"securityProfileName": "Generated", "behaviors": items}


PROFILE_DOCUMENTS = st.sampled_from(SHIPPED) | st.lists(_behaviors, min_size=1, max_size=4).map(_profile)

_measurements = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys([*TRAFFIC, *TOTALS, *CUSTOM], NUMBERS),
        **{metric: st.lists(PORT_NUMBERS, max_size=4) for metric in PORTS},
        PEERS: st.lists(st.sampled_from(ADDRESSES), max_size=4),
    },
)


def series_strategy(steps: Any) -> Any:
    """Return series whose times are `steps` apart."""

    def build(parts: Any) -> List[Tuple[int, Any]]:
        time, series = 1767600000, []
        for step, measurement in parts:
            time += step
            series.append((time, measurement))
        return series

    return st.lists(st.tuples(steps, _measurements), min_size=1, max_size=14).map(build)


FORWARD = st.sampled_from([300] * 6 + [290, 311, 60, 900, TWO_DAYS, TWO_DAYS + 1, 3 * TWO_DAYS])
ANY_STEP = FORWARD | st.sampled_from([0, -7200])
