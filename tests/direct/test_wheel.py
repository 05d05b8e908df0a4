"""The wheel: connector/ alone, which installs and runs in a bare environment of this Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import List

import pytest
from direct.conftest import Certificates
from support import quick_venv
from support.broker import Broker
from support.direct import DEVICE, TOPIC

import connector

ROOT = Path(__file__).resolve().parents[2]
PROFILES = ROOT / "packaging" / "security_profiles"
SCRIPT = "device-defender-connector"
MAX_SECONDS = 900  # with downloads from the package index


def run(*command: str, directory: Path, **environ: str) -> str:
    """Run a command; return what it wrote. Fails where it failed."""
    done = subprocess.run(
        command,
        cwd=str(directory),
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=MAX_SECONDS,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


class Environment:
    """A virtual environment without anything of this repository's."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.bin = directory / "bin"
        python = quick_venv.write_python(directory.parent / "quick-python")
        run(python, "-m", "venv", str(directory), directory=directory.parent)

    def python(self, *arguments: str, **environ: str) -> str:
        return run(str(self.bin / "python"), *arguments, directory=self.directory, **environ)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pip sees of a fresh checkout."""
    into = tmp_path_factory.mktemp("source")
    tracked = run("git", "ls-files", "-z", directory=ROOT) if (ROOT / ".git").exists() else ""
    names: List[str] = [name for name in tracked.split("\0") if name] or _all_files()
    for name in names:
        if (ROOT / name).is_file():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(str(ROOT / name), str(into / name))
    return into


def _all_files() -> List[str]:
    paths = [path for folder in ("connector", "packaging", "tests") for path in (ROOT / folder).rglob("*")]
    return [str(path.relative_to(ROOT)) for path in [*ROOT.glob("*"), *paths]]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("bare") / "environment")


@pytest.fixture(scope="module")
def wheel(source: Path, bare: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of `python -m build`, which makes it from the source distribution.

    With the setuptools that pyproject.toml asks for, but not in an environment for each of the two steps:
    tests/direct/test_systemd_readme.py has pip make such an environment.
    """
    into = tmp_path_factory.mktemp("dist")
    (wanted,) = re.findall(r'^requires = \["(setuptools.*)"\]$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    bare.python("-m", "pip", "install", "--no-compile", "build", "pipx", wanted, "wheel")
    bare.python("-m", "build", "--no-isolation", "--outdir", str(into), str(source))
    (path,) = into.glob("*.whl")
    assert len(list(into.glob("*.tar.gz"))) == 1
    return path


def test_wheel_holds_connector_alone(wheel: Path) -> None:
    with zipfile.ZipFile(str(wheel)) as archive:
        names = archive.namelist()
        metadata = archive.read(next(name for name in names if name.endswith("/METADATA"))).decode()
    assert {name.split("/")[0] for name in names} == {
        "connector",
        f"device_defender_connector-{connector.__version__}.dist-info",
    }
    packed = {name for name in names if name.startswith("connector/")}
    profiles = {name for name in packed if name.startswith("connector/security_profiles/")}
    assert packed - profiles == {str(path.relative_to(ROOT)) for path in (ROOT / "connector").rglob("*.py")}
    shipped = {f"connector/security_profiles/{path.name}" for path in PROFILES.glob("*.json")}
    assert profiles == {name for name in shipped if "MachineLearning" not in name}  # which only the service can judge
    assert any(name.endswith("/LICENSE") for name in names)
    assert re.search(r"(?m)^Name: device-defender-connector$", metadata)
    assert re.search(rf"(?m)^Version: {re.escape(connector.__version__)}$", metadata)
    assert re.search(r"(?m)^License: Apache-2\.0$", metadata)
    assert re.search(r"(?m)^Requires-Python: >=3\.7$", metadata)


def test_wheel_has_no_requirement_outside_its_extras(wheel: Path) -> None:
    with zipfile.ZipFile(str(wheel)) as archive:
        metadata = archive.read(next(name for name in archive.namelist() if name.endswith("/METADATA"))).decode()
    required = re.findall(r"(?m)^Requires-Dist: (.*)$", metadata)
    assert required
    assert all("extra ==" in line for line in required)


def test_installed_command_reports_to_a_broker(
    wheel: Path, tmp_path: Path, broker: Broker, certificates: Certificates
) -> None:
    """From the wheel; test_systemd_readme.py installs from the sources."""
    installed = Environment(tmp_path / "installed")
    installed.python("-m", "pip", "install", "--no-compile", f"{wheel}[mqtt]")
    script = str(installed.bin / SCRIPT)
    assert run(script, "--version", directory=tmp_path).strip() == connector.__version__
    assert run(script, "run", "--version", directory=tmp_path).strip() == connector.__version__
    options = [
        *("--endpoint=localhost", f"--port={broker.port}", f"--thing-name={DEVICE}"),
        *(f"--cert={certificates.device.cert}", f"--key={certificates.device.key}"),
        f"--ca-file={certificates.authority.file}",
    ]
    checked = run(script, "run", "--check", *options, directory=tmp_path)
    assert f"localhost:{broker.port} accepted an empty document on {TOPIC}" in checked
    wrong = subprocess.run([script, "run"], stderr=subprocess.PIPE, text=True, cwd=str(tmp_path), timeout=MAX_SECONDS)
    program = "from connector import profiles; print(profiles.load(['RemoteManagementPorts']).usable[0].name)"
    assert installed.python("-I", "-c", program).strip() == "RemoteManagementPorts"
    assert wrong.returncode == 2
    assert wrong.stderr.startswith(f"{SCRIPT} run: --endpoint, --cert, --key, ")


def test_pipx_runs_the_wheel(wheel: Path, bare: Environment, tmp_path: Path) -> None:
    homes = {name: str(tmp_path / name) for name in ("PIPX_HOME", "PIPX_BIN_DIR", "PIPX_MAN_DIR")}
    out = bare.python("-m", "pipx", "run", "--spec", str(wheel), SCRIPT, "--version", **homes)
    assert out.splitlines()[-1] == connector.__version__
