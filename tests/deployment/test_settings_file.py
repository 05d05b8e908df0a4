"""deploy.py --config: the whole intent in a file, compared with what is deployed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_upgrade import marks, on_the_core
from v2_target import GROUP, NAME, apply, last

WHOLE = """
thing = "gw-1"
zip = "{zip}"
isolation = "NoContainer"
component = "{name}"

[parameters]
SampleIntervalSeconds = 600
CustomMetrics = ["cpu_usage", "memory_usage"]
"""


@pytest.fixture
def config(tmp_path: Path, make_zip: Any) -> Any:
    """Return a function that writes a settings file and returns its path; {zip} is a zip beside it."""
    name = Path(make_zip()).name

    def write(text: str) -> str:
        path = tmp_path / "connector.toml"
        path.write_text(text.replace("{zip}", name).replace("{name}", NAME), encoding="utf-8")
        return str(path)

    return write


def test_file_names_target_zip_and_settings(core: Any, config: Any) -> None:
    file = config(WHOLE)
    assert core.deploy("v2", "apply", "--config", file, "--yes") == 0
    made = on_the_core(core)
    assert (made["isolation"], made["SampleIntervalSeconds"]) == ("NoContainer", "600")
    assert made["CustomMetrics"] == "cpu_usage,memory_usage"
    assert core.deploy("v2", "apply", "--config", file, "--yes") == 0
    assert core.calls.writes == []
    assert core.deploy("v2", "status", "--config", file) == 0
    assert core.deploy("v2", "remove", "--config", file, "--yes") == 0


def test_setting_missing_from_the_file_is_reset(core: Any, config: Any, make_zip: Any, capsys: Any) -> None:
    apply(core, "--zip", make_zip(), "--LogLevel", "DEBUG", "--MaxListSize", "9", "--SampleIntervalSeconds", "900")
    file = config(WHOLE.replace('isolation = "NoContainer"', ""))
    capsys.readouterr()
    assert core.deploy("v2", "plan", "--config", file) == 0
    assert core.calls.writes == []
    assert marks(capsys.readouterr().out) == [
        "changed SampleIntervalSeconds=900 -> 600",
        "reset MaxListSize=9 -> 50",
        "changed CustomMetrics=(empty) -> cpu_usage,memory_usage",
        "reset LogLevel=DEBUG -> INFO",
    ]


def test_isolation_missing_from_the_file_is_kept(core: Any, config: Any, make_zip: Any) -> None:
    apply(core, "--zip", make_zip(), "--isolation", "NoContainer")
    file = config(WHOLE.replace('isolation = "NoContainer"', ""))
    assert core.deploy("v2", "apply", "--config", file, "--yes") == 0
    assert on_the_core(core)["isolation"] == "NoContainer"


def test_isolation_of_the_file_is_not_changed_by_yes_alone(core: Any, config: Any, make_zip: Any, capsys: Any) -> None:
    apply(core, "--zip", make_zip())
    assert core.deploy("v2", "apply", "--config", config(WHOLE), "--yes") == 2
    assert "--yes alone doesn't change the isolation, here from GreengrassContainer" in capsys.readouterr().err
    assert core.deploy("v2", "apply", "--config", config(WHOLE), ask=lambda question: "y") == 0
    assert on_the_core(core)["isolation"] == "NoContainer"


def test_flags_override_the_file(core: Any, config: Any) -> None:
    flags = ["--config", config(WHOLE), "--thing-group", "fleet", "--SampleIntervalSeconds", "900", "--yes"]
    assert core.deploy("v2", "apply", *flags) == 0
    assert last(core)["targetArn"] == GROUP
    made = core.greengrass_v2.configuration[GROUP][NAME]["lambdaExecutionParameters"]["EnvironmentVariables"]
    assert (made["SampleIntervalSeconds"], made["CustomMetrics"]) == ("900", "cpu_usage,memory_usage")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('thign = "gw-1"', "there is no setting thign; did you mean thing?"),
        ("[parameters]\nLogLevle = 1", "there is no setting LogLevle; did you mean LogLevel?"),
        ('LogLevel = "DEBUG"', "LogLevel belongs into the table [parameters]"),
        ("[parameters]\nMaxListSize = 900", "MaxListSize: '900' is not valid: 1 to 500"),
        ("[parameters]\nMaxListSize = true", "MaxListSize must be a string, a whole number, or a list of them"),
        ("parameters = 1", "parameters must be a table: [parameters]"),
        ('isolation = "Docker"', "isolation: 'Docker' is not GreengrassContainer or NoContainer"),
        ("memory = 8", "memory: '8' is not 16 to 1024"),
        ("thing = ", "not a TOML file: "),
    ],
)
def test_invalid_file_is_refused_before_the_network(
    core: Any, config: Any, make_zip: Any, capsys: Any, text: str, reason: str
) -> None:
    file = config(text)
    assert apply(core, "--zip", make_zip(), "--config", file) == 2
    assert capsys.readouterr().err.startswith(f"deploy.py: --config {file}: {reason}")
    assert core.calls.all == []


@pytest.mark.parametrize("setting", ["thing", "thing-group"])
def test_target_of_the_file_must_be_a_name_that_aws_iot_takes(
    core: Any, config: Any, make_zip: Any, capsys: Any, setting: str
) -> None:
    file = config(f"{setting} = 'gateway 1'")
    assert core.deploy("v2", "plan", "--zip", make_zip(), "--config", file, "--dry-run") == 2
    reason = f"{setting}: 'gateway 1' is not 1 to 128 of a-zA-Z0-9:_-"
    assert capsys.readouterr().err == f"deploy.py: --config {file}: {reason}\n"


def test_missing_file_is_refused(core: Any, make_zip: Any, capsys: Any) -> None:
    assert apply(core, "--zip", make_zip(), "--config", "nothere.toml") == 2
    assert capsys.readouterr().err == "deploy.py: --config nothere.toml: No such file or directory\n"
