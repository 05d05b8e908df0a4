#!/usr/bin/env python3
"""Run the connector's zip on this machine as a Greengrass core would, without AWS.

An embedded local core unpacks the zip, starts it in a process of its own, takes what it publishes, and plays the
Device Defender service: each report is checked against the specification, answered as accepted or rejected, and shown.
Nothing leaves this machine. Ctrl-C ends it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Tuple

sys.path.insert(1, str(Path(__file__).resolve().parent.parent))  # the repository, for the package connector

from connector import __version__
from connector.flags import Parser, SetAction, add_flags, given

if TYPE_CHECKING:
    from local_core import Delivery, LocalCore

FIRST_REPORT_SECONDS = 45.0

EPILOG = """examples:
  run_local.py ZIP                    watch the reports, one every 300 s as in the field
  run_local.py ZIP --once             one report; exit code 1 if it was rejected
  run_local.py ZIP --interval 5       several reports soon
  run_local.py ZIP --MetricNames short --CustomMetrics cpu_usage,memory_usage
  run_local.py ZIP --report-format cbor
  run_local.py ZIP --interval 5 --fault status:503:2 --fault hang
  run_local.py ZIP --profile packaging/security_profiles/RemoteManagementPorts.json
  run_local.py ZIP --SecurityProfiles RemoteManagementPorts --interval 5
  run_local.py ZIP --mqtt localhost:1883

faults, as KIND or KIND:COUNT; they befall the next publishes, in the order given:
  status:CODE  the publish is answered with that HTTP status, 400 to 599
  hang         the publish is accepted and never answered
  reset        the connection is reset
  lost         the publish is taken, and the connection is reset before the answer
  cut          the answer ends in the middle of its first line
  slow         the publish is taken after a second
  full         the core's queue is full
  restart      the core drops all connections and starts again on the same port
  refuse       nothing listens on the core's port, for COUNT seconds from the start

exit codes: 0 ended by SIGTERM or by the reader of its output, or with --once accepted, or sent to a topic that the
service does not judge; 1 rejected with --once, no report, or the function ended or could not be started; 2 bad usage;
130 ended by Ctrl-C
"""
FAULTS = ("hang", "reset", "lost", "cut", "slow", "full", "restart", "refuse")


def main(arguments: Optional[List[str]] = None) -> int:
    """Run the command line; return the exit code."""
    options = _parse(arguments)
    if options.parse_only:
        print(options.python or "")
        return 0
    # after the options: it needs the packages of requirements.txt, which --help can do without
    from local_core import FUNCTION_ARN, FunctionError, LocalCore, LocalCoreError, read_profile, read_subscriptions

    signal.signal(signal.SIGTERM, _stop)
    # with --once it ends by itself, and the exit code counts; with --mqtt a broker may watch
    screen = Screen(on_lost=_go_on if options.once or options.mqtt else _end)
    try:
        subscriptions = None
        if options.subscriptions:
            try:
                document = json.loads(Path(options.subscriptions).read_text())
                subscriptions = read_subscriptions(document, FUNCTION_ARN)
            except (LocalCoreError, ValueError) as error:
                raise LocalCoreError(f"{options.subscriptions}: {error}") from error
        profiles = [read_profile(path) for path in options.profile]
        core = LocalCore(
            options.artifact,
            thing=options.thing,
            python=options.python,
            handler=options.handler,
            environment={**given(options), **dict(options.env)},
            subscriptions=subscriptions,
            generation=options.generation,
            interval=options.interval,
            user=options.user,
            encoding_type=options.encoding_type,
            proc=options.proc,
            mqtt=options.mqtt,
            on_delivery=screen.show,
            on_log=screen.say,
            profiles=profiles,
            on_alarm=screen.show_alarm,
        )
        for kind, times in options.fault:
            core.faults.add(kind, times)
        screen.introduce(core, options.artifact)
        for profile in profiles:
            for behavior in profile.behaviors:
                if behavior.skipped:
                    screen.say(f"not judged: {profile.name}/{behavior.name}: {behavior.skipped}")
        with core:
            try:
                return _watch(core, options.once)
            finally:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)  # an end that is interrupted leaves the function behind
    except KeyboardInterrupt:
        return 130
    except FunctionError as error:
        screen.say(f"run_local: {error.reason}; the function's lines above say more.")
    except (LocalCoreError, OSError, ValueError) as error:
        screen.say(f"run_local: {error}")
    return 1


def _watch(core: LocalCore, once: bool) -> int:
    from local_core import event_of

    while True:
        delivery = core.wait_for_delivery(FIRST_REPORT_SECONDS if once else float("inf"))
        if once and event_of(delivery) is None:
            return 1 if delivery.verdict and not delivery.verdict.accepted else 0


def _go_on() -> None:
    pass


def _end() -> None:
    os.kill(os.getpid(), signal.SIGTERM)  # signals are handled in the main thread


def _stop(number: int, frame: Any) -> None:
    sys.exit(0)


class Screen:
    """What the person who watches sees, from any thread; `on_lost` is called once, when nobody watches any more."""

    def __init__(self, on_lost: Callable[[], None]) -> None:
        self._on_lost = on_lost
        self._lock = threading.Lock()

    def introduce(self, core: LocalCore, artifact: str) -> None:
        version = ".".join(str(part) for part in core.interpreter.version)
        self.say(f"{artifact} on Python {version} ({core.interpreter.path})")
        self.say(f"a V{core.generation} core on 127.0.0.1:{core.port}, thing {core.thing}; Ctrl-C ends it")
        built_for = re.search(r"-py(3[0-9]+)-", Path(artifact).name)
        major, minor = core.interpreter.version[:2]
        if built_for and built_for.group(1) != f"{major}{minor}":
            self.say(f"this zip is built for Python 3.{built_for.group(1)[1:]}: what is compiled in it may not load")

    def show_alarm(self, event: Dict[str, Any], place: str = "Detect") -> None:
        from connector.detect.event import sentence

        self.say(f"{place}: {sentence(event)}")

    def show(self, delivery: Delivery) -> None:
        from local_core import event_of

        event = event_of(delivery)
        if event is not None:
            self.show_alarm(event, delivery.topic)
            return
        verdict = delivery.verdict
        outcome = "ACCEPTED"
        if verdict is None:
            outcome = "no report topic, so no verdict"
        elif not verdict.accepted:
            outcome = f"REJECTED, {verdict.code}: {verdict.reason}"
        self.say(f"{delivery.topic}, {len(delivery.payload)} bytes: {outcome}")
        report = delivery.report
        if report is None:  # a topic of one's own, which nobody judges
            try:
                report = json.loads(delivery.payload)
            except ValueError:
                self.say(repr(delivery.payload[:2000]))
                return
        self.say(json.dumps(report, indent=2))

    def say(self, text: str) -> None:
        with self._lock:
            try:
                print(text, flush=True)
            except BrokenPipeError:
                # what is printed from now on, and what is left in the buffer, goes nowhere
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                self._on_lost()


def _parse(arguments: Optional[List[str]]) -> argparse.Namespace:
    script = os.environ.get("RUN_LOCAL_SCRIPT")  # who was called, and names the zip itself
    parser = Parser(
        prog=script or "run_local.py",
        description=__doc__,
        epilog=EPILOG.replace("run_local.py ZIP", script) if script else EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    artifact = "the zip that build_zip.sh made, or a directory it is unpacked in"
    add("artifact", metavar="ZIP", help=argparse.SUPPRESS if script else artifact)
    add("--once", action="store_true", help="stop after the first report")
    add("--python", help="interpreter for the function (default: the one that runs this, without its environment)")
    add("--thing", default="local-core", metavar="NAME", help="thing name (default: %(default)s)")
    add("--set", action=SetAction, metavar="NAME=VALUE", help="a parameter of the connector; the same as --NAME VALUE")
    add(
        "--env",
        action="append",
        type=_variable,
        default=[],
        metavar="NAME=VALUE",
        help="any variable of the function's environment, not checked; repeat for more",
    )
    add(
        "--interval",
        type=_positive,
        metavar="SECONDS",
        help="report this often; only a local core can go below the service's minimum of 300",
    )
    add("--proc", metavar="PATH", help="where the function finds /proc (default: /proc, or /host_proc if there)")
    add("--user", metavar="NAME", help="run the function as this user; needs root")
    add("--fault", action="append", type=_fault, default=[], metavar="KIND[:COUNT]", help="see below; repeat for more")
    add(
        "--profile",
        action="append",
        default=[],
        metavar="FILE",
        help="a security profile to judge the reports by, as the service would; repeat for more (--SecurityProfiles: "
        "the connector itself judges)",
    )
    add("--mqtt", metavar="HOST:PORT", help="hand all that goes to the cloud, and the answers, to this broker too")
    add(
        "--subscriptions",
        metavar="FILE",
        help="JSON, as a V2 legacy subscription router is configured (default: reports to the cloud, verdicts back)",
    )
    add(
        "--generation",
        type=int,
        choices=(1, 2),
        default=2,
        help="what a message without a subscription meets: V2 answers HTTP 400, V1 drops it (default: %(default)s)",
    )
    add(
        "--encoding-type",
        choices=("json", "binary"),
        help="how events reach the handler (default: json, or binary with ReportFormat=cbor, as CBOR verdicts need)",
    )
    add("--handler", default="connector.handler.function_handler", help="module and function (default: %(default)s)")
    add("--version", action="version", version=__version__)
    # For run_local.sh, before it builds the zip: check the options, and print the value of --python.
    add("--parse-only", action="store_true", help=argparse.SUPPRESS)
    add_flags(parser, note="As the function's environment has them. ProcDestinationPath: see --proc.")
    try:
        import argcomplete  # where the tools' environment has it
    except ImportError:
        pass
    else:
        argcomplete.autocomplete(parser)  # answers a shell that asks for completions, and ends
    options = parser.parse_args(arguments)
    if options.encoding_type is None:
        options.encoding_type = "binary" if given(options).get("ReportFormat") == "cbor" else "json"
    return options


def _variable(text: str) -> Tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=VALUE")
    return name, value


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of seconds from 1")
    return int(text)


def _fault(text: str) -> Tuple[str, int]:
    match = re.fullmatch(rf"(status:[45][0-9]{{2}}|{'|'.join(FAULTS)})(?::([1-9][0-9]{{0,5}}))?", text)
    if not match:
        known = ", ".join(("status:400 to status:599",) + FAULTS)
        raise argparse.ArgumentTypeError(f"'{text}' is no KIND or KIND:COUNT; the kinds are {known}")
    return match.group(1), int(match.group(2) or 1)


if __name__ == "__main__":
    sys.exit(main())
