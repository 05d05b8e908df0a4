"""Recorded hosts and small cases, with their reports. See fixtures/README.md."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import cbor2
import pytest
from local_core.service import check_report
from support import proc
from support.fixtures import CASES, FIXTURES, HOSTS, expected_files, report, snapshots

from connector.config import DEFAULT_EXCLUDE
from connector.encode import encode
from connector.kernel.dev import Counters
from connector.snapshot import Connections, Ports
from connector.traffic import Traffic

pytestmark = [
    pytest.mark.skipif(sys.byteorder != "little", reason="recorded on a little-endian machine"),
]


def test_every_recorded_host_is_tested() -> None:
    assert sorted(path.name for path in FIXTURES.iterdir() if path.is_dir() and path != CASES) == sorted(HOSTS)


@pytest.mark.parametrize("name", list(HOSTS))
def test_report_of_a_host_is_the_expected_one(name: str) -> None:
    made = expected_files(name)
    assert {file: (FIXTURES / name / file).read_text() for file in made} == made


@pytest.mark.parametrize("name", list(HOSTS))
def test_expected_reports_are_valid_and_the_same_in_all_styles(name: str) -> None:
    """The files themselves: short and long names, JSON and CBOR."""
    long, short = (json.loads((FIXTURES / name / f"expected-{style}.json").read_text()) for style in ("long", "short"))
    assert check_report(short) == check_report(long) == long
    for style, expected in (("long", long), ("short", short)):
        text = (FIXTURES / name / f"expected-{style}.cbor.hex").read_text()
        encoded = bytes.fromhex("".join(text.split()))
        assert cbor2.loads(encoded) == expected
        assert encode(expected, "cbor") == encoded


@pytest.mark.parametrize("name", list(HOSTS))
def test_snapshot_of_a_host_has_no_problems(name: str) -> None:
    assert snapshots(name)[-1].problems == {}


def test_first_report_of_an_idle_host_has_empty_lists_and_no_traffic() -> None:
    assert report("idle", short_names=False)["metrics"] == {
        "tcp_connections": {"established_connections": {"connections": [], "total": 0}},
        "listening_tcp_ports": {"ports": [], "total": 0},
        "listening_udp_ports": {"ports": [], "total": 0},
    }
    snapshot = snapshots("idle")[0]
    assert (snapshot.established, snapshot.listening_tcp) == (Connections(0, []), Ports(0, []))


def test_traffic_of_the_gateway_is_that_of_its_lowest_interfaces() -> None:
    """Uplink, LAN ports and the bond's members carry also the traffic of bridges, veth pairs, the tap and VLANs."""
    before, now = snapshots("gateway")
    assert now.edge == {"eth0", "lan1", "lan2", "eth1", "eth2"}
    assert before.counters is not None
    assert now.counters is not None
    moved = {name for name, counters in now.counters.items() if counters != before.counters[name]}
    assert moved == {"eth0", "lan1", "eth0.100", "eth0.100.200", "mgmt"}
    by_hand = [
        now.counters[name][place] - before.counters[name][place] for name in ("eth0", "lan1") for place in range(4)
    ]
    expected = Counters(*(by_hand[place] + by_hand[place + 4] for place in range(4)))
    assert Traffic().observe(before).observe(now).carry(now) == expected


def test_traffic_of_the_gateway_is_the_same_for_an_ordinary_user(tmp_path: Path) -> None:
    """Without permission to read `vlan/config`, the VLANs are known from their files."""
    root = tmp_path / "proc"
    shutil.copytree(str(FIXTURES / "gateway" / "proc"), str(root))
    (root / "1" / "net" / "vlan" / "config").unlink()
    assert proc.look(root).edge == {"eth0", "lan1", "lan2", "eth1", "eth2"}
    every = DEFAULT_EXCLUDE.replace("bond*", "eth?")
    assert proc.look(root, exclude=every.split(",")).edge == {"lan1", "lan2", "bond0", "eth0.100"}
