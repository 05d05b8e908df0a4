"""The measurements as Markdown tables."""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Sequence

from bench.measure import Costs, Fate, Whole
from bench.reports import full_report

from connector.encode import encode

Sizes = Dict[int, Costs]  # by number of established sockets
TITLES = {
    "connector": "this connector",
    "tables": "in another network",
    "psutil": "psutil.net_connections",
    "agent SDK": "AWS agent SDK",
}
INTERVAL = 300  # seconds between reports
MEGABYTE = 1 << 20
FORMATS = (("cbor", True), ("cbor", False), ("json", True), ("json", False))


class Target(NamedTuple):
    """A target and the figure for it."""

    what: str
    wanted: str
    measured: str
    met: bool


def cpu(sizes: Sizes) -> List[str]:
    """Return the table of a sample's CPU, in milliseconds and as a multiple of the floor."""
    rows = []
    for size, costs in sizes.items():
        floor = costs["floor"].cpu
        row = [f"{size:,}", _milliseconds(floor)]
        for tool in TITLES:
            ratio = costs[tool].cpu / floor
            row.append(f"{_milliseconds(costs[tool].cpu)} ({ratio:,.{2 if ratio < 10 else 0}f}x)")
        rows.append(row)
    return _table(["established sockets", "floor", *TITLES.values()], rows)


def time_wait(costs: Costs, number: int) -> List[str]:
    """Return the table of a sample's CPU with sockets in TIME_WAIT besides. number: of each kind"""
    names = {"connector": "this connector", "tables": "in another network", "baseline": "baseline"}
    tools = [name for name in names if name in costs]
    floor = costs["floor"].cpu
    cells = [f"{_milliseconds(costs[tool].cpu)} ({costs[tool].cpu / floor:.2f}x)" for tool in tools]
    header = ["sockets", "floor", *[names[tool] for tool in tools]]
    return _table(header, [[f"{number:,} established, {number:,} in TIME_WAIT", _milliseconds(floor), *cells]])


def memory(sizes: Sizes) -> List[str]:
    """Return the table of the processes' peak memory, in MB."""
    rows = [[f"{size:,}", *[f"{costs[tool].peak / MEGABYTE:.1f}" for tool in TITLES]] for size, costs in sizes.items()]
    return _table(["established sockets", *TITLES.values()], rows)


def side_by_side(sizes: Sizes, whole: Sequence[Whole], sockets: int, interfaces: int) -> List[str]:
    """Return the table of this build beside the baseline: figures and their ratio.

    whole: of this build and of the baseline; sockets, interfaces: that there were for the last two rows
    """
    ours, baseline = whole
    rows = []
    for size, costs in sizes.items():
        new, old = costs["connector"], costs["baseline"]
        rows.append([f"CPU of one sample, {size:,} sockets, ms", *_pair(1000 * new.cpu, 1000 * old.cpu)])
        rows.append(
            [f"its process, {size:,} sockets, anonymous MB", *_pair(new.anonymous / MEGABYTE, old.anonymous / MEGABYTE)]
        )
    rows.append(["CPU from import to first report, ms", *_pair(1000 * ours.start, 1000 * baseline.start)])
    rows.append(["CPU of one report on an idle host, ms", *_pair(1000 * ours.cycle, 1000 * baseline.cycle)])
    what = f"everything on, {sockets:,} sockets, {interfaces} interfaces"
    full_start = _pair(1000 * ours.full_start, 1000 * baseline.full_start)
    rows.append([f"CPU from import to first report, {what}, ms", *full_start])
    rows.append([f"the function, {what}, anonymous MB", *_pair(ours.memory / MEGABYTE, baseline.memory / MEGABYTE)])
    return _table(["what", "this build", "baseline", "ratio"], rows)


def _pair(ours: float, baseline: float) -> List[str]:
    return [f"{ours:,.1f}", f"{baseline:,.1f}", f"{ours / baseline:.2f}"]


def limit(fates: Sequence[Fate]) -> List[str]:
    """Return the table of the runs under a memory limit."""
    return _table(["what ran", "outcome"], [[fate.who, fate.said] for fate in fates])


def wire() -> List[str]:
    """Return the table of the bytes of reports whose lists are full."""
    rows = []
    for size, interface, custom in ((50, "eth0", False), (50, "a" * 15, True), (500, "a" * 15, True)):
        what = f"{size} entries, interface names of {len(interface)} characters" + ", custom metrics" * custom
        lengths = [len(encode(full_report(size, interface, short, custom), name)) for name, short in FORMATS]
        rows.append([what, *[f"{length:,}" for length in lengths]])
    header = [f"{name.upper()}, {'short' if short else 'long'} names" for name, short in FORMATS]
    return _table(["all three lists full of the longest addresses", *header], rows)


def flood(sizes: Sizes) -> str:
    """Return a sentence on the bytes of the reports with the most sockets."""
    most = max(sizes)
    ours, sdk = (sizes[most][tool].bytes for tool in ("connector", "agent SDK"))
    return (
        f"As measured with {most:,} sockets, on loopback, where addresses are short, in JSON with long names: {ours:,} "
        f"bytes; the agent SDK {sdk:,}."
    )


def targets(found: Sequence[Target]) -> List[str]:
    """Return the table of targets."""
    rows = [[target.what, target.wanted, target.measured, "yes" if target.met else "**no**"] for target in found]
    return _table(["what", "wanted", "measured", "met"], rows)


def sample_targets(sizes: Sizes) -> List[Target]:
    """Return the targets for CPU and memory that these sizes allow to check."""
    found = []
    if 18_000 in sizes:
        costs = sizes[18_000]
        ours = costs["connector"].cpu
        to_floor, sdk, psutil = ours / costs["floor"].cpu, costs["agent SDK"].cpu / ours, costs["psutil"].cpu / ours
        apart = costs["tables"].cpu / costs["floor"].cpu
        found += [
            Target("CPU at 18,000 sockets over the floor's", "<= 0.55", f"{to_floor:.2f}", to_floor <= 0.55),
            Target("the same in another network", "<= 1.15", f"{apart:.2f}", apart <= 1.15),
            Target("the agent SDK's CPU over this at 18,000", ">= 250", f"{sdk:.0f}", sdk >= 250),
            Target("psutil's CPU over this at 18,000", ">= 5", f"{psutil:.1f}", psutil >= 5),
        ]
    idle, most = min(sizes), max(sizes)
    start = sizes[idle]["connector"]
    # From one size to the next, as the first sockets also fill the sample: that is a fixed part of every larger one.
    large = [size for size in sorted(sizes) if size >= 2_000]
    added = [
        (sizes[size]["connector"].cpu - sizes[before]["connector"].cpu) / (size - before)
        for before, size in zip(large, large[1:])
    ]
    if len(added) > 1:
        spread = max(added) / min(added)
        what = f"CPU a further socket adds to a sample, the greatest over the least from 2,000 to {most:,}"
        found.append(Target(what, "<= 1.3", f"{spread:.2f}", spread <= 1.3))
    if most > idle:
        more = (sizes[most]["connector"].peak - start.peak) / MEGABYTE
        found.append(Target(f"peak memory, {most:,} less {idle:,} sockets", "<= 1 MB", f"{more:.2f} MB", more <= 1))
    return found


def time_wait_target(costs: Costs, number: int) -> Target:
    """Return the claim on sockets in TIME_WAIT."""
    ratio = costs["connector"].cpu / costs["floor"].cpu
    return Target(
        f"CPU with {number:,} in TIME_WAIT besides, over the floor's", "<= 0.37", f"{ratio:.2f}", ratio <= 0.37
    )


def descriptors(few: Costs, many: Costs, number: int) -> Target:
    """Return the target that open descriptors cost nothing, from the costs without and with some of them."""
    ours, psutil = (
        (many[tool].cpu / many["floor"].cpu) / (few[tool].cpu / few["floor"].cpu) for tool in ("connector", "psutil")
    )
    what = f"CPU with a process of {number:,} open descriptors over that without (psutil: {psutil:.1f})"
    return Target(what, "1, within noise", f"{ours:.2f}", ours <= 1.15)


def start(seconds: float) -> Target:
    """Return the target for the start."""
    return Target("CPU from import to first report handed over", "<= 0.25 s", f"{seconds:.2f} s", seconds <= 0.25)


def idle(cycle: float, wake_ups: int) -> List[Target]:
    """Return the targets for an idle host.

    cycle: CPU of one report, seconds
    wake_ups: between two reports
    """
    share = cycle / INTERVAL
    what = f"share of one processor on an idle host: {1000 * cycle:.1f} ms every {INTERVAL} s"
    return [
        Target(what, "< 0.01 %", f"{share:.4%}", share < 1e-4),
        Target("wake-ups between two reports, in 10 s", "0", str(wake_ups), wake_ups == 0),
    ]


def wire_targets() -> List[Target]:
    """Return the targets for the bytes of a report."""
    small = len(encode(full_report(50, "eth0", True, False), "cbor"))
    long = len(encode(full_report(50, "a" * 15, False, True), "json"))
    longest = len(encode(full_report(500, "a" * 15, False, True), "json"))
    return [
        Target("CBOR, short names, full lists of 50", "<= 5 KB", f"{small:,} bytes", small <= 5 << 10),
        Target("JSON, long names, full lists of 50", "<= 12 KB", f"{long:,} bytes", long <= 12 << 10),
        Target("the longest report there is", "< 128 KB", f"{longest:,} bytes", longest < 128 << 10),
    ]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> List[str]:
    lines = ["| " + " | ".join(header) + " |", "|" + "|".join(["---"] + ["---:"] * (len(header) - 1)) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.{0 if seconds > 0.1 else 1}f}"
