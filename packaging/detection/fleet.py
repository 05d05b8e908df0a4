"""The devices of recordings, and the datapoints of their metrics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

import ibis.expr.types as ir

from connector.detect.datapoints import Period
from connector.detect.engine import DEFAULT_INTERVAL_SECONDS
from connector.detect.metrics import is_timed
from connector.detect.profile import Behavior

from . import columns
from .reports import COLUMNS

MIN_PAUSE_SECONDS = 3600  # between two reports: what is longer is a pause, unless reports come that rarely


class Engine(Protocol):
    """Runs expressions of columns.py where the reports are; duck.py has the one for DuckDB."""

    def rows(self, expression: ir.Table) -> Iterator[tuple[Any, ...]]:
        """Run an expression and yield its rows, in the order of its columns."""

    def keep(self, name: str, expression: ir.Table) -> ir.Table:
        """Run an expression, keep what it gives as a table, and return that."""

    def view(self, name: str, expression: ir.Table) -> ir.Table:
        """Give an expression a name, and return the view."""

    def put(self, name: str, schema: Mapping[str, str], rows: Iterable[tuple[Any, ...]]) -> ir.Table:
        """Make a table of values, and return it."""


class Source(NamedTuple):
    """Where the datapoints of a behavior come from; behaviors with the same source are judged together.

    duration: of what is summed; None where each reading is a datapoint
    """

    metric: str
    kind: str
    duration: int | None


def source(behavior: Behavior) -> Source:
    """Return the source of a behavior with criteria."""
    assert behavior.kind is not None
    return Source(behavior.metric, behavior.kind, behavior.duration if is_timed(behavior.metric) else None)


@dataclass(frozen=True)
class Times:
    """When a device reported.

    first, last: epoch seconds
    reports: how many
    apart: how often each number of seconds lies between two reports, ascending
    """

    first: int
    last: int
    reports: int
    apart: tuple[tuple[int, int], ...]

    @property
    def interval(self) -> int | None:
        """The usual time between two reports in seconds, the median; None with a single report."""
        if not self.apart:
            return None
        steps = self.reports - 1
        return round((self._apart_at((steps - 1) // 2) + self._apart_at(steps // 2)) / 2)

    @property
    def recorded(self) -> int:
        """For how many seconds there are reports: a pause or a jump of the clock does not count as what it spans."""
        pause = max(self.interval or 0, MIN_PAUSE_SECONDS)
        return sum(min(seconds, pause) * times for seconds, times in self.apart)

    @property
    def uneven(self) -> str | None:
        """A remark where reports seem to be of two devices in turn: not every report says whose it is."""
        steps = self.reports - 1
        if steps < 4:
            return None
        short, long = self._apart_at(steps // 4), self._apart_at(steps * 3 // 4)
        if long <= 2 * short + 2:  # a report may be lost now and then, and times are whole seconds
            return None
        return f"reports come unevenly, {short} s to {long} s apart; is this one device's recording?"

    def _apart_at(self, place: int) -> int:
        for seconds, times in self.apart:
            place -= times
            if place < 0:
                return seconds
        raise IndexError(place)


class Fleet:
    """The devices in a table of reports.

    engine: has the table
    name: of the table, with the columns of reports.TABLE
    times: when each device reported, by thing
    """

    def __init__(self, engine: Engine, name: str = "reports") -> None:
        self.engine = engine
        self.table = columns.reports(name)
        self._name = name
        self._points: dict[Source, ir.Table] = {}
        apart = defaultdict(list)
        for thing, step, times in engine.rows(columns.steps(self.table)):
            apart[thing].append((step, times))
        self.times = {
            thing: Times(first, last, reports, tuple(sorted(apart[thing])))
            for thing, first, last, reports in engine.rows(columns.devices(self.table).order_by("thing"))
        }

    def part(self, name: str, share: float, *, is_first: bool) -> Fleet:
        """Return the fleet with the first share of each device's reports, or the rest. name: of a view that is made."""
        self.engine.view(name, columns.part(self.table, share, is_first=is_first))
        return Fleet(self.engine, name)

    def datapoints(self, source: Source) -> ir.Table:
        """Return thing, time and value of each datapoint."""
        if source not in self._points:
            self._points[source] = self._read(source)
        return self._points[source]

    def _read(self, source: Source) -> ir.Table:
        metric, kind, duration = source
        points = columns.datapoints(self.table, metric, kind)
        if duration is None:
            return points
        carrying = {thing for (thing,) in self.engine.rows(columns.carried_first(self.table, metric, kind))}
        summed = [
            thing for thing, times in self.times.items() if not _each_report_ends(times, duration, thing in carrying)
        ]
        if not summed:
            return points
        name = f"{self._name}_{COLUMNS[metric]}_{duration}"
        things = self.engine.put(f"{name}_things", {"thing": "string"}, ((thing,) for thing in summed))
        ends = self.engine.put(
            f"{name}_ends", {"thing": "string", "time": "int64"}, self._ends(things, duration, carrying)
        )
        sums = columns.sums(self.table, metric, kind, ends)
        if len(summed) < len(self.times):
            sums = points.anti_join(things, "thing").union(sums)
        return self.engine.keep(name, sums)

    def _ends(self, things: ir.Table, duration: int, carrying: Collection[str]) -> Iterator[tuple[str, int]]:
        """Yield thing and time of each report that ends a period; whether it does depends on the one before."""
        for thing, rows in groupby(self.engine.rows(columns.times_of(self.table, things)), itemgetter(0)):
            period = Period(duration)
            before = self.times[thing].first - (self.times[thing].interval or DEFAULT_INTERVAL_SECONDS)
            change = 0 if thing in carrying else None
            for _, time in rows:
                if period.add(change, time - before) is not None:
                    yield thing, time
                before, change = time, 0


def _each_report_ends(times: Times, duration: int, carries_first: bool) -> bool:
    """Return whether each report of a device ends a period, so that readings need not be summed."""
    period = Period(duration)
    first = period.add(0 if carries_first else None, times.interval or DEFAULT_INTERVAL_SECONDS)
    if carries_first and first is None:
        return False
    return not times.apart or period.add(0, times.apart[0][0]) is not None
