"""The connector's parameters: environment variables in, one immutable value out.

PARAMETERS describes each parameter once. The flags of all tools (flags.py), packaging/parameters.json, the
CloudFormation template and the documents' tables are made from it: packaging/generate_parameters.py.
"""

from __future__ import annotations

import fnmatch
import re
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple

from . import names
from .encode import FORMATS
from .errors import ConfigError
from .kernel.host import METRICS
from .snapshot import Wanted

# Seconds. The service accepts one report per thing in this time, whatever the reason for the next one.
MIN_SAMPLE_INTERVAL = 300

MAX_INTERVAL_SECONDS = 10**9  # 32 years; a longer one is valid and cut to this, so that it can be added to a clock
MAX_TOPIC_BYTES = 256  # AWS IoT's limit
MAX_SHOWN_CHARS = 160  # of an invalid value in a warning
MAX_SHOWN_ITEMS = 10  # of an invalid list in a warning

CUSTOM_METRICS = (names.CPU_USAGE,) + tuple(METRICS)
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
DEFAULT_EXCLUDE = (
    "lo,veth*,docker*,br-*,virbr*,cni*,flannel*,cali*,tap*,ifb*,dummy*,bond*,team*,vnet*,lxcbr*,lxdbr*,podman*,"
    "balena*,supervisor*,hassio"
)
RESOURCE_ID = "ProcDestinationPath-ResourceId"


class Config(NamedTuple):
    """All settings, read once.

    thing: name of the core's thing, str
    interval: time between reports, seconds
    spacing: least time between two reports, retries included, seconds
    short_names: whether reports have short field names, bool
    report_format: "json" or "cbor"
    topic: where reports go, filled in, str
    state_directory: absolute path, or "" where nothing is kept
    log_level: name of a level of `logging`, str
    wanted: what a snapshot reads, Wanted
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
    """One parameter.

    name: of the environment variable and, after --, of the flag, str
    title: label in forms, str
    default: the value where none is set, str
    valid: which values are valid, in words, str
    pattern: regular expression that the tools match a whole value with; the connector may accept a little more, str
    description: what the parameter does, one or a few sentences, str
    parse: text to value, ValueError if invalid; of a list, one item; None where the pattern decides and text is kept
    is_list: whether the value is items separated by commas, bool
    alias: name that older sample code used, accepted too where `name` is not set, str or None
    """

    name: str
    title: str
    default: str
    valid: str
    pattern: str
    description: str
    parse: Optional[Callable[[str], Any]] = None
    is_list: bool = False
    alias: Optional[str] = None

    def allows(self, text: str) -> bool:
        """Return whether the tools accept this value; the connector accepts every value that they do."""
        return re.fullmatch(self.pattern, text) is not None

    def read(self, text: str, shown_name: str = "") -> Tuple[Any, str]:
        """Return the value and a warning: "" if valid, else what is invalid and what is used instead.

        An invalid item of a list is left out; the default is used where no valid item remains.
        """
        name = shown_name or self.name
        if self.is_list:
            items, invalid = _parse_items(text, self.parse)
            if not invalid:
                return items, ""
            if items:
                shown = ", ".join(map(repr, invalid[:MAX_SHOWN_ITEMS]))[:MAX_SHOWN_CHARS]
                return items, f"{name} has {shown}, not valid and left out ({self.valid}): the other items are used"
        else:
            try:
                return self._parse(text), ""
            except ValueError:
                pass
        return self.read(self.default)[0], (
            f"{name} is {text[:MAX_SHOWN_CHARS]!r}, which is not valid ({self.valid}): {self.default!r} is used instead"
        )

    def _parse(self, text: str) -> Any:
        if self.parse is not None:
            return self.parse(text)
        if text != self.default and not re.fullmatch(self.pattern, text):
            raise ValueError
        return text


def _parse_items(text: str, parse: Optional[Callable[[str], Any]]) -> Tuple[Tuple[Any, ...], List[str]]:
    """Return the values of a list's valid items, each once, and its invalid items."""
    assert parse is not None
    values: Dict[Any, None] = {}
    invalid = []
    for item in filter(None, map(str.strip, text.split(","))):
        try:
            values[parse(item)] = None
        except ValueError:
            invalid.append(item)
    return tuple(values), invalid


def _interval(text: str) -> int:
    if not re.fullmatch("[0-9]+", text):
        raise ValueError
    # The slice, because Python 3.11 and later refuse to convert more than 4,300 digits.
    seconds = int(text.lstrip("0")[:11] or "0")
    if seconds < MIN_SAMPLE_INTERVAL:
        raise ValueError
    return min(seconds, MAX_INTERVAL_SECONDS)


def _list_size(text: str) -> int:
    if not re.fullmatch("[0-9]{1,3}", text) or not 1 <= int(text) <= 500:
        raise ValueError
    return int(text)


def _interface_pattern(text: str) -> str:
    if re.search(r"\s", text):  # no interface has one in its name: a list without its commas
        raise ValueError
    try:
        re.compile(fnmatch.translate(text))
    except re.error as error:  # before Python 3.10 translate() accepts [z-a]
        raise ValueError from error
    return text


def _custom_metric(text: str) -> str:
    if text not in CUSTOM_METRICS:
        raise ValueError
    return text


def _topic(text: str) -> str:
    """Apply AWS IoT's limits; wildcards are for filters. The values of {thing} and {format} are valid in any topic."""
    fixed = _filled(text, "", "")
    if not text or re.search(r"[+#{}\x00-\x1f\x7f-\x9f]", fixed) or _bytes(text) > MAX_TOPIC_BYTES:
        raise ValueError
    return text


def _bytes(text: str) -> int:
    return len(text.encode("utf-8"))


def _filled(topic: str, thing: str, report_format: str) -> str:
    return topic.replace("{thing}", thing).replace("{format}", report_format)


def _directory(text: str) -> str:
    if text and (not text.startswith("/") or "\0" in text):
        raise ValueError
    return text


def _list_pattern(item: str) -> str:
    return f"(?: *{item}(?: *, *{item})* *)?"


PARAMETERS = (
    Parameter(
        name="SampleIntervalSeconds",
        alias="SAMPLE_INTERVAL_SECONDS",
        title="Metrics reporting interval",
        default="300",
        valid="whole seconds, 300 or more",
        pattern="^[0-9]*(?:3[0-9][0-9]|[4-9][0-9]{2}|[1-9][0-9]{3,})$",
        parse=_interval,
        description="Seconds between reports. 300 is the least that AWS IoT Device Defender accepts.",
    ),
    Parameter(
        name="ProcDestinationPath",
        alias="PROCFS_PATH",
        title="Destination path of /proc resource",
        default="/host_proc",
        valid="a path of one level, of letters, digits, _ and -",
        pattern=r"\/[a-zA-Z0-9_-]+",
        description="Where the host's /proc is mounted in the function's file system; /proc itself where the function "
        "runs without a container.",
    ),
    Parameter(
        name=RESOURCE_ID,
        title="Resource for /proc directory",
        default="",
        valid="letters, digits, _ and -",
        pattern="[a-zA-Z0-9_-]+",
        description="Id of the volume resource for /proc in a Greengrass V1 group. It belongs to the group's "
        "definition; the function does not read it.",
    ),
    Parameter(
        name="MetricNames",
        title="Names of report fields",
        default="long",
        valid="long or short",
        pattern="long|short",
        description="Field names in the report: long (bytes_out) or short (bo).",
    ),
    Parameter(
        name="ReportFormat",
        title="Report format",
        default=names.JSON,
        valid=" or ".join(FORMATS),
        pattern="|".join(FORMATS),
        description="Encoding of the report, and with it the last level of the topic.",
    ),
    Parameter(
        name="MaxListSize",
        title="Longest list in a report",
        default="50",
        valid="1 to 500",
        pattern="[1-9][0-9]?|[1-4][0-9]{2}|500",
        parse=_list_size,
        description="Most entries of one list in a report. Of a longer list a uniform random sample is sent; its total "
        "stays exact.",
    ),
    Parameter(
        name="CustomMetrics",
        title="Custom metrics",
        default="",
        valid="names separated by commas, or empty: " + ", ".join(CUSTOM_METRICS),
        pattern=_list_pattern(f"(?:{'|'.join(CUSTOM_METRICS)})"),
        parse=_custom_metric,
        is_list=True,
        description="Extra metrics of the host. cpu_usage (since the last report) and memory_usage are in percent. "
        "Each must exist in the AWS account as a custom metric.",
    ),
    Parameter(
        name="ExcludeInterfaces",
        title="Network interfaces to leave out",
        default=DEFAULT_EXCLUDE,
        valid="shell patterns separated by commas, or empty",
        pattern=_list_pattern(r"[^\s,]+"),
        parse=_interface_pattern,
        is_list=True,
        description="Interfaces that network_stats leaves out; a list of your own replaces the default. VLANs of a "
        "counted interface are left out automatically. Name tunnels, overlays (wg0, tun0, vxlan0) and bridges over a "
        "counted interface, or their traffic is counted twice.",
    ),
    Parameter(
        name="MetricsTopic",
        title="Topic for reports",
        default=names.REPORT_TOPIC,
        valid=f"a topic of at most {MAX_TOPIC_BYTES} bytes without + and #; {{thing}} and {{format}} are filled in",
        pattern=r'(?=.{1,256}$)(?:[ -"$-*,-z|~]|\{thing\}|\{format\})+',
        parse=_topic,
        description="Where reports go. Another topic than the default reaches its subscribers, not AWS IoT Device "
        "Defender.",
    ),
    Parameter(
        name="StateDirectory",
        title="Directory for state",
        default="",
        valid="an absolute path, or empty",
        pattern=r"(?:/[^/\x00][^\x00]*)?",
        parse=_directory,
        description="Writable directory on the device where the baseline of network_stats is kept over a restart of "
        "the function, so that the next report has the traffic in between.",
    ),
    Parameter(
        name="LogLevel",
        title="Log level",
        default="INFO",
        valid="one of " + " ".join(LOG_LEVELS),
        pattern="|".join(LOG_LEVELS),
        description="Least severe message that the function logs.",
    ),
)


def read(environ: Mapping[str, str]) -> Tuple[Dict[str, Any], List[str]]:
    """Return each parameter's value by its name, and a warning for each one that is invalid or has invalid items."""
    values = {}
    warnings = []
    for parameter in PARAMETERS:
        name = parameter.name if parameter.name in environ else parameter.alias or parameter.name
        values[parameter.name], warning = parameter.read(environ.get(name, parameter.default), name)
        if warning:
            warnings.append(warning)
    return values, warnings


def wanted(values: Mapping[str, Any]) -> Wanted:
    """Return what a snapshot reads, of the values that `read` returned."""
    return Wanted(
        proc=values["ProcDestinationPath"],
        max_list_size=values["MaxListSize"],
        exclude_interfaces=values["ExcludeInterfaces"],
        custom_metrics=values["CustomMetrics"],
    )


def parse(environ: Mapping[str, str]) -> Tuple[Config, List[str]]:
    """Return the settings and a warning for each invalid value, which says what is used instead.

    Raises ConfigError where AWS_IOT_THING_NAME, which the core sets, is missing or invalid: there is no topic without.
    """
    thing = environ.get("AWS_IOT_THING_NAME", "")
    if not re.fullmatch("[a-zA-Z0-9:_-]{1,128}", thing):
        shown = repr(thing[:MAX_SHOWN_CHARS]) if thing else "not set"
        raise ConfigError(
            f"AWS_IOT_THING_NAME is {shown}: the Greengrass core sets it to the name of its thing (1 to 128 of "
            "a-zA-Z0-9:_-); without it there is no topic to report to"
        )
    values, warnings = read(environ)
    template, report_format = values["MetricsTopic"], values["ReportFormat"]
    topic = _filled(template, thing, report_format)
    if _bytes(topic) > MAX_TOPIC_BYTES:
        warnings.append(
            f"MetricsTopic is {template[:MAX_SHOWN_CHARS]!r}, which is over {MAX_TOPIC_BYTES} bytes long once filled "
            f"in: {names.REPORT_TOPIC!r} is used instead"
        )
        topic = _filled(names.REPORT_TOPIC, thing, report_format)
    return (
        Config(
            thing=thing,
            interval=values["SampleIntervalSeconds"],
            spacing=MIN_SAMPLE_INTERVAL,
            short_names=values["MetricNames"] == "short",
            report_format=report_format,
            topic=topic,
            state_directory=values["StateDirectory"],
            log_level=values["LogLevel"],
            wanted=wanted(values),
        ),
        warnings,
    )
