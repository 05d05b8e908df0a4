"""`python -m connector run`: report without Greengrass, over MQTT with client certificates.

The loop, the account of the traffic, the state file and the log are those of the Lambda function; only the transport is
another (transports/mqtt.py, which needs the extra `mqtt`).
"""

from __future__ import annotations

import argparse
import configparser
import logging
import os
import random
import re
import stat
import sys
from typing import Any, Dict, List, Mapping, Optional, Tuple

from . import __version__, agent, config, flags, notify, snapshot
from .clock import Clock
from .encode import encode
from .errors import ConfigError, ConnectorError, PublishError
from .health import plain
from .publisher import Publisher

logger = logging.getLogger("connector")

PROG = "python -m connector run"
THING = "AWS_IOT_THING_NAME"
CLIENT_ID_SUFFIX = "-device-defender"
MAX_CLIENT_ID_CHARS = 128
SECTION = "connector"

# Of the connection: flag -> what it is. In a settings file they have these names without --.
CONNECTION = {
    "endpoint": "host name of the broker: the account's AWS IoT data endpoint (aws iot describe-endpoint --endpoint-type "
    "iot:Data-ATS)",
    "thing-name": f"the thing that is reported (default: ${THING})",
    "cert": "the device's certificate, PEM",
    "key": "its private key, PEM, without a password",
    "ca-file": "certificate authorities to trust, PEM (default: those of the system; AWS IoT's are Amazon's root CAs)",
    "client-id": f"MQTT client ID (default: the thing's name and {CLIENT_ID_SUFFIX}, because a Greengrass core on the same "
    "device is connected under the thing's name)",
    "port": "8883, or 443 through firewalls (default: 8883)",
    "proxy": "HTTP proxy, as http://host:port; needs the extra `proxy`",
}
REQUIRED = ("endpoint", "cert", "key")
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


def main(arguments: List[str], environ: Mapping[str, str]) -> int:
    """Run the command line; return the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr, level=logging.INFO)
    try:
        connection, parameters = _settings(options, environ)
        if options.dry_run:
            return _dry_run(parameters)
        return _connected(options, connection, parameters, environ)
    except ConfigError as error:
        _complain(error)
        return 2
    except ConnectorError as error:
        _complain(error)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = flags.Parser(
        prog=PROG,
        description="Report to AWS IoT Device Defender over MQTT, without Greengrass.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for name, text in CONNECTION.items():
        parser.add_argument(f"--{name}", metavar="VALUE", help=text.replace("%", "%%"))
    parser.add_argument("--config", metavar="FILE", help="a file with settings; flags and environment come first")
    once = parser.add_mutually_exclusive_group()
    once.add_argument(
        "--check", action="store_true", help="connect, publish an empty document to the topic, say what is wrong, and end"
    )
    once.add_argument("--dry-run", action="store_true", help="print the reports instead of sending them")
    once.add_argument("--once", action="store_true", help="send one report and end")
    parser.add_argument("--version", action="version", version=__version__)
    flags.add_flags(parser, note="They are those of the Lambda function. ProcDestinationPath is /proc unless given.")
    return parser


def _settings(options: argparse.Namespace, environ: Mapping[str, str]) -> Tuple[Dict[str, str], Dict[str, str]]:
    """Return the settings of the connection, and the parameters with the thing's name. Raises ConfigError."""
    connection, parameters = _read_file(options.config) if options.config else ({}, {})
    parameters = {"ProcDestinationPath": "/proc", **parameters}
    for parameter in config.PARAMETERS:
        for name in (parameter.alias, parameter.name):
            if name is not None and name in environ:
                parameters[parameter.name] = environ[name]
    parameters.update(flags.given(options))
    for name in CONNECTION:
        value = getattr(options, name.replace("-", "_"))
        if value is not None:
            connection[name] = value
    thing = connection.get("thing-name") or environ.get(THING, "")
    if not thing and not options.dry_run:
        raise ConfigError(f"--thing-name or {THING} is needed: the topic has the thing's name")
    parameters[THING] = thing or "dry-run"
    missing = [f"--{name}" for name in REQUIRED if not connection.get(name)]
    if missing and not options.dry_run:
        raise ConfigError(f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    if connection.setdefault("port", "8883") not in ("8883", "443") and not re.fullmatch(
        "[1-9][0-9]{0,4}", connection["port"]
    ):
        raise ConfigError(f"port {connection['port']!r} is not a number from 1 to 65535")
    if not connection.get("client-id"):
        connection["client-id"] = thing[: MAX_CLIENT_ID_CHARS - len(CLIENT_ID_SUFFIX)] + CLIENT_ID_SUFFIX
    return connection, parameters


def _read_file(path: str) -> Tuple[Dict[str, str], Dict[str, str]]:
    """Return the connection's settings and the parameters of a settings file. Raises ConfigError."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = lambda optionstr: optionstr  # type: ignore[method-assign]  # names keep their case
    try:
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
        items = dict(parser[SECTION]) if SECTION in parser else None
    except OSError as error:
        raise ConfigError(f"--config {path} can't be read: {error.strerror}") from error
    except (configparser.Error, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {path} is not an INI file: {plain(error)}") from error
    if items is None:
        raise ConfigError(f"--config {path} has no section [{SECTION}]")
    connection: Dict[str, str] = {}
    parameters: Dict[str, str] = {}
    for name, value in items.items():
        if name in CONNECTION:
            connection[name] = value
            continue
        try:
            parameters[flags.find(name).name] = value
        except argparse.ArgumentTypeError as error:
            raise ConfigError(f"--config {path}: {name}: {error}") from error
    return connection, parameters


def _dry_run(parameters: Mapping[str, str]) -> int:
    from .__main__ import main as print_reports

    given = [f"--{name}={value}" for name, value in parameters.items() if name != THING]
    return print_reports(["-n", "1000000000", "-s", parameters.get("SampleIntervalSeconds", "300"), *given])


def _connected(
    options: argparse.Namespace,
    connection: Mapping[str, str],
    parameters: Mapping[str, str],
    environ: Mapping[str, str],
) -> int:
    """Connect and report. Raises ConnectorError."""
    parsed, warnings = config.parse(parameters)
    try:
        from .transports.mqtt import MqttTransport, Settings, tls_context
    except ImportError as error:
        raise ConnectorError(
            f"MQTT needs paho-mqtt, which can't be imported ({error}): pip install 'device-defender-connector[mqtt]'"
        ) from error
    settings = Settings(
        host=connection["endpoint"],
        port=int(connection["port"]),
        client_id=connection["client-id"],
        cert_file=connection["cert"],
        key_file=connection["key"],
        ca_file=connection.get("ca-file", ""),
        proxy=_proxy(connection.get("proxy", "")),
    )
    logger.setLevel(parsed.log_level)
    _warn_of_open_key(settings.key_file)
    transport = MqttTransport(settings, tls_context(settings), random.Random(), logger)
    if options.check or options.once:
        for warning in warnings:
            logger.warning("%s", plain(warning, 1000))
    if options.check:
        return _check(transport, parsed)
    if options.once:
        clock = Clock()
        reporter = agent.assemble(parsed, transport, clock, random.Random(), logger)
        accepted = reporter.report_once()
        transport.close()
        return 0 if accepted else 1
    return _run(transport, parsed, parameters, environ)


def _check(transport: Any, parsed: config.Config) -> int:
    transport.on_message = lambda message, topic: None
    transport.start([parsed.topic + "/accepted", parsed.topic + "/rejected"])
    publisher: Publisher[None] = Publisher(transport, Clock())
    try:
        publisher.publish(parsed.topic, encode({}, parsed.report_format), None)
    except PublishError as error:
        _complain(error)
        return 1
    finally:
        transport.close()
    print(f"{transport.peer} accepted an empty document on {parsed.topic}: reports can be sent")
    return 0


def _run(transport: Any, parsed: config.Config, parameters: Mapping[str, str], environ: Mapping[str, str]) -> int:
    """Report until SIGTERM or Ctrl-C."""
    tell = notify.notifier(environ)

    def take(wanted: snapshot.Wanted, rng: random.Random) -> snapshot.Snapshot:
        tell("WATCHDOG=1")
        return snapshot.take(wanted, rng)

    running = agent.start(parameters, transport, logger, take=take)
    tell(notify.ready(parsed.interval))
    try:
        running.loop.join()
    except KeyboardInterrupt:
        running.clock.stop()
        running.loop.join()
        return 130
    return 0 if running.clock.stopped else 1


def _proxy(url: str) -> Optional[Tuple[str, int]]:
    if not url:
        return None
    found = re.fullmatch(r"(?:http://)?([^/:@\s]+|\[[0-9a-fA-F:.]+\]):([0-9]{1,5})/?", url)
    if found is None:
        raise ConfigError(f"proxy {url!r} is not http://host:port")
    return found.group(1).strip("[]"), int(found.group(2))


def _warn_of_open_key(path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return  # tls_context() says what is wrong with it
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        logger.warning("the key %s can be read by others than its owner: chmod 600 %s", plain(path), plain(path))


def _complain(error: BaseException) -> None:
    if sys.stderr is not None:
        print(f"{PROG}: {plain(error, 1000)}", file=sys.stderr)
