"""deploy.py's command line: its flags, and the settings file that stands behind them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from connector import __version__, usage
from connector.component_settings import MAX_PAYLOAD_BYTES, PAYLOAD
from connector.flags import thing_name
from deployment import component, parameters, settings, settings_file
from deployment.errors import UsageError
from deployment.settings_file import SettingsFile

EXIT_CODES = (
    "0 done, with status: every core has it; 1 failed, not finished in --timeout, or not deployed;\n"
    "2 bad usage or bad input; 3 status: under way; 130 stopped by Ctrl-C"
)
NAME = "device-defender-connector"
NATIVE_NAME = f"{NAME}-native"
MIN_MEMORY_MB, MAX_MEMORY_MB = 16, 1024
MAX_LISTEN_SECONDS = 330  # the default interval, and some time for the answer

_VERBS = {
    "plan": "show what apply would change, as a diff; write nothing",
    "apply": "show the plan, ask, make the changes, and wait for the cores",
    "status": "show what is deployed, which cores have it, and when they last reported",
    "list": "show every target that has the connector",
    "remove": "remove what apply added, and nothing else",
}
_LOCAL = "write the folders with which a core takes the native component without AWS"
# What only the Lambda function has.
_OF_FUNCTION = ("isolation", "memory", "role", "function-name", "router-version")
PAYLOAD_FLAG = "max-payload-bytes"
# What a settings file may hold beside the parameters: flags that say what is deployed where.
_FILE_FLAGS = (
    *("thing", "thing-group", "group", "component", "function-name", "zip", "isolation", "memory", "role", "bucket"),
    *("router-version", "new-core", "iot-policy", "iot-policy-things", "profile", "region", settings_file.PROFILES),
    settings_file.NATIVE,
    PAYLOAD_FLAG,
)
_TARGETS = ("thing", "thing_group", "group")


class Parser(usage.Parser):
    """A parser whose usage errors are UsageErrors, which deploy.py prints as it prints all others."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with the message, and where the options are listed."""
        raise UsageError(f"{message} {usage.hint(self)}")


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    top = Parser(
        prog="deploy.py",
        description="Deploy the Device Defender connector to AWS IoT Greengrass, remove it, or show what is\ndeployed.",
        epilog=f"Exit codes: {EXIT_CODES}.",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"deploy.py {__version__}", help="show it and exit")
    versions = top.add_subparsers(dest="version", required=True, metavar="v2|v1")
    for version, text in (("v2", "Greengrass V2: a component"), ("v1", "Greengrass V1: entries in a group")):
        verbs = versions.add_parser(version, help=text, allow_abbrev=False)
        names = [*_VERBS, "local"] if version == "v2" else list(_VERBS)
        verb = verbs.add_subparsers(dest="verb", required=True, metavar="|".join(names))
        for name, help_text in _VERBS.items():
            _add_flags(verb.add_parser(name, help=help_text, description=help_text, allow_abbrev=False), version, name)
        if version == "v2":
            _add_local(verb.add_parser("local", help=_LOCAL, description=_LOCAL, allow_abbrev=False))
    return top


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the flags, completed by the settings file; raise UsageError for what is wrong without asking AWS.

    `file` is the SettingsFile or None, `given_isolation` what the command line itself has.
    """
    args = _complete_from_tab_key(parser()).parse_args(argv)
    args.given_isolation = getattr(args, "isolation", None)
    args.file = settings_file.load(args.config, _FILE_FLAGS) if args.config else None
    if args.file:
        _fill_in(args, args.file)
    args.native = bool(getattr(args, "native", False))
    if args.native:
        _check_native(args)
    elif getattr(args, "max_payload_bytes", None) is not None:
        raise UsageError(f"--{PAYLOAD_FLAG} is of the native component: it goes with --native")
    args.function_name = getattr(args, "function_name", None) or NAME
    args.component = getattr(args, "component", None) or (NATIVE_NAME if args.native else NAME)
    _check_target(args)
    if args.verb in ("plan", "apply", "local") and args.zip is None:
        build = "./build_zip.sh --native" if args.native else "./build_zip.sh"
        raise UsageError(f"--zip is needed (or zip in a --config file); {build} makes one and prints its path")
    return args


def _check_native(args: argparse.Namespace) -> None:
    """Raise UsageError for flags that the native component has no use for, or lacks."""
    for name in _OF_FUNCTION:
        if getattr(args, name.replace("-", "_"), None) is not None:
            raise UsageError(f"--{name} is of the Lambda function; with --native leave it out")
    if args.verb in ("plan", "apply") and not args.bucket and not args.dry_run:
        raise UsageError("--native needs --bucket: the cores fetch the zip from that S3 bucket")


def _complete_from_tab_key(top: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Answer the shell where it asks for completions, as argcomplete's hook does, and end there."""
    try:
        import argcomplete
    except ModuleNotFoundError:
        return top
    argcomplete.autocomplete(top)
    return top


def _add_config(flags: argparse.ArgumentParser) -> None:
    flags.add_argument("--config", type=Path, metavar="FILE", help="settings file (TOML); flags override it")


def _add_local(flags: argparse.ArgumentParser) -> None:
    _add_config(flags)
    flags.add_argument("--component", metavar="NAME", help=f"name of the component (default: {NATIVE_NAME})")
    flags.add_argument("--zip", type=Path, help="the connector, as built by ./build_zip.sh --native")
    flags.add_argument(
        "--output", type=Path, required=True, metavar="FOLDER", help="where to write the folders; it may not exist yet"
    )
    flags.add_argument(
        "--thing", type=thing_name, help="the core's thing; the Java nucleus needs it to let the component report"
    )
    flags.set_defaults(native=True)
    _add_payload(flags)
    parameters.add_flags(flags, resource_id=False)


def _add_payload(flags: argparse.ArgumentParser) -> None:
    flags.add_argument(
        f"--{PAYLOAD_FLAG}",
        type=_payload,
        metavar="BYTES",
        help=f"with --native: longest message that the nucleus carries, {PAYLOAD.valid} (default: "
        f"{MAX_PAYLOAD_BYTES} for a thing that reports the Java nucleus, else {PAYLOAD.default}, for nucleus lite)",
    )


def _payload(text: str) -> str:
    if not PAYLOAD.allows(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not {PAYLOAD.valid}")
    return text


def _add_flags(flags: argparse.ArgumentParser, version: str, verb: str) -> None:
    _add_config(flags)
    flags.add_argument("--profile", help="profile of the AWS configuration")
    flags.add_argument("--region", help="AWS region")
    flags.add_argument("--function-name", metavar="NAME", help=f"name of the Lambda function (default: {NAME})")
    if version == "v2":
        flags.add_argument(
            "--native", action="store_true", default=None, help="the native component, not the Lambda function"
        )
        flags.add_argument(
            "--component",
            metavar="NAME",
            help=f"name of the component (default: {NAME}, with --native {NATIVE_NAME})",
        )
    if verb in ("status", "list"):
        flags.add_argument("--json", action="store_true", help="write one JSON document, with all cores")
    if verb == "list":
        return
    if version == "v2":
        flags.add_argument("--thing", type=thing_name, help="the target is this core device")
        flags.add_argument("--thing-group", type=thing_name, help="the target is the core devices of this thing group")
    else:
        flags.add_argument("--group", help="Greengrass group, by name or id")
    if verb == "status":
        _add_status(flags)
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


def _add_status(flags: argparse.ArgumentParser) -> None:
    flags.add_argument("--all", action="store_true", help="show every core, not only 20")
    flags.add_argument(
        "--mqtt", metavar="HOST:PORT", help="listen on this MQTT broker for the cores' next reports and alarms"
    )
    for name, text in (("ca", "its authority"), ("cert", "your certificate"), ("key", "your key")):
        flags.add_argument(f"--mqtt-{name}", type=Path, metavar="FILE", help=f"with --mqtt, over TLS: {text} (PEM)")
    flags.add_argument(
        "--mqtt-wait",
        type=float,
        default=MAX_LISTEN_SECONDS,
        metavar="SECONDS",
        help="with --mqtt: longest time to listen (default: %(default)s)",
    )


def _add_settings(flags: argparse.ArgumentParser, version: str) -> None:
    flags.add_argument("--zip", type=Path, help="the connector, as built by ./build_zip.sh")
    flags.add_argument("--dry-run", action="store_true", help="show what is known without asking AWS, and end")
    flags.add_argument(
        "--isolation",
        choices=(settings.CONTAINER, settings.NO_CONTAINER),
        help="run in a Greengrass container (on V2: needs cgroups v1), or as a process (default: as deployed, "
        f"else {settings.CONTAINER})",
    )
    flags.add_argument(
        "--memory",
        type=_megabytes,
        metavar="MB",
        help=f"the container's memory limit, {MIN_MEMORY_MB} to {MAX_MEMORY_MB} MB (default: as deployed, else "
        f"{settings.DEFAULT_MEMORY_MB})",
    )
    flags.add_argument(
        "--reset",
        action="append",
        default=[],
        metavar="NAME",
        help="set a parameter, isolation or memory back to its default, or all of them (all); may be repeated",
    )
    flags.add_argument(
        "--create-custom-metrics", action="store_true", help="create what CustomMetrics names and the account lacks"
    )
    flags.add_argument("--role", metavar="ARN", help="execution role of the Lambda function (default: one is made)")
    flags.add_argument("--bucket", help="keep the zip in this S3 bucket (default: it is uploaded with the call)")
    if version == "v2":
        flags.add_argument(
            "--router-version",
            metavar="VERSION",
            help=f"version of {component.ROUTER} (default: the deployment's own, else the newest)",
        )
        _add_payload(flags)
    else:
        flags.add_argument(
            "--new-core",
            type=thing_name,
            metavar="THING",
            help="where there is no such group: make it, with this core",
        )
    parameters.add_flags(flags, resource_id=version == "v1")


def _megabytes(text: str) -> int:
    if not text.isdecimal() or not MIN_MEMORY_MB <= int(text) <= MAX_MEMORY_MB:
        raise argparse.ArgumentTypeError(f"{text!r} is not {MIN_MEMORY_MB} to {MAX_MEMORY_MB}")
    return int(text)


_CONVERTERS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("thing", "thing-group", "new-core"), thing_name),
    "memory": _megabytes,
    "zip": Path,
    PAYLOAD_FLAG: _payload,
}


def _fill_in(args: argparse.Namespace, file: SettingsFile) -> None:
    """Set what the command line left out; a target on the command line replaces the file's."""
    has_target = any(getattr(args, name, None) is not None for name in _TARGETS)
    for name, text in file.flags.items():
        dest = name.replace("-", "_")
        if not hasattr(args, dest) or getattr(args, dest) is not None or (has_target and dest in _TARGETS):
            continue
        setattr(args, dest, _converted(args, name, text))


def _converted(args: argparse.Namespace, name: str, text: Any) -> Any:
    choices = (settings.CONTAINER, settings.NO_CONTAINER)
    if name == "isolation" and text not in choices:
        raise UsageError(f"--config {args.config}: isolation: {text!r} is not {' or '.join(choices)}")
    try:
        return _CONVERTERS[name](text) if name in _CONVERTERS else text
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"--config {args.config}: {name}: {error}") from error


def _check_target(args: argparse.Namespace) -> None:
    if args.verb in ("list", "local"):
        return
    names = ("group",) if args.version == "v1" else ("thing", "thing_group")
    given = [name for name in names if getattr(args, name)]
    flags = " or ".join(f"--{name.replace('_', '-')}" for name in names)
    if not given:
        raise UsageError(f"{flags} is needed (or its name in a --config file)")
    if len(given) > 1:
        raise UsageError(f"{flags}, not both")
