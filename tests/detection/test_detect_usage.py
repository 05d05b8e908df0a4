"""Errors of detect.py for arguments and files that can't be used, and its exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
from detection import recordings
from support.detect_tool import ORDINARY, PROFILES, ROOT, run

from connector import __version__

PROFILE = """\
{
  "securityProfileName": "P",
  "behaviors": [
    {"name": "Fine", "metric": "aws:num-listening-tcp-ports"},
    {
      "name": "Wrong",
      "metric": "aws:listening-tcp-ports",
      "criteria": {"comparisonOperator": "less-than", "value": {"count": 5}}
    }
  ]
}
"""


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ("{", "detect.py: p.json:1: not JSON: Expecting property name enclosed in double quotes at column 2\n"),
        ("[]", "detect.py: p.json:1: a JSON object is expected\n"),
        (
            PROFILE,
            "detect.py: p.json:6: behaviors[1] Wrong: value has count; aws:listening-tcp-ports is compared with ports\n"
            "detect.py: p.json:6: behaviors[1] Wrong: comparisonOperator is less-than; aws:listening-tcp-ports takes"
            " in-port-set, not-in-port-set\n",
        ),
        (
            PROFILE.replace('"Fine", ', '"Fine", "suppress": true, '),
            'detect.py: p.json:4: Unknown parameter in behaviors[0]: "suppress", must be one of: name, metric,'
            " metricDimension, criteria, suppressAlerts, exportMetric\n",
        ),
    ],
)
def test_faulty_profile_is_an_error_with_its_line(capsys: pytest.CaptureFixture[str], text: str, errors: str) -> None:
    Path("p.json").write_text(text)
    assert run("try", "p.json", "--reports", ORDINARY) == 2
    assert capsys.readouterr().err == errors


def test_record_that_cannot_be_read_is_named_and_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken.jsonl").write_text("^C\n" + ORDINARY.read_text())
    assert run("try", PROFILES / "DataExfiltration.json", "--reports", "broken.jsonl") == 0
    assert capsys.readouterr().out.startswith(
        "38 records in 1 file: 37 read, 1 skipped; 1 device\nskipped: broken.jsonl:1: not JSON\n\nDataExfiltration"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["try", PROFILES / "DataExfiltration.json", "--reports", "broken.jsonl"],
        ["try", PROFILES / "DataExfiltration.json", "--reports", ORDINARY, "--baseline", "broken.jsonl"],
        ["suggest", "--reports", "broken.jsonl"],
    ],
)
def test_strict_makes_it_an_error(capsys: pytest.CaptureFixture[str], arguments: list[Any]) -> None:
    Path("broken.jsonl").write_text("^C\n" + ORDINARY.read_text())
    assert run(*arguments, "--strict") == 2
    assert capsys.readouterr().err == "detect.py: broken.jsonl:1: not JSON\n"


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        ("thing=(", "is no regular expression: missing ), unterminated subpattern at position 6"),
        ("thing=.*", "has no group, such as thing=([^/]+)"),
    ],
)
def test_thing_from_needs_a_pattern_with_a_group(capsys: pytest.CaptureFixture[str], pattern: str, fault: str) -> None:
    assert run("suggest", "--reports", ORDINARY, "--thing-from", pattern) == 2
    assert f"argument --thing-from: {pattern} {fault} (detect.py" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["try", "p.json"], "the following arguments are required: --reports"),
        (
            ["try", "p.json", "--reports", "r", "--picture", "p.gif"],
            "argument --picture: p.gif ends neither in .svg nor in .png",
        ),
        (["suggest", "--reports", "r", "--headroom", "0.5"], "argument --headroom: 0.5 is not a number from 1 to 1000"),
        (
            ["suggest", "--reports", "r", "--headroom", "much"],
            "argument --headroom: much is not a number from 1 to 1000",
        ),
    ],
)
def test_wrong_usage_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], error: str) -> None:
    assert run(*arguments) == 2
    command = " ".join(["detect.py", *arguments[:1]])
    assert capsys.readouterr().err == f"{command}: {error} ({command} --help lists the options)\n"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["try", PROFILES / "DataExfiltration.json", "--reports", ORDINARY, "--picture", "no/p.svg"], "no/p.svg"),
        (["suggest", "--force", "--reports", ORDINARY, "--output", "no/p.json"], "no/p.json"),
        (["try", "none.json", "--reports", ORDINARY], "none.json"),
    ],
)
def test_file_that_cannot_be_opened_is_an_error(
    capsys: pytest.CaptureFixture[str], arguments: list[Any], error: str
) -> None:
    assert run(*arguments) == 2
    assert capsys.readouterr().err == f"detect.py: {error}: No such file or directory\n"


def test_closed_pipe_is_not_an_error() -> None:
    """As in `detect.py try ... | head -n 1`."""
    command = [sys.executable, str(ROOT / "packaging" / "detect.py"), "suggest", "--force", "--reports", str(ORDINARY)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0
    assert Path("NormalBehavior.json").exists()


def test_version_is_that_of_the_connector(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"detect.py {__version__}\n"


def test_runs_by_its_path() -> None:
    command = [sys.executable, str(ROOT / "packaging" / "detect.py"), "suggest", "--force", "--reports", str(ORDINARY)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.endswith("Profile: NormalBehavior.json\n")


def test_missing_packages_name_the_environment_to_make(tmp_path: Path) -> None:
    """-S: no site-packages, as in an environment where nothing is installed."""
    command = [sys.executable, "-S", str(ROOT / "packaging" / "detect.py"), "try", "p.json", "--reports", "r"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env={})
    assert result.returncode == 1
    assert result.stderr == (
        "detect.py: No module named 'zstandard'. Make an environment with what it needs, and use its python:"
        " packaging/venv.sh build/tools packaging/requirements-tools.txt\n"
    )


@pytest.mark.parametrize("option", ["--picture", "--page"])
def test_folder_that_is_missing_is_said_before_anything_is_read(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "missing" / "x.svg"
    profile = PROFILES / "DataExfiltration.json"
    assert run("try", profile, "--reports", tmp_path / "no.jsonl", option, path) == 2
    assert capsys.readouterr() == ("", f"detect.py: {path}: No such file or directory\n")


def test_full_disk_names_the_folder_to_change(tmp_path: Path) -> None:
    """The limit on the size of a file stands for a disk that is full."""
    path = tmp_path / "reports.jsonl"
    report = '{"header":{"report_id":%d},"custom_metrics":{"noise":[{"number":%d.%d}]}}\n'
    path.write_text("".join(report % (1767225600 + at, at * 7919 % 10007, at * 104729 % 99991) for at in range(20_000)))
    limited = ["sh", "-c", 'ulimit -f 40 && exec "$0" "$@"', sys.executable, "-B"]  # blocks of 512 bytes
    tool, profile = ROOT / "packaging" / "detect.py", PROFILES / "DataExfiltration.json"
    result = subprocess.run(
        [*limited, str(tool), "try", str(profile), "--reports", str(path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert result.returncode == 1
    assert result.stderr.startswith(
        f"detect.py: no room in {tmp_path}, where what was read is kept; name a larger folder with TMPDIR: "
    )
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == [path]


def test_full_disk_of_the_engine_is_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: Any, **options: Any) -> Any:
        raise duckdb.OutOfMemoryException("failed to offload data block")

    monkeypatch.setattr(recordings, "read", refuse)
    assert run("suggest", "--reports", ORDINARY) == 1
    assert capsys.readouterr().err.endswith("name a larger folder with TMPDIR: failed to offload data block\n")
