#!/usr/bin/env bash
# PySpark 4.3.0: spark.read.json() takes the first JSON value of a line and drops the rest of the line without a word, in
# every mode. `{"a": 1}{"a": 2}` on one line, as Amazon Data Firehose writes records without a delimiter, is one row; text
# after an object goes unnoticed too. FAILFAST, which is meant to stop at a record that is not well formed, stops at
# neither, and the column of corrupt records stays empty. multiLine reads the first value of a whole file.
#
# Seen: of six records in three lines, three rows, the same in PERMISSIVE, FAILFAST and DROPMALFORMED.
# What helps: split the records before Spark reads them, or write Parquet. Needs Java 17; PYTHON names a Python from 3.10 on.
set -euo pipefail
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check pyspark==4.3.0
cat >"$folder/records.json" <<'JSON'
{"a": 1}{"a": 2}{"a": 3}
{"a": 4}
{"a": 5} {"a": 6}
JSON
printf '{\n  "a": 1\n}\n{\n  "a": 2\n}\n' >"$folder/pretty.json"
PYSPARK_PYTHON="$folder/env/bin/python" "$folder/env/bin/python" - "$folder" <<'PYTHON'
import sys

from pyspark.sql import SparkSession

folder = sys.argv[1]
spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
try:
    reader = spark.read.schema("a long, _corrupt_record string")
    for mode in ("PERMISSIVE", "FAILFAST", "DROPMALFORMED"):
        rows = [tuple(row) for row in reader.option("mode", mode).json(f"{folder}/records.json").collect()]
        print(mode, rows)
        assert rows == [(1, None), (4, None), (5, None)], "the behaviour has changed"
    pretty = spark.read.schema("a long").option("multiLine", True).option("mode", "FAILFAST")
    rows = [tuple(row) for row in pretty.json(f"{folder}/pretty.json").collect()]
    print("multiLine", rows)
    assert rows == [(1,)], "the behaviour has changed"
finally:
    spark.stop()
PYTHON
