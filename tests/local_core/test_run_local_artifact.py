"""run_local.py ZIP: what is said where the zip is another one's, or a package is missing."""

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import List

import pytest

RUN_LOCAL = Path(__file__).resolve().parents[2] / "packaging" / "run_local.py"
FUNCTION = "is the Lambda function's: leave out --native, or build the component's with ./build_zip.sh --native\n"
COMPONENT = "is the native component's: add --native, or build the Lambda function's with ./build_zip.sh\n"


def run(*arguments: object, without_packages: bool = False) -> "subprocess.CompletedProcess[str]":
    options = ["-S"] if without_packages else []
    command = [sys.executable, *options, str(RUN_LOCAL), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=120, text=True)


def artifact(path: Path, entry: str) -> Path:
    """Make a zip, or where the name has no ending a folder, with the entry of one of the two alone."""
    if path.suffix:
        with zipfile.ZipFile(str(path), "w") as archive:
            archive.writestr(entry, "")
    else:
        (path / entry).parent.mkdir(parents=True)
        (path / entry).write_text("")
    return path


@pytest.mark.parametrize("name", ["a.zip", "folder"])
@pytest.mark.parametrize(
    ("entry", "arguments", "message"),
    [
        ("connector/handler.py", ["--native"], FUNCTION),
        ("connector/component.py", [], COMPONENT),
    ],
)
def test_the_other_ones_zip_is_refused_before_anything_starts(
    tmp_path: Path, name: str, entry: str, arguments: List[str], message: str
) -> None:
    path = artifact(tmp_path / name, entry)
    done = run(path, "--once", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"run_local.py: {path} {message}")


def test_a_missing_package_is_named_with_what_to_do(tmp_path: Path) -> None:
    done = run(artifact(tmp_path / "a.zip", "connector/handler.py"), "--once", without_packages=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("run_local.py: No module named '")
    assert done.stderr.endswith("packaging/venv.sh build/venv packaging/requirements.txt\n")
    assert done.stderr.count("\n") == 1
