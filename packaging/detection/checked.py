"""Checks rows of batches.SCHEMA from a Parquet file, which any program may have written: is each a possible report?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow
from pyarrow import compute

from .reports import CUSTOM_NAME, MAX_NUMBER, MAX_PORT, MAX_TIME_SECONDS, packed

COUNTS = (
    *("bytes_in", "bytes_out", "packets_in", "packets_out"),
    *("tcp_connections", "tcp_ports_total", "udp_ports_total"),
)


def faults(rows: pyarrow.RecordBatch) -> Iterator[tuple[int, str]]:
    """Yield (index, reason) of each row that is no report. A batch with a fault is halved until the rows are found."""
    yield from _faults(rows, 0)


def _faults(rows: pyarrow.RecordBatch, first: int) -> Iterator[tuple[int, str]]:
    reason = next(_reasons(rows), None)
    if reason is None:
        return
    if rows.num_rows == 1:
        yield first, reason
        return
    middle = rows.num_rows // 2
    yield from _faults(rows.slice(0, middle), first)
    yield from _faults(rows.slice(middle), first + middle)


def _reasons(rows: pyarrow.RecordBatch) -> Iterator[str]:
    thing, time = rows.column("thing"), rows.column("report_id")
    if thing.null_count or time.null_count or not _within(compute.utf8_length(thing), 1) or not _is_time(time):
        yield "no report: thing or report_id is missing or invalid"
        return
    checks: dict[str, Callable[[Any], bool]] = {
        **dict.fromkeys(COUNTS, lambda column: _within(column, 0)),
        **dict.fromkeys(("tcp_ports", "udp_ports"), lambda column: _are_all(column.flatten(), _are_ports)),
        "destinations": lambda column: _are_all(column.flatten(), _are_addresses),
        "numbers": lambda column: _are_custom(column, _are_numbers),
        "number_lists": lambda column: _are_custom(column, lambda lists: _are_all(lists.flatten(), _are_numbers)),
        "string_lists": lambda column: _are_custom(column, lambda lists: _are_all(lists.flatten(), lambda _: True)),
        "ip_lists": lambda column: _are_custom(column, lambda lists: _are_all(lists.flatten(), _are_addresses)),
    }
    for name, is_right in checks.items():
        if not is_right(rows.column(name)):
            yield f"no report: {name} has a value that no report can have"


def _within(column: Any, least: float, most: float | None = None) -> bool:
    extremes = compute.min_max(column).as_py()
    if extremes["min"] is None:
        return True
    return bool(extremes["min"] >= least and (most is None or extremes["max"] <= most))


def _is_time(column: Any) -> bool:
    return _within(column, 1, MAX_TIME_SECONDS)


def _are_ports(ports: Any) -> bool:
    return _within(ports, 1, MAX_PORT)


def _are_numbers(numbers: Any) -> bool:
    return _within(numbers, -MAX_NUMBER, MAX_NUMBER) and not compute.any(compute.is_nan(numbers)).as_py()


def _are_addresses(texts: Any) -> bool:
    """Return whether texts are addresses, without a scope."""
    try:
        return all(packed(text) for text in texts.unique().to_pylist())
    except (OSError, ValueError):  # ValueError: not ASCII, or a null character
        return False


def _are_all(values: Any, are_right: Callable[[Any], bool]) -> bool:
    return not values.null_count and are_right(values)


def _are_custom(column: Any, are_right: Callable[[Any], bool]) -> bool:
    """Return whether the names and values of a map are those of custom metrics."""
    begin, end = column.offsets[0].as_py(), column.offsets[-1].as_py()
    names, values = column.keys.slice(begin, end - begin), column.items.slice(begin, end - begin)
    return all(map(CUSTOM_NAME.fullmatch, names.unique().to_pylist())) and _are_all(values, are_right)
