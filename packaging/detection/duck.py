"""Runs expressions over columns in DuckDB."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

import duckdb
import ibis
import ibis.backends.sql.compilers.duckdb  # or the first expression imports it, which takes long
import ibis.expr.types as ir
import numpy as np

ROWS_AT_ONCE = 10_000
PUT_AT_ONCE = 100_000

_DTYPES = {"int64": np.int64, "boolean": np.bool_}  # anything else is given as Python's objects
_TYPES = {"string": "VARCHAR", "int64": "BIGINT", "int32": "INTEGER", "float64": "DOUBLE", "boolean": "BOOLEAN"}


class Duck:
    """An engine: it runs expressions on the tables and views of a DuckDB connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def rows(self, expression: ir.Table) -> Iterator[tuple[Any, ...]]:
        """Run an expression and yield its rows, in the order of its columns. Other calls may come in between."""
        cursor = self._connection.cursor()
        try:
            cursor.execute(_sql(expression))
            rows = cursor.fetchmany(ROWS_AT_ONCE)
            while rows:
                yield from rows
                rows = cursor.fetchmany(ROWS_AT_ONCE)
        finally:
            cursor.close()

    def keep(self, name: str, expression: ir.Table) -> ir.Table:
        """Run an expression, keep what it gives as a table, and return that. A table of this name is replaced."""
        self._connection.execute(f'CREATE OR REPLACE TABLE "{name}" AS {_sql(expression)}')
        return ibis.table(expression.schema(), name=name)

    def view(self, name: str, expression: ir.Table) -> ir.Table:
        """Give an expression a name, and return the view. A view of this name is replaced."""
        self._connection.execute(f'CREATE OR REPLACE VIEW "{name}" AS {_sql(expression)}')
        return ibis.table(expression.schema(), name=name)

    def put(self, name: str, schema: Mapping[str, str], rows: Iterable[tuple[Any, ...]]) -> ir.Table:
        """Make a table of values and return it. A table of this name is replaced. schema: ibis' types by column."""
        columns = ", ".join(f'"{column}" {_TYPES[kind]}' for column, kind in schema.items())
        self._connection.execute(f'CREATE OR REPLACE TABLE "{name}" ({columns})')
        rest = iter(rows)
        some = list(islice(rest, PUT_AT_ONCE))
        while some:
            values: dict[str, Any] = {
                column: np.array(one, dtype=_DTYPES.get(kind, object))
                for (column, kind), one in zip(schema.items(), zip(*some))
            }
            self._connection.register("values_to_put", values)
            self._connection.execute(f'INSERT INTO "{name}" SELECT * FROM values_to_put')
            self._connection.unregister("values_to_put")
            some = list(islice(rest, PUT_AT_ONCE))
        return ibis.table(dict(schema), name=name)


def _sql(expression: ir.Table) -> str:
    return _compiled(expression.op())


@lru_cache(maxsize=256)
def _compiled(operation: Any) -> str:
    return str(ibis.to_sql(operation.to_expr(), dialect="duckdb"))
