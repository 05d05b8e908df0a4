"""Greengrass V2: the connector as a native component, which talks to the core by Greengrass IPC.

The component's version holds the code, by its place in S3; the settings are in the deployment, which merges them into
the component's configuration: a core takes them without another version.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import Any

from connector.component_settings import DEFAULT_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES, PAYLOAD
from deployment import recipe
from deployment.component import Component, deployed_of
from deployment.configuration import merged
from deployment.errors import DeployError, UsageError
from deployment.function import python_notes
from deployment.intent import Deployed
from deployment.native_component import deployed_of as deployed_of_native
from deployment.native_component import python_of
from deployment.plan import Change, Document
from deployment.settings import Settings
from deployment.v2 import LITE, Target, title_of_arn
from deployment.v2_function import NUCLEUS, without_function
from deployment.zip_object import ZipObject

CLASSIC = "aws_nucleus_classic"


@dataclass
class NativeTarget(Target):
    """A target with the native component.

    code: the zip in S3, None without a zip
    max_payload_bytes: longest message that the nucleus carries; None: by what the cores report
    """

    code: ZipObject | None = None
    max_payload_bytes: int | None = None

    @property
    def log(self) -> str:
        """Where a core says why a deployment failed: the Java nucleus' files, the journal of nucleus lite."""
        return (
            f"/greengrass/v2/logs/greengrass.log and /greengrass/v2/logs/{self.component}.log; with nucleus lite: "
            f"journalctl -u ggl.core.ggdeploymentd -u ggl.{self.component}"
        )

    def settings_in(self, spec: Document) -> Deployed | None:
        """Return the settings of the component as a deployment has it."""
        return deployed_of_native(self.aws, self.component, spec)

    def _settings_of_other(self, spec: Document) -> Deployed | None:
        made_of = Component(self.aws, self.other).settings_of(spec["componentVersion"])
        return deployed_of(made_of) if made_of else None

    def changes(self, settings: Settings, location: str) -> list[Change]:
        """Return what brings the connector, with these settings, to the target.

        location: the zip's place in S3
        """
        assert self.code
        self._check_other_deployments()
        settings.check_topics(self.thing or "")
        components, tags = self._components, dict(self._current.get("tags", {}))
        deployed = components.get(self.component, {})
        self.notes = [*self._platform_notes, *self._aws_component_note, self._download_note()]
        if self.other in components:
            components, tags = without_function(self.aws, components, tags, self.other)
            self.notes.append(self._replaced_note())
        if settings.variables:
            named = ", ".join(sorted(settings.variables))
            self.notes.append(
                f"The function's variables {named}, which the connector does not know, are not taken over."
            )

        changes = []
        component = Component(self.aws, self.component)
        default = recipe.default_configuration(self.component)
        # Its version is what is looked for: that of the connector stands for it here.
        made_of = recipe.recipe(self.code.artifact, self.component, self.connector_version, location, default)
        version, exists = component.version_for(made_of, self.connector_version)
        if not exists:
            wanted = {**made_of, "ComponentVersion": version}
            before = component.recipe_of(deployed["componentVersion"]) if deployed else {}
            make = partial(component.make, made_of, {"inlineRecipe": json.dumps(wanted).encode()})
            changes.append(Change(f"component {self.component} {version}", before or None, wanted, make))
        before_update = merged(deployed)
        runtimes = {core.get("runtime") for core in self.rollout.devices()}
        payload = self._payload_bytes(before_update.get(PAYLOAD.name), runtimes)
        update = recipe.update(settings, self.component, before_update, payload, self._things(runtimes))
        if runtimes != {CLASSIC}:
            self.notes += recipe.long_values(update)
        # A core keeps what was merged once: only a reset brings back the default of what is not merged now.
        kept = {key: value for key, value in deployed.get("configurationUpdate", {}).items() if key != "merge"}
        merge = {"merge": json.dumps(update)} if update else {}
        components[self.component] = {
            **deployed,
            "componentVersion": version,
            "configurationUpdate": {**kept, **merge, "reset": [""]},
        }
        return changes + self._deployment(components, tags)

    @property
    def other_flag(self) -> str:
        """The option with which the command line chooses the other kind of component."""
        return "leave --native out"

    def _without(self, components: Document, tags: dict[str, str]) -> tuple[Document, dict[str, str]]:
        return {key: spec for key, spec in components.items() if key != self.component}, tags

    def _check_other_deployments(self) -> None:
        """Raise DeployError where another deployment, that of a group, brings the function to the thing as well."""
        if not self.thing:
            return
        found = self.aws.each(
            "greengrassv2", "list_effective_deployments", "effectiveDeployments", coreDeviceThingName=self.thing
        )
        for item in self.rollout.if_core_is_known(found):
            if item["targetArn"] == self.arn:
                continue
            components = self._client.get_deployment(deploymentId=item["deploymentId"]).get("components", {})
            if self.other in components:
                where = title_of_arn(item["targetArn"])
                raise DeployError(
                    f"thing {self.thing} gets {self.other} by the deployment for {where}: both would report for the "
                    f"same thing. Remove it there first, or deploy {self.component} there"
                )

    def _payload_bytes(self, deployed: Any, runtimes: set[Any]) -> int | None:
        """Return the longest message for the cores of these runtimes, None for the component's default.

        What was given or is deployed stays, but nucleus lite closes the connection on a message over its limit.
        A group may get cores of another kind later, so only a thing's own report decides by itself.
        """
        wanted = self.max_payload_bytes
        if wanted is None and str(deployed or "").isdecimal():
            wanted = int(deployed)
        if wanted is None and self.thing and runtimes == {CLASSIC}:
            wanted = MAX_PAYLOAD_BYTES
        if wanted is not None and wanted > DEFAULT_PAYLOAD_BYTES and LITE in runtimes:
            if self.max_payload_bytes:
                raise UsageError(
                    f"--max-payload-bytes {wanted}: {self.title} has nucleus lite, which closes the connection on "
                    f"more than {DEFAULT_PAYLOAD_BYTES:,} bytes; leave it out"
                )
            return None
        return wanted

    def _things(self, runtimes: set[Any]) -> str:
        """Return whose topics the component may use: the core's own, where the target's cores can tell which they are.

        The Java nucleus takes {iot:thingName} in accessControl literally, unless it is set to fill it in.
        """
        if self.thing:
            return self.thing
        if runtimes == {LITE} or merged(self._components.get(NUCLEUS, {})).get("interpolateComponentConfiguration"):
            return recipe.THING
        self.notes.append(
            "The component may publish on the topics of every thing, as far as the AWS IoT policy of its core allows "
            "it: the Java nucleus does not fill in its own thing's name. It does (2.6 or later) where this deployment "
            f"sets interpolateComponentConfiguration to true for {NUCLEUS}."
        )
        return recipe.EVERY_THING

    def _unfit(self, core: Document) -> str:
        wanted = recipe.ARCHITECTURES.get(self.arch)
        architecture = core.get("architecture")
        if not wanted or architecture in (wanted, None):
            return ""
        if architecture in recipe.ARCHITECTURES.values():
            return f"is {architecture}, the zip is for {self.arch}: build another (./build_zip.sh --native --arch ...)"
        return f"is {architecture}, for which there is no native component: only for {', '.join(recipe.ARCHITECTURES)}"

    def _download_note(self) -> str:
        assert self.code
        return (
            "The cores fetch the zip themselves: their token exchange role must allow s3:GetObject on "
            f"arn:{self.aws.partition}:s3:::{self.code.bucket}/{self.code.key}."
        )

    def python_notes(self, deployed: Deployed | None) -> list[str]:
        """Return a note if the zip is for another Python than what the cores run now: they don't report theirs."""
        if not deployed or not deployed.component_arn:
            return []
        version = deployed.component_arn.rpartition(":")[2]
        return python_notes(python_of(Component(self.aws, self.component).recipe_of(version)), self.runtime)
