"""The tools that are compared, each in a process of its own: tools.py TOOL [FOLDER], one sample for each line of stdin.

FOLDER is an unpacked zip of the connector, for the tools connector, tables and baseline. Each answer is a line of JSON:
"cpu" (seconds of this process), "bytes" (of the report, null for a tool that makes none), and of the process so far
"peak" (VmHWM, bytes) and "anonymous" (RssAnon, bytes, which the kernel can't reclaim without swap).
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

TABLES = ("tcp", "tcp6", "udp", "udp6")
BLOCK = 65536

Sample = Callable[[], Optional[int]]


def floor(folder: str) -> Sample:
    """Only read the four tables, into one buffer of 64 KB."""
    block = bytearray(BLOCK)
    net = "/proc/1/net/" if os.access("/proc/1/net/tcp", os.R_OK) else "/proc/net/"
    paths = [net + name for name in TABLES if os.path.exists(net + name)]

    def sample() -> None:
        for path in paths:
            with open(path, "rb", buffering=0) as table:
                while table.readinto(block):
                    pass

    return sample


def tables(folder: str) -> Sample:
    """Do the same where the function has a network of its own, so that the host's tables are read."""
    return connector(folder, "/none")


def connector(folder: str, own: str = "/proc") -> Sample:
    """Collect, build and encode as the function does with default settings, with the build in a folder.

    own: its own proc, which shows what network it is in
    """
    sys.path.insert(0, folder)
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
        taken = snapshot.take(settings.wanted, rng, own)
        assert not taken.problems, taken.problems
        traffic = traffic.observe(taken)
        carried = traffic.carry(taken)
        traffic = traffic.delivered(carried)
        report = build(taken, int(time.time()), carried, None, settings.short_names)
        assert report is not None
        return len(encode(report, settings.report_format))

    return sample


def psutil(folder: str) -> Sample:
    """Only list the sockets, without a report."""
    import psutil as library

    def sample() -> None:
        library.net_connections("inet")

    return sample


def agent_sdk(folder: str) -> Sample:
    """AWS's agent SDK with its default settings."""
    from AWSIoTDeviceDefenderAgentSDK.collector import Collector

    collector = Collector()

    def sample() -> int:
        return len(collector.collect_metrics().to_json_string())

    return sample


TOOLS: Dict[str, Callable[[str], Sample]] = {
    "floor": floor,
    "connector": connector,
    "tables": tables,
    "baseline": connector,
    "psutil": psutil,
    "agent SDK": agent_sdk,
}


def _kilobytes(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found, f"no {name} in /proc/self/status"
    return 1024 * int(found.group(1))


def main(tool: str, folder: str = "") -> None:
    """Take a sample for each line of stdin."""
    sample = TOOLS[tool](folder)
    for _ in sys.stdin:
        begun = time.process_time()
        size = sample()
        cpu = time.process_time() - begun
        answer = {"cpu": cpu, "bytes": size, "peak": _kilobytes("VmHWM"), "anonymous": _kilobytes("RssAnon")}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
