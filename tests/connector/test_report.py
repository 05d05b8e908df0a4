"""The report of a snapshot: the specification's names, and nothing that could not be read."""

from __future__ import annotations

import socket
from typing import Any, Dict, List, Optional, Tuple

import pytest
from local_core.service import LONG_NAMES, check_report

from connector.encode import encode
from connector.kernel.dev import Counters
from connector.kernel.host import CpuTimes
from connector.names import FIELDS
from connector.report import build
from connector.snapshot import Connection, Connections, Port, Ports, Snapshot

V6 = socket.inet_pton(socket.AF_INET6, "2001:db8::99")
SNAPSHOT = Snapshot(
    established=Connections(
        70,
        [
            Connection(bytes([192, 0, 2, 1]), 8883, 40000, "eth0"),
            Connection(V6, 443, 40001, None),
        ],
    ),
    listening_tcp=Ports(60, [Port(22, "0.0.0.0"), Port(22, "::")]),
    listening_udp=Ports(9, [Port(68, None)]),
    custom={"process_count": 90},
    cpu=CpuTimes(20.0, 100.0),
)
STATS = Counters(bytes_in=1, bytes_out=2**40, packets_in=3, packets_out=0)
LONG: Dict[str, Any] = {
    "header": {"report_id": 1635800375, "version": "1.0"},
    "metrics": {
        "tcp_connections": {
            "established_connections": {
                "connections": [
                    {"remote_addr": "192.0.2.1:8883", "local_port": 40000, "local_interface": "eth0"},
                    {"remote_addr": "[2001:db8::99]:443", "local_port": 40001},
                ],
                "total": 70,
            }
        },
        "listening_tcp_ports": {
            "ports": [{"port": 22, "interface": "0.0.0.0"}, {"port": 22, "interface": "::"}],
            "total": 60,
        },
        "listening_udp_ports": {"ports": [{"port": 68}], "total": 9},
        "network_stats": {"bytes_in": 1, "bytes_out": 2**40, "packets_in": 3, "packets_out": 0},
    },
    "custom_metrics": {"process_count": [{"number": 90}], "cpu_usage": [{"number": 12.5}]},
}
SHORT: Dict[str, Any] = {
    "hed": {"rid": 1635800375, "v": "1.0"},
    "met": {
        "tc": {
            "ec": {
                "cs": [
                    {"rad": "192.0.2.1:8883", "lp": 40000, "li": "eth0"},
                    {"rad": "[2001:db8::99]:443", "lp": 40001},
                ],
                "t": 70,
            }
        },
        "tp": {"pts": [{"pt": 22, "if": "0.0.0.0"}, {"pt": 22, "if": "::"}], "t": 60},
        "up": {"pts": [{"pt": 68}], "t": 9},
        "ns": {"bi": 1, "bo": 2**40, "pi": 3, "po": 0},
    },
    "cmet": {"process_count": [{"number": 90}], "cpu_usage": [{"number": 12.5}]},
}


@pytest.mark.parametrize(("short_names", "expected"), [(False, LONG), (True, SHORT)])
def test_report_of_everything_in_long_and_short_names(short_names: bool, expected: Dict[str, Any]) -> None:
    report = build(SNAPSHOT, 1635800375, STATS, CpuTimes(10.0, 20.0), short_names)
    assert report == expected
    assert check_report(report) == LONG


def test_names_are_those_that_the_service_knows() -> None:
    assert {field.short: field.long for field in FIELDS} == LONG_NAMES


def test_empty_list_is_sent_empty() -> None:
    """An empty list with a total of 0 clears an alarm, so it must be there."""
    empty = Snapshot(established=Connections(0, []), listening_tcp=Ports(0, []), listening_udp=Ports(0, []))
    report = build(empty, 7, Counters(0, 0, 0, 0))
    assert report == {
        "header": {"report_id": 7, "version": "1.0"},
        "metrics": {
            "tcp_connections": {"established_connections": {"connections": [], "total": 0}},
            "listening_tcp_ports": {"ports": [], "total": 0},
            "listening_udp_ports": {"ports": [], "total": 0},
            "network_stats": {"bytes_in": 0, "bytes_out": 0, "packets_in": 0, "packets_out": 0},
        },
    }
    check_report(report)


@pytest.mark.parametrize(
    ("lost", "block"),
    [
        ({"established": None}, "tcp_connections"),
        ({"listening_tcp": None}, "listening_tcp_ports"),
        ({"listening_udp": None}, "listening_udp_ports"),
        ({}, "network_stats"),
    ],
)
def test_unread_table_is_left_out(lost: Dict[str, Any], block: str) -> None:
    """The block is absent and all other blocks are unchanged."""
    stats = None if block == "network_stats" else STATS
    report = build(SNAPSHOT._replace(**lost), 1635800375, stats, CpuTimes(10.0, 20.0))
    metrics = {name: value for name, value in LONG["metrics"].items() if name != block}
    assert report == {**LONG, "metrics": metrics}
    check_report(report)


def test_snapshot_of_nothing_gives_no_report() -> None:
    assert build(Snapshot(), 7) is None
    assert build(Snapshot(cpu=CpuTimes(1.0, 2.0)), 7) is None


def test_report_may_have_custom_metrics_only() -> None:
    report = build(Snapshot(custom={"load_average_1m": 0.5}), 7)
    assert report == {
        "header": {"report_id": 7, "version": "1.0"},
        "custom_metrics": {"load_average_1m": [{"number": 0.5}]},
    }
    check_report(report)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", "192.0.2.1:65535"),
        ("255.255.255.255", "255.255.255.255:65535"),
        ("::1", "[::1]:65535"),
        ("2001:db8:0:0:1::", "[2001:db8:0:0:1::]:65535"),
        ("fe80::1", "[fe80::1]:65535"),
        ("64:ff9b::c000:201", "[64:ff9b::c000:201]:65535"),
    ],
)
def test_remote_address_is_ip_and_port(address: str, expected: str) -> None:
    packed = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    report = build(Snapshot(established=Connections(1, [Connection(packed, 65535, 1, None)])), 7)
    assert report is not None
    (entry,) = report["metrics"]["tcp_connections"]["established_connections"]["connections"]
    assert entry == {"remote_addr": expected, "local_port": 1}
    check_report(report)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("eth0", "eth0"),
        ("wlx00c0ca123456", "wlx00c0ca123456"),
        ("eth0.100@x", "eth0.100@x"),
        ("en\u00e9", "en?"),
        ("\udcff\udcfe", "??"),
        ('a"b\\c', "a?b?c"),
        ("\u2028\x01\x7f ", "????"),
    ],
)
def test_interface_name_of_any_bytes_is_written_in_plain_ascii(name: str, written: str) -> None:
    """One byte for each character, and nothing that JSON would escape."""
    snapshot = Snapshot(
        established=Connections(1, [Connection(V6, 1, 2, name)]), listening_udp=Ports(1, [Port(3, name)])
    )
    report = build(snapshot, 7)
    assert report is not None
    (connection,) = report["metrics"]["tcp_connections"]["established_connections"]["connections"]
    assert (connection["local_interface"], report["metrics"]["listening_udp_ports"]["ports"]) == (
        written,
        [{"port": 3, "interface": written}],
    )
    check_report(report)


CPU: List[Tuple[Optional[CpuTimes], Optional[CpuTimes], Optional[float]]] = [
    (None, CpuTimes(5.0, 10.0), None),
    (CpuTimes(5.0, 10.0), None, None),
    (CpuTimes(5.0, 10.0), CpuTimes(5.0, 10.0), None),
    (CpuTimes(50.0, 100.0), CpuTimes(1.0, 2.0), None),
    (CpuTimes(5.0, 10.0), CpuTimes(6.0, 14.0), 25.0),
    (CpuTimes(0.0, 0.0), CpuTimes(1.0, 3.0), 33.3),
    (CpuTimes(5.0, 10.0), CpuTimes(5.0, 20.0), 0.0),
    (CpuTimes(5.0, 10.0), CpuTimes(4.9, 20.0), 0.0),
    (CpuTimes(5.0, 10.0), CpuTimes(15.2, 20.0), 100.0),
    (CpuTimes(5.0, 10.0), CpuTimes(float("nan"), 20.0), None),
    (CpuTimes(5.0, 10.0), CpuTimes(6.0, float("nan")), None),
    (CpuTimes(5.0, 10.0), CpuTimes(float("inf"), float("inf")), None),
]


@pytest.mark.parametrize(("before", "now", "usage"), CPU)
def test_cpu_usage_is_the_percentage_since_the_last_report(
    before: Optional[CpuTimes], now: Optional[CpuTimes], usage: Optional[float]
) -> None:
    """From 0 to 100, to a tenth; left out without an earlier reading, and where the counters went back."""
    report = build(SNAPSHOT._replace(custom={}, cpu=now), 7, cpu_before=before)
    assert report is not None
    assert report.get("custom_metrics") == (None if usage is None else {"cpu_usage": [{"number": usage}]})


def test_longest_report_is_within_the_limit_of_aws_iot() -> None:
    """128 KB, with lists of 500 and every value as long as it can be, in the longest encoding."""
    address = socket.inet_pton(socket.AF_INET6, "fd0f:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
    ports = Ports(10**9, [Port(10_000 + number, "\udcff" * 15) for number in range(500)])
    longest = Snapshot(
        established=Connections(10**9, [Connection(address, 65535, 65535, '"' * 15)] * 500),
        listening_tcp=ports,
        listening_udp=ports,
        custom={"memory_usage": 1 / 3, "process_count": 2**63, "load_average_1m": 1 / 3, "uptime_seconds": 2**63},
        cpu=CpuTimes(1.0, 3.0),
    )
    report = build(longest, 2**63 - 1, Counters(*[2**64 - 1] * 4), CpuTimes(0.0, 0.0))
    check_report(report)
    assert report is not None
    sizes = {name: len(encode(report, name)) for name in ("json", "cbor")}
    assert 100_000 < sizes["json"] < 128 * 1024
    assert sizes["cbor"] < sizes["json"]


def test_interface_names_that_are_written_alike_are_one_entry() -> None:
    """The service accepts an interface and port once; the total stays the kernel's."""
    snapshot = Snapshot(listening_tcp=Ports(3, [Port(80, "\u00e90"), Port(80, "\u00e80"), Port(81, "\u00e80")]))
    report = build(snapshot, 1)
    assert report is not None
    assert report["metrics"]["listening_tcp_ports"] == {
        "ports": [{"port": 80, "interface": "?0"}, {"port": 81, "interface": "?0"}],
        "total": 3,
    }
