"""Same reports and profile, same events: the connector's loop, the local core, and detect.py."""

from __future__ import annotations

import json
import logging
import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from detection.watch import Watch
from hypothesis import given, settings
from hypothesis import strategies as st
from local_core.alarms import Detect
from local_core.service import Delivery, Verdict
from support.detect_reference import PROFILE_DOCUMENTS, SHIPPED
from support.loop import TOPIC, Core, FakeClock

from connector import config
from connector.agent import assemble
from connector.detect.profile import parse
from connector.kernel.destinations import Destinations
from connector.kernel.dev import Counters
from connector.kernel.host import CpuTimes
from connector.snapshot import Connection, Connections, Port, Ports, Snapshot, Source, Wanted

THING = "gateway-7"
INTERVAL = 300
PORTS = st.lists(
    st.builds(Port, st.sampled_from([22, 53, 443, 4444, 8883, 23, 2323, 5353]), st.sampled_from(["0.0.0.0", "eth0"])),
    unique=True,
    max_size=12,
)
ADDRESSES = st.sampled_from(
    [
        bytes([10, 0, 0, 7]),
        bytes([11, 0, 0, 0]),
        bytes([192, 0, 2, 7]),
        bytes(15) + b"\1",
        b"\x20\1\x0d\xb8" + bytes(12),
    ]
)
CONNECTIONS = st.lists(st.builds(Connection, ADDRESSES, st.just(443), st.just(50000), st.just("eth0")), max_size=12)
PASSED = st.tuples(*[st.sampled_from([0, 50, 100, 101, 200_000, 400_000])] * 4)


def absent_or(strategy: Any) -> Any:
    """None is what could not be read."""
    return st.none() | strategy | strategy | strategy


# Where all are absent there is no report.
NOTHING = dict.fromkeys(["tcp", "udp", "connections", "passed", "busy", "memory"])
READINGS = st.lists(
    st.just(NOTHING)
    | st.fixed_dictionaries(
        {
            "tcp": absent_or(PORTS),
            "udp": absent_or(PORTS),
            "connections": absent_or(CONNECTIONS),
            "passed": absent_or(PASSED),
            "busy": absent_or(st.integers(0, 100)),
            "memory": absent_or(st.sampled_from([10.5, 85.0, 90.1, 100.0])),
        }
    ),
    min_size=1,
    max_size=14,
)


def snapshots(readings: list[dict[str, Any]]) -> list[Snapshot]:
    """What the tables show, with every element besides the lists of the report."""
    found = []
    counters, cpu = Counters(1000, 1000, 10, 10), CpuTimes(0, 0)
    for reading in readings:
        tcp, udp, connections = reading["tcp"], reading["udp"], reading["connections"]
        destinations = None
        if connections is not None:
            destinations = Destinations()
            for one in connections:
                (destinations.add_ipv4 if len(one.remote) == 4 else destinations.add_ipv6)(one.remote)
        if reading["passed"] is not None:
            counters = Counters(*(a + b for a, b in zip(counters, reading["passed"])))
        if reading["busy"] is not None:
            cpu = CpuTimes(cpu.busy + reading["busy"], cpu.total + 100)
        found.append(
            Snapshot(
                scope="net",
                established=None if connections is None else Connections(len(connections), connections),
                listening_tcp=None if tcp is None else Ports(len(tcp), sorted(tcp)),
                listening_udp=None if udp is None else Ports(len(udp), sorted(udp)),
                counters=None if reading["passed"] is None else {"eth0": counters},
                edge=frozenset() if reading["passed"] is None else frozenset({"eth0"}),
                custom={} if reading["memory"] is None else {"memory_usage": reading["memory"]},
                cpu=None if reading["busy"] is None else cpu,
                all_tcp_ports=None if tcp is None else [one.port for one in tcp],
                all_udp_ports=None if udp is None else [one.port for one in udp],
                destinations=destinations,
            )
        )
    return found


def connector(document: Any, taken: list[Snapshot]) -> Core:
    """The core of a connector that judged these readings: it has the reports and the events."""
    clock = FakeClock()
    core = Core(clock)
    rest = iter(taken)

    class Made(Source):
        def take(self) -> Snapshot:
            return next(rest)

    def source(wanted: Wanted, rng: random.Random) -> Source:
        return Made(wanted, rng)

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "profile.json"
        path.write_text(json.dumps(document))
        parsed, warnings = config.parse({"AWS_IOT_THING_NAME": THING, "SecurityProfiles": str(path)})
        assert warnings == []
        reporter = assemble(
            parsed, core, clock, random.Random(1), logging.Logger("quiet", logging.ERROR), source, core.start_call
        )
    clock.at(clock.monotonic() + INTERVAL * (len(taken) - 1) + 1, clock.stop)
    reporter.run()
    assert next(rest, None) is None
    return core


def check(document: Any, readings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    core = connector(document, snapshots(readings))
    published = [told.event for told in core.events]

    detect = Detect([parse(document)], INTERVAL)
    watched: list[dict[str, Any]] = []
    watch = Watch([parse(document)], THING, watched.append, pytest.fail)
    in_local_core: list[dict[str, Any]] = []
    for taken in core.taken:
        payload = json.dumps(taken.report).encode()
        in_local_core += detect.judge(Delivery(TOPIC, payload, taken.report, Verdict(True)))
        watch.take(TOPIC, payload)
    assert published == in_local_core == watched
    return published


@settings(max_examples=200, deadline=None)
@given(PROFILE_DOCUMENTS, READINGS)
def test_connector_local_core_and_watch_give_the_same_events(document: Any, readings: list[dict[str, Any]]) -> None:
    check(document, [*readings, NOTHING | {"memory": 10.0}])


@pytest.mark.parametrize("document", SHIPPED, ids=lambda document: str(document["securityProfileName"]))
def test_shipped_profile_gives_the_same_events(document: Any) -> None:
    calm = {"tcp": [], "udp": [], "connections": [], "passed": (0, 0, 0, 0), "busy": 1, "memory": 5.0}
    attack = {
        "tcp": [Port(port, "0.0.0.0") for port in (22, 23, 4444)],
        "udp": [Port(161, "eth0")],
        "connections": [Connection(bytes([203, 0, 113, 1]), 443, 50000, "eth0")] * 300,
        "passed": (10**9,) * 4,
        "busy": 100,
        "memory": 99.0,
    }
    events = check(document, [calm] * 2 + [attack] * 14 + [calm] * 14)
    judged = [one for one in parse(document).behaviors if one.skipped is None and not one.suppressed]
    assert bool(events) == bool(judged)
