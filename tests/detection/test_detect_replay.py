"""The replay: when a datapoint violates, when violations alarm, when an alarm ends."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, NamedTuple

import pytest
from detection.outcome import Alarm
from detection.replay import replay
from detection.reports import Report
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fleet import connect, fleet_of

from connector.detect.measurement import Reading
from connector.detect.profile import Behavior, Profile, parse

BYTES = "aws:all-bytes-out"
NUMBER = "aws:num-established-tcp-connections"
PORTS = "aws:listening-tcp-ports"
PEERS = "aws:destination-ip-addresses"
DAY = 24 * 3600

CONNECTION = connect()


class Replayed(NamedTuple):
    """The result of one behavior on one device. datapoints: time, value and what of it is in violation."""

    skipped: str | None = None
    limit: Any = None
    datapoints: tuple[tuple[int, Any, tuple[Any, ...]], ...] = ()
    alarms: tuple[Alarm, ...] = ()
    notes: tuple[str, ...] = ()


def report(time: int, unlisted: int = 0, **readings: Any) -> Report:
    """A report of one metric: `count=(name, value)`, `ports=(name, value)` and so on."""
    return Report(f"reports.jsonl:{time}", time, {n: Reading(k, v, unlisted) for k, (n, v) in readings.items()})


def counts(values: Sequence[int | None], metric: str = NUMBER, interval: int = 300) -> list[Report]:
    """Reports of a number, one interval apart, the first at 1000 s; None: the report does not have it."""
    return [
        report(1000 + index * interval, 0, **({} if value is None else {"count": (metric, value)}))
        for index, value in enumerate(values)
    ]


def packed(*addresses: str) -> tuple[bytes, ...]:
    return tuple(ip_address(address).packed for address in addresses)


def at_most(limit: float, metric: str = NUMBER, **rest: Any) -> Behavior:
    return Behavior("B", metric, "count", "less-than-equals", limit, **rest)


def parsed(metric: str, **criteria: Any) -> Behavior:
    item = {"name": "B", "metric": metric, **({"criteria": criteria} if criteria else {})}
    profile = parse({"securityProfileName": "P", "behaviors": [item]})
    assert profile.faults == ()
    return profile.behaviors[0]


def outcome(behavior: Behavior, reports: Sequence[Report], *baselines: Sequence[Report]) -> Replayed:
    fleet = fleet_of({"gateway": reports}, CONNECTION)
    baseline = {f"gateway-{number}": one for number, one in enumerate(baselines)}
    found = replay(fleet, [Profile("P", (behavior,))], fleet_of(baseline, CONNECTION, "baseline") if baseline else None)
    ((result,),) = [device.results for device in found.devices]
    if result.skipped is not None:
        return Replayed(result.skipped)
    series = found.series("gateway", "P", behavior.name)
    datapoints = tuple(zip(series.times, series.values, map(tuple, series.outside)))
    assert (result.datapoints, result.violations) == (len(datapoints), sum(bool(one[2]) for one in datapoints))
    return Replayed(None, result.limit, datapoints, result.alarms, result.notes)


def violations(behavior: Behavior, reports: Sequence[Report]) -> list[tuple[Any, ...]]:
    return [outside for _, _, outside in outcome(behavior, reports).datapoints]


def alarms(letters: str, to_alarm: int = 1, to_clear: int = 1) -> tuple[tuple[int, int | None], ...]:
    """Alarms over datapoints V (violation), c (conforming) and . (a report without the metric), as positions."""
    behavior = at_most(5, to_alarm=to_alarm, to_clear=to_clear)
    found = outcome(behavior, counts([{"V": 9, "c": 1, ".": None}[letter] for letter in letters])).alarms
    return tuple(
        ((alarm.start - 1000) // 300, None if alarm.end is None else (alarm.end - 1000) // 300) for alarm in found
    )


# Datapoints


@pytest.mark.parametrize(
    ("operator", "value", "conforms"),
    [
        ("less-than", 4, True),
        ("less-than", 5, False),
        ("less-than-equals", 5, True),
        ("less-than-equals", 6, False),
        ("greater-than", 6, True),
        ("greater-than", 5, False),
        ("greater-than-equals", 5, True),
        ("greater-than-equals", 4, False),
    ],
)
def test_number_that_does_not_meet_the_criteria_is_a_violation(operator: str, value: int, conforms: bool) -> None:
    assert violations(Behavior("B", NUMBER, "count", operator, 5), counts([value])) == [() if conforms else (value,)]


@pytest.mark.parametrize(
    ("operator", "listed", "outside"),
    [
        ("in-port-set", (22, 443), ()),
        ("in-port-set", (22, 23, 443, 23), (23,)),
        ("in-port-set", (), ()),
        ("not-in-port-set", (80, 8080), ()),
        ("not-in-port-set", (22, 80), (22,)),
        ("not-in-port-set", (), ()),
    ],
)
def test_port_list_conforms_when_every_port_does(
    operator: str, listed: tuple[int, ...], outside: tuple[int, ...]
) -> None:
    behavior = Behavior("B", PORTS, "ports", operator, elements=(22, 443))
    assert violations(behavior, [report(1, ports=(PORTS, listed))]) == [outside]


@pytest.mark.parametrize(
    ("operator", "listed", "outside"),
    [
        ("in-cidr-set", ["10.9.8.7", "192.0.2.7", "2001:db8::1"], []),
        ("in-cidr-set", ["10.9.8.7", "192.0.2.8"], ["192.0.2.8"]),
        ("in-cidr-set", ["::ffff:10.9.8.7"], ["::ffff:10.9.8.7"]),
        ("not-in-cidr-set", ["192.0.2.8", "2001:db9::1"], []),
        ("not-in-cidr-set", ["192.0.2.7", "2001:db8::1", "192.0.2.8"], ["192.0.2.7", "2001:db8::1"]),
    ],
)
def test_address_list_conforms_when_every_address_does(operator: str, listed: list[str], outside: list[str]) -> None:
    # The service's pattern allows a network with host bits, and an address alone.
    behavior = Behavior("B", PEERS, "cidrs", operator, elements=("10.1.2.3/8", "192.0.2.7", "2001:db8::/32"))
    assert violations(behavior, [report(1, cidrs=(PEERS, packed(*listed)))]) == [tuple(outside)]


@pytest.mark.parametrize(
    ("kind", "operator", "elements", "value", "outside"),
    [
        ("number", "less-than-equals", (), 2.75, (2.75,)),
        ("number", "less-than-equals", (), -1, ()),
        ("strings", "in-set", ("a", "b"), ("a", "c"), ("c",)),
        ("strings", "not-in-set", ("a", "b"), ("a", "c"), ("a",)),
        ("numbers", "in-set", (1, 2.5), (1.0, 2.5), ()),
        ("cidrs", "in-cidr-set", ("10.0.0.0/8",), packed("10.1.1.1"), ()),
    ],
)
def test_custom_metric_of_each_type_is_judged(
    kind: str, operator: str, elements: Any, value: Any, outside: Any
) -> None:
    behavior = Behavior("B", "m", kind, operator, 2.5, elements)
    assert violations(behavior, [report(1, 0, **{kind: ("m", value)})]) == [outside]


def test_custom_metric_of_another_type_than_in_the_profile_is_not_judged() -> None:
    behavior = Behavior("B", "m", "number", "less-than", 1)
    reports = [report(7, strings=("m", ("a",))), report(8, number=("m", 3))]
    of_another = "m is of the type strings in 1 report, which are not judged: the behavior compares it with number"
    assert outcome(behavior, reports[:1]).skipped == of_another
    assert outcome(behavior, reports).notes == (of_another,)


# Alarms


@pytest.mark.parametrize(
    ("datapoints", "to_alarm", "to_clear", "expected"),
    [
        ("ccc", 1, 1, ()),
        ("cVVc", 1, 1, ((1, 3),)),
        ("VcVc", 1, 1, ((0, 1), (2, 3))),
        ("VcVVc", 2, 1, ((3, 4),)),
        ("VVccVcc", 2, 2, ((1, 3),)),
        ("VVcVcVcc", 2, 2, ((1, 7),)),
        ("VVV", 3, 1, ((2, None),)),
        ("VVcVV", 3, 1, ()),
        # A report without the metric neither resets the count nor adds to it.
        ("V.Vc", 2, 1, ((2, 3),)),
        ("V...V", 3, 1, ()),
        ("Vc.c", 1, 2, ((0, 3),)),
        ("V...", 1, 1, ((0, None),)),
    ],
)
def test_consecutive_datapoints_begin_and_end_an_alarm(
    datapoints: str, to_alarm: int, to_clear: int, expected: Any
) -> None:
    assert alarms(datapoints, to_alarm, to_clear) == expected


def test_empty_list_clears_and_missing_block_does_not() -> None:
    behavior = Behavior("B", PORTS, "ports", "not-in-port-set", elements=(23,))
    seen = [report(300, ports=(PORTS, (23,))), report(600), report(900, ports=(PORTS, ()))]
    assert outcome(behavior, seen[:2]).alarms == (Alarm(300),)
    assert outcome(behavior, seen).alarms == (Alarm(300, 900),)


def test_two_days_of_silence_invalidate_an_alarm() -> None:
    def spoke(*times: int) -> tuple[Alarm, ...]:
        return outcome(at_most(5), [report(time, count=(NUMBER, 9)) for time in times]).alarms

    assert spoke(1000, 1000 + 2 * DAY) == (Alarm(1000),)
    assert spoke(1000, 1001 + 2 * DAY) == (Alarm(1000, 1000 + 2 * DAY, invalidated=True),)
    # A measurement changes an alarm once: the violation that ends the silence counts, and alarms with the next one.
    assert spoke(1000, 1001 + 2 * DAY, 1301 + 2 * DAY) == (
        Alarm(1000, 1000 + 2 * DAY, invalidated=True),
        Alarm(1301 + 2 * DAY),
    )


def test_alarm_is_invalidated_while_reports_without_the_metric_come() -> None:
    reports = [report(1000, count=(NUMBER, 9)), *(report(1000 + n * DAY // 2) for n in range(1, 6))]
    assert outcome(at_most(5), reports).alarms == (Alarm(1000, 1000 + 2 * DAY, invalidated=True),)


def test_two_days_of_silence_reset_the_count() -> None:
    """Of two datapoints that it takes, one is on each side of the silence."""
    later = 600 + 3 * DAY
    seen = [report(300, count=(NUMBER, 9)), report(600, count=(NUMBER, 1)), report(later, count=(NUMBER, 9))]
    assert outcome(at_most(5, to_alarm=2), [seen[0], seen[2]]).alarms == ()
    assert outcome(at_most(5, to_alarm=1, to_clear=2), seen).alarms == (Alarm(300, 600 + 2 * DAY, invalidated=True),)


# Durations


@pytest.mark.parametrize(
    ("duration", "interval", "changes", "expected"),
    [
        (300, 300, [None, 1, 2, 3], [(1300, 1), (1600, 2), (1900, 3)]),
        (600, 300, [None, 1, 2, 3, 4, 5], [(1600, 3), (2200, 7)]),
        # The change in a first report is of the interval before it.
        (600, 300, [1, 2, 3, 4], [(1300, 3), (1900, 7)]),
        # Reports that are further apart than the duration: each is a datapoint.
        (300, 900, [None, 1, 2], [(1900, 1), (2800, 2)]),
        # A minute apart: five to a datapoint.
        (300, 60, [None, *range(1, 11)], [(1300, 15), (1600, 40)]),
        # A report without the metric: the period has the others'. All reports without it: no datapoint.
        (600, 300, [None, 1, None, 3, 4], [(1600, 1), (2200, 7)]),
        (300, 300, [None, 1, None, 3], [(1300, 1), (1900, 3)]),
    ],
)
def test_traffic_is_summed_over_the_duration(
    duration: int, interval: int, changes: list[int | None], expected: list[tuple[int, int]]
) -> None:
    result = outcome(at_most(0, BYTES, duration=duration), counts(changes, BYTES, interval))
    assert [(time, value) for time, value, _ in result.datapoints] == expected


@settings(max_examples=15)
@given(
    st.sampled_from([300, 600, 900, 1800, 3600]),
    st.lists(st.tuples(st.integers(290, 310), st.integers(0, 10**9)), min_size=12, max_size=60),
)
def test_late_and_early_reports_are_counted_once(duration: int, steps: list[tuple[int, int]]) -> None:
    reports, time = [report(1000)], 1000
    for seconds, change in steps:
        time += seconds
        reports.append(report(time, count=(BYTES, change)))
    datapoints = outcome(at_most(0, BYTES, duration=duration), reports).datapoints
    each = duration // 300
    assert [value for _, value, _ in datapoints] == [
        sum(change for _, change in steps[start : start + each]) for start in range(0, len(steps) // each * each, each)
    ]


def test_interval_that_does_not_fit_the_duration_is_noted() -> None:
    result = outcome(at_most(0, BYTES, duration=300), counts([None, 1, 2], BYTES, 900))
    assert result.notes == (
        "reports come every 900 s, so a datapoint sums 900 s instead of durationSeconds 300; take a duration that is a"
        " multiple of the interval",
    )


@pytest.mark.parametrize(("duration", "interval"), [(300, 298), (300, 302), (300, 60), (3600, 300), (900, 450)])
def test_interval_that_fits_the_duration_is_not_noted(duration: int, interval: int) -> None:
    many = counts([None] + [1] * 100, BYTES, interval)
    assert outcome(at_most(0, BYTES, duration=duration), many).notes == ()


@pytest.mark.parametrize("duration", [300, 3600])
@pytest.mark.parametrize(
    ("metric", "kind"), [(NUMBER, "count"), ("aws:num-listening-tcp-ports", "count"), ("m", "number")]
)
def test_totals_and_custom_numbers_are_not_summed(metric: str, kind: str, duration: int) -> None:
    behavior = Behavior("B", metric, kind, "less-than-equals", 4, duration=duration)
    seen = [report(1000 + 300 * n, 0, **{kind: (metric, value)}) for n, value in enumerate([3, 3, 5, 3])]
    result = outcome(behavior, seen)
    assert result.alarms == (Alarm(1600, 1900),)
    note = "each report is a datapoint; what the service makes of several within durationSeconds 3600 is not published"
    assert result.notes == ((note,) if duration == 3600 else ())


# Percentiles


def test_everyday_traffic_alarms_in_the_walk_through_only() -> None:
    everyday = counts([None, 90, 100, 95, 120, 80], "aws:all-packets-out")

    def profile(operator: str) -> Replayed:
        behavior = Behavior(
            "PacketExfiltration", "aws:all-packets-out", "count", operator, statistic="p99.99", duration=300
        )
        return outcome(behavior, everyday)

    assert profile("greater-than").alarms == (Alarm(1300),)
    assert profile("less-than-equals").alarms == ()
    assert profile("less-than-equals").limit == 120


def test_percentile_of_the_recording_itself_is_noted() -> None:
    behavior = Behavior("B", NUMBER, "count", "less-than-equals", statistic="p99", duration=300)
    assert outcome(behavior, counts([1, 2, 9])).notes == (
        "p99 of so few measurements is the highest, which none of them exceeds; --baseline takes it from other days or"
        " devices",
    )


def test_percentile_is_taken_over_all_baselines() -> None:
    behavior = Behavior("B", NUMBER, "count", "less-than-equals", statistic="p50", duration=300)
    result = outcome(behavior, counts([4, 9]), counts([1, 2, 3]), counts([4, 5, 6]))
    assert (result.limit, result.alarms, result.notes) == (3, (Alarm(1000),), ())


# What a replay doesn't know


@pytest.mark.parametrize(
    ("behavior", "reason"),
    [
        (
            parsed("aws:num-messages-sent", comparisonOperator="less-than", value={"count": 1}, durationSeconds=300),
            "AWS IoT measures aws:num-messages-sent itself; no report carries it",
        ),
        (
            parsed(BYTES, mlDetectionConfig={"confidenceLevel": "HIGH"}),
            "ML Detect learns from 14 days and 25,000 datapoints of the fleet, in the service only",
        ),
        (parsed(BYTES), "it has no criteria: the service keeps the metric and never alarms"),
        (at_most(1, BYTES, duration=300), "no report carries aws:all-bytes-out"),
        (
            Behavior("B", "cpu_usage", "number", "less-than", 1),
            "no report carries cpu_usage among its custom metrics (parameter CustomMetrics of the connector)",
        ),
    ],
)
def test_skipped_behavior_has_a_reason(behavior: Behavior, reason: str) -> None:
    assert outcome(behavior, counts([1, 2])) == Replayed(reason)


def test_recording_shorter_than_the_duration_is_skipped() -> None:
    behavior = at_most(1, BYTES, duration=3600)
    assert outcome(behavior, counts([None, 1, 2], BYTES)) == Replayed(
        "the recording is shorter than durationSeconds 3600"
    )


def test_percentile_of_negative_numbers_is_skipped() -> None:
    behavior = Behavior("B", "m", "number", "less-than", statistic="p50", duration=300)
    below = [report(1, number=("m", -0.5)), report(2, number=("m", 3))]
    assert outcome(behavior, below) == Replayed("percentiles are not available for a metric with negative values")


def test_baseline_without_the_metric_is_skipped() -> None:
    behavior = Behavior("B", NUMBER, "count", "less-than", statistic="p50", duration=300)
    assert outcome(behavior, counts([1]), counts([1], BYTES)) == Replayed(
        f"the baseline has no {NUMBER} to take p50 from"
    )


def test_sampled_list_is_noted() -> None:
    behavior = Behavior("B", PORTS, "ports", "not-in-port-set", elements=(23,))
    reports = [report(1, ports=(PORTS, (80,))), report(2, 5, ports=(PORTS, (80, 81)))]
    assert outcome(behavior, reports).notes == (
        "1 of 2 reports list a sample only (of up to 7); what is not in it is missed, here and in the service; raise"
        " MaxListSize (--max-list-size)",
    )
