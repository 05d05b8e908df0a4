"""psutil comes with the zips for x86_64 and aarch64; the zip for any machine uses the device's, or does without."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, Dict, List, Tuple

import build_zip
import psutil
import pytest
from local_core import LocalCore
from support.builder import RUNNING, Zips
from support.threads import LONG

from connector.config import CUSTOM_METRICS

NEED_PSUTIL = {"cpu_usage", "memory_usage", "process_count"}

pytestmark = pytest.mark.skipif(
    RUNNING not in build_zip.PYTHONS or build_zip.this_machine() == "any",
    reason=f"there is no zip with psutil for this machine and Python {RUNNING}",
)


def report(*path: Path) -> Tuple[Dict[str, Any], List[str]]:
    """Return the second report that the connector on a path prints, without site-packages, and its lines on stderr."""
    command = [sys.executable, "-S", "-m", "connector", "-n", "2", "-s", "0.2", "--custom-metrics"]
    done = subprocess.run(
        [*command, ",".join(CUSTOM_METRICS)],
        cwd="/",
        env={"PYTHONPATH": ":".join(map(str, path))},
        capture_output=True,
        check=True,
    )
    return json.loads(done.stdout.decode().splitlines()[1]), done.stderr.decode().splitlines()


def test_unpacked_zip_reads_the_host_with_its_own_psutil(zips: Zips, tmp_path: Path) -> None:
    with zipfile.ZipFile(str(zips((RUNNING, build_zip.this_machine())))) as archive:
        archive.extractall(str(tmp_path))
    found, errors = report(tmp_path)
    assert (set(found["custom_metrics"]), errors) == (set(CUSTOM_METRICS), [])


def test_zip_any_uses_the_psutil_of_the_device(zips: Zips) -> None:
    assert psutil.__file__ is not None
    found, errors = report(zips((RUNNING, "any")), Path(psutil.__file__).parents[1])
    assert (set(found["custom_metrics"]), errors) == (set(CUSTOM_METRICS), [])


def test_zip_any_reports_without_psutil_and_warns_once(zips: Zips) -> None:
    lines: List[str] = []
    environment = {"CustomMetrics": ",".join(CUSTOM_METRICS)}
    with LocalCore(zips((RUNNING, "any")), interval=1, environment=environment, on_log=lines.append) as core:
        deliveries = [core.wait_for_delivery(LONG) for _ in range(3)]
        assert core.stop() == 0
    for delivery in deliveries:
        assert delivery.verdict is not None
        assert delivery.verdict.accepted
        assert set(delivery.report["custom_metrics"]) == set(CUSTOM_METRICS) - NEED_PSUTIL
        assert "tcp_connections" in delivery.report["metrics"]
    (warning,) = [line for line in lines if "WARNING" in line]
    assert "custom metrics cpu_usage, memory_usage, process_count: left out of the reports: psutil" in warning
    assert "install psutil on the device" in warning
