"""The engine: the same events as a plain reference, bounded state that survives a restart, complete lists."""

import json
import random
import re
from ipaddress import ip_address
from typing import Any, Dict, Iterator, List

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.detect_reference import ANY_STEP, PEERS, PORTS, PROFILE_DOCUMENTS, expected_events, series_strategy

from connector.detect.conformity import MAX_HELD_ELEMENTS, judge
from connector.detect.engine import Detector
from connector.detect.measurement import Measurement, Reading, measure
from connector.detect.networks import Networks, address_range
from connector.detect.profile import parse
from connector.kernel.ports import PortSet

DAY = 24 * 3600


def measurement(measured: Any) -> Measurement:
    def reading(metric: str, value: Any) -> Reading:
        if metric == PEERS:
            return Reading("cidrs", [ip_address(address).packed for address in value])
        if metric in PORTS:
            return Reading("ports", value)
        return Reading("count" if metric.startswith("aws:") else "number", value)

    return {metric: reading(metric, value) for metric, value in measured.items()}


def profile(metric: str = "aws:num-listening-tcp-ports", **criteria: Any) -> Dict[str, Any]:
    return {"securityProfileName": "P", "behaviors": [{"name": "B", "metric": metric, "criteria": criteria}]}


def detector(metric: str = "aws:num-listening-tcp-ports", **criteria: Any) -> Detector:
    criteria.setdefault("comparisonOperator", "less-than-equals")
    criteria.setdefault("value", {"count": 5})
    parsed = parse(profile(metric, **criteria))
    assert parsed.faults == ()
    return Detector([parsed], "gateway-1")


def types(subject: Detector, *counts: Any, start: int = 300) -> List[List[str]]:
    """The types of the events of totals that are 300 s apart."""
    return [
        [event.change.type for event in subject.judge(measure(tcp_ports_total=count), start + 300 * index)]
        for index, count in enumerate(counts)
    ]


@settings(max_examples=300)
@given(PROFILE_DOCUMENTS, series_strategy(ANY_STEP))
def test_events_are_those_of_the_reference(document: Any, series: Any) -> None:
    subject = Detector([parse(document)], "gateway-1")
    events: Dict[str, List[Any]] = {item["name"]: [] for item in document["behaviors"]}
    ids: Dict[str, str] = {}
    for time, measured in series:
        judged = subject.judge(measurement(measured), time)
        names = [event.behavior.name for event in judged]
        assert len(set(names)) == len(names), "more than one event of a behavior"
        for event in judged:
            sent = json.loads(json.dumps(event.document()))
            alarm_id = sent.pop("violationId")
            assert re.fullmatch("[0-9a-f]{32}", alarm_id)
            name = event.behavior.name
            if event.change.type == "in-alarm":
                ids[name] = alarm_id
            assert ids[name] == alarm_id
            events[name].append(sent)
    assert [event for name in events for event in events[name]] == expected_events(document, "gateway-1", series)


# A violation after two days of silence: it is counted, and the alarm begins with the next one.
@example(
    profile("aws:all-bytes-in", comparisonOperator="less-than", value={"count": 0}, durationSeconds=300),
    [(300, {"aws:all-bytes-in": 0}), (600 + 2 * DAY, {"aws:all-bytes-in": 0}), (900 + 2 * DAY, {})],
    2,
)
@given(PROFILE_DOCUMENTS, series_strategy(ANY_STEP), st.integers(0, 14))
def test_restart_with_the_saved_state_changes_nothing(document: Any, series: Any, restart: int) -> None:
    parsed = parse(document)
    whole = Detector([parsed], "gateway-1")
    expected = [event.document() for time, measured in series for event in whole.judge(measurement(measured), time)]
    subject = Detector([parsed], "gateway-1")
    events = []
    for index, (time, measured) in enumerate(series):
        if index == restart:
            saved = json.loads(json.dumps(subject.dump()))
            subject = Detector([parsed], "gateway-1")
            subject.load(saved)
        events += [event.document() for event in subject.judge(measurement(measured), time)]
    assert events == expected
    assert subject.dump() == whole.dump()


_keys = st.sampled_from(["time", "behaviors", "P/B", "metric", "run", "silence", "since", "elapsed", "total"])
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["aws:all-bytes-in", "x"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_keys, inner, max_size=6),
    max_leaves=20,
)


@given(_values, st.fixed_dictionaries({}, optional={"since": _values, "run": _values, "total": _values}))
def test_foreign_or_damaged_state_is_ignored(state: Any, entry: Any) -> None:
    for saved in (state, {"behaviors": {"P/B": {"metric": "aws:all-bytes-in", **entry}}}):
        subject = detector("aws:all-bytes-in", durationSeconds=300)
        subject.load(saved)
        subject.judge(measure(bytes_in=9), 1000)
        json.dumps(subject.dump(), allow_nan=False)


def test_state_of_another_metric_is_ignored() -> None:
    before = detector()
    assert types(before, 9) == [["in-alarm"]]
    after = detector("aws:num-listening-udp-ports")
    after.load(before.dump())
    assert after.dump()["behaviors"]["P/B"] == detector("aws:num-listening-udp-ports").dump()["behaviors"]["P/B"]


def test_state_does_not_grow_with_time() -> None:
    subject = detector(consecutiveDatapointsToAlarm=10)
    rng = random.Random(1)
    sizes = []
    for index in range(2000):
        subject.judge(measure(tcp_ports_total=rng.choice([1, 9])), 1767600000 + 300 * index)
        sizes.append(len(json.dumps(subject.dump())))
    assert max(sizes) < 200


def test_missing_metric_changes_nothing_and_empty_list_clears() -> None:
    subject = detector("aws:listening-tcp-ports", comparisonOperator="not-in-port-set", value={"ports": [23]})
    found = []
    for index, ports in enumerate([[23], None, []]):
        found.append([event.change.type for event in subject.judge(measure(tcp_ports=ports), 300 * (index + 1))])
    assert found == [["in-alarm"], [], ["alarm-cleared"]]


def test_alarm_is_invalidated_after_two_days_without_the_metric() -> None:
    subject = detector()
    assert types(subject, 9) == [["in-alarm"]]
    assert subject.judge({}, 300 + 2 * DAY) == []
    (event,) = subject.judge({}, 600 + 2 * DAY)
    assert event.document()["violationEventType"] == "alarm-invalidated"
    assert event.document()["violationEventTime"] == 1000 * (300 + 2 * DAY)
    assert "metricValue" not in event.document()
    assert subject.judge({}, 900 + 2 * DAY) == []


def test_violation_after_two_days_without_the_metric_alarms_with_the_next_one() -> None:
    subject = detector()
    assert types(subject, 9) == [["in-alarm"]]
    assert types(subject, 9, 9, start=300 + 3 * DAY) == [["alarm-invalidated"], ["in-alarm"]]


def test_clock_set_back_does_not_stop_a_period() -> None:
    subject = detector("aws:all-bytes-out", durationSeconds=600)
    events = []
    for time in (9000, 9300, 2000, 2300, 2600):
        events.append([event.value for event in subject.judge(measure(bytes_out=9), time)])
    assert events == [[], [18], [], [], []]
    assert subject.dump()["behaviors"]["P/B"]["elapsed"] == 300.0


def test_each_alarm_has_an_id_of_its_own() -> None:
    subject = detector()
    ids = [
        subject.judge(measure(tcp_ports_total=count), 300 * (index + 1))[0].document()["violationId"]
        for index, count in enumerate([9, 1, 9, 1])
    ]
    assert ids[0] == ids[1] != ids[2] == ids[3]


def test_suppressed_alarm_is_judged_and_marked() -> None:
    document = profile(comparisonOperator="less-than", value={"count": 1})
    document["behaviors"][0]["suppressAlerts"] = True
    (event,) = Detector([parse(document)], "gateway-1").judge(measure(tcp_ports_total=9), 300)
    assert event.suppressed


def test_custom_metric_of_another_type_counts_as_missing() -> None:
    subject = detector("cpu_usage", value={"number": 5})
    assert subject.judge({"cpu_usage": Reading("strings", ["a"])}, 300) == []
    assert len(subject.judge(measure(custom={"cpu_usage": 9.5}), 600)) == 1


def test_needs_names_the_lists_that_profiles_compare() -> None:
    assert detector().needs == frozenset()
    ports = detector("aws:listening-udp-ports", comparisonOperator="in-port-set", value={"ports": [53]})
    assert ports.needs == {"aws:listening-udp-ports"}
    peers = detector(PEERS, comparisonOperator="in-cidr-set", value={"cidrs": ["10.0.0.0/8"]})
    assert peers.needs == peers.metrics == {PEERS}


def test_port_set_of_the_kernel_tables_is_judged() -> None:
    ports = PortSet()
    for port in (22, 443, 4444):
        ports.add(port)
    subject = detector("aws:listening-tcp-ports", comparisonOperator="in-port-set", value={"ports": [22, 443]})
    (event,) = subject.judge(measure(tcp_ports=ports), 300)
    assert event.document()["metricValue"] == {"ports": [4444]}


def test_one_unknown_destination_among_18000_is_found() -> None:
    known = [bytes([10, high, low, 1]) for high in range(180) for low in range(100)]
    subject = detector(PEERS, comparisonOperator="in-cidr-set", value={"cidrs": ["10.0.0.0/8"]})
    (event,) = subject.judge(measure(destinations=[*known, bytes([203, 0, 113, 9])]), 300)
    assert event.document()["metricValue"] == {"cidrs": ["203.0.113.9"]}
    assert event.document()["violatingElementCount"] == 1


class Counted:
    """Elements that are made anew for each iteration, as a table's rows are."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __iter__(self) -> Iterator[bytes]:
        return (number.to_bytes(4, "big") for _ in range(2) for number in range(self._count))


@pytest.mark.parametrize("count", [0, 1, 50, 51, MAX_HELD_ELEMENTS - 1, MAX_HELD_ELEMENTS, 3 * MAX_HELD_ELEMENTS])
def test_distinct_elements_are_counted_exactly(count: int) -> None:
    violation = judge(lambda element: False, Counted(count), 50)
    assert violation.total == count
    assert violation.elements == tuple(number.to_bytes(4, "big") for number in range(min(count, 50)))


_v4 = st.binary(min_size=4, max_size=4)
_v6 = st.binary(min_size=16, max_size=16)
_cidr = st.one_of(
    st.builds(lambda packed, bits: f"{ip_address(packed)}/{bits}", _v4, st.integers(0, 32)),
    st.builds(lambda packed, bits: f"{ip_address(packed)}/{bits}", _v6, st.integers(0, 128)),
    (_v4 | _v6).map(lambda packed: str(ip_address(packed))),
)


@given(st.lists(_cidr, max_size=12), st.lists(_v4 | _v6, max_size=5))
def test_networks_hold_their_ranges(cidrs: Any, addresses: Any) -> None:
    ranges = [address_range(cidr) for cidr in cidrs]
    networks = Networks(cidrs)
    edges = [edge for pair in ranges for edge in pair]
    around = [
        (int.from_bytes(edge, "big") + step).to_bytes(len(edge), "big")
        for edge in edges
        for step in (-1, 1)
        if 0 <= int.from_bytes(edge, "big") + step < 1 << 8 * len(edge)
    ]
    for address in [*addresses, *edges, *around]:
        inside = any(len(first) == len(address) and first <= address <= last for first, last in ranges)
        assert (address in networks) is inside


@pytest.mark.parametrize(
    "text", ["", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "10.0.0.0/-1", "::/129", "::/٣", "x", "10.0.0.0/255.0.0.0"]
)
def test_text_that_is_no_cidr_is_refused(text: str) -> None:
    with pytest.raises(ValueError) as error:
        address_range(text)
    assert str(error.value) == f"{text} is not a CIDR"
