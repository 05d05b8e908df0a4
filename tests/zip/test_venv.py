"""packaging/venv.sh, which makes the virtual environments of run_local.sh, build_zip.sh and tests/run.sh."""

import importlib.util
import os
import shlex
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Dict, List

import pytest

ROOT = Path(__file__).resolve().parents[2]
VENV_SH = ROOT / "packaging" / "venv.sh"


def start(folder: Path, *files: Path, python: str = sys.executable, **variables: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [str(VENV_SH), str(folder), *map(str, files)],
        env={**os.environ, "PYTHON": python, **variables},
        cwd=str(folder.parent),
        start_new_session=True,
        # As in a terminal: a suite that runs in the background of a script was started with SIGINT ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )


def finish(process: "subprocess.Popen[str]") -> "subprocess.CompletedProcess[str]":
    output, errors = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def venv(
    folder: Path, *files: Path, python: str = sys.executable, **variables: str
) -> "subprocess.CompletedProcess[str]":
    return finish(start(folder, *files, python=python, **variables))


@pytest.fixture(scope="module")
def quick_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a Python whose environments get a link to this one's pip, which is made 20 times faster than a copy."""
    pip = importlib.util.find_spec("pip")
    assert pip is not None
    assert pip.origin is not None
    script = tmp_path_factory.mktemp("quick") / "python"
    script.write_text(
        f"""#!/bin/sh
[ "$1 $2" = "-m venv" ] || exec {shlex.quote(sys.executable)} "$@"
shift 2
{shlex.quote(sys.executable)} -m venv --without-pip "$@" || exit
for folder; do :; done # the last argument
ln -s {shlex.quote(str(Path(pip.origin).parent))} "$folder"/lib/python*/site-packages/
"""
    )
    script.chmod(0o755)
    return str(script)


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
    folder = tmp_path / "env"
    misuses = [venv(folder), venv(folder, tmp_path / "missing.txt")]
    misuses += [venv(folder, requirements, python=python) for python in ("no-such-python", "/bin/true")]
    assert [misuse.stderr for misuse in misuses] == [
        "venv.sh: usage: packaging/venv.sh DIRECTORY REQUIREMENTS_FILE...\n",
        f"venv.sh: there is no file {tmp_path}/missing.txt.\n",
        "venv.sh: 'no-such-python' is no Python that can be run; name one, or its path, with PYTHON=python3.11.\n",
        "venv.sh: '/bin/true' is no Python that can be run; name one, or its path, with PYTHON=python3.11.\n",
    ]
    assert [(misuse.returncode, misuse.stdout) for misuse in misuses] == [(2, "")] * 4
    assert not folder.exists()


def test_each_python_has_an_environment_of_its_own(tmp_path: Path, requirements: Path) -> None:
    """Where that is asked for, in the name and not in the path before it."""
    (tmp_path / "a % b").mkdir()
    made = venv(tmp_path / "a % b" / "env-%-x", requirements)
    version = "{}.{}".format(*sys.version_info)
    assert made.stdout == f"{tmp_path}/a % b/env-{version}-x/bin/python\n", made.stderr


@pytest.fixture
def index(tmp_path: Path) -> Dict[str, str]:
    """Return the settings of pip for a folder with two wheels as its only index: "one" needs "other"."""
    for name, needs in (("one", "Requires-Dist: other\n"), ("other", "")):
        info = f"{name}-1.dist-info"
        with zipfile.ZipFile(str(tmp_path / f"{name}-1-py3-none-any.whl"), "w") as wheel:
            wheel.writestr(f"{name}.py", "")
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n{needs}")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}


def test_settings_of_pip_that_change_what_is_installed_where_do_not_count(
    tmp_path: Path, requirements: Path, index: Dict[str, str]
) -> None:
    requirements.write_text("one\n")
    elsewhere = str(tmp_path / "elsewhere")
    made = venv(tmp_path / "env", requirements, PIP_NO_DEPS="1", PIP_TARGET=elsewhere, **index)
    assert made.returncode == 0, made.stderr
    subprocess.check_call([made.stdout.strip(), "-c", "import one, other"])


def test_an_environment_that_lacks_something_is_not_good(
    tmp_path: Path, requirements: Path, index: Dict[str, str]
) -> None:
    requirements.write_text("one\n")
    settings = tmp_path / "pip.conf"
    settings.write_text("[install]\nno-deps = true\n")
    failed = venv(tmp_path / "env", requirements, PIP_CONFIG_FILE=str(settings), **index)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert f"venv.sh: what pip installed for {requirements} is incomplete: one 1 requires other" in failed.stderr
    assert not (tmp_path / "env" / "stamp").exists(), "so that the next run makes it again"


def test_where_pip_finds_nothing_to_download_it_says_what_to_do(
    tmp_path: Path, requirements: Path, index: Dict[str, str]
) -> None:
    requirements.write_text("absent\n")
    failed = venv(tmp_path / "env", requirements, **index)
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1] == (
        "venv.sh: is there a way to PyPI from here? If not, name an index with PIP_INDEX_URL, or a folder of wheels "
        "with PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER, and try again."
    )


def test_cdpath_leads_nowhere_else(tmp_path: Path, requirements: Path) -> None:
    (tmp_path / "elsewhere" / "env").mkdir(parents=True)
    (tmp_path / "env").mkdir()
    made = subprocess.run(
        [str(VENV_SH), "env", str(requirements)],
        env={**os.environ, "PYTHON": sys.executable, "CDPATH": str(tmp_path / "elsewhere")},
        cwd=str(tmp_path),
        stdout=subprocess.PIPE,
        timeout=120,
        text=True,
    )
    assert made.stdout == f"{tmp_path}/env/bin/python\n"


def test_ctrl_c_makes_no_new_environment(tmp_path: Path, requirements: Path) -> None:
    folder = tmp_path / "env"
    assert venv(folder, requirements).returncode == 0
    python = folder / "bin" / "python"
    python.unlink()
    # A Python that Ctrl-C meets while it starts may end with 1, as if it had failed.
    python.write_text("#!/bin/sh\ntrap 'exit 1' INT\nkill -INT 0\nexit 1\n")
    python.chmod(0o755)
    ended = venv(folder, requirements)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


@pytest.mark.parametrize(
    ("script", "arguments", "python", "says", "named"),
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
def test_a_wrong_interpreter_is_bad_usage(
    script: str, arguments: List[str], python: str, says: str, named: str
) -> None:
    done = subprocess.run(
        [str(ROOT / script), *arguments],
        env={**os.environ, "PYTHON": python},
        capture_output=True,
        timeout=60,
        text=True,
    )
    wrong = "no-such" if python == sys.executable else python
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (f"{says}: '{wrong}' is no Python that can be run; name one, or its path, with {named}.\n")
