"""What `suggest` learns from recordings, and what it does not learn."""

from __future__ import annotations

from typing import Any

import pytest
from detection.errors import InputError
from detection.profile import check
from detection.replay import replay
from detection.reports import Report
from detection.suggest import round_up, too_short
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fleet import fleet_of
from support.suggested import CONNECTION, START, at_most, in_a_row, learned, recording, suggested

from connector.detect.measurement import Reading
from connector.detect.profile import parse


@pytest.mark.parametrize(
    ("metric", "kind", "values", "interval", "criteria"),
    [
        ("aws:num-listening-tcp-ports", "count", [3, 4, 4], 300, at_most(count=6)),
        ("aws:num-listening-tcp-ports", "count", [0, 0], 300, at_most(count=0)),
        ("aws:num-established-tcp-connections", "count", [100, 823], 300, {**at_most(count=1300), **in_a_row(3)}),
        (
            "aws:all-bytes-out",
            "count",
            [2_000_000, 3_000_000],
            300,
            {**at_most(count=4_500_000), "durationSeconds": 300},
        ),
        (
            "aws:all-bytes-out",
            "count",
            [2_000_000, 3_000_000],
            302,
            {**at_most(count=4_500_000), "durationSeconds": 300},
        ),
        ("aws:all-bytes-out", "count", [10**7, 10**7], 1800, {**at_most(count=15_000_000), "durationSeconds": 1800}),
        (
            "aws:all-bytes-out",
            "count",
            [10**7, 10**8],
            7200,
            {**at_most(count=150_000_000), "durationSeconds": 3600, **in_a_row(3)},
        ),
        ("load_average_1m", "number", [5, 4.5], 300, {**at_most(number=7.5), **in_a_row(3)}),
        ("offset", "number", [-3.5, -4], 300, at_most(number=-1.7)),
        # A percentage ends at 100, so a limit is at most half way from the highest value to 100.
        ("cpu_usage", "number", [80, 70], 300, {**at_most(number=90), **in_a_row(3)}),
        ("memory_usage", "number", [40, 38], 300, at_most(number=60)),
        # An idle device: limits don't go below what a login or an update causes.
        ("cpu_usage", "number", [0.2, 1.5], 300, {**at_most(number=50), **in_a_row(3)}),
        ("memory_usage", "number", [20, 15], 300, at_most(number=50)),
        ("load_average_1m", "number", [0.01, 0.02], 300, {**at_most(number=1), **in_a_row(3)}),
        ("process_count", "number", [9, 9], 300, at_most(number=50)),
        ("aws:num-established-tcp-connections", "count", [1, 1], 300, at_most(count=10)),
        ("aws:all-bytes-out", "count", [10, 20], 300, {**at_most(count=1_000_000), "durationSeconds": 300}),
        ("aws:all-bytes-out", "count", [10, 20], 1800, {**at_most(count=6_000_000), "durationSeconds": 1800}),
        # Values far above the usual ones: it takes several in a row.
        ("queue", "number", [3, 3, 3, 10], 300, {**at_most(number=15), **in_a_row(3)}),
        ("queue", "number", [3, 3, 3, 4], 300, at_most(number=6)),
    ],
)
def test_limit_is_above_the_highest_value(
    metric: str, kind: str, values: list[float], interval: int, criteria: dict[str, Any]
) -> None:
    assert learned(recording(metric, kind, values, interval=interval))[0] == [criteria]


def test_port_set_holds_every_recorded_port() -> None:
    reports = recording("aws:listening-tcp-ports", "ports", [(443, 22), (), (443, 8883)])
    assert learned(reports) == ([{"comparisonOperator": "in-port-set", "value": {"ports": [22, 443, 8883]}}], [])


def test_limit_covers_several_recordings() -> None:
    reports = recording("aws:num-listening-tcp-ports", "count", [2])
    assert learned(reports, recording("aws:num-listening-tcp-ports", "count", [8]))[0] == [at_most(count=12)]


@pytest.mark.parametrize(
    ("reports", "note"),
    [
        (
            recording("aws:listening-udp-ports", "ports", [(68,), (68, 41234), (68, 50001)]),
            "aws:listening-udp-ports: ports from 32768 that come and go are no service (41234, 50001), so no set can"
            " say what is normal; its number has a limit",
        ),
        (
            recording("aws:destination-ip-addresses", "cidrs", [(bytes([192, 0, 2, 7]),), (bytes([192, 0, 2, 7]),)]),
            "aws:destination-ip-addresses: no set is learned, name the networks you know yourself; recorded (reports):"
            " 192.0.2.7 (2)",
        ),
        # Also with a restart in it, and in too few reports to see that it grows.
        *(
            (
                recording("uptime_seconds", "number", values),
                "uptime_seconds: it only grows until a restart, so no limit is learned",
            )
            for values in ([1, 2, 3], [5000, 300, 600], [300, 600], [7])
        ),
        *(
            (
                recording(metric, kind, [0, 0, 0]),
                f"{metric}: never above 0 in these reports, so no limit is learned; record while the device works",
            )
            for metric, kind in (
                ("aws:all-bytes-out", "count"),
                ("aws:num-established-tcp-connections", "count"),
                ("load_average_1m", "number"),
                ("cpu_usage", "number"),
            )
        ),
        (
            recording("memory_usage", "number", [98.6, 40]),
            "memory_usage: it was as high as 98.6, so no limit is learned: one above that would hardly ever alarm",
        ),
        (
            recording("aws:all-bytes-out", "count", [1, 2], interval=10),
            "aws:all-bytes-out: no full period of 300 s recorded, so no limit is learned",
        ),
    ],
)
def test_metric_not_learned_has_a_note(reports: list[Report], note: str) -> None:
    assert learned(reports) == ([], [note])


def test_no_set_is_learned_from_samples() -> None:
    """Their number, which is exact, has a limit."""
    assert learned(recording("aws:listening-tcp-ports", "ports", [(22,), (80,)], unlisted=70)) == (
        [at_most(count=110)],
        [
            "aws:listening-tcp-ports: 2 of 2 reports list a sample only, from which no set is learned; record again"
            " with a larger --max-list-size"
        ],
    )


def test_constant_port_above_32768_is_learned_with_a_note() -> None:
    """It is a service, or a port that the kernel lent until the next restart; only a person knows."""
    reports = recording("aws:listening-tcp-ports", "ports", [(50051,), (50051, 22)])
    assert learned(reports) == (
        [{"comparisonOperator": "in-port-set", "value": {"ports": [22, 50051]}}],
        [
            "aws:listening-tcp-ports: 50051 may be lent by the kernel, which gives out ports from 32768: then another"
            " one after a restart alarms; give the service a fixed port, or take this behavior out"
        ],
    )


def test_limit_from_a_gap_is_noted() -> None:
    """One report carries the traffic of ten hours without reports."""
    reports = recording("aws:all-bytes-out", "count", [10**6] * 5)
    late = Report("r:6", reports[-1].time + 36000, {"aws:all-bytes-out": Reading("count", 12 * 10**7)})
    assert learned([*reports, late]) == (
        [{**at_most(count=180_000_000), "durationSeconds": 300, **in_a_row(3)}],
        [
            "aws:all-bytes-out: its highest value is of 10 h between two reports, so the limit is too high for"
            " 300 s; record without a gap, or lower it"
        ],
    )
    quiet = Report("r:6", late.time, {"aws:all-bytes-out": Reading("count", 10**6)})
    busy = Report("r:5", reports[-1].time, {"aws:all-bytes-out": Reading("count", 2 * 10**6)})
    assert learned([*reports[:-1], busy, quiet])[1] == []
    reports = recording("aws:all-bytes-out", "count", [1000] * 5)
    late = Report("r:6", reports[-1].time + 36000, {"aws:all-bytes-out": Reading("count", 2000)})
    assert learned([*reports, late])[1] == [], "the limit is the floor"


def test_growing_metric_has_a_limit() -> None:
    assert learned(recording("process_count", "number", [80, 90, 100]))[0] == [at_most(number=150)]


@pytest.mark.parametrize("kinds", [("number", "strings"), ("strings", "number")])
def test_metric_that_changes_its_type_is_refused(kinds: tuple[str, str]) -> None:
    value = {"number": 1, "strings": ("a",)}
    reports = [Report(f"r:{n}", START + 300 * n, {"m": Reading(kind, value[kind])}) for n, kind in enumerate(kinds)]
    with pytest.raises(InputError) as error:
        suggested(reports)
    assert str(error.value) == ("m is of the type number in some reports and strings in others; take one of them out")


def test_list_of_texts_is_shown_in_a_note() -> None:
    assert learned(recording("users", "strings", [("root",), ("root", "me")])) == (
        [],
        ["users: no set is learned, name what is normal yourself; recorded (reports): root (2), me (1)"],
    )


def test_custom_metrics_to_create_are_noted() -> None:
    assert learned(recording("process_count", "number", [9, 8]))[1] == [
        "create the custom metrics first: process_count"
    ]


def test_reports_of_two_devices_are_noted() -> None:
    """A report does not say whose it is; those of two devices come in turn, unevenly."""
    one = recording("aws:num-listening-tcp-ports", "count", [1] * 10)
    other = [Report(report.where, report.time + 7, report.readings) for report in one]
    mixed = sorted(one + other, key=lambda report: report.time)
    note = "reports come unevenly, 7 s to 293 s apart; is this one device's recording?"
    assert learned(mixed)[1] == [note]
    assert learned(one, other)[1] == []
    lost = one[:3] + one[4:8] + one[9:]
    assert learned(lost)[1] == []


def test_recording_of_less_than_a_day_is_too_short() -> None:
    def short(values: int, interval: int) -> str | None:
        reports = recording("aws:num-listening-tcp-ports", "count", [1] * values, interval=interval)
        return too_short(fleet_of({"gateway": reports}, CONNECTION))

    assert short(2, 24 * 3600) is None
    assert short(288, 300) is None, "a day as README records it"
    assert short(2, 5 * 3600) == (
        "5 h recorded: what the device does only at other hours will alarm; record a day or a week"
    )


def test_pause_or_a_jump_of_the_clock_is_no_recorded_time() -> None:
    """A device without a battery for its clock begins in 1970: its first hour must not pass for 56 years."""
    hour = recording("aws:num-listening-tcp-ports", "count", [1] * 13)
    early = [Report("r", 7, hour[0].readings)]
    later = [Report("r", report.time + 90000, report.readings) for report in hour]
    assert too_short(fleet_of({"gateway": [*early, *hour]}, CONNECTION)) == (
        "2 h recorded: what the device does only at other hours will alarm; record a day or a week"
    )
    assert str(too_short(fleet_of({"gateway": [*hour, *later]}, CONNECTION))).startswith("3 h recorded: ")


def test_twenty_idle_reports_do_not_page_anybody() -> None:
    """Logins and an update on the next day are above ten times the idle values."""
    idle = recording("cpu_usage", "number", [0.4, 1.5] * 10)
    busy = [
        Report("r", START + 90000 + 300 * n, {"cpu_usage": Reading("number", value)})
        for n, value in enumerate([99, 99, 1, 35, 40, 1])
    ]
    profile = parse(suggested(idle).profile)
    (device,) = replay(fleet_of({"gateway": busy}, CONNECTION), [profile]).devices
    assert [result.alarms for result in device.results] == [()]


def test_description_names_the_recording() -> None:
    reports = recording("aws:num-listening-tcp-ports", "count", [1, 1])
    assert suggested(reports, headroom=2).profile["securityProfileDescription"] == (
        "Normal as recorded in 2 reports of 1 device from 2026-01-05 08:00:00 to 2026-01-05 08:05:00 UTC. Limits are up"
        " to 2 times the highest value recorded or a floor, port sets are the ports recorded. Tune: raise a limit that"
        " alarms without a cause."
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, 0), (1, 1), (99, 99), (100.5, 110), (1234, 1300), (1300, 1300), (0.0123, 0.013), (-1234, -1200)],
)
def test_round_up_keeps_two_digits(value: float, expected: float) -> None:
    assert round_up(value) == expected


metrics = st.fixed_dictionaries(
    {},
    optional={
        "aws:all-bytes-out": st.builds(Reading, st.just("count"), st.integers(0, 10**12), st.just(0)),
        "aws:num-listening-tcp-ports": st.builds(Reading, st.just("count"), st.integers(0, 500), st.just(0)),
        "aws:listening-tcp-ports": st.builds(
            Reading, st.just("ports"), st.lists(st.integers(1, 65535), max_size=4).map(tuple), st.just(0)
        ),
        "cpu_usage": st.builds(Reading, st.just("number"), st.floats(0, 100), st.just(0)),
        "offset": st.builds(Reading, st.just("number"), st.floats(-1e9, 1e9), st.just(0)),
    },
)


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(1, 4000), metrics), min_size=1, max_size=20), st.floats(1, 10))
def test_suggested_profile_is_valid_and_does_not_alarm_on_its_recording(
    steps: list[tuple[int, dict[str, Reading]]], headroom: float
) -> None:
    reports, time = [], START
    for seconds, readings in steps:
        time += seconds
        reports.append(Report("reports.jsonl", time, readings))
    suggestion = suggested(reports, headroom=headroom)
    assert list(check(suggestion.profile)) == []
    (device,) = replay(fleet_of({"gateway": reports}, CONNECTION), [parse(suggestion.profile)]).devices
    for result in device.results:
        assert result.alarms == (), result
