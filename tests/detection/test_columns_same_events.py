"""Columns and plain reading give the same events: runs from columns beside the engine, fed report after report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from detection.fleet import Fleet
from detection.judge import Judged, judge, native
from detection.replay import Reader
from detection.reports import Report, from_document
from hypothesis import given, settings
from hypothesis import strategies as st
from support.detect_reference import ADDRESSES, CIDRS, FORWARD, PROFILE_DOCUMENTS, SHIPPED, report, series_strategy
from support.detect_tool import FIXTURES, recorded
from support.fleet import connect, fleet_of

from connector.detect.alarm import INVALIDATED, Change
from connector.detect.conformity import CONFORMING, conformity
from connector.detect.conformity import judge as violation_of
from connector.detect.engine import DEFAULT_INTERVAL_SECONDS, Detector
from connector.detect.event import MAX_EVENT_ELEMENTS, Event
from connector.detect.profile import Profile, parse

CONNECTION = connect()

# Custom metrics that are lists, beside those of the other properties.
LISTS = {
    "levels": ("number_list", st.sampled_from([0, 1, 2.5, -3])),
    "users": ("string_list", st.sampled_from(["root", "me", "", "é"])),
    "peers": ("ip_list", st.sampled_from(ADDRESSES)),
}
_sets = st.sampled_from(["in-set", "not-in-set"])
_list_criteria = st.one_of(
    st.tuples(
        st.just("levels"), _sets, st.lists(st.sampled_from([0, 1, 2.5]), max_size=3).map(lambda v: {"numbers": v})
    ),
    st.tuples(
        st.just("users"), _sets, st.lists(st.sampled_from(["root", "é"]), max_size=2).map(lambda v: {"strings": v})
    ),
    st.tuples(
        st.just("peers"),
        st.sampled_from(["in-cidr-set", "not-in-cidr-set"]),
        st.lists(st.sampled_from(CIDRS), min_size=1, max_size=3).map(lambda v: {"cidrs": v}),
    ),
)


def _behavior(parts: Any) -> dict[str, Any]:
    (metric, operator, value), to_alarm, to_clear = parts
    criteria = {
        "comparisonOperator": operator,
        "value": value,
        "consecutiveDatapointsToAlarm": to_alarm,
        "consecutiveDatapointsToClear": to_clear,
    }
    return {"name": f"List-{metric}", "metric": metric, "criteria": criteria}


LIST_BEHAVIORS = st.tuples(_list_criteria, st.integers(1, 3), st.integers(1, 3)).map(_behavior)
LIST_VALUES = st.fixed_dictionaries(
    {}, optional={name: st.lists(elements, max_size=3) for name, (_, elements) in LISTS.items()}
)
SERIES = series_strategy(FORWARD)
FLEETS = st.lists(st.tuples(SERIES, st.lists(LIST_VALUES, min_size=14, max_size=14)), min_size=1, max_size=3)


def reports_of(series: Any, lists: Any) -> list[Report]:
    found = []
    for (time, measured), more in zip(series, lists):
        document = report(time, measured)
        for name, values in more.items():
            document["custom_metrics"][name] = [{LISTS[name][0]: values}]
        found.append(from_document(document, f"line {time}"))
    return found


def events_of_columns(fleet: Fleet, profiles: Sequence[Profile]) -> list[dict[str, Any]]:
    """The events of judging columns, each with the value that was measured then."""
    judged = judge(fleet, profiles)
    read = Reader(fleet, judged).series
    events = []
    for one in judged:
        for thing, changes in one.changes.items():
            series = read(thing, one.profile, one.behavior.name, [change.time for change in changes])
            values = dict(zip(series.times, series.values))
            events += [_event(one, thing, change, values) for change in changes]
    return events


def _event(judged: Judged, thing: str, change: Change, values: Mapping[int, Any]) -> dict[str, Any]:
    behavior = judged.behavior
    if change.type == INVALIDATED:
        return Event(thing, judged.profile, behavior, change, None, CONFORMING).document()
    conforms, value = conformity(behavior), values[change.time]
    if isinstance(value, list):
        value = [native(str(behavior.kind), element) for element in value]
    violation = violation_of(conforms, value, MAX_EVENT_ELEMENTS)
    number = None if isinstance(value, list) else value
    return Event(thing, judged.profile, behavior, change, number, violation).document()


def events_of_reports(fleet: Mapping[str, Sequence[Report]], every: Mapping[str, int | None], profiles: Any) -> Any:
    """The events of the engine, fed with one report after the other."""
    events = []
    for thing, reports in fleet.items():
        detector = Detector(profiles, thing, every[thing] or DEFAULT_INTERVAL_SECONDS)
        events += [event.document() for one in reports for event in detector.judge(one.readings, one.time)]
    return events


def check(reports: Mapping[str, Sequence[Report]], documents: Sequence[Any]) -> list[dict[str, Any]]:
    profiles = [parse(document) for document in documents]
    fleet = fleet_of(reports, CONNECTION)
    every = {thing: times.interval for thing, times in fleet.times.items()}
    found = events_of_columns(fleet, profiles)
    assert sorted(found, key=json.dumps) == sorted(events_of_reports(reports, every, profiles), key=json.dumps)
    return found


@settings(max_examples=40)
@given(PROFILE_DOCUMENTS, st.lists(LIST_BEHAVIORS, max_size=2, unique_by=lambda item: item["name"]), FLEETS)
def test_columns_give_the_events_of_the_engine(document: Any, lists: Any, fleet: Any) -> None:
    more = {"securityProfileName": "Lists", "behaviors": lists}
    reports = {f"gateway-{number}": reports_of(*parts) for number, parts in enumerate(fleet)}
    check(reports, [document, more])


@pytest.mark.parametrize("recording", ["ordinary", "incident"])
def test_shipped_profiles_give_the_same_events_on_the_recordings(recording: str) -> None:
    assert check({"gateway-1": recorded(FIXTURES / f"{recording}.jsonl")}, SHIPPED)
