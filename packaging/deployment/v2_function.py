"""Greengrass V2: the connector as a Lambda function that a core imports, with its subscriptions in the router."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from deployment import function, router
from deployment.aws import Aws
from deployment.component import ARCHITECTURES, ROUTER, Component, deployed_of, lambda_function
from deployment.configuration import merged
from deployment.intent import Deployed
from deployment.native_component import deployed_of as deployed_of_native
from deployment.plan import Change, Document
from deployment.settings import Settings
from deployment.v2 import LITE, Target

NUCLEUS = "aws.greengrass.Nucleus"

# On a deployment: it had no router before, so the router is removed with the last of its subscriptions.
ROUTER_TAG = "device-defender-connector:router"


@dataclass
class FunctionTarget(Target):
    """A target with the component that is made of the Lambda function.

    router_version: version of the router to deploy; None: the target's own, else the newest
    """

    router_version: str | None = None

    @property
    def log(self) -> str:
        """The files on a core that say why a deployment failed."""
        return f"/greengrass/v2/logs/greengrass.log and /greengrass/v2/logs/{self.component}.log"

    def settings_in(self, spec: Document) -> Deployed | None:
        """Return the settings of the component as a deployment has it, None if they can't be read."""
        made_of = Component(self.aws, self.component).settings_of(spec["componentVersion"])
        return deployed_of(made_of) if made_of else None

    def _settings_of_other(self, spec: Document) -> Deployed | None:
        return deployed_of_native(self.aws, self.other, spec)

    def changes(self, settings: Settings, location: str) -> list[Change]:
        """Return what brings the connector, with these settings, to the target.

        location: ARN of the Lambda function's version
        """
        components = self._components
        deployed = components.get(self.component, {})
        self.notes = [*self._platform_notes, *self._remarks(deployed)]
        if components.pop(self.other, None):
            self.notes.append(self._replaced_note())

        changes = []
        component = Component(self.aws, self.component)
        made_of = lambda_function(settings, location, self.component, self.arch)
        version, exists = component.version_for(made_of, self.connector_version)
        if not exists:
            before = component.settings_of(deployed["componentVersion"]) if deployed else {}
            request = {"lambdaFunction": {**made_of, "componentVersion": version}}
            make = partial(component.make, made_of, request)
            changes.append(Change(f"component {self.component} {version}", before or None, made_of, make))
        tags = self._current.get("tags", {}) | ({} if ROUTER in components else {ROUTER_TAG: "added"})
        # A core ranks a new version's defaults, our settings, below what it has: only a reset lets them through.
        update = {**deployed.get("configurationUpdate", {}), "reset": [""]}
        components[self.component] = {**deployed, "componentVersion": version, "configurationUpdate": update}
        components[ROUTER] = router.merged(
            components.get(ROUTER), self._subscriptions(settings), self.aws, self.router_version
        )
        return changes + self._deployment(components, tags)

    def _subscriptions(self, settings: Settings) -> dict[str, Document]:
        """Return our subscriptions; a group's cores each fill in their own name, by a variable of their nucleus."""
        thing = self.name if self.kind == "thing" else "{iot:thingName}"
        return {entry["id"]: entry for entry in settings.subscriptions(f"component:{self.component}", thing)}

    @property
    def other_flag(self) -> str:
        """The option with which the command line chooses the other kind of component."""
        return "pass --native"

    def _without(self, components: Document, tags: dict[str, str]) -> tuple[Document, dict[str, str]]:
        return without_function(self.aws, components, tags, self.component, self.router_version)

    def _unfit(self, core: Document) -> str:
        if core.get("runtime") == LITE:
            return "runs nucleus lite, which runs no Lambda functions: there is the native component (--native)"
        wanted = ARCHITECTURES[self.arch].get("architecture")
        if wanted and core.get("architecture") not in (wanted, None):
            return f"is {core['architecture']}, the zip is for {self.arch}: build another (./build_zip.sh --arch any)"
        return ""

    def python_notes(self, deployed: Deployed | None) -> list[str]:
        """Return a note if the zip is for another Python than what the cores run now: they don't report theirs."""
        now = function.runtime_of(self.aws, deployed.function_arn) if deployed and deployed.function_arn else None
        return function.python_notes(now, self.runtime)

    def _remarks(self, deployed: Document) -> list[str]:
        """Return notes on what else the deployment holds."""
        notes = self._aws_component_note
        overriding = merged(deployed)
        if overriding:
            notes.append(
                f"The deployment itself configures {self.component} ({', '.join(sorted(overriding))}); where the two "
                "differ, that overrides these settings."
            )
        nucleus = merged(self._components.get(NUCLEUS, {}))
        if self.kind == "thinggroup" and not nucleus.get("interpolateComponentConfiguration"):
            notes.append(
                "Reports are sent by every core. The service's answers reach those cores (and the function's log) "
                f"whose nucleus (2.6 or later) has interpolateComponentConfiguration true; set it in {NUCLEUS}."
            )
        return notes


def without_function(
    aws: Aws, components: Document, tags: dict[str, str], name: str, router_version: str | None = None
) -> tuple[Document, dict[str, str]]:
    """Return a deployment's components and tags without the function's component and its subscriptions.

    The router goes too where it came with them and nobody else uses it.
    """
    left = {key: spec for key, spec in components.items() if key != name}
    tags = dict(tags)
    if ROUTER in left:
        left[ROUTER] = router.merged(left[ROUTER], {}, aws, router_version)
        if tags.pop(ROUTER_TAG, None) and "merge" not in left[ROUTER]["configurationUpdate"]:
            del left[ROUTER]
    return left, tags
