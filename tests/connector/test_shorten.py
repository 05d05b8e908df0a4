"""Reports and alarms that are too long for the transport: shorter lists, exact totals, and one line in the log."""

from __future__ import annotations

import json
import random
import socket
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List

import pytest
from support.loop import DAY
from support.nucleus_loop import NucleusLoop

from connector.cycle import Made, make_report, observe
from connector.detect.event import fitted, sentence
from connector.encode import FORMATS
from connector.kernel.dev import Counters
from connector.memory import Memory
from connector.outbox import encoded
from connector.snapshot import Connection, Connections, Port, Ports, Snapshot

LITE_BYTES = 7_000
SMALLEST = 2_048


def snapshot(connections: int = 200, ports: int = 200, name: str = "eth0") -> Snapshot:
    remotes = [socket.inet_aton(f"198.51.{number // 250}.{1 + number % 250}") for number in range(connections)]
    return Snapshot(
        scope="/proc/1/net",
        established=Connections(3 * connections, [Connection(remote, 60_000, 8_883, name) for remote in remotes]),
        listening_tcp=Ports(ports, [Port(1 + number, name) for number in range(ports)]),
        listening_udp=Ports(5, [Port(number, name) for number in (53, 67, 68, 123, 5353)]),
        counters={name: Counters(10**12, 10**12, 10**9, 10**9)},
        edge=frozenset([name]),
        custom={"memory_usage": 12.5},
    )


def made(
    shown: Snapshot, report_format: str = "json", short: bool = False, most: int = LITE_BYTES, seed: int = 1
) -> Made:
    memory = observe(Memory(), shown, 1_700_000_000)
    memory = memory._replace(traffic=memory.traffic._replace(unsent=Counters(*[2**40] * 4), compared=True))
    report = make_report(memory, shown, short, report_format, most, random.Random(seed))
    assert report is not None
    return report


@pytest.mark.parametrize("report_format", FORMATS)
@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("most", [SMALLEST, 5_000, LITE_BYTES, 10_000])
def test_a_report_fits_with_lists_as_long_as_possible_and_exact_totals(
    report_format: str, short: bool, most: int
) -> None:
    shown = snapshot()
    report = made(shown, report_format, short, most)
    assert most - 300 <= len(report.payload) <= most  # another entry of each list has about 130 bytes
    metrics = report.report["met" if short else "metrics"]
    total, stats = ("t", "ns") if short else ("total", "network_stats")
    connections = metrics["tc" if short else "tcp_connections"]["ec" if short else "established_connections"]
    assert connections[total] == 600
    assert metrics["tp" if short else "listening_tcp_ports"][total] == 200
    assert metrics["up" if short else "listening_udp_ports"][total] == 5
    assert list(metrics[stats].values()) == [2**40] * 4
    assert len(connections["cs" if short else "connections"]) == report.list_size


def test_the_longest_report_there_can_be_fits_the_smallest_limit() -> None:
    """Names as long as the kernel allows, IPv6 addresses written out, numbers of 64 bits, every custom metric."""
    name = "n" * 15
    remotes = [bytes([0xFE, *range(129, 144)])] * 500
    shown = snapshot()._replace(
        established=Connections(2**63, [Connection(remote, 65_535, 65_535, name) for remote in remotes]),
        listening_tcp=Ports(2**63, [Port(65_000 - number, name) for number in range(500)]),
        listening_udp=Ports(2**63, [Port(65_000 - number, name) for number in range(500)]),
        custom={f"{'metric':_<40}{number}": 123456789.123 for number in range(8)},
    )
    report = made(shown, most=SMALLEST)
    assert len(report.payload) <= SMALLEST
    assert report.list_size is not None
    assert report.list_size >= 1


def test_a_report_that_fits_is_left_alone() -> None:
    report = made(snapshot(20, 20))
    assert report.list_size is None
    assert len(report.report["metrics"]["listening_tcp_ports"]["ports"]) == 20


def test_every_entry_is_as_likely_in_a_shortened_list() -> None:
    shown = snapshot(200, 0)
    seen: Counter[str] = Counter()
    for seed in range(120):
        report = made(shown, seed=seed).report
        connections = report["metrics"]["tcp_connections"]["established_connections"]["connections"]
        seen.update(entry["remote_addr"] for entry in connections)
    size = sum(seen.values()) / 120
    expected, deviation = 120 * size / 200, (120 * size / 200 * (1 - size / 200)) ** 0.5
    assert len(seen) == 200
    assert all(abs(count - expected) < 5 * deviation for count in seen.values())


def test_the_loop_shortens_what_the_transport_does_not_carry_and_says_so_once(tmp_path: Path) -> None:
    loop = NucleusLoop(tmp_path, MaxListSize="500")
    loop.nucleus.max_payload_bytes = 2_048
    rest = "00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1 1 0 100 0 0 10 0"
    rows = "".join(f"{number:4}: 0100007F:{number:04X} {rest}\n" for number in range(1, 201))
    table = loop.host.directory / "1" / "net" / "tcp"
    header = table.read_text().partition("\n")[0]
    table.write_text(header + "\n" + rows)
    loop.run(1000)
    assert len(loop.nucleus.reports) == 4
    for report, _ in loop.nucleus.reports:
        ports = report.report["metrics"]["listening_tcp_ports"]
        assert ports["total"] == 200
        assert 30 < len(ports["ports"]) < 200
    (line,) = loop.logged("because the transport carries 2048 bytes")
    assert line.startswith("WARNING a report is ")
    loop.run(DAY / 24)
    assert len(loop.logged("because the transport carries")) == 2  # once a start


def event(elements: int, criteria: int) -> Dict[str, Any]:
    ports = list(range(1, elements + 1))
    return {
        "violationEventTime": 1_700_000_000_000,
        "thingName": "gateway-7",
        "behavior": {
            "name": "Ports",
            "metric": "aws:listening-tcp-ports",
            "criteria": {"comparisonOperator": "in-port-set", "value": {"ports": list(range(1000, 1000 + criteria))}},
        },
        "violationEventType": "in-alarm",
        "violationId": "0" * 32,
        "securityProfileName": "Profile",
        "metricValue": {"ports": ports},
        "violatingElementCount": 70,
    }


@pytest.mark.parametrize(("elements", "criteria"), [(50, 10), (50, 5_000), (0, 5_000), (600, 2), (600, 5_000)])
@pytest.mark.parametrize("most", [1_024, LITE_BYTES])
def test_an_alarm_fits_and_its_counts_stay_exact(elements: int, criteria: int, most: int) -> None:
    document = event(elements, criteria)
    kept = json.loads(json.dumps(document))
    short = fitted(document, most)
    assert document == kept  # what waits in the outbox, and in the state file, is whole
    assert len(encoded(short)) <= most
    assert short["violatingElementCount"] == 70
    assert short["metricValue"]["ports"] == document["metricValue"]["ports"][: len(short["metricValue"]["ports"])]
    shown: List[int] = short["behavior"]["criteria"]["value"]["ports"]
    assert short.get("criteriaElementCount", len(shown)) == criteria
    assert sentence(short)


def test_an_alarm_that_fits_is_left_alone() -> None:
    assert fitted(event(50, 10), LITE_BYTES) == event(50, 10)
    numbers = {**event(0, 1), "metricValue": {"count": 5}}
    numbers["behavior"] = {"name": "n" * 128, "metric": "m", "criteria": {"value": {"count": 3}}}
    assert fitted(numbers, 10) == numbers
