"""README's commands outside the chapter on deploying, which has a test of its own: each is run, or is run elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHAPTERS = {chapter.partition("\n")[0]: chapter for chapter in README.split("\n## ")[1:]}

# Command of the other chapters -> what runs it.
ELSEWHERE = {
    "./packaging/run_local.sh --once": ".ci/run",
    "./tests/run.sh": ".ci/run",
    "python3 -m connector": "tests/connector/test_command_line.py",
    "./build_zip.sh": "tests/zip/test_build_zip.py",
    "./build_zip.sh --python 3.8 --arch aarch64": "tests/zip/test_build_zip.py",
    "./build_zip.sh --all": "tests/zip/test_build_zip.py",
    "tests/bench/run.sh": "a person: it takes minutes",
}

# Stands for the commands that reach AWS or a day's wait. The real AWS CLI checks what it is given
# against the services' models and answers with a sample: nothing leaves the machine.
SHIMS = {
    "python": 'exec "{python}" "$@"',
    "python3": """
        test "$1 $2" = "-m connector" || exit 9
        "{python}" "$@" -n 1 >/dev/null && cat "{root}/tests/detection/fixtures/ordinary.jsonl"
    """,
    "aws": """
        echo "$1 $2" >>called
        case "$1 $2" in
          "configure get") echo eu-west-1 ;;
          "sts get-caller-identity") echo 123456789012 ;;
          "iot list-active-violations") ;;  # the CLI's sample of an answer does not pass its own check
          "cloudformation deploy")
            test -f "$8"
            shift 9
            for parameter; do
              grep -q "^  ${{parameter%%=*}}:" packaging/security_profiles/security-profiles.yaml || exit 8
            done ;;
          *) exec "{python}" -m awscli "$@" --generate-cli-skeleton output ;;
        esac
    """,
}


def commands(chapter: str) -> str:
    return "\n".join(re.findall(r"^```sh\n(.*?)^```$", CHAPTERS[chapter], re.MULTILINE | re.DOTALL))


def test_every_command_is_run_by_something() -> None:
    listed = [
        line.partition("#")[0].strip()
        for chapter in CHAPTERS
        if chapter not in ("Deploy", "Detect")
        for line in commands(chapter).splitlines()
        if line.strip()
    ]
    assert listed == list(ELSEWHERE)
    for line in listed:
        program = line.split()[0]
        assert program == "python3" or os.access(ROOT / program, os.X_OK), program


def test_the_chapter_on_detect_runs_from_top_to_bottom(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name, script in SHIMS.items():
        shim = tmp_path / "bin" / name
        shim.write_text("#!/bin/bash -e\n" + script.format(python=sys.executable, root=ROOT))
        shim.chmod(0o755)
    for name in ("packaging", "connector"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "incident.jsonl").symlink_to(ROOT / "tests" / "detection" / "fixtures" / "incident.jsonl")
    ran = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", commands("Detect")],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "PYTHONPATH": "",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert {"DataExfiltration.svg", "DataExfiltrationCheck.svg", "Gateway.json", "Gateway.svg"} <= {
        path.name for path in tmp_path.iterdir()
    }
    called = (tmp_path / "called").read_text().splitlines()
    assert called.count("iot create-custom-metric") == len(
        list(ROOT.glob("packaging/security_profiles/custom_metrics/*.json"))
    )
    assert {"iot create-security-profile", "iot attach-security-profile", "cloudformation deploy"} <= set(called)


@pytest.mark.parametrize("path", sorted(set(ELSEWHERE.values()) - {"a person: it takes minutes"}))
def test_what_runs_it_is_there(path: str) -> None:
    assert (ROOT / path).is_file()
