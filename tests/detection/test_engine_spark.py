"""Spark judges as DuckDB does: one expression, the same events. Needs packaging/requirements-spark.txt and Java."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from detection.duck import Duck
from detection.engines import Spark
from detection.errors import InputError
from detection.fleet import Fleet, Source
from detection.judge import judge, percentile
from support.detect_reference import SHIPPED
from support.detect_tool import FIXTURES, INCIDENT, ORDINARY, recorded, try_profile
from support.fleet import connect, make_table

from connector.detect.profile import parse

pytestmark = pytest.mark.spark

LISTS = {
    "securityProfileName": "Lists",
    "behaviors": [
        {
            "name": name,
            "metric": metric,
            "criteria": {"comparisonOperator": operator, "value": value, "consecutiveDatapointsToAlarm": 2},
        }
        for name, metric, operator, value in [
            ("Ports", "aws:listening-tcp-ports", "in-port-set", {"ports": [22, 443]}),
            ("Peers", "aws:destination-ip-addresses", "not-in-cidr-set", {"cidrs": ["198.51.100.0/24"]}),
        ]
    ],
}


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spark]:
    """A small session of its own, in this machine."""
    from pyspark.sql import SparkSession

    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    folder = tmp_path_factory.mktemp("spark")
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.warehouse.dir", str(folder))
        .config("spark.local.dir", str(folder))
        .getOrCreate()
    )
    yield Spark(session)
    session.stop()


@pytest.fixture(scope="module")
def parquet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """The reports of two devices in DuckDB, and the same in Parquet, some of them twice."""
    connection = connect()
    fleet = {name: recorded(FIXTURES / f"{name}.jsonl") for name in ("ordinary", "incident")}
    make_table(connection, "reports", fleet)
    folder = tmp_path_factory.mktemp("parquet")
    connection.execute(f"COPY reports TO '{folder}/1.parquet'")
    connection.execute(f"COPY (SELECT * FROM reports LIMIT 9) TO '{folder}/2.parquet'")
    return connection, folder


def test_spark_gives_the_events_of_duckdb(spark: Spark, parquet: tuple[Any, Path]) -> None:
    connection, folder = parquet
    profiles = [parse(document) for document in [*SHIPPED, LISTS]]
    spark.read("reports", [str(folder)])
    found = judge(Fleet(spark, "reports"), profiles)
    expected = judge(Fleet(Duck(connection), "reports"), profiles)
    assert [(one.profile, one.behavior, one.changes) for one in found] == [
        (one.profile, one.behavior, one.changes) for one in expected
    ]
    assert [one.tallies for one in found] == [one.tallies for one in expected]
    assert any(one.changes for one in expected)


@pytest.mark.parametrize("statistic", ["p0", "p10", "p50", "p99.99", "p100"])
def test_percentile_is_that_of_duckdb(spark: Spark, parquet: tuple[Any, Path], statistic: str) -> None:
    connection, folder = parquet
    spark.read("reports", [str(folder)])
    for key in (Source("aws:all-bytes-out", "count", 900), Source("cpu_usage", "number", None)):
        found = percentile(Fleet(spark, "reports"), key, statistic)
        assert found == percentile(Fleet(Duck(connection), "reports"), key, statistic)
        assert found.value is not None


def test_values_are_put_and_read_back(spark: Spark) -> None:
    rows = [("a", 1, 0.5, True), ("b", None, None, False)]
    table = spark.put("given", {"text": "string", "count": "int64", "share": "float64", "is_so": "boolean"}, rows)
    assert sorted(spark.rows(table)) == rows
    assert list(spark.rows(spark.keep("kept", table.filter(table.is_so).select("text")))) == [("a",)]
    assert list(spark.rows(spark.put("given", {"text": "string"}, []))) == []


def test_parquet_of_something_else_is_an_error(spark: Spark, tmp_path: Path) -> None:
    connect().execute(f"COPY (SELECT 1 AS report_id) TO '{tmp_path}/x.parquet'")
    with pytest.raises(InputError, match="not reports in Parquet as --parquet writes them"):
        spark.read("reports", [str(tmp_path)])


def test_command_line_gives_the_same_document(spark: Spark, capsys: pytest.CaptureFixture[str]) -> None:
    documents = []
    for engine in ("duckdb", "spark"):
        try_profile("DataExfiltration", "--reports", INCIDENT, "--baseline", ORDINARY, "--json", "--engine", engine)
        documents.append(json.loads(capsys.readouterr().out))
    assert documents[0] == documents[1]
    assert [len(one["alarms"]) for one in documents[0]["devices"][0]["behaviors"]] == [1, 1, 1]
