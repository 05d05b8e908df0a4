"""Recordings of a fleet as a table: any number of files, in any of their forms, read into DuckDB.

    reports(
      thing VARCHAR,              -- never NULL
      report_id BIGINT,           -- time of the report, epoch seconds; never NULL
      bytes_in, bytes_out, packets_in, packets_out BIGINT,   -- NULL: not in the report; 0 to 2^63 - 1
      tcp_connections BIGINT,     -- total of the established ones
      tcp_ports_total BIGINT, udp_ports_total BIGINT,
      tcp_ports INTEGER[], udp_ports INTEGER[],   -- as listed, with repetitions; NULL: not in the report; []: none
      destinations VARCHAR[],     -- remote addresses as listed, without ports, as inet_ntop() writes them
      -- custom metrics by type; NULL: none of that type
      numbers MAP(VARCHAR, DOUBLE), number_lists MAP(VARCHAR, DOUBLE[]),
      string_lists MAP(VARCHAR, VARCHAR[]), ip_lists MAP(VARCHAR, VARCHAR[]))

Each (thing, report_id) is there once. Rows are in no order. A sum over reports can exceed BIGINT: sum() gives HUGEINT.
How many elements a list leaves out is its total less its length, where the total is there and is greater. An integer
among custom metrics is a DOUBLE here and an int in reports.py; they are equal where a double can hold it.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import sniff, worker
from .errors import DetectionError, InputError
from .places import places
from .progress import Progress
from .record_counts import RecordCounts
from .reports import TABLE
from .spans import SEQUENCE, Outcome, Skipped, Span

if TYPE_CHECKING:
    import duckdb

TASK_BYTES = 32 * 2**20  # of files, that a process reads at a time, at most
MIN_TASK_BYTES = 8 * 2**20
TASKS = 4  # for each process, at least: then none reads long after the others are done
MIN_PARALLEL_BYTES = 16 * 2**20  # less is read sooner than processes start
PROCESS_BYTES = 48 * 2**20  # a process for so many: each takes 75 MB and a sixth of a second, whatever it reads
MAX_BOUNDARY_SEARCH_BYTES = 2**19  # a document has 128 KB at most, or a third more in base64
MAX_NAMED = 1000  # records whose line is looked up

_BOUNDARY = b"}\n{"  # can't be inside a document: a string has no line end, and braces of one document no comma less


@dataclass(frozen=True)
class Source:
    """Which recordings, and whose they are.

    paths: files, folders and globs, as of sniff.find()
    thing_field: the field that names the thing; None: `thing`, where there is one
    thing_from: finds the thing in the path of a file
    strict: a record that can't be read is an error, but not one that is cut off at the end of its file
    """

    paths: tuple[str, ...]
    thing_field: str | None = None
    thing_from: re.Pattern[str] | None = None
    strict: bool = False


@dataclass(frozen=True)
class Recordings:
    """What was read.

    connection: has the view `reports`, as this module's docstring says
    account: what became of each record
    """

    connection: duckdb.DuckDBPyConnection
    account: RecordCounts

    def write(self, folder: Path) -> None:
        """Write the reports as Parquet, for another engine or to be read again in a fraction of the time.

        folder: it is made. Its files have the columns above, ordered by thing and report_id, a report once.

        Raises InputError where it exists or can't be written. Without all reports in it, it is removed again.
        """
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise InputError(f"{folder}: {error.strerror}") from error
        path = str(folder / "reports.parquet")
        quoted = path.replace("'", "''")
        try:
            self.connection.execute(
                f"COPY (SELECT * FROM reports ORDER BY thing, report_id) TO '{quoted}'"
                " (FORMAT parquet, COMPRESSION zstd)"
            )
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, Exception) and path in str(error):  # not what DuckDB keeps in the temporary folder
                number = re.search(r'"errno":"(\d+)"', str(error))
                raise InputError(f"{folder}: {os.strerror(int(number[1])) if number else error}") from error
            raise


def read(
    source: Source,
    folder: Path,
    processes: int | None = None,
    memory_megabytes: int = 500,
    meanwhile: Callable[[], object] = lambda: None,
) -> Recordings:
    """Read recordings.

    folder: an empty folder, where the rows are kept while they are used
    processes: how many read at a time; None: one for each processor
    memory_megabytes: what DuckDB may take
    meanwhile: called once, when other processes read or before this one does; what it raises ends the reading

    Raises InputError where there is no report, a path can't be used, or with `strict` a record can't be read.
    """
    files = sniff.find(source.paths, source.thing_from)
    devices = sniff.file_things(file.path for file in files)
    processes = processes or _processors()
    spans = [Span(file, number, devices[file.path]) for number, file in enumerate(files)]
    tasks = list(_tasks(spans, _task_bytes(sum(span.size for span in spans), processes)))
    parts: list[Path] = []
    outcomes: list[Outcome] = []
    for part, outcome in _run(tasks, folder, source.thing_field, processes, meanwhile):
        outcomes.append(outcome)
        if outcome.has_rows:
            parts.append(part)
    skipped = _named(files, [one for outcome in outcomes for one in outcome.skipped])
    skipped_count = sum(outcome.skipped_count for outcome in outcomes)
    if source.strict and skipped_count:
        more = [f"{skipped_count - len(skipped):,} more"] if skipped_count > len(skipped) else []
        raise InputError("\n".join([*skipped, *more]))
    torn = _named(files, [one for outcome in outcomes for one in outcome.torn])
    if not parts:
        raise InputError("\n".join([*skipped[:20], *torn[:20], _nothing(source)]))
    connection = connect(folder, processes, memory_megabytes)
    kept, doubled, differing, things = _merge(connection, parts)
    account = RecordCounts(
        files=len(files),
        found=sum(outcome.found for outcome in outcomes),
        kept=kept,
        doubled=doubled,
        differing=differing,
        skipped_count=skipped_count,
        skipped=tuple(skipped),
        torn_count=sum(len(outcome.torn) for outcome in outcomes),
        torn=tuple(torn),
        things=things,
    )
    if not account.adds_up:
        raise AssertionError(f"records were lost while reading: {account}")
    return Recordings(connection, account)


def _processors() -> int:
    """Return how many processors this process may use; where the system does not say, as macOS, how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def connect(folder: Path, threads: int, memory_megabytes: int) -> duckdb.DuckDBPyConnection:
    """Return DuckDB in memory, that spills into the folder."""
    import duckdb  # late, as everything that takes long: other processes read in the meantime

    connection = duckdb.connect(
        config={
            "threads": threads,
            "memory_limit": f"{memory_megabytes}MB",
            "temp_directory": str(folder / "spilled"),
            "preserve_insertion_order": False,
        }
    )
    connection.execute("SET GLOBAL parquet_metadata_cache = true")  # each step reads the parts, which stay as they are
    return connection


def _nothing(source: Source) -> str:
    paths = ", ".join(source.paths)
    return f"{paths}: no reports; record some with: python -m connector -n 288 -s 300 > reports.jsonl"


def _task_bytes(size: int, processes: int) -> int:
    """Return how much of files of a size a process reads at a time."""
    return min(TASK_BYTES, max(MIN_TASK_BYTES, size // (TASKS * processes)))


def _tasks(spans: Iterable[Span], task_bytes: int) -> Iterator[list[Span]]:
    """Yield spans that are read together, about task_bytes; a large file is divided where that is possible."""
    task: list[Span] = []
    size = 0
    for span in spans:
        for part in _divided(span, task_bytes):
            task.append(part)
            size += part.size
            if size >= task_bytes:
                yield task
                task, size = [], 0
    if task:
        yield task


def _divided(span: Span, task_bytes: int) -> Iterator[Span]:
    recording = span.recording
    start = 0
    if recording.kind == sniff.TEXT and not recording.compressed and recording.size > 2 * task_bytes:
        with recording.path.open("rb") as file:
            nominal = task_bytes
            while nominal < recording.size - task_bytes // 2:
                file.seek(nominal)
                found = file.read(MAX_BOUNDARY_SEARCH_BYTES).find(_BOUNDARY)
                if found >= 0:
                    end = nominal + found + len(_BOUNDARY) - 1
                    yield Span(recording, span.number, span.device, start, end)
                    start = nominal = end
                nominal += task_bytes
    yield Span(recording, span.number, span.device, start)


def _run(
    tasks: Sequence[list[Span]], folder: Path, thing_field: str | None, processes: int, meanwhile: Callable[[], object]
) -> Iterator[tuple[Path, Outcome]]:
    parts = [folder / f"part-{number}.parquet" for number in range(len(tasks))]
    size = sum(span.size for task in tasks for span in task)
    if processes == 1 or size < MIN_PARALLEL_BYTES:
        meanwhile()
        with Progress("reading", size) as progress:
            for task, part in zip(tasks, parts):
                yield part, worker.read(task, part, thing_field)
                progress.advance(sum(span.size for span in task))
        return
    # Not forked: a process that has threads can't be, and Arrow and DuckDB have.
    context = multiprocessing.get_context("spawn")
    workers = max(1, min(processes, len(tasks), size // PROCESS_BYTES))
    with ProcessPoolExecutor(workers, context, worker.prepare) as pool:
        try:
            with _interrupts_held_back():
                futures = {
                    pool.submit(worker.read, task, part, thing_field): (task, part) for task, part in zip(tasks, parts)
                }
            meanwhile()
            with Progress("reading", size) as progress:
                for future in as_completed(futures):
                    task, part = futures[future]
                    yield part, future.result()
                    progress.advance(sum(span.size for span in task))
        except BrokenProcessPool as error:
            raise DetectionError(
                "a process that read recordings was ended from outside, as happens where memory runs out"
            ) from error
        except BaseException:
            for process in multiprocessing.active_children():  # what it reads is wanted no more: don't wait for it
                process.terminate()
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Hold Ctrl-C back until the end. Processes that are started here are never interrupted by it.

    A terminal interrupts all processes; those would each say where they were. The one that started them ends them.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _merge(connection: duckdb.DuckDBPyConnection, parts: Sequence[Path]) -> tuple[int, int, int, int]:
    """Make the view `reports` of the parts, without what is there twice.

    Returns how many are kept, doubled and differing, as of RecordCounts, and how many things there are.
    """
    rows = f"read_parquet({[str(part) for part in parts]!r})"
    columns = ", ".join(TABLE)
    connection.execute(
        f"""CREATE TABLE first AS SELECT thing, report_id, min({SEQUENCE}) AS {SEQUENCE}
        FROM {rows} GROUP BY thing, report_id HAVING count(*) > 1"""
    )
    doubled, differing = 0, 0
    where = ""
    if _one(connection, "SELECT count(*) FROM first"):
        connection.execute(
            f"""CREATE TABLE doubled AS SELECT later.{SEQUENCE}, first.{SEQUENCE} AS kept
            FROM {rows} AS later JOIN first USING (thing, report_id) WHERE later.{SEQUENCE} > first.{SEQUENCE}"""
        )
        doubled = _one(connection, "SELECT count(*) FROM doubled")
        differing = _one(
            connection,
            f"""SELECT count(*) FROM doubled
            JOIN (SELECT {SEQUENCE}, hash({columns}) AS said FROM {rows}) AS later USING ({SEQUENCE})
            JOIN (SELECT {SEQUENCE} AS kept, hash({columns}) AS said FROM {rows}) AS earlier USING (kept)
            WHERE later.said != earlier.said""",
        )
        where = f"WHERE {SEQUENCE} NOT IN (SELECT {SEQUENCE} FROM doubled)"
    connection.execute(f"CREATE VIEW reports AS SELECT {columns} FROM {rows} {where}")
    found = _one(connection, f"SELECT count(*) FROM {rows}")
    things = _one(connection, f"SELECT count(DISTINCT thing) FROM {rows}")
    return found - doubled, doubled, differing, things


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    ((value,),) = connection.execute(query).fetchall()  # all: the connection does nothing else while rows are left
    return int(value)


def _named(files: Sequence[sniff.Recording], skipped: Iterable[Skipped]) -> list[str]:
    """Return "PLACE: REASON" of records, in the order of files and places; of MAX_NAMED at most."""
    ordered = sorted(skipped)[:MAX_NAMED]
    named: list[str] = []
    for number, group in itertools.groupby(ordered, key=lambda one: one.number):
        ones = list(group)
        where = places(files[number], [one.place for one in ones])
        named += [f"{place}: {one.reason}" for place, one in zip(where, ones)]
    return named
