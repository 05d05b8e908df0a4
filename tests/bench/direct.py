"""This connector's `run` beside AWS's agent 2.0.0, both connected to one broker. Run by direct.sh.

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
from typing import Dict, List, NamedTuple, Tuple

from bench.load import Load
from support.broker import Broker
from support.pki import Authority, Pair

HERE = Path(__file__).resolve().parent
SIZES = (10, 18_000)
IDLE_SECONDS = 60.0
REPORTS = 3  # of each agent at each size, after the first
MAX_WAIT_SECONDS = 300.0
THINGS = ("connector", "peer")
ACL = "\n".join(f"user {thing}\ntopic readwrite #\ntopic readwrite $aws/#" for thing in THINGS)

# AWS's agent connects to port 8883 only, and its report is one of a loop without end. Both agents report each time a
# line comes on stdin; everything else is what their command lines start.
PEER = """
import sys, time
from awsiot import mqtt_connection_builder
from AWSIoTDeviceDefenderAgentSDK import agent
connect = mqtt_connection_builder.mtls_from_path
port = int(sys.argv.pop(1))
mqtt_connection_builder.mtls_from_path = lambda **options: connect(port=port, **options)
def sleep(seconds):
    if seconds > 100:
        sys.stdin.readline()
agent.sleep = sleep
agent.main()
"""
CONNECTOR = """
import sys
from connector import clock
class Clock(clock.Clock):
    def wait(self, seconds):
        if seconds > 100:  # to the next report, not to an acknowledgement
            sys.stdin.readline()
            self.ahead = getattr(self, "ahead", 0.0) + seconds
        else:
            super().wait(seconds)
    def monotonic(self):
        return super().monotonic() + getattr(self, "ahead", 0.0)
from connector import agent
agent.Clock = Clock
from connector.__main__ import main
sys.exit(main())
"""


class Cost(NamedTuple):
    """Of one agent at one size. cpu: seconds of a report, the median. resident: bytes after the last."""

    cpu: float
    resident: int


class Agent:
    """One agent's process, connected to the broker."""

    def __init__(self, command: List[str]) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/"
        )

    def report(self) -> None:
        """Have it make one report."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    @property
    def cpu(self) -> float:
        """CPU seconds so far, to the nanosecond: the clock that clock_getcpuclockid(3) names."""
        return time.clock_gettime((~self._process.pid << 3) | 2)

    @property
    def resident(self) -> int:
        return 1024 * self._numbers("VmRSS")

    @property
    def wake_ups(self) -> int:
        """How often its threads have given up a processor to wait."""
        return self._numbers("voluntary_ctxt_switches")

    def _numbers(self, name: str) -> int:
        """Return a number of the process' status; of counters, the sum over its threads."""
        folder = Path(f"/proc/{self._process.pid}")
        paths = [folder / "status"] if name == "VmRSS" else list(folder.glob("task/*/status"))
        found = [re.search(rf"(?m)^{name}:\s+(\d+)", path.read_text()) for path in paths]
        return sum(int(one.group(1)) for one in found if one)

    def end(self) -> None:
        self._process.terminate()
        self._process.wait(30)


def start(broker: Broker, authority: Authority, pairs: Dict[str, Pair]) -> Dict[str, Agent]:
    """Start both agents; return once each has published or, as the peer does not at first, subscribed."""
    connector = [
        *(sys.executable, "-c", CONNECTOR, "run", "--endpoint=localhost", f"--port={broker.port}"),
        *("--thing-name=connector", f"--cert={pairs['connector'].cert}", f"--key={pairs['connector'].key}"),
        f"--ca-file={authority.file}",
    ]
    peer = [
        *(sys.executable, "-c", PEER, str(broker.port), "-e", "localhost", "-r", str(authority.file)),
        *("-c", str(pairs["peer"].cert), "-k", str(pairs["peer"].key), "-id", "peer", "-f", "json", "-i", "300"),
    ]
    agents = {"connector": Agent(connector), "peer": Agent(peer)}
    for thing, words in (("connector", "PUBLISH"), ("peer", "SUBSCRIBE")):
        wait_for(broker, f"Received {words} from {thing}", 1 if thing == "connector" else 2)
    time.sleep(5)  # the peer waits for 2 s after it has connected, then makes its first sample
    return agents


def wait_for(broker: Broker, words: str, times: int) -> None:
    end = time.monotonic() + MAX_WAIT_SECONDS
    while broker.text().count(words) < times:
        if time.monotonic() > end:
            raise SystemExit(f"direct.sh: not in the broker's log {times} times: {words}")
        time.sleep(0.05)


def cost(agent: Agent, broker: Broker, thing: str) -> Cost:
    """Let an agent report some times. The first report at a size does not count: it warms up."""
    published = f"Received PUBLISH from {thing}"
    seconds = []
    for _ in range(1 + REPORTS):
        before, cpu = broker.text().count(published), agent.cpu
        agent.report()
        wait_for(broker, published, before + 1)
        time.sleep(0.5)  # until the acknowledgement is handled, too
        seconds.append(agent.cpu - cpu)
    return Cost(statistics.median(seconds[1:]), agent.resident)


def idle(agents: Dict[str, Agent]) -> Dict[str, int]:
    """Return how often each agent was woken in a minute between two reports."""
    time.sleep(2)
    before = {thing: agent.wake_ups for thing, agent in agents.items()}
    time.sleep(IDLE_SECONDS)
    return {thing: agent.wake_ups - before[thing] for thing, agent in agents.items()}


def measure(directory: Path) -> Tuple[Dict[int, Dict[str, Cost]], Dict[str, int]]:
    authority = Authority(directory)
    pairs = {thing: authority.issue(thing) for thing in THINGS}
    broker = Broker(directory, authority, ACL).start()
    try:
        costs = {}
        for size in SIZES:
            print(f"{size:,} sockets ...", file=sys.stderr, flush=True)
            agents = start(broker, authority, pairs)
            try:
                with Load(size):
                    costs[size] = {thing: cost(agent, broker, thing) for thing, agent in agents.items()}
                if size == SIZES[0]:
                    print("a minute of rest ...", file=sys.stderr, flush=True)
                    wake_ups = idle(agents)
            finally:
                for agent in agents.values():
                    agent.end()
            broker.stop()
            broker.log.unlink()
            broker.start()
        return costs, wake_ups
    finally:
        broker.stop()


def table(costs: Dict[int, Dict[str, Cost]], wake_ups: Dict[str, int]) -> List[str]:
    """Return the figures beside the targets, as Markdown."""
    few, many = (costs[size] for size in SIZES)
    rows = [
        (
            f"CPU of a report at {SIZES[1]:,} sockets, ms",
            many["connector"].cpu * 1000,
            many["peer"].cpu * 1000,
            1 / 250,
        ),
        *(
            (
                f"resident memory at {size:,} sockets, MB",
                one["connector"].resident / 2**20,
                one["peer"].resident / 2**20,
                most,
            )
            for size, one, most in ((SIZES[0], few, 0.85), (SIZES[1], many, 0.5))
        ),
        ("wake-ups in an idle minute", float(wake_ups["connector"]), float(wake_ups["peer"]), 1.0),
    ]
    lines = ["| | this connector | AWS's agent 2.0.0 | ratio | target | |", "|---|---:|---:|---:|---:|---|"]
    for name, own, other, most in rows:
        ratio = own / other if other else float("inf") if own else 0.0
        shown = (
            (f"1/{1 / ratio:,.0f}", f"1/{1 / most:,.0f}") if most < 0.1 and ratio else (f"{ratio:.2f}", f"{most:.2f}")
        )
        met = "met" if ratio <= most else "**missed**"
        lines.append(f"| {name} | {own:,.1f} | {other:,.1f} | {shown[0]} | {shown[1]} | {met} |")
    return lines


def main() -> int:
    """Measure, print the table and write it."""
    parser = argparse.ArgumentParser(prog="direct.sh", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=HERE / "results", help="directory (tests/bench/results)")
    options = parser.parse_args()
    os.umask(0o022)
    with tempfile.TemporaryDirectory(prefix="bench-direct-") as temporary:
        lines = table(*measure(Path(temporary)))
    python = ".".join(map(str, sys.version_info[:3]))
    head = [
        "# Without Greengrass: beside AWS's agent 2.0.0",
        "",
        f"Both are connected to one mosquitto with mutual TLS, on Python {python}. CPU is that of the process from the "
        "moment a report is due until its acknowledgement is handled. Memory is VmRSS after the last report at a size.",
        "",
    ]
    text = "\n".join([*head, *lines]) + "\n"
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "direct.md").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
