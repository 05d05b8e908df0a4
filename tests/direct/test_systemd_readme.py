"""The commands of packaging/systemd/README.md: run here with a broker of the test's own, or accounted for."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import List

from direct.conftest import Certificates
from support import quick_venv
from support.broker import Broker
from support.direct import DEVICE, TOPIC

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "packaging" / "systemd" / "README.md").read_text(encoding="utf-8")
CHAPTERS = {chapter.partition("\n")[0]: chapter for chapter in README.split("\n## ")[1:]}
MAX_SECONDS = 900

# Chapter -> what runs its commands.
RUN = {
    "The thing, its certificate and its policy": "tests/documents/test_device_policy.py",
    "Install": "below; pipx: tests/direct/test_wheel.py",
    "Configure and check": "below",
    "As a service": "below, with systemctl and useradd replaced; the unit: tests/direct/test_unit.py",
    "In a container": "a person: it needs Docker",
}

# Stands for what would change this machine.
SHIMS = {
    "sudo": 'exec "$@"',
    "systemctl": 'echo "systemctl $*" >>"{log}"',
    "journalctl": 'echo "journalctl $*" >>"{log}"',
    "useradd": 'echo "useradd $*" >>"{log}"',
    "chown": 'test -f "$2" && test -f "$3" && echo "chown $1" >>"{log}"',
}


def commands(chapter: str) -> List[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", CHAPTERS[chapter], re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def test_every_command_is_accounted_for() -> None:
    assert {chapter for chapter in CHAPTERS if commands(chapter)} == set(RUN)


def test_commands_on_the_device_lead_to_a_checked_service(
    tmp_path: Path, broker: Broker, certificates: Certificates
) -> None:
    tools, log = tmp_path / "bin", tmp_path / "log"
    tools.mkdir()
    for name, text in SHIMS.items():
        (tools / name).write_text("#!/bin/sh\n" + text.format(log=log) + "\n")
        (tools / name).chmod(0o755)
    quick_venv.write_python(tools / "python3")
    (tmp_path / "certificate.pem").write_bytes(certificates.device.cert.read_bytes())
    (tmp_path / "private.key").write_bytes(certificates.device.key.read_bytes())
    # pip writes into the folder that it installs from: it gets a copy.
    for name in ("connector", "packaging", "pyproject.toml", "README.md", "LICENSE"):
        subprocess.run(["cp", "-r", str(ROOT / name), str(tmp_path)], check=True)
    for folder in ("opt", "etc/systemd/system"):
        (tmp_path / folder).mkdir(parents=True)

    def shell(lines: List[str]) -> str:
        text = re.sub(r"/(?:opt|etc)/", lambda found: f"{tmp_path}{found.group()}", "\n".join(lines))
        done = subprocess.run(
            ["bash", "-e", "-u", "-c", text],
            cwd=str(tmp_path),
            env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=MAX_SECONDS,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    shell([line for line in commands("Install") if not line.startswith("pipx ")])
    *put, check = commands("Configure and check")
    shell(put)
    settings = tmp_path / "etc" / "device-defender-connector" / "connector.ini"
    text = (
        settings.read_text()
        .replace("ENDPOINT", "localhost")
        .replace("THING", DEVICE)
        .replace("/etc/", f"{tmp_path}/etc/")
    )
    settings.write_text(text + f"port = {broker.port}\nca-file = {certificates.authority.file}\n")
    assert f"accepted an empty document on {TOPIC}: reports can be sent" in shell([check])
    assert (settings.parent / "private.key").stat().st_mode & 0o777 == 0o600

    shell(commands("As a service"))
    units = tmp_path / "etc" / "systemd" / "system"
    assert (units / "device-defender-connector.service").is_file()
    assert (units / "device-defender-connector.service.d" / "older-systemd.conf").is_file()
    called = log.read_text()
    assert "systemctl enable --now device-defender-connector" in called
    assert "useradd --system --no-create-home --shell /usr/sbin/nologin device-defender-connector" in called
    assert "chown device-defender-connector" in called
