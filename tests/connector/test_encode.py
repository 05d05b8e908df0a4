"""A report as bytes: compact, equal for equal reports, readable by any decoder."""

from __future__ import annotations

import json
import sys

import cbor2
import pytest

from connector.encode import encode
from connector.errors import ConnectorError

REPORT = {
    "hed": {"rid": 1635800375, "v": "1.0"},
    "met": {"up": {"pts": [{"pt": 68, "if": "0.0.0.0"}], "t": 1}, "ns": {"bi": 2**63, "bo": 0}},
    "cmet": {"cpu_usage": [{"number": 12.5}], "process_count": [{"number": 90}]},
}


def test_json_is_compact_and_keeps_the_order() -> None:
    assert encode(REPORT, "json") == (
        b'{"hed":{"rid":1635800375,"v":"1.0"},"met":{"up":{"pts":[{"pt":68,"if":"0.0.0.0"}],"t":1},'
        b'"ns":{"bi":9223372036854775808,"bo":0}},"cmet":{"cpu_usage":[{"number":12.5}],"process_count":[{"number":90}]}}'
    )


def test_cbor_is_as_rfc_8949_defines_it() -> None:
    """Maps and lists of definite length, text, integers in their shortest form; 12.5 as a double (fb)."""
    assert encode(REPORT, "cbor").hex() == (
        "a3"  # map of 3
        "63686564" "a2" "63726964" "1a61805537" "6176" "63312e30"  # "hed": {"rid": ..., "v": "1.0"}
        "636d6574" "a2"  # "met": map of 2
        "627570" "a2"  # "up": map of 2
        "63707473" "81" "a2" "627074" "1844" "626966" "67302e302e302e30"  # "pts": [{"pt": 68, "if": "0.0.0.0"}]
        "6174" "01"  # "t": 1
        "626e73" "a2" "626269" "1b8000000000000000" "62626f" "00"  # "ns": {"bi": 2^63, "bo": 0}
        "64636d6574" "a2"  # "cmet": map of 2
        "696370755f7573616765" "81" "a1" "666e756d626572" "fb4029000000000000"
        "6d70726f636573735f636f756e74" "81" "a1" "666e756d626572" "185a"
    )  # fmt: skip


@pytest.mark.parametrize("report_format", ["json", "cbor"])
def test_decoded_report_equals_the_encoded_one(report_format: str) -> None:
    encoded = encode(REPORT, report_format)
    decoded = json.loads(encoded.decode("ascii")) if report_format == "json" else cbor2.loads(encoded)
    assert decoded == REPORT
    assert encode(decoded, report_format) == encoded


def test_missing_cbor2_is_an_error_that_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cbor2", None)
    with pytest.raises(ConnectorError, match="CBOR needs cbor2, .*: choose json, or install cbor2"):
        encode(REPORT, "cbor")
    assert encode({}, "json") == b"{}"


def test_number_that_json_does_not_have_is_an_error() -> None:
    """JSON has no NaN and no infinities (RFC 8259, 6); what reads the host never returns one."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode({"custom_metrics": {"a": [{"number": float("nan")}]}}, "json")
