"""packaging/build_zip.py: the same bytes wherever it runs, and how a build fails.

The wheels come from build/wheels, or once from the package index.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import build_zip
import bytecode
import pytest
from support.builder import RUNNING, TARGETS, WHEELS, Zips, built, copy_repository, has_interpreter, run, zip_name

import packaging

ROOT = Path(__file__).resolve().parents[2]


def test_build_in_another_directory_gives_the_same_bytes(zips: Zips, tmp_path: Path) -> None:
    target = ("3.8", "x86_64")
    other = copy_repository(tmp_path)
    for path in (other / "connector").rglob("*.py"):
        os.utime(str(path), (1, 1))
        path.chmod(0o700)
    for stray in ("connector/.#report.py", "connector/report.py~", "connector/__pycache__/report.pyc"):
        (other / stray).parent.mkdir(exist_ok=True)
        (other / stray).write_text("not a source file")
    again = built(other, target, TZ="Pacific/Auckland", LC_ALL="C", PYTHONHASHSEED="1")
    assert again.read_bytes() == zips(target).read_bytes()


def test_build_with_another_python_gives_the_same_bytes(zips: Zips, tmp_path: Path) -> None:
    python = other_python()
    if python is None:
        pytest.skip(f"no CPython from 3.7 to 3.13 other than {RUNNING} on PATH or in pyenv")
    # With the packaging library, but without pip, as the wheels have been downloaded.
    library = tmp_path / "library"
    library.mkdir()
    (library / "packaging").symlink_to(Path(packaging.__file__).parent)
    target = ("3.8", "x86_64")
    first = zips(target)
    again = built(copy_repository(tmp_path / "repository"), target, python=python, PYTHONPATH=str(library))
    assert again.read_bytes() == first.read_bytes()


def other_python() -> str | None:
    for version in reversed(build_zip.PYTHONS):
        found = bytecode.find_interpreter(version) if version != RUNNING else None
        if found:
            return found.path
    return None


@pytest.mark.slow
def test_all_builds_every_pair_and_lists_the_sums(tmp_path: Path) -> None:
    """With bytecode no two zips are the same; without it those of "any" from 3.9 on are."""
    folder = copy_repository(tmp_path)
    done = run(folder, "--all")
    assert done.returncode == 0, done.stderr
    names = [zip_name(target) for target in TARGETS]
    sums = {name: hashlib.sha256((folder / "dist" / name).read_bytes()).hexdigest() for name in names}
    listing = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
    assert (folder / "dist" / "SHA256SUMS").read_text() == listing
    last = f"dist/SHA256SUMS {hashlib.sha256(listing.encode()).hexdigest()}"
    assert done.stdout.splitlines() == [*(f"dist/{name} {digest}" for name, digest in sums.items()), last]
    without = [python for python in build_zip.PYTHONS if not has_interpreter(python)]
    assert [python for python in without if python in done.stderr] == without
    assert len(set(sums.values())) == len(sums) - max(0, len(set(without) - {"3.7", "3.8"}) - 1)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--python", "3.6"], "argument --python: invalid choice: '3.6'"),
        (["--arch", "armv7l"], "argument --arch: invalid choice: 'armv7l'"),
        (["--all", "--arch", "any"], "--all builds every pair; leave out --python and --arch"),
    ],
)
def test_bad_usage_gives_2_and_the_reason(arguments: list[str], reason: str) -> None:
    done = run(ROOT, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"build_zip.sh: {reason}")
    assert done.stderr.endswith(" (build_zip.sh --help lists the options)\n")
    assert done.stderr.count("\n") == 1


def fails(folder: Path, **variables: str) -> str:
    """Run a build that must fail without writing anything; return its stderr."""
    done = run(folder, "--python", "3.8", "--arch", "any", **variables)
    assert (done.returncode, done.stdout) == (1, "")
    assert not (folder / "dist").exists()
    return done.stderr


def test_wheel_with_another_hash_is_refused(zips: Zips, tmp_path: Path) -> None:
    zips(("3.8", "any"))
    folder = copy_repository(tmp_path / "repository", wheels=None)
    cache = folder / "build" / "wheels" / "py3.8-any"
    shutil.copytree(str(WHEELS / "py3.8-any"), str(cache))
    for wheel in cache.glob("cbor2-*.whl"):
        wheel.write_bytes(wheel.read_bytes() + b"\0")
    # The index offers what the cache holds.
    errors = fails(folder, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(cache))
    assert "a wheel is not the one pinned in requirements.txt; find out why before you trust it" in errors


def test_missing_index_is_named(tmp_path: Path) -> None:
    folder = copy_repository(tmp_path, wheels=None)
    errors = fails(folder, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path))
    assert "no wheels for Python 3.8 on any: no package index could be reached; connect" in errors


def test_pip_settings_that_change_what_is_downloaded_are_ignored(zips: Zips, tmp_path: Path) -> None:
    first = zips(("3.8", "any"))
    folder = copy_repository(tmp_path, wheels=None)
    wheels = str(WHEELS / "py3.8-any")
    again = built(folder, ("3.8", "any"), PIP_NO_INDEX="1", PIP_FIND_LINKS=wheels, PIP_REQUIREMENT="/missing.txt")
    assert again.read_bytes() == first.read_bytes()


@pytest.mark.parametrize("place", ["dist", "build/wheels/py3.8-any"])
def test_folder_that_cant_be_written_is_named(zips: Zips, tmp_path: Path, place: str) -> None:
    zips(("3.8", "any"))
    folder = copy_repository(tmp_path, wheels=None if "wheels" in place else WHEELS)
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / place).write_text("a file")  # stops root too, unlike missing permissions
    done = run(folder, "--python", "3.8", "--arch", "any")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"build_zip.sh: can't write in {folder / place}: File exists\n"


def test_missing_file_of_the_repository_is_named(tmp_path: Path) -> None:
    folder = copy_repository(tmp_path, wheels=None)
    (folder / "LICENSE").unlink()
    assert f"build_zip.sh: can't read {folder / 'LICENSE'}: No such file or directory" in fails(folder)
