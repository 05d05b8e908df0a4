"""packaging/detection/README.md: its commands run from top to bottom, and its examples are what is printed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from detection.profile import check
from support import templates
from support.certificates import certificates
from support.detect_tool import INCIDENT, ORDINARY, PROFILES, ROOT, run

from connector.detect.event import sentence

README = (ROOT / "packaging" / "detection" / "README.md").read_text(encoding="utf-8")

# Stands for the commands that reach AWS, a broker or a day's wait; nothing leaves the machine. Calls of the AWS CLI are
# recorded, and checked afterwards. `watch --mqtt` must get past its arguments to the connection, which fails at a port
# that nobody listens on.
SHIMS = {
    "python": """
        case "$*" in
          *"watch --mqtt"*)
            words=()
            for word; do
              [[ $word != *:1883 && $word != *:8883 ]] || word=127.0.0.1:1
              [[ $word != *.pem && $word != *.crt && $word != *.key ]] || word=$PEM
              words+=("$word")
            done
            code=0
            "{python}" "${{words[@]}}" 2>>refused || code=$?
            [ "$code" = 1 ] ;;
          *) exec "{python}" "$@" ;;
        esac
    """,
    "python3": """
        test "$1 $2" = "-m connector" || exit 9
        "{python}" "$@" -n 1 >/dev/null && cat "{day}"
    """,
    "logger": 'test "$1 $2" = "-t device-defender" && cat >>logged && echo >>logged',
    "aws": """
        printf '%s\\t' "$@" >>called && echo >>called
        case "$1 $2" in
          "configure get") echo eu-west-1 ;;
          "sts get-caller-identity") echo 123456789012 ;;
        esac
    """,
}


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == language]


def test_commands_run_from_top_to_bottom(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    day = tmp_path / "day.jsonl"
    write_day(day)
    for name, script in SHIMS.items():
        shim = tmp_path / "bin" / name
        shim.write_text("#!/bin/bash -e\n" + script.format(python=sys.executable, day=day))
        shim.chmod(0o755)
    for name in ("packaging", "connector"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "incident.jsonl").symlink_to(INCIDENT)
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(json.loads(text)) + "\n" for text in blocks("json")) * 2)
    files = certificates(tmp_path)
    pem = tmp_path / "both.pem"
    pem.write_bytes(Path(files["certfile"]).read_bytes() + Path(files["keyfile"]).read_bytes())
    # `watch` reads an event that does not end, and `try --fail-on-alarm` finds an alarm: their exit code is 3.
    script = "\n".join(blocks("sh")).replace("- < events.jsonl", "- < events.jsonl || test $? = 3")
    script = script.replace("> outcome.json", "> outcome.json || test $? = 3")
    ran = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", script],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "PYTHONPATH": "",
            "PEM": str(pem),
        },
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    written = {path.name for path in tmp_path.iterdir()}
    assert {"DataExfiltration.svg", "DataExfiltration.html", "outcome.json", "Gateway.json"} <= written
    assert "DataExfiltration.resolved.json" in written
    assert (tmp_path / "refused").read_text().splitlines() == [
        "detect.py: no MQTT broker at 127.0.0.1:1: [Errno 111] Connection refused"
    ] * 2
    assert [json.loads(line) for line in (tmp_path / "logged").read_text().splitlines()] == [
        json.loads(text) for text in blocks("json") * 2
    ]
    calls = [line.rstrip("\t").split("\t") for line in (tmp_path / "called").read_text().splitlines()]
    made = [check_iot_call(words[1:]) for words in calls if words[0] == "iot"]
    metrics = {path.stem for path in PROFILES.glob("custom_metrics/*.json")}
    assert {about["metricName"] for name, about in made if name == "CreateCustomMetric"} == metrics
    assert [name for name, _ in made if name != "CreateCustomMetric"] == [
        "CreateSecurityProfile",
        "AttachSecurityProfile",
        "ListActiveViolations",
    ]
    stacks = [words for words in calls if words[:2] == ["cloudformation", "deploy"]]
    assert [check_stack(words[2:]) for words in stacks] == ["alarms.yaml", "security-profiles.yaml"]


def write_day(path: Path) -> None:
    """Write what a day's recording would be: the ordinary reports again and again, 300 s apart."""
    reports = [json.loads(line) for line in ORDINARY.read_text().splitlines()[1:]]
    with path.open("w") as output:
        for number in range(288):
            report = reports[number % len(reports)]
            report["header"]["report_id"] = 1767600000 + 300 * number
            output.write(json.dumps(report) + "\n")


def check_iot_call(words: list[str]) -> tuple[str, dict[str, Any]]:
    """Check a call of `aws iot` against the service's model. Returns the operation and its parameters."""
    operation = "".join(part.capitalize() for part in words[0].split("-"))
    parameters: dict[str, Any] = {}
    for option, value in zip(words[1::2], words[2::2]):
        if option == "--cli-input-json":
            parameters.update(json.loads((ROOT / value.removeprefix("file://")).read_text()))
        else:
            first, *rest = option.removeprefix("--").split("-")
            parameters[first + "".join(part.capitalize() for part in rest)] = value
    token = {"clientRequestToken": "of-the-CLI"} if operation == "CreateCustomMetric" else {}
    assert list(check({**parameters, **token}, operation)) == []
    return operation, parameters


def check_stack(words: list[str]) -> str:
    """Check the arguments of `aws cloudformation deploy` against the template. Returns its name."""
    template = ROOT / words[words.index("--template-file") + 1]
    parameters = templates.load(template)["Parameters"]
    overrides = words[words.index("--parameter-overrides") + 1 :]
    assert overrides
    assert {override.partition("=")[0] for override in overrides} <= set(parameters)
    assert "CAPABILITY_IAM" in words
    return template.name


def test_examples_are_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    run("try", PROFILES / "DataExfiltrationCheck.json", "--reports", ORDINARY)
    run("try", PROFILES / "DataExfiltration.json", "--reports", ORDINARY)
    run(
        "try",
        PROFILES / "RemoteManagementPorts.json",
        PROFILES / "WrongConfiguration.json",
        "--reports",
        ORDINARY,
        INCIDENT,
    )
    run("suggest", "--resolve", PROFILES / "DataExfiltration.json", "--reports", ORDINARY)
    with INCIDENT.open() as recording, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", recording)
        run("watch", "--profile", PROFILES / "RemoteManagementPorts.json", "--thing", "gateway-1", "-")
    printed = capsys.readouterr().out
    examples = blocks("")
    assert len(examples) == 5
    for example in examples:
        assert example in printed


def test_example_of_an_event_is_one() -> None:
    (text,) = blocks("json")
    assert sentence(json.loads(text)) == (
        "alarm RemoteManagementPorts/TcpManagementPorts: aws:listening-tcp-ports is 2323;"
        " normal is not-in-port-set 22, 23, 2323"
    )


def test_every_profile_is_in_the_table() -> None:
    named = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| `.*?\|", README, re.MULTILINE))))
    assert named == {path.stem for path in PROFILES.glob("*.json")}


def test_links_lead_to_files() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    for link in links:
        assert (ROOT / "packaging" / "detection" / link).exists(), link
