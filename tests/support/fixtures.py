"""The recorded hosts under fixtures/ and the reports expected of them."""

from __future__ import annotations

import json
import shutil
import tempfile
import textwrap
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Sequence

from connector.encode import encode
from connector.report import build
from connector.snapshot import Snapshot
from connector.traffic import Traffic
from support import proc

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
CASES = FIXTURES / "cases"  # ../connector/test_cases.py
REPORT_ID = 1635800375


class Host(NamedTuple):
    """How a host is read: the longest list, and the custom metrics."""

    max_list_size: int = 50
    custom: Sequence[str] = ()


HOSTS: Dict[str, Host] = {
    "board": Host(custom=("cpu_usage", "memory_usage", "process_count", "load_average_1m", "uptime_seconds")),
    "gateway": Host(max_list_size=10),
    "ipv6-only": Host(),
    "no-ipv6": Host(),
    "idle": Host(),
    "reset": Host(),
}


def snapshots(name: str) -> List[Snapshot]:
    """Return a snapshot of the host as it was before, if that was recorded, and of it at the time."""
    directory = FIXTURES / name
    asked = HOSTS[name]
    seen = []
    with tempfile.TemporaryDirectory() as temporary:
        mount = Path(temporary) / "proc"  # the same at both times, as on a device
        for tree in ("before", "proc"):
            if (directory / tree).is_dir():
                shutil.rmtree(str(mount), ignore_errors=True)
                shutil.copytree(str(directory / tree), str(mount))
                seen.append(proc.look(mount, max_list_size=asked.max_list_size, custom=asked.custom))
    return seen


def report(name: str, short_names: bool) -> Dict[str, Any]:
    """Return the last report of the host."""
    traffic, cpu = Traffic(), None
    *before, now = snapshots(name)
    for snapshot in before:
        traffic, cpu = traffic.observe(snapshot), snapshot.cpu
    made = build(now, REPORT_ID, traffic.observe(now).carry(now), cpu, short_names)
    assert made is not None
    return made


def expected_files(name: str) -> Dict[str, str]:
    """Return the expected files by name: each report as JSON for reading, and as the bytes of CBOR in hexadecimal."""
    files = {}
    for style in ("long", "short"):
        made = report(name, style == "short")
        files[f"expected-{style}.json"] = json.dumps(made, indent=2) + "\n"
        files[f"expected-{style}.cbor.hex"] = textwrap.fill(encode(made, "cbor").hex(), 96) + "\n"
    return files
