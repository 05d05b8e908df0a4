"""What is measured: the tools side by side, and the function as a whole in a local core."""

from __future__ import annotations

import json
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence

from bench.cgroup import MemoryGroup
from bench.load import Load
from local_core import FunctionError, LocalCore

from connector.config import CUSTOM_METRICS

HERE = Path(__file__).resolve().parent
PATIENCE = 25.0  # seconds of CPU that a tool may have at a size; it gets one sample at least
CORE_LIMIT = 16 << 20  # bytes; what a core gives a function where nobody says otherwise
CYCLES = 30
STARTS = 7
# What others do for a sample, by the package that it takes.
PEERS = {
    "psutil": "import psutil; psutil.net_connections('inet')",
    "AWSIoTDeviceDefenderAgentSDK": "from AWSIoTDeviceDefenderAgentSDK.collector import Collector; "
    "Collector().collect_metrics().to_json_string()",
}


class Cost(NamedTuple):
    """Of one tool at one size. cpu: seconds, the median of `samples`. peak, anonymous: bytes, of its whole process."""

    cpu: float
    samples: int
    peak: int
    anonymous: int
    bytes: Optional[int]


Costs = Dict[str, Cost]  # by tool


class Tool:
    """A tool's process. It ends when its stdin does, which is when this process ends at the latest."""

    def __init__(self, name: str) -> None:
        command = [sys.executable, str(HERE / "tools.py"), name]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answers: List[Dict[str, float]] = []
        self._spent = 0.0

    def sample(self) -> None:
        """Have it take a sample, unless it has had its time."""
        if self._spent > PATIENCE:
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._answers.append(json.loads(self._process.stdout.readline()))
        self._spent += self._answers[-1]["cpu"]

    def end(self) -> Cost:
        """Return what its samples cost; the first, which also warms up, counts only where there are no more."""
        self._process.communicate()
        counted = self._answers[1:] or self._answers
        last = self._answers[-1]
        cpu = statistics.median(answer["cpu"] for answer in counted)
        size = None if last["bytes"] is None else int(last["bytes"])
        return Cost(cpu, len(counted), int(last["peak"]), int(last["anonymous"]), size)


def compare(names: Sequence[str], rounds: int) -> Costs:
    """Let tools take turns and return what a sample of each costs."""
    tools = {name: Tool(name) for name in names}
    for _ in range(1 + rounds):
        for tool in tools.values():
            tool.sample()
    return {name: tool.end() for name, tool in tools.items()}


def cpu_of(pid: int) -> float:
    """Return the CPU seconds of another process, to the nanosecond: the clock that clock_getcpuclockid(3) names."""
    return time.clock_gettime((~pid << 3) | 2)


def start_cost(artifact: Path, directory: Path) -> List[float]:
    """Return CPU seconds from the import of the handler to the first report in the core's hands, of several starts.

    That is the function's process at that moment, less the process of a function that does nothing.
    """
    nothing = directory / "nothing" / "connector"
    nothing.mkdir(parents=True)
    (nothing / "handler.py").write_text("def function_handler(event, context):\n    pass\n")
    return [_cpu_at_first_report(artifact) - _cpu_at_rest(nothing.parent) for _ in range(STARTS)]


def _cpu_at_first_report(artifact: Path) -> float:
    seen: List[float] = []
    core = LocalCore(artifact, on_delivery=lambda delivery: seen.append(cpu_of(core.pid)))
    with core:
        core.wait_for_delivery()
    return seen[0]


def _cpu_at_rest(artifact: Path) -> float:
    with LocalCore(artifact) as core:
        return cpu_of(core.pid)


def idle_cost(artifact: Path, cycles: int = 20) -> float:
    """Return the CPU seconds of a cycle on an idle host: sample, report, and the service's answer."""
    with LocalCore(artifact, interval=1) as core:
        for _ in range(3):
            core.wait_for_delivery()
        before = cpu_of(core.pid)
        for _ in range(cycles):
            core.wait_for_delivery()
        return (cpu_of(core.pid) - before) / cycles


def wake_ups(artifact: Path, seconds: float = 10.0) -> int:
    """Return how often any thread of the function was given a processor between two reports."""
    with LocalCore(artifact) as core:
        core.wait_for_delivery()
        time.sleep(2.0)  # the service's answer is read
        before = _switches(core.pid)
        time.sleep(seconds)
        return _switches(core.pid) - before


def _switches(pid: int) -> int:
    texts = (path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status"))
    return sum(int(number) for text in texts for number in re.findall(r"voluntary_ctxt_switches:\s+(\d+)", text))


class Fate(NamedTuple):
    """What became of one who ran under a memory limit."""

    who: str
    lived: bool
    said: str


def under_a_limit(artifact: Path, directory: Path, sockets: int) -> List[Fate]:
    """Run the function, and its peers once, in a memory cgroup of 16 MB with that many established sockets.

    Raises Unavailable where no memory cgroup can be made.
    """
    with MemoryGroup(CORE_LIMIT) as group, Load(sockets):
        core = LocalCore(artifact, interval=1, environment={"CustomMetrics": ",".join(CUSTOM_METRICS)})
        core.interpreter = core.interpreter._replace(path=group.wrap(core.interpreter.path, directory / "python"))
        reports, anonymous = 0, 0
        try:
            with core:
                for _ in range(CYCLES):
                    core.wait_for_delivery()
                    reports += 1
                    anonymous = max(anonymous, group.anonymous)
            said = f"{reports} reports, {anonymous / 2**20:.1f} MB that can't be taken back"
        except FunctionError as error:
            said = f"killed after {reports} reports" if group.kills else f"ended after {reports} reports: {error}"
        fates = [Fate("the whole function, custom metrics on", reports == CYCLES, said)]
        for package, script in PEERS.items():
            code = subprocess.run(group.command([sys.executable, "-c", script]), stderr=subprocess.DEVNULL).returncode
            said = {0: "lived", -signal.SIGKILL: "killed at the first sample"}.get(code, f"ended with {code}")
            fates.append(Fate(f"one sample with {package} alone", code == 0, said))
    return fates
