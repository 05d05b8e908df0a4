"""What --iot-policy and --iot-policy-things come to in each verb: the AWS IoT policy that lets the cores report."""

from __future__ import annotations

import argparse

from deployment import v1, v2
from deployment.aws import Aws
from deployment.errors import DeployError, UsageError
from deployment.iot_policy import IotPolicy
from deployment.plan import Change
from deployment.settings import Settings

Target = v1.Group | v2.Target


def check_flags(args: argparse.Namespace) -> None:
    """Raise UsageError for flags of the policy that don't go together."""
    if args.version != "v2":
        return
    if args.iot_policy_things is not None and not (args.iot_policy and args.thing_group):
        raise UsageError(
            "--iot-policy-things goes with --iot-policy and --thing-group; with --thing the lines are that thing's"
        )
    if args.verb != "remove" and args.iot_policy and args.thing_group and not args.iot_policy_things:
        raise UsageError(
            "--iot-policy with --thing-group needs --iot-policy-things: a pattern for the names of the group's things, "
            "such as 'gateway-*' (Greengrass cores can't use thing policy variables)"
        )


def changes(aws: Aws, args: argparse.Namespace, target: Target, wanted: Settings) -> tuple[list[Change], list[Change]]:
    """Return the policy's changes before the deployment, and those for when the cores have it."""
    if not args.iot_policy:
        alarms = f", and iot:Publish on {wanted.violations_topic}" if wanted.violations_topic else ""
        target.notes.append(
            f"The cores' AWS IoT policies must allow iot:Publish on {wanted.topic}, and iot:Subscribe and iot:Receive "
            f"on its /accepted and /rejected{alarms}; --iot-policy NAME makes one that does."
        )
        return [], []
    things = _things(args, target)
    assert things  # a pattern, or the one thing: see check_flags()
    principals = target.principals
    if not principals:
        raise DeployError(f"thing {args.thing} has no certificate that --iot-policy could be attached to")
    return IotPolicy(aws, args.iot_policy).changes(wanted.topics(things), things, principals)


def removals(aws: Aws, args: argparse.Namespace, target: Target) -> tuple[list[Change], list[str]]:
    """Return what takes the target's lines out of the policy, and notes on what stays."""
    if not args.iot_policy:
        return [], []
    return IotPolicy(aws, args.iot_policy).removals(_things(args, target), target.principals)


def _things(args: argparse.Namespace, target: Target) -> str | None:
    """Return the names of the things in the target's lines of the policy, None if they were not given."""
    things: str | None = target.thing if isinstance(target, v1.Group) else args.iot_policy_things or args.thing
    return things
