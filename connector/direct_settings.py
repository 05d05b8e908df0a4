"""Settings of `python -m connector run`: flags, else environment variables, else a file; all checked here."""

from __future__ import annotations

import argparse
import re
from typing import Dict, List, Mapping, NamedTuple, Optional, Tuple

from . import config, flags, names
from .errors import ConfigError
from .health import plain

DRY_RUN_THING = "dry-run"
CLIENT_ID_SUFFIX = "-device-defender"
MAX_CLIENT_ID_BYTES = 128
DEFAULT_PORT = "8883"
DEFAULT_PROC = "/proc"  # the device's own; a Lambda function has it mounted elsewhere
OWN_DEFAULTS = {"ProcDestinationPath": DEFAULT_PROC}
SECTION = "connector"

# Of the connection: name -> what it is. A flag has -- before it, the file has not.
CONNECTION = {
    "endpoint": "host name of the broker: the account's AWS IoT data endpoint "
    "(aws iot describe-endpoint --endpoint-type iot:Data-ATS)",
    "thing-name": f"the thing that is reported (default: ${config.THING})",
    "cert": "the device's certificate, PEM",
    "key": "its private key, PEM, without a password",
    "ca-file": "certificate authorities to trust, PEM (default: those of the system; AWS IoT's are Amazon's root CAs)",
    "client-id": f"MQTT client ID (default: the thing's name and {CLIENT_ID_SUFFIX}, because a Greengrass core on the "
    "same device is connected under the thing's name)",
    "port": f"{DEFAULT_PORT}, or 443 through firewalls (default: {DEFAULT_PORT})",
    "proxy": "HTTP proxy without a password, as http://host:port",
}
REQUIRED = ("endpoint", "cert", "key")


class Settings(NamedTuple):
    """Everything that was set.

    connection: by the names of CONNECTION; those of REQUIRED, "port" and "client-id" are there.
    parameters: by the names of config.PARAMETERS, and AWS_IOT_THING_NAME.
    proxy: (host, port), or None. default_client_id: bool, nobody chose the client ID.
    warnings: of invalid values that OWN_DEFAULTS have replaced; config.parse() has those of all others.
    """

    connection: Mapping[str, str]
    parameters: Mapping[str, str]
    proxy: Optional[Tuple[str, int]]
    default_client_id: bool
    warnings: List[str]


def read(options: argparse.Namespace, environ: Mapping[str, str], dry_run: bool) -> Settings:
    """Return the settings; a dry run needs none of the connection's. Raises ConfigError, which names the setting.

    options: of flags.add_flags(), with CONNECTION's names and `config`, the path of a settings file or None.
    """
    connection, parameters = _read_file(options.config) if options.config else ({}, {})
    parameters = {**OWN_DEFAULTS, **parameters}
    for parameter in config.PARAMETERS:
        for name in (parameter.alias, parameter.name):
            if name is not None and name in environ:
                parameters[parameter.name] = environ[name]
    parameters.update(flags.given(options))
    warnings = config.replace_invalid(parameters, OWN_DEFAULTS)
    if environ.get(config.THING):
        connection["thing-name"] = environ[config.THING]
    for name in CONNECTION:
        value = getattr(options, name.replace("-", "_"))
        if value is not None:
            connection[name] = value
    thing = connection.get("thing-name")
    if thing and not names.is_thing_name(thing):
        raise ConfigError(f"thing-name {plain(repr(thing))} is not {names.VALID_THING_NAME}")
    if dry_run:
        parameters[config.THING] = thing or DRY_RUN_THING
        return Settings(connection, parameters, None, False, warnings)
    return _checked(connection, parameters, warnings)


def _checked(connection: Dict[str, str], parameters: Dict[str, str], warnings: List[str]) -> Settings:
    missing = [f"--{name}" for name in REQUIRED if not connection.get(name)]
    thing = connection.get("thing-name", "")
    if not thing:
        missing.append(f"--thing-name (or {config.THING})")
    if missing:
        raise ConfigError(f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    if not re.fullmatch("[a-zA-Z0-9.:_-]{1,255}", connection["endpoint"]):
        raise ConfigError(
            f"endpoint {plain(repr(connection['endpoint']))} is not a host name, without https:// and port"
        )
    port = connection.setdefault("port", DEFAULT_PORT)
    if not re.fullmatch("[1-9][0-9]{0,4}", port) or int(port) > 65535:
        raise ConfigError(f"port {plain(repr(port))} is not a number from 1 to 65535")
    default_client_id = not connection.get("client-id")
    if default_client_id:
        connection["client-id"] = thing[: MAX_CLIENT_ID_BYTES - len(CLIENT_ID_SUFFIX)] + CLIENT_ID_SUFFIX
    if len(connection["client-id"].encode("utf-8", "replace")) > MAX_CLIENT_ID_BYTES:
        raise ConfigError(f"client-id is longer than {MAX_CLIENT_ID_BYTES} bytes")
    parameters[config.THING] = thing
    return Settings(connection, parameters, _proxy(connection.get("proxy", "")), default_client_id, warnings)


def _read_file(path: str) -> Tuple[Dict[str, str], Dict[str, str]]:
    """Return the connection's settings and the parameters of an INI file. Raises ConfigError, with file and key."""
    import configparser  # only here: it costs 0.2 MB of memory

    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = lambda optionstr: optionstr  # type: ignore[method-assign]  # names keep their case
    try:
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from error
    except (configparser.Error, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not an INI file: {plain(error)}") from error
    if SECTION not in parser:
        raise ConfigError(f"{path} has no section [{SECTION}]")
    connection: Dict[str, str] = {}
    parameters: Dict[str, str] = {}
    for name, value in parser[SECTION].items():
        if name in CONNECTION:
            connection[name] = value
            continue
        try:
            parameter = flags.find(name)
        except argparse.ArgumentTypeError as error:
            raise ConfigError(f"{path}: {name}: {error}") from error
        if not parameter.allows(value):
            raise ConfigError(f"{path}: {name}: {plain(repr(value))} is not valid: {parameter.valid}")
        parameters[parameter.name] = value
    return connection, parameters


def _proxy(url: str) -> Optional[Tuple[str, int]]:
    if not url:
        return None
    found = re.fullmatch(r"(?:http://)?([a-zA-Z0-9._-]+|\[[0-9a-fA-F:.]+\]):([1-9][0-9]{0,4})/?", url)
    if found is None or int(found.group(2)) > 65535:
        # Without its value: it may hold a password.
        raise ConfigError("proxy is not http://host:port; a user and a password are not supported")
    return found.group(1).strip("[]"), int(found.group(2))
