"""What the scripts say with --help and with an unknown option, before they make or fetch anything."""

import os
import re
import subprocess
from pathlib import Path
from typing import List

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = [
    "build_zip.sh",
    "packaging/prove_aarch64.sh",
    "packaging/run_local.sh",
    "packaging/venv.sh",
    "tests/run.sh",
    "tests/fuzz/run.sh",
    ".ci/run",
]
BENCHMARKS = [f"tests/bench/{name}.sh" for name in ("run", "direct", "native", "recordings")]
NO_PYTHON = "/nonexistent/python"


def run(script: str, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(ROOT / script), *arguments], env={**os.environ, **variables}, capture_output=True, text=True, timeout=300
    )


def test_every_script_is_tested_here() -> None:
    found = [path for pattern in ("*.sh", "packaging/**/*.sh", "tests/**/*.sh") for path in ROOT.glob(pattern)]
    programs = [str(path.relative_to(ROOT)) for path in found if os.access(str(path), os.X_OK)]
    assert sorted([*programs, ".ci/run"]) == sorted([*SCRIPTS, *BENCHMARKS])


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("script", [*SCRIPTS, *BENCHMARKS])
def test_help_is_short_and_ends_with_0(script: str, option: str) -> None:
    # The help of two scripts is that of the Python programs behind them; the others need no Python.
    variables = {} if script in ("build_zip.sh", "packaging/run_local.sh") else {"PYTHON": NO_PYTHON}
    done = run(script, option, **variables)
    assert (done.returncode, done.stderr) == (0, "")
    assert Path(script).name in done.stdout
    assert 3 <= len(done.stdout.splitlines()) <= 200
    assert max(map(len, done.stdout.splitlines())) <= 124


@pytest.mark.parametrize(
    "script", ["packaging/prove_aarch64.sh", "packaging/venv.sh", "tests/fuzz/run.sh", ".ci/run", *BENCHMARKS]
)
def test_unknown_option_gives_2_and_one_line_before_anything_is_made(script: str) -> None:
    done = run(script, "--such-option", "x", PYTHON=NO_PYTHON)
    assert (done.returncode, done.stdout) == (2, "")
    name = script if script == ".ci/run" else Path(script).name
    assert re.fullmatch(rf"{re.escape(name)}: .*\n", done.stderr)


def test_unknown_option_of_the_build_is_one_line() -> None:
    done = run("build_zip.sh", "--such-option")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == (
        "build_zip.sh: unrecognized arguments: --such-option (build_zip.sh --help lists the options)"
    )
    assert "usage:" not in done.stderr


@pytest.mark.parametrize("script", BENCHMARKS)
def test_help_of_a_benchmark_names_every_option_of_its_program(script: str) -> None:
    source = (ROOT / script).with_suffix(".py").read_text(encoding="utf-8")
    options: List[str] = re.findall(r'add_argument\(\s*"(--[a-z-]+)"(?![^)]*SUPPRESS)', source)
    assert "--output" in options
    assert [option for option in options if f" {option} " not in run(script, "--help").stdout.replace("[", " ")] == []
