"""SQL for engines that do not run here: Athena's grammar has all that columns.py needs, but it takes an account."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import detect
import ibis
import ibis.expr.types as ir
import pytest
from detection import columns
from detection.engines import athena_sql, spark_sql
from support.detect_tool import INCIDENT

from connector.detect.profile import parse

REPORTS = columns.reports("reports")
NUMBERS = columns.datapoints(REPORTS, "aws:all-bytes-out", "count")
LISTS = columns.datapoints(REPORTS, "aws:destination-ip-addresses", "cidrs")
CUSTOM = columns.datapoints(REPORTS, "cpu_usage", "number")
OUTSIDE = ibis.table({"element": "string", "violates_0": "boolean"}, name="outside")
ENDS = ibis.table({"thing": "string", "time": "int64"}, name="ends")
(BEHAVIOR,) = parse(
    {
        "securityProfileName": "p",
        "behaviors": [
            {
                "name": "Bytes",
                "metric": "aws:all-bytes-out",
                "criteria": {
                    "comparisonOperator": "less-than",
                    "value": {"count": 5},
                    "durationSeconds": 300,
                    "consecutiveDatapointsToAlarm": 2,
                },
            }
        ],
    }
).behaviors

EXPRESSIONS: dict[str, ir.Table] = {
    "devices": columns.devices(REPORTS),
    "steps": columns.steps(REPORTS),
    "carried_first": columns.carried_first(REPORTS, "cpu_usage", "number"),
    "numbers": NUMBERS,
    "custom numbers": CUSTOM,
    "sums": columns.sums(REPORTS, "aws:all-bytes-out", "count", ENDS),
    "samples": columns.samples(REPORTS, "aws:destination-ip-addresses"),
    "spread": columns.spread(NUMBERS),
    "value at a rank": columns.nth(NUMBERS, 17),
    "elements": columns.elements(LISTS),
    "element_counts": columns.element_counts(LISTS),
    "violations of lists": columns.list_violations(LISTS, OUTSIDE),
    "worst elements": columns.worst_elements(LISTS, OUTSIDE, 0, 8),
    "part": columns.part(REPORTS, 0.7, is_first=True),
    "boundaries": columns.boundaries(columns.number_violations(NUMBERS, [lambda value: value < 5]), {0: BEHAVIOR}),
}


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_expression_has_sql_that_athenas_grammar_takes(expression: Any) -> None:
    assert athena_sql(expression).startswith(("SELECT", "WITH"))


def test_value_at_a_rank_is_asked_of_spark_by_its_offset() -> None:
    """ibis' own SQL for Spark numbers rows in no certain order, and returns the numbers as a second column."""
    text = spark_sql(EXPRESSIONS["value at a rank"])
    assert text.splitlines()[-2:] == ["LIMIT 1", "OFFSET 17"]
    assert "ROW_NUMBER" not in text


def test_try_prints_the_sql_and_the_same_result(capsys: pytest.CaptureFixture[str], profile_file: Path) -> None:
    arguments = ["try", str(profile_file), "--reports", str(INCIDENT), "--json"]
    assert detect.main(arguments) == 0
    expected = capsys.readouterr()
    assert detect.main([*arguments, "--engine", "athena"]) == 0
    printed = capsys.readouterr()
    assert printed.out == expected.out
    statements = [line for line in printed.err.splitlines() if line.startswith(("SELECT", "WITH", "CREATE"))]
    assert statements
    assert expected.err == ""


def test_reports_are_kept_as_parquet_and_read_again(
    capsys: pytest.CaptureFixture[str], profile_file: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    arguments = ["try", str(profile_file), "--json", "--reports"]
    assert detect.main([*arguments, str(INCIDENT), "--parquet", str(kept)]) == 0
    expected = json.loads(capsys.readouterr().out)
    assert detect.main([*arguments, str(kept)]) == 0
    assert json.loads(capsys.readouterr().out)["devices"] == expected["devices"]
    assert detect.main([*arguments, str(INCIDENT), "--parquet", str(kept)]) == 2
    assert f"{kept}: File exists" in capsys.readouterr().err


@pytest.fixture
def profile_file() -> Path:
    return Path(detect.__file__).with_name("security_profiles") / "DataExfiltration.json"
