"""deploy.py's command line: asking, exit codes, and errors that name what is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import deploy
import pytest
from botocore.exceptions import EndpointConnectionError
from fake_aws import LAMBDA, REGION, answer, refusal

from connector import __version__

V2 = ["v2", "apply", "--thing", "gw-1"]
DEPLOY = Path(deploy.__file__)


def test_apply_writes_nothing_before_the_answer_yes(core: Any, make_zip: Any, capsys: Any) -> None:
    shown = []

    def ask(question: str) -> str:
        shown.append(capsys.readouterr().out)
        assert core.calls.writes == []
        return ["n", "y"][len(shown) - 1]

    assert core.deploy(*V2, "--zip", make_zip(), ask=ask) == 1
    assert capsys.readouterr().out == "Nothing was changed.\n"
    assert core.deploy(*V2, "--zip", make_zip(), ask=ask) == 0
    assert shown[0] == shown[1]
    assert "+ create Lambda function device-defender-connector" in shown[0]
    assert core.deploy("v2", "remove", "--thing", "gw-1", ask=lambda question: "") == 1
    assert core.calls.writes == []


def test_apply_without_terminal_asks_for_yes_flag(core: Any, make_zip: Any, capsys: Any) -> None:
    def nobody(question: str) -> str:
        raise EOFError

    assert core.deploy(*V2, "--zip", make_zip(), ask=nobody) == 2
    assert "pass --yes" in capsys.readouterr().err
    assert core.calls.writes == []


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (
            ["--isolation", "NoContainer", "--ProcDestinationPath", "/host_proc"],
            "without a container nothing is mounted",
        ),
        (["--isolation", "NoContainer", "--memory", "64"], "--memory: without a container nothing limits"),
        (["--ProcDestinationPath", "/proc"], "would hide the container's own /proc"),
        (["--iot-policy", "p"], "needs --iot-policy-things"),
        (["--zip", __file__], "not a name that build_zip.sh gives"),
        (["--zip", "device-defender-connector-1.0.0-py38-any.zip"], "No such file or directory"),
    ],
)
def test_invalid_input_exits_2_with_reason(
    account: Any, make_zip: Any, capsys: Any, argv: list[str], reason: str
) -> None:
    account.client("iot").create_thing_group(thingGroupName="fleet")
    assert account.deploy("v2", "apply", "--thing-group", "fleet", "--zip", make_zip(), *argv) == 2
    assert reason in capsys.readouterr().err
    assert account.calls.writes == []


def test_file_that_is_no_zip_is_refused(account: Any, make_zip: Any, capsys: Any) -> None:
    path = make_zip()
    Path(path).write_bytes(b"not a zip")
    assert account.deploy(*V2, "--zip", path) == 2
    assert "not a connector's zip (File is not a zip file)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("call", "message", "reason"),
    [
        (
            "lambda:CreateFunction",
            "User: arn:aws:iam::123456789012:user/me is not authorized to perform: lambda:CreateFunction on resource: "
            f"{LAMBDA} because no identity-based policy allows the lambda:CreateFunction action",
            f"permission missing: lambda:CreateFunction on {LAMBDA}.",
        ),
        (
            "greengrassv2:CreateDeployment",
            "User: me is not authorized to perform: iot:CreateJob on resource: arn:aws:iot:eu-west-1:1:thing/gw-1",
            "permission missing: iot:CreateJob on arn:aws:iot:eu-west-1:1:thing/gw-1.",
        ),
        (
            "greengrassv2:ListDeployments",
            "Forbidden",
            "permission missing: greengrass:ListDeployments on arn:aws:iot:eu-west-1:123456789012:thing/gw-1.",
        ),
        ("iam:CreateRole", "Denied", "permission missing: iam:CreateRole on device-defender-connector-role."),
        ("s3:HeadObject", "Forbidden", "permission missing: s3:GetObject (or s3:ListBucket, where the object is not"),
        (
            "greengrassv2:CreateComponentVersion",
            "Forbidden",
            "permission missing: greengrass:CreateComponentVersion on device-defender-connector.",
        ),
    ],
)
def test_missing_permission_is_named(
    core: Any, make_zip: Any, capsys: Any, call: str, message: str, reason: str
) -> None:
    core.calls.stubs[call] = lambda model, _: refusal(model, "AccessDeniedException", message, 403)
    core.client("s3").create_bucket(Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": REGION})
    assert core.deploy(*V2, "--zip", make_zip(), "--bucket", "artifacts", "--yes") == 1
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("ExpiredTokenException", "AWS does not accept the credentials (ExpiredTokenException: sorry): run `aws conf"),
        ("ResourceNotFoundException", "iot:DescribeThing on gw-1: it does not exist in eu-west-1 (sorry)"),
        ("ThrottlingException", "iot:DescribeThing on gw-1 failed: ThrottlingException: sorry"),
    ],
)
def test_other_refusals_are_sentences(core: Any, make_zip: Any, capsys: Any, code: str, reason: str) -> None:
    core.calls.stubs["iot:DescribeThing"] = lambda model, _: refusal(model, code, "sorry")
    assert core.deploy(*V2, "--zip", make_zip()) == 1
    assert reason in capsys.readouterr().err


def test_role_unknown_at_first_is_tried_again(core: Any, make_zip: Any) -> None:
    refusals = ["The role defined for the function cannot be assumed by Lambda."] * 3

    def create(model: Any, _: Any) -> Any:
        return refusal(model, "InvalidParameterValueException", refusals.pop()) if refusals else None

    core.calls.stubs["lambda:CreateFunction"] = create
    assert core.deploy(*V2, "--zip", make_zip(), "--yes") == 0
    assert core.calls.writes.count("lambda:CreateFunction") == 4


RETIRED = "The runtime parameter of python3.7 is no longer supported for creating or updating AWS Lambda functions."


def retired(model: Any, _: Any) -> Any:
    return refusal(model, "InvalidParameterValueException", RETIRED)


def test_retired_runtime_is_refused_with_advice(core: Any, make_zip: Any, capsys: Any) -> None:
    core.calls.stubs["lambda:CreateFunction"] = retired
    assert core.deploy(*V2, "--zip", make_zip("37"), "--yes") == 1
    error = capsys.readouterr().err
    assert "no longer takes functions for python3.7" in error
    assert "Build the zip for a newer Python that your cores have" in error
    assert "--function-name" not in error


def test_retired_runtime_is_changed_before_the_code(core: Any, make_zip: Any) -> None:
    assert core.deploy(*V2, "--zip", make_zip("37", code="# old\n"), "--yes") == 0

    def update(model: Any, params: Any) -> Any:
        now = core.client("lambda").get_function_configuration(FunctionName=params["FunctionName"])["Runtime"]
        return retired(model, params) if now == "python3.7" else None

    core.calls.stubs["lambda:UpdateFunctionCode"] = update
    assert core.deploy(*V2, "--zip", make_zip(), "--yes") == 0
    made = core.client("lambda").get_function_configuration(FunctionName=f"{LAMBDA}:2")
    assert made["Runtime"] == "python3.12"


def test_function_of_others_is_not_overwritten(core: Any, make_zip: Any, capsys: Any) -> None:
    other = {"FunctionName": "device-defender-connector", "Handler": "app.main", "Runtime": "python3.12"}
    core.calls.stubs["lambda:GetFunctionConfiguration"] = lambda model, _: answer(model, other)
    assert core.deploy(*V2, "--zip", make_zip(), "--yes") == 1
    assert "exists and is not this connector (its handler is app.main)" in capsys.readouterr().err
    assert core.calls.writes == []


def test_role_that_differs_from_the_functions_is_refused(core: Any, make_zip: Any, capsys: Any) -> None:
    assert core.deploy(*V2, "--zip", make_zip(), "--yes") == 0
    flags = ["v2", "plan", "--thing", "gw-1", "--zip", make_zip(), "--role"]
    role = core.client("iam").get_role(RoleName="device-defender-connector-role")["Role"]["Arn"]
    assert core.deploy(*flags, role) == 0
    assert core.deploy(*flags, "arn:aws:iam::123456789012:role/mine") == 2
    assert f"device-defender-connector has the role {role}" in capsys.readouterr().err


def test_missing_bucket_is_refused_before_any_change(core: Any, make_zip: Any, capsys: Any) -> None:
    plan = ["v2", "plan", "--thing", "gw-1", "--zip", make_zip(), "--bucket"]
    assert core.deploy(*plan, "nowhere") == 2
    assert "--bucket nowhere: there is no such bucket" in capsys.readouterr().err

    core.client("s3").create_bucket(Bucket="ours", CreateBucketConfiguration={"LocationConstraint": REGION})
    core.calls.stubs["s3:HeadBucket"] = lambda model, _: refusal(model, "403", "Forbidden", 403)
    assert core.deploy(*plan, "ours") == 0


def test_own_role_and_names_are_used(core: Any, make_zip: Any) -> None:
    role = core.client("iam").create_role(RoleName="mine", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    names = ["--function-name", "defender", "--component", "com.example.Defender", "--role", role]
    assert core.deploy(*V2, "--zip", make_zip(), *names, "--yes") == 0
    assert core.client("lambda").get_function_configuration(FunctionName="defender")["Role"] == role
    assert "com.example.Defender" in core.greengrass_v2.deployments[-1]["components"]
    assert [r["RoleName"] for r in core.client("iam").list_roles()["Roles"]] == ["mine"]


def run(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script by its path, as a person does, without an account."""
    command = [sys.executable, str(DEPLOY), *argv]
    safe = {"PATH": "/usr/bin:/bin", "AWS_EC2_METADATA_DISABLED": "true", "HOME": "/nonexistent"}
    return subprocess.run(
        command, env={**safe, **environment}, capture_output=True, text=True, timeout=300, check=False
    )


def test_missing_region_or_credentials_are_named(make_zip: Any) -> None:
    status = ["v2", "status", "--thing", "gw-1"]
    no_region = run(*status)
    assert (no_region.returncode, no_region.stderr) == (
        1,
        "deploy.py: no AWS region: pass --region, set AWS_REGION, or run `aws configure`\n",
    )
    no_credentials = run(*status, "--region", REGION)
    assert no_credentials.returncode == 1
    assert no_credentials.stderr.startswith("deploy.py: no AWS credentials (")
    no_profile = run(*status, "--profile", "work")
    assert no_profile.stderr.startswith("deploy.py: The config profile (work) could not be found")


def test_missing_requirements_name_what_to_install() -> None:
    command = [sys.executable, "-S", str(DEPLOY), "--help"]  # -S: without installed packages
    result = subprocess.run(command, env={}, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("deploy.py: No module named ")
    assert result.stderr.endswith(" packaging/venv.sh build/tools packaging/requirements-tools.txt\n")
    assert "Traceback" not in result.stderr


def test_an_endpoint_that_does_not_answer_is_named_with_what_to_check(core: Any) -> None:
    core.aws.client("iot").describe_thing(thingName="gw-1")
    error = EndpointConnectionError(endpoint_url="https://iot.example/")
    assert core.aws.explain(error) == (
        'iot:DescribeThing on gw-1: Could not connect to the endpoint URL: "https://iot.example/". Check the network, '
        f"and that the service exists in {REGION}."
    )


OLD = "import runpy, sys; sys.version_info = (3, 8, 18); runpy.run_path(sys.argv[1], run_name='__main__')"


@pytest.mark.parametrize("tool", ["deploy.py", "detect.py"])
def test_python_too_old_is_named(tool: str) -> None:
    """Its requirements could not be installed there either."""
    command = [sys.executable, "-S", "-c", OLD, str(DEPLOY.with_name(tool)), "--help"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith(f"{tool}: this is Python 3.8; 3.10 or later is needed. With PYTHON=")


@pytest.mark.parametrize("verb", ["plan", "apply"])
@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (
            ["--thing", "gw-1", "--iot-policy", "p", "--iot-policy-things", "x*"],
            "goes with --iot-policy and --thing-gr",
        ),
        (["--thing-group", "fleet", "--iot-policy-things", "x*"], "goes with --iot-policy and --thing-group"),
        (["--thing-group", "fleet", "--iot-policy", "p"], "needs --iot-policy-things: a pattern"),
        (["--thing-group", "fleet", "--iot-policy", "p", "--iot-policy-things", ""], "needs --iot-policy-things"),
    ],
)
def test_policy_flags_that_clash_are_refused(
    core: Any, make_zip: Any, capsys: Any, verb: str, argv: list[str], reason: str
) -> None:
    assert core.deploy("v2", verb, *argv, "--zip", make_zip()) == 2
    assert reason in capsys.readouterr().err
    assert core.calls.all == []


USAGE = [
    ([], "the following arguments are required: v2|v1 (deploy.py --help lists the options)"),
    (
        ["v2"],
        "the following arguments are required: plan|apply|status|list|remove|local "
        "(deploy.py v2 --help lists the options)",
    ),
    (
        ["v2", "plan", "--thing", "x", "--zip", "z", "--memory", "8"],
        "argument --memory: '8' is not 16 to 1024 (deploy.py v2 plan --help lists the options)",
    ),
    (
        ["v2", "plan", "--thing", "x"],
        "--zip is needed (or zip in a --config file); ./build_zip.sh makes one and prints its path",
    ),
    (["v2", "status"], "--thing or --thing-group is needed (or its name in a --config file)"),
    (["v2", "remove", "--thing", "x", "--thing-group", "y"], "--thing or --thing-group, not both"),
    (["v1", "apply", "--thing", "x"], "unrecognized arguments: --thing x (deploy.py --help lists the options)"),
    (["v2", "status", "--thing", "x", "--mqtt-ca", "ca.pem"], "--mqtt-ca, --mqtt-cert and --mqtt-key go with --mqtt"),
]


@pytest.mark.parametrize(("argv", "line"), USAGE, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_usage_error_is_one_line_and_exits_2(capsys: Any, argv: list[str], line: str) -> None:
    assert deploy.main(argv) == 2
    assert capsys.readouterr() == ("", f"deploy.py: {line}\n")


def test_ctrl_c_exits_130_and_says_how_to_go_on(core: Any, make_zip: Any, capsys: Any) -> None:
    def ask(question: str) -> str:
        raise KeyboardInterrupt

    assert core.deploy(*V2, "--zip", make_zip(), ask=ask) == 130
    assert capsys.readouterr().err == (
        "\ndeploy.py: stopped; `status` shows how far it came, and the same command goes on from there\n"
    )


def test_version_is_the_connectors() -> None:
    assert run("--version").stdout == f"deploy.py {__version__}\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("deploy.py v2 ", ["plan", "apply", "status", "list", "remove"]),
        ("deploy.py v2 apply --iso", ["--isolation"]),
        ("deploy.py v2 apply --isolation ", ["GreengrassContainer", "NoContainer"]),
    ],
)
def test_shell_completes_verbs_flags_and_values(line: str, expected: list[str], tmp_path: Path) -> None:
    """As the shell's hook does: the words of the line in the environment, the answers in a file."""
    answers = tmp_path / "answers"
    environment = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answers),
        "_ARGCOMPLETE_IFS": "\n",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "9",
    }
    assert run(**environment).returncode == 0
    assert {word.strip() for word in answers.read_text().splitlines()} >= set(expected)
    assert "PYTHON_ARGCOMPLETE_OK" in DEPLOY.read_text()[:1024]


@pytest.mark.parametrize("version", ["v2", "v1"])
@pytest.mark.parametrize("verb", ["plan", "apply", "status", "list", "remove"])
def test_help_shows_usage(version: str, verb: str, capsys: Any) -> None:
    with pytest.raises(SystemExit, match="0"):
        deploy.main([version, verb, "--help"])
    assert capsys.readouterr().out.startswith(f"usage: deploy.py {version} {verb}")
