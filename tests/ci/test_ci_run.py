""".ci/run and run.sh: wrong arguments, and a skipped test fails the run unless its reason is allowed."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import List

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("arguments", [["lnt"], ["lint", "3.8"], ["test", "2.7"]], ids=" ".join)
def test_unknown_step_gives_2_and_the_list_of_steps(arguments: List[str]) -> None:
    done = subprocess.run([str(ROOT / ".ci" / "run"), *arguments], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f".ci/run: unknown step '{' '.join(arguments)}'; "
        "the steps are packages, first-command, lint, fuzz, spark, zip and test [VERSION]\n"
    )


DRAWN = """
import os
from hypothesis import given, strategies as st

if "ANOTHER" in os.environ:
    import another

drawn = []

@given(st.lists(st.integers(0, 2**40)), st.text())
def test_draws(numbers, text): drawn.append((numbers, text))

def test_prints(): print("drawn:", ascii(drawn))
"""


def test_property_tests_try_the_same_examples_whatever_else_was_imported(tmp_path: Path) -> None:
    """Which tests ran before in a process of pytest-xdist differs from run to run."""
    (tmp_path / "test_drawn.py").write_text(DRAWN)
    (tmp_path / "another.py").write_text("NUMBERS, TEXT = [123456789, 987654321, 5555555], 'a constant'\n")
    found = []
    for variables in ({}, {"ANOTHER": "1"}):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-s", "-p", "conftest", "-p", "no:cacheprovider"],
            cwd=str(tmp_path),
            env={**os.environ, "PYTHONPATH": str(ROOT / "tests"), "CI": "true", **variables},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        found += [line for line in done.stdout.splitlines() if "drawn: " in line]
    assert len(found) == 2
    assert found[0] == found[1]


TESTS = """
import pytest

@pytest.mark.skip(reason="no broker")
def test_skipped(): pass

@pytest.mark.skip(reason="audit hooks came with Python 3.8")
def test_skipped_for_an_allowed_reason(): pass

@pytest.mark.xfail(reason="known")
def test_expected_to_fail(): assert False

def test_fine(): pass
"""


def test_skipped_test_fails_the_run_unless_its_reason_is_allowed(tmp_path: Path) -> None:
    """With a worker of pytest-xdist where that is installed, as in CI."""
    options = ["-n", "1"] if importlib.util.find_spec("xdist") else []
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "test_module.py").write_text("import pytest; pytest.importorskip('no_such_module')")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-p", "no:cacheprovider", *options],
        cwd=str(tmp_path),
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests"), "ALLOWED_SKIPS": ".ci/allowed-skips"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    start = "FAILED, as it was skipped: "
    refused = sorted(line[len(start) :] for line in done.stdout.splitlines() if line.startswith(start))
    assert refused == [
        "test_module.py: Skipped: could not import 'no_such_module': No module named 'no_such_module'",
        "test_some.py::test_skipped: Skipped: no broker",
    ]


@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["one process", "pytest-xdist"])
@pytest.mark.parametrize("test", ["", "::test_some"])
def test_a_file_that_does_not_exist_is_named(options: List[str], test: str) -> None:
    if options and not importlib.util.find_spec("xdist"):
        options = []
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, f"tests/ci/test_mistyped.py{test}"],
        cwd=str(ROOT),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout.strip()) == (4, "")
    assert done.stderr.strip() == "ERROR: tests/ci/test_mistyped.py: there is no such file or folder"
