"""Settings of `python -m connector component`: the component's configuration, else environment variables."""

from __future__ import annotations

import json
import re
from typing import Any, List, Mapping, NamedTuple, Tuple

from . import config
from .errors import ConfigError
from .health import plain
from .parameter import MAX_TOPIC_BYTES, Parameter

ACCESS_CONTROL = "accessControl"  # a key of the configuration that is the nucleus' own
DEFAULT_PROC = "/proc"  # the host's, which a native component sees
MAX_SHOWN_NAMES = 5  # of the configuration that are no parameters

MIN_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES = 2_048, 131_072  # the most is AWS IoT Core's own limit
# Nucleus lite closes the connection on a request over 10,000 bytes: JSON, with the topic and the payload as base64. So
# 7,000 fit with any topic of AWS IoT that JSON takes as it is.
DEFAULT_PAYLOAD_BYTES = 7_000


def _payload_bytes(text: str) -> int:
    if not re.fullmatch("[0-9]{1,6}", text) or not MIN_PAYLOAD_BYTES <= int(text) <= MAX_PAYLOAD_BYTES:
        raise ValueError
    return int(text)


PAYLOAD = Parameter(
    name="MaxPayloadBytes",
    title="Longest message",
    default=str(DEFAULT_PAYLOAD_BYTES),
    valid=f"{MIN_PAYLOAD_BYTES} to {MAX_PAYLOAD_BYTES}",
    pattern="|".join(
        (
            *("204[89]", "20[5-9][0-9]", "2[1-9][0-9]{2}", "[3-9][0-9]{3}", "[1-9][0-9]{4}"),
            *("1[0-2][0-9]{4}", "130[0-9]{3}", "1310[0-6][0-9]", "13107[0-2]"),
        )
    ),
    parse=_payload_bytes,
    description="Most bytes of a report or alarm that the nucleus carries; a longer report is made to fit with shorter "
    "lists. The default is what nucleus lite carries; the Java nucleus carries 131072.",
)


class Settings(NamedTuple):
    """What is set.

    parameters: by the names of config.PARAMETERS, and AWS_IOT_THING_NAME.
    max_payload_bytes: of one message.
    """

    parameters: Mapping[str, str]
    max_payload_bytes: int


def read(configuration: Mapping[str, Any], environ: Mapping[str, str], directory: str) -> Tuple[Settings, List[str]]:
    """Return the settings, and a warning for what can't be used; parse() of config.py has those of invalid values.

    configuration: as the nucleus has it. Values may be text, numbers and lists of them.
    directory: for the state where StateDirectory is not set; "" for none.
    """
    warnings: List[str] = []
    own_defaults = {"ProcDestinationPath": DEFAULT_PROC, "StateDirectory": directory}
    parameters = dict(own_defaults)
    known = {ACCESS_CONTROL}
    for parameter in (*config.PARAMETERS, PAYLOAD):
        names = [name for name in (parameter.alias, parameter.name) if name is not None]
        known.update(names)
        for name in names:
            if name in environ:
                parameters[parameter.name] = environ[name]
        for name in names:
            text = _text(configuration[name]) if name in configuration else None
            if text is not None:
                parameters[parameter.name] = text
            elif name in configuration:
                warnings.append(f"{name} is neither text nor a number nor a list of those: it is ignored")
    warnings += config.replace_invalid(parameters, own_defaults)
    unknown = sorted(set(configuration) - known)
    for name in unknown[:MAX_SHOWN_NAMES]:
        warnings.append(f"the configuration has {plain(repr(name), 100)}, which is no parameter: it is ignored")
    if len(unknown) > MAX_SHOWN_NAMES:
        warnings.append(f"the configuration has {len(unknown) - MAX_SHOWN_NAMES} more names of no parameter")
    parameters[config.THING] = environ.get(config.THING, "")
    max_payload_bytes, warning = PAYLOAD.read(parameters.pop(PAYLOAD.name, PAYLOAD.default))
    settings = Settings(parameters, max_payload_bytes - bytes_of_topics(parameters))
    return settings, warnings + ([warning] if warning else [])


def bytes_of_topics(parameters: Mapping[str, str]) -> int:
    """Return the bytes of a payload that a topic costs which is longer in JSON than any topic is outside.

    JSON has six bytes for a character outside ASCII and two for a quotation mark; base64 has four for three bytes.
    """
    try:
        parsed, _ = config.parse(parameters)
    except ConfigError:  # no thing name, which ends the component
        return 0
    longest = max(len(json.dumps(topic)) - len('""') for topic in (parsed.topic, parsed.violations_topic))
    return max(0, -(-(longest - MAX_TOPIC_BYTES) // 4) * 3)


def _text(value: Any) -> Any:
    """Return a value of the configuration as an environment variable would have it; None where that has no form."""
    if isinstance(value, list):
        # No lists within a list: no parameter has such a value, and deep ones would end the process (RecursionError).
        items: List[Any] = [None if isinstance(item, list) else _text(item) for item in value]
        return None if None in items else ",".join(items)
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # some nuclei keep every number as one
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can hold, and no file's name or topic
        return None
    return text


def default_directory(working_directory: str, package_directory: str) -> str:
    """Return where the state is kept unless StateDirectory says so: the component's work folder, or "".

    A nucleus starts a component in its work folder, which it keeps over updates of the component. A start by hand, or a
    script that changes to the artifact's folder, has no such place: "/", or the folder of the package.
    """
    return "" if working_directory in ("/", package_directory) else working_directory
