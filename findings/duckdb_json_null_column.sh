#!/usr/bin/env bash
# DuckDB 2.0.1: read_json gives a field that is null in the first 20,480 records the type "NULL", and then replaces every
# later value of it by NULL, without an error or a warning. (A field that is absent there, not null, is left out
# altogether.) Records are neither refused nor counted: ignore_errors is off. A value that does not fit an inferred BIGINT
# is an error, so one expects the same here.
#
# Seen: of 30,000 records of which the last 9,520 have a number, count(number) is 0.
# What helps: declare the types (columns = {...}), or sample_size = -1, which reads everything twice.
# PYTHON names a Python from 3.10 on.
set -euo pipefail
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.1
"$folder/env/bin/python" - "$folder/records.jsonl" <<'PYTHON'
import json
import sys

import duckdb

path = sys.argv[1]
with open(path, "w") as file:
    for number in range(30_000):
        file.write(json.dumps({"id": number, "number": None if number < 20_480 else number}) + "\n")


def seen(options):
    rows = duckdb.sql(f"SELECT count(*), count(number), any_value(typeof(number)) FROM read_json('{path}'{options})")
    return rows.fetchall()[0]


inferred = seen("")
declared = seen(", columns = {id: 'BIGINT', number: 'BIGINT'}")
print("inferred: %d records, %d numbers, type %s" % inferred)
print("declared: %d records, %d numbers, type %s" % declared)
if inferred[:2] != (30_000, 0) or declared[:2] != (30_000, 9_520):
    raise SystemExit("changed: 0 and 9,520 numbers were seen")
PYTHON
echo "as seen: DuckDB 2.0.1 drops the values of a field that begins with 20,480 nulls"
