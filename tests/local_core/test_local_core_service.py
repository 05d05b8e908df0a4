"""The local core's Device Defender: what it takes for a report of the specification, and what it answers."""

import copy
import json
from typing import Any, Dict, List

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from local_core import Delivery, MalformedReport, Verdict, check_report, decode_report
from local_core.service import MAX_MESSAGE_BYTES, Message, Service

TOPIC = "$aws/things/a-thing/defender/metrics/json"
LONG: Dict[str, Any] = {
    "header": {"report_id": 1635800375, "version": "1.0"},
    "metrics": {
        "tcp_connections": {
            "established_connections": {
                "connections": [
                    {"remote_addr": "192.0.2.1:443", "local_port": 40000, "local_interface": "eth0"},
                    {"remote_addr": "[2001:db8::1]:8883", "local_port": 40001},
                ],
                "total": 3,
            }
        },
        "listening_tcp_ports": {"ports": [{"port": 22, "interface": "0.0.0.0"}, {"port": 22}], "total": 2},
        "listening_udp_ports": {"ports": [], "total": 0},
        "network_stats": {"bytes_in": 1, "bytes_out": 0, "packets_in": 2**40, "packets_out": 3},
    },
    "custom_metrics": {
        "cpu_usage": [{"number": 12.5}],
        "total": [{"number_list": [1, 2.5]}],
        "my:metric-1": [{"string_list": ["a b", "c"]}],
        "peers": [{"ip_list": ["192.0.2.1", "2001:db8::1"]}],
    },
}
SHORT: Dict[str, Any] = {
    "hed": {"rid": 1635800375, "v": "1.0"},
    "met": {
        "tc": {
            "ec": {
                "cs": [
                    {"rad": "192.0.2.1:443", "lp": 40000, "li": "eth0"},
                    {"rad": "[2001:db8::1]:8883", "lp": 40001},
                ],
                "t": 3,
            }
        },
        "tp": {"pts": [{"pt": 22, "if": "0.0.0.0"}, {"pt": 22}], "t": 2},
        "up": {"pts": [], "t": 0},
        "ns": {"bi": 1, "bo": 0, "pi": 2**40, "po": 3},
    },
    "cmet": LONG["custom_metrics"],
}
# The way to each place a rule is about, in long names and in short ones.
CONNECTION = ("metrics tcp_connections established_connections connections 0", "met tc ec cs 0")
LISTENING = ("metrics listening_tcp_ports", "met tp")
STATS = ("metrics network_stats", "met ns")
GONE = object()


def changed(report: Any, path: str, value: Any) -> Any:
    """Return a copy with one value set, or taken away, at a path of names and indexes."""
    result = copy.deepcopy(report)
    *way, last = [int(part) if part.isdigit() else part for part in path.split()]
    place = result
    for part in way:
        place = place[part]
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    return result


def encode(report: Any, encoding: str) -> bytes:
    return cbor2.dumps(report) if encoding == "cbor" else json.dumps(report).encode()


@pytest.mark.parametrize("encoding", ["json", "cbor"])
@pytest.mark.parametrize("report", [LONG, SHORT], ids=["long", "short"])
def test_full_report_passes_in_each_style_and_encoding(report: Dict[str, Any], encoding: str) -> None:
    decoded = decode_report(encode(report, encoding), encoding)
    assert decoded == report
    assert check_report(decoded) == LONG


ACCEPTED = [
    (("metrics", "met"), GONE),
    (("custom_metrics", "cmet"), GONE),
    (STATS, GONE),
    ((CONNECTION[0] + " local_interface", CONNECTION[1] + " li"), "enp0s31f6.4094"),
    ((CONNECTION[0] + " local_interface", CONNECTION[1] + " li"), "fifteen-letters"),
    ((CONNECTION[0] + " remote_addr", CONNECTION[1] + " rad"), "255.255.255.255:65535"),
    ((CONNECTION[0] + " remote_addr", CONNECTION[1] + " rad"), "[::1]:1"),
    ((CONNECTION[0] + " local_port", CONNECTION[1] + " lp"), 65535),
    ((LISTENING[0] + " total", LISTENING[1] + " t"), 500),
    ((LISTENING[0] + " ports 0 interface", LISTENING[1] + " pts 0 if"), "::"),
    ((LISTENING[0] + " ports 0 interface", LISTENING[1] + " pts 0 if"), "lo"),
    ((STATS[0] + " bytes_in", STATS[1] + " bi"), 2**62),
    (("custom_metrics cpu_usage 0 number", "cmet cpu_usage 0 number"), -1),
    (("header report_id", "hed rid"), 1),
]
REJECTED = [
    (("header", "hed"), GONE, "report: 'header' is a required property"),
    (("header report_id", "hed rid"), GONE, "header: 'report_id' is a required property"),
    (("header report_id", "hed rid"), 0, r"header\.report_id: 0 is less than"),
    (("header report_id", "hed rid"), 1.0, r"header\.report_id: 1\.0 is not of type 'integer'"),
    (("header report_id", "hed rid"), "1", r"header\.report_id: '1' is not of type 'integer'"),
    (("header report_id", "hed rid"), True, r"header\.report_id: True is not of type 'integer'"),
    (("header report_id", "hed rid"), 2**63, r"header\.report_id: 9223372036854775808 is greater than"),
    (("header version", "hed v"), "1.1", r"header\.version: '1\.1' is not one of"),
    (("header version", "hed v"), 1.0, r"header\.version: 1\.0 is not one of"),
    (("metrics", "met"), {}, "metrics: {} "),
    (("metrics", "met"), [], r"metrics: \[\] is not of type 'object'"),
    (("custom_metrics", "cmet"), {}, "custom_metrics: {} "),
    (("metrics tcp_connections", "met tc"), {}, "'established_connections' is a required property"),
    ((CONNECTION[0] + " remote_addr", CONNECTION[1] + " rad"), GONE, "'remote_addr' is a required property"),
    ((CONNECTION[0] + " local_port", CONNECTION[1] + " lp"), GONE, "'local_port' is a required property"),
    ((CONNECTION[0] + " local_port", CONNECTION[1] + " lp"), 0, "local_port: 0 is less than"),
    ((CONNECTION[0] + " local_port", CONNECTION[1] + " lp"), 65536, "local_port: 65536 is greater than"),
    ((CONNECTION[0] + " local_interface", CONNECTION[1] + " li"), "", "local_interface: ''"),
    ((CONNECTION[0] + " local_interface", CONNECTION[1] + " li"), "eth0:1", "local_interface: 'eth0:1'"),
    ((CONNECTION[0] + " local_interface", CONNECTION[1] + " li"), "eth0\n", r"local_interface: 'eth0\\n'"),
    ((CONNECTION[0] + " local_interface", CONNECTION[1] + " li"), "sixteen--letters", "local_interface: 'sixteen"),
    ((CONNECTION[0] + " local_interface", CONNECTION[1] + " li"), "0.0.0.0", r"local_interface: '0\.0\.0\.0'"),
    ((CONNECTION[0] + " local_interface", CONNECTION[1] + " li"), None, "local_interface: None"),
    ((LISTENING[0] + " ports", LISTENING[1] + " pts"), GONE, "listening_tcp_ports: 'ports' is a required property"),
    ((LISTENING[0] + " total", LISTENING[1] + " t"), GONE, "listening_tcp_ports: 'total' is a required property"),
    (
        (LISTENING[0] + " total", LISTENING[1] + " t"),
        1,
        r"listening_tcp_ports\.total: 1 is less than the 2 in the list",
    ),
    ((LISTENING[0] + " total", LISTENING[1] + " t"), -1, "total: -1 is less than the minimum"),
    ((LISTENING[0] + " ports 0 port", LISTENING[1] + " pts 0 pt"), 0, "port: 0 is less than"),
    ((LISTENING[0] + " ports 0 port", LISTENING[1] + " pts 0 pt"), "22", "port: '22' is not of type"),
    ((LISTENING[0] + " ports 0 interface", LISTENING[1] + " pts 0 if"), "192.0.2.1", r"interface: '192\.0\.2\.1'"),
    ((LISTENING[0] + " ports 0 interface", LISTENING[1] + " pts 0 if"), "a b", "interface: 'a b'"),
    (
        (LISTENING[0] + " ports 0 interface", LISTENING[1] + " pts 0 if"),
        GONE,
        "the same interface and port are listed twice",
    ),
    (
        ("metrics tcp_connections established_connections total", "met tc ec t"),
        1,
        r"established_connections\.total: 1 is less than the 2 in the list",
    ),
    ((STATS[0] + " bytes_in", STATS[1] + " bi"), -1, r"network_stats\.bytes_in: -1 is less than"),
    ((STATS[0] + " packets_out", STATS[1] + " po"), GONE, "network_stats: 'packets_out' is a required property"),
    (("custom_metrics cpu_usage", "cmet cpu_usage"), {"number": 12.5}, "cpu_usage: {'number': 12.5} is not of type"),
    (("custom_metrics cpu_usage", "cmet cpu_usage"), [], r"cpu_usage: \[\]"),
    (("custom_metrics cpu_usage 0", "cmet cpu_usage 0"), {"nmbr": 1}, r"cpu_usage\.0: .*'nmbr' was unexpected"),
    (("custom_metrics cpu_usage 0", "cmet cpu_usage 0"), {}, r"cpu_usage\.0: {}"),
    (("custom_metrics cpu_usage 0 number", "cmet cpu_usage 0 number"), "1", "number: '1' is not of type 'number'"),
    (("custom_metrics aws:x", "cmet aws:x"), [{"number": 1}], "custom_metrics: 'aws:x'"),
    (("custom_metrics peers 0 ip_list 0", "cmet peers 0 ip_list 0"), "192.0.2", r"'192\.0\.2' is no IP address"),
    (("custom_metrics my:metric-1 0 string_list 0", "cmet my:metric-1 0 string_list 0"), "\x1b[m", "string_list.0"),
]


@pytest.mark.parametrize("style", [0, 1], ids=["long", "short"])
@pytest.mark.parametrize(("paths", "value"), ACCEPTED)
def test_valid_report_passes(paths: List[str], value: Any, style: int) -> None:
    report = changed((LONG, SHORT)[style], paths[style], value)
    assert check_report(report) == changed(LONG, paths[0], value)


@pytest.mark.parametrize("style", [0, 1], ids=["long", "short"])
@pytest.mark.parametrize(("paths", "value", "reason"), REJECTED)
def test_invalid_report_is_refused_with_the_place(paths: List[str], value: Any, reason: str, style: int) -> None:
    with pytest.raises(MalformedReport, match=reason):
        check_report(changed((LONG, SHORT)[style], paths[style], value))


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("192.0.2.1", "is not ip:port"),
        ("192.0.2.1:", "is not ip:port"),
        ("192.0.2.1:65536", "is not ip:port"),
        ("192.0.2.1:080", "is not ip:port"),
        ("192.0.2.1:80 ", "is not ip:port"),
        ("192.0.2.01:80", "192.0.2.01"),
        ("192.0.2:80", "192.0.2"),
        ("example.com:80", "is not ip:port"),
        ("2001:db8::1:80", "is not ip:port"),
        ("[192.0.2.1]:80", "is not ip:port"),
        ("[2001:db8::g]:80", "is not ip:port"),
        ("[2001:db8:::1]:80", "2001:db8:::1"),
        ("[fe80::1%eth0]:80", "is not ip:port"),
        ("[::ffff:192.0.2.1]:80", "mapped into IPv6"),
        ("[::ffff:c000:201]:80", "mapped into IPv6"),
    ],
)
def test_remote_address_is_an_address_and_a_port(address: str, reason: str) -> None:
    with pytest.raises(MalformedReport, match=r"connections\.0\.remote_addr: .*" + reason):
        check_report(changed(LONG, CONNECTION[0] + " remote_addr", address))


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        ({"header": LONG["header"]}, "needs metrics, custom_metrics, or both"),
        ({**LONG, "extra": 1}, "report: .*'extra' was unexpected"),
        ({**SHORT, "metrics": {}}, "'metrics' is not a short field name"),
        ({**LONG, "met": {}}, "report: .*'met' was unexpected"),
        ({"h": SHORT["hed"], "met": SHORT["met"]}, "report: 'header' is a required property"),
        ([], r"report: \[\] is not of type 'object'"),
        (None, "report: None is not of type 'object'"),
    ],
)
def test_document_that_is_not_a_report_is_refused(report: Any, reason: str) -> None:
    with pytest.raises(MalformedReport, match=reason):
        check_report(report)


@pytest.mark.parametrize(
    ("payload", "encoding", "reason"),
    [
        (b"", "json", "not json: "),
        (b"{", "json", "not json: "),
        (b"\xff{}", "json", "not json: UnicodeDecodeError"),
        (b'{"a":NaN}', "json", "nan is not a finite number"),
        (b'{"a":1e999}', "json", "inf is not a finite number"),
        (b'{"a":1,"a":2}', "json", "a name occurs twice"),
        (b'{"a":"\\ud800"}', "json", "half a surrogate pair"),
        (b'{"\\ud800":1}', "json", "half a surrogate pair"),
        (b'{"a":18446744073709551616}', "json", "more than 64 bits"),
        (b"[" * 100_000, "json", "not json: RecursionError"),
        (b"[" * 40 + b"]" * 40, "json", "nested too deep"),
        (b" " * (MAX_MESSAGE_BYTES + 1), "json", r"131073 bytes are more than a message may have \(131072\)"),
        (b"", "cbor", "not cbor: "),
        (b"\xa1", "cbor", "not cbor: "),
        (b"\x81" * 100_000, "cbor", "not cbor: "),
        (b"\x9b" + b"\xff" * 8, "cbor", "not cbor: "),
        (b"\xa0\xa0", "cbor", "1 bytes after the report"),
        (b"\xa1\x01\x02", "cbor", "a field's name is not text: 1"),
        (b"\xf9\x7e\x00", "cbor", "nan is not a finite number"),
        (b"\x41a", "cbor", "a value of type bytes"),
        (b"\xf7", "cbor", "a value of type "),
        (b"\xc2\x49\x01" + b"\x00" * 8, "cbor", "more than 64 bits"),
        (b"\xd8\x1c\x81\xd8\x1d\x00", "cbor", "nested too deep"),
    ],
)
def test_bytes_that_are_not_a_report_are_refused(payload: bytes, encoding: str, reason: str) -> None:
    with pytest.raises(MalformedReport, match=reason):
        decode_report(payload, encoding)


def test_accepted_report_is_answered_in_the_encoding_of_the_topic() -> None:
    service = Service(now=lambda: 1635801636.023)
    payload = encode(LONG, "json")
    delivery, answer = service.receive(TOPIC, payload)
    assert delivery == Delivery(TOPIC, payload, LONG, Verdict(True))
    assert answer == Message(
        TOPIC + "/accepted",
        b'{"thingName": "a-thing", "reportId": 1635800375, "status": "ACCEPTED", "timestamp": 1635801636023}',
    )
    cbor_topic = "$aws/things/other/defender/metrics/cbor"
    _, answer = service.receive(cbor_topic, encode(SHORT, "cbor"))
    assert answer is not None
    assert answer.topic == cbor_topic + "/accepted"
    assert cbor2.loads(answer.payload) == {
        "thingName": "other",
        "reportId": 1635800375,
        "status": "ACCEPTED",
        "timestamp": 1635801636023,
    }


def test_rejected_report_is_answered_with_the_reason() -> None:
    payload = encode(changed(SHORT, "hed v", "2"), "json")
    delivery, answer = Service(now=lambda: 1.5).receive(TOPIC, payload)
    reason = "Malformed metrics report: header.version: '2' is not one of ['1.0']"
    assert delivery.verdict == Verdict(False, "InvalidPayload", reason)
    assert answer is not None
    assert answer.topic == TOPIC + "/rejected"
    assert json.loads(answer.payload.decode()) == {
        "thingName": "a-thing",
        "reportId": 1635800375,
        "status": "REJECTED",
        "statusDetails": {"ErrorCode": "InvalidPayload", "ErrorMessage": reason},
        "timestamp": 1500,
    }


@pytest.mark.parametrize(
    "topic",
    [
        "$aws/things/a-thing/defender/metrics/JSON",
        "$aws/things/a-thing/defender/metrics/json/accepted",
        "$aws/things/a thing/defender/metrics/json",
        "$aws/things/" + "x" * 129 + "/defender/metrics/json",
        "test/reports",
    ],
)
def test_message_on_another_topic_gets_no_answer(topic: str) -> None:
    assert Service().receive(topic, b"x") == (Delivery(topic, b"x", None, None), None)


def judge(service: Service, report_id: int, topic: str = TOPIC) -> Any:
    return service.receive(topic, encode(changed(LONG, "header report_id", report_id), "json"))[0].verdict


def test_report_id_must_be_greater_than_the_last_accepted_one_of_the_thing() -> None:
    clock = iter(range(0, 10**6, 1000))
    service = Service(clock=lambda: next(clock))
    reason = "Malformed metrics report: header.report_id: %d does not follow 5"
    assert judge(service, 5) == Verdict(True)
    assert judge(service, 5) == Verdict(False, "InvalidPayload", reason % 5)
    assert judge(service, 4) == Verdict(False, "InvalidPayload", reason % 4)
    assert judge(service, 4, TOPIC.replace("a-thing", "another")) == Verdict(True)
    assert judge(service, 6) == Verdict(True)


@pytest.mark.parametrize(("min_interval", "too_soon", "enough"), [(300.0, 294.9, 295.1), (6.0, 0.9, 1.1)])
def test_too_frequent_reports_are_throttled(min_interval: float, too_soon: float, enough: float) -> None:
    time = [100.0]
    service = Service(min_interval, clock=lambda: time[0])
    assert judge(service, 1) == Verdict(True)
    time[0] = 100 + too_soon
    verdict = judge(service, 2)
    assert (verdict.accepted, verdict.code) == (False, "Throttled")
    assert f"one every {min_interval:g} s is accepted" in verdict.reason
    time[0] = 100 + enough
    assert judge(service, 2) == Verdict(True), "a throttled report does not count"


def test_short_interval_is_not_throttled_on_a_slow_machine() -> None:
    """One report a second that was made 0.9 s late, and the next in time: nothing is wrong with that."""
    time = [100.0]
    service = Service(1.0, clock=lambda: time[0])
    assert judge(service, 1) == Verdict(True)
    time[0] = 100.1
    assert judge(service, 2) == Verdict(True)


@given(st.one_of(st.binary(max_size=300), st.sampled_from([encode(LONG, "json"), encode(SHORT, "cbor")])), st.data())
def test_any_bytes_get_a_verdict(payload: bytes, data: st.DataObject) -> None:
    if payload and data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(payload) - 1))
        payload = payload[:place] + data.draw(st.binary(max_size=3)) + payload[place + 1 :]
    for topic in (TOPIC, TOPIC.replace("json", "cbor")):
        delivery, answer = Service().receive(topic, payload)
        assert delivery.verdict is not None
        assert answer is not None
        assert answer.topic == topic + ("/accepted" if delivery.verdict.accepted else "/rejected")
