"""The native component beside a bare client of awsiotsdk, and beside the Lambda function. Run by native.sh.

Nothing here fails for being slow: targets and figures stand side by side in the table.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, NamedTuple

from bench.load import Load
from bench.measure import cpu_of
from local_core import LocalCore, LocalNucleus
from local_core.function import unpack

HERE = Path(__file__).resolve().parent
SIZES = (10, 18_000)
REPORTS = 10  # of each at each size in each round, after the first
ROUNDS = 4
WARM_UP = 3
STARTS = 5  # of the bare client
# What every component on awsiotsdk costs: connected, with the client that the SDK's own documentation uses.
BARE = """
import sys
from awsiot.greengrasscoreipc.clientv2 import GreengrassCoreIPCClientV2
client = GreengrassCoreIPCClientV2()
print("connected", flush=True)
sys.stdin.readline()
"""


class Cost(NamedTuple):
    """Of one program at one size. cpu: seconds of a report, with its answer. resident: bytes after the last."""

    cpu: float
    resident: int


def resident(pid: int) -> int:
    found = re.search(r"(?m)^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text())
    assert found
    return 1024 * int(found.group(1))


def bare_client(folder: Path) -> int:
    """Return the resident bytes of a client that is connected and idle, the median of some starts."""
    sizes = []
    with LocalNucleus(None) as nucleus:
        for _ in range(STARTS):
            environment = {**nucleus.new_environment(), "PYTHONPATH": str(folder)}
            process = subprocess.Popen(
                [sys.executable, "-B", "-c", BARE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
            )
            assert process.stdout is not None
            assert process.stdout.readline() == b"connected\n"
            time.sleep(0.2)  # until its threads rest
            sizes.append(resident(process.pid))
            process.communicate()
    return int(statistics.median(sizes))


def reporting(core: Any, pid: int) -> Cost:
    """Let a connector that has just been started report some times, once a second."""
    for _ in range(WARM_UP):
        core.wait_for_delivery()
    before = cpu_of(pid)
    for _ in range(REPORTS):
        core.wait_for_delivery()
    return Cost((cpu_of(pid) - before) / REPORTS, resident(pid))


def measure(component: Path, function: Path, directory: Path) -> Dict[int, Dict[str, Cost]]:
    """Return the costs of both by size, each the median of some rounds.

    They run one after the other, so each has the machine for itself, and take turns at being first: the first after a
    pause is often the slower one.
    """
    costs: Dict[int, Dict[str, Cost]] = {}
    for size in SIZES:
        print(f"{size:,} sockets ...", file=sys.stderr, flush=True)
        found: Dict[str, List[Cost]] = {"component": [], "function": []}
        with Load(size):
            for number in range(ROUNDS):
                for kind in sorted(found, reverse=number % 2 == 1):
                    found[kind].append(_start(kind, component if kind == "component" else function, directory))
                    for file in directory.iterdir():
                        file.unlink()
        costs[size] = {
            kind: Cost(statistics.median(one.cpu for one in each), int(statistics.median(one.resident for one in each)))
            for kind, each in found.items()
        }
    return costs


def _start(kind: str, artifact: Path, directory: Path) -> Cost:
    environment = {"StateDirectory": str(directory)}
    if kind == "component":
        with LocalNucleus(artifact, interval=1, environment=environment) as nucleus:
            assert nucleus.component is not None
            nucleus.wait_for_delivery()
            return reporting(nucleus, nucleus.component.pid)
    with LocalCore(artifact, interval=1, environment=environment) as core:
        core.wait_for_delivery()
        return reporting(core, core.pid)


def table(costs: Dict[int, Dict[str, Cost]], bare: int) -> List[str]:
    """Return the figures beside the targets, as Markdown."""
    lines = ["| | native component | beside | target | |", "|---|---:|---:|---:|---|"]
    most = 1.1 * bare / 2**20 + 3
    for size, found in costs.items():
        own = found["component"].resident / 2**20
        met = "met" if own <= most else "**missed**"
        lines.append(
            f"| resident memory at {size:,} sockets, MB; bare client of awsiotsdk | {own:,.1f} | {bare / 2**20:,.1f} | "
            f"{most:,.1f} | {met} |"
        )
    for size, found in costs.items():
        own, other = found["component"].cpu * 1000, found["function"].cpu * 1000
        met = "met" if own <= 1.1 * other else "**missed**"
        lines.append(
            f"| CPU of a report at {size:,} sockets, ms; Lambda function | {own:,.1f} | {other:,.1f} | "
            f"{1.1 * other:,.1f} | {met} |"
        )
    return lines


def main() -> int:
    """Measure, print the table and write it."""
    parser = argparse.ArgumentParser(prog="native.sh", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("component", type=Path, help="the native component's zip")
    parser.add_argument("function", type=Path, help="the Lambda function's zip")
    parser.add_argument("--output", type=Path, default=HERE / "results", help="directory (tests/bench/results)")
    options = parser.parse_args()
    os.umask(0o022)
    with tempfile.TemporaryDirectory(prefix="bench-native-") as temporary:
        folder = Path(temporary) / "artifact"
        unpack(options.component, folder)
        state = Path(temporary) / "state"
        state.mkdir()
        lines = table(measure(options.component, options.function, state), bare_client(folder))
    python = ".".join(map(str, sys.version_info[:3]))
    head = [
        "# The native component: beside a bare client of awsiotsdk, and beside the Lambda function",
        "",
        f"Each on its stand-in for a core, nucleus lite for the component, on Python {python}, a report a second. CPU "
        "is that of the process from one report to the next, with the state file and the service's answer. Memory is "
        "VmRSS after the last report; the bare client is connected and idle. Each figure is the median of some starts, "
        "taken in turns. The targets are 1.1 times the bare client and 3 MB, and 1.1 times the Lambda function.",
        "",
    ]
    text = "\n".join([*head, *lines]) + "\n"
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "native.md").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
