"""Figures in words are those of the committed runs of the benchmarks, in tests/bench/results/."""

from __future__ import annotations

import re

import pytest
from support.markdown import prose, text

TABLE = text("tests/bench/results/table.md")
DIRECT = text("tests/bench/results/direct.md")
ALARMS = text("tests/bench/results/alarms.md")
NATIVE = text("tests/bench/results/native.md")
INTERFACES = text("tests/bench/results/interfaces.md")
BENCH = "tests/bench/README.md"

# Numbers in the bench's README that are no result: sizes, limits and versions.
NO_RESULTS = {
    "0", "1", "2", "10", "15", "16", "32", "64", "100", "128", "129", "300", "3.10", "3.11", "20", "4", "50", "500",
    "1.4", "1,024", "2,048", "131,072", "2,000", "18,000", "36,000", "7",
}  # fmt: skip


def row(first: str, table: str = TABLE) -> list[str]:
    """Return the cells of a table's first row that begins with this cell, or cells."""
    found = re.search(rf"^\| {re.escape(first)} \| (.*) \|$", table, re.MULTILINE)
    assert found, f"the results have no row {first!r}"
    return [cell.strip() for cell in found.group(1).split("|")]


def at_18000() -> dict[str, tuple[str, str]]:
    """Return CPU in ms and times the floor by column, with 18,000 sockets."""
    floor, *others = row("18,000")
    found = {"floor": (floor, "1")}
    for name, cell in zip(("this connector", "in another network", "psutil", "agent SDK"), others, strict=True):
        ms, times = cell.rstrip("x)").split(" (")
        found[name] = (ms, times)
    return found


def test_the_small_table_is_that_of_the_run() -> None:
    rows = re.findall(r"^\| (.*?) \| ([\d,.]+) ms \| ([\d.]+) \|$", text(BENCH), re.MULTILINE)
    shown = {next(name for name in at_18000() if name in title): (ms, times) for title, ms, times in rows}
    assert shown == at_18000()


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ("README.md", "{ours} times only reading the tables | {sdk} times (measured with the SDK)"),
        ("connector/README.md", "**`psutil.net_connections`**: {psutil} times the floor at 18,000 sockets"),
        (BENCH, "it is {closed} times the floor, in another network {closed_apart}."),
        (BENCH, "a further socket adds to a sample varies by a factor of at most {linear} from 2,000 to 36,000"),
        (BENCH, "changes nothing ({descriptors} times, which is noise)"),
        (BENCH, "From the import of the handler to the first report: {start} of CPU."),
        (BENCH, "The peak with 36,000 sockets is {peak} above that with 10."),
        (BENCH, "{idle_ms} of CPU every 300 s, {idle_share} % of a processor"),
        (BENCH, "interface names of 4 characters: {cbor} as CBOR with short names."),
        (BENCH, "interface names of 15 characters and custom metrics: {json}."),
        (BENCH, "(`MaxListSize` 500) has {longest}; AWS IoT takes 131,072."),
    ],
)  # fmt: skip
def test_a_sentence_has_the_figures_of_the_run(document: str, sentence: str) -> None:
    idle = re.search(
        r"^\| share of one processor on an idle host: ([\d.]+ ms) every 300 s .*\| ([\d.]+)% \|", TABLE, re.M
    )
    descriptors = re.search(r"^\| CPU with a process of 19,800 open descriptors .*?noise \| ([\d.]+) \|", TABLE, re.M)
    assert idle
    assert descriptors
    closed = [cell.rstrip("x)").split(" (")[1] for cell in row("18,000 established, 18,000 in TIME_WAIT")[1:3]]
    wanted = sentence.format(
        closed=closed[0],
        closed_apart=closed[1],
        ours=at_18000()["this connector"][1],
        sdk=at_18000()["agent SDK"][1],
        psutil=at_18000()["psutil"][1],
        linear=row("CPU a further socket adds to a sample, the greatest over the least from 2,000 to 36,000")[1],
        descriptors=descriptors.group(1),
        start=row("CPU from import to first report handed over")[1],
        peak=row("peak memory, 36,000 less 10 sockets")[1],
        idle_ms=idle.group(1),
        idle_share=idle.group(2),
        cbor=row("CBOR, short names, full lists of 50")[1],
        json=row("JSON, long names, full lists of 50")[1],
        longest=row("the longest report there is")[1],
    )
    assert wanted in re.sub(r"\s+", " ", text(document))


@pytest.mark.parametrize("document", ["README.md", BENCH])
def test_figures_beside_the_agent_are_those_of_the_run(document: str) -> None:
    wanted = (
        f"{row('CPU of a report at 18,000 sockets, ms', DIRECT)[2]} of the CPU of AWS's agent at 18,000 sockets, "
        f"{row('resident memory at 18,000 sockets, MB', DIRECT)[2]} of its memory"
    )
    assert wanted in re.sub(r"\s+", " ", text(document))


def test_cost_of_judging_is_that_of_the_run() -> None:
    shares = [
        row(f"18,000 | sock_diag (shared network) | {profiles}", ALARMS)[1].rstrip("x")
        for profiles in ("shipped profiles without destination rules", "all shipped profiles")
    ] + [row("18,000 | sock_diag (shared network) | and every destination unknown", ALARMS)[1].rstrip("x")]
    wanted = "{} times the CPU without destination rules, {} times with all shipped profiles, {} times if every".format(
        *shares
    )
    assert wanted in re.sub(r"\s+", " ", text(BENCH))


def test_figures_of_the_native_component_are_those_of_the_run() -> None:
    ours, bare = row("resident memory at 10 sockets, MB; bare client of awsiotsdk", NATIVE)[:2]
    cpu, of_function = row("CPU of a report at 10 sockets, ms; Lambda function", NATIVE)[:2]
    bench = re.sub(r"\s+", " ", text(BENCH))
    assert f"{ours} MB resident, where a bare client of awsiotsdk has {bare}." in bench
    assert f"A report takes {cpu} ms of CPU, that of the Lambda function {of_function} ms" in bench
    direct = row("resident memory at 10 sockets, MB", DIRECT)[0]
    assert f"{float(ours):.0f} MB, of which awsiotsdk {float(bare):.0f} | {float(direct):.0f} MB |" in text("README.md")


def test_figures_beside_the_baseline_are_those_of_the_run() -> None:
    what = "everything on, 36,000 sockets, 501 interfaces"
    memory = row(f"the function, {what}, anonymous MB", INTERFACES)[2]
    start = row(f"CPU from import to first report, {what}, ms", INTERFACES)[2]
    bench = re.sub(r"\s+", " ", text(BENCH))
    assert f"takes {memory} of the memory of the build of commit b1b3de1, which had no psutil, and {start} of" in bench


def test_every_figure_of_the_bench_is_in_the_table_or_a_known_limit() -> None:
    numbers = set(re.findall(r"(?<![\w.,-])\d[\d,.]*\d|(?<![\w.,-])\d", re.sub(r"`[^`]*`", "", prose(BENCH))))
    in_table = set(re.findall(r"\d[\d,.]*\d|\d", TABLE + DIRECT + ALARMS + NATIVE + INTERFACES))
    assert numbers - in_table - NO_RESULTS == set()
