"""Recorded reports, read: both name styles, every metric, and what is no recording."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from detection.reports import LONG_NAMES, TRAFFIC, from_document, parse
from hypothesis import given
from hypothesis import strategies as st
from support.detect_tool import recorded

from connector.detect.measurement import Reading

ROOT = Path(__file__).parents[2]
PEER, PEER6 = bytes([192, 0, 2, 7]), bytes.fromhex("20010db8000000000000000000000007")

LONG: dict[str, Any] = {
    "header": {"report_id": 1767600000, "version": "1.0"},
    "metrics": {
        "tcp_connections": {
            "established_connections": {
                "connections": [
                    {"remote_addr": "192.0.2.7:8883", "local_port": 40000, "local_interface": "eth0"},
                    {"remote_addr": "[2001:db8::7]:443"},
                ],
                "total": 73,
            }
        },
        "listening_tcp_ports": {"ports": [{"port": 22, "interface": "0.0.0.0"}, {"port": 22}], "total": 2},
        "listening_udp_ports": {"ports": [], "total": 0},
        "network_stats": {"bytes_in": 1, "bytes_out": 2, "packets_in": 3, "packets_out": 4},
    },
    "custom_metrics": {
        "t": [{"number": 12.5}],
        "sizes": [{"number_list": [1, 2.5]}],
        "names": [{"string_list": ["a", "b"]}],
        "peers": [{"ip_list": ["192.0.2.9", "2001:db8::9"]}],
    },
}
SHORT: dict[str, Any] = {
    "hed": {"rid": 1767600000, "v": "1.0"},
    "met": {
        "tc": {
            "ec": {
                "cs": [{"rad": "192.0.2.7:8883", "lp": 40000, "li": "eth0"}, {"rad": "[2001:db8::7]:443"}],
                "t": 73,
            }
        },
        "tp": {"pts": [{"pt": 22, "if": "0.0.0.0"}, {"pt": 22}], "t": 2},
        "up": {"pts": [], "t": 0},
        "ns": {"bi": 1, "bo": 2, "pi": 3, "po": 4},
    },
    "cmet": LONG["custom_metrics"],
}
READINGS = {
    "aws:all-bytes-in": Reading("count", 1),
    "aws:all-bytes-out": Reading("count", 2),
    "aws:all-packets-in": Reading("count", 3),
    "aws:all-packets-out": Reading("count", 4),
    "aws:num-listening-tcp-ports": Reading("count", 2),
    "aws:listening-tcp-ports": Reading("ports", (22, 22)),
    "aws:num-listening-udp-ports": Reading("count", 0),
    "aws:listening-udp-ports": Reading("ports", ()),
    "aws:num-established-tcp-connections": Reading("count", 73),
    "aws:destination-ip-addresses": Reading("cidrs", (PEER, PEER6), unlisted=71),
    "t": Reading("number", 12.5),
    "sizes": Reading("numbers", (1, 2.5)),
    "names": Reading("strings", ("a", "b")),
    "peers": Reading("cidrs", (bytes([192, 0, 2, 9]), PEER6[:-1] + b"\x09")),
}


def recording(folder: Path, *reports: Any) -> Path:
    path = folder / "reports.jsonl"
    lines = [report if isinstance(report, str) else json.dumps(report) for report in reports]
    path.write_text("".join(line + "\n" for line in lines))
    return path


@pytest.mark.parametrize("document", [LONG, SHORT], ids=["long", "short"])
def test_long_and_short_names_read_alike(tmp_path: Path, document: dict[str, Any]) -> None:
    (report,) = recorded(recording(tmp_path, document))
    assert (report.time, report.readings) == (1767600000, READINGS)


def test_metric_missing_from_a_report_is_missing_from_its_readings(tmp_path: Path) -> None:
    (report,) = recorded(
        recording(tmp_path, {"header": {"report_id": 7}, "metrics": {"listening_tcp_ports": {"total": 4}}})
    )
    assert report.readings == {"aws:num-listening-tcp-ports": Reading("count", 4)}


@pytest.mark.parametrize("names", [[], ["--short-names"]], ids=["long", "short"])
def test_output_of_the_connector_is_read(tmp_path: Path, names: list[str]) -> None:
    path = tmp_path / "reports.jsonl"
    with path.open("w") as output:
        subprocess.run(
            [sys.executable, "-m", "connector", "-n", "2", "-s", "0", *names],
            stdout=output,
            cwd=ROOT,
            check=True,
            timeout=300,
        )
    first, second = recorded(path)
    assert first.time < second.time
    # The first has nothing to compare with; all else is in both.
    assert second.readings.keys() - first.readings.keys() == set(TRAFFIC.values())
    assert "aws:num-established-tcp-connections" in first.readings


def established(remote_addr: Any) -> dict[str, Any]:
    block = {"connections": [{"remote_addr": remote_addr}], "total": 1}
    return {"header": {"report_id": 7}, "metrics": {"tcp_connections": {"established_connections": block}}}


def custom(value: Any) -> dict[str, Any]:
    return {"header": {"report_id": 7}, "custom_metrics": {"m": value}}


FIRST = {"header": {"report_id": 6}, "metrics": {}}


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ('{"header":', "not one report in JSON on one line: Expecting value at column 11"),
        ("INFO started", "not one report in JSON on one line: Expecting value at column 1"),
        ("[" * 100000, "not a report: nested too deep"),
        ("[]", "not a report: a JSON object is expected"),
        ({"metrics": {}}, "not a report: it has a header, and metrics, custom_metrics or both"),
        ({"header": {"report_id": 7}}, "not a report: it has a header, and metrics, custom_metrics or both"),
        ({"header": 7, "metrics": {}}, "header: an object is expected, not 7"),
        ({"header": {}, "metrics": {}}, "header.report_id: an integer from 1 is expected, not null"),
        ({"header": {"report_id": True}, "metrics": {}}, "header.report_id: an integer from 1 is expected, not true"),
        (
            {"header": {"report_id": 1767600000000}, "metrics": {}},
            "header.report_id: 1767600000000 is no time in epoch seconds",
        ),
        (
            {"header": {"report_id": 7}, "metrics": {"network_stats": {"bytes_in": -1}}},
            "network_stats.bytes_in: an integer from 0 is expected, not -1",
        ),
        (
            {"header": {"report_id": 7}, "metrics": {"network_stats": {"bytes_in": 10**400}}},
            f"network_stats.bytes_in: 1{'0' * 49} is more than the service takes",
        ),
        (
            {"header": {"report_id": 7}, "metrics": {"listening_tcp_ports": {"ports": [{"port": 0}]}}},
            "listening_tcp_ports.ports.port: an integer from 1 is expected, not 0",
        ),
        (
            {"header": {"report_id": 7}, "metrics": {"listening_tcp_ports": {"ports": [{"port": 65536}]}}},
            "listening_tcp_ports.ports.port: 65536 is no port, which are at most 65535",
        ),
        (custom([{"string_list": ["\ud800"]}]), 'custom_metrics.m: "\\ud800" is not Unicode text'),
        (
            {"header": {"report_id": 7}, "metrics": {"listening_tcp_ports": {"ports": {}}}},
            "listening_tcp_ports.ports: a list is expected, not {}",
        ),
        (
            established("192.0.2.7"),
            'established_connections.connections.remote_addr: \'192.0.2.7\' is neither "ipv4:port" nor "[ipv6]:port"',
        ),
        (
            established("2001:db8::7:443"),
            "established_connections.connections.remote_addr: '2001:db8::7:443' is neither"
            ' "ipv4:port" nor "[ipv6]:port"',
        ),
        (established(None), "established_connections.connections.remote_addr: text is expected, not null"),
        (custom({"number": 1}), 'custom_metrics.m: a list of one typed value is expected: [{"number": 12.5}]'),
        (custom([{"number": "1"}]), 'custom_metrics.m: a number is expected, not "1"'),
        (custom([{"number": 10**400}]), f"custom_metrics.m: a number is expected, not 1{'0' * 49}"),
        (custom([{"count": 1}]), 'custom_metrics.m: "count" is not one of number, number_list, string_list, ip_list'),
        (custom([{"ip_list": ["::g"]}]), 'custom_metrics.m: "::g" is not an IP address'),
        (
            '{"header": {"report_id": 7}, "custom_metrics": {"m": [{"number": NaN}]}}',
            "NaN is not a JSON number",
        ),
        (
            {"header": {"report_id": 7}, "custom_metrics": {"aws:all-bytes-in": [{"number": 1}]}},
            'custom_metrics: "aws:all-bytes-in" is no name of a custom metric',
        ),
    ],
)
def test_fault_says_its_place(document: Any, fault: str) -> None:
    text = document if isinstance(document, str) else json.dumps(document)
    with pytest.raises(ValueError) as error:
        parse(text.encode(), "")
    assert str(error.value) == fault


def test_line_that_is_not_text_is_an_error() -> None:
    with pytest.raises(ValueError) as error:
        parse(b"\xa2chedQ", "")  # CBOR
    assert str(error.value) == "not UTF-8 text: reports in JSON are expected (--format json), uncompressed"


def test_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    """Some editors put one in front."""
    path = tmp_path / "reports.jsonl"
    path.write_text(json.dumps(FIRST), encoding="utf-8-sig")
    assert [report.time for report in recorded(path)] == [6]


def test_decimal_fraction_of_cbor_is_a_number() -> None:
    read_report = from_document({"header": {"report_id": 7}, "custom_metrics": {"m": [{"number": Decimal("1.5")}]}}, "")
    assert read_report.readings == {"m": Reading("number", 1.5)}


def test_number_of_a_thousand_digits_costs_nothing_where_nobody_asks_for_it(tmp_path: Path) -> None:
    (report,) = recorded(recording(tmp_path, json.dumps(FIRST)[:-1] + f', "added": -1{"0" * 5000}}}'))
    assert report.time == 6


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*LONG_NAMES, *LONG_NAMES.values(), "number", "m"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_json_is_read_or_refused(value: Any) -> None:
    try:
        report = parse(json.dumps(value).encode(), "")
    except ValueError:
        return
    assert report.time > 0
