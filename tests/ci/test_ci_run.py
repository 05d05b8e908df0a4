""".ci/run: wrong arguments, and a skipped test fails the run unless its reason is allowed."""

import os
import subprocess
import sys
from pathlib import Path
from typing import List

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["lnt"], "unknown step 'lnt'; the steps are packages, first-command, lint, fuzz, zip and test [VERSION]"),
        (["test", "2.7"], "there is no CPython 2.7 on PATH or in pyenv; there are: "),
    ],
)
def test_wrong_arguments_give_2_and_a_line(arguments: List[str], reason: str) -> None:
    done = subprocess.run([str(ROOT / ".ci" / "run"), *arguments], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f".ci/run: {reason}")


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


@pytest.mark.parametrize("options", [["-n", "1"], ["-p", "no:xdist"]])
def test_skipped_test_fails_the_run_unless_its_reason_is_allowed(tmp_path: Path, options: List[str]) -> None:
    if "-n" in options:
        pytest.importorskip("xdist")
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "test_module.py").write_text("import pytest; pytest.importorskip('no_such_module')")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-p", "no:cacheprovider", *options],
        cwd=str(tmp_path),
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests"), "ALLOWED_SKIPS": ".ci/allowed-skips"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    start = "FAILED, as it was skipped: "
    refused = sorted(line[len(start) :] for line in done.stdout.splitlines() if line.startswith(start))
    assert refused == [
        "test_module.py: Skipped: could not import 'no_such_module': No module named 'no_such_module'",
        "test_some.py::test_skipped: Skipped: no broker",
    ]
