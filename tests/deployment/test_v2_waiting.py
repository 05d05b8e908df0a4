"""deploy.py v2: waiting for the cores, and what failed, was canceled or never reached them."""

from __future__ import annotations

from typing import Any

import pytest
from fake_aws import SUCCEEDED, refusal
from v2_target import (
    GROUP,
    apply,
    deploy_existing,
    last,
)


def test_failed_deployment_shows_reason_and_is_repeated(core: Any, make_zip: Any, capsys: Any) -> None:
    core.greengrass_v2.next_job = [{"numberOfFailedThings": 1}]
    core.greengrass_v2.reason = "FAILED_ROLLBACK_COMPLETE: no cgroup mount"
    assert apply(core, "--zip", make_zip()) == 1
    assert "for gw-1: FAILED: FAILED_ROLLBACK_COMPLETE: no cgroup mount" in capsys.readouterr().err
    assert core.deploy("v2", "status", "--thing", "gw-1") == 1

    core.greengrass_v2.next_job = [SUCCEEDED]
    assert apply(core, "--zip", make_zip()) == 0
    assert core.calls.writes == ["greengrassv2:CreateDeployment"]


def test_failed_removal_is_repeated(core: Any, make_zip: Any, capsys: Any) -> None:
    deploy_existing(core)
    apply(core, "--zip", make_zip())
    core.greengrass_v2.next_job = [{"numberOfFailedThings": 1}]
    assert core.deploy("v2", "remove", "--thing", "gw-1", "--yes") == 1
    removed = last(core)
    assert core.deploy("v2", "status", "--thing", "gw-1") == 1

    core.greengrass_v2.next_job = [SUCCEEDED]
    capsys.readouterr()
    assert core.deploy("v2", "remove", "--thing", "gw-1", "--yes") == 0
    assert core.calls.writes == ["greengrassv2:CreateDeployment"]
    assert last(core) == removed
    assert "did not succeed" in capsys.readouterr().out
    assert core.deploy("v2", "remove", "--thing", "gw-1", "--yes") == 0
    assert core.calls.writes == []


def test_one_failed_core_does_not_redeploy_the_group(core: Any, make_zip: Any, capsys: Any) -> None:
    core.greengrass_v2.next_job = [{"numberOfSucceededThings": 9, "numberOfFailedThings": 1}]
    assert apply(core, "--zip", make_zip(), target="--thing-group=fleet") == 1
    assert "9 succeeded, 1 failed" in capsys.readouterr().err
    assert apply(core, "--zip", make_zip(), target="--thing-group=fleet") == 0
    assert core.calls.writes == []


def test_group_is_waited_for_only_after_a_deployment(core: Any, make_zip: Any, capsys: Any) -> None:
    apply(core, "--zip", make_zip(), target="--thing-group=fleet")
    core.greengrass_v2.jobs["job-1"] = [{"numberOfSucceededThings": 3, "numberOfQueuedThings": 1}]
    core.slept = 0.0
    policy = ["--iot-policy", "report", "--iot-policy-things", "gw-*"]
    assert apply(core, "--zip", make_zip(), *policy, target="--thing-group=fleet") == 0
    assert core.calls.writes == ["iot:CreatePolicy", "iot:AttachPolicy"]
    assert core.slept == 0

    core.greengrass_v2.next_job = [{"numberOfQueuedThings": 1}]
    flags = ["--MaxListSize", "9", "--timeout", "60"]
    assert apply(core, "--zip", make_zip(), *flags, target="--thing-group=fleet") == 1
    assert "not finished in time, last state: 1 queued" in capsys.readouterr().err


def test_group_without_things_is_not_waited_for(core: Any, make_zip: Any, capsys: Any) -> None:
    core.greengrass_v2.next_job = [{}]
    assert apply(core, "--zip", make_zip(), target="--thing-group=fleet") == 0
    assert capsys.readouterr().out.endswith("  no core in the group yet\n")
    assert core.deploy("v2", "status", "--thing-group", "fleet") == 0

    # With a thing in the group the job only takes its time.
    core.client("iot").add_thing_to_thing_group(thingGroupName="fleet", thingName="gw-1")
    core.greengrass_v2.next_job = [{}, {}, SUCCEEDED]
    assert apply(core, "--zip", make_zip(), "--MaxListSize", "9", target="--thing-group=fleet") == 0
    assert capsys.readouterr().out.endswith("  no core has it yet\n  1 succeeded\n")


def test_canceled_deployment_is_repeated(core: Any, make_zip: Any) -> None:
    apply(core, "--zip", make_zip())
    core.greengrass_v2.deployments[-1]["deploymentStatus"] = "CANCELED"
    assert apply(core, "--zip", make_zip()) == 0
    assert core.calls.writes == ["greengrassv2:CreateDeployment"]


def test_deployment_without_job_counts_as_deployed(core: Any, make_zip: Any, capsys: Any) -> None:
    apply(core, "--zip", make_zip())
    core.calls.stubs["iot:DescribeJob"] = lambda model, _: refusal(model, "ResourceNotFoundException", "no job")
    assert core.deploy("v2", "status", "--thing", "gw-1") == 0
    assert "ACTIVE, its AWS IoT job is no longer there" in capsys.readouterr().out
    assert apply(core, "--zip", make_zip()) == 0
    assert core.calls.writes == []


@pytest.mark.parametrize("state", ["CANCELED", "FAILED", "INACTIVE"])
def test_failed_deployment_counts_as_missing(core: Any, make_zip: Any, capsys: Any, state: str) -> None:
    apply(core, "--zip", make_zip(), target="--thing-group=fleet")
    core.greengrass_v2.deployments[-1]["deploymentStatus"] = state
    assert core.deploy("v2", "status", "--thing-group", "fleet") == 1
    assert f"Deployment deployment-1: {state}, " in capsys.readouterr().out


@pytest.mark.parametrize("state", ["CANCELED", "INACTIVE"])
@pytest.mark.parametrize("job", [{}, {"numberOfQueuedThings": 1, "processingTargets": [GROUP]}])
def test_canceled_or_superseded_deployment_ends_the_wait(
    core: Any, make_zip: Any, capsys: Any, state: str, job: Any
) -> None:
    core.greengrass_v2.next_job = [job]

    def sleep(seconds: float) -> None:
        core.slept += seconds
        for deployment in core.greengrass_v2.deployments:
            deployment["deploymentStatus"] = state

    core.aws.sleep = sleep
    assert apply(core, "--zip", make_zip()) == 1
    assert f"deployment deployment-1 for gw-1: {state}, " in capsys.readouterr().err
    assert core.slept < 60


def test_job_that_is_still_sent_out_is_waited_for(core: Any, make_zip: Any, capsys: Any) -> None:
    for name in ("gw-1", "gw-2"):
        core.client("iot").create_thing(thingName=name)
        core.client("iot").add_thing_to_thing_group(thingGroupName="fleet", thingName=name)
    first = {**SUCCEEDED, "processingTargets": [GROUP]}
    core.greengrass_v2.next_job = [first, {"numberOfSucceededThings": 1, "numberOfFailedThings": 1}]
    assert apply(core, "--zip", make_zip(), target="--thing-group=fleet") == 1
    said = capsys.readouterr()
    assert "  1 succeeded, more to come\n  1 succeeded, 1 failed\n" in said.out
    assert "1 succeeded, 1 failed" in said.err

    # A job that goes on for a group may always have targets; all its things have answered.
    core.greengrass_v2.next_job = [{"numberOfSucceededThings": 2, "processingTargets": [GROUP]}]
    assert apply(core, "--zip", make_zip(), "--MaxListSize", "9", target="--thing-group=fleet") == 0
