"""The AWS commands of packaging/systemd/README.md, checked by the real AWS CLI, and the policy of a device."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from support import aws_cli

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "packaging" / "systemd"
CHAPTER = "The thing, its certificate and its policy"
PREFIX = "arn:aws:iot:eu-west-1:123456789012:"
TOPIC = "$aws/things/gateway-7/defender/metrics/json"

# Records what the CLI is called with, an argument a line, and answers what later commands use.
AWS = """#!/bin/sh
printf '%s\\n' "$@" >called/$(ls called | wc -l)
case "$1 $2" in
  "configure get") echo eu-west-1 ;;
  "sts get-caller-identity") echo 123456789012 ;;
  "iot create-keys-and-certificate") echo arn:aws:iot:eu-west-1:123456789012:cert/0123456789abcdef ;;
esac
"""


def test_commands_make_thing_certificate_and_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    chapter = (FOLDER / "README.md").read_text(encoding="utf-8").split(f"\n## {CHAPTER}\n")[1].partition("\n## ")[0]
    (block,) = re.findall(r"^```sh\n(.*?)^```$", chapter, re.MULTILINE | re.DOTALL)
    (tmp_path / "bin").mkdir()
    (tmp_path / "called").mkdir()
    (tmp_path / "bin" / "aws").write_text(AWS)
    (tmp_path / "bin" / "aws").chmod(0o755)
    (tmp_path / "packaging").symlink_to(ROOT / "packaging")
    done = subprocess.run(
        ["bash", "-e", "-u", "-c", block],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    calls = [path.read_text().splitlines() for path in sorted((tmp_path / "called").iterdir())]
    assert [" ".join(call[:2]) for call in calls] == [
        "configure get",
        "sts get-caller-identity",
        "iot create-thing",
        "iot create-policy",
        "iot create-keys-and-certificate",
        "iot attach-policy",
        "iot attach-thing-principal",
        "iot describe-endpoint",
    ]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    for call in calls[2:]:
        # The real CLI checks what it is given against the service's model: nothing leaves the machine.
        # Its sample of an answer to create-keys-and-certificate does not pass its own check.
        kind = "input" if call[1] == "create-keys-and-certificate" else "output"
        assert aws_cli.run(*call, "--generate-cli-skeleton", kind) == 0, (call, capfd.readouterr().err)
    check_policy(json.loads((tmp_path / "policy.json").read_text()))


def check_policy(policy: object) -> None:
    """Check that a policy allows what the connector does, and nothing to its neighbour."""

    def allows(action: str, resource: str) -> bool:
        assert isinstance(policy, dict)
        return any(
            statement["Effect"] == "Allow"
            and statement["Action"] == action
            and fnmatch.fnmatchcase(PREFIX + resource, one)
            for statement in policy["Statement"]
            for one in ([statement["Resource"]] if isinstance(statement["Resource"], str) else statement["Resource"])
        )

    assert allows("iot:Connect", "client/gateway-7-device-defender")
    assert allows("iot:Publish", f"topic/{TOPIC}")
    assert allows("iot:Publish", f"topic/{TOPIC}".replace("json", "cbor"))
    assert allows("iot:Publish", "topic/device-defender/gateway-7/violations")
    for answer in ("accepted", "rejected"):
        assert allows("iot:Subscribe", f"topicfilter/{TOPIC}/{answer}")
        assert allows("iot:Receive", f"topic/{TOPIC}/{answer}")
        assert not allows("iot:Publish", f"topic/{TOPIC}/{answer}")
    assert not allows("iot:Publish", f"topic/{TOPIC}".replace("gateway-7", "gateway-8"))
    assert not allows("iot:Connect", "client/gateway-7")


def test_check_finds_a_policy_that_is_too_narrow() -> None:
    policy = json.loads((FOLDER / "device-policy.json").read_text())
    with pytest.raises(AssertionError):
        check_policy({**policy, "Statement": policy["Statement"][1:]})
