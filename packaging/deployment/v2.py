"""Greengrass V2: the deployment that brings the component and its subscriptions to a target.

A target (a thing or a thing group) has one deployment; a new one replaces it, and components it doesn't name are
removed from the cores. So each deployment made here starts from the target's current one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

from botocore.exceptions import ClientError

from deployment import cores, function, router
from deployment.aws import Aws, Waiting, missing
from deployment.component import ARCHITECTURES, ROUTER, Component, deployed_of, lambda_function
from deployment.cores import Core
from deployment.errors import DeployError
from deployment.intent import Deployed
from deployment.plan import Change, Document
from deployment.settings import Settings

NUCLEUS = "aws.greengrass.Nucleus"
AWS_COMPONENT = "aws.greengrass.DeviceDefender"
LIGHT = "aws_nucleus_lite"

# On a deployment: it had no router before, so the router is removed with the last of its subscriptions.
ROUTER_TAG = "device-defender-connector:router"

# A core's states in a deployment, and their names in a job's counters.
_STATES = {
    "queued": "Queued",
    "in progress": "InProgress",
    "succeeded": "Succeeded",
    "failed": "Failed",
    "rejected": "Rejected",
    "timed out": "TimedOut",
    "canceled": "Canceled",
    "removed": "Removed",
}

# What a deployment has beside its components, and a revision of it keeps.
_KEPT = ("deploymentName", "deploymentPolicies", "iotJobConfiguration", "parentTargetArn", "tags")


@dataclass
class Target:
    """A thing or a thing group with its deployment, and the connector's component.

    kind: thing or thinggroup
    runtime: Lambda's name of the zip's Python, empty without a zip
    router_version: version of the router to deploy; None: the target's own, else the newest
    notes: what the person should know about the changes last computed
    """

    aws: Aws
    kind: str
    name: str
    component: str
    connector_version: str = "0.0.0"
    arch: str = "any"
    runtime: str = ""
    router_version: str | None = None
    notes: list[str] = field(default_factory=list)
    _current: Document = field(default_factory=dict, init=False)

    @property
    def _client(self) -> Any:
        return self.aws.client("greengrassv2")

    @property
    def title(self) -> str:
        """The target as messages name it."""
        return f"{self.kind} {self.name}"

    @property
    def arn(self) -> str:
        """The target's ARN."""
        return self.aws.arn("iot", f"{self.kind}/{self.name}")

    @property
    def log(self) -> str:
        """The files on a core that say why a deployment failed."""
        return f"/greengrass/v2/logs/greengrass.log and /greengrass/v2/logs/{self.component}.log"

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

    def read(self) -> None:
        """Read the target's current deployment, from which everything else starts.

        Raises botocore's ClientError if there is no such thing or thing group.
        """
        if self.kind == "thinggroup":
            self.aws.client("iot").describe_thing_group(thingGroupName=self.name)
        else:
            self.aws.client("iot").describe_thing(thingName=self.name)
        self._current = self.latest()

    def deployed(self, must_be_readable: bool = True) -> Deployed | None:
        """Return the connector's settings in the current deployment, None if it is not in it.

        Raises DeployError if its component can't be read, so that its settings would be lost.
        """
        spec = self._current.get("components", {}).get(self.component)
        if not spec:
            return None
        version = spec["componentVersion"]
        made_of = Component(self.aws, self.component).settings_of(version)
        if not made_of and not must_be_readable:
            return None
        if not made_of:
            raise DeployError(
                f"component {self.component} {version}, which {self.title} has, can't be read any more, so its "
                "settings would be lost: name all of them and pass --reset all"
            )
        return deployed_of(made_of)

    def changes(self, settings: Settings, function_arn: str) -> list[Change]:
        """Return what brings the connector, with these settings, to the target."""
        current = self._current
        components = dict(current.get("components", {}))
        deployed = components.get(self.component, {})
        self.notes = [*self._platform_notes, *self._remarks(components)]

        changes = []
        component = Component(self.aws, self.component)
        made_of = lambda_function(settings, function_arn, self.component, self.arch)
        version, exists = component.version_for(made_of, self.connector_version)
        if not exists:
            before = component.settings_of(deployed["componentVersion"]) if deployed else {}
            make = partial(component.make, made_of, version)
            changes.append(Change(f"component {self.component} {version}", before or None, made_of, make))
        tags = current.get("tags", {}) | ({} if ROUTER in components else {ROUTER_TAG: "added"})
        # A core ranks a new version's defaults, our settings, below what it has: only a reset lets them through.
        update = {**deployed.get("configurationUpdate", {}), "reset": [""]}
        components[self.component] = {**deployed, "componentVersion": version, "configurationUpdate": update}
        components[ROUTER] = router.merged(
            components.get(ROUTER), self._subscriptions(settings), self.aws, self.router_version
        )
        return changes + self._deployment(current, components, tags)

    def _subscriptions(self, settings: Settings) -> dict[str, Document]:
        """Return our subscriptions; a group's cores each fill in their own name, by a variable of their nucleus."""
        thing = self.name if self.kind == "thing" else "{iot:thingName}"
        return {entry["id"]: entry for entry in settings.subscriptions(f"component:{self.component}", thing)}

    def removals(self) -> list[Change]:
        """Return what takes the connector off the target, and only it."""
        current = self._current
        components = dict(current.get("components", {}))
        if self.component not in components:
            self.notes = [f"{self.component} is not in the deployment for {self.title}."]
            # Where that deployment failed, the cores may still run what one before it brought.
            again = self._deployment(current, components, current.get("tags", {})) if current else []
            return again if again and self._was_here() else []
        del components[self.component]
        tags = dict(current.get("tags", {}))
        if ROUTER in components:
            components[ROUTER] = router.merged(components[ROUTER], {}, self.aws, self.router_version)
            if tags.pop(ROUTER_TAG, None) and "merge" not in components[ROUTER]["configurationUpdate"]:
                del components[ROUTER]
        return self._deployment(current, components, tags)

    def wait(self, waiting: Waiting) -> None:
        """Wait until every core has answered; raise DeployError with the reasons if one failed."""
        current = self.latest()
        if not current:
            return

        def ask() -> tuple[str, bool]:
            now = self._client.get_deployment(deploymentId=current["deploymentId"])
            state, done = self.progress(now)
            return state, done or not is_in_force(now)

        waiting.until_done(ask)
        current = self._client.get_deployment(deploymentId=current["deploymentId"])
        if not self.succeeded(current):
            failure = f"{current['deploymentStatus']}, {self.progress(current)[0]}"
            failed = [core for core in self.cores(current) if core.state in cores.FAILED]
            if self.thing and failed:
                core = failed[0]
                failure = f"{core.state.upper()}: {self.reason(core, current) or 'no reason given'}; see {self.log}"
            elif failed:
                shown = [self.with_reason(core, current) for core in failed[: cores.MAX_SHOWN_CORES]]
                for line in cores.lines(shown, self.aws.now(), self.log, len(failed)):
                    waiting.say(line.strip())
            raise DeployError(f"deployment {current['deploymentId']} for {self.name}: {failure}")

    def settled(self) -> bool:
        """Return whether every core has taken the current deployment, so that none runs what was before it."""
        current = self.latest()
        return not current or (self.progress(current)[1] and self.succeeded(current))

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

    def _deployment(self, current: Document, components: Document, tags: dict[str, str]) -> list[Change]:
        before, after = _readable(current.get("components", {})), _readable(components)
        # In a group some core may always have failed: `status` names it.
        succeeded = bool(current) and (is_in_force(current) if self.kind == "thinggroup" else self.succeeded(current))
        if before == after and succeeded:
            return []
        if current and not succeeded:
            self.notes.append(f"The last deployment ({current['deploymentId']}) did not succeed.")
        title = f"deployment for {self.title}"
        shown_before = before if current and before != after else None
        return [Change(title, shown_before, after, partial(self._deploy, current, components, tags))]

    def _deploy(self, current: Document, components: Document, tags: dict[str, str]) -> None:
        self.check_unchanged()  # once more: making the component took its time
        name = f"{self.name} with {self.component}"[:256]
        # CloudFormation's tags are on what it made; nobody else may ask for such a tag.
        tags = {key: value for key, value in tags.items() if not key.startswith("aws:")}
        kept = {key: value for key, value in {**current, "tags": tags}.items() if key in _KEPT and value}
        self._client.create_deployment(targetArn=self.arn, components=components, **{"deploymentName": name, **kept})

    def progress(self, deployment: Document) -> tuple[str, bool]:
        """Return how far the deployment is, as text, and whether no core is left to wait for."""
        details = self._job_details(deployment)
        if details is None:
            return "its AWS IoT job is no longer there", True
        counts = _counts(details)
        if not any(counts.values()):
            return ("no core has it yet", False) if self._things else ("no core in the group yet", True)
        text = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        done = not any(counts[state] for state in cores.UNDER_WAY)
        # Null once the job was sent to all. For a job that goes on for a group, the documentation does not say when.
        if done and details.get("processingTargets") and sum(counts.values()) < len(self._things):
            return f"{text}, more to come", False
        return text, done

    @cached_property
    def _things(self) -> list[str]:
        if self.kind == "thing":
            return [self.name]
        return self.aws.pages("iot", "list_things_in_thing_group", "things", thingGroupName=self.name, recursive=True)

    def _job_details(self, deployment: Document) -> Document | None:
        """Return how far the AWS IoT job is that carries the deployment, None if it is no longer there."""
        try:
            job = self.aws.client("iot").describe_job(jobId=deployment["iotJobId"])["job"]
        except ClientError as error:
            if missing(error):
                return None
            raise
        details: Document = job.get("jobProcessDetails", {})
        return details

    def has_failed(self, deployment: Document) -> bool:
        """Return whether a core failed to take the deployment."""
        counts = _counts(self._job_details(deployment) or {})
        return any(counts[state] for state in cores.FAILED)

    def succeeded(self, deployment: Document) -> bool:
        """Return whether the deployment is in force and no core has failed."""
        return is_in_force(deployment) and not self.has_failed(deployment)

    # The cores

    def cores(self, deployment: Document) -> list[Core]:
        """Return every core of the target, without reasons: those take a call for each."""
        devices = {core["coreDeviceThingName"]: core for core in self._core_devices()}
        executions: dict[str, Document] = {}
        for thing, execution in self._executions(deployment):
            # A thing that left the group and came back has more than one.
            if thing not in executions or execution["queuedAt"] >= executions[thing]["queuedAt"]:
                executions[thing] = execution
        if self.thing and not executions:
            counts = _counts(self._job_details(deployment) or {})
            state = next((state for state, count in counts.items() if count), "")
            executions = {self.thing: {"status": state}}
        return [_core(thing, devices.get(thing, {}), executions.get(thing, {})) for thing in devices | executions]

    def reason(self, core: Core, deployment: Document) -> str:
        """Return why a core did not take the deployment, as it reported it; empty if it did not."""
        found = self.aws.each(
            "greengrassv2", "list_effective_deployments", "effectiveDeployments", coreDeviceThingName=core.thing
        )
        try:
            of_this = next((item for item in found if item["deploymentId"] == deployment["deploymentId"]), None)
        except ClientError as error:
            if missing(error):
                return "no Greengrass V2 core was ever heard of under this name"
            raise
        return str(of_this.get("reason", "")) if of_this else ""

    def with_reason(self, core: Core, deployment: Document) -> Core:
        """Return the core with its reason, if it has not got the deployment."""
        if core.state not in (*cores.FAILED, *cores.UNDER_WAY):
            return core
        return replace(core, reason=self.reason(core, deployment))

    def _executions(self, deployment: Document) -> Iterator[tuple[str, Document]]:
        found = self.aws.each("iot", "list_job_executions_for_job", "executionSummaries", jobId=deployment["iotJobId"])
        try:
            for item in found:
                yield item["thingArn"].partition(":thing/")[2], item["jobExecutionSummary"]
        except ClientError as error:
            if not missing(error):
                raise

    def _core_devices(self) -> Iterator[Document]:
        if self.kind == "thinggroup":
            yield from self.aws.each("greengrassv2", "list_core_devices", "coreDevices", thingGroupArn=self.arn)
            return
        try:
            yield self._client.get_core_device(coreDeviceThingName=self.name)
        except ClientError as error:
            if not missing(error):
                raise

    # What can be known beforehand

    @cached_property
    def _platform_notes(self) -> list[str]:
        """Notes on cores that can't run the component, by what they report; raises DeployError if none can."""
        known = list(self._core_devices())
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

    def _unfit(self, core: Document) -> str:
        """Return why a core can't run the component, by what it reports; empty if it can."""
        if core.get("runtime") == LIGHT:
            return "runs the light nucleus, which runs no Lambda functions"
        wanted = ARCHITECTURES[self.arch].get("architecture")
        if wanted and core.get("architecture") not in (wanted, None):
            return f"is {core['architecture']}, the zip is for {self.arch}: build another (./build_zip.sh --arch any)"
        return ""

    def python_notes(self, deployed: Deployed | None) -> list[str]:
        """Return a note if the zip is for another Python than what the cores run now: they don't report theirs."""
        now = function.runtime_of(self.aws, deployed.function_arn) if deployed and deployed.function_arn else None
        return function.python_notes(now, self.runtime)

    def _remarks(self, components: Document) -> list[str]:
        """Return notes on what else the deployment holds."""
        notes = []
        if AWS_COMPONENT in components:
            notes.append(
                f"The deployment also holds {AWS_COMPONENT}. Both report for the same thing, and the service takes "
                "one report in 300 s: remove that component."
            )
        merged = json.loads(components.get(self.component, {}).get("configurationUpdate", {}).get("merge") or "{}")
        if merged:
            notes.append(
                f"The deployment itself configures {self.component} ({', '.join(sorted(merged))}); where the two "
                "differ, that overrides these settings."
            )
        nucleus = json.loads(components.get(NUCLEUS, {}).get("configurationUpdate", {}).get("merge") or "{}")
        if self.kind == "thinggroup" and not nucleus.get("interpolateComponentConfiguration"):
            notes.append(
                "Reports are sent by every core. The service's answers reach those cores (and the function's log) "
                f"whose nucleus (2.6 or later) has interpolateComponentConfiguration true; set it in {NUCLEUS}."
            )
        return notes


def is_in_force(deployment: Document) -> bool:
    """Return whether the service carries out the deployment, or has done so."""
    return deployment["deploymentStatus"] in ("ACTIVE", "COMPLETED")


def _counts(job_details: Document) -> dict[str, int]:
    """Return the number of cores in each state."""
    return {word: job_details.get(f"numberOf{name}Things", 0) for word, name in _STATES.items()}


def _core(thing: str, device: Document, execution: Document) -> Core:
    state = execution.get("status", "").lower().replace("_", " ")
    since = execution.get("queuedAt") if state == "queued" else execution.get("lastUpdatedAt")
    return Core(thing, state, since, device.get("lastStatusUpdateTimestamp"), device.get("status", ""))


def _readable(components: Document) -> Document:
    """Return the components with their configuration as JSON instead of JSON in a string, for comparing and showing."""
    readable = {}
    for name, spec in sorted(components.items()):
        update = {key: value for key, value in spec.get("configurationUpdate", {}).items() if value}
        if "merge" in update:
            update["merge"] = json.loads(update["merge"])
        rest = {key: value for key, value in spec.items() if key != "configurationUpdate"}
        readable[name] = {**rest, "configurationUpdate": update} if update else rest
    return readable
