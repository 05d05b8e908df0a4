"""Rows gathered column by column, in the shape in which Arrow takes them at once.

A list or a map is kept flat, with the number of its elements for each row: a list of Python lists takes several times
the memory, and the time to become Arrow's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import pyarrow


class Column(NamedTuple):
    """The values of a column for some rows.

    lengths: of a list or map, the number of elements in each row, None where it is null; empty for other columns
    keys: of a map; empty for other columns
    values: a value for each row, or those of all lists or maps one after the other
    """

    lengths: list[int | None]
    keys: list[str]
    values: list[Any]


def plain(values: list[Any]) -> Column:
    """Return a column of single values."""
    return Column([], [], values)


def lists(lengths: list[int | None], values: list[Any]) -> Column:
    """Return a column of lists."""
    return Column(lengths, [], values)


def maps(rows: Iterable[Sequence[tuple[str, Any]] | None]) -> Column:
    """Return a column of maps, each given as its pairs."""
    made = Column([], [], [])
    for pairs in rows:
        made.lengths.append(None if pairs is None else len(pairs))
        for key, value in pairs or ():
            made.keys.append(key)
            made.values.append(value)
    return made


def of_row(schema: pyarrow.Schema, row: Mapping[str, Any]) -> dict[str, Column]:
    """Return the columns of one row."""
    made = {}
    for field in schema:
        value = row[field.name]
        if pyarrow.types.is_map(field.type):
            made[field.name] = maps([value])
        elif pyarrow.types.is_list(field.type):
            made[field.name] = lists([None if value is None else len(value)], list(value or ()))
        else:
            made[field.name] = plain([value])
    return made


class Gathered:
    """Rows of a schema."""

    def __init__(self, schema: pyarrow.Schema) -> None:
        self._schema = schema
        self._columns = {name: Column([], [], []) for name in schema.names}
        self.rows = 0

    def add(self, columns: Mapping[str, Column], rows: int) -> None:
        """Add some rows, given as the columns of the schema."""
        for name, column in self._columns.items():
            added = columns[name]
            column.lengths.extend(added.lengths)
            column.keys.extend(added.keys)
            column.values.extend(added.values)
        self.rows += rows

    def take(self) -> pyarrow.RecordBatch:
        """Return the rows as Arrow has them, and forget them."""
        arrays = [_array(field.type, self._columns[field.name]) for field in self._schema]
        for column in self._columns.values():
            for values in column:
                values.clear()
        self.rows = 0
        return pyarrow.record_batch(arrays, schema=self._schema)


def _array(kind: pyarrow.DataType, column: Column) -> pyarrow.Array:
    if column.lengths.count(None) == len(column.lengths) > 0:
        return pyarrow.nulls(len(column.lengths), kind)
    if pyarrow.types.is_map(kind):
        keys, values = pyarrow.array(column.keys, kind.key_type), pyarrow.array(column.values, kind.item_type)
        return pyarrow.MapArray.from_arrays(_offsets(column.lengths), keys, values).cast(kind)
    if pyarrow.types.is_list(kind):
        values = pyarrow.array(column.values, kind.value_type)
        return pyarrow.ListArray.from_arrays(_offsets(column.lengths), values).cast(kind)
    return pyarrow.array(column.values, kind)


def _offsets(lengths: list[int | None]) -> pyarrow.Array:
    """Return where the elements of each row begin, null for a row that is null, and where the last ones end."""
    begins: list[int | None] = list(accumulate((length or 0 for length in lengths), initial=0))
    if None in lengths:
        begins = [*(None if length is None else begin for length, begin in zip(lengths, begins)), begins[-1]]
    return pyarrow.array(begins, pyarrow.int32())
