"""packaging/venv.sh, which makes the virtual environments of run_local.sh, build_zip.sh and tests/run.sh.

No test needs the network: pip installs nothing, or small wheels from a folder of the test's.
"""

import os
import shlex
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Dict, List

import pytest
from support import quick_venv

ROOT = Path(__file__).resolve().parents[2]
VENV_SH = ROOT / "packaging" / "venv.sh"
VERSION = "{}.{}".format(*sys.version_info)


def start(folder: Path, *files: Path, python: str = sys.executable, **variables: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [str(VENV_SH), str(folder), *map(str, files)],
        env={**os.environ, "PYTHON": python, **variables},
        cwd=str(folder.parent),
        start_new_session=True,
        # As in a terminal: a suite that a script runs in the background has SIGINT ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )


def finish(process: "subprocess.Popen[str]") -> "subprocess.CompletedProcess[str]":
    output, errors = process.communicate(timeout=3000)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def venv(
    folder: Path, *files: Path, python: str = sys.executable, **variables: str
) -> "subprocess.CompletedProcess[str]":
    return finish(start(folder, *files, python=python, **variables))


@pytest.fixture(scope="module")
def quick_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    return quick_venv.write_python(tmp_path_factory.mktemp("quick") / "python")


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    """Return a requirements file that asks for nothing, and includes another one that asks for nothing."""
    (tmp_path / "more.txt").write_text("# more\n")
    path = tmp_path / "requirements.txt"
    path.write_text("# nothing\n-r more.txt\n")
    return path


def test_environment_is_made_once_by_one_of_two_processes(tmp_path: Path, requirements: Path) -> None:
    """With the interpreter's own venv and pip; the other tests take pip from this environment."""
    folder = tmp_path / "env"
    folder.mkdir()
    (folder / "pyvenv.cfg").write_text("")  # what an interrupted run may leave
    (folder / "bin").mkdir()
    made = [finish(process) for process in [start(folder, requirements), start(folder, requirements)]]
    assert [(run.returncode, run.stdout) for run in made] == [(0, f"{folder}/bin/python\n")] * 2
    making = f"venv.sh: making {folder} (Python {VERSION}, requirements.txt) ...\n"
    assert sorted(run.stderr for run in made) == ["", making]
    prefix = subprocess.check_output([str(folder / "bin" / "python"), "-c", "import sys; print(sys.prefix)"])
    assert prefix.decode().strip() == str(folder)

    kept = venv(folder, requirements)
    assert (kept.returncode, kept.stdout, kept.stderr) == (0, f"{folder}/bin/python\n", "")


def test_changed_requirements_make_the_environment_again(tmp_path: Path, requirements: Path, quick_python: str) -> None:
    folder = tmp_path / "env"
    assert venv(folder, requirements, python=quick_python).returncode == 0
    (tmp_path / "more.txt").write_text("not a requirement!\n")  # in the included file
    failed = venv(folder, requirements, python=quick_python)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith(
        f"venv.sh: making {folder} (Python {VERSION}, requirements.txt) ...\n"
        f"venv.sh: pip could not install {requirements}: "
    )
    assert "not a requirement!" in failed.stderr
    assert not (folder / "stamp").exists(), "so that the next run makes it again"


def test_folder_with_other_files_is_refused_and_unchanged(tmp_path: Path, requirements: Path) -> None:
    refused = venv(tmp_path, requirements)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        f"venv.sh: {tmp_path} contains something else than a virtual environment; name another directory.\n"
    )
    assert requirements.exists()


def wrapper(path: Path, shell: str) -> str:
    """Write a program that runs some lines of sh and then the running Python; return its path."""
    path.write_text(f'#!/bin/sh\n{shell}\nexec {shlex.quote(sys.executable)} "$@"\n')
    path.chmod(0o755)
    return str(path)


def test_python_without_ensurepip_names_the_package_to_install(tmp_path: Path, requirements: Path) -> None:
    python = wrapper(tmp_path / "python", 'case "$*" in *"import ensurepip"*) exit 1 ;; esac')
    failed = venv(tmp_path / "env", requirements, python=python)
    assert (failed.returncode, failed.stdout, failed.stderr) == (
        1,
        "",
        f"venv.sh: Python {VERSION} has no venv or ensurepip module. "
        f"On Debian and Ubuntu: apt-get install python{VERSION}-venv\n",
    )


def test_bad_usage_gives_2_a_line_and_no_folder(tmp_path: Path, requirements: Path) -> None:
    folder = tmp_path / "env"
    misuses = [venv(folder), venv(folder, tmp_path / "missing.txt")]
    misuses += [venv(folder, requirements, python=python) for python in ("no-such-python", "/bin/true")]
    assert [misuse.stderr for misuse in misuses] == [
        "venv.sh: usage: packaging/venv.sh DIRECTORY REQUIREMENTS_FILE...\n",
        f"venv.sh: there is no file {tmp_path}/missing.txt.\n",
        *(
            f"venv.sh: '{python}' can't be run as a Python interpreter; "
            "name one, or its path, with PYTHON=python3.11.\n"
            for python in ("no-such-python", "/bin/true")
        ),
    ]
    assert [(misuse.returncode, misuse.stdout) for misuse in misuses] == [(2, "")] * 4
    assert not folder.exists()


def test_requirements_for_a_newer_python_are_refused_in_one_line(tmp_path: Path, requirements: Path) -> None:
    (tmp_path / "more.txt").write_text("# For the tools, on Python 3.99 or later.\n")
    refused = venv(tmp_path / "env", requirements)
    assert (refused.returncode, refused.stdout, refused.stderr) == (
        2,
        "",
        f"venv.sh: more.txt needs Python 3.99 or later; {sys.executable} is Python {VERSION}. "
        "Set PYTHON to a newer one.\n",
    )
    assert not (tmp_path / "env").exists()


def test_requirements_of_the_tools_name_the_python_that_they_need() -> None:
    """The words that venv.sh looks for; without them an older Python gives 28 KB of pip's output."""
    for file in ("packaging/requirements-tools.txt", "tests/requirements-tools.txt", "tests/bench/requirements.txt"):
        assert "Python 3.10 or later" in (ROOT / file).read_text(encoding="utf-8"), file


def test_percent_in_the_name_is_the_version_of_python(tmp_path: Path, requirements: Path, quick_python: str) -> None:
    """In the last part of the path only."""
    (tmp_path / "a % b").mkdir()
    made = venv(tmp_path / "a % b" / "env-%-x", requirements, python=quick_python)
    assert made.stdout == f"{tmp_path}/a % b/env-{VERSION}-x/bin/python\n", made.stderr


def wheel(folder: Path, name: str, needs: str = "") -> None:
    """Write a wheel of version 1 with one empty module."""
    info = f"{name}-1.dist-info"
    with zipfile.ZipFile(str(folder / f"{name}-1-py3-none-any.whl"), "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n{needs}")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


@pytest.fixture
def index(tmp_path: Path) -> Dict[str, str]:
    """Return the settings of pip for a folder with two wheels as its only index: "one" needs "other"."""
    wheel(tmp_path, "one", "Requires-Dist: other\n")
    wheel(tmp_path, "other")
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}


def test_pip_settings_that_change_what_is_installed_are_ignored(
    tmp_path: Path, requirements: Path, index: Dict[str, str], quick_python: str
) -> None:
    requirements.write_text("one\n")
    elsewhere = str(tmp_path / "elsewhere")
    made = venv(tmp_path / "env", requirements, python=quick_python, PIP_NO_DEPS="1", PIP_TARGET=elsewhere, **index)
    assert made.returncode == 0, made.stderr
    subprocess.check_call([made.stdout.strip(), "-c", "import one, other"])


def test_incomplete_environment_is_an_error(
    tmp_path: Path, requirements: Path, index: Dict[str, str], quick_python: str
) -> None:
    requirements.write_text("one\n")
    settings = tmp_path / "pip.conf"
    settings.write_text("[install]\nno-deps = true\n")
    failed = venv(tmp_path / "env", requirements, python=quick_python, PIP_CONFIG_FILE=str(settings), **index)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert f"venv.sh: what pip installed for {requirements} is incomplete: one 1 requires other" in failed.stderr
    assert not (tmp_path / "env" / "stamp").exists(), "so that the next run makes it again"


def test_package_that_pip_cant_find_gives_advice(
    tmp_path: Path, requirements: Path, index: Dict[str, str], quick_python: str
) -> None:
    requirements.write_text("absent\n")
    failed = venv(tmp_path / "env", requirements, python=quick_python, **index)
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1] == (
        "venv.sh: is there a way to PyPI from here? If not, name an index with PIP_INDEX_URL, or a folder of wheels "
        "with PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER, and try again."
    )


def test_pip_of_the_requirements_is_installed_before_the_rest(
    tmp_path: Path, requirements: Path, index: Dict[str, str], quick_python: str
) -> None:
    """Shown by the failure: the folder has no such pip, and "absent" was not looked for yet."""
    requirements.write_text("absent\npip==99 ; python_version >= '3'\n")
    failed = venv(tmp_path / "env", requirements, python=quick_python, **index)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "venv.sh: pip could not install pip==99: " in failed.stderr
    assert "absent" not in failed.stderr


def test_cdpath_has_no_influence(tmp_path: Path, requirements: Path, quick_python: str) -> None:
    (tmp_path / "elsewhere" / "env").mkdir(parents=True)
    (tmp_path / "env").mkdir()
    made = subprocess.run(
        [str(VENV_SH), "env", str(requirements)],
        env={**os.environ, "PYTHON": quick_python, "CDPATH": str(tmp_path / "elsewhere")},
        cwd=str(tmp_path),
        stdout=subprocess.PIPE,
        timeout=3000,
        text=True,
    )
    assert made.stdout == f"{tmp_path}/env/bin/python\n"


def test_ctrl_c_makes_no_new_environment(tmp_path: Path, requirements: Path, quick_python: str) -> None:
    folder = tmp_path / "env"
    assert venv(folder, requirements, python=quick_python).returncode == 0
    python = folder / "bin" / "python"
    python.unlink()
    # A Python that is interrupted while it starts may end with 1, as if it had failed.
    python.write_text("#!/bin/sh\ntrap 'exit 1' INT\nkill -INT 0\nexit 1\n")
    python.chmod(0o755)
    ended = venv(folder, requirements, python=quick_python)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


@pytest.mark.parametrize(
    ("script", "arguments", "python", "prefix", "advice"),
    [
        ("build_zip.sh", [], "/nonexistent", "venv.sh", "PYTHON=python3.11"),
        ("build_zip.sh", [], "/bin/true", "venv.sh", "PYTHON=python3.11"),
        ("packaging/run_local.sh", ["--once"], "no-such-python", "run_local.sh", "PYTHON=python3.11"),
        ("packaging/run_local.sh", ["--once"], "/bin/true", "run_local.sh", "PYTHON=python3.11"),
        ("packaging/run_local.sh", ["--help"], "no-such-python", "run_local.sh", "PYTHON=python3.11"),
        ("packaging/run_local.sh", ["--python", "no-such"], sys.executable, "run_local.sh", "--python python3.11"),
        ("tests/run.sh", [], "no-such-python", "venv.sh", "PYTHON=python3.11"),
        ("tests/run.sh", [], "/bin/true", "venv.sh", "PYTHON=python3.11"),
        ("tests/bench/run.sh", [], "/bin/true", "venv.sh", "PYTHON=python3.11"),
        ("tests/fuzz/run.sh", ["1"], "/bin/true", "venv.sh", "PYTHON=python3.11"),
    ],
)
def test_wrong_interpreter_is_bad_usage(
    script: str, arguments: List[str], python: str, prefix: str, advice: str
) -> None:
    done = subprocess.run(
        [str(ROOT / script), *arguments],
        env={**os.environ, "PYTHON": python},
        capture_output=True,
        timeout=300,
        text=True,
    )
    wrong = "no-such" if python == sys.executable else python
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"{prefix}: '{wrong}' can't be run as a Python interpreter; name one, or its path, with {advice}.\n"
    )
