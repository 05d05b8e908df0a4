"""The options of run_local.py and run_local.sh: the connector's parameters, and wrong options before the build."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

import pytest
from run_local_options import parse

from connector import __version__
from connector.flags import READ_BY_FUNCTION, spellings

ROOT = Path(__file__).resolve().parents[2]
RUN_LOCAL = ROOT / "packaging" / "run_local.py"
VERSION = "{}.{}".format(*sys.version_info)
SHOW = """
import os
print("VALUE", os.environ.get("{name}"))
def handler(event, context):
    pass
raise SystemExit
"""


CLOSEST = "argument --set: {}: no parameter has this name; the closest is {}"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RUN_LOCAL), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=120, text=True)


def function_sees(folder: Path, name: str, *arguments: str) -> str:
    """Return the value of a variable in the function's environment."""
    (folder / "function.py").write_text(SHOW.replace("{name}", name))
    done = run(folder, "--once", "--handler", "function.handler", *arguments)
    assert "function | VALUE " in done.stdout, done
    return done.stdout.partition("function | VALUE ")[2].partition("\n")[0]


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["--MaxListSize", "7"], "MaxListSize", "7"),
        (["--max-list-size=7"], "MaxListSize", "7"),
        (["--set", "MaxListSize=7"], "MaxListSize", "7"),
        (["--set", "max-list-size=7"], "MaxListSize", "7"),
        (["--set", "SAMPLE_INTERVAL_SECONDS=600"], "SampleIntervalSeconds", "600"),
        (["--set", "ExcludeInterfaces=lo,a=b"], "ExcludeInterfaces", "lo,a=b"),
        (["--env", "LOG_LEVEL=DEBUG"], "LOG_LEVEL", "DEBUG"),
        (["--env", "MaxListSize=900", "--MaxListSize", "9"], "MaxListSize", "900"),
        (["--report-format", "cbor"], "ENCODING_TYPE", "binary"),
    ],
    ids=" ".join,
)
def test_every_spelling_reaches_the_function(tmp_path: Path, arguments: List[str], name: str, value: str) -> None:
    assert function_sees(tmp_path, name, *arguments) == value


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--set", "MaxListSzie=5"],
            CLOSEST.format("MaxListSzie", "MaxListSize"),
        ),
        (
            ["--set", "metricnames=x"],
            CLOSEST.format("metricnames", "MetricNames"),
        ),
        (
            ["--set", "exclude=x"],
            CLOSEST.format("exclude", "ExcludeInterfaces"),
        ),
        (["--set", "MaxListSize=501"], "argument --set: MaxListSize: '501' is not valid: 1 to 500"),
        (["--set", "MaxListSize"], "argument --set: 'MaxListSize' is not NAME=VALUE"),
        (["--env", "=x"], "argument --env: '=x' is not NAME=VALUE"),
        (["--MetricNames", "Long"], "argument --MetricNames/--metric-names: 'Long' is not valid: long or short"),
        (["--intervall", "5"], "unrecognized arguments: --intervall 5"),
        (["--thing", "<script>"], "argument --thing: '<script>' is not 1 to 128 of a-zA-Z0-9:_-"),
        (["--thing", ""], "argument --thing: '' is not 1 to 128 of a-zA-Z0-9:_-"),
    ],
)
def test_wrong_option_is_one_line_and_ends_with_2(
    arguments: List[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["a.zip", *arguments], None)
    assert ended.value.code == 2
    assert capsys.readouterr() == ("", f"run_local.py: {message} (run_local.py --help lists the options)\n")


def test_help_names_every_parameter_in_both_spellings_and_needs_no_package() -> None:
    command = [sys.executable, "-S", str(RUN_LOCAL), "--help"]
    shown = subprocess.run(command, stdout=subprocess.PIPE, timeout=120, text=True).stdout
    flags = [flag for parameter in READ_BY_FUNCTION for flag in spellings(parameter)]
    assert [flag for flag in flags if flag not in shown] == []
    assert "--parse-only" not in shown


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository whose build_zip.sh only leaves a file that shows it was started."""
    for name in ("packaging", "connector"):
        (tmp_path / name).symlink_to(ROOT / name)
    build = tmp_path / "build_zip.sh"
    build.write_text('#!/bin/sh\necho "$@" >"$(dirname "$0")/built"\nexit 9\n')
    build.chmod(0o755)
    return tmp_path


def run_script(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ: Dict[str, str] = {**os.environ, "PYTHON": sys.executable}
    command = [str(checkout / "packaging" / "run_local.sh"), *arguments]
    return subprocess.run(command, env=environ, capture_output=True, timeout=120, text=True)


def test_script_reports_a_wrong_option_before_it_builds(checkout: Path) -> None:
    done = run_script(checkout, "--once", "--set", "MaxListSzie=5")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "run_local.sh: argument --set: MaxListSzie: no parameter has this name; the closest is MaxListSize "
        "(run_local.sh --help lists the options)\n"
    )
    assert not (checkout / "built").exists()
    assert run_script(checkout, "--once", "--MaxListSize", "5").returncode == 9
    assert (checkout / "built").read_text() == f"--python {VERSION}\n"


def test_script_builds_the_artifact_of_the_component_for_it(checkout: Path) -> None:
    assert run_script(checkout, "--once", "--native", "--nucleus", "java").returncode == 9
    assert (checkout / "built").read_text() == f"--native --python {VERSION}\n"


def test_script_checks_the_interpreter_of_the_function_before_it_builds(checkout: Path) -> None:
    done = run_script(checkout, "--python=no-such")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("run_local.sh: 'no-such' can't be run as a Python interpreter")
    assert not (checkout / "built").exists()


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_script_answers_without_building(checkout: Path, option: str) -> None:
    done = run_script(checkout, "--once", option)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(__version__ if option == "--version" else "usage: run_local.sh [-h] [--once]")
    assert not (checkout / "built").exists()
