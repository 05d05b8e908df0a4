"""deploy.py killed after each AWS call in turn and run again: the same end state, nothing of others lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
import v1_group
import v2_target
from fake_aws import Account, clean_account
from v2_target import NAME, ROUTER, THING

POLICY = ["--iot-policy", "report"]
V2 = ["--thing=gw-1", "--CustomMetrics", "cpu_usage", "--create-custom-metrics", "--bucket", "artifacts", *POLICY]
V1 = ["--group=gateways", *POLICY]


SERVICES = ("iot", "lambda", "iam", "s3", "sts", "greengrassv2", "greengrass")


class Killed(BaseException):
    """What no part of the tool catches."""


def killed_after(account: Account, number: int, argv: list[str]) -> None:
    """Run deploy.py and kill it when the call of that number has been answered."""

    def kill(**_: Any) -> None:
        if len(account.calls.all) == number:
            raise Killed

    emitters = [account.aws.client(service).meta.events for service in SERVICES]
    for emitter in emitters:
        emitter.register_last("after-call", kill)
    with pytest.raises(Killed):
        account.deploy(*argv)
    for emitter in emitters:
        emitter.unregister("after-call", kill)


def prepare_v2(account: Account) -> None:
    account.thing("gw-1")
    account.greengrass_v2.cores["gw-1"] = {"architecture": "amd64", "runtime": "aws_nucleus_classic"}
    location = {"LocationConstraint": account.aws.region}
    account.client("s3").create_bucket(Bucket="artifacts", CreateBucketConfiguration=location)
    v2_target.deploy_existing(account)


def state_v2(account: Account) -> Any:
    """Return what the target has, what its core runs with, and the account's function, metrics and policy."""
    components = v2_target.last(account)["components"]
    merge = json.loads(components[ROUTER]["configurationUpdate"]["merge"])
    made = account.greengrass_v2.configuration[THING].get(NAME)
    return {
        "components": {name: spec for name, spec in components.items() if name not in (NAME, ROUTER)},
        "subscriptions": merge["subscriptions"],
        "configuration": made and {**made, "lambdaArn": None},
        "metrics": account.detect.metrics,
        "policy": policy(account),
        "roles": [role["RoleName"] for role in account.client("iam").list_roles()["Roles"]],
    }


def state_native(account: Account) -> Any:
    """Return what the target has, the native component's settings included, and the account's policy."""
    return v2_target.last(account)["components"], account.greengrass_v2.configuration[THING], policy(account)


def state_v1(account: Account) -> Any:
    held = v1_group.content(account)
    text = json.dumps({key: value for key, value in held.items() if key != "Cores"}, sort_keys=True)
    for version in "123":
        text = text.replace(f":{NAME}:{version}", f":{NAME}:N")
    return {"held": json.loads(text), "policy": policy(account)}


def policy(account: Account) -> Any:
    names = [found["policyName"] for found in account.client("iot").list_policies()["policies"]]
    documents = [json.loads(account.client("iot").get_policy(policyName=name)["policyDocument"]) for name in names]
    targets = [account.client("iot").list_targets_for_policy(policyName=name)["targets"] for name in names]
    return names, documents, [len(found) for found in targets]


APPLY_V2, REMOVE_V2 = ["v2", "apply", *V2, "--yes"], ["v2", "remove", "--thing=gw-1", *POLICY, "--yes"]
APPLY_NATIVE = ["v2", "apply", "--native", *V2, "--yes"]
APPLY_V1, REMOVE_V1 = ["v1", "apply", *V1, "--yes"], ["v1", "remove", *V1, "--yes"]
CASES: dict[str, Any] = {
    "v2 apply": (prepare_v2, [], APPLY_V2, state_v2),
    "v2 upgrade": (prepare_v2, APPLY_V2, [*APPLY_V2, "--LogLevel=DEBUG"], state_v2),
    "v2 remove": (prepare_v2, APPLY_V2, REMOVE_V2, state_v2),
    "v2 native in place of the function": (prepare_v2, APPLY_V2, APPLY_NATIVE, state_native),
    "v1 apply": (v1_group.fill_group, [], APPLY_V1, state_v1),
    "v1 remove": (v1_group.fill_group, APPLY_V1, REMOVE_V1, state_v1),
}


def run_killed_after(case: str, make_zip: Any, native_zip: str, capsys: Any, *, only_writes: bool) -> None:
    prepare, before, argv, state = CASES[case]
    old, new = make_zip("38"), make_zip("38", version="1.1.0", code="# new\n")

    def with_zip(argv: list[str], path: str) -> list[str]:
        if "--native" in argv:
            path = native_zip
        return [*argv, "--zip", path] if "apply" in argv else argv

    def start(account: Account) -> None:
        prepare(account)
        if before:
            assert account.deploy(*with_zip(before, old)) == 0

    run = with_zip(argv, new)
    with clean_account() as account:
        start(account)
        assert account.deploy(*run) == 0
        expected = state(account)
        writes = account.calls.writes
        numbers = [n for n, (name, _) in enumerate(account.calls.all, 1) if not only_writes or name in writes]
    assert numbers

    for number in numbers:
        with clean_account() as account:
            start(account)
            killed_after(account, number, run)
            assert account.deploy(*run) == 0, (number, capsys.readouterr().err)
            assert state(account) == expected, number


@pytest.mark.parametrize("case", CASES)
def test_run_killed_after_any_write_is_finished_by_the_next(
    case: str, make_zip: Any, native_zip: str, capsys: Any
) -> None:
    """A call that only reads leaves the account as the write before it did."""
    run_killed_after(case, make_zip, native_zip, capsys, only_writes=True)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_run_killed_after_any_call_is_finished_by_the_next(
    case: str, make_zip: Any, native_zip: str, capsys: Any
) -> None:
    run_killed_after(case, make_zip, native_zip, capsys, only_writes=False)
