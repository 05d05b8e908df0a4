"""The tools that are compared, each run in a process of its own: one sample for every line of stdin.

A line of stdout answers with JSON: "cpu" (seconds of this process), "bytes" (of what would be sent, None where nothing
would), and of the process so far "peak" (resident bytes at most, VmHWM) and "anonymous" (of them what no file backs).
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
import time
from pathlib import Path
from typing import Callable, Dict, Optional

ROOT = Path(__file__).resolve().parents[2]
TABLES = ("tcp", "tcp6", "udp", "udp6")
BLOCK = 65536

Sample = Callable[[], Optional[int]]


def floor() -> Sample:
    """Only read the four tables, into the same 64 KB of memory again and again."""
    block = bytearray(BLOCK)
    net = "/proc/1/net/" if os.access("/proc/1/net/tcp", os.R_OK) else "/proc/net/"
    paths = [net + name for name in TABLES if os.path.exists(net + name)]

    def sample() -> None:
        for path in paths:
            with open(path, "rb", buffering=0) as table:
                while table.readinto(block):
                    pass

    return sample


def connector() -> Sample:
    """Collect, build and encode as the function does with default settings."""
    sys.path.insert(0, str(ROOT))
    from connector import config, snapshot
    from connector.encode import encode
    from connector.report import build
    from connector.traffic import Traffic

    settings, warnings = config.parse({"AWS_IOT_THING_NAME": "bench", "ProcDestinationPath": "/proc"})
    assert not warnings, warnings
    rng = random.Random()
    traffic = Traffic()

    def sample() -> int:
        nonlocal traffic
        taken = snapshot.take(settings.wanted, rng)
        assert not taken.problems, taken.problems
        traffic = traffic.observe(taken)
        carried = traffic.carry(taken)
        traffic = traffic.delivered(carried)
        report = build(taken, int(time.time()), carried, None, settings.short_names)
        assert report is not None
        return len(encode(report, settings.report_format))

    return sample


def psutil() -> Sample:
    """Only list the sockets, without a report."""
    import psutil as library

    def sample() -> None:
        library.net_connections("inet")

    return sample


def agent_sdk() -> Sample:
    """AWS's agent SDK with its default settings."""
    from AWSIoTDeviceDefenderAgentSDK.collector import Collector

    collector = Collector()

    def sample() -> int:
        return len(collector.collect_metrics().to_json_string())

    return sample


TOOLS: Dict[str, Callable[[], Sample]] = {
    "floor": floor,
    "connector": connector,
    "psutil": psutil,
    "agent SDK": agent_sdk,
}


def _kilobytes(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found, f"no {name} in /proc/self/status"
    return 1024 * int(found.group(1))


def main(tool: str) -> None:
    """Take samples for as long as stdin asks for them."""
    sample = TOOLS[tool]()
    for _ in sys.stdin:
        begun = time.process_time()
        size = sample()
        cpu = time.process_time() - begun
        answer = {"cpu": cpu, "bytes": size, "peak": _kilobytes("VmHWM"), "anonymous": _kilobytes("RssAnon")}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
