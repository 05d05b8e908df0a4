"""The command line of run_local.py. It needs none of the packages of requirements.txt, so --help needs none."""

from __future__ import annotations

import argparse
import os
from typing import List, Optional, Tuple

from fault_kinds import CORE, NUCLEUS, listed
from fault_kinds import parse as parse_fault

from connector import __version__
from connector.flags import SetAction, add_flags, thing_name
from connector.usage import Parser

EPILOG = f"""examples:
  run_local.py ZIP                    watch the reports, one every 300 s as in the field
  run_local.py ZIP --once             one report; exit code 1 if it was rejected
  run_local.py ZIP --interval 5       several reports soon
  run_local.py ZIP --native --once    the native component, on a stand-in for a V2 nucleus
  run_local.py ZIP --interval 5 --record day.jsonl     record reports for detect.py
  run_local.py ZIP --MetricNames short --CustomMetrics cpu_usage,memory_usage
  run_local.py ZIP --report-format cbor
  run_local.py ZIP --interval 5 --fault status:503:2 --fault hang
  run_local.py ZIP --native --interval 5 --fault mqtt-restart --fault broker-silent:20
  run_local.py ZIP --profile packaging/security_profiles/RemoteManagementPorts.json
  run_local.py ZIP --SecurityProfiles RemoteManagementPorts --interval 5
  run_local.py ZIP --mqtt localhost:1883

what is shown: on a terminal one line per report; the whole report with --once, and where the output is no terminal.
--full and --lines choose.

faults; each publish takes one, in the order given. COUNT publishes or SECONDS have it, 1 by default:
{listed(CORE)}

faults with --native; those with * only of nucleus lite:
{listed(NUCLEUS)}

exit codes: 0 ended by SIGTERM or by the reader of its output, or with --once accepted, or sent to a topic that the
service does not judge; 1 rejected with --once, no report, or the function ended or could not be started; 2 bad usage;
130 ended by Ctrl-C
"""
# Options that only a core for Lambda functions has, or only a nucleus, by their attribute.
OF_FUNCTIONS = ("subscriptions", "generation", "encoding_type", "handler")
OF_COMPONENTS = ("nucleus",)

SCRIPT = "RUN_LOCAL_SCRIPT"  # run_local.sh sets this variable to its name; it builds the zip, and passes its path


def prog() -> str:
    """Return the name of the command that was called, for messages."""
    return os.environ.get(SCRIPT) or "run_local.py"


def parse(argv: Optional[List[str]], description: Optional[str]) -> argparse.Namespace:
    """Return the options; end with 2 for bad usage."""
    script = os.environ.get(SCRIPT)
    parser = Parser(
        prog=prog(),
        description=description,
        epilog=EPILOG.replace("run_local.py ZIP", script) if script else EPILOG,
        allow_abbrev=False,
    )
    add = parser.add_argument
    artifact = "the zip that build_zip.sh, or build_zip.sh --native, made; or a directory it is unpacked in"
    add("artifact", metavar="ZIP", help=argparse.SUPPRESS if script else artifact)
    add("--once", action="store_true", help="stop after the first report")
    add("--native", action="store_true", help="run the native component, on a stand-in for a V2 nucleus")
    add(
        "--nucleus",
        choices=("lite", "java"),
        help="with --native: which nucleus; they differ in limits, errors and faults (default: lite)",
    )
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--full", action="store_true", help="show whole reports, also on a terminal")
    shown.add_argument("--lines", action="store_true", help="show one line per report, also where it is no terminal")
    add("--record", metavar="FILE", help="append each accepted report to this file, as detect.py reads it")
    add("--python", help="interpreter for the function (default: the one that runs this, without its environment)")
    add("--thing", type=thing_name, default="local-core", metavar="NAME", help="thing name (default: %(default)s)")
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
    add("--fault", action="append", type=_fault, default=[], metavar="KIND[:NUMBER]", help="see below; repeat for more")
    add(
        "--profile",
        action="append",
        default=[],
        metavar="FILE",
        help="a security profile to judge the reports by, as the service would; repeat for more (--SecurityProfiles: "
        "the connector itself judges)",
    )
    add(
        "--mqtt",
        type=_broker,
        metavar="HOST:PORT",
        help="hand all that goes to the cloud, and the answers, to this broker too",
    )
    add(
        "--subscriptions",
        metavar="FILE",
        help="JSON, as a V2 legacy subscription router is configured (default: reports to the cloud, verdicts back)",
    )
    add(
        "--generation",
        type=int,
        choices=(1, 2),
        help="what happens to a message without a subscription: V2 answers HTTP 400, V1 drops it (default: 2)",
    )
    add(
        "--encoding-type",
        choices=("json", "binary"),
        help="how events reach the handler (default: json, or binary with ReportFormat=cbor, as CBOR verdicts need)",
    )
    add("--handler", help="module and function (default: connector.handler.function_handler)")
    add("--version", action="version", version=__version__)
    # For run_local.sh, before it builds the zip: check the options, and print the value of --python.
    add("--parse-only", action="store_true", help=argparse.SUPPRESS)
    add_flags(
        parser,
        note="As the function's environment or the component's configuration has them. ProcDestinationPath: --proc.",
    )
    try:
        import argcomplete  # where the tools' environment has it
    except ImportError:
        pass
    else:
        argcomplete.autocomplete(parser)  # answers a shell that asks for completions, and ends
    options = parser.parse_args(argv)
    _check_native(parser, options)
    return options


def _check_native(parser: Parser, options: argparse.Namespace) -> None:
    """End with a usage error for options that a Lambda function, or with --native a component, does not have."""
    for name in OF_FUNCTIONS if options.native else OF_COMPONENTS:
        if getattr(options, name) is not None:
            flag = "--" + name.replace("_", "-")
            parser.error(f"{flag} can't be used with --native" if options.native else f"{flag} needs --native")
    for fault, _ in options.fault:
        kind = fault.partition(":")[0]
        if (kind in NUCLEUS) != options.native:
            parser.error(f"the fault {kind} {'is not one of a nucleus' if options.native else 'needs --native'}")
        if options.nucleus == "java" and NUCLEUS[kind].daemons:
            parser.error(f"the fault {kind} is not one of the Java nucleus")


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
    try:
        return parse_fault(text, {**CORE, **NUCLEUS})
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _broker(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not (port.isdigit() and 1 <= int(port) <= 65535):
        raise argparse.ArgumentTypeError(f"'{text}' is not HOST:PORT, such as localhost:1883")
    return text
