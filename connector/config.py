"""The connector's parameters: environment variables in, one immutable value out.

PARAMETERS describes each parameter once. The flags of all tools (flags.py), packaging/parameters.json, the
CloudFormation template and the documents' tables are made from it: packaging/generate_parameters.py.
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping, NamedTuple, Tuple

from . import names
from .encode import FORMATS
from .errors import ConfigError
from .kernel.host import METRICS
from .parameter import (
    MAX_SHOWN_CHARS,
    MAX_TOPIC_BYTES,
    MAX_TOPIC_SLASHES,
    Parameter,
    fill_in,
    list_pattern,
    parse_directory,
    parse_interface_pattern,
    parse_list_size,
    parse_topic,
    slashes,
    slashes_pattern,
    utf8_bytes,
)
from .snapshot import Wanted

MAX_REPORT_SLASHES = MAX_TOPIC_SLASHES - 1  # the topics of the service's answers have one more

# Seconds. The service accepts one report per thing in this time, whatever the reason for the next one.
MIN_SAMPLE_INTERVAL = 300

MAX_INTERVAL_SECONDS = 10**9  # 32 years; a longer one is valid and cut to this, so that it can be added to a clock

CUSTOM_METRICS = (names.CPU_USAGE,) + tuple(METRICS)
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
DEFAULT_EXCLUDE = (
    "lo,veth*,docker*,br-*,virbr*,cni*,flannel*,cali*,tap*,ifb*,dummy*,bond*,team*,vnet*,lxcbr*,lxdbr*,podman*,"
    "balena*,supervisor*,hassio"
)
THING = "AWS_IOT_THING_NAME"  # the environment variable with the thing's name, which a core sets
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
    security_profiles: names of profiles and absolute paths, in the order given, tuple of str
    violations_topic: where events of alarms go, filled in, str
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
    security_profiles: Tuple[str, ...]
    violations_topic: str
    log_level: str
    wanted: Wanted


def _interval(text: str) -> int:
    if not re.fullmatch("[0-9]+", text):
        raise ValueError
    # The slice, because Python 3.11 and later refuse to convert more than 4,300 digits.
    seconds = int(text.lstrip("0")[:11] or "0")
    if seconds < MIN_SAMPLE_INTERVAL:
        raise ValueError
    return min(seconds, MAX_INTERVAL_SECONDS)


def _custom_metric(text: str) -> str:
    if text not in CUSTOM_METRICS:
        raise ValueError
    return text


def _security_profile(text: str) -> str:
    if not re.fullmatch(r"[a-zA-Z0-9:_-]{1,128}|/[^,\0]+", text):
        raise ValueError
    return text


def _report_topic(text: str) -> str:
    if slashes(text) > MAX_REPORT_SLASHES:
        raise ValueError
    return parse_topic(text)


def _violations_topic(text: str) -> str:
    """As for reports, without {format}: events are JSON."""
    if "{format}" in text:
        raise ValueError
    return parse_topic(text)


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
        description="Where the connector finds the host's /proc: where it is mounted in a container, or /proc itself "
        "without one. /proc is also the default of the native component and of the direct agent.",
    ),
    Parameter(
        name=RESOURCE_ID,
        title="Resource for /proc directory",
        default="",
        valid="letters, digits, _ and -",
        pattern="[a-zA-Z0-9_-]+",
        description="Id of the volume resource for /proc in a Greengrass V1 group. It belongs to the group's "
        "definition; the connector does not read it.",
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
        parse=parse_list_size,
        description="Most entries of one list in a report. Of a longer list a uniform random sample is sent; its total "
        "stays exact.",
    ),
    Parameter(
        name="CustomMetrics",
        title="Custom metrics",
        default="",
        valid="names separated by commas, or empty: " + ", ".join(CUSTOM_METRICS),
        pattern=list_pattern(f"(?:{'|'.join(CUSTOM_METRICS)})"),
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
        pattern=list_pattern(r"[^\s,]+"),
        parse=parse_interface_pattern,
        is_list=True,
        description="Interfaces that network_stats leaves out; a list of your own replaces the default. VLANs of a "
        "counted interface are left out automatically. Name tunnels, overlays (wg0, tun0, vxlan0) and bridges over a "
        "counted interface, or their traffic is counted twice.",
    ),
    Parameter(
        name="MetricsTopic",
        title="Topic for reports",
        default=names.REPORT_TOPIC,
        valid=f"a topic of at most {MAX_TOPIC_BYTES} bytes and {MAX_REPORT_SLASHES} slashes without + and #; "
        "{thing} and {format} are filled in",
        pattern=slashes_pattern(MAX_REPORT_SLASHES) + r'(?=.{1,256}$)(?:[ -"$-*,-z|~]|\{thing\}|\{format\})+',
        parse=_report_topic,
        description="Where reports go. Another topic than the default reaches its subscribers, not AWS IoT Device "
        "Defender.",
    ),
    Parameter(
        name="StateDirectory",
        title="Directory for state",
        default="",
        valid="an absolute path, or empty",
        pattern=r"(?:/[^/\x00][^\x00]*)?",
        parse=parse_directory,
        description="Writable directory on the device where the last counters, unreported traffic, the report id and "
        "alarms are kept over a restart of the connector, so that the next report has the traffic in between. The "
        "default of the native component is its work folder.",
    ),
    Parameter(
        name="SecurityProfiles",
        title="Security profiles to judge on the device",
        default="",
        valid="names of profiles that come with the connector and absolute paths of files, separated by commas, or "
        "empty",
        pattern=list_pattern(r"(?:[a-zA-Z0-9:_-]{1,128}|/[^,\s\x00]+)"),
        parse=_security_profile,
        is_list=True,
        description="Security profiles of AWS IoT Device Defender Detect that the connector itself judges each reading "
        "by, on the device: names of those that come with it (such as RemoteManagementPorts), and absolute paths of "
        "JSON files. Alarms are logged and published to ViolationsTopic.",
    ),
    Parameter(
        name="ViolationsTopic",
        title="Topic for alarms",
        default=names.VIOLATIONS_TOPIC,
        valid=f"a topic of at most {MAX_TOPIC_BYTES} bytes and {MAX_TOPIC_SLASHES} slashes without + and #; "
        "{thing} is filled in",
        pattern=slashes_pattern(MAX_TOPIC_SLASHES) + r'(?=.{1,256}$)(?:[ -"$-*,-z|~]|\{thing\})+',
        parse=_violations_topic,
        description="Where the events of alarms go, in the shape of Device Defender's alert messages. A topic of Basic "
        "Ingest ($aws/rules/RULE/...) goes to that rule only.",
    ),
    Parameter(
        name="LogLevel",
        title="Log level",
        default="INFO",
        valid="one of " + " ".join(LOG_LEVELS),
        pattern="|".join(LOG_LEVELS),
        description="Least severe message that is logged.",
    ),
)


def replace_invalid(values: Dict[str, str], defaults: Mapping[str, str]) -> List[str]:
    """Replace invalid values by the defaults of a form of the connector; return a warning for each.

    defaults: by name, where they are not those of `PARAMETERS`, which `read` would use
    """
    warnings = []
    for parameter in PARAMETERS:
        if parameter.name in defaults:
            _, warning = parameter._replace(default=defaults[parameter.name]).read(values[parameter.name])
            if warning:
                values[parameter.name] = defaults[parameter.name]
                warnings.append(warning)
    return warnings


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
    thing = environ.get(THING, "")
    if not names.is_thing_name(thing):
        shown = repr(thing[:MAX_SHOWN_CHARS]) if thing else "not set"
        raise ConfigError(
            f"AWS_IOT_THING_NAME is {shown}: the Greengrass core sets it to the name of its thing "
            f"({names.VALID_THING_NAME}); without it there is no topic to report to"
        )
    values, warnings = read(environ)
    report_format = values["ReportFormat"]
    topic = _fill("MetricsTopic", values, names.REPORT_TOPIC, thing, report_format, warnings)
    violations_topic = _fill("ViolationsTopic", values, names.VIOLATIONS_TOPIC, thing, "", warnings)
    return (
        Config(
            thing=thing,
            interval=values["SampleIntervalSeconds"],
            spacing=MIN_SAMPLE_INTERVAL,
            short_names=values["MetricNames"] == "short",
            report_format=report_format,
            topic=topic,
            state_directory=values["StateDirectory"],
            security_profiles=values["SecurityProfiles"],
            violations_topic=violations_topic,
            log_level=values["LogLevel"],
            wanted=wanted(values),
        ),
        warnings,
    )


def _fill(
    name: str, values: Mapping[str, Any], default: str, thing: str, report_format: str, warnings: List[str]
) -> str:
    """Return a topic filled in; the default, with a warning, where it gets too long."""
    topic = fill_in(values[name], thing, report_format)
    if utf8_bytes(topic) <= MAX_TOPIC_BYTES:
        return topic
    warnings.append(
        f"{name} is {values[name][:MAX_SHOWN_CHARS]!r}, which is over {MAX_TOPIC_BYTES} bytes long once filled in: "
        f"{default!r} is used instead"
    )
    return fill_in(default, thing, report_format)
