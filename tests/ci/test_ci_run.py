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


@pytest.mark.parametrize("workers", ["0", "1"])
@pytest.mark.parametrize(
    ("skip", "code", "line"),
    [
        ("@pytest.mark.skip(reason='no broker')", 1, "test_it.py::test_it: Skipped: no broker"),
        ("@pytest.mark.skip(reason='audit hooks came with Python 3.8')", 0, ""),
        ("@pytest.mark.xfail(reason='known')", 0, ""),
        ("pytest.importorskip('no_such_module')", 1, "test_it.py: Skipped: could not import 'no_such_module'"),
    ],
)
def test_skipped_test_fails_the_run(tmp_path: Path, workers: str, skip: str, code: int, line: str) -> None:
    (tmp_path / "test_it.py").write_text(
        f"import pytest\n{skip}\ndef test_it():\n    assert False\ndef test_fine(): pass\n"
    )
    options = ["-n", workers] if workers != "0" else ["-p", "no:xdist"]
    if workers != "0":
        pytest.importorskip("xdist")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-p", "no:cacheprovider", *options, "test_it.py"],
        cwd=str(tmp_path),
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests"), "ALLOWED_SKIPS": ".ci/allowed-skips"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stdout + done.stderr
    refused = [text for text in done.stdout.splitlines() if text.startswith("FAILED, as it was skipped: ")]
    assert [line in text for text in refused] == ([True] if line else [])
