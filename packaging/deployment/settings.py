"""How the connector shall run on a core: parameters, isolation, memory, and what follows from them.

Pure values, the same for Greengrass V1 and V2; each version's module writes them in its own API's shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deployment.errors import UsageError
from deployment.parameters import PARAMETERS, RESOURCE_ID

HANDLER = "connector.handler.function_handler"
CONTAINER, NO_CONTAINER = "GreengrassContainer", "NoContainer"

# The connector is built to live within a core's default of 16 MB, its benchmark included. The limit is no
# reservation, and the core counts its own Python runtime around the function, so the default leaves room for that.
DEFAULT_MEMORY_MB = 32

# A work item for the function is one answer of the service: some milliseconds of work. The service's default is 3 s,
# which a slow board under attack can miss; a function past its timeout is stopped.
TIMEOUT_SECONDS = 30

# The resource's id is the group's affair, not the function's.
_READ = tuple(parameter for parameter in PARAMETERS if parameter.name != RESOURCE_ID)

_LONGEST_TOPIC = 256  # bytes, which are characters here

# The ids under which a group or a router knows our subscriptions; stable, so that an upgrade replaces them.
REPORT, ACCEPTED, REJECTED = "device-defender-report", "device-defender-accepted", "device-defender-rejected"
SUBSCRIPTION_IDS = (REPORT, ACCEPTED, REJECTED)


@dataclass(frozen=True)
class Volume:
    """A directory of the host in the function's container."""

    source: str
    destination: str
    permission: str


@dataclass(frozen=True)
class Settings:
    """The wanted configuration of the function on a core."""

    parameters: dict[str, str]
    """Every parameter that the function reads, with its effective value."""
    isolation: str = CONTAINER
    memory_kb: int = DEFAULT_MEMORY_MB * 1024

    @property
    def environment(self) -> dict[str, str]:
        """The function's variables; where nothing is the default, nothing is set."""
        return {p.name: self.parameters[p.name] for p in _READ if self.parameters[p.name] or p.default}

    @property
    def encoding(self) -> str:
        """Input payload encoding: on the CBOR topic the service's answers are CBOR, which JSON decoding would break."""
        return "binary" if self.parameters["ReportFormat"] == "cbor" else "json"

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

    def subscriptions(self, function: str, thing: str) -> list[dict[str, str]]:
        """Return the three subscriptions of `function`: report to AWS IoT Core, accepted and rejected back.

        The report's subject is a filter for what the core itself sends, so `+` is enough. The answers come from the
        cloud, where a `+` would bring every core the answers for all cores: they name the `thing`.
        """
        # MQTT allows `+` only as a whole level.
        report = "/".join("+" if "{thing}" in level else level for level in self.topic.split("/"))
        answer = self.topic.replace("{thing}", thing)
        longest = len(f"{answer}/accepted")
        if longest > _LONGEST_TOPIC:
            raise UsageError(
                f"--MetricsTopic: with the thing's name and /accepted it has {longest} characters; "
                f"AWS IoT takes {_LONGEST_TOPIC}"
            )
        return [
            {"id": REPORT, "source": function, "subject": report, "target": "cloud"},
            {"id": ACCEPTED, "source": "cloud", "subject": f"{answer}/accepted", "target": function},
            {"id": REJECTED, "source": "cloud", "subject": f"{answer}/rejected", "target": function},
        ]

    def iot_policy(self, arn_prefix: str, things: str) -> dict[str, Any]:
        """Return the AWS IoT policy that lets cores named `things` (`*` allowed) report and hear the answers.

        `arn_prefix` is `arn:<partition>:iot:<region>:<account>`. Greengrass cores can't use thing policy variables:
        they hold several connections, whose client ids aren't all the thing's name.
        """
        return policy_for(arn_prefix, [self.topic.replace("{thing}", things)])

    def notes(self) -> list[str]:
        """Return what the person should know about this choice before it is deployed."""
        notes = []
        topic = next(p.default for p in PARAMETERS if p.name == "MetricsTopic")
        if self.parameters["MetricsTopic"] != topic:
            notes.append(f"Reports go to {self.topic}: its subscribers see them, AWS IoT Device Defender does not.")
        if self.parameters["StateDirectory"]:
            notes.append(
                f"{self.parameters['StateDirectory']} must exist on the device and be writable by the user or group "
                "that runs the function (ggc_user:ggc_group unless set otherwise)."
            )
        return notes


def policy_for(arn_prefix: str, topics: list[str]) -> dict[str, Any]:
    """Return the AWS IoT policy that allows reports on `topics`, and the answers to them."""
    answers = [f"{topic}/{answer}" for topic in topics for answer in ("accepted", "rejected")]
    lines = [
        ("iot:Publish", "topic", topics),
        ("iot:Subscribe", "topicfilter", answers),
        ("iot:Receive", "topic", answers),
    ]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": action, "Resource": [f"{arn_prefix}:{kind}/{topic}" for topic in on]}
            for action, kind, on in lines
        ],
    }


def make(given: dict[str, str], *, isolation: str = CONTAINER, memory_mb: int | None = None) -> Settings:
    """Return the settings for the parameters given, the others at their defaults; raise UsageError if they clash."""
    parameters = {p.name: p.default or "" for p in _READ}
    if isolation == NO_CONTAINER:
        parameters["ProcDestinationPath"] = "/proc"  # nothing is mounted: the function sees the host's own
    parameters.update({name: value for name, value in given.items() if name != RESOURCE_ID})

    proc = parameters["ProcDestinationPath"]
    if isolation == NO_CONTAINER and proc != "/proc":
        raise UsageError(f"--ProcDestinationPath {proc}: without a container nothing is mounted there; leave it out")
    if isolation == CONTAINER and proc == "/proc":
        raise UsageError(
            "--ProcDestinationPath /proc: would hide the container's own /proc; choose another path, "
            f"or --isolation {NO_CONTAINER}"
        )
    if isolation == NO_CONTAINER and memory_mb:
        raise UsageError("--memory: without a container nothing limits the function's memory; leave it out")
    return Settings(parameters, isolation, (memory_mb or DEFAULT_MEMORY_MB) * 1024)
