#!/usr/bin/env bash
# ibis-framework 12.0.0 with DuckDB 2.0.1: `pip install 'ibis-framework[duckdb]==12.0.0'` installs this pair, as the extra
# asks for duckdb>=0.10.3 without an upper limit, and `pip check` finds nothing wrong. ibis calls fetch_arrow_table() and
# fetch_record_batch(), which DuckDB 2 no longer has: list_tables(), sql() and to_pyarrow_batches() end with an
# AttributeError, while reading files, execute() and to_pyarrow() work. The query that was begun stays open: what follows
# on the connection, such as executing a memtable, then ends with ResourceInUseException, which points at the wrong call.
#
# What helps: duckdb<2, or compiling with ibis.to_sql() and running the SQL with DuckDB itself.
# PYTHON names a Python from 3.10 on.
set -euo pipefail
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check 'ibis-framework[duckdb]==12.0.0' duckdb==2.0.1 sqlglot==30.12.0
"$folder/env/bin/pip" check --disable-pip-version-check
"$folder/env/bin/python" - "$folder/rows.csv" <<'PYTHON'
import sys

import ibis

with open(sys.argv[1], "w") as file:
    file.write("a\n1\n2\n")


def attempt(name, call):
    connection = ibis.duckdb.connect()
    rows = connection.read_csv(sys.argv[1])
    try:
        call(connection, rows)
    except AttributeError as error:
        print(f"{name}: {error}")
        try:
            connection.execute(ibis.memtable({"a": [1]}))
        except Exception as after:
            return type(after).__name__
        return "AttributeError"
    print(f"{name}: works")
    return "works"


seen = {
    "execute": attempt("execute", lambda connection, rows: rows.a.sum().execute()),
    "to_pyarrow": attempt("to_pyarrow", lambda connection, rows: rows.to_pyarrow()),
    "list_tables": attempt("list_tables", lambda connection, rows: connection.list_tables()),
    "sql": attempt("sql", lambda connection, rows: connection.sql("SELECT 1 AS a")),
    "batches": attempt("to_pyarrow_batches", lambda connection, rows: list(rows.to_pyarrow_batches())),
}
print(seen)
assert seen["execute"] == seen["to_pyarrow"] == "works", "the behaviour has changed"
assert {seen["list_tables"], seen["sql"], seen["batches"]} == {"ResourceInUseException"}, "the behaviour has changed"
PYTHON
