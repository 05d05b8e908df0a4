#!/usr/bin/env bash
# ibis-framework 12.0.0: ibis.to_sql(expression, dialect="pyspark") ends with an AttributeError where the expression asks
# whether a floating-point column is null, unless the attribute ibis.pyspark was read before. Other dialects, such as
# athena, and other types of column need no such thing: only the Spark compiler reads an option that the backend sets up
# when it is first looked at. The backend itself need not be connected, and to_sql is documented to work without one.
#
# Seen: AttributeError: 'NoneType' object has no attribute 'treat_nan_as_null'
# What helps: name ibis.pyspark once before (which needs PySpark installed). PYTHON names a Python from 3.10 on.
set -euo pipefail
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check ibis-framework==12.0.0 sqlglot==30.12.0 packaging==26.3
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import ibis


def sql(kind, dialect):
    table = ibis.table({"value": kind}, name="measured")
    try:
        return " ".join(str(ibis.to_sql(table.filter(table.value.isnull()), dialect=dialect)).split())
    except AttributeError as error:
        return f"AttributeError: {error}"


seen = {pair: sql(*pair) for pair in [("float64", "athena"), ("int64", "pyspark"), ("float64", "pyspark")]}
for (kind, dialect), text in seen.items():
    print(f"{dialect}, {kind}: {text}")
fails = [pair for pair, text in seen.items() if "treat_nan_as_null" in text]
if fails != [("float64", "pyspark")]:
    raise SystemExit("changed: only the floating-point column failed for pyspark")
PYTHON
echo "as seen: ibis-framework 12.0.0 needs its Spark backend looked at before it writes Spark's SQL"
