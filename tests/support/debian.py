"""Programs of Debian that tests run: the installed one, else unpacked below build/, which needs no root."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Dict, List, Tuple

BUILD = Path(__file__).resolve().parents[2] / "build"
MAX_DOWNLOAD_SECONDS = 300


def program(name: str, package: str) -> Tuple[str, Dict[str, str]]:
    """Return the path of a program and the environment that it needs.

    Raises RuntimeError where it is neither installed nor to be downloaded: a test without it has failed.
    """
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if found:
        return found, dict(os.environ)
    directory = BUILD / f"debian-{package}"
    if not directory.exists():
        unpack(package, directory)
    paths = [path for path in directory.rglob(name) if path.parent.name in ("bin", "sbin")]
    if not paths:
        raise RuntimeError(f"{name} is not in Debian's package {package}")
    libraries = sorted({str(path.parent) for path in directory.rglob("*.so*") if "python" not in str(path)})
    return str(paths[0]), {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries)}


def unpack(package: str, directory: Path) -> None:
    """Download a package and those that it needs and are not installed, and unpack them into a new directory."""
    into = directory.with_name(f"{directory.name}.{os.getpid()}")
    (into / "debs").mkdir(parents=True)
    run = _apt(into, "download", *_needed(into, package))
    if run.returncode:
        run = _apt(into, "update")  # needs root: a fresh container has no lists, or old ones
        run = _apt(into, "download", *_needed(into, package))
    packages = sorted((into / "debs").glob("*.deb"))
    if run.returncode or not packages:
        shutil.rmtree(str(into))
        raise RuntimeError(f"{package} is not installed and can't be downloaded: {run.stderr.strip()}")
    for path in packages:
        subprocess.run(["dpkg", "-x", str(path), str(into)], check=True)
    shutil.rmtree(str(into / "debs"))
    try:
        into.rename(directory)
    except OSError:  # another run was first
        shutil.rmtree(str(into))


def _needed(into: Path, package: str) -> List[str]:
    simulated = _apt(into, "--simulate", "--no-install-recommends", "install", package)
    return re.findall(r"^Inst (\S+)", simulated.stdout, re.MULTILINE) or [package]


def _apt(into: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["apt-get", "-q", *arguments],
            cwd=str(into / "debs"),
            capture_output=True,
            text=True,
            timeout=MAX_DOWNLOAD_SECONDS,
        )
    except FileNotFoundError as error:
        raise RuntimeError("this is not Debian: install what is missing by hand") from error
