"""deploy.py status: every core that has not got it by its name, and when the cores last reported."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
import v1_group
from fake_aws import NOW, answer, refusal
from v2_target import NAME, apply

STATUS = ["v2", "status", "--thing-group=fleet"]
LOGS = f"on the core: /greengrass/v2/logs/greengrass.log and /greengrass/v2/logs/{NAME}.log"
TIME = "2025-01-01 00:00 UTC"


@pytest.fixture
def fleet(core: Any, make_zip: Any, capsys: Any) -> Any:
    """A thing group with the connector deployed."""
    assert apply(core, "--zip", make_zip(), target="--thing-group=fleet") == 0
    capsys.readouterr()
    return core


def states(account: Any, **executions: str) -> None:
    """Give the deployment's cores these states, by thing (`_` for `-`)."""
    v2 = account.greengrass_v2
    v2.executions = {thing.replace("_", "-"): state for thing, state in executions.items()}
    names = {"QUEUED": "Queued", "IN_PROGRESS": "InProgress", "SUCCEEDED": "Succeeded", "FAILED": "Failed"}
    names |= {"TIMED_OUT": "TimedOut", "REJECTED": "Rejected"}
    counts: dict[str, int] = {}
    for state in executions.values():
        key = f"numberOf{names[state]}Things"
        counts[key] = counts.get(key, 0) + 1
    v2.jobs["job-1"] = [counts]
    v2.in_group = list(v2.executions)
    for thing in v2.in_group:
        v2.cores[thing] = {"status": "HEALTHY", "lastStatusUpdateTimestamp": account.now}


def cores(output: str) -> list[str]:
    """Return the lines on cores."""
    return [line.strip() for line in output.splitlines() if line.startswith(("  gw-", "  ..."))]


def test_failed_queued_and_silent_cores_are_named(fleet: Any, capsys: Any) -> None:
    states(fleet, gw_1="SUCCEEDED", gw_2="FAILED", gw_3="QUEUED", gw_4="SUCCEEDED", gw_5="TIMED_OUT")
    fleet.greengrass_v2.cores["gw-4"]["lastStatusUpdateTimestamp"] = NOW - timedelta(hours=26)
    fleet.greengrass_v2.cores["gw-1"]["status"] = "UNHEALTHY"
    fleet.greengrass_v2.reason = "no cgroup mount"
    assert fleet.deploy(*STATUS) == 1
    output = capsys.readouterr().out
    assert cores(output) == [
        f"gw-2: failed since {TIME}; no cgroup mount; {LOGS}",
        f"gw-5: timed out since {TIME}; no cgroup mount; {LOGS}",
        f"gw-3: queued since {TIME}; no cgroup mount",
        f"gw-1: succeeded since {TIME}; unhealthy: a component is in an error state; {LOGS}",
        f"gw-4: succeeded since {TIME}; not heard of since 2024-12-30 22:00 UTC: is it on, and connected?",
    ]
    assert output.endswith("Not every core has it: 1 queued, 2 succeeded, 1 failed, 1 timed out.\n")


@pytest.mark.parametrize(
    ("executions", "code", "verdict"),
    [
        ({"gw_1": "SUCCEEDED"}, 0, "Every core has it: 1 succeeded."),
        ({"gw_1": "SUCCEEDED", "gw_2": "QUEUED"}, 3, "Under way: 1 queued, 1 succeeded."),
        ({"gw_1": "IN_PROGRESS"}, 3, "Under way: 1 in progress."),
        ({"gw_1": "REJECTED", "gw_2": "QUEUED"}, 1, "Not every core has it: 1 queued, 1 rejected."),
    ],
)
def test_exit_code_says_whether_every_core_has_it(
    fleet: Any, capsys: Any, executions: dict[str, str], code: int, verdict: str
) -> None:
    states(fleet, **executions)
    assert fleet.deploy(*STATUS) == code
    assert capsys.readouterr().out.splitlines()[-1] == verdict


def test_status_shows_20_cores_and_all_with_the_flag(fleet: Any, capsys: Any) -> None:
    states(fleet, **{f"gw_{number:02}": "FAILED" for number in range(30)})
    assert fleet.deploy(*STATUS) == 1
    shown = cores(capsys.readouterr().out)
    assert (len(shown), shown[-1]) == (21, "... and 10 more: --all shows them")
    asked = [name for name, _ in fleet.calls.all]
    assert asked.count("greengrassv2:ListEffectiveDeployments") == 20
    assert fleet.deploy(*STATUS, "--all") == 1
    assert len(cores(capsys.readouterr().out)) == 30


def test_json_names_every_core(fleet: Any, capsys: Any) -> None:
    states(fleet, **{f"gw_{number:02}": "FAILED" for number in range(30)})
    fleet.greengrass_v2.reason = "broken"
    assert fleet.deploy(*STATUS, "--json") == 1
    document = json.loads(capsys.readouterr().out)
    assert document["target"] == "thing group fleet"
    assert (document["exitCode"], document["settings"]["LogLevel"]) == (1, "INFO")
    assert len(document["cores"]) == 30
    assert document["cores"][0] == {
        "thing": "gw-00",
        "state": "failed",
        "since": "2025-01-01T00:00:00Z",
        "lastHeard": "2025-01-01T00:00:00Z",
        "health": "HEALTHY",
        "reason": "broken",
        "component": None,
        "lastReport": None,
        "verdict": None,
    }


def test_apply_names_the_cores_that_failed(core: Any, make_zip: Any, capsys: Any) -> None:
    core.greengrass_v2.next_job = [{"numberOfSucceededThings": 1, "numberOfFailedThings": 1}]
    core.greengrass_v2.executions = {"gw-1": "SUCCEEDED", "gw-2": "FAILED"}
    core.greengrass_v2.reason = "disk full"
    assert apply(core, "--zip", make_zip(), target="--thing-group=fleet") == 1
    output, error = capsys.readouterr()
    assert output.endswith(f"  gw-2: failed since {TIME}; disk full; {LOGS}\n")
    assert error == "deploy.py: deployment deployment-1 for fleet: ACTIVE, 1 succeeded, 1 failed\n"


def test_queued_thing_that_is_no_core_is_named_so(fleet: Any, capsys: Any) -> None:
    states(fleet, gw_1="SUCCEEDED", gw_9="QUEUED")
    v2 = fleet.greengrass_v2
    v2._ListEffectiveDeployments = lambda model, **_: refusal(model, "ResourceNotFoundException", "no core", 404)
    assert fleet.deploy(*STATUS) == 3
    assert f"gw-9: queued since {TIME}; no Greengrass V2 core was ever heard of under this name" in cores(
        capsys.readouterr().out
    )


def test_last_reports_come_from_a_metric_that_a_profile_keeps(fleet: Any, capsys: Any) -> None:
    states(fleet, gw_1="SUCCEEDED", gw_2="SUCCEEDED", gw_3="SUCCEEDED")
    fleet.detect.attach("thinggroup/fleet", "aws:all-bytes-out")
    for thing, age in (("gw-1", timedelta(minutes=5)), ("gw-2", timedelta(days=9))):
        fleet.detect.values[thing, "aws:all-bytes-out"] = [NOW - age, NOW - age - timedelta(minutes=5)]
    assert fleet.deploy(*STATUS) == 0
    output = capsys.readouterr().out
    assert cores(output) == [
        f"gw-1: succeeded since {TIME}; last report 2024-12-31 23:55 UTC",
        f"gw-2: succeeded since {TIME}; last report 2024-12-23 00:00 UTC",
        f"gw-3: succeeded since {TIME}",
    ]
    assert "Last reports are not known: none in the last 14 days of gw-3.\n" in output


def test_last_report_of_a_thing_uses_profiles_of_all_things(core: Any, make_zip: Any, capsys: Any) -> None:
    apply(core, "--zip", make_zip(), "--CustomMetrics", "cpu_usage")
    core.detect.attach("all/things", "cpu_usage")
    core.detect.values["gw-1", "cpu_usage"] = [NOW - timedelta(hours=3)]
    assert core.deploy("v2", "status", "--thing=gw-1") == 0
    assert "gw-1: succeeded; last report 2024-12-31 21:00 UTC" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("topic", "metric", "reason"),
    [
        (
            [],
            None,
            "no security profile attached to the cores' group, or to all things, keeps a metric of the",
        ),
        ([], "aws:num-messages-sent", "no security profile attached to the cores' group, or to all things, keeps"),
        (["--MetricsTopic", "site/{thing}"], None, "reports go to site/{thing}, of which AWS keeps no record; `--mqtt"),
    ],
)
def test_unknown_last_reports_are_explained(
    core: Any, make_zip: Any, capsys: Any, topic: list[str], metric: str, reason: str
) -> None:
    if metric:
        core.detect.attach("all/things", metric)
    apply(core, "--zip", make_zip(), *topic)
    capsys.readouterr()
    assert core.deploy("v2", "status", "--thing=gw-1") == 0
    assert f"Last reports are not known: {reason}" in capsys.readouterr().out


def test_account_without_detect_explains_unknown_last_reports(core: Any, make_zip: Any, capsys: Any) -> None:
    apply(core, "--zip", make_zip())
    closed = lambda model, _: refusal(model, "AccessDeniedException", "closed", 403)  # noqa: E731
    core.calls.stubs["iot:ListSecurityProfilesForTarget"] = closed
    assert core.deploy("v2", "status", "--thing=gw-1") == 0
    assert "Last reports are not known: This account seems to have no AWS IoT Device Defender Detect" in (
        capsys.readouterr().out
    )


def test_v1_status_names_the_core_and_its_exit_code(account: Any, make_zip: Any, full_group: Any, capsys: Any) -> None:
    status = ["v1", "status", "--group", "gateways"]
    v1_group.apply(account, "--zip", make_zip("38"))
    capsys.readouterr()
    assert account.deploy(*status) == 0
    assert capsys.readouterr().out.endswith("The core has it.\n")
    for state, code, line in (
        ("InProgress", 3, "Under way."),
        ("Failure", 1, "The core does not have it: deployment "),
    ):
        about = {"DeploymentStatus": state, "ErrorMessage": "no Python 3.8"}
        account.calls.stubs["greengrass:GetDeploymentStatus"] = lambda model, _, about=about: answer(model, about)
        assert account.deploy(*status) == code
        output = capsys.readouterr().out
        assert output.splitlines()[-1].startswith(line)
    assert (
        "gw-1: failed; no Python 3.8; on the core: /greengrass/ggc/var/log/system/runtime.log and "
        f"/greengrass/ggc/var/log/user/<region>/<account>/{NAME}.log"
    ) in output
