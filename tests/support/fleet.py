"""A fleet of reports that a test makes, as a table in DuckDB."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import duckdb
from detection import columns
from detection.duck import Duck
from detection.fleet import Fleet
from detection.reports import COLUMNS, CUSTOM_COLUMNS, TABLE, Report

from connector.detect.event import element_text

_TYPES = {
    "string": "VARCHAR",
    "int64": "BIGINT",
    "array<int32>": "INTEGER[]",
    "array<string>": "VARCHAR[]",
    "map<string, float64>": "MAP(VARCHAR, DOUBLE)",
    "map<string, array<float64>>": "MAP(VARCHAR, DOUBLE[])",
    "map<string, array<string>>": "MAP(VARCHAR, VARCHAR[])",
}


def connect() -> duckdb.DuckDBPyConnection:
    """A database in memory, with one thread: the tables of tests are small."""
    return duckdb.connect(config={"threads": 1})


def make_table(connection: duckdb.DuckDBPyConnection, name: str, fleet: Mapping[str, Iterable[Report]]) -> None:
    """Make a table of the reports of each thing."""
    types = {column: _TYPES[kind] for column, kind in TABLE.items()}
    rows = [_row(thing, report) for thing, reports in fleet.items() for report in reports]
    declared = ", ".join(f"{column} {kind}" for column, kind in types.items())
    connection.execute(f"CREATE OR REPLACE TABLE {name} ({declared})")
    connection.execute(
        f"INSERT INTO {name} SELECT unnest(one) FROM (SELECT unnest(from_json(?::JSON, ?)) AS one)",
        [json.dumps(rows), json.dumps([types])],
    )


def fleet_of(
    fleet: Mapping[str, Iterable[Report]],
    connection: duckdb.DuckDBPyConnection | None = None,
    name: str = "reports",
) -> Fleet:
    """The fleet of these reports. name: of the table, which is replaced."""
    connection = connection or connect()
    make_table(connection, name, fleet)
    return Fleet(Duck(connection), name)


def _row(thing: str, report: Report) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(TABLE)
    row.update({column: {} for column in CUSTOM_COLUMNS.values()}, thing=thing, report_id=report.time)
    for metric, reading in report.readings.items():
        value = reading.value
        if reading.kind not in ("count", "number"):
            value = [element_text(element) for element in value]
        if metric in COLUMNS:
            row[COLUMNS[metric]] = value
        else:
            row[CUSTOM_COLUMNS[reading.kind]][metric] = value
    for metric, total in columns.TOTALS.items():
        sampled = report.readings.get(metric)
        if sampled is not None and sampled.unlisted and row[total] is None:
            row[total] = len(sampled.value) + sampled.unlisted
    return row
