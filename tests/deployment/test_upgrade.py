"""deploy.py apply on a target that has the connector: what is deployed is the start, only what is given changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
import v1_group
from deployment import intent, settings
from fake_aws import refusal
from v2_target import COMPONENT, NAME, THING, apply, last

CHOSEN = [
    *("--isolation", "NoContainer", "--StateDirectory", "/var/lib/c", "--CustomMetrics", "cpu_usage"),
    *("--LogLevel", "DEBUG", "--SampleIntervalSeconds", "600"),
]
KEPT = {
    "StateDirectory": "/var/lib/c",
    "CustomMetrics": "cpu_usage",
    "LogLevel": "DEBUG",
    "SampleIntervalSeconds": "600",
    "ProcDestinationPath": "/proc",
}


@pytest.fixture
def new_zip(make_zip: Any) -> str:
    path: str = make_zip(version="1.1.0", code="# new\n")
    return path


def on_the_core(account: Any) -> dict[str, Any]:
    """Return what the core runs with: its variables, and the isolation."""
    configuration = account.greengrass_v2.configuration[THING][NAME]
    variables = configuration["lambdaExecutionParameters"]["EnvironmentVariables"]
    return {**variables, "isolation": configuration["containerMode"]}


def chosen(account: Any) -> dict[str, Any]:
    """Return what differs from the defaults on the core."""
    return {name: value for name, value in on_the_core(account).items() if name in {*KEPT, "isolation"}}


def marks(output: str) -> list[str]:
    """Return the plan's lines on settings."""
    block = output.partition("Settings, beside those at their default:\n")[2].partition("\n\n")[0]
    return [" ".join(line.split()) for line in block.splitlines()]


def test_upgrade_keeps_settings_and_isolation(core: Any, make_zip: Any, new_zip: str, capsys: Any) -> None:
    assert apply(core, "--zip", make_zip(), *CHOSEN) == 0
    capsys.readouterr()
    assert apply(core, "--zip", new_zip) == 0
    assert chosen(core) == {**KEPT, "isolation": "NoContainer"}
    assert last(core)["components"][NAME]["componentVersion"] == "1.1.0"
    assert marks(capsys.readouterr().out) == [
        "kept SampleIntervalSeconds=600",
        "kept CustomMetrics=cpu_usage",
        "kept StateDirectory=/var/lib/c",
        "kept LogLevel=DEBUG",
        "kept isolation=NoContainer",
    ]
    assert apply(core, "--zip", new_zip) == 0
    assert core.calls.writes == []


def test_given_setting_is_changed_and_the_others_kept(core: Any, make_zip: Any, capsys: Any) -> None:
    apply(core, "--zip", make_zip(), *CHOSEN)
    capsys.readouterr()
    assert apply(core, "--zip", make_zip(), "--LogLevel", "INFO", "--MaxListSize", "9") == 0
    assert on_the_core(core)["MaxListSize"] == "9"
    assert chosen(core) == {**KEPT, "LogLevel": "INFO", "isolation": "NoContainer"}
    shown = marks(capsys.readouterr().out)
    assert {"changed MaxListSize=50 -> 9", "changed LogLevel=DEBUG -> INFO"} < set(shown)


def test_reset_sets_one_setting_back(core: Any, make_zip: Any, capsys: Any) -> None:
    apply(core, "--zip", make_zip(), *CHOSEN)
    capsys.readouterr()
    assert apply(core, "--zip", make_zip(), "--reset", "custom-metrics,LogLevel") == 0
    assert "CustomMetrics" not in on_the_core(core)
    assert on_the_core(core)["StateDirectory"] == "/var/lib/c"
    shown = marks(capsys.readouterr().out)
    assert {"reset CustomMetrics=cpu_usage -> (empty)", "reset LogLevel=DEBUG -> INFO"} < set(shown)


def test_reset_all_sets_everything_back(core: Any, make_zip: Any) -> None:
    apply(core, "--zip", make_zip(), *CHOSEN)
    assert apply(core, "--zip", make_zip(), "--reset", "all", "--isolation", "GreengrassContainer") == 0
    assert on_the_core(core) == {**settings.make({}).environment, "isolation": "GreengrassContainer"}


@pytest.mark.parametrize("flags", [["--reset", "all"], ["--reset", "isolation"]])
def test_isolation_is_not_changed_by_yes_alone(core: Any, make_zip: Any, capsys: Any, flags: list[str]) -> None:
    apply(core, "--zip", make_zip(), *CHOSEN)
    capsys.readouterr()
    assert apply(core, "--zip", make_zip(), *flags) == 2
    assert capsys.readouterr().err == (
        "deploy.py: --yes alone doesn't change the isolation, here from NoContainer to GreengrassContainer: cores with "
        "cgroups v2 only can't run containers. Pass --isolation GreengrassContainer, or leave --yes out\n"
    )
    assert core.calls.writes == []

    assert core.deploy("v2", "apply", "--thing=gw-1", "--zip", make_zip(), *flags, ask=lambda question: "y") == 0
    assert on_the_core(core)["isolation"] == "GreengrassContainer"


def test_isolation_change_keeps_what_does_not_follow_from_it(core: Any, make_zip: Any) -> None:
    apply(core, "--zip", make_zip(), "--ProcDestinationPath", "/p", "--memory", "64", "--LogLevel", "DEBUG")
    assert apply(core, "--zip", make_zip(), "--isolation", "NoContainer") == 0
    assert on_the_core(core)["ProcDestinationPath"] == "/proc"
    assert apply(core, "--zip", make_zip(), "--isolation", "GreengrassContainer") == 0
    assert (on_the_core(core)["ProcDestinationPath"], on_the_core(core)["LogLevel"]) == ("/host_proc", "DEBUG")


def test_memory_is_kept_changed_and_reset(core: Any, make_zip: Any, capsys: Any) -> None:
    def limit() -> int:
        return int(core.greengrass_v2.configuration[THING][NAME]["containerParams"]["memorySize"])

    apply(core, "--zip", make_zip(), "--memory", "64")
    assert (apply(core, "--zip", make_zip(), "--LogLevel", "DEBUG"), limit()) == (0, 65536)
    assert "kept memory=64 MB" in marks(capsys.readouterr().out)
    assert (apply(core, "--zip", make_zip(), "--reset", "memory"), limit()) == (0, 32768)
    assert "reset memory=64 MB -> 32 MB" in marks(capsys.readouterr().out)


def test_unknown_reset_is_refused_before_the_network(core: Any, make_zip: Any, capsys: Any) -> None:
    assert apply(core, "--zip", make_zip(), "--reset", "LogLevle") == 2
    assert "--reset LogLevle: there is no such setting; there are: SampleIntervalSeconds, " in capsys.readouterr().err
    assert core.calls.all == []


def test_default_of_an_earlier_version_becomes_todays(
    core: Any, make_zip: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    apply(core, "--zip", make_zip(), "--MetricNames", "short", "--ExcludeInterfaces", "lo,eth9")
    monkeypatch.setitem(intent.EARLIER_DEFAULTS, "ExcludeInterfaces", ("lo,eth9",))
    capsys.readouterr()
    assert apply(core, "--zip", make_zip()) == 0
    today = settings.default_of("ExcludeInterfaces")
    assert on_the_core(core)["ExcludeInterfaces"] == today
    assert f"new default ExcludeInterfaces=lo,eth9 -> {today}" in marks(capsys.readouterr().out)


def test_invalid_deployed_value_is_replaced_and_named(core: Any, make_zip: Any, capsys: Any) -> None:
    apply(core, "--zip", make_zip())
    made = core.greengrass_v2.components[f"{COMPONENT}:1.0.0"]["lambdaFunction"]["componentLambdaParameters"]
    made["environmentVariables"] |= {"LogLevel": "VERBOSE", "HTTPS_PROXY": "proxy:3128", "PROCFS_PATH": "/p2"}
    capsys.readouterr()
    assert apply(core, "--zip", make_zip(), "--MaxListSize", "9") == 0
    assert (on_the_core(core)["LogLevel"], on_the_core(core)["HTTPS_PROXY"]) == ("INFO", "proxy:3128")
    shown = marks(capsys.readouterr().out)
    assert {"not valid LogLevel=VERBOSE -> INFO", "kept HTTPS_PROXY=proxy:3128"} < set(shown)


def test_settings_that_cannot_be_read_stop_the_run(core: Any, make_zip: Any, capsys: Any) -> None:
    apply(core, "--zip", make_zip(), "--LogLevel", "DEBUG")
    core.greengrass_v2._GetComponent = lambda model, **_: refusal(model, "ResourceNotFoundException", "gone", 404)
    assert apply(core, "--zip", make_zip()) == 1
    error = capsys.readouterr().err
    assert f"component {NAME} 1.0.0, which thing gw-1 has, can't be read any more, so its settings would be" in error
    assert core.calls.writes == []
    assert apply(core, "--zip", make_zip(), "--reset", "all") == 0


def test_configuration_in_the_deployment_itself_is_noted(core: Any, make_zip: Any, capsys: Any) -> None:
    apply(core, "--zip", make_zip())
    current = last(core)
    current["components"][NAME]["configurationUpdate"] = {"merge": json.dumps({"containerMode": "NoContainer"})}
    core.aws.client("greengrassv2").create_deployment(**current)
    assert core.deploy("v2", "plan", "--thing=gw-1", "--zip", make_zip()) == 0
    assert f"The deployment itself configures {NAME} (containerMode); where the two differ" in capsys.readouterr().out


def test_zip_for_another_python_than_the_deployed_is_noted(core: Any, make_zip: Any, capsys: Any) -> None:
    apply(core, "--zip", make_zip("311"))
    capsys.readouterr()
    assert core.deploy("v2", "plan", "--thing=gw-1", "--zip", make_zip("312")) == 0
    assert (
        "Note: The cores run the connector for Python 3.11 now, and this zip is for Python 3.12. Cores don't report "
        "which Pythons they have: one without python3.12 fails this deployment (./build_zip.sh --python 3.11 builds"
    ) in capsys.readouterr().out


def test_v1_upgrade_keeps_settings_user_and_resource(account: Any, make_zip: Any, full_group: Any, capsys: Any) -> None:
    theirs = {"Id": "my-proc", "Name": "p", "ResourceDataContainer": v1_group.volume("/proc", "/host_proc")}
    v1_group.add(account, "Resource", [theirs])
    flags = ["--LogLevel", "DEBUG", "--ProcDestinationPath-ResourceId", "my-proc", "--memory", "64"]
    assert v1_group.apply(account, "--zip", make_zip("38"), *flags) == 0
    entry = v1_group.content(account)["Functions"][1]
    entry["FunctionConfiguration"]["Environment"]["Execution"]["RunAs"] = {"Uid": 1001, "Gid": 1001}
    v1_group.replace_function(account, entry)
    capsys.readouterr()

    assert v1_group.apply(account, "--zip", make_zip("37", version="1.1.0", code="# new\n")) == 0
    made = v1_group.content(account)["Functions"][1]["FunctionConfiguration"]
    assert made["MemorySize"] == 65536
    assert made["Environment"]["Variables"]["LogLevel"] == "DEBUG"
    assert made["Environment"]["Execution"]["RunAs"] == {"Uid": 1001, "Gid": 1001}
    assert made["Environment"]["ResourceAccessPolicies"] == [{"ResourceId": "my-proc", "Permission": "ro"}]
    output = capsys.readouterr().out
    assert "kept ProcDestinationPath-ResourceId=my-proc" in marks(output)
    assert "for Python 3.8 now, and this zip is for Python 3.7." in output


def test_v1_isolation_survives_an_upgrade(account: Any, make_zip: Any, full_group: Any) -> None:
    v1_group.apply(account, "--zip", make_zip("38"), "--isolation", "NoContainer")
    assert v1_group.apply(account, "--zip", make_zip("38", code="# new\n")) == 0
    environment = v1_group.content(account)["Functions"][1]["FunctionConfiguration"]["Environment"]
    assert environment["Execution"] == {"IsolationMode": "NoContainer"}
    assert v1_group.apply(account, "--zip", make_zip("38"), "--reset", "isolation") == 2
