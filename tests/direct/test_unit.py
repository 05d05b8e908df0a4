"""The systemd unit: valid, hardened, and enough for what the connector does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Set

import pytest
from direct.conftest import Certificates
from support.broker import Broker
from support.debian import program
from support.direct import DEVICE

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "packaging" / "systemd"
NAME = "device-defender-connector.service"
MAX_SECONDS = 300


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    path, environ = program("systemd-analyze", "systemd")
    return subprocess.run(
        [path, *arguments],
        env={**environ, "SYSTEMD_PAGER": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=MAX_SECONDS,
    )


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a program that exists on this machine."""
    path = tmp_path / NAME
    text, count = re.subn(r"(?m)^ExecStart=\S+", f"ExecStart={sys.executable}", (FOLDER / NAME).read_text())
    assert count == 1
    path.write_text(text)
    return path


def test_unit_is_valid(unit: Path) -> None:
    run = analyze("verify", str(unit))
    assert run.returncode == 0, run.stdout
    assert NAME not in run.stdout


def test_unit_for_older_systemd_is_valid(unit: Path) -> None:
    text = (FOLDER / "older-systemd.conf").read_text()
    drop_in = unit.with_name(NAME + ".d") / "older-systemd.conf"
    drop_in.parent.mkdir()
    drop_in.write_text(text.replace("/opt/device-defender-connector/bin/device-defender-connector", sys.executable))
    run = analyze("verify", str(unit))
    assert run.returncode == 0, run.stdout
    assert NAME not in run.stdout


def test_exposure_is_at_most_one_and_a_half(unit: Path) -> None:
    run = analyze("security", "--offline=true", "--threshold=15", str(unit))
    assert run.returncode == 0, run.stdout
    assert "Overall exposure level" in run.stdout


def test_unit_allows_every_system_call_of_the_connector(
    unit: Path, broker: Broker, certificates: Certificates, tmp_path: Path
) -> None:
    strace, environ = program("strace", "strace")
    trace = tmp_path / "trace"
    command = [
        *(strace, "-f", "-qq", "-o", str(trace), sys.executable, "-m", "connector", "run", "--once"),
        *("--endpoint=localhost", f"--port={broker.port}", f"--thing-name={DEVICE}"),
        *(f"--cert={certificates.device.cert}", f"--key={certificates.device.key}"),
        *(f"--ca-file={certificates.authority.file}", f"--StateDirectory={tmp_path}"),
    ]
    subprocess.run(command, cwd=str(ROOT), env=environ, check=True, timeout=MAX_SECONDS)
    used = set(re.findall(r"(?m)^\d+ +([a-z0-9_]+)\(", trace.read_text()))
    assert {"connect", "poll", "openat"} <= used
    families = set(re.findall(r"(?m)^\d+ +socket\((AF_[A-Z0-9]+)", trace.read_text()))
    assert {"AF_INET", "AF_NETLINK"} <= families
    (listed,) = re.findall(r"(?m)^RestrictAddressFamilies=(.*)$", unit.read_text())
    assert families <= set(listed.split())
    allowed = _calls("@system-service") - _calls("@privileged") - _calls("@resources")
    assert used <= allowed


def _calls(group: str) -> Set[str]:
    """Return the system calls of one of systemd's groups."""
    run = analyze("syscall-filter", group)
    assert run.returncode == 0, run.stdout
    found: Set[str] = set()
    for line in run.stdout.splitlines()[1:]:
        name = line.strip()
        if name.startswith("@"):
            found |= _calls(name)
        elif name and not name.startswith("#"):
            found.add(name)
    return found


def test_user_directories_and_limits_are_those_of_the_readme() -> None:
    text = (FOLDER / NAME).read_text()
    for line in (
        "DynamicUser=yes",
        "StateDirectory=device-defender-connector",
        "MemoryMax=64M",
        "LimitCORE=0",
        "Restart=on-failure",
        "WatchdogSec=15min",
    ):
        assert re.search(f"(?m)^{re.escape(line)}$", text)
