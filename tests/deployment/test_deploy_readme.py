"""packaging/deployment/README.md: every command is run, every document is what the tool makes."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import deploy
import pytest
from deployment import settings
from fake_aws import ACCOUNT, NOW, REGION, SUCCEEDED
from mqtt_broker import Broker
from support import aws_cli, templates

ROOT = Path(deploy.__file__).parent.parent
CHAPTER = (ROOT / "packaging" / "deployment" / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^ *```(\w+)\n(.*?)^ *```$", CHAPTER, re.MULTILINE | re.DOTALL)
COMMANDS = [
    shlex.split(line, comments=True)
    for kind, block in BLOCKS
    if kind == "sh"
    for line in block.replace("\\\n", " ").splitlines()
    if line.strip()
]


METRICS = "--create-custom-metrics"


@pytest.fixture
def start_broker() -> Iterator[Callable[[], Broker]]:
    """A function that starts a broker for one subscriber, with an answer to a report of gateway-1."""
    brokers = []

    def start() -> Broker:
        brokers.append(Broker([("$aws/things/gateway-1/defender/metrics/json/accepted", b"{}")]))
        return brokers[-1]

    yield start
    for broker in brokers:
        broker.close()


def build(command: list[str]) -> None:
    """Make the zip that `./build_zip.sh --python 3.12 --arch any` would make, by name."""
    words = [word for word in command[1:] if word != "--native"]
    flags = dict(zip(words[::2], words[1::2], strict=True))
    kind, made = ("-native", "native.zip") if "--native" in command else ("", "made.zip")
    python = flags["--python"].replace(".", "")
    path = Path("dist") / f"device-defender-connector{kind}-1.0.0-py{python}-{flags['--arch']}.zip"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(Path(made).read_bytes())


def check_parameters(command: list[str]) -> None:
    """Check a stack's parameters by its template, which has tests of its own: moto knows no loops in one."""
    template = templates.load(Path(command[command.index("--template-file") + 1]))
    for given in command[command.index("--parameter-overrides") + 1 :]:
        name, _, value = given.partition("=")
        assert re.fullmatch(template["Parameters"][name].get("AllowedPattern", ".*"), value), given


@pytest.mark.filterwarnings("ignore:Tried to parse AWS..GreengrassV2")
def test_every_command_works_in_its_order(
    account: Any,
    make_zip: Any,
    native_zip: str,
    start_broker: Any,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)  # for the AWS CLI
    Path("packaging").symlink_to(ROOT / "packaging")
    Path(make_zip()).rename("made.zip")
    Path(native_zip).rename("native.zip")
    Path("connector.toml").write_text(next(block for kind, block in BLOCKS if kind == "toml"), encoding="utf-8")
    certificate = account.thing("gateway-1")
    account.client("iot").create_thing_group(thingGroupName="gateways")
    account.client("s3").create_bucket(Bucket="my-artifacts", CreateBucketConfiguration={"LocationConstraint": REGION})
    core = {"Id": "core", "ThingArn": f"arn:aws:iot:{REGION}:{ACCOUNT}:thing/gateway-1", "CertificateArn": certificate}
    made = account.client("greengrass").create_core_definition(Name="c", InitialVersion={"Cores": [core]})
    version = {"CoreDefinitionVersionArn": made["LatestVersionArn"]}
    account.client("greengrass").create_group(Name="gateways", InitialVersion=version)

    ran = []
    for command in COMMANDS:
        if command[0] == "packaging/venv.sh":  # .ci/run makes such an environment with it
            assert os.access(command[0], os.X_OK)
            assert command[1:] == ["build/tools", "packaging/requirements-tools.txt"]
            assert Path(command[2]).is_file()
        elif command[0] == ".":
            assert command[1:] == ["build/tools/bin/activate"]
        elif command[0] == "eval":  # of bash: makes the shell's completion
            path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
            script = f'eval "{command[1]}" && complete -p deploy.py'
            subprocess.run(["bash", "-c", script], env={"PATH": path}, check=True, timeout=300)
        elif command[0] == "./build_zip.sh":
            build(command)
        elif command[1] == "packaging/deploy.py":
            argv = [start_broker().address if word == "localhost:1883" else word for word in command[2:]]
            # The person says yes.
            assert account.deploy(*argv, ask=lambda question: "y") == 0, command
            ran.append(" ".join(command[2:4]))
        else:
            assert command[0] == "aws", command
            if "packaging/security_profiles/alarms.yaml" in command:
                check_parameters(command)
                continue
            if command[1:3] == ["lambda", "create-function"]:  # by hand is instead of deploy.py
                account.client("lambda").delete_function(FunctionName=deploy.NAME)
            if command[1:3] == ["iam", "create-role"]:
                account.client("iam").delete_role(RoleName=f"{deploy.NAME}-role")
            assert aws_cli.run(*command[1:]) == 0, (command, capfd.readouterr().err)
            ran.append(" ".join(command[1:3]))
    (recipe,) = Path("build/native/recipes").iterdir()
    assert f"--add-component\n{recipe.stem.replace('-1.0.0', '=1.0.0')}`" in CHAPTER
    verbs = {f"{v} {verb}" for v in ("v2", "v1") for verb in ("plan", "apply", "status", "list", "remove")}
    assert verbs | {"v2 local", "s3 cp", "cloudformation deploy", "lambda publish-version"} <= set(ran)


def test_documents_are_what_the_tool_makes() -> None:
    policy, router = [json.loads(block) for kind, block in BLOCKS if kind == "json"]
    wanted = settings.make({})
    assert policy == wanted.iot_policy("arn:aws:iot:eu-west-1:123456789012", "gateway-1")
    subscriptions = wanted.subscriptions(f"component:{deploy.NAME}", "gateway-1")
    assert router == {"subscriptions": {entry["id"]: entry for entry in subscriptions}}
    assert f"{wanted.memory_kb // 1024} MB" in CHAPTER

    judging = settings.make({"SecurityProfiles": "A"})
    [alarms] = [
        entry
        for entry in judging.subscriptions("f", "gateway-1")
        if entry not in wanted.subscriptions("f", "gateway-1")
    ]
    assert f"`{alarms['id']}`" in CHAPTER
    assert f"`{alarms['subject']}`" in CHAPTER
    publish = judging.iot_policy("arn:aws:iot:eu-west-1:123456789012", "gateway-1")["Statement"][0]["Resource"]
    assert f"`{publish[1]}`" in CHAPTER


def test_permissions_named_are_those_the_tool_uses(account: Any, make_zip: Any, native_zip: str) -> None:
    account.thing("gw-1")
    account.client("s3").create_bucket(Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": REGION})
    account.client("iot").create_thing_group(thingGroupName="fleet")
    account.greengrass_v2.next_job = [{}, SUCCEEDED]
    account.detect.attach("all/things", "aws:all-bytes-out")
    account.detect.values["gw-1", "aws:all-bytes-out"] = [NOW]
    flags = ["--bucket", "artifacts", "--iot-policy", "report", "--yes"]
    native = ["v2", "apply", "--thing", "gw-1", "--native", "--zip", native_zip, "--bucket", "artifacts", "--yes"]
    runs = [
        ["v2", "apply", "--thing", "gw-1", "--zip", make_zip(), *flags],
        ["v2", "apply", "--thing", "gw-1", "--zip", make_zip("311", code="# new\n"), *flags, "--MaxListSize", "9"],
        ["v2", "apply", "--thing", "gw-1", "--zip", make_zip(), "--yes", "--CustomMetrics=cpu_usage", METRICS],
        ["v2", "status", "--thing", "gw-1"],
        ["v2", "list"],
        [*native, "--security-profiles", str(ROOT / "packaging" / "security_profiles" / "RemoteManagementPorts.json")],
        [*native, "--LogLevel", "DEBUG"],
        ["v2", "list", "--native"],
        ["v2", "remove", "--thing", "gw-1", "--iot-policy", "report", "--yes"],
        ["v2", "apply", "--thing-group", "fleet", "--zip", make_zip(), "--yes"],
        ["v2", "status", "--thing-group", "fleet"],
        ["v1", "apply", "--group", "g", "--new-core", "gw-1", "--zip", make_zip("38"), *flags],
        ["v1", "apply", "--group", "g", "--zip", make_zip("38"), *flags, "--MaxListSize", "9"],
        ["v1", "status", "--group", "g"],
        ["v1", "list"],
        ["v1", "remove", "--group", "g", "--iot-policy", "report", "--yes"],
    ]
    allowed_by = {"s3:HeadObject": "s3:GetObject", "s3:HeadBucket": "s3:ListBucket"}
    used = set()
    for argv in runs:
        assert account.deploy(*argv) == 0
        used |= {tuple(allowed_by.get(name, name).split(":")) for name, _ in account.calls.all}

    rows = dict(
        re.findall(r"^\| (`\w+`[^|]*) \| (.*) \|$", CHAPTER.partition("## What the tool may need")[2], re.MULTILINE)
    )
    services = {"greengrass": "`greengrass` (V1)", "greengrassv2": "`greengrass` (V2)"}
    missing = []
    for service, action in sorted(used - {("sts", "GetCallerIdentity")}):
        row = next(rows[key] for key in rows if key.startswith(services.get(service, f"`{service}`")))
        if action not in row.split(", "):
            missing.append(f"{service}:{action}")
    assert missing == []
