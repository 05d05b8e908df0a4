"""Greengrass V2: the deployment that brings the component and its subscriptions to a target.

A target (a thing or a thing group) has one deployment; a new one replaces it, and components it doesn't name are
removed from the cores. So each deployment made here starts from the target's current one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from deployment.aws import Aws, Waiting, missing
from deployment.component import ARCHITECTURES, ROUTER, Component, lambda_function, semver, versions_of
from deployment.errors import DeployError
from deployment.plan import Change, Document
from deployment.settings import SUBSCRIPTION_IDS, Settings

NUCLEUS = "aws.greengrass.Nucleus"
AWS_COMPONENT = "aws.greengrass.DeviceDefender"

# On a deployment: it had no router before, so the router goes with the last of its subscriptions.
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

_ONE_CORE = "aws greengrassv2 list-effective-deployments --core-device-thing-name <thing>"

# What a deployment has beside its components, and a revision of it keeps.
_KEPT = ("deploymentName", "deploymentPolicies", "iotJobConfiguration", "parentTargetArn", "tags")


@dataclass
class Target:
    """A thing or a thing group with its deployment, and the connector's component."""

    aws: Aws
    kind: str
    """thing or thinggroup"""
    name: str
    component: str
    connector_version: str = "0.0.0"
    arch: str = "any"
    router_version: str | None = None
    """Version of the router to deploy; None: the target's own, else the newest."""
    notes: list[str] = field(default_factory=list)
    _planned: str = field(default="", init=False)
    """Id of the deployment that the changes last computed start from."""

    @property
    def _client(self) -> Any:
        return self.aws.client("greengrassv2")

    @property
    def arn(self) -> str:
        """The target's ARN."""
        return self.aws.arn("iot", f"{self.kind}/{self.name}")

    @property
    def principals(self) -> list[str]:
        """What an AWS IoT policy for the target's cores is attached to."""
        if self.kind == "thinggroup":
            return [self.arn]
        return self.aws.pages("iot", "list_thing_principals", "principals", thingName=self.name)

    def changes(self, settings: Settings, function_arn: str) -> list[Change]:
        """Return what brings the connector, as wanted, to the target."""
        self.notes = self._check()
        current = self._plan_from_current()
        components = dict(current.get("components", {}))
        self.notes += self._remarks(components)

        changes = []
        component = Component(self.aws, self.component)
        function = lambda_function(settings, function_arn, self.component, self.arch)
        version, exists = component.version_for(function, self.connector_version)
        deployed = components.get(self.component, {})
        if not exists:
            before = component.settings_of(deployed["componentVersion"]) if deployed else {}
            make = partial(component.make, function, version)
            changes.append(Change(f"component {self.component} {version}", before or None, function, make))
        tags = current.get("tags", {}) | ({} if ROUTER in components else {ROUTER_TAG: "added"})
        # A core puts a new version's defaults, our settings, below what it has: only a reset lets them through.
        update = {**deployed.get("configurationUpdate", {}), "reset": [""]}
        components[self.component] = {**deployed, "componentVersion": version, "configurationUpdate": update}
        components[ROUTER] = self._router(components.get(ROUTER), self._subscriptions(settings))
        return changes + self._deployment(current, components, tags)

    def removals(self) -> list[Change]:
        """Return what takes the connector off the target, and only it."""
        self._must_exist()
        current = self._plan_from_current()
        components = dict(current.get("components", {}))
        if self.component not in components:
            self.notes = [f"{self.component} is not in the deployment for {self.kind} {self.name}."]
            # Where that deployment failed, the cores may still run what one before it brought.
            again = self._deployment(current, components, current.get("tags", {})) if current else []
            return again if again and self._was_here() else []
        del components[self.component]
        tags = dict(current.get("tags", {}))
        if ROUTER in components:
            components[ROUTER] = self._router(components[ROUTER], {})
            if tags.pop(ROUTER_TAG, None) and "merge" not in components[ROUTER]["configurationUpdate"]:
                del components[ROUTER]
        return self._deployment(current, components, tags)

    def status(self) -> tuple[list[str], bool]:
        """Return lines on the connector on this target, and whether it is deployed without a failure."""
        self._must_exist()
        current = self._current()
        spec = current.get("components", {}).get(self.component)
        if not spec:
            return [f"{self.component} is not in the deployment for {self.kind} {self.name}."], False
        lines = [f"Component {self.component} {spec['componentVersion']} for {self.kind} {self.name}"]
        made_of = Component(self.aws, self.component).settings_of(spec["componentVersion"])
        parameters = made_of.get("componentLambdaParameters", {})
        lines += [f"  {name}={value}" for name, value in sorted(parameters.get("environmentVariables", {}).items())]
        state, _ = self._progress(current)
        lines.append(f"Deployment {current['deploymentId']}: {current['deploymentStatus']}, {state}")
        return [*lines, *self._failures(current)], self._stands(current)

    def wait(self, waiting: Waiting) -> None:
        """Wait until every core has answered; raise DeployError with the reasons if one failed."""
        current = self._current()
        if not current:
            return

        def ask() -> tuple[str, bool]:
            now = self._client.get_deployment(deploymentId=current["deploymentId"])
            state, done = self._progress(now)
            return state, done or not _is_in_force(now)

        waiting.until_done(ask)
        current = self._client.get_deployment(deploymentId=current["deploymentId"])
        if not self._stands(current):
            state = f"{current['deploymentStatus']}, {self._progress(current)[0]}"
            reasons = self._failures(current) or [f"{state}; a core's reason: {_ONE_CORE}"]
            raise DeployError(f"deployment {current['deploymentId']} for {self.name}: {'; '.join(reasons)}")

    def settled(self) -> bool:
        """Return whether every core has taken the current deployment, so that none runs what was before it."""
        current = self._current()
        return not current or (self._progress(current)[1] and self._stands(current))

    def check_unchanged(self) -> None:
        """Raise DeployError if the target got another deployment since the changes were computed."""
        latest = self._current().get("deploymentId", "")
        if latest != self._planned:
            raise DeployError(
                f"{self.kind} {self.name} got another deployment meanwhile, {latest}, which stays as it is: run this "
                "again to see what would change now"
            )

    # The router

    def _subscriptions(self, settings: Settings) -> dict[str, Document]:
        """Return our subscriptions as the router's configuration has them.

        A group's cores each put in their own name, by the recipe variable that their nucleus fills in.
        """
        thing = self.name if self.kind == "thing" else "{iot:thingName}"
        return {entry["id"]: entry for entry in settings.subscriptions(f"component:{self.component}", thing)}

    def _router(self, current: Document | None, ours: dict[str, Document]) -> Document:
        """Return the router's part of the deployment: others' configuration as it is, and our subscriptions.

        What was merged once stays on a core until it is reset, so subscriptions that go are reset.
        """
        if current is None:
            current = {"componentVersion": self._newest_router()}
        if self.router_version:
            current = {**current, "componentVersion": self.router_version}
        if semver(current["componentVersion"]) < (2, 1, 0):
            raise DeployError(
                f"{ROUTER} {current['componentVersion']}, in the target's deployment, can't name components; "
                "deploy 2.1 or later with --router-version"
            )
        update = current.get("configurationUpdate", {})
        merge = json.loads(update.get("merge") or "{}")
        others = {key: s for key, s in merge.get("subscriptions", {}).items() if key not in SUBSCRIPTION_IDS}
        merge = {**merge, "subscriptions": {**others, **ours}}
        if not merge["subscriptions"]:
            del merge["subscriptions"]
        paths = [f"/subscriptions/{id_}" for id_ in SUBSCRIPTION_IDS]
        reset = [path for path in update.get("reset", []) if path not in paths] + ([] if ours else paths)
        new = {"merge": json.dumps(merge)} if merge else {}
        return {**current, "configurationUpdate": new | ({"reset": reset} if reset else {})}

    def _newest_router(self) -> str:
        if self.router_version:
            return self.router_version
        arn = f"arn:{self.aws.partition}:greengrass:{self.aws.region}:aws:components:{ROUTER}"
        versions = versions_of(self.aws, arn)
        if not versions:
            raise DeployError(f"{ROUTER} is not offered in {self.aws.region}: does Greengrass V2 exist there?")
        return max(versions, key=semver)

    # The deployment

    def _current(self) -> Document:
        return next(self._revisions("LATEST_ONLY"), {})

    def _plan_from_current(self) -> Document:
        current = self._current()
        self._planned = current.get("deploymentId", "")
        return current

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
        # In a group some core may always have failed: that's for `status` to say.
        stands = bool(current) and (_is_in_force(current) if self.kind == "thinggroup" else self._stands(current))
        if before == after and stands:
            return []
        if current and not stands:
            self.notes.append(f"The last deployment ({current['deploymentId']}) did not succeed.")
        title = f"deployment for {self.kind} {self.name}"
        shown_before = before if current and before != after else None
        return [Change(title, shown_before, after, partial(self._deploy, current, components, tags))]

    def _deploy(self, current: Document, components: Document, tags: dict[str, str]) -> None:
        self.check_unchanged()  # once more: making the component took its time
        name = f"{self.name} with {self.component}"[:256]
        # CloudFormation's tags are on what it made; nobody else may ask for such a tag.
        tags = {key: value for key, value in tags.items() if not key.startswith("aws:")}
        kept = {key: value for key, value in {**current, "tags": tags}.items() if key in _KEPT and value}
        self._client.create_deployment(targetArn=self.arn, components=components, **{"deploymentName": name, **kept})

    def _progress(self, deployment: Document) -> tuple[str, bool]:
        """Return how far the deployment is, as text, and whether no core is left to wait for."""
        details = self._job_details(deployment)
        if details is None:
            return "its AWS IoT job is no longer there", True
        counts = _counts(details)
        if not any(counts.values()):
            return ("no core has it yet", False) if self._things() else ("no core in the group yet", True)
        text = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        done = not counts["queued"] + counts["in progress"]
        # Null once the job was sent to all, but for one that goes on for a group that is not said.
        if done and details.get("processingTargets") and sum(counts.values()) < len(self._things()):
            return f"{text}, more to come", False
        return text, done

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

    def _has_failed(self, deployment: Document) -> bool:
        counts = _counts(self._job_details(deployment) or {})
        return any(counts[word] for word in ("failed", "rejected", "timed out", "canceled"))

    def _stands(self, deployment: Document) -> bool:
        return _is_in_force(deployment) and not self._has_failed(deployment)

    def _failures(self, deployment: Document) -> list[str]:
        """Return a thing's own word on a failed deployment; a group's cores are too many to ask."""
        if self.kind != "thing" or not self._has_failed(deployment):
            return []
        name = self.name
        found = self.aws.pages(
            "greengrassv2", "list_effective_deployments", "effectiveDeployments", coreDeviceThingName=name
        )
        of_this = [item for item in found if item["deploymentId"] == deployment["deploymentId"]]
        return [f"{item['coreDeviceExecutionStatus']}: {item.get('reason', 'no reason given')}" for item in of_this]

    # What can be known beforehand

    def _must_exist(self) -> None:
        if self.kind == "thinggroup":
            self.aws.client("iot").describe_thing_group(thingGroupName=self.name)
        else:
            self.aws.client("iot").describe_thing(thingName=self.name)

    def _check(self) -> list[str]:
        """Raise an error if the target doesn't exist or can't run the component; return notes on it."""
        self._must_exist()
        if self.kind == "thinggroup":
            return []
        try:
            core = self._client.get_core_device(coreDeviceThingName=self.name)
        except ClientError as error:
            if missing(error):
                return [f"Thing {self.name} is no Greengrass V2 core yet; the deployment waits until it is."]
            raise
        if core.get("runtime") == "aws_nucleus_lite":
            raise DeployError(f"core {self.name} runs the light nucleus, which runs no Lambda functions")
        wanted = ARCHITECTURES[self.arch].get("architecture")
        if wanted and core.get("architecture") not in (wanted, None):
            raise DeployError(f"core {self.name} is {core['architecture']}, the zip is for {self.arch}: build another")
        return []

    def _remarks(self, components: Document) -> list[str]:
        """Return notes on what else the deployment holds."""
        notes = []
        if AWS_COMPONENT in components:
            notes.append(
                f"The deployment also holds {AWS_COMPONENT}. Both report for the same thing, and the service takes "
                "one report in 300 s: remove that component."
            )
        nucleus = json.loads(components.get(NUCLEUS, {}).get("configurationUpdate", {}).get("merge") or "{}")
        if self.kind == "thinggroup" and not nucleus.get("interpolateComponentConfiguration"):
            notes.append(
                "Reports go out from every core. The service's answers come back, into the function's log, to cores "
                f"whose nucleus (2.6 or later) has interpolateComponentConfiguration true; set it in {NUCLEUS}."
            )
        return notes


def _is_in_force(deployment: Document) -> bool:
    return deployment["deploymentStatus"] in ("ACTIVE", "COMPLETED")


def _counts(job_details: Document) -> dict[str, int]:
    """Return the number of cores in each state."""
    return {word: job_details.get(f"numberOf{name}Things", 0) for word, name in _STATES.items()}


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
