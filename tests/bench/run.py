"""Measure one sample under a flood beside other tools: CPU, peak memory, bytes, start, idleness. Run by run.sh.

Tools take turns, sample by sample, so that a noisy moment of the machine affects all of them; the ratios of the medians
are what counts. No figure makes the run fail: the table has the targets beside the figures.
"""

from __future__ import annotations

import argparse
import platform
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict, List

from bench import measure, tables
from bench.cgroup import Unavailable
from bench.load import MAX_SOCKETS, Load
from bench.plot import STYLES, plot
from bench.tools import TOOLS
from local_core.function import remove, unpack

HERE = Path(__file__).resolve().parent
SIZES = (10, 100, 500, 2_000, 6_000, 18_000, 36_000)
DESCRIPTORS = 20_000
TIME_WAIT = 18_000  # and as many established
MAX_ROUNDS = 200


def say(text: str) -> None:
    """Print progress."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Measure, print the table, and write it and the picture."""
    options = parse()
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        directory = Path(temporary)
        directory.chmod(0o755)
        folders = {"connector": directory / "connector"}
        unpack(options.zip, folders["connector"])
        if options.baseline:
            folders["baseline"] = directory / "baseline"
            unpack(options.baseline, folders["baseline"])
        try:
            lines = run(options, directory, folders)
        finally:
            for folder in folders.values():
                remove(folder)
    text = "\n".join(lines) + "\n"
    (options.output / "table.md").write_text(text)
    print(text)
    say(f"written to {options.output}")
    return 0


def run(options: argparse.Namespace, directory: Path, folders: Dict[str, Path]) -> List[str]:
    """Measure everything; return the lines of the table."""
    sizes, rounds = sorted(set(options.sizes)), options.rounds
    tools = [tool for tool in TOOLS if tool != "baseline" or tool in folders]
    if options.only_baseline:
        tools = ["floor", "connector", "tables", "baseline"]
    costs: tables.Sizes = {}
    for size in sizes:
        say(f"{size:,} sockets ...")
        with Load(size):
            costs[size] = measure.compare(tools, rounds, folders)
    say(f"{TIME_WAIT:,} sockets, and {TIME_WAIT:,} in TIME_WAIT ...")
    with Load(TIME_WAIT, time_wait=TIME_WAIT):
        closed = measure.compare(
            [tool for tool in ("floor", "connector", "tables", "baseline") if tool in tools], rounds, folders
        )
    say("60 s until the kernel has forgotten them ...")
    time.sleep(60)
    lines = ["# One sample under a flood", "", machine(), ""]
    lines += [
        "## CPU of one sample with closed connections, ms (times the floor)",
        "",
        *tables.time_wait(closed, TIME_WAIT),
        "",
    ]
    if options.baseline:
        say("this build and the baseline as whole functions ...")
        whole = measure.side_by_side([folders["connector"], folders["baseline"]], directory, sizes[-1])
        lines += [f"## Beside {options.baseline_name or options.baseline.name}", ""]
        lines += [*tables.side_by_side(costs, whole, sizes[-1], interfaces()), ""]
    if not options.only_baseline:
        lines += beside_others(options, directory, folders, costs, closed)
    options.output.mkdir(parents=True, exist_ok=True)
    plotted = [tool for tool in tools if tool in STYLES]
    plot(sizes, {tool: [costs[size][tool].cpu for size in sizes] for tool in plotted}, options.output / "cpu.svg")
    return lines


def beside_others(
    options: argparse.Namespace, directory: Path, folders: Dict[str, Path], costs: tables.Sizes, closed: measure.Costs
) -> List[str]:
    """Return the lines on the connector beside psutil and the agent SDK, and on its targets."""
    sizes, rounds = sorted(costs), options.rounds
    say(f"a process with {DESCRIPTORS:,} descriptors ...")
    with Load(sizes[0]):
        few = measure.compare(["floor", "connector", "psutil"], rounds, folders)
        with Load(descriptors=DESCRIPTORS) as load:
            many = measure.compare(["floor", "connector", "psutil"], rounds, folders)
    say("start and idleness of the function ...")
    start = statistics.median(measure.start_cost(options.zip, directory))
    idle = measure.idle_cost(options.zip)
    wake_ups = measure.wake_ups(options.zip)
    say(f"{sizes[-1]:,} sockets in a memory limit of 16 MB ...")
    try:
        fates, unavailable = measure.under_a_limit(options.zip, directory, sizes[-1]), ""
    except Unavailable as reason:
        fates, unavailable = [], str(reason)
    lines = ["## CPU of one sample, ms (times the floor)", "", *tables.cpu(costs), ""]
    lines += ["## Peak resident memory of a process that does nothing else, MB", "", *tables.memory(costs), ""]
    lines += [f"## In a memory cgroup of 16 MB, {sizes[-1]:,} established sockets", ""]
    lines += tables.limit(fates) if fates else [f"Not measured: {unavailable}."]
    lines += ["", "## Bytes of a report", "", *tables.wire(), "", tables.flood(costs), ""]
    lines += ["## Targets", ""]
    lines += tables.targets(
        [
            *tables.sample_targets(costs),
            tables.time_wait_target(closed, TIME_WAIT),
            tables.descriptors(few, many, load.descriptors),
            tables.start(start),
            *tables.idle(idle, wake_ups),
            *tables.wire_targets(),
        ]
    )
    return lines


def parse() -> argparse.Namespace:
    """Read the command line."""

    def number(least: int, most: int) -> Callable[[str], int]:
        def parse(text: str) -> int:
            if not (text.isdecimal() and least <= int(text) <= most):
                raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least} to {most}")
            return int(text)

        return parse

    parser = argparse.ArgumentParser(prog="run.sh", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--sizes",
        type=number(2, MAX_SOCKETS),
        nargs="+",
        default=SIZES,
        metavar="N",
        help=f"established sockets, 2 to {MAX_SOCKETS:,}",
    )
    parser.add_argument(
        "--rounds",
        type=number(1, MAX_ROUNDS),
        default=25,
        metavar="N",
        help=f"samples of each tool at a size, 1 to {MAX_ROUNDS} (25)",
    )
    parser.add_argument("--output", type=Path, default=HERE / "results", help="directory (tests/bench/results)")
    parser.add_argument("--zip", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--baseline", type=Path, metavar="ZIP", help="another build, to measure side by side")
    parser.add_argument("--baseline-name", metavar="TEXT", help="what the table calls it (the name of the file)")
    parser.add_argument("--only-baseline", action="store_true", help="leave out psutil, the agent SDK and the targets")
    options = parser.parse_args()
    if options.only_baseline and not options.baseline:
        parser.error("--only-baseline needs --baseline ZIP")
    for path in filter(None, (options.zip, options.baseline)):
        if not path.is_file():
            parser.error(f"there is no file {path}")
    return options


def interfaces() -> int:
    """Return how many network interfaces there are."""
    return len(Path("/proc/net/dev").read_text().splitlines()) - 2


def machine() -> str:
    """Return a sentence about the machine."""
    cpus = re.findall(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    names: List[str] = sorted(set(cpus)) or [platform.machine()]
    return (
        f"{len(cpus) or '?'} processors ({', '.join(names)}), Linux {platform.release().partition('-')[0]}, Python "
        f"{platform.python_version()}. Half of the sockets are IPv4, half IPv6; a connection on loopback has two. "
        "The floor only reads the kernel's four tables in blocks of 64 KB."
    )


if __name__ == "__main__":
    sys.exit(main())
