"""How the connector runs on a core: parameters, isolation, memory limit, and what follows from them.

Plain values, the same for Greengrass V1 and V2; each version's module writes them in its own API's shape.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from deployment.errors import UsageError
from deployment.parameters import PARAMETERS, RESOURCE_ID

HANDLER = "connector.handler.function_handler"
CONTAINER, NO_CONTAINER = "GreengrassContainer", "NoContainer"

# The connector stays within a core's default limit of 16 MB. The core counts its own Python runtime around the function
# as well, so the default is twice that. A limit reserves no memory.
DEFAULT_MEMORY_MB = 32

# A work item for the function is one answer of the service: some milliseconds of work. The core stops a function that
# takes longer than this; a slow board under attack can miss the default of 3 s.
TIMEOUT_SECONDS = 30

# With `json` the core's runtime decodes a message before the function gets it, and a JSON message of 129 KB takes more
# memory than a function of 16 MB has. With `binary` the function gets the bytes and ignores what is too long. On the
# CBOR topic the answers are CBOR, which the runtime's JSON decoding would break.
INPUT_ENCODING = "binary"

# The volume's id stands in the V1 group's definition; the function does not read it.
READ_BY_FUNCTION = tuple(parameter for parameter in PARAMETERS if parameter.name != RESOURCE_ID)

MAX_TOPIC_BYTES = 256  # AWS IoT's limit; parameters.json allows ASCII only

# The ids of our subscriptions in a group or a router. They stay the same, so that an upgrade replaces them.
REPORT, ACCEPTED, REJECTED = "device-defender-report", "device-defender-accepted", "device-defender-rejected"
VIOLATIONS = "device-defender-violations"
SUBSCRIPTION_IDS = (REPORT, ACCEPTED, REJECTED, VIOLATIONS)


class Topic(NamedTuple):
    """A topic that the cores publish on.

    name: the topic
    is_answered: whether the service answers below it, as it does for reports
    """

    name: str
    is_answered: bool = True


@dataclass(frozen=True)
class Volume:
    """A directory of the host in the function's container."""

    source: str
    destination: str
    permission: str


@dataclass(frozen=True)
class Settings:
    """The configuration of the function on a core.

    parameters: every parameter by name, with its effective value; the volume's id only where it was given
    isolation: GreengrassContainer or NoContainer
    memory_kb: the container's limit in KB; without a container it is not used
    variables: environment variables that the connector does not know and somebody else set
    """

    parameters: dict[str, str]
    isolation: str = CONTAINER
    memory_kb: int = DEFAULT_MEMORY_MB * 1024
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The function's environment variables; a parameter that is empty by default is set only if it has a value."""
        ours = {p.name: self.parameters[p.name] for p in READ_BY_FUNCTION if self.parameters[p.name] or p.default}
        return {**self.variables, **ours}

    @property
    def volumes(self) -> list[Volume]:
        """The container's volumes: the host's /proc, and StateDirectory (at its own path) when set."""
        if self.isolation == NO_CONTAINER:
            return []
        volumes = [Volume("/proc", self.parameters["ProcDestinationPath"], "ro")]
        state = self.parameters["StateDirectory"].rstrip("/")
        return volumes + [Volume(state, state, "rw")] if state else volumes

    @property
    def topic(self) -> str:
        """The report topic, with `{thing}` still in it."""
        return self.parameters["MetricsTopic"].replace("{format}", self.parameters["ReportFormat"])

    @property
    def profile_names(self) -> list[str]:
        """The security profiles that the zip must have."""
        return [item for item in self._profiles if not item.startswith("/")]

    @property
    def _profiles(self) -> list[str]:
        """The items of SecurityProfiles: names and absolute paths."""
        return _items(self.parameters["SecurityProfiles"])

    @property
    def violations_topic(self) -> str:
        """The topic of alarms' events, with `{thing}` still in it; empty where no profile is judged."""
        return self.parameters["ViolationsTopic"] if self._profiles else ""

    def topics(self, things: str) -> list[Topic]:
        """Return what cores named `things` publish on; `things` may be a pattern."""
        names = [Topic(self.topic), Topic(self.violations_topic, is_answered=False)]
        return [topic._replace(name=topic.name.replace("{thing}", things)) for topic in names if topic.name]

    @property
    def reaches_device_defender(self) -> bool:
        """Whether reports go to the service's own topic."""
        return self.parameters["MetricsTopic"] == default_of("MetricsTopic")

    @property
    def custom_metrics(self) -> list[str]:
        """The custom metrics that the reports hold."""
        return _items(self.parameters.get("CustomMetrics", ""))

    def check_topics(self, thing: str) -> None:
        """Raise UsageError if the thing's name makes a topic too long."""
        size = len(f"{self.topic.replace('{thing}', thing)}/accepted")
        if size > MAX_TOPIC_BYTES:
            raise UsageError(
                f"--MetricsTopic: with the thing's name and /accepted it has {size} characters; "
                f"AWS IoT takes {MAX_TOPIC_BYTES}"
            )
        size = len(self.violations_topic.replace("{thing}", thing))
        if size > MAX_TOPIC_BYTES:
            raise UsageError(
                f"--ViolationsTopic: with the thing's name it has {size} characters; AWS IoT takes {MAX_TOPIC_BYTES}"
            )

    def subscriptions(self, function: str, thing: str) -> list[dict[str, str]]:
        """Return the subscriptions of `function`: report to AWS IoT Core, accepted and rejected back, events to it.

        The subject of what the core itself sends filters that, so `+` is enough. The answers come from the cloud,
        where a `+` would bring every core the answers for all cores: they name the `thing`.

        Raises UsageError if the thing's name makes a topic too long.
        """
        self.check_topics(thing)
        answer = self.topic.replace("{thing}", thing)
        subscriptions = [
            {"id": REPORT, "source": function, "subject": filter_of(self.topic), "target": "cloud"},
            {"id": ACCEPTED, "source": "cloud", "subject": f"{answer}/accepted", "target": function},
            {"id": REJECTED, "source": "cloud", "subject": f"{answer}/rejected", "target": function},
        ]
        if not self.violations_topic:
            return subscriptions
        subject = filter_of(self.violations_topic)
        return [*subscriptions, {"id": VIOLATIONS, "source": function, "subject": subject, "target": "cloud"}]

    def iot_policy(self, arn_prefix: str, things: str) -> dict[str, Any]:
        """Return the AWS IoT policy that lets cores named `things` (`*` allowed) publish and receive the answers.

        `arn_prefix` is `arn:<partition>:iot:<region>:<account>`. Greengrass cores can't use thing policy variables:
        they hold several connections, whose client ids aren't all the thing's name.
        """
        return policy_for(arn_prefix, self.topics(things))

    def notes(self) -> list[str]:
        """Return what the person should know about these settings before they are deployed."""
        notes = []
        if not self.reaches_device_defender:
            notes.append(f"Reports go to {self.topic}: its subscribers receive them, AWS IoT Device Defender does not.")
        if self.parameters["StateDirectory"]:
            notes.append(
                f"{self.parameters['StateDirectory']} must exist on the device and be writable by the user or group "
                "that runs the connector (ggc_user:ggc_group unless set otherwise)."
            )
        if self.violations_topic:
            notes.append(
                f"Alarms go to {self.violations_topic}. Until something there tells a person, only the connector's log "
                "does: packaging/security_profiles/alarms.yaml makes e-mails and CloudWatch alarms of them."
            )
        for path in self._profiles:
            if path.startswith("/"):
                notes.append(
                    f"{path} must exist on the device and be readable by the user or group that runs the connector"
                    + (", in its container too." if self.isolation == CONTAINER else ".")
                )
        return notes


def default_of(name: str) -> str:
    """Return a parameter's default, "" if it has none."""
    return next(parameter.default or "" for parameter in PARAMETERS if parameter.name == name)


def policy_for(arn_prefix: str, topics: list[Topic]) -> dict[str, Any]:
    """Return the AWS IoT policy that allows to publish on `topics`, and the service's answers."""
    answers = [f"{topic.name}/{answer}" for topic in topics if topic.is_answered for answer in ("accepted", "rejected")]
    lines = [
        ("iot:Publish", "topic", [topic.name for topic in topics]),
        ("iot:Subscribe", "topicfilter", answers),
        ("iot:Receive", "topic", answers),
    ]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": action, "Resource": [f"{arn_prefix}:{kind}/{name}" for name in on]}
            for action, kind, on in lines
        ],
    }


def _items(text: str) -> list[str]:
    """Return the items of a list parameter, each once."""
    return list(dict.fromkeys(item.strip() for item in text.split(",") if item.strip()))


def filter_of(topic: str) -> str:
    """Return the filter for a topic with any thing's name; MQTT allows `+` only as a whole level."""
    return "/".join("+" if "{thing}" in level else level for level in topic.split("/"))


def make(
    given: dict[str, str],
    *,
    isolation: str = CONTAINER,
    memory_kb: int | None = None,
    variables: dict[str, str] | None = None,
) -> Settings:
    """Return the settings for the parameters given, the others at their defaults; raise UsageError if they clash."""
    parameters = {p.name: p.default or "" for p in READ_BY_FUNCTION}
    if isolation == NO_CONTAINER:
        parameters["ProcDestinationPath"] = "/proc"  # nothing is mounted: the function reads the host's own
    parameters.update(given)

    proc = parameters["ProcDestinationPath"]
    if isolation == NO_CONTAINER and proc != "/proc":
        raise UsageError(f"--ProcDestinationPath {proc}: without a container nothing is mounted there; leave it out")
    if isolation == CONTAINER and proc == "/proc":
        raise UsageError(
            "--ProcDestinationPath /proc: would hide the container's own /proc; choose another path, "
            f"or --isolation {NO_CONTAINER}"
        )
    if isolation == NO_CONTAINER and memory_kb:
        raise UsageError("--memory: without a container nothing limits the function's memory; leave it out")
    return Settings(parameters, isolation, memory_kb or DEFAULT_MEMORY_MB * 1024, variables or {})
