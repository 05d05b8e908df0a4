"""The steps from reports to runs of violations, as expressions over columns: DuckDB, Spark and Athena run the same.

Nothing here reads or runs anything; duck.py runs an expression. From one step to the next:

    reports      thing, report_id and a column for each metric, as recordings.py makes them; no report twice
    datapoints   thing, time, value: the readings of one metric, or its sums over periods
    verdicts     and for each behavior whether the datapoint is a violation (violates_0, violates_1...)
    boundaries   the first datapoint of each run of violations, or of conforming ones

The rules of Detect are those of connector/detect: a conformity function takes a column here and gives an expression;
of lists, it takes their distinct elements one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ibis
import ibis.expr.types as ir

from connector.detect import metrics
from connector.detect.alarm import MAX_SILENCE_SECONDS, deciding_place
from connector.detect.profile import Behavior

from .reports import COLUMNS, CUSTOM_COLUMNS, TABLE

# The column with the number of all elements, of which a report may list a sample.
TOTALS = {
    metrics.TCP_PORTS: "tcp_ports_total",
    metrics.UDP_PORTS: "udp_ports_total",
    metrics.DESTINATIONS: "tcp_connections",
}

Conforms = Callable[[Any], Any]

_SCHEMA = ibis.schema(TABLE)


def reports(name: str) -> ir.Table:
    """Return the table of this name."""
    return ibis.table(_SCHEMA, name=name)


def reading(table: ir.Table, metric: str, kind: str) -> ir.Column:
    """Return the column of a metric; of a custom metric, of its readings of this kind."""
    if metric in COLUMNS:
        return table[COLUMNS[metric]]
    column: ir.Column = table[CUSTOM_COLUMNS[kind]][metric]
    return column


def devices(table: ir.Table) -> ir.Table:
    """Return for each thing the times of its first and last report, and how many there are."""
    time = table.report_id
    return table.group_by("thing").agg(first=time.min(), last=time.max(), reports=table.count())


def steps(table: ir.Table) -> ir.Table:
    """Return how often each number of seconds lies between two reports of a thing."""
    window = ibis.window(group_by="thing", order_by="report_id")
    timed = table.select("thing", step=table.report_id - table.report_id.lag().over(window))
    timed = timed.filter(timed.step.notnull())
    return timed.group_by("thing", "step").agg(times=timed.count())


def times_of(table: ir.Table, things: ir.Table) -> ir.Table:
    """Return the times of the reports of some things, in order. things: thing."""
    return table.select("thing", time=table.report_id).semi_join(things, "thing").order_by("thing", "time")


def carried_first(table: ir.Table, metric: str, kind: str) -> ir.Table:
    """Return the things whose first report carries a metric."""
    read = table.select("thing", "report_id", is_read=reading(table, metric, kind).notnull())
    of_each = read.group_by("thing").agg(first=read.report_id.min(), carried=read.report_id.min(where=read.is_read))
    return of_each.filter(of_each.first == of_each.carried).select("thing")


def carried(table: ir.Table) -> ir.Table:
    """Return one row: how many reports carry each of the service's own metrics, in the order of COLUMNS."""
    return table.agg(**{column: table[column].count() for column in COLUMNS.values()})


def kinds(table: ir.Table, metric: str) -> ir.Table:
    """Return one row: in how many reports a custom metric is of each kind."""
    return table.agg(**{kind: table[column][metric].notnull().sum() for kind, column in CUSTOM_COLUMNS.items()})


def custom_names(table: ir.Table, kind: str) -> ir.Table:
    """Return the names of the custom metrics of a kind."""
    return table.select(name=table[CUSTOM_COLUMNS[kind]].keys().unnest()).distinct().order_by("name")


def datapoints(table: ir.Table, metric: str, kind: str) -> ir.Table:
    """Return each reading of a metric."""
    read = table.select("thing", time=table.report_id, value=reading(table, metric, kind))
    return read.filter(read.value.notnull())


def sums(table: ir.Table, metric: str, kind: str, ends: ir.Table) -> ir.Table:
    """Return a metric's sums over periods, for the things in `ends`.

    ends: thing and time of each report that ends a period. What comes after the last one belongs to no full period.
    """
    read = table.select("thing", time=table.report_id, value=reading(table, metric, kind))
    read = read.semi_join(ends.select("thing"), "thing")
    marks = ends.select(end_thing=ends.thing, end=ends.time)
    marked = read.left_join(marks, (read.thing == marks.end_thing) & (read.time == marks.end))
    marked = marked.select("thing", "time", "value", is_end=marked.end.notnull().cast("int64"))
    before = ibis.window(group_by="thing", order_by="time", preceding=(None, 1))
    placed = marked.mutate(period=marked.is_end.sum().over(before).fill_null(0))
    periods = placed.group_by("thing", "period").agg(
        time=placed.time.max(), value=placed.value.sum(), ends=placed.is_end.max()
    )
    return periods.filter((periods.ends == 1) & periods.value.notnull()).select("thing", "time", "value")


def samples(table: ir.Table, metric: str) -> ir.Table:
    """Return for each thing how many reports carry a list, how many list a sample of it only, and the largest total."""
    entries, total = table[COLUMNS[metric]], table[TOTALS[metric]]
    listed = table.select(
        "thing", total=total, unlisted=(total - entries.length()).fill_null(0), read=entries.notnull()
    )
    listed = listed.filter(listed.read)
    is_sample = listed.unlisted > 0
    return listed.group_by("thing").agg(
        carrying=listed.count(), sampled=is_sample.sum(), most=listed.total.max(where=is_sample)
    )


def spread(points: ir.Table) -> ir.Table:
    """Return one row: how many datapoints of numbers there are, the least and the greatest."""
    return points.agg(count=points.count(), least=points.value.min(), greatest=points.value.max())


def highest_of_things(points: ir.Table, most: int) -> ir.Table:
    """Return things with their greatest values, the greatest first, `most` at most."""
    of_each = points.group_by("thing").agg(highest=points.value.max())
    return of_each.order_by(of_each.highest.desc(), of_each.thing).limit(most)


def nth(points: ir.Table, place: int) -> ir.Table:
    """Return the value at a place, from 0, in ascending order. Unlike a quantile, sorting can go to the disk."""
    return points.select("value").order_by("value").limit(1, offset=place)


def elements(points: ir.Table) -> ir.Table:
    """Return the distinct elements of lists."""
    return points.select(element=points.value.unnest()).distinct()


def element_counts(points: ir.Table) -> ir.Table:
    """Return the elements of lists: how many datapoints have each, of how many things, and on how many of these always;
    and one of these things.

    The most frequent first.
    """
    each = points.select("thing", "time", element=points.value.unnest()).distinct()
    of_thing = each.group_by("thing", "element").agg(times=each.count())
    carrying = points.group_by("thing").agg(carrying=points.count()).rename(carrier="thing")
    both = of_thing.join(carrying, of_thing.thing == carrying.carrier)
    counted = both.group_by("element").agg(
        datapoints=both.times.sum(),
        things=both.count(),
        always=(both.times == both.carrying).sum(),
        thing=both.thing.min(),
    )
    return counted.order_by(counted.datapoints.desc(), counted.element)


def at_value(points: ir.Table, value: Any, most: int) -> ir.Table:
    """Return thing and time of datapoints with a value, `most` at most."""
    return points.filter(points.value == value).select("thing", "time").limit(most)


def part(table: ir.Table, share: float, *, is_first: bool) -> ir.Table:
    """Return the first share of each thing's reports, or those after it.

    Not of its time: one report of before a clock was set can be as long before the others as those last.
    """
    window = ibis.window(group_by="thing", order_by="report_id")
    placed = table.select(
        of="thing",
        time="report_id",
        place=ibis.row_number().over(window),
        steps=table.report_id.count().over(ibis.window(group_by="thing")) - 1,
    )
    placed = placed.filter(placed.place <= placed.steps * share)
    spans = placed.group_by("of").agg(until=placed.time.max())
    joined = table.join(spans, table.thing == spans.of)
    kept = joined.filter(joined.report_id <= joined.until if is_first else joined.report_id > joined.until)
    return kept.select(*TABLE)


def violates(index: int) -> str:
    """Return the name of the column of a behavior's verdict."""
    return f"violates_{index}"


def number_verdicts(points: ir.Table, conforms: Sequence[Conforms]) -> ir.Table:
    """Return datapoints of numbers with a verdict for each behavior. conforms: conformity functions of numbers."""
    return points.mutate(**{violates(index): ~one(points.value) for index, one in enumerate(conforms)})


def list_verdicts(points: ir.Table, outside: ir.Table) -> ir.Table:
    """Return datapoints of lists with a verdict for each behavior.

    outside: the elements that are in violation of any behavior, each with its own verdicts
    """
    each = in_violation(points, outside)
    names = [name for name in outside.columns if name != "element"]
    hits = each.group_by("thing", "time").agg(**{name: each[name].any() for name in names})
    hits = hits.rename(hit_thing="thing", hit_time="time")
    joined = points.left_join(hits, (points.thing == hits.hit_thing) & (points.time == hits.hit_time))
    return joined.select("thing", "time", **{name: joined[name].fill_null(False) for name in names})


def in_violation(points: ir.Table, outside: ir.Table) -> ir.Table:
    """Return the elements of lists that are in violation, with thing and time."""
    return points.select("thing", "time", element=points.value.unnest()).join(outside, "element")


def worst_elements(points: ir.Table, outside: ir.Table, index: int, most: int) -> ir.Table:
    """Return for each thing the elements in violation of a behavior that most datapoints have, and how many.

    most: how many elements of a thing
    """
    each = in_violation(points, outside)
    each = each.filter(each[violates(index)])
    counted = each.group_by("thing", "element").agg(times=each.time.nunique())
    order = ibis.window(group_by="thing", order_by=[counted.times.desc(), counted.element])
    whole = ibis.window(group_by="thing")
    ranked = counted.mutate(rank=ibis.row_number().over(order), distinct=counted.times.count().over(whole))
    return ranked.filter(ranked["rank"] < most).order_by("thing", "rank")


def tallies(verdicts: ir.Table, names: Sequence[str]) -> ir.Table:
    """Return for each thing the number of datapoints, the time of the last, and the violations of each behavior.

    For numbers also the least and the greatest value.
    """
    extremes = {}
    if "value" in verdicts.columns:
        extremes = {"least": verdicts.value.min(), "greatest": verdicts.value.max()}
    return verdicts.group_by("thing").agg(
        datapoints=verdicts.count(),
        last=verdicts.time.max(),
        **extremes,
        **{name: verdicts.count(where=verdicts[name]) for name in names},
    )


def boundaries(verdicts: ir.Table, behaviors: Mapping[int, Behavior]) -> ir.Table:
    """Return where a run of violations or of conforming datapoints begins, by thing and time.

    behaviors: by the index of their verdict

    Columns: thing, time, before (of the datapoint before, null for the first), place (of the datapoint among the
    thing's, from 0), and for each behavior violates_N, begins_N (whether a run of this behavior begins here) and
    deciding_N: the time of the datapoint that can change the alarm, if the run is that long.
    """
    window = ibis.window(group_by="thing", order_by="time")
    names = {index: violates(index) for index in behaviors}
    places = {
        index: (deciding_place(behavior.to_alarm), deciding_place(behavior.to_clear))
        for index, behavior in behaviors.items()
    }
    time = verdicts.time
    placed = verdicts.select(
        "thing",
        "time",
        *names.values(),
        before=time.lag().over(window),
        place=ibis.row_number().over(window),
        **{
            f"ahead_{place}": time.lead(place - 1).over(window)
            for place in sorted({p for pair in places.values() for p in pair})
        },
        **{f"last_{index}": verdicts[name].lag().over(window) for index, name in names.items()},
    )
    is_late = placed.time - placed.before.fill_null(placed.time - MAX_SILENCE_SECONDS - 1) > MAX_SILENCE_SECONDS
    begins = {
        f"begins_{index}": is_late | (placed[name] != placed[f"last_{index}"]).fill_null(True)
        for index, name in names.items()
    }
    deciding = {
        f"deciding_{index}": ibis.ifelse(placed[names[index]], placed[f"ahead_{to_alarm}"], placed[f"ahead_{to_clear}"])
        for index, (to_alarm, to_clear) in places.items()
    }
    found = placed.select("thing", "time", "before", "place", *names.values(), **begins, **deciding)
    anywhere = ibis.or_(*(found[name] for name in begins))
    return found.filter(anywhere).order_by("thing", "time")


def after_silence(found: ir.Table) -> ir.Table:
    """Return thing and time of the boundaries that come after two days without a datapoint."""
    return found.filter(found.time - found.before > MAX_SILENCE_SECONDS).select("thing", "time")


def reports_before(table: ir.Table, moments: ir.Table) -> ir.Table:
    """Return the time of the last report before each moment. moments: thing, time."""
    times = table.select(of="thing", report="report_id")
    joined = times.join(moments, (times.of == moments.thing) & (times.report < moments.time))
    return joined.group_by("thing", "time").agg(before=joined.report.max())


def of_thing(points: ir.Table, thing: str) -> ir.Table:
    """Return the datapoints of a thing, oldest first."""
    return points.filter(points.thing == thing).select("thing", "time", "value").order_by("time")
