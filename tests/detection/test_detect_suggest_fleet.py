"""What `suggest` says of few devices of a fleet, and of reports that it did not learn from."""

from __future__ import annotations

import pytest
from detection.reports import Report
from detection.suggest import check
from support.fleet import fleet_of
from support.suggested import CONNECTION, START, learned, recording

from connector.detect.measurement import Reading


def test_ports_of_few_devices_are_learned_with_a_note() -> None:
    usual = [recording("aws:listening-tcp-ports", "ports", [(22,)]) for _ in range(39)]
    behaviors, notes = learned(*usual, recording("aws:listening-tcp-ports", "ports", [(22, 8080)]))
    assert behaviors == [{"comparisonOperator": "in-port-set", "value": {"ports": [22, 8080]}}]
    assert notes == [
        "aws:listening-tcp-ports: few of the 40 devices listen on 8080 (gateway-39); take out what should not be there"
    ]


def test_limits_that_few_devices_alone_make_so_high_are_noted() -> None:
    """One of 50 that was compromised while the fleet was recorded must not pass for what is normal."""

    def device(megabytes_out: float, connections: int) -> list[Report]:
        return [
            Report(
                "r",
                START + 300 * n,
                {
                    "aws:all-bytes-out": Reading("count", int(megabytes_out * 10**6)),
                    "aws:num-established-tcp-connections": Reading("count", connections),
                },
            )
            for n in range(2)
        ]

    usual = [device(0.1, 1)] * 4
    behaviors, notes = learned(*usual, device(20, 40))
    assert [one["value"] for one in behaviors] == [{"count": 30_000_000}, {"count": 60}]
    assert notes == [
        "because of gateway-4 alone, limits are high: aws:all-bytes-out 30,000,000 instead of 1,000,000;"
        " aws:num-established-tcp-connections 60 instead of 10; if what happened there should alarm, leave those"
        " reports out"
    ]
    assert learned(*usual, device(0.5, 6))[1] == [], "the limit is the floor"
    assert learned(*usual, device(20, 40), device(21, 41))[1] == [], "two of six are no exception"
    assert learned(*usual[1:], device(20, 40))[1] == [], "too few devices to say what is usual"
    assert learned(*usual * 10, device(20, 40), device(20, 40))[1][0].startswith(
        "because of gateway-40, gateway-41 alone, limits are high: "
    )


@pytest.mark.parametrize(
    ("fleet", "said"),
    [
        ([[2] * 30], "it would have alarmed 0 times in the last third"),
        (
            [[2] * 20 + [9] * 2 + [2] * 4 + [9] * 4],
            "it would have alarmed 2 times in the last third: num-listening-tcp-ports (2); record more days, or raise"
            " --headroom",
        ),
        (
            [[2] * 30, [2] * 29 + [9]],
            "it would have alarmed 1 time on 1 of 2 devices in the last third: num-listening-tcp-ports (1); record more"
            " days, or raise --headroom",
        ),
        (
            [*[[2] * 30] * 4, [2] * 29 + [9]],
            "it would have alarmed 1 time on 1 of 5 devices in the last third: num-listening-tcp-ports (1), all on"
            " gateway-4: look at what happened there before you raise --headroom",
        ),
    ],
)
def test_check_tries_what_was_learned_on_the_rest(fleet: list[list[int]], said: str) -> None:
    reports = {f"gateway-{n}": recording("aws:num-listening-tcp-ports", "count", one) for n, one in enumerate(fleet)}
    found = check(fleet_of(reports, CONNECTION), 1.5)
    assert found == f"check: learned from the first two thirds of the time, {said}"


def test_one_report_is_too_few_to_check() -> None:
    reports = {"gateway": recording("aws:num-listening-tcp-ports", "count", [2])}
    assert check(fleet_of(reports, CONNECTION), 1.5) == ("check: too few reports to learn from some and try the rest")


def test_check_learns_from_two_thirds_of_the_reports_whatever_the_clock_did() -> None:
    """Of the time, the first two thirds would be the report of 1970 alone."""
    values = [1] + [4] * 20 + [9]
    reports = recording("aws:num-listening-tcp-ports", "count", values)
    reports[0] = Report("r", 7, reports[0].readings)
    assert check(fleet_of({"gateway": reports}, CONNECTION), 1.5) == (
        "check: learned from the first two thirds of the time, it would have alarmed 1 time in the last third:"
        " num-listening-tcp-ports (1); record more days, or raise --headroom"
    )
