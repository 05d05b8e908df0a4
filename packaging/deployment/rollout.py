"""Greengrass V2: how far a target's cores are with a deployment, and why one has not got it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from botocore.exceptions import ClientError

from deployment import cores
from deployment.aws import Aws, denied, missing
from deployment.cores import Core
from deployment.plan import Document

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


@dataclass
class Rollout:
    """The cores of a target.

    kind: thing or thinggroup
    name: the thing's or the group's
    """

    aws: Aws
    kind: str
    name: str

    @property
    def _thing(self) -> str | None:
        return self.name if self.kind == "thing" else None

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

    def cores(self, deployment: Document) -> list[Core]:
        """Return every core of the target, without reasons: those take a call for each."""
        devices = {core["coreDeviceThingName"]: core for core in self.devices()}
        executions: dict[str, Document] = {}
        for thing, execution in self._executions(deployment):
            # A thing that left the group and came back has more than one.
            if thing not in executions or execution["queuedAt"] >= executions[thing]["queuedAt"]:
                executions[thing] = execution
        if self._thing and not executions:
            counts = _counts(self._job_details(deployment) or {})
            state = next((state for state, count in counts.items() if count), "")
            executions = {self._thing: {"status": state}}
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

    def with_component(self, core: Core, name: str) -> Core:
        """Return the core with the state of its component of this name, if that is an error and may be asked for."""
        if core.health != "UNHEALTHY":
            return core
        installed = self.aws.each(
            "greengrassv2", "list_installed_components", "installedComponents", coreDeviceThingName=core.thing
        )
        try:
            found: Document = next((item for item in installed if item["componentName"] == name), {})
        except ClientError as error:
            if not (denied(error) or missing(error)):
                raise
            return core
        state = found.get("lifecycleState", "")
        if state not in cores.ERROR_STATES:
            return core
        return replace(core, component=": ".join(filter(None, (state, found.get("lifecycleStateDetails")))))

    def if_core_is_known(self, found: Iterator[Document]) -> Iterator[Document]:
        """Yield what was found about a thing; nothing where it is no core yet."""
        try:
            yield from found
        except ClientError as error:
            if not missing(error):
                raise

    def _executions(self, deployment: Document) -> Iterator[tuple[str, Document]]:
        found = self.aws.each("iot", "list_job_executions_for_job", "executionSummaries", jobId=deployment["iotJobId"])
        try:
            for item in found:
                yield item["thingArn"].partition(":thing/")[2], item["jobExecutionSummary"]
        except ClientError as error:
            if not missing(error):
                raise

    def devices(self) -> Iterator[Document]:
        """Yield what each core reports of itself."""
        if self.kind == "thinggroup":
            yield from self.aws.each(
                "greengrassv2",
                "list_core_devices",
                "coreDevices",
                thingGroupArn=self.aws.arn("iot", f"thinggroup/{self.name}"),
            )
            return
        try:
            yield self.aws.client("greengrassv2").get_core_device(coreDeviceThingName=self.name)
        except ClientError as error:
            if not missing(error):
                raise


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
