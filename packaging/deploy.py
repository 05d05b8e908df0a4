"""Deploy the connector to AWS IoT Greengrass V2 or V1: `python packaging/deploy.py v2|v1 plan|apply|status|remove`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

if sys.version_info < (3, 10):
    sys.exit("deploy.py: this is Python {}.{}; 3.10 or later is needed".format(*sys.version_info))
sys.path.insert(1, str(Path(__file__).resolve().parent.parent))  # for `connector`, when run by its path
try:
    from botocore.exceptions import BotoCoreError, ClientError
    from deployment import artifact, component, parameters, settings, v1, v2
    from deployment.artifact import Artifact
    from deployment.aws import Aws, Waiting, connect
    from deployment.errors import DeployError, UsageError
    from deployment.function import Function
    from deployment.iot_policy import IotPolicy
    from deployment.plan import Change, show
    from deployment.settings import Settings
except ModuleNotFoundError as missing:
    sys.exit(
        f"deploy.py: {missing}. Make an environment with what it needs, and use its python:"
        " packaging/venv.sh build/tools packaging/requirements-tools.txt"
    )

EXIT_CODES = "0 done; 1 failed, not finished in --timeout, or not deployed (status); 2 bad usage or bad input"
NAME = "device-defender-connector"
Target = v1.Group | v2.Target


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    top = argparse.ArgumentParser(
        prog="deploy.py",
        description="Deploy the Device Defender connector to AWS IoT Greengrass, take it off again, or look.",
        epilog=f"Exit codes: {EXIT_CODES}.",
        allow_abbrev=False,
    )
    versions = top.add_subparsers(dest="version", required=True, metavar="v2|v1")
    for version, text in (("v2", "Greengrass V2: a component"), ("v1", "Greengrass V1: entries in a group")):
        verbs = versions.add_parser(version, help=text, allow_abbrev=False)
        verb = verbs.add_subparsers(dest="verb", required=True, metavar="plan|apply|status|remove")
        for name, help_text in (
            ("plan", "show what apply would change, as a diff; write nothing"),
            ("apply", "show the plan, ask, make it so, and wait for the cores"),
            ("status", "show what is deployed, and how the last deployment went"),
            ("remove", "take out what apply brought in, and nothing else"),
        ):
            _add_flags(verb.add_parser(name, help=help_text, description=help_text, allow_abbrev=False), version, name)
    return top


def _add_flags(flags: argparse.ArgumentParser, version: str, verb: str) -> None:
    flags.add_argument("--profile", help="profile of the AWS configuration")
    flags.add_argument("--region", help="AWS region")
    flags.add_argument("--function-name", default=NAME, help="name of the Lambda function (default: %(default)s)")
    if version == "v2":
        target = flags.add_mutually_exclusive_group(required=True)
        target.add_argument("--thing", help="deploy to this core device")
        target.add_argument("--thing-group", help="deploy to the core devices of this thing group")
        flags.add_argument("--component", default=NAME, help="name of the component (default: %(default)s)")
    else:
        flags.add_argument("--group", required=True, help="Greengrass group, by name or id")
    if verb == "status":
        return
    flags.add_argument(
        "--iot-policy", metavar="NAME", help="also keep an AWS IoT policy of this name that lets the cores report"
    )
    if version == "v2":
        flags.add_argument(
            "--iot-policy-things",
            metavar="PATTERN",
            help="with --iot-policy and --thing-group: the things' names, such as 'gateway-*'",
        )
    if verb in ("apply", "remove"):
        flags.add_argument("--yes", action="store_true", help="don't ask")
        flags.add_argument("--no-wait", action="store_true", help="don't wait for the cores")
        flags.add_argument(
            "--timeout", type=float, default=900, metavar="SECONDS", help="longest wait for the cores (default: 900)"
        )
    if verb in ("plan", "apply"):
        _add_settings(flags, version)


def _add_settings(flags: argparse.ArgumentParser, version: str) -> None:
    flags.add_argument("--zip", type=Path, required=True, help="the connector, as built by ./build_zip.sh")
    flags.add_argument(
        "--isolation",
        choices=(settings.CONTAINER, settings.NO_CONTAINER),
        default=settings.CONTAINER,
        help="run in a Greengrass container (on V2: needs cgroups v1), or as a process (default: %(default)s)",
    )
    flags.add_argument(
        "--memory",
        type=_megabytes,
        metavar="MB",
        help=f"the container's memory limit, 16 to 1024 MB (default: {settings.DEFAULT_MEMORY_MB})",
    )
    flags.add_argument("--role", metavar="ARN", help="execution role of the Lambda function (default: one is made)")
    flags.add_argument("--bucket", help="keep the zip in this S3 bucket (default: it goes up with the call)")
    if version == "v2":
        flags.add_argument(
            "--router-version",
            metavar="VERSION",
            help=f"version of {component.ROUTER} (default: the deployment's own, else the newest)",
        )
    else:
        flags.add_argument(
            "--new-core", metavar="THING", help="make the group, with this thing as core, if there is none"
        )
    parameters.add_flags(flags, resource_id=version == "v1")


def _megabytes(text: str) -> int:
    if not text.isdecimal() or not 16 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r} is not 16 to 1024")
    return int(text)


def _target(aws: Aws, args: argparse.Namespace, built: Artifact | None) -> Target:
    if args.version == "v1":
        if built and built.runtime not in v1.RUNTIMES:
            raise UsageError(f"--zip {built.path}: V1 cores run Python 3.7 and 3.8: ./build_zip.sh --python 3.8")
        id_ = parameters.given(args).get(parameters.RESOURCE_ID, v1.DEFAULT_RESOURCE_ID)
        runtime, core = built.runtime if built else "", getattr(args, "new_core", None)
        return v1.Group(aws, args.group, args.function_name, runtime, id_, core)
    kind = "thing" if args.thing else "thinggroup"
    target = v2.Target(aws, kind, args.thing or args.thing_group, args.component)
    if built:
        target.connector_version, target.arch, target.router_version = built.version, built.arch, args.router_version
    return target


def _policy_things(args: argparse.Namespace, target: Target) -> str | None:
    """Return the names of the things in the target's lines of the policy, None if they were not given."""
    things: str | None = target.thing if isinstance(target, v1.Group) else args.iot_policy_things or args.thing
    return things


def _check_policy_flags(args: argparse.Namespace) -> None:
    """Raise UsageError for flags of the policy that don't go together, before anything is asked of the account."""
    if args.version != "v2" or args.verb == "status":
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


def _policy_changes(
    aws: Aws, args: argparse.Namespace, target: Target, wanted: Settings
) -> tuple[list[Change], list[Change]]:
    """Return the policy's changes before the deployment, and those for when the cores have it."""
    if not args.iot_policy:
        target.notes.append(
            f"The cores' AWS IoT policies must allow iot:Publish on {wanted.topic}, and iot:Subscribe and iot:Receive "
            "on its /accepted and /rejected; --iot-policy NAME makes one that does."
        )
        return [], []
    things = _policy_things(args, target)
    assert things  # a pattern, or the one thing: see _check_policy_flags()
    if not target.principals:
        raise DeployError(f"thing {args.thing} has no certificate that --iot-policy could be attached to")
    topic = wanted.topic.replace("{thing}", things)
    return IotPolicy(aws, args.iot_policy).changes(topic, things, target.principals)


def _confirmed(args: argparse.Namespace, ask: Callable[[str], str]) -> bool:
    if args.yes:
        return True
    try:
        return ask("\nMake these changes? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError as error:
        raise UsageError("nobody there to ask: pass --yes to make the changes without") from error


def _waits(args: argparse.Namespace, deployed: list[Change]) -> bool:
    """Return whether to wait for the cores, as far as the verb does.

    In a thing group some core may always be away or have failed; without a deployment of ours that's for `status`.
    """
    return not getattr(args, "no_wait", False) and bool(deployed or args.version == "v1" or args.thing)


def _wait(args: argparse.Namespace, aws: Aws, target: Target, deployed: list[Change]) -> bool:
    """Wait for the cores, as far as that is wanted; return whether they have what was deployed."""
    if not _waits(args, deployed):
        return not deployed and target.settled()
    print("\nDeployment to the cores (it goes on by itself; Ctrl-C leaves):")
    target.wait(Waiting(aws.sleep, lambda state: print(f"  {state}", flush=True), args.timeout))
    return True


def plan_or_apply(args: argparse.Namespace, aws: Aws, ask: Callable[[str], str]) -> int:
    """Show what is to change; for apply, ask and make it so."""
    built = artifact.load(args.zip)
    wanted = settings.make(parameters.given(args), isolation=args.isolation, memory_mb=args.memory)
    target = _target(aws, args, built)
    runtime = v1.CLOUD_RUNTIME if args.version == "v1" else built.runtime
    function = Function(aws, built, args.function_name, runtime, args.role, args.bucket)

    first = function.changes()
    deployed = target.changes(wanted, function.version_arn() or function.pending_arn)
    before, after = _policy_changes(aws, args, target, wanted)
    if after and not deployed and not _waits(args, deployed) and not target.settled():
        target.notes.append(
            f"AWS IoT policy {args.iot_policy} still allows the topics of before: not every core has the last "
            "deployment. An apply after that takes them out."
        )
        after = []
    print(show([*first, *before, *deployed, *after], [*wanted.notes(), *target.notes]))
    if args.verb == "plan":
        return 0
    if first or before or deployed or after:
        if not _confirmed(args, ask):
            print("Nothing was changed.")
            return 1
        for change in first:
            _make(change)
        target.check_unchanged()
        # Again, now that the function's version is known.
        deployed = target.changes(wanted, function.version_arn() or function.pending_arn)
        before, _ = _policy_changes(aws, args, target, wanted)
        for change in [*before, *deployed]:
            _make(change)
    if _wait(args, aws, target, deployed):
        # Again: another target's lines may have come while the cores were waited for.
        for change in _policy_changes(aws, args, target, wanted)[1] if after else []:
            _make(change)
    elif after:
        print(f"AWS IoT policy {args.iot_policy} keeps the topics of before until an apply finds the cores ready.")
    return 0


def remove(args: argparse.Namespace, aws: Aws, ask: Callable[[str], str]) -> int:
    """Show what is to go, ask, and take it out of the target."""
    target = _target(aws, args, None)
    deployed = target.removals()
    policy, notes = _policy_removals(aws, args, target)
    print(show([*deployed, *policy], [*target.notes, *notes]))
    if not deployed and not policy:
        return 0
    if not _confirmed(args, ask):
        print("Nothing was changed.")
        return 1
    target.check_unchanged()
    for change in deployed:
        _make(change)
    # A core reports until it has the deployment, and is cut off if it may not.
    if _wait(args, aws, target, deployed):
        for change in _policy_removals(aws, args, target)[0] if policy else []:
            _make(change)
        policy = []
    if policy:
        print(
            f"AWS IoT policy {args.iot_policy} stays as it is until every core has the deployment: run this again "
            "then. Where a core is gone for good: aws iot detach-policy."
        )
    own = f"component {args.component}" if args.version == "v2" else f"group {args.group} with its core"
    left = f"Lambda function {args.function_name}, its role, {own}; if used, the zip in the bucket of --bucket"
    if not args.iot_policy:
        left += ", the policy of --iot-policy (remove takes that flag too)"
    print(f"\nThis stays in the account, as other targets may use it: {left}.")
    return 1 if policy and not args.no_wait else 0


def _policy_removals(aws: Aws, args: argparse.Namespace, target: Target) -> tuple[list[Change], list[str]]:
    if not args.iot_policy:
        return [], []
    return IotPolicy(aws, args.iot_policy).removals(_policy_things(args, target), target.principals)


def _make(change: Change) -> None:
    print(f"  {change.title} ... ", end="", flush=True)
    change.apply()
    print("done")


def status(args: argparse.Namespace, aws: Aws) -> int:
    """Show what is deployed to the target."""
    lines, well = _target(aws, args, None).status()
    print("\n".join(lines))
    return 0 if well else 1


def run(argv: list[str] | None = None, aws: Aws | None = None, ask: Callable[[str], str] = input) -> int:
    """Run one command line; `aws` and `ask` stand in for the account and the person in tests. Returns the exit code."""
    args = parser().parse_args(argv)
    try:
        _check_policy_flags(args)
        aws = aws or connect(args.profile, args.region)
        if args.verb == "status":
            return status(args, aws)
        return remove(args, aws, ask) if args.verb == "remove" else plan_or_apply(args, aws, ask)
    except DeployError as error:
        print(f"deploy.py: {error}", file=sys.stderr)
        return error.exit_code
    except (ClientError, BotoCoreError) as error:
        print(f"deploy.py: {aws.explain(error) if aws else error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndeploy.py: stopped; `status` shows how far it came", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(run())
