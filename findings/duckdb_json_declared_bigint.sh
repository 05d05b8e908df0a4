#!/usr/bin/env bash
# DuckDB 2.0.1: read_json with columns = {a: 'BIGINT'} does not refuse what is no integer in JSON. true is read as 1, the
# text "12" as 12 and the text "0x10" as 16 (though "1e2" is refused, which CAST('1e2' AS BIGINT) takes), and fractions are
# rounded, halves to the even neighbour: 0.5 is 0, 2.5 is 2. Nothing is reported with ignore_errors off. Declared types are
# the way to keep a column from being inferred wrongly, so one expects a value of another type to be an error, as an array
# or the text "x" is.
#
# What helps: declare the column JSON, and look at json_type() before the cast. PYTHON names a Python from 3.10 on.
set -euo pipefail
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.1
"$folder/env/bin/python" - "$folder/record.json" <<'PYTHON'
import sys

import duckdb

path = sys.argv[1]
SEEN = {"true": 1, "false": 0, '"12"': 12, '" 7 "': 7, '"0x10"': 16, "0.5": 0, "1.5": 2, "2.5": 2}
for text, number in SEEN.items():
    with open(path, "w") as file:
        file.write('{"a": %s}\n' % text)
    found = duckdb.execute("SELECT a FROM read_json(?, columns = {a: 'BIGINT'})", [path]).fetchall()
    print(f"{text:8} is read as {found[0][0]}")
    assert found == [(number,)], "the behaviour has changed"
for text in ('"x"', "[1]", '"1e2"'):
    with open(path, "w") as file:
        file.write('{"a": %s}\n' % text)
    try:
        duckdb.execute("SELECT a FROM read_json(?, columns = {a: 'BIGINT'})", [path]).fetchall()
    except duckdb.InvalidInputException:
        print(f"{text:8} is refused")
    else:
        raise AssertionError("the behaviour has changed")
assert duckdb.execute("SELECT CAST('1e2' AS BIGINT)").fetchall() == [(100,)], "the behaviour has changed"
PYTHON
