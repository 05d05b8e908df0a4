"""The connector's parameters in everything that is made from them: parameters.json, deploy.py's flags, documents."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import deploy
import generate_parameters
import hypothesis
import pytest
from deployment import parameters, settings, v1
from deployment.errors import UsageError
from deployment.parameters import PARAMETERS, RESOURCE_ID
from hypothesis import given, strategies

from connector import config
from connector.flags import spellings
from connector.usage import Parser

ROOT = Path(deploy.__file__).parent.parent

# For each parameter, valid and invalid values at the edges.
EXAMPLES: dict[str, tuple[list[str], list[str]]] = {
    "SampleIntervalSeconds": (["300", "301", "999", "1000", "86400", "0300"], ["", "299", "30", "-300", "300.0", "5m"]),
    "ProcDestinationPath": (["/proc", "/host_proc", "/a-B_9"], ["", "proc", "/", "/a/b", "/a b", "/proc/"]),
    RESOURCE_ID: (["my-proc-resource", "A_1"], ["", "a b", "a/b", "a:b"]),
    "MetricNames": (["long", "short"], ["", "Long", "longs", "long "]),
    "ReportFormat": (["json", "cbor"], ["", "JSON", "xml", "jsoncbor"]),
    "MaxListSize": (["1", "9", "10", "99", "100", "499", "500"], ["", "0", "501", "1000", "-1", "5.0", "all"]),
    "CustomMetrics": (
        ["", *config.CUSTOM_METRICS, "cpu_usage,memory_usage", ", ".join(config.CUSTOM_METRICS)],
        ["cpu", "cpu_usage;memory_usage", "cpu_usage memory_usage", "CPU_USAGE"],
    ),
    "ExcludeInterfaces": (["", "lo", "lo,eth*", "lo, veth[0-9]*", "br-?"], ["lo eth*", "lo,eth0 eth1"]),
    "MetricsTopic": (
        ["a", "a/{thing}", "a/{format}/x-{thing}", "$aws/things/{thing}/defender/metrics/{format}", "a b", "x" * 256],
        ["", "a/+", "a/#", "a/{device}", "a/{", "a/}", "a\0", "a\n", "x" * 257],
    ),
    "StateDirectory": (["", "/var/lib/connector", "/a", "/a/", "/a b"], ["var/lib", "./a", "~", "/a\0"]),
    "SecurityProfiles": (
        ["", "DenialOfService", "A, /etc/profiles/b.json", "/a,/b", "a:b_c-1"],
        ["a b", "./a.json", "a.json", "é", "x" * 129, "/a\0"],
    ),
    "ViolationsTopic": (
        ["a", "device-defender/{thing}/violations", "$aws/rules/Violations/{thing}", "x" * 256],
        ["", "a/+", "a/#", "a/{format}", "a/{", "a\n", "x" * 257],
    ),
    "LogLevel": (["DEBUG", "INFO", "WARNING", "ERROR"], ["", "info", "TRACE", "10"]),
}


def warnings(name: str, value: str) -> list[str]:
    return config.parse({"AWS_IOT_THING_NAME": "gw-1", name: value})[1]


def test_parameters_of_aws_own_connector_are_unchanged() -> None:
    published = json.loads((ROOT / "packaging" / "parameters.json").read_text(encoding="utf-8"))
    entries = {entry["name"]: entry for entry in published}
    public = ("SampleIntervalSeconds", RESOURCE_ID, "ProcDestinationPath")
    assert [(entries[n]["displayName"], entries[n]["pattern"], entries[n]["required"]) for n in public] == [
        ("Metrics reporting interval", "^[0-9]*(?:3[0-9][0-9]|[4-9][0-9]{2}|[1-9][0-9]{3,})$", True),
        ("Resource for /proc directory", "[a-zA-Z0-9_-]+", True),
        ("Destination path of /proc resource", r"\/[a-zA-Z0-9_-]+", True),
    ]
    assert (entries[RESOURCE_ID]["default"], entries["CustomMetrics"]["default"]) == (None, "")


def test_every_default_is_valid_and_every_parameter_has_examples() -> None:
    invalid = [parameter.name for parameter in PARAMETERS if not parameter.allows(parameter.default)]
    assert invalid == [RESOURCE_ID]  # it has no default
    assert list(EXAMPLES) == [parameter.name for parameter in PARAMETERS]


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda p: p.name)
def test_connector_and_tools_agree_on_valid_and_invalid_values(parameter: Any) -> None:
    valid, invalid = EXAMPLES[parameter.name]
    assert [value for value in valid if not parameter.allows(value)] == []
    assert [value for value in invalid if parameter.allows(value)] == []
    assert [value for value in valid if warnings(parameter.name, value)] == []
    if parameter.name != RESOURCE_ID:  # "" is the default; the function does not read it
        assert [value for value in invalid if not warnings(parameter.name, value)] == []


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda p: p.name)
@hypothesis.settings(max_examples=100 if os.environ.get("CI") else 30)  # of 256 characters, which take a while to make
@given(data=strategies.data())
def test_connector_accepts_every_value_that_the_tools_accept(parameter: Any, data: strategies.DataObject) -> None:
    value = data.draw(strategies.from_regex(parameter.pattern, fullmatch=True))
    assert warnings(parameter.name, value) == []


@pytest.mark.parametrize("spelling", [0, 1], ids=["name", "lower case"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_deploy_has_a_flag_for_each_in_both_spellings(version: str, spelling: int) -> None:
    target = ["--group", "g"] if version == "v1" else ["--thing", "t"]
    valid = {name: examples[0][0] for name, examples in EXAMPLES.items() if version == "v1" or name != RESOURCE_ID}
    if spelling == 1:
        del valid["SecurityProfiles"]  # --security-profiles takes files here
    flags = [f"{spellings(p)[spelling]}={valid[p.name]}" for p in PARAMETERS if p.name in valid]
    args = deploy.parser().parse_args([version, "plan", *target, "--zip", "z", *flags])
    assert parameters.given(args) == valid


def test_volume_id_is_a_flag_where_asked_for() -> None:
    for wanted in (True, False):
        parser = Parser()
        parameters.add_flags(parser, resource_id=wanted)
        assert (f"--{RESOURCE_ID}" in parser.format_help()) == wanted


def test_invalid_flag_is_one_line_that_says_what_is_valid(capsys: Any) -> None:
    parser = Parser(prog="tool")
    parameters.add_flags(parser, resource_id=False)
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["--sample-interval-seconds", "60"])
    assert capsys.readouterr().err == (
        "tool: argument --SampleIntervalSeconds/--sample-interval-seconds: '60' is not valid: whole seconds, 300 or "
        "more (tool --help lists the options)\n"
    )


def test_invalid_value_in_a_file_is_an_error_that_names_the_parameter() -> None:
    size = next(parameter for parameter in PARAMETERS if parameter.name == "MaxListSize")
    assert size.check("5") == "5"
    with pytest.raises(UsageError, match="^MaxListSize: '501' is not valid: 1 to 500$"):
        size.check("501")


def test_deployment_carries_every_required_parameter() -> None:
    carried = settings.make({}).environment
    missing = [name for name in generate_parameters.REQUIRED if name not in carried]
    assert missing == [RESOURCE_ID]
    assert re.fullmatch(next(p.pattern for p in PARAMETERS if p.name == RESOURCE_ID), v1.DEFAULT_RESOURCE_ID)


@pytest.mark.parametrize(("name", "value"), [("ExcludeInterfaces", ""), ("CustomMetrics", ""), ("LogLevel", "DEBUG")])
def test_function_reads_back_what_deploy_sets(name: str, value: str) -> None:
    environment = settings.make({name: value}).environment
    assert config.parse({"AWS_IOT_THING_NAME": "gw-1", **environment}) == (
        config.parse({"AWS_IOT_THING_NAME": "gw-1", name: value})[0],
        [],
    )


def generate(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "packaging" / "generate_parameters.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_generated_files_are_up_to_date() -> None:
    checked = generate(ROOT, "--check")
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what the generator reads and writes, with a document that has a table."""
    shutil.copytree(ROOT / "connector", tmp_path / "connector", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "packaging").mkdir()
    for name in ("generate_parameters.py", "parameters.json", "greengrass_v2.yaml"):
        shutil.copy(ROOT / "packaging" / name, tmp_path / "packaging")
    (tmp_path / "README.md").write_text("# R\n\n<!-- parameters -->\nold\n<!-- /parameters -->\n\nEnd\n", "utf-8")
    return tmp_path


def test_new_parameter_reaches_every_file_by_one_entry(copy: Path) -> None:
    path = copy / "connector" / "config.py"
    entry = """PARAMETERS = (
    Parameter(
        name="SiteTopic",
        title="Topic for a site",
        default="site/{thing}",
        valid="a topic",
        pattern="[a-z{}/]+",
        description="Where it goes.",
        alias="SITE",
    ),
"""
    path.write_text(path.read_text(encoding="utf-8").replace("PARAMETERS = (\n", entry), "utf-8")
    checked = generate(copy, "--check")
    assert checked.returncode == 1
    assert [line.split()[1] for line in checked.stderr.splitlines()] == [
        "packaging/parameters.json",
        "packaging/greengrass_v2.yaml",
        "README.md",
    ]
    assert (generate(copy).returncode, generate(copy, "--check").returncode) == (0, 0)
    assert json.loads((copy / "packaging" / "parameters.json").read_text(encoding="utf-8"))[0] == {
        "name": "SiteTopic",
        "alias": "SITE",
        "displayName": "Topic for a site",
        "pattern": "[a-z{}/]+",
        "default": "site/{thing}",
        "required": False,
        "description": "Where it goes. Valid: a topic.",
    }
    template = (copy / "packaging" / "greengrass_v2.yaml").read_text(encoding="utf-8")
    for line in (
        "          - SiteTopic\n",
        '      SiteTopic: {default: "Topic for a site"}\n',
        '  SiteTopic:\n    Type: String\n    Default: "site/{thing}"\n    AllowedPattern: "[a-z{}/]+"\n'
        "    Description: >-\n      Where it goes. Valid: a topic.\n",
        "            SiteTopic: !Ref SiteTopic\n",
    ):
        assert line in template
    document = (copy / "README.md").read_text(encoding="utf-8")
    row = "| `SiteTopic` | `site/{thing}` | a topic | Where it goes. Also accepted as `SITE`. |\n"
    assert row in document
    assert document.startswith("# R\n\n<!-- parameters -->\n| Name ")
    assert document.endswith("|\n<!-- /parameters -->\n\nEnd\n")


def test_lost_marker_is_an_error_and_not_a_file_left_out(copy: Path) -> None:
    path = copy / "packaging" / "greengrass_v2.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("# <parameters: labels>", "#"), "utf-8")
    checked = generate(copy, "--check")
    assert (checked.returncode, checked.stderr) == (
        1,
        "generate_parameters.py: packaging/greengrass_v2.yaml: no lines # <parameters: labels> and # </parameters>: "
        "put them back where the block belongs\n",
    )


def test_readme_has_the_table() -> None:
    assert "<!-- parameters -->" in (ROOT / "README.md").read_text(encoding="utf-8")
