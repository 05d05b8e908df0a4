"""The measurements: tools side by side, and the whole function under a local core."""

from __future__ import annotations

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

from bench.cgroup import MemoryGroup
from bench.load import Load
from local_core import FunctionError, LocalCore

from connector.config import CUSTOM_METRICS

HERE = Path(__file__).resolve().parent
MAX_CPU_SECONDS = 25.0  # for a tool at a size, after at least one sample
CORE_LIMIT = 16 << 20  # bytes; a core's default memory limit for a function
CYCLES = 30
STARTS = 7
# One sample of other tools, by the package that it needs.
PEERS = {
    "psutil": "import psutil; psutil.net_connections('inet')",
    "AWSIoTDeviceDefenderAgentSDK": "from AWSIoTDeviceDefenderAgentSDK.collector import Collector; "
    "Collector().collect_metrics().to_json_string()",
}


# As a function runs, without capabilities: with CAP_NET_ADMIN the kernel's answers are longer. The other tools keep
# them, as they look into all processes.
UNPRIVILEGED = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
PRIVILEGED = ("psutil", "agent SDK")


class Cost(NamedTuple):
    """Cost of a sample of one tool at one size.

    cpu: seconds, the median of `samples`
    peak: resident memory of its process at most, bytes
    anonymous: of that what no file backs, at the end, bytes
    bytes: of the report, None for a tool that makes none
    """

    cpu: float
    samples: int
    peak: int
    anonymous: int
    bytes: Optional[int]


Costs = Dict[str, Cost]  # by tool


class Tool:
    """A tool's process, which ends when its stdin is closed.

    folder: an unpacked zip of the connector, for those tools that need one
    """

    def __init__(self, name: str, folder: Path) -> None:
        rights = [] if name in PRIVILEGED else UNPRIVILEGED
        command = [*rights, sys.executable, "-B", str(HERE / "tools.py"), name, str(folder)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answers: List[Dict[str, float]] = []
        self._spent = 0.0

    def sample(self) -> None:
        """Have it take a sample, unless it has used its CPU time."""
        if self._spent > MAX_CPU_SECONDS:
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._answers.append(json.loads(self._process.stdout.readline()))
        self._spent += self._answers[-1]["cpu"]

    def end(self) -> Cost:
        """Return the cost of its samples; the first one, which also warms up, only counts if there are no others."""
        self._process.communicate()
        counted = self._answers[1:] or self._answers
        last = self._answers[-1]
        cpu = statistics.median(answer["cpu"] for answer in counted)
        size = None if last["bytes"] is None else int(last["bytes"])
        return Cost(cpu, len(counted), int(last["peak"]), int(last["anonymous"]), size)


def compare(names: Sequence[str], rounds: int, folders: Mapping[str, Path]) -> Costs:
    """Let tools take turns, and return the cost of a sample of each.

    folders: the unpacked zips, by the tool that runs it
    """
    tools = {name: Tool(name, folders.get("connector" if name == "tables" else name, HERE)) for name in names}
    for _ in range(1 + rounds):
        for tool in tools.values():
            tool.sample()
    return {name: tool.end() for name, tool in tools.items()}


def cpu_of(pid: int) -> float:
    """Return the CPU seconds of another process, to the nanosecond: the clock that clock_getcpuclockid(3) names."""
    return time.clock_gettime((~pid << 3) | 2)


# Every custom metric, and CBOR.
EVERYTHING: Dict[str, Any] = {
    "environment": {"CustomMetrics": ",".join(CUSTOM_METRICS), "ReportFormat": "cbor"},
    "encoding_type": "binary",
}


def start_cost(
    artifact: Path, directory: Path, starts: int = STARTS, settings: Optional[Mapping[str, Any]] = None
) -> List[float]:
    """Return CPU seconds from the import of the handler to the first report in the core's hands, of several starts.

    That is the function's process at that moment, less the process of a function that does nothing.

    settings: arguments of LocalCore
    """
    nothing = directory / "nothing" / "connector"
    nothing.mkdir(parents=True)
    (nothing / "handler.py").write_text("def function_handler(event, context):\n    pass\n")
    return [_cpu_at_first_report(artifact, settings or {}) - _cpu_at_rest(nothing.parent) for _ in range(starts)]


def _cpu_at_first_report(artifact: Path, settings: Mapping[str, Any]) -> float:
    seen: List[float] = []
    core = LocalCore(artifact, on_delivery=lambda delivery: seen.append(cpu_of(core.pid)), **settings)
    with core:
        core.wait_for_delivery()
    return seen[0]


def _cpu_at_rest(artifact: Path) -> float:
    with LocalCore(artifact) as core:
        return cpu_of(core.pid)


class Whole(NamedTuple):
    """The whole function of one build.

    start: CPU from import to first report, default settings, seconds
    full_start: the same, with everything switched on and the most sockets
    cycle: CPU of one report on an idle host, seconds
    memory: anonymous, with everything switched on and the most sockets, bytes
    """

    start: float
    full_start: float
    cycle: float
    memory: int


def side_by_side(builds: Sequence[Path], directory: Path, sockets: int) -> List[Whole]:
    """Measure the whole function of some builds, at the same time or in turns, so that noise affects all of them."""
    starts: List[List[float]] = [[] for _ in builds]
    full_starts: List[List[float]] = [[] for _ in builds]
    for number in range(STARTS):
        for build, found in zip(builds, starts):
            found += start_cost(build, directory / f"turn-{number}-{build.name}", 1)
    with ExitStack() as running:
        cores = [running.enter_context(LocalCore(build, interval=1)) for build in builds]
        before = _cpu_after(cores, 3)
        cycles = [(after - cpu) / CYCLES for after, cpu in zip(_cpu_after(cores, CYCLES), before)]
    with ExitStack() as running:
        running.enter_context(Load(sockets))
        for number in range(STARTS):
            for build, full in zip(builds, full_starts):
                full += start_cost(build, directory / f"full-turn-{number}-{build.name}", 1, EVERYTHING)
        cores = [running.enter_context(LocalCore(build, interval=1, **EVERYTHING)) for build in builds]
        _cpu_after(cores, 5)
        time.sleep(0.4)  # between two reports, as a function is nearly always
        memory = [_anonymous(core.pid) for core in cores]
    return [
        Whole(statistics.median(found), statistics.median(full), cycle, used)
        for found, full, cycle, used in zip(starts, full_starts, cycles, memory)
    ]


def _cpu_after(cores: Sequence[LocalCore], reports: int) -> List[float]:
    """Wait until each function has sent so many more reports; return their CPU seconds then."""
    for core in cores:
        for _ in range(reports):
            core.wait_for_delivery()
    return [cpu_of(core.pid) for core in cores]


def _anonymous(pid: int) -> int:
    found = re.search(r"^RssAnon:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found, "the kernel has no RssAnon"
    return 1024 * int(found.group(1))


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
    """Return how often the threads of the function were scheduled between two reports."""
    with LocalCore(artifact) as core:
        core.wait_for_delivery()
        time.sleep(2.0)  # until the service's answer was read
        before = _switches(core.pid)
        time.sleep(seconds)
        return _switches(core.pid) - before


def _switches(pid: int) -> int:
    texts = (path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status"))
    return sum(int(number) for text in texts for number in re.findall(r"voluntary_ctxt_switches:\s+(\d+)", text))


class Fate(NamedTuple):
    """The outcome of a run under a memory limit.

    who: what ran
    lived: whether it was still running at the end
    said: the outcome in words
    """

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
