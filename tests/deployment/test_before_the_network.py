"""deploy.py checks files and flags before it asks AWS, and tells what fits the cores by what they report."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import deploy
import pytest
from v2_target import apply


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (
            ["v2", "apply", "--thing", "x", "--zip", "nothere.zip"],
            "--zip nothere.zip: No such file or directory; ./b",
        ),
        (
            ["v2", "apply", "--thing", "x", "--zip", "device-defender-connector-1.0.0-py312-any.zip"],
            "--zip device-defender-connector-1.0.0-py312-any.zip: No such file or directory; ./build_zip.sh makes one",
        ),
        (
            ["v2", "plan", "--thing", "x", "--zip", "{zip}", "--LogLevel", "loud"],
            "argument --LogLevel/--log-level: 'loud' is not valid",
        ),
        (
            ["v1", "plan", "--group", "x", "--zip", "{zip}"],
            "V1 cores run Python 3.7 and 3.8: ./build_zip.sh",
        ),
        (
            ["v2", "plan", "--thing", "x", "--zip", "{zip}", "--isolation", "NoContainer", "--memory", "64"],
            "--memory: without a container nothing limits the function's memory; leave it out",
        ),
        (
            ["v2", "apply", "--thing", "gateway 1", "--zip", "{zip}", "--dry-run"],
            "argument --thing: 'gateway 1' is not 1 to 128 of a-zA-Z0-9:_-",
        ),
        (
            ["v2", "apply", "--native", "--thing", "x" * 129, "--zip", "{zip}", "--dry-run"],
            "x' is not 1 to 128 of a-zA-Z0-9:_-",
        ),
        (
            ["v2", "plan", "--thing-group", "a/b", "--zip", "{zip}"],
            "argument --thing-group: 'a/b' is not 1 to 128 of a-zA-Z0-9:_-",
        ),
        (
            ["v1", "apply", "--group", "x", "--new-core", "a.b", "--zip", "{zip}"],
            "argument --new-core: 'a.b' is not 1 to 128 of a-zA-Z0-9:_-",
        ),
    ],
)
def test_files_and_flags_are_checked_without_region_or_credentials(
    make_zip: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch, argv: list[str], reason: str
) -> None:
    path = make_zip()
    assert deploy.main([word.replace("{zip}", path) for word in argv]) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["plan", "apply"])
def test_dry_run_needs_no_region_and_no_credentials(
    make_zip: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    path = make_zip("312", "x86_64")
    argv = ["v2", verb, "--thing", "gw-1", "--zip", path, "--dry-run", "--LogLevel", "DEBUG"]
    assert deploy.main(argv) == 0
    output = capsys.readouterr().out
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    assert output.startswith(f"Zip {path}: connector 1.0.0, Python 3.12, x86_64, ")
    assert f"bytes, SHA-256 {digest}\nTarget: thing gw-1\n" in output
    for line in ("LogLevel: DEBUG", "memory: 32 MB", "isolation: GreengrassContainer", "- /proc on /host_proc, ro"):
        assert line in output
    assert "device-defender-accepted: 'cloud" not in output
    assert "$aws/things/gw-1/defender/metrics/json/accepted: cloud -> the connector" in output
    assert output.endswith(
        "Note: AWS was not asked: what a target has already stays, unless it is given here or in --reset; `plan` shows "
        "that.\n"
    )


def test_dry_run_of_a_thing_group(make_zip: Any, capsys: Any) -> None:
    assert deploy.main(["v2", "apply", "--thing-group", "fleet", "--zip", make_zip(), "--dry-run"]) == 0
    assert "\nTarget: thing group fleet\n" in capsys.readouterr().out


def test_dry_run_of_a_v1_group(make_zip: Any, capsys: Any) -> None:
    argv = ["v1", "apply", "--group", "gateways", "--zip", make_zip("38"), "--dry-run", "--isolation", "NoContainer"]
    assert deploy.main(argv) == 0
    output = capsys.readouterr().out
    assert "Target: group gateways\n" in output
    assert "ProcDestinationPath: /proc" in output
    assert "memory" not in output


def group(account: Any, **architectures: str) -> None:
    """Put cores into the thing group, by thing (`_` for `-`), with the processor they report."""
    for thing, architecture in architectures.items():
        name = thing.replace("_", "-")
        account.greengrass_v2.cores[name] = {"architecture": architecture, "runtime": "aws_nucleus_classic"}
        account.greengrass_v2.in_group.append(name)


def test_zip_for_another_processor_than_some_cores_names_them(core: Any, make_zip: Any, capsys: Any) -> None:
    group(core, gw_1="amd64", gw_2="aarch64", gw_3="aarch64")
    core.greengrass_v2.cores["gw-3"]["runtime"] = "aws_nucleus_lite"
    assert core.deploy("v2", "plan", "--thing-group=fleet", "--zip", make_zip("312", "x86_64")) == 0
    assert (
        "Note: 2 of 3 cores can't run this and will fail the deployment: gw-2 is aarch64, the zip is for x86_64: build "
        "another (./build_zip.sh --arch any); gw-3 runs nucleus lite, which runs no Lambda functions: there is "
        "the native component (--native).\n"
    ) in capsys.readouterr().out


def test_zip_that_no_core_of_a_group_can_run_is_refused(core: Any, make_zip: Any, capsys: Any) -> None:
    group(core, gw_1="aarch64", gw_2="aarch64")
    assert apply(core, "--zip", make_zip("312", "x86_64"), target="--thing-group=fleet") == 1
    error = capsys.readouterr().err
    assert "core gw-1 is aarch64, the zip is for x86_64: build another" in error
    assert error.endswith("(and so are the other 1 cores)\n")
    assert core.calls.writes == []


@pytest.mark.parametrize(
    ("verb", "code", "message"),
    [
        ("plan", 0, ""),
        (
            "apply",
            1,
            "deploy.py: nobody reads what is printed: stopped; `status` shows how far it came, and the same command"
            " goes on from there\n",
        ),
    ],
)
def test_output_that_is_closed_is_no_traceback(make_zip: Any, verb: str, code: int, message: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    tool = Path(deploy.__file__)
    command = [sys.executable, str(tool), "v2", verb, "--thing", "gw-1", "--zip", make_zip(), "--dry-run"]
    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (code, message)


def test_no_standard_output_at_all(make_zip: Any) -> None:
    tool = Path(deploy.__file__)
    command = [
        "sh",
        "-c",
        'exec "$@" >&-',
        "sh",
        sys.executable,
        str(tool),
        "v2",
        "plan",
        "--thing",
        "gw-1",
        "--dry-run",
    ]
    done = subprocess.run([*command, "--zip", make_zip()], stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")
