"""`python -m connector run`: report without Greengrass, over MQTT with client certificates.

The loop, the unsent traffic, the state file and the log are those of the Lambda function; only the transport differs
(transports/mqtt.py, which needs the extra `mqtt`).
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import resource
import stat
import sys
from typing import Any, List, Mapping

from . import __version__, agent, config, direct_settings, flags, notify
from .clock import Clock
from .encode import encode, prepare
from .errors import ConnectorError
from .health import plain
from .publisher import Publisher
from .snapshot import Snapshot, Source
from .usage import Parser

logger = logging.getLogger("connector")

MAX_DRY_RUN_REPORTS = 10**9
EPILOG = """\
Settings come from the flags, else from environment variables with the parameters' names, else from the file:

  [connector]
  endpoint = a1b2c3-ats.iot.eu-west-1.amazonaws.com
  thing-name = gateway-1
  cert = /etc/device-defender-connector/certificate.pem
  key = /etc/device-defender-connector/private.key
  SampleIntervalSeconds = 600

Exit codes: 0 ended by SIGTERM, or --check, --dry-run or --once succeeded; 1 it failed; 2 wrong usage or settings;
130 ended by Ctrl-C.
"""


def main(argv: List[str], environ: Mapping[str, str], prog: str) -> int:
    """Run the command line; return the exit code. prog: the command's name, for messages."""
    options = _parser(prog).parse_args(argv)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr, level=logging.INFO)
    _forbid_core_files()
    try:
        settings = direct_settings.read(options, environ, options.dry_run)
        for warning in settings.warnings:
            logger.warning("%s", plain(warning, 1000))
        if options.dry_run:
            return _dry_run(settings.parameters, options.once)
        return _connected(options, settings, environ)
    except ConnectorError as error:
        if sys.stderr is not None:
            print(f"{prog}: {plain(error, 1000)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = Parser(
        prog=prog,
        description="Report to AWS IoT Device Defender over MQTT, without Greengrass.",
        epilog=EPILOG,
        allow_abbrev=False,
    )
    for name, text in direct_settings.CONNECTION.items():
        parser.add_argument(f"--{name}", metavar="VALUE", help=text)
    parser.add_argument("--config", metavar="FILE", help="an INI file with settings")
    parser.add_argument("--once", action="store_true", help="one report, then end")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--check",
        action="store_true",
        help="connect, publish an empty document to the reports' topic, say what is wrong, and end",
    )
    instead.add_argument("--dry-run", action="store_true", help="print the reports instead of sending them")
    parser.add_argument("--version", action="version", version=__version__)
    flags.add_flags(
        parser,
        note=f"Those of the Lambda function. ProcDestinationPath is {direct_settings.DEFAULT_PROC} unless given.",
    )
    return parser


def _dry_run(parameters: Mapping[str, str], once: bool) -> int:
    """Print reports until Ctrl-C, or one."""
    from .__main__ import main as print_reports

    values, warnings = config.read(parameters)
    for warning in warnings:
        logger.warning("%s", plain(warning, 1000))
    valid = [
        f"--{parameter.name}={parameters[parameter.name]}"
        for parameter in flags.READ_BY_FUNCTION
        if parameter.name in parameters and parameter.allows(parameters[parameter.name])
    ]
    count = 1 if once else MAX_DRY_RUN_REPORTS
    return print_reports([f"-n{count}", f"-s{values['SampleIntervalSeconds']}", *valid])


def _connected(options: argparse.Namespace, settings: direct_settings.Settings, environ: Mapping[str, str]) -> int:
    """Connect and report. Raises ConnectorError."""
    parsed, warnings = config.parse(settings.parameters)
    logger.setLevel(parsed.log_level)
    transport = _transport(settings)
    if options.check or options.once:
        for warning in warnings:
            logger.warning("%s", plain(warning, 1000))
        prepare(parsed.report_format)
        try:
            return _check(transport, parsed) if options.check else _once(transport, parsed)
        finally:
            transport.close()
    return _run(transport, parsed, settings.parameters, environ)


def _transport(settings: direct_settings.Settings) -> Any:
    """Return the transport, not started. Raises ConnectorError, which names the file that is wrong."""
    try:
        from .transports import mqtt, tls
    except ImportError as error:
        raise ConnectorError(
            f"MQTT needs paho-mqtt, which can't be imported ({error}): in the connector's repository, pip install "
            "'.[mqtt]'"
        ) from error
    connection = settings.connection
    endpoint = tls.Endpoint(
        host=connection["endpoint"],
        port=int(connection["port"]),
        cert_file=connection["cert"],
        key_file=connection["key"],
        ca_file=connection.get("ca-file", ""),
        proxy=settings.proxy,
    )
    context = tls.make_context(endpoint)
    _warn_of_open_key(endpoint.key_file)
    if settings.default_client_id:
        logger.info(
            "the client ID is %s, not the thing's name: a Greengrass core is connected under that, and a second "
            "connection would end the first. --client-id sets another one",
            connection["client-id"],
        )
    return mqtt.MqttTransport(mqtt.Settings(endpoint, connection["client-id"]), context, random.Random(), logger)


def _check(transport: Any, parsed: config.Config) -> int:
    """Publish an empty document. Raises PublishError, with what is wrong."""
    transport.on_message = lambda message, topic: None
    transport.start([parsed.topic + "/accepted", parsed.topic + "/rejected"])
    publisher: Publisher[None] = Publisher(transport, Clock())
    publisher.publish(parsed.topic, encode({}, parsed.report_format), None)
    print(f"{transport.peer} accepted an empty document on {parsed.topic}: reports can be sent")
    return 0


def _once(transport: Any, parsed: config.Config) -> int:
    reporter = agent.assemble(parsed, transport, Clock(), random.Random(), logger)
    return 0 if reporter.report_once() else 1


def _run(transport: Any, parsed: config.Config, parameters: Mapping[str, str], environ: Mapping[str, str]) -> int:
    """Report until SIGTERM or Ctrl-C."""
    tell = notify.notifier(environ)

    class WatchedSource(Source):
        """Tells systemd at each reading that the loop is alive."""

        def take(self) -> Snapshot:
            tell(notify.ALIVE)
            return super().take()

    running = agent.start(parameters, transport, logger, WatchedSource)
    tell(notify.ready(environ, parsed.interval))
    try:
        running.loop.join()
    except KeyboardInterrupt:
        running.clock.stop()
        running.loop.join()
        return 130
    return 0 if running.clock.stopped else 1


def _forbid_core_files() -> None:
    """Turn core files off: one would contain the private key."""
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError):
        pass  # a sandbox forbids the call; the systemd unit, which has one, sets this limit itself


def _warn_of_open_key(path: str) -> None:
    mode = os.stat(path).st_mode
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        logger.warning("the key %s can be read by others than its owner: chmod 600 %s", plain(path), plain(path))
