"""The connector's parameters: environment variables in, one immutable value out."""

from __future__ import annotations

import fnmatch
import re
from typing import Any, Callable, List, Mapping, NamedTuple, Optional, Tuple

from .encode import FORMATS
from .errors import ConfigError
from .kernel.host import METRICS
from .snapshot import Wanted

# Seconds. The service takes no more than one report in this time from a thing, whatever the reason for the next one.
MIN_SAMPLE_INTERVAL = 300

LONGEST_TOPIC = 256  # bytes, AWS IoT's limit

CUSTOM_METRICS = ("cpu_usage",) + tuple(METRICS)
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
DEFAULT_EXCLUDE = "lo,veth*,docker*,br-*,virbr*,cni*,flannel*,cali*,tap*,ifb*,dummy*,bond*"


class Config(NamedTuple):
    """Everything the connector was told, read once.

    interval: seconds between reports. spacing: the least seconds between two. topic: filled in.
    """

    thing: str
    interval: int
    spacing: int
    short_names: bool
    report_format: str
    topic: str
    state_directory: str
    log_level: str
    wanted: Wanted


class Parameter(NamedTuple):
    """One parameter. `alias` is the name that older sample code used; `valid` says in words what `parse` takes."""

    name: str
    alias: Optional[str]
    default: str
    valid: str
    parse: Callable[[str], Any]


def _interval(text: str) -> int:
    if not re.fullmatch("[0-9]+", text) or int(text) < MIN_SAMPLE_INTERVAL:
        raise ValueError
    return min(int(text), 10**9)  # 32 years: any number is valid, and a clock can still add it


def _matching(pattern: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError
        return text

    return parse


def _one_of(*choices: str) -> Callable[[str], str]:
    return _matching("|".join(choices))


def _list_size(text: str) -> int:
    if not re.fullmatch("[0-9]{1,3}", text) or not 1 <= int(text) <= 500:
        raise ValueError
    return int(text)


def _items(text: str) -> Tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def _patterns(text: str) -> Tuple[str, ...]:
    patterns = _items(text)
    for pattern in patterns:
        try:
            re.compile(fnmatch.translate(pattern))
        except re.error as error:  # before Python 3.10 translate() lets [z-a] through
            raise ValueError from error
    return patterns


def _custom_metrics(text: str) -> Tuple[str, ...]:
    names = tuple(dict.fromkeys(_items(text)))
    if not set(names) <= set(CUSTOM_METRICS):
        raise ValueError
    return names


def _topic(text: str) -> str:
    """AWS IoT's limits; wildcards are for filters. What stands for {thing} and {format} is known to be harmless."""
    fixed = _filled(text, "", "")
    if not text or re.search(r"[+#{}\x00-\x1f\x7f-\x9f]", fixed) or len(text.encode("utf-8")) > LONGEST_TOPIC:
        raise ValueError
    return text


def _filled(topic: str, thing: str, report_format: str) -> str:
    return topic.replace("{thing}", thing).replace("{format}", report_format)


def _directory(text: str) -> str:
    if text and (not text.startswith("/") or "\0" in text):
        raise ValueError
    return text


PARAMETERS = (
    Parameter("SampleIntervalSeconds", "SAMPLE_INTERVAL_SECONDS", "300", "whole seconds, 300 or more", _interval),
    Parameter(
        "ProcDestinationPath",
        "PROCFS_PATH",
        "/host_proc",
        r"a path of one level, \/[a-zA-Z0-9_-]+",
        _matching(r"/[a-zA-Z0-9_-]+"),
    ),
    Parameter(
        "ProcDestinationPath-ResourceId",
        None,
        "",
        "[a-zA-Z0-9_-]+; only the group's definition needs it",
        _matching("[a-zA-Z0-9_-]*"),
    ),
    Parameter("MetricNames", None, "long", "long or short", _one_of("long", "short")),
    Parameter("ReportFormat", None, "json", "json or cbor", _one_of(*FORMATS)),
    Parameter("MaxListSize", None, "50", "1 to 500", _list_size),
    Parameter(
        "CustomMetrics",
        None,
        "",
        "empty, or names, separated by commas, of " + " ".join(CUSTOM_METRICS),
        _custom_metrics,
    ),
    Parameter("ExcludeInterfaces", None, DEFAULT_EXCLUDE, "shell patterns, separated by commas", _patterns),
    Parameter(
        "MetricsTopic",
        None,
        "$aws/things/{thing}/defender/metrics/{format}",
        "a topic of at most 256 bytes without + and #; {thing} and {format} are filled in",
        _topic,
    ),
    Parameter("StateDirectory", None, "", "an absolute path, or empty", _directory),
    Parameter("LogLevel", None, "INFO", "one of " + " ".join(LOG_LEVELS), _one_of(*LOG_LEVELS)),
)


def _default(name: str) -> str:
    return next(parameter.default for parameter in PARAMETERS if parameter.name == name)


def parse(environ: Mapping[str, str]) -> Tuple[Config, List[str]]:
    """Return the settings and, for each value that is not valid, a sentence that names it and what is used instead.

    Raises ConfigError where the core did not say which thing it is: there is no topic without it.
    """
    thing = environ.get("AWS_IOT_THING_NAME", "")
    if not re.fullmatch("[a-zA-Z0-9:_-]{1,128}", thing):
        raise ConfigError(
            "AWS_IOT_THING_NAME is {}: the Greengrass core sets it to the name of its thing (1 to 128 of "
            "a-zA-Z0-9:_-); without it there is no topic to report to".format(repr(thing[:160]) if thing else "not set")
        )
    values = {}
    warnings = []
    for parameter in PARAMETERS:
        name = parameter.name if parameter.name in environ else parameter.alias or parameter.name
        text = environ.get(name, parameter.default)
        try:
            values[parameter.name] = parameter.parse(text)
        except ValueError:
            values[parameter.name] = parameter.parse(parameter.default)
            warnings.append(
                f"{name} is {text[:160]!r}, which is not valid ({parameter.valid}): "
                f"{parameter.default!r} is used instead"
            )
    topic = _filled(values["MetricsTopic"], thing, values["ReportFormat"])
    if len(topic.encode("utf-8")) > LONGEST_TOPIC:
        default = _default("MetricsTopic")
        warnings.append(
            "MetricsTopic is {!r}, which is over {} bytes long once filled in: {!r} is used instead".format(
                values["MetricsTopic"][:160], LONGEST_TOPIC, default
            )
        )
        topic = _filled(default, thing, values["ReportFormat"])
    return (
        Config(
            thing=thing,
            interval=values["SampleIntervalSeconds"],
            spacing=MIN_SAMPLE_INTERVAL,
            short_names=values["MetricNames"] == "short",
            report_format=values["ReportFormat"],
            topic=topic,
            state_directory=values["StateDirectory"],
            log_level=values["LogLevel"],
            wanted=Wanted(
                proc=values["ProcDestinationPath"],
                max_list_size=values["MaxListSize"],
                exclude_interfaces=values["ExcludeInterfaces"],
                custom_metrics=values["CustomMetrics"],
            ),
        ),
        warnings,
    )
