"""Values and times at the ends of what a report and a profile can hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.detect_tool import PROFILES, run

LAST_SECOND = 253402300799  # of the year 9999


def write(*reports: tuple[int, dict[str, Any]]) -> None:
    documents = [{"header": {"report_id": time}, **blocks} for time, blocks in reports]
    Path("r").write_text("\n".join(map(json.dumps, documents)))


def sent(size: int) -> dict[str, Any]:
    return {"metrics": {"network_stats": {"bytes_out": size, "packets_out": 1}}}


@pytest.mark.parametrize("picture", ["p.svg", "p.png"])
@pytest.mark.parametrize(
    "times", [(1, 5, LAST_SECOND - 1, LAST_SECOND), (1, 5, 200_000_000_000), (1, LAST_SECOND), (LAST_SECOND,)]
)
def test_first_and_last_time_of_a_report_are_drawn(
    times: tuple[int, ...], picture: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(*((time, sent(9000)) for time in times))
    profile = PROFILES / "DataExfiltration.json"
    assert run("try", profile, "--reports", "r", "--picture", picture, "--page", "p.html") == 0
    assert f"Picture: {picture}\nPage: p.html\n" in capsys.readouterr().out


def test_percentile_of_sums_beyond_64_bits_is_compared(capsys: pytest.CaptureFixture[str]) -> None:
    largest = 2**63 - 1
    write(*((1767225600 + 300 * number, sent(largest - (number < 12))) for number in range(24)))
    criteria = {
        "comparisonOperator": "less-than",
        "statisticalThreshold": {"statistic": "p100"},
        "durationSeconds": 3600,
    }
    behavior = {"name": "Hour", "metric": "aws:all-bytes-out", "criteria": criteria}
    Path("p.json").write_text(json.dumps({"securityProfileName": "P", "behaviors": [behavior]}))
    assert run("try", "p.json", "--reports", "r", "--json", "--page", "p.html", "--picture", "p.svg") == 0
    (found,) = json.loads(capsys.readouterr().out)["devices"][0]["behaviors"]
    assert (found["limit"], found["worst"], found["datapoints"], found["violations"]) == (
        12 * largest,
        12 * largest,
        2,
        1,
    )


@pytest.mark.parametrize(("limit", "violations"), [(10**30, 1), (-(10**30), 2)])
def test_limit_beyond_64_bits_is_compared(limit: int, violations: int, capsys: pytest.CaptureFixture[str]) -> None:
    values = (1e300, -1e300, 5)
    write(*((1767225600 + 300 * at, {"custom_metrics": {"a": [{"number": value}]}}) for at, value in enumerate(values)))
    criteria = {"comparisonOperator": "less-than", "value": {"number": limit}}
    behavior = {"name": "N", "metric": "a", "criteria": criteria}
    Path("p.json").write_text(json.dumps({"securityProfileName": "P", "behaviors": [behavior]}))
    assert run("try", "p.json", "--reports", "r", "--json", "--page", "p.html", "--picture", "p.svg") == 0
    (found,) = json.loads(capsys.readouterr().out)["devices"][0]["behaviors"]
    assert (found["limit"], found["violations"]) == (limit, violations)


def test_address_reads_as_in_an_event_of_the_device(capsys: pytest.CaptureFixture[str]) -> None:
    """With any Python: `ipaddress` writes an IPv4 address in IPv6 in one of two ways."""
    connections = [{"remote_addr": address} for address in ("[::FFFF:c000:0201]:443", "[2001:DB8::1]:443")]
    blocks = {"tcp_connections": {"established_connections": {"connections": connections, "total": 2}}}
    write((1767225600, {"metrics": blocks}))
    criteria = {"comparisonOperator": "in-cidr-set", "value": {"cidrs": ["10.0.0.0/8"]}}
    behavior = {"name": "Known", "metric": "aws:destination-ip-addresses", "criteria": criteria}
    Path("p.json").write_text(json.dumps({"securityProfileName": "P", "behaviors": [behavior]}))
    assert run("try", "p.json", "--reports", "r", "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)["devices"][0]["behaviors"]
    assert found["elements"] == [["2001:db8::1", 1], ["::ffff:192.0.2.1", 1]]
