"""Runs packaging/build_zip.py as a script in copies of the repository, so that nothing is written into dist/."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, Tuple

import build_zip
import bytecode

ROOT = Path(__file__).resolve().parents[2]
WHEELS = ROOT / "build" / "wheels"
NAME = "device-defender-connector-" + build_zip.connector_version()
RUNNING = "{}.{}".format(*sys.version_info)
Target = Tuple[str, str]  # Python and machine
TARGETS = [(python, arch) for python in build_zip.PYTHONS for arch in build_zip.ARCHES]


@functools.lru_cache(maxsize=None)
def has_interpreter(python: str) -> bool:
    """Whether this machine has the interpreter that writes the bytecode for a version of Python."""
    return bytecode.find_interpreter(python) is not None


def zip_name(target: Target, native: bool = False) -> str:
    """Return the name of a target's zip, as it is built on this machine."""
    suffix = "" if has_interpreter(target[0]) else "-nobytecode"
    name = NAME.replace("connector-", "connector-native-") if native else NAME
    return f"{name}-py{target[0].replace('.', '')}-{target[1]}{suffix}.zip"


def copy_repository(folder: Path, wheels: Path | None = WHEELS) -> Path:
    """Copy what the builder reads; build/wheels is a link to a folder of wheels, or missing."""
    shutil.copytree(str(ROOT / "connector"), str(folder / "connector"), ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(str(ROOT / "packaging" / "security_profiles"), str(folder / "packaging" / "security_profiles"))
    for name in (
        "LICENSE",
        "requirements.txt",
        "packaging/requirements-native.txt",
        "packaging/build_zip.py",
        "packaging/bytecode.py",
        "packaging/zip_entries.py",
        "packaging/zip_kind.py",
    ):
        shutil.copy(str(ROOT / name), str(folder / name))
    if wheels:
        wheels.mkdir(parents=True, exist_ok=True)
        (folder / "build").mkdir()
        (folder / "build" / "wheels").symlink_to(wheels)
    return folder


def run(
    folder: Path, *arguments: str, python: str = sys.executable, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the builder of a copy."""
    return subprocess.run(
        [python, str(folder / "packaging" / "build_zip.py"), *arguments],
        cwd=str(folder),
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def built(folder: Path, target: Target, native: bool = False, **options: str) -> Path:
    """Build for a target in a copy; check the last line printed, and return the zip that it names."""
    kind = ["--native"] if native else []
    done = run(folder, "--python", target[0], "--arch", target[1], *kind, **options)
    assert done.returncode == 0, done.stderr
    name, digest = done.stdout.splitlines()[-1].split(" ")
    assert name == f"dist/{zip_name(target, native)}"
    assert digest == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    return folder / name


class Zips:
    """The zips of a copy of the repository, each built when it is first asked for, by whichever process of the run.

    folder: for the copy; the same for all processes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._built: Dict[Tuple[Target, bool], Path] = {}

    def __call__(self, target: Target, native: bool = False) -> Path:
        if (target, native) not in self._built:
            self._built[target, native] = self._shared(target, native)
        return self._built[target, native]

    def _shared(self, target: Target, native: bool) -> Path:
        copy = self._folder / "repository"
        with open(self._folder / "lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed
            path = copy / "dist" / zip_name(target, native)
            if not copy.exists():
                unfinished = self._folder / "unfinished"
                shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir()
                copy_repository(unfinished).rename(copy)
            return path if path.exists() else built(copy, target, native)
