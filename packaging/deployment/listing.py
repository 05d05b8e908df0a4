"""What `list` shows: every target in the account and region that has the connector, with version and settings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache

from deployment import intent, v1, v2
from deployment.aws import Aws
from deployment.component import Component, deployed_of
from deployment.errors import DeployError
from deployment.intent import Deployed
from deployment.native_component import deployed_of as deployed_of_native
from deployment.plan import Document
from deployment.settings import CONTAINER, DEFAULT_MEMORY_MB, default_of

PROGRESS_TARGETS = 100


@dataclass(frozen=True)
class Entry:
    """One target.

    target: its kind and name
    version: of the component, or of the Lambda function
    state: of its last deployment
    settings: those that differ from the default, None where they can't be read
    """

    target: str
    version: str
    state: str
    settings: dict[str, str] | None

    def line(self) -> str:
        """Return its line in `list`."""
        if self.settings is None:
            settings = "settings can't be read"
        else:
            settings = ", ".join(f"{name}={value}" for name, value in self.settings.items()) or "all at their default"
        return f"{self.target}: {self.version}, {self.state}; {settings}"


def text(entries: list[Entry], name: str, as_json: bool) -> str:
    """Return the targets for a person, with a count as the last line, or as JSON."""
    if as_json:
        return json.dumps([vars(entry) for entry in entries], indent=2)
    versions = len({entry.version for entry in entries})
    noun = "version" if versions == 1 else "versions"
    count = f"{len(entries):,} {'target has' if len(entries) == 1 else 'targets have'} {name}, in {versions} {noun}."
    return "\n".join([*(entry.line() for entry in entries), count if entries else f"No target has {name}."])


def components(aws: Aws, name: str, native: bool) -> list[Entry]:
    """Return the things and thing groups whose current deployment has the component.

    native: whether it is the native one, whose settings the deployment has
    """

    @cache
    def of_function(version: str) -> dict[str, str] | None:
        made_of = Component(aws, name).settings_of(version)
        return differing(deployed_of(made_of)) if made_of else None

    def settings(spec: Document) -> dict[str, str] | None:
        if not native:
            return of_function(spec["componentVersion"])
        found = differing(deployed_of_native(aws, name, spec))
        return {key: value for key, value in found.items() if key != intent.ISOLATION}

    entries = {}  # by the target's ARN: in its order things come before thing groups
    client = aws.client("greengrassv2")
    found = aws.each("greengrassv2", "list_deployments", "deployments", historyFilter="LATEST_ONLY")
    for number, item in enumerate(found, 1):
        # The list does not say which components a deployment has.
        deployment = client.get_deployment(deploymentId=item["deploymentId"])
        if number % PROGRESS_TARGETS == 0:
            aws.progress(f"list: {number:,} deployments read")
        spec = deployment.get("components", {}).get(name)
        if spec:
            arn, state = deployment["targetArn"], deployment["deploymentStatus"]
            entries[arn] = Entry(v2.title_of_arn(arn), spec["componentVersion"], state, settings(spec))
    return [entries[arn] for arn in sorted(entries)]


def groups(aws: Aws, function: str) -> list[Entry]:
    """Return the V1 groups whose newest version has the function."""
    entries = []
    for number, item in enumerate(aws.each("greengrass", "list_groups", "Groups"), 1):
        if number % PROGRESS_TARGETS == 0:
            aws.progress(f"list: {number:,} groups read")
        group = v1.Group(aws, item["Id"], function)
        try:
            group.read()
        except DeployError:  # a group without a core has no connector either
            continue
        deployed = group.deployed()
        if deployed:
            state = group.core_status()[1].state or "never deployed"
            version = f"version {deployed.function_arn.rpartition(':')[2]}"
            entries.append(Entry(f"group {item['Name']}", version, state, differing(deployed)))
    return sorted(entries, key=lambda entry: entry.target)


def differing(deployed: Deployed) -> dict[str, str]:
    """Return the deployed settings that differ from today's defaults."""
    follows = {"ProcDestinationPath": "/proc"} if deployed.isolation != CONTAINER else {}
    settings = {
        name: value
        for name, value in deployed.parameters.items()
        if value != follows.get(name, default_of(name)) and value not in intent.EARLIER_DEFAULTS.get(name, ())
    }
    if deployed.isolation != CONTAINER:
        settings[intent.ISOLATION] = deployed.isolation
    if deployed.memory_kb not in (None, DEFAULT_MEMORY_MB * 1024):
        settings[intent.MEMORY] = f"{deployed.memory_kb / 1024:g} MB"
    return {**settings, **deployed.variables}
