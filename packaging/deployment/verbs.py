"""The verbs of deploy.py: plan, apply, status, list and remove."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable

from deployment import (
    artifact,
    custom_metrics,
    dry_run,
    listing,
    local_folders,
    parameters,
    policy,
    profiles,
    recipe,
    v1,
    v2,
    zip_object,
)
from deployment import status as status_module
from deployment.artifact import Artifact
from deployment.aws import Aws, Waiting
from deployment.command_line import NAME, NATIVE_NAME
from deployment.errors import UsageError
from deployment.function import Function
from deployment.intent import ALL, Deployed, Intent, reset_names
from deployment.listen import Certificates
from deployment.plan import Change, show
from deployment.settings import NO_CONTAINER, Settings
from deployment.v2_function import FunctionTarget
from deployment.v2_native import NativeTarget
from deployment.zip_object import ZipObject

Target = v1.Group | v2.Target
Connect = Callable[[], Aws]
Ask = Callable[[str], str]


def plan_or_apply(args: argparse.Namespace, connect: Connect, ask: Ask) -> int:
    """Show what is to change; for apply, ask and change it. Files and flags are checked before AWS is asked."""
    built = artifact.load(args.zip)
    if args.version == "v1" and built.runtime not in v1.RUNTIMES:
        raise UsageError(f"--zip {built.path}: V1 cores run Python 3.7 and 3.8: ./build_zip.sh --python 3.8")
    _check_kind(args, built)
    policy.check_flags(args)
    files = profiles.load(args.security_profiles or [])
    intent = _intent(args, files)
    if intent.isolation or args.dry_run:  # otherwise what fits together depends on what is deployed
        intent.settings(None)
    if args.dry_run:
        title = f"group {args.group}" if args.version == "v1" else v2.title_of(*_kind_and_name(args))
        thing = getattr(args, "thing", None) or "<the core's thing>"
        wanted = intent.settings(None)
        built, about = profiles.put_in(built, wanted, files, {})
        if args.native:
            bucket = args.bucket or "your-bucket"
            things = args.thing or recipe.EVERY_THING
            print(dry_run.component_text(built, wanted, title, args.component, bucket, about, things))
        else:
            print(dry_run.text(built, wanted, title, thing, about))
        return 0

    aws = connect()
    target = _target(aws, args, built)
    target.read()
    deployed = target.deployed(must_be_readable=ALL not in intent.reset)
    wanted = intent.settings(deployed)
    if not args.native:
        _check_isolation(args, deployed, wanted)
    # A settings file is the whole intent, and so is a reset: nothing is kept then.
    keeps = deployed and intent.file is None and not intent.resets("SecurityProfiles")
    kept = profiles.kept(aws, deployed, wanted, files) if deployed and keeps else {}
    built, about = profiles.put_in(built, wanted, files, kept)
    code = _code(aws, args, built)
    if isinstance(target, NativeTarget) and isinstance(code, ZipObject):
        target.code = code

    metrics, notes = custom_metrics.changes(aws, wanted, args.create_custom_metrics)
    first = [*metrics, *code.changes()]
    deployment = target.changes(wanted, code.location)
    before, after = policy.changes(aws, args, target, wanted)
    if after and not deployment and not _waits(args, deployment) and not target.settled():
        target.notes.append(
            f"AWS IoT policy {args.iot_policy} still allows the topics of before: not every core has the last "
            "deployment. An apply after that removes them."
        )
        after = []
    notes = [*about, *wanted.notes(), *target.notes, *target.python_notes(deployed), *notes]
    marks = intent.marks(deployed, wanted, has_isolation=not args.native) if deployed else []
    print(show([*first, *before, *deployment, *after], notes, marks))
    if args.verb == "plan":
        return 0
    if first or before or deployment or after:
        if not _confirmed(args, ask):
            print("Nothing was changed.")
            return 1
        for change in first:
            _make(change)
        target.check_unchanged()
        # Again, now that the function's version is known.
        deployment = target.changes(wanted, code.location)
        before, _ = policy.changes(aws, args, target, wanted)
        for change in [*before, *deployment]:
            _make(change)
    if _wait(args, aws, target, deployment):
        # Again: another target's lines may have come while the cores were waited for.
        for change in policy.changes(aws, args, target, wanted)[1] if after else []:
            _make(change)
    elif after:
        print(f"AWS IoT policy {args.iot_policy} keeps the topics of before until an apply finds the cores ready.")
    return 0


def remove(args: argparse.Namespace, connect: Connect, ask: Ask) -> int:
    """Show what is to be removed, ask, and remove it from the target."""
    policy.check_flags(args)
    aws = connect()
    target = _target(aws, args, None)
    target.read()
    deployment = target.removals()
    lines, notes = policy.removals(aws, args, target)
    print(show([*deployment, *lines], [*target.notes, *notes]))
    if not deployment and not lines:
        return 0
    if not _confirmed(args, ask):
        print("Nothing was changed.")
        return 1
    target.check_unchanged()
    for change in deployment:
        _make(change)
    # A core reports until it has the deployment, and is cut off if it may not.
    if _wait(args, aws, target, deployment):
        for change in policy.removals(aws, args, target)[0] if lines else []:
            _make(change)
        lines = []
    if lines:
        print(
            f"AWS IoT policy {args.iot_policy} stays as it is until every core has the deployment: run this again "
            "then. Where a core is gone for good: aws iot detach-policy."
        )
    own = f"component {args.component}" if args.version == "v2" else f"group {args.group} with its core"
    left = f"Lambda function {args.function_name}, its role, {own}; if used, the zip in the bucket of --bucket"
    if args.native:
        left = f"{own}, the zip in the bucket of --bucket"
    if not args.iot_policy:
        left += ", the policy of --iot-policy (remove takes that flag too)"
    left += ", custom metrics"
    print(f"\nThis stays in the account, as other targets may use it: {left}.")
    return 1 if lines and not args.no_wait else 0


def write_local(args: argparse.Namespace) -> int:
    """Write the native component's recipe and files as a core takes them without AWS, and show the command for that."""
    built = artifact.load(args.zip)
    _check_kind(args, built)
    files = profiles.load(args.security_profiles or [])
    settings = _intent(args, files).settings(None)
    built, about = profiles.put_in(built, settings, files, {})
    payload = int(args.max_payload_bytes) if args.max_payload_bytes else None
    settings.check_topics(args.thing or "")
    commands = local_folders.write(built, settings, args.component, args.output, payload, args.thing)
    for note in [*about, *settings.notes()]:
        print(f"Note: {note}")
    print("\n".join(commands))
    return 0


def status(args: argparse.Namespace, connect: Connect) -> int:
    """Show what is deployed to the target, which cores have it, and when they last reported."""
    certificates = Certificates(args.mqtt_ca, args.mqtt_cert, args.mqtt_key)
    if not args.mqtt and certificates != Certificates():
        raise UsageError("--mqtt-ca, --mqtt-cert and --mqtt-key go with --mqtt")
    text, code = status_module.show(
        _target(connect(), args, None),
        every_core=args.all,
        as_json=args.json,
        mqtt=args.mqtt,
        certificates=certificates,
        seconds=args.mqtt_wait,
    )
    print(text)
    return code


def show_list(args: argparse.Namespace, connect: Connect) -> int:
    """Show every target that has the connector."""
    aws = connect()
    if args.version == "v2":
        entries, name = listing.components(aws, args.component, args.native), f"component {args.component}"
    else:
        entries, name = listing.groups(aws, args.function_name), f"function {args.function_name}"
    print(listing.text(entries, name, args.json))
    return 0


def _intent(args: argparse.Namespace, files: Iterable[str]) -> Intent:
    """Return what was given; `files` are the names of the profiles that have files."""
    flags, file = parameters.given(args), args.file.parameters if args.file else None
    if files:
        named = flags.get("SecurityProfiles", (file or {}).get("SecurityProfiles", ""))
        flags["SecurityProfiles"] = profiles.with_files(named, files)
    return Intent(
        flags=flags,
        file=file,
        isolation=NO_CONTAINER if args.native else args.isolation,
        memory_kb=args.memory * 1024 if getattr(args, "memory", None) else None,
        reset=reset_names([name for given in getattr(args, "reset", []) for name in given.split(",")]),
    )


def _target(aws: Aws, args: argparse.Namespace, built: Artifact | None) -> Target:
    runtime = built.runtime if built else ""
    if args.version == "v1":
        core = getattr(args, "new_core", None)
        return v1.Group(aws, args.group, args.function_name, runtime=runtime, new_core=core)
    kind, name = _kind_and_name(args)
    if args.native:
        payload = getattr(args, "max_payload_bytes", None)
        target: v2.Target = NativeTarget(
            aws, kind, name, args.component, NAME, runtime=runtime, max_payload_bytes=int(payload) if payload else None
        )
    else:
        router = getattr(args, "router_version", None)
        target = FunctionTarget(aws, kind, name, args.component, NATIVE_NAME, runtime=runtime, router_version=router)
    if built:
        target.connector_version, target.arch = built.version, built.arch
    return target


def _code(aws: Aws, args: argparse.Namespace, built: Artifact) -> Function | ZipObject:
    """Return what carries the zip to the cores."""
    if args.native:
        return zip_object.of_component(aws, built, args.bucket)
    runtime = v1.CLOUD_RUNTIME if args.version == "v1" else built.runtime
    return Function(aws, built, args.function_name, runtime, args.role, args.bucket)


def _check_kind(args: argparse.Namespace, built: Artifact) -> None:
    """Raise UsageError where the zip is for the other kind of component."""
    if args.native and not built.is_native:
        raise UsageError(
            f"--zip {built.path}: is for the Lambda function; ./build_zip.sh --native makes the component's"
        )
    if built.is_native and not args.native:
        raise UsageError(f"--zip {built.path}: is for the native component: pass --native")


def _kind_and_name(args: argparse.Namespace) -> tuple[str, str]:
    """Return the target of V2, as in its ARN."""
    return ("thing", args.thing) if args.thing else ("thinggroup", args.thing_group)


def _check_isolation(args: argparse.Namespace, deployed: Deployed | None, wanted: Settings) -> None:
    """Raise UsageError where `--yes` alone would change whether the function runs in a container."""
    if not deployed or deployed.isolation == wanted.isolation:
        return
    if args.given_isolation or not getattr(args, "yes", False):
        return
    raise UsageError(
        f"--yes alone doesn't change the isolation, here from {deployed.isolation} to {wanted.isolation}: cores with "
        f"cgroups v2 only can't run containers. Pass --isolation {wanted.isolation}, or leave --yes out"
    )


def _confirmed(args: argparse.Namespace, ask: Ask) -> bool:
    if args.yes:
        return True
    try:
        return ask("\nMake these changes? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError as error:
        raise UsageError("no terminal to ask on: pass --yes to make the changes without asking") from error


def _waits(args: argparse.Namespace, deployment: list[Change]) -> bool:
    """Return whether to wait for the cores, as far as the verb does.

    In a thing group some core may always be away or have failed: without a deployment of ours there is no waiting.
    """
    return not getattr(args, "no_wait", False) and bool(deployment or args.version == "v1" or args.thing)


def _wait(args: argparse.Namespace, aws: Aws, target: Target, deployment: list[Change]) -> bool:
    """Wait for the cores, as far as that is wanted; return whether they have what was deployed."""
    if not _waits(args, deployment):
        return not deployment and target.settled()
    print("\nDeployment to the cores (it goes on by itself; Ctrl-C leaves):")
    target.wait(Waiting(aws.sleep, lambda state: print(f"  {state}", flush=True), args.timeout))
    return True


def _make(change: Change) -> None:
    print(f"  {change.title} ... ", end="", flush=True)
    change.apply()
    print("done")
