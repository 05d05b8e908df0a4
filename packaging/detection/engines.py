"""Engines beside DuckDB, for fleets that one machine is too small for: Spark runs the expressions of columns.py, and
Athena's SQL for them can be written down.

Only Parquet goes there, with the columns of recordings.py: Spark's and Athena's readers of JSON take one object from
each line and drop any others without an error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ibis
import ibis.expr.types as ir
import pyarrow
import sqlglot
from ibis.backends.sql.compilers.base import SQLGlotCompiler
from ibis.backends.sql.compilers.pyspark import PySparkCompiler

from .errors import InputError
from .reports import TABLE

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from .fleet import Engine
    from .recordings import Recordings

PARTITIONS = "spark.sql.shuffle.partitions"

_TYPES = {
    "string": pyarrow.string(),
    "int64": pyarrow.int64(),
    "int32": pyarrow.int32(),
    "float64": pyarrow.float64(),
    "boolean": pyarrow.bool_(),
}


class Spark:
    """An engine: it runs expressions on the views of a Spark session."""

    def __init__(self, session: SparkSession) -> None:
        self._session = session
        ibis.pyspark  # noqa: B018  # sets the options up that ibis needs to write Spark's SQL for floating point columns

    def read(self, name: str, paths: Iterable[str]) -> None:
        """Make a view of reports in Parquet, where a report that comes twice counts once.

        paths: of files and folders, also s3a://BUCKET/FOLDER where Spark is set up for it

        Raises InputError where they do not have the columns of recordings.py.
        """
        from pyspark.errors import PySparkException

        try:
            frame = self._session.read.parquet(*paths)
            frame = frame.select(*TABLE).dropDuplicates(["thing", "report_id"])
        except PySparkException as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"{', '.join(paths)}: not reports in Parquet as --parquet writes them: {reason}"
            ) from error
        frame.createOrReplaceTempView(name)

    def rows(self, expression: ir.Table) -> Iterator[tuple[Any, ...]]:
        """Run an expression and yield its rows, in the order of its columns."""
        for row in self._session.sql(spark_sql(expression)).toLocalIterator():
            yield tuple(row)

    def keep(self, name: str, expression: ir.Table) -> ir.Table:
        """Run an expression, keep what it gives as a table, and return that. A table of this name is replaced."""
        self._session.sql(spark_sql(expression)).persist().createOrReplaceTempView(name)
        return ibis.table(expression.schema(), name=name)

    def view(self, name: str, expression: ir.Table) -> ir.Table:
        """Give an expression a name, and return the view. A view of this name is replaced."""
        self._session.sql(spark_sql(expression)).createOrReplaceTempView(name)
        return ibis.table(expression.schema(), name=name)

    def put(self, name: str, schema: Mapping[str, str], rows: Iterable[tuple[Any, ...]]) -> ir.Table:
        """Make a table of values and return it. A table of this name is replaced. schema: ibis' types by column."""
        values = list(zip(*rows)) or [()] * len(schema)
        arrays = [pyarrow.array(column, _TYPES[kind]) for column, kind in zip(values, schema.values())]
        table = pyarrow.table(arrays, names=list(schema))
        self._session.createDataFrame(table).createOrReplaceTempView(name)
        return ibis.table(dict(schema), name=name)


def spark(read: Recordings, folder: Path, name: str) -> Spark:
    """Return Spark with a view of what was read.

    Spark's own configuration decides where it runs; without any, in this process.

    folder: where the reports are kept for it, made here
    name: of the view

    Raises InputError where there is no PySpark, or no Java.
    """
    try:
        from pyspark.errors import PySparkRuntimeError
        from pyspark.sql import SparkSession
    except ModuleNotFoundError as error:
        raise InputError(f"--engine spark: {error}; install packaging/requirements-spark.txt") from error
    builder = SparkSession.builder.appName("detect.py").config("spark.ui.enabled", "false")
    builder = builder.config("spark.ui.showConsoleProgress", str(sys.stderr.isatty()).lower())
    try:
        session = builder.config("spark.log.level", "ERROR").getOrCreate()
    except PySparkRuntimeError as error:
        raise InputError(f"--engine spark: Spark does not start; it needs Java 17 or later: {error}") from error
    context = session.sparkContext
    if context.master.startswith("local") and not context.getConf().contains(PARTITIONS):
        session.conf.set(PARTITIONS, str(context.defaultParallelism))  # 200 tasks a step wait for few processors
    engine = Spark(session)
    read.write(folder)
    engine.read(name, [str(folder)])
    return engine


class Athena:
    """An engine that writes down the SQL that Athena would be asked, and has another engine answer.

    engine: answers, with the reports that were read here. say: takes a statement of SQL
    """

    def __init__(self, engine: Engine, say: Callable[[str], None]) -> None:
        self._engine = engine
        self._say = say

    def rows(self, expression: ir.Table) -> Iterator[tuple[Any, ...]]:
        """Write the query down, and yield the other engine's rows."""
        self._say(f"{athena_sql(expression)};")
        return self._engine.rows(expression)

    def keep(self, name: str, expression: ir.Table) -> ir.Table:
        """Write down how the table is made, and return the other engine's."""
        self._say(f'CREATE TABLE "{name}" AS\n{athena_sql(expression)};')
        return self._engine.keep(name, expression)

    def view(self, name: str, expression: ir.Table) -> ir.Table:
        """Write down how the view is made, and return the other engine's."""
        self._say(f'CREATE VIEW "{name}" AS\n{athena_sql(expression)};')
        return self._engine.view(name, expression)

    def put(self, name: str, schema: Mapping[str, str], rows: Iterable[tuple[Any, ...]]) -> ir.Table:
        """Say which table of values comes from here, and have the other engine make it."""
        columns_of_it = ", ".join(f"{column} {kind}" for column, kind in schema.items())
        self._say(f'-- "{name}" ({columns_of_it}) is uploaded: detect.py makes it of the answers before')
        return self._engine.put(name, schema, rows)


def athena_sql(expression: ir.Table) -> str:
    """Return an expression in Athena's SQL. Raises ValueError where Athena's grammar does not have it.

    It is checked by its grammar, not run: there is no Athena without an account.
    """
    text = str(ibis.to_sql(expression, dialect="athena"))
    try:
        sqlglot.parse_one(text, dialect="athena")
    except sqlglot.errors.ParseError as error:
        raise ValueError(f"not Athena's SQL: {error}") from error
    return text


def spark_sql(expression: ir.Table) -> str:
    """Return an expression in Spark's SQL."""
    return str(_SparkCompiler().to_sqlglot(expression.unbind()).sql(dialect=PySparkCompiler.dialect, pretty=True))


class _SparkCompiler(PySparkCompiler):  # type: ignore[misc]
    """Writes OFFSET, which Spark has since 3.4.

    ibis numbers the rows instead: of a table in no certain order, which takes the wrong one for a percentile, and it
    returns the numbers, too.
    """

    __slots__ = ()
    rewrites = SQLGlotCompiler.rewrites
