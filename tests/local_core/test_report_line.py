"""The line that run_local.py shows for a report."""

import json
from typing import Any, Dict, List, Optional

import cbor2
import pytest
from local_core.report_line import ReportLines
from local_core.service import Delivery, Service

TOPIC = "$aws/things/gateway-7/defender/metrics/json"


def deliver(report: Any, topic: str = TOPIC, payload: Optional[bytes] = None) -> Delivery:
    """Return the delivery of a report to a service that has seen none before."""
    delivery, _ = Service().receive(topic, json.dumps(report).encode() if payload is None else payload)
    return delivery


def make(report_id: int, **metrics: Any) -> Dict[str, Any]:
    return {"header": {"report_id": report_id, "version": "1.0"}, "metrics": metrics}


def ports(*numbers: int) -> Dict[str, Any]:
    return {"ports": [{"port": number} for number in numbers], "total": len(numbers)}


def connections(*addresses: str, total: int = 0) -> Dict[str, Any]:
    listed = [{"remote_addr": address, "local_port": 7, "local_interface": "eth0"} for address in addresses]
    return {"established_connections": {"connections": listed, "total": total or len(addresses)}}


def lines(*reports: Any) -> List[str]:
    made = ReportLines()
    return [made.line(deliver(report)) for report in reports]


def test_first_report_has_totals_and_nothing_to_compare() -> None:
    report = make(
        100,
        tcp_connections=connections("192.0.2.1:443", total=18000),
        listening_tcp_ports=ports(22, 80),
        listening_udp_ports=ports(),
    )
    size = len(json.dumps(report))
    assert lines(report) == [f"ACCEPTED {size} B  18000 connections, 2 TCP ports, 0 UDP ports"]


def test_later_report_has_rates_and_what_came_and_went() -> None:
    stats = {"bytes_in": 10_000, "bytes_out": 30_000_000, "packets_in": 100, "packets_out": 25_000}
    first = make(100, tcp_connections=connections("192.0.2.1:443"), listening_tcp_ports=ports(22, 53))
    second = make(
        110, tcp_connections=connections("[2001:db8::1]:443"), listening_tcp_ports=ports(22, 8080), network_stats=stats
    )
    assert lines(first, second)[1] == (
        f"ACCEPTED {len(json.dumps(second))} B  1 connection, 2 TCP ports  "
        "in 1 kB/s 10 packets/s, out 3 MB/s 2.5 kpackets/s  "
        "+2001:db8::1 +tcp 8080 -192.0.2.1 -tcp 53"
    )


def test_same_ports_and_connections_are_no_change() -> None:
    report = make(100, listening_udp_ports=ports(53))
    again = make(400, listening_udp_ports=ports(53))
    assert lines(report, again)[1].endswith("B  1 UDP port")


def test_many_changes_are_counted() -> None:
    first, second = make(100, listening_tcp_ports=ports()), make(400, listening_tcp_ports=ports(1, 2, 3, 4, 5))
    assert lines(first, second)[1].endswith("  +tcp 1 +tcp 2 +tcp 3 +2 more")


def test_custom_metrics_are_shown() -> None:
    report = {**make(100), "custom_metrics": {"cpu_usage": [{"number": 2.34}], "hosts": [{"string_list": ["a"]}]}}
    del report["metrics"]
    assert lines(report)[0].endswith(" B  cpu_usage 2.34")


def test_short_names_and_cbor_are_read() -> None:
    report = {"hed": {"rid": 100, "v": "1.0"}, "met": {"tp": {"pts": [{"pt": 22}], "t": 7}}}
    delivery = deliver(report, TOPIC.replace("json", "cbor"), cbor2.dumps(report))
    assert ReportLines().line(delivery) == f"ACCEPTED {len(delivery.payload)} B  7 TCP ports"


def test_rejected_report_has_the_reason_and_is_not_compared_with() -> None:
    made = ReportLines()
    assert made.line(deliver({}, payload=b"{}")).startswith("REJECTED InvalidPayload 2 B  Malformed metrics report: ")
    made.line(deliver(make(100, listening_tcp_ports=ports(22))))
    made.line(deliver({}, payload=b"{}"))
    assert made.line(deliver(make(400, listening_tcp_ports=ports(22)))).endswith("  1 TCP port")


def test_message_on_another_topic_has_no_verdict() -> None:
    assert ReportLines().line(deliver(make(1), "my/topic")).endswith(" B  on my/topic")


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (999_900, "1 MB"), (10**15, "1e+03 TB")]
)
def test_rates_have_units(count: int, shown: str) -> None:
    stats = {"bytes_in": count, "bytes_out": 0, "packets_in": 0, "packets_out": 0}
    assert f"in {shown}/s 0 packets/s" in lines(make(100, network_stats=stats), make(101, network_stats=stats))[1]
