"""Outcomes of small fleets for tests of the page and the picture, judged by the engine of connector/detect."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

import numpy as np
from detection.outcome import Alarm, Device, Outcome, Result, Series
from detection.summary import rule

from connector.detect.alarm import IN_ALARM, INVALIDATED
from connector.detect.engine import Detector, Judgement
from connector.detect.event import element_text
from connector.detect.measurement import Measurement, Reading, measure
from connector.detect.profile import Behavior, Profile, parse

START = 1767600000  # 2026-01-05 08:00:00 UTC
Recording = Sequence[tuple[int, Measurement]]  # epoch seconds and what was measured


def behavior(
    name: str,
    metric: str,
    operator: str = "less-than-equals",
    value: Any = None,
    suppressed: bool = False,
    **criteria: Any,
) -> dict[str, Any]:
    """Return a behavior for a profile; value and what follows suppressed are members of its criteria."""
    criteria = {"comparisonOperator": operator, "value": value, **criteria}
    return {"name": name, "metric": metric, "criteria": criteria, **({"suppressAlerts": True} if suppressed else {})}


def profile(name: str, *behaviors: dict[str, Any]) -> Profile:
    """Return a checked profile."""
    parsed = parse({"securityProfileName": name, "behaviors": list(behaviors)})
    assert not parsed.faults
    return parsed


def judged(
    profiles: Sequence[Profile], recordings: Mapping[str, Recording], remarks: Mapping[str, str] = {}
) -> Outcome:
    """Return the outcome of recordings by thing."""
    series: dict[tuple[str, str, str], Series] = {}
    devices = []
    for thing, recording in recordings.items():
        detector = Detector(profiles, thing, max_elements=sys.maxsize)
        found: dict[tuple[str, str], tuple[Series, list[Alarm]]] = {}
        for time, measurement in recording:
            for judgement in detector.judgements(measurement, time):
                one, alarms = found.setdefault(
                    (judgement.profile, judgement.behavior.name), (Series([], [], [], None), [])
                )
                _note(one, alarms, time, judgement)
        results = []
        for judged_by in profiles:
            for judged_behavior in judged_by.behaviors:
                key = (judged_by.name, judged_behavior.name)
                one, alarms = found.get(key, (Series([], [], [], None), []))
                if one.times:
                    series[thing, key[0], key[1]] = Series(one.times, one.values, one.outside, judged_behavior.limit)
                results.append(_result(judged_by, judged_behavior, one, alarms))
        times = [time for time, _ in recording]
        devices.append(Device(thing, times[0], times[-1], len(times), 300, remarks.get(thing), tuple(results)))
    devices.sort(key=lambda device: -device.seconds_in_alarm)
    return Outcome(tuple(one.name for one in profiles), tuple(devices), {"read": 1}, lambda *names: series[names])


def _note(series: Series, alarms: list[Alarm], time: int, judgement: Judgement) -> None:
    if judgement.value is not None:
        is_list = isinstance(judgement.value, tuple)
        shown = [element_text(one) for one in judgement.value] if is_list else judgement.value
        for column, value in (
            (series.times, time),
            (series.values, shown),
            (series.outside, [element_text(one) for one in judgement.violation.elements]),
        ):
            assert isinstance(column, list)
            column.append(value)
    if judgement.event is not None:
        change = judgement.event.change
        if change.type == IN_ALARM:
            alarms.append(Alarm(change.time))
        else:
            alarms[-1] = Alarm(change.since, change.time, change.type == INVALIDATED)


def _result(judged_by: Profile, judged_behavior: Behavior, series: Series, alarms: list[Alarm]) -> Result:
    skipped = judged_behavior.skipped or (None if series.times else f"no report carries {judged_behavior.metric}")
    if skipped:
        return Result(judged_by.name, judged_behavior, rule(judged_behavior), skipped=skipped)
    return Result(
        judged_by.name,
        judged_behavior,
        rule(judged_behavior),
        judged_behavior.limit,
        datapoints=len(series.times),
        violations=sum(map(bool, series.outside)),
        alarms=tuple(alarms),
    )


NETWORKS = ["192.0.2.0/24", "2001:db8::/32"]
TRAFFIC = profile(
    "Traffic",
    behavior("BytesOut", "aws:all-bytes-out", value={"count": 400_000}, durationSeconds=300),
    behavior("PacketsOut", "aws:all-packets-out", value={"count": 900}, durationSeconds=300, suppressed=True),
    behavior("Connections", "aws:num-established-tcp-connections", value={"count": 12}, consecutiveDatapointsToAlarm=2),
    behavior("Processor", "cpu_usage", value={"number": 80.0}, consecutiveDatapointsToAlarm=3),
    behavior("MessagesSent", "aws:num-messages-sent", value={"count": 100}, durationSeconds=300),
)
PLACES = profile(
    "Places",
    behavior("TcpPorts", "aws:listening-tcp-ports", "in-port-set", {"ports": [22, 443, 8883]}),
    behavior("UdpPorts", "aws:listening-udp-ports", "in-port-set", {"ports": [123]}),
    behavior("Destinations", "aws:destination-ip-addresses", "in-cidr-set", {"cidrs": NETWORKS}),
    behavior("Users", "users", "in-set", {"strings": ["root"]}),
)
PEERS = [ip_address(f"192.0.2.{number}").packed for number in range(1, 40)] + [ip_address("2001:db8::5").packed]


def day_of(chance: random.Random, reports: int = 288, incident: bool = False, users: Iterable[str] = ()) -> Recording:
    """Return a device's reports, 300 s apart, busier by day; an incident: a telnet port, a foreign peer, a burst."""
    recording = []
    for index in range(reports):
        busy = 1 + math.sin(index * 2 * math.pi / 288)
        hit = incident and reports // 2 <= index % reports < reports // 2 + 20
        peers = chance.sample(PEERS, chance.randint(2, 6)) + ([ip_address("203.0.113.66").packed] if hit else [])
        measured = measure(
            connections_total=len(peers) + (20 if hit else 0),
            tcp_ports=(22, 443, 8883) + ((2323,) if hit else ()),
            udp_ports=(),
            destinations=tuple(peers),
            bytes_out=int(chance.lognormvariate(10.5, 0.4) * busy) + (9_000_000 if hit else 100),
            packets_out=int(chance.lognormvariate(5.5, 0.3) * busy) + (1_000 if hit else 1),
            custom={"cpu_usage": round(min(100, chance.expovariate(0.1) + (85 if hit else 0)), 1)},
        )
        if users:
            measured["users"] = Reading("strings", tuple(users))
        recording.append((START + 300 * index, measured))
    return recording


def fleet(devices: int = 12, reports: int = 288, seed: int = 1) -> Outcome:
    """Return the outcome of gateways of which every fourth had an incident; gateway-3 was switched off for a while."""
    chance = random.Random(seed)
    recordings = {}
    for number in range(1, devices + 1):
        one = day_of(chance, reports, incident=number % 4 == 2, users=["root", "guest"] if number == 5 else ["root"])
        if number == 3:
            one = [*one[: reports // 3], *one[reports // 2 :]]
        recordings[f"gateway-{number}"] = one
    return judged([TRAFFIC, PLACES], recordings, {"gateway-3": "reports come unevenly; is this one device's?"})


def strings(*elements: str) -> Reading:
    """Return the reading of a custom metric that is a list of strings."""
    return Reading("strings", elements)


def year(metrics: int, violation_every: int = 0) -> Outcome:
    """Return the outcome of a device with a report every 300 s for a year, and one datapoint far above the others.

    violation_every: a violation in so many datapoints, beside that peak; 0: none
    """
    chance = np.random.default_rng(1)
    times = list(range(START, START + 105_120 * 300, 300))
    names = ("bytes-out", "bytes-in", "packets-out", "packets-in")
    judged_by = profile(
        "Year",
        *(
            behavior(f"B{i}", f"aws:all-{names[i % 4]}", value={"count": 10**8}, durationSeconds=300)
            for i in range(metrics)
        ),
    )
    series, results = {}, []
    for i, one in enumerate(judged_by.behaviors):
        values = chance.lognormal(13 - 2 * (i % 4 > 1), 0.5, len(times)).astype(int)
        if violation_every:
            values[::violation_every] *= 1000
        values[50_000] = 999_999_999
        outside = [(value,) if value > 10**8 else () for value in values.tolist()]
        alarms = tuple(Alarm(time, time + 300) for time, bad in zip(times, outside) if bad)
        series[one.name] = Series(times, values.tolist(), outside, 10**8)
        results.append(
            Result("Year", one, rule(one), 10**8, datapoints=len(times), violations=len(alarms), alarms=alarms)
        )
    device = Device("gateway-1", times[0], times[-1], len(times), 300, None, tuple(results))
    return Outcome(("Year",), (device,), {}, lambda thing, profile, behavior: series[behavior])
