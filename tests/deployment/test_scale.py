"""deploy.py with thousands of cores: bounded calls, progress, and standard retries where AWS throttles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from deployment.aws import MAX_ATTEMPTS
from fake_aws import NOW, REGION
from moto.core.botocore_stubber import BotocoreStubber
from v2_target import GROUP, NAME, apply

CORES = 2000
STATUS = ["v2", "status", "--thing-group=fleet"]


@pytest.fixture
def fleet(core: Any, make_zip: Any, capsys: Any) -> Any:
    """A thing group of 2,000 cores, of which every tenth failed."""
    names = [f"gw-{number:05}" for number in range(CORES)]
    v2 = core.greengrass_v2
    v2.next_job = [{"numberOfSucceededThings": CORES - CORES // 10, "numberOfFailedThings": CORES // 10}]
    v2.executions = {name: "FAILED" if number % 10 == 0 else "SUCCEEDED" for number, name in enumerate(names)}
    v2.in_group = names
    v2.cores = {name: {"architecture": "amd64", "lastStatusUpdateTimestamp": NOW} for name in names}
    core.detect.attach("thinggroup/fleet", "aws:all-bytes-out")
    core.detect.values = {(name, "aws:all-bytes-out"): [NOW - timedelta(minutes=1)] for name in names}
    assert apply(core, "--zip", make_zip(), "--no-wait", target="--thing-group=fleet") == 0
    capsys.readouterr()
    return core


def made(account: Any) -> Counter[str]:
    """Return how often each call was made."""
    return Counter(name.partition(":")[2] for name, _ in account.calls.all)


def test_status_of_a_large_group_makes_a_call_a_page_and_a_few_a_shown_core(fleet: Any, capsys: Any) -> None:
    assert fleet.deploy(*STATUS) == 1
    output = capsys.readouterr().out
    assert "  gw-00000: failed since 2025-01-01 00:00 UTC; " in output
    assert "  ... and 1,980 more: --all shows them\n" in output
    calls = made(fleet)
    pages = {"ListCoreDevices": CORES // 100, "ListJobExecutionsForJob": CORES // 250}
    shown = {"ListEffectiveDeployments": 20, "ListMetricValues": 20}
    assert {name: calls[name] for name in (*pages, *shown)} == {**pages, **shown}
    assert sum(calls.values()) < sum((*pages.values(), *shown.values())) + 20
    assert "list_core_devices: 2,000 read" in fleet.progress


def test_plan_for_a_large_group_reads_its_cores_once(fleet: Any, make_zip: Any) -> None:
    assert fleet.deploy("v2", "plan", "--thing-group=fleet", "--zip", make_zip()) == 0
    calls = made(fleet)
    assert calls["ListCoreDevices"] == CORES // 100
    assert sum(calls.values()) < CORES // 100 + 20


def test_waiting_for_a_large_group_makes_a_few_calls_a_round(fleet: Any, make_zip: Any) -> None:
    under_way = {"numberOfSucceededThings": 1, "processingTargets": [GROUP]}
    fleet.greengrass_v2.next_job = [
        *[{**under_way, "numberOfQueuedThings": 1}] * 30,
        {"numberOfSucceededThings": CORES},
    ]
    assert apply(fleet, "--zip", make_zip(), "--MaxListSize", "9", target="--thing-group=fleet") == 0
    calls = made(fleet)
    assert calls["DescribeJob"] < 40
    assert calls["ListThingsInThingGroup"] <= 1


def test_list_reads_each_deployment_once_and_each_version_once(core: Any, make_zip: Any, capsys: Any) -> None:
    apply(core, "--zip", make_zip())
    components = core.greengrass_v2.deployments[-1]["components"]
    for number in range(250):
        target = f"arn:aws:iot:eu-west-1:123456789012:thing/gw-{number:05}"
        core.aws.client("greengrassv2").create_deployment(targetArn=target, components=components)
    capsys.readouterr()
    assert core.deploy("v2", "list") == 0
    assert capsys.readouterr().out.endswith(f"251 targets have component {NAME}, in 1 version.\n")
    assert made(core) == {"ListDeployments": 3, "GetDeployment": 251, "GetComponent": 1}
    assert core.progress == ["list: 100 deployments read", "list: 200 deployments read"]


class Trouble:
    """Spoils every second request, or every one, below botocore's retries.

    throttled: AWS refuses it; otherwise AWS carries it out, and its answer is lost
    spoiled, slept: how many requests were spoiled, how many pauses botocore made
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, throttled: bool, every: bool = False):
        self.spoiled = self.slept = 0
        self._throttled, self._every, self._passed = throttled, every, True
        self._answer = BotocoreStubber.__call__
        monkeypatch.setattr("botocore.endpoint.time.sleep", self._sleep)
        monkeypatch.setattr(BotocoreStubber, "__call__", lambda stubber, *a, **k: self._call(stubber, *a, **k))

    def _sleep(self, seconds: float) -> None:
        self.slept += 1

    def _call(self, stubber: Any, event_name: str, request: Any, **rest: Any) -> Any:
        self._passed = not self._passed and not self._every
        if self._passed or not self._throttled:
            answer = self._answer(stubber, event_name, request, **rest)
            if self._passed:
                return answer
        self.spoiled += 1
        if not self._throttled or event_name.split(".")[1] not in ("iot", "lambda"):  # the others speak XML
            return AWSResponse(request.url, 503, {}, Body(b""))
        headers = {"x-amzn-errortype": "ThrottlingException", "content-type": "application/json"}
        return AWSResponse(request.url, 429, headers, Body(b'{"message": "Rate exceeded"}'))


class Body:
    """A connection's raw answer, as botocore reads it."""

    def __init__(self, data: bytes):
        self._data = data

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        yield self._data


@pytest.mark.parametrize("throttled", [True, False], ids=["throttled", "answer lost"])
def test_calls_that_fail_once_are_repeated(
    core: Any, make_zip: Any, monkeypatch: pytest.MonkeyPatch, throttled: bool
) -> None:
    core.client("s3").create_bucket(Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": REGION})
    trouble = Trouble(monkeypatch, throttled)
    flags = ["--zip", make_zip(), "--iot-policy", "report", "--bucket", "artifacts"]
    assert apply(core, *flags) == 0
    assert trouble.spoiled > 10
    assert trouble.slept >= trouble.spoiled - 1
    assert apply(core, *flags) == 0
    assert core.calls.writes == []
    assert core.deploy("v2", "remove", "--thing=gw-1", "--iot-policy", "report", "--yes") == 0
    assert core.client("iot").list_policies()["policies"] == []


def test_throttling_without_end_fails_with_the_call(core: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    trouble = Trouble(monkeypatch, throttled=True, every=True)
    assert core.deploy("v2", "status", "--thing=gw-1") == 1
    assert "iot:DescribeThing on gw-1 failed: ThrottlingException: Rate exceeded" in capsys.readouterr().err
    assert trouble.spoiled == MAX_ATTEMPTS
