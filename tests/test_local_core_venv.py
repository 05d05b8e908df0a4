"""packaging/venv.sh, which makes the virtual environments of run_local.sh, build_zip.sh and tests/run.sh."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

VENV_SH = Path(__file__).resolve().parents[1] / "packaging" / "venv.sh"


def start(folder: Path, *files: Path, python: str = sys.executable) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [str(VENV_SH), str(folder), *map(str, files)],
        env={**os.environ, "PYTHON": python},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )


def finish(process: "subprocess.Popen[str]") -> "subprocess.CompletedProcess[str]":
    output, errors = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def venv(folder: Path, *files: Path, python: str = sys.executable) -> "subprocess.CompletedProcess[str]":
    return finish(start(folder, *files, python=python))


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    """Return a requirements file that asks for nothing, so that no package index is needed; it takes in another."""
    (tmp_path / "more.txt").write_text("# more\n")
    path = tmp_path / "requirements.txt"
    path.write_text("# nothing\n-r more.txt\n")
    return path


def test_an_environment_is_made_once_and_again_when_the_requirements_change(tmp_path: Path, requirements: Path) -> None:
    folder = tmp_path / "env"
    folder.mkdir()
    (folder / "pyvenv.cfg").write_text("")  # as far as an interrupted run may get
    (folder / "bin").mkdir()
    version = "{}.{}".format(*sys.version_info)
    made = [finish(process) for process in [start(folder, requirements), start(folder, requirements)]]
    assert [(run.returncode, run.stdout) for run in made] == [(0, f"{folder}/bin/python\n")] * 2
    making = f"venv.sh: making {folder} (Python {version}, requirements.txt) ...\n"
    assert sorted(run.stderr for run in made) == ["", making], "one of two at once makes it"
    prefix = subprocess.check_output([str(folder / "bin" / "python"), "-c", "import sys; print(sys.prefix)"])
    assert prefix.decode().strip() == str(folder)

    kept = venv(folder, requirements)
    assert (kept.returncode, kept.stdout, kept.stderr) == (0, f"{folder}/bin/python\n", "")

    (tmp_path / "more.txt").write_text("not a requirement!\n")  # a file that the first one takes in
    failed = venv(folder, requirements)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith(f"{making}venv.sh: pip could not install {requirements}: ")
    assert "not a requirement!" in failed.stderr
    assert not (folder / "stamp").exists(), "so that the next run makes it again"


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path, requirements: Path) -> None:
    refused = venv(tmp_path, requirements)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == f"venv.sh: {tmp_path} holds something else than a virtual environment; name another.\n"
    assert requirements.exists()


def test_a_python_without_ensurepip_names_the_package_to_install(tmp_path: Path, requirements: Path) -> None:
    python = tmp_path / "python"
    python.write_text(
        f"""#!/bin/sh
case "$*" in *ensurepip*) exit 1 ;; esac
exec {sys.executable} "$@"
"""
    )
    python.chmod(0o755)
    failed = venv(tmp_path / "env", requirements, python=str(python))
    version = "{}.{}".format(*sys.version_info)
    assert (failed.returncode, failed.stdout, failed.stderr) == (
        1,
        "",
        f"venv.sh: Python {version} has no venv or ensurepip module. "
        f"On Debian and Ubuntu: apt-get install python{version}-venv\n",
    )


def test_bad_usage_is_told(tmp_path: Path, requirements: Path) -> None:
    assert venv(tmp_path / "env").stderr == "venv.sh: usage: packaging/venv.sh DIRECTORY REQUIREMENTS_FILE...\n"
    missing = venv(tmp_path / "env", tmp_path / "missing.txt")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr == f"venv.sh: there is no file {tmp_path}/missing.txt.\n"
    absent = venv(tmp_path / "env", requirements, python="no-such-python")
    assert absent.stderr == (
        "venv.sh: there is no 'no-such-python'; install Python 3.7 or later, or set PYTHON to one.\n"
    )
