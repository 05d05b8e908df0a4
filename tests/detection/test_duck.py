"""The engine that DuckDB is: tables of values, and how little of ibis it needs."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import duckdb
import pytest
from detection import duck
from detection.duck import Duck

from connector import __file__ as connector_file

SCHEMA = {"thing": "string", "time": "int64", "port": "int32", "value": "float64", "violates_0": "boolean"}
ROWS = [("gateway-1", 2**62, 22, 0.1, True), ("", -1, 0, 1e300, False), ('"ß', 0, 65535, -0.5, True)]


@pytest.mark.parametrize("few", [0, 2, 3], ids=lambda few: f"few is {few}")
@pytest.mark.parametrize("at_once", [2, 100])
def test_values_are_put_as_they_are(monkeypatch: pytest.MonkeyPatch, few: int, at_once: int) -> None:
    monkeypatch.setattr(duck, "FEW_ROWS", few)
    monkeypatch.setattr(duck, "PUT_AT_ONCE", at_once)
    with duckdb.connect() as connection:
        engine = Duck(connection)
        for rows in ([], ROWS):
            table = engine.put("table of values", SCHEMA, iter(rows))
            assert sorted(engine.rows(table)) == sorted(rows)
        kinds: list[Any] = connection.execute('DESCRIBE "table of values"').fetchall()
    assert [kind[1] for kind in kinds] == ["VARCHAR", "BIGINT", "INTEGER", "DOUBLE", "BOOLEAN"]


def test_compilers_of_other_engines_are_imported_when_they_are_asked_for() -> None:
    program = """
import sys
sys.path[:0] = sys.argv[1:]
import detection.duck, ibis
name = "ibis.backends.sql.compilers."
assert name + "duckdb" in sys.modules and name + "athena" not in sys.modules
table = ibis.table({"a": "int64"}, name="t")
print(ibis.to_sql(table, dialect="athena").split(), ibis.to_sql(table, dialect="duckdb").split())
import ibis.backends.sql.compilers as compilers
print(compilers.AthenaCompiler.__name__, type(compilers).__name__)
"""
    root = connector_file.rpartition("/connector/")[0]
    command = [sys.executable, "-c", program, f"{root}/packaging", root]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.stderr == ""
    sql = ["SELECT", "*", "FROM", '"t"']
    assert result.stdout.splitlines() == [f"{sql} {sql}", "AthenaCompiler module"]
