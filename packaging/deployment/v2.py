"""Greengrass V2: the deployment that brings the connector to a target.

A target (a thing or a thing group) has one deployment; a new one replaces it, and components it doesn't name are
removed from the cores. So each deployment made here starts from the target's current one.

The connector is a component of one of two kinds: v2_function.py, v2_native.py. A core runs one of them: both would
report for the same thing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from deployment import cores
from deployment.aws import Aws, Waiting
from deployment.configuration import readable
from deployment.errors import DeployError
from deployment.intent import Deployed
from deployment.plan import Change, Document
from deployment.rollout import Rollout, is_in_force
from deployment.settings import Settings

AWS_COMPONENT = "aws.greengrass.DeviceDefender"
LITE = "aws_nucleus_lite"

# What a deployment has beside its components, and a revision of it keeps.
_KEPT = ("deploymentName", "deploymentPolicies", "iotJobConfiguration", "parentTargetArn", "tags")


def title_of(kind: str, name: str) -> str:
    """Return a target as messages name it. kind: thing or thinggroup, as in its ARN."""
    return f"{'thing group' if kind == 'thinggroup' else kind} {name}"


def title_of_arn(arn: str) -> str:
    """Return the target that has the ARN as messages name it. Its name may have colons."""
    kind, _, name = arn.split(":", 5)[5].partition("/")
    return title_of(kind, name)


@dataclass
class Target(ABC):
    """A thing or a thing group with its deployment, and the connector's component.

    kind: thing or thinggroup
    component: name of the component
    other: name of the component of the other kind, which this one replaces
    runtime: Lambda's name of the zip's Python, empty without a zip
    notes: what the person should know about the changes last computed
    """

    aws: Aws
    kind: str
    name: str
    component: str
    other: str
    connector_version: str = "0.0.0"
    arch: str = "any"
    runtime: str = ""
    notes: list[str] = field(default_factory=list)
    _current: Document = field(default_factory=dict, init=False)

    @property
    def _client(self) -> Any:
        return self.aws.client("greengrassv2")

    @property
    def title(self) -> str:
        """The target as messages name it."""
        return title_of(self.kind, self.name)

    @property
    def arn(self) -> str:
        """The target's ARN."""
        return self.aws.arn("iot", f"{self.kind}/{self.name}")

    @property
    @abstractmethod
    def log(self) -> str:
        """The files on a core that say why a deployment failed."""

    @property
    def thing(self) -> str | None:
        """The thing, None for a thing group."""
        return self.name if self.kind == "thing" else None

    @property
    def principals(self) -> list[str]:
        """What an AWS IoT policy for the target's cores is attached to."""
        if self.kind == "thinggroup":
            return [self.arn]
        return self.aws.pages("iot", "list_thing_principals", "principals", thingName=self.name)

    @cached_property
    def rollout(self) -> Rollout:
        """The target's cores."""
        return Rollout(self.aws, self.kind, self.name)

    def read(self) -> None:
        """Read the target's current deployment, from which everything else starts.

        Raises botocore's ClientError if there is no such thing or thing group.
        """
        if self.kind == "thinggroup":
            self.aws.client("iot").describe_thing_group(thingGroupName=self.name)
        else:
            self.aws.client("iot").describe_thing(thingName=self.name)
        self._current = self.latest()

    @property
    def _components(self) -> Document:
        """The components of the current deployment."""
        return dict(self._current.get("components", {}))

    def deployed(self, must_be_readable: bool = True) -> Deployed | None:
        """Return the connector's settings in the current deployment, None if it is not in it.

        Those of the other kind's component count where it has only that. Raises DeployError if the component can't be
        read, so that its settings would be lost.
        """
        components = self._components
        name = self.component if self.component in components else self.other
        if name not in components:
            return None
        spec = components[name]
        found = self.settings_in(spec) if name == self.component else self._settings_of_other(spec)
        if found or not must_be_readable:
            return found
        raise DeployError(
            f"component {name} {spec['componentVersion']}, which {self.title} has, can't be read any more, so its "
            "settings would be lost: name all of them and pass --reset all"
        )

    @abstractmethod
    def settings_in(self, spec: Document) -> Deployed | None:
        """Return the settings of the component as a deployment has it, None if they can't be read."""

    @abstractmethod
    def _settings_of_other(self, spec: Document) -> Deployed | None:
        """Return the settings of the other kind's component as the deployment has it, None if they can't be read."""

    @abstractmethod
    def changes(self, settings: Settings, location: str) -> list[Change]:
        """Return what brings the connector, with these settings, to the target.

        location: of the code, as the component names it
        """

    def removals(self) -> list[Change]:
        """Return what takes the connector off the target, and only it."""
        components, tags = self._components, dict(self._current.get("tags", {}))
        if self.component not in components:
            self.notes = [f"{self.component} is not in the deployment for {self.title}."]
            # Where that deployment failed, the cores may still run what one before it brought.
            again = self._deployment(components, tags) if self._current else []
            return again if again and self._was_here() else []
        return self._deployment(*self._without(components, tags))

    @abstractmethod
    def _without(self, components: Document, tags: dict[str, str]) -> tuple[Document, dict[str, str]]:
        """Return a deployment's components and tags without the connector and what belongs to it."""

    @abstractmethod
    def python_notes(self, deployed: Deployed | None) -> list[str]:
        """Return a note if the zip is for another Python than the connector on the cores now. They report none."""

    def wait(self, waiting: Waiting) -> None:
        """Wait until every core has answered; raise DeployError with the reasons if one failed."""
        current = self.latest()
        if not current:
            return

        def ask() -> tuple[str, bool]:
            now = self._client.get_deployment(deploymentId=current["deploymentId"])
            state, done = self.rollout.progress(now)
            return state, done or not is_in_force(now)

        waiting.until_done(ask)
        current = self._client.get_deployment(deploymentId=current["deploymentId"])
        if not self.rollout.succeeded(current):
            failure = f"{current['deploymentStatus']}, {self.rollout.progress(current)[0]}"
            failed = [core for core in self.rollout.cores(current) if core.state in cores.FAILED]
            if self.thing and failed:
                reason = self.rollout.reason(failed[0], current) or "no reason given"
                failure = f"{failed[0].state.upper()}: {reason}; see {self.log}"
            elif failed:
                shown = [self.rollout.with_reason(core, current) for core in failed[: cores.MAX_SHOWN_CORES]]
                for line in cores.lines(shown, self.aws.now(), self.log, len(failed)):
                    waiting.say(line.strip())
            raise DeployError(f"deployment {current['deploymentId']} for {self.name}: {failure}")

    def settled(self) -> bool:
        """Return whether every core has taken the current deployment, so that none runs what was before it."""
        current = self.latest()
        return not current or (self.rollout.progress(current)[1] and self.rollout.succeeded(current))

    def check_unchanged(self) -> None:
        """Raise DeployError if the target got another deployment since it was read."""
        latest = self.latest().get("deploymentId", "")
        if latest != self._current.get("deploymentId", ""):
            raise DeployError(
                f"{self.title} got another deployment meanwhile, {latest}, which stays as it is: run this "
                "again to see what would change now"
            )

    # The deployment

    def latest(self) -> Document:
        """Return the target's current deployment, {} without one."""
        return next(self._revisions("LATEST_ONLY"), {})

    def _was_here(self) -> bool:
        return any(self.component in revision.get("components", {}) for revision in self._revisions("ALL"))

    def _revisions(self, history: str) -> Iterator[Document]:
        """Yield the target's deployments."""
        for found in self.aws.pages(
            "greengrassv2", "list_deployments", "deployments", targetArn=self.arn, historyFilter=history
        ):
            yield self._client.get_deployment(deploymentId=found["deploymentId"])

    def _deployment(self, components: Document, tags: dict[str, str]) -> list[Change]:
        """Return the change that makes a deployment of these components; none where the current one is that."""
        current = self._current
        before, after = readable(current.get("components", {})), readable(components)
        # In a group some core may always have failed: `status` names it.
        in_force = is_in_force if self.kind == "thinggroup" else self.rollout.succeeded
        succeeded = bool(current) and in_force(current)
        if before == after and succeeded:
            return []
        if current and not succeeded:
            self.notes.append(f"The last deployment ({current['deploymentId']}) did not succeed.")
        title = f"deployment for {self.title}"
        shown_before = before if current and before != after else None
        return [Change(title, shown_before, after, partial(self._deploy, components, tags))]

    def _deploy(self, components: Document, tags: dict[str, str]) -> None:
        self.check_unchanged()  # once more: making the component took its time
        name = f"{self.name} with {self.component}"[:256]
        # CloudFormation's tags are on what it made; nobody else may ask for such a tag.
        tags = {key: value for key, value in tags.items() if not key.startswith("aws:")}
        kept = {key: value for key, value in {**self._current, "tags": tags}.items() if key in _KEPT and value}
        self._client.create_deployment(targetArn=self.arn, components=components, **{"deploymentName": name, **kept})

    # What can be known beforehand

    @cached_property
    def _platform_notes(self) -> list[str]:
        """Notes on cores that can't run the component, by what they report; raises DeployError if none can."""
        known = list(self.rollout.devices())
        if not known:
            if self.kind == "thinggroup":
                return []
            return [f"Thing {self.name} is no Greengrass V2 core yet; the deployment waits until it is."]
        faults = {core["coreDeviceThingName"]: self._unfit(core) for core in known}
        faults = {thing: fault for thing, fault in faults.items() if fault}
        if len(faults) == len(known):
            thing, fault = next(iter(faults.items()))
            others = f" (and so are the other {len(faults) - 1:,} cores)" if len(faults) > 1 else ""
            raise DeployError(f"core {thing} {fault}{others}")
        if not faults:
            return []
        named = "; ".join(f"{thing} {fault}" for thing, fault in sorted(faults.items())[: cores.MAX_SHOWN_CORES])
        more = len(faults) - cores.MAX_SHOWN_CORES
        return [
            f"{len(faults):,} of {len(known):,} cores can't run this and will fail the deployment: {named}"
            f"{f'; and {more:,} more' if more > 0 else ''}."
        ]

    @abstractmethod
    def _unfit(self, core: Document) -> str:
        """Return why a core can't run the component, by what it reports; empty if it can."""

    @property
    def _aws_component_note(self) -> list[str]:
        """A note where the deployment holds AWS's own component for the same purpose."""
        if AWS_COMPONENT not in self._components:
            return []
        return [
            f"The deployment also holds {AWS_COMPONENT}. Both report for the same thing, and the service takes "
            "one report in 300 s: remove that component."
        ]

    @property
    @abstractmethod
    def other_flag(self) -> str:
        """The option with which the command line chooses the other kind of component."""

    def _replaced_note(self) -> str:
        return (
            f"{self.component} replaces {self.other}, in the same deployment and with its settings: both would report "
            "for the same thing."
        )
