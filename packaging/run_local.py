#!/usr/bin/env python3
"""Run the connector on this machine as a Greengrass core would, without AWS: the Lambda function, or with --native the
native component.

An embedded local core or nucleus unpacks the zip, starts it in a process of its own, takes what it publishes, and plays
the Device Defender service: each report is checked against the specification, answered as accepted or rejected, and
shown. Nothing leaves this machine. Ctrl-C ends it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, List, Optional, TextIO, Union

sys.path.insert(1, str(Path(__file__).resolve().parent.parent))  # the repository, for the package connector

from run_local_options import parse, prog

from connector.component_settings import MAX_PAYLOAD_BYTES, PAYLOAD
from connector.flags import given

if TYPE_CHECKING:
    from local_core import LocalCore, LocalNucleus

FIRST_REPORT_SECONDS = 45.0


def main(argv: Optional[List[str]] = None) -> int:
    """Run the command line; return the exit code."""
    options = parse(argv, __doc__)
    if options.parse_only:
        print(options.python or "")
        return 0
    misfit = "" if options.handler else _misfit(options.artifact, options.native)
    if misfit:
        print(f"{prog()}: {options.artifact} {misfit}", file=sys.stderr)
        return 2
    try:
        import local_core  # noqa: F401  after the options: it needs packages, which --help can do without
    except ModuleNotFoundError as missing:
        sys.exit(
            f"{prog()}: {missing}. packaging/run_local.sh has what it needs; or make an environment, and use its "
            "python: packaging/venv.sh build/venv packaging/requirements.txt"
        )
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    from local_core import FunctionError, LocalCoreError, Screen, read_profile

    signals = [signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # the terminal was closed; nohup has it ignored
        signals.append(signal.SIGHUP)
    for number in signals:
        signal.signal(number, _stop)
    with contextlib.ExitStack() as open_files:
        try:
            screen = Screen(
                full=wants_documents(options, sys.stdout.isatty()),
                # with --once it ends by itself, and its exit code counts; with --mqtt and --record others watch
                on_lost=_go_on if options.once or options.mqtt or options.record else _end,
                record=_open_recording(options.record, open_files),
                prog=prog(),
            )
        except OSError as error:
            print(f"{prog()}: {options.record}: {error.strerror}", file=sys.stderr)
            return 1
        try:
            profiles = [read_profile(path) for path in options.profile]
            core = (make_nucleus if options.native else make_core)(options, screen, profiles)
            for kind, number in options.fault:
                core.faults.add(kind, number)
            screen.introduce(core, options.artifact)
            for profile in profiles:
                for behavior in profile.behaviors:
                    if behavior.skipped:
                        screen.say(f"not judged: {profile.name}/{behavior.name}: {behavior.skipped}")
            with core:
                try:
                    return _watch(core, options.once)
                finally:
                    for number in signals:
                        signal.signal(number, signal.SIG_IGN)  # an interrupted end leaves the function behind
        except KeyboardInterrupt:
            return 130
        except FunctionError as error:
            runs = "component" if options.native else "function"
            screen.complain(f"{error.reason}; the {runs}'s log lines say more")
        except (LocalCoreError, OSError, ValueError) as error:
            screen.complain(str(error))
        return 1


def _misfit(artifact: str, native: bool) -> str:
    """Return what is wrong if a zip, or its folder, is the function's and not the component's, or the reverse."""
    of_function, of_component = (_has(artifact, f"connector/{name}.py") for name in ("handler", "component"))
    if native and of_function and not of_component:
        return "is the Lambda function's: leave out --native, or build the component's with ./build_zip.sh --native"
    if not native and of_component and not of_function:
        return "is the native component's: add --native, or build the Lambda function's with ./build_zip.sh"
    return ""


def _has(artifact: str, name: str) -> bool:
    try:
        with zipfile.ZipFile(artifact) as archive:
            return name in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return (Path(artifact) / name).is_file()


def make_core(options: argparse.Namespace, screen: Any, profiles: List[Any]) -> LocalCore:
    """Return the core for a Lambda function. Raises LocalCoreError."""
    from local_core import FUNCTION_ARN, LocalCore, LocalCoreError, read_subscriptions

    subscriptions = None
    if options.subscriptions:
        try:
            document = json.loads(Path(options.subscriptions).read_text())
            subscriptions = read_subscriptions(document, FUNCTION_ARN)
        except OSError as error:
            raise LocalCoreError(f"{options.subscriptions}: {error.strerror}") from error
        except (LocalCoreError, ValueError) as error:
            raise LocalCoreError(f"{options.subscriptions}: {error}") from error
    binary = given(options).get("ReportFormat") == "cbor"
    return LocalCore(
        options.artifact,
        thing=options.thing,
        python=options.python,
        handler=options.handler or "connector.handler.function_handler",
        environment={**given(options), **dict(options.env)},
        subscriptions=subscriptions,
        generation=options.generation or 2,
        interval=options.interval,
        user=options.user,
        encoding_type=options.encoding_type or ("binary" if binary else "json"),
        proc=options.proc,
        mqtt=options.mqtt,
        on_delivery=screen.show,
        on_log=screen.say,
        profiles=profiles,
        on_alarm=screen.show_alarm,
    )


def make_nucleus(options: argparse.Namespace, screen: Any, profiles: List[Any]) -> LocalNucleus:
    """Return the nucleus for a native component. Raises LocalCoreError."""
    from local_core import LocalNucleus

    configuration = given(options)
    if options.proc:
        configuration["ProcDestinationPath"] = options.proc
    if options.nucleus == "java":
        configuration[PAYLOAD.name] = str(MAX_PAYLOAD_BYTES)  # as deploy.py configures it there
    return LocalNucleus(
        options.artifact,
        nucleus=options.nucleus or "lite",
        thing=options.thing,
        python=options.python,
        configuration=configuration,
        environment=dict(options.env),
        interval=options.interval,
        user=options.user,
        mqtt=options.mqtt,
        profiles=profiles,
        on_delivery=screen.show,
        on_log=screen.say,
        on_alarm=screen.show_alarm,
    )


def _watch(core: Union[LocalCore, LocalNucleus], once: bool) -> int:
    from local_core import event_of

    while True:
        delivery = core.wait_for_delivery(FIRST_REPORT_SECONDS if once else float("inf"))
        if once and event_of(delivery) is None:
            return 1 if delivery.verdict and not delivery.verdict.accepted else 0


def wants_documents(options: argparse.Namespace, terminal: bool) -> bool:
    """Return whether to show whole reports: with --once, and where the output goes to a program or a file."""
    if options.full or options.lines:
        return bool(options.full)
    return bool(options.once) or not terminal


def _open_recording(path: Optional[str], files: contextlib.ExitStack) -> Optional[TextIO]:
    """Open the recording; an existing file is appended to. Return None without a path. Raises OSError."""
    return files.enter_context(open(path, "a", encoding="utf-8")) if path else None


def _go_on() -> None:
    pass


def _end() -> None:
    os.kill(os.getpid(), signal.SIGTERM)  # signals are handled in the main thread


def _stop(number: int, frame: Any) -> None:
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
