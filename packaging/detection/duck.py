"""Runs expressions over columns in DuckDB."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from itertools import islice
from types import ModuleType
from typing import Any

import duckdb
import ibis
import ibis.expr.types as ir

ROWS_AT_ONCE = 10_000
PUT_AT_ONCE = 100_000
FEW_ROWS = 20_000  # are put sooner than numpy is imported

_DTYPES = {"int64": "int64", "boolean": "bool"}  # of numpy; anything else is given as Python's objects
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
            self._insert(name, schema, some)
            some = list(islice(rest, PUT_AT_ONCE))
        return ibis.table(dict(schema), name=name)

    def _insert(self, name: str, schema: Mapping[str, str], rows: list[tuple[Any, ...]]) -> None:
        if len(rows) <= FEW_ROWS:
            lists = ", ".join(f"unnest(?::{_TYPES[kind]}[])" for kind in schema.values())
            self._connection.execute(f'INSERT INTO "{name}" SELECT {lists}', [list(one) for one in zip(*rows)])
            return
        import numpy

        values = {
            column: numpy.array(one, dtype=_DTYPES.get(kind, "object"))
            for (column, kind), one in zip(schema.items(), zip(*rows))
        }
        self._connection.register("values_to_put", values)
        self._connection.execute(f'INSERT INTO "{name}" SELECT * FROM values_to_put')
        self._connection.unregister("values_to_put")


def _sql(expression: ir.Table) -> str:
    return _compiled(expression.op())


class _Late(ModuleType):
    """A package that runs its __init__ when something is looked for that none of its modules has brought yet."""

    def __getattr__(self, name: str) -> Any:
        self.__class__ = ModuleType  # type: ignore[assignment]
        loader = self.__spec__ and self.__spec__.loader
        assert loader
        loader.exec_module(self)
        return getattr(self, name)


def _import_compiler() -> None:
    """Import what ibis needs to write DuckDB's SQL, without the compilers for twenty other engines."""
    name = "ibis.backends.sql.compilers"
    spec = find_spec(name)
    if name not in sys.modules and spec:
        package = module_from_spec(spec)
        package.__class__ = _Late
        sys.modules[name] = package
    import_module(f"{name}.duckdb")


_import_compiler()


@lru_cache(maxsize=256)
def _compiled(operation: Any) -> str:
    return str(ibis.to_sql(operation.to_expr(), dialect="duckdb"))
