"""Greengrass V2: a component in the account, and the one that is made of the Lambda function.

Component versions can't be edited. Other settings make another version, tagged with a digest of them, so that a second
run, and a second target with the same settings, find it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from deployment.aws import Aws, Waiting, missing
from deployment.errors import DeployError
from deployment.intent import Deployed, deployed_from
from deployment.plan import Document
from deployment.settings import CONTAINER, INPUT_ENCODING, TIMEOUT_SECONDS, Settings

ROUTER = "aws.greengrass.LegacySubscriptionRouter"
SETTINGS_TAG = "device-defender-connector:settings"

# Platform attributes of a core, by the zip's architecture; `any` runs on all.
ARCHITECTURES = {"x86_64": {"architecture": "amd64"}, "aarch64": {"architecture": "aarch64"}, "any": {}}


def lambda_function(settings: Settings, arn: str, name: str, arch: str) -> Document:
    """Return the component as CreateComponentVersion's `lambdaFunction`, without its version."""
    process: Document = {"isolationMode": settings.isolation}
    if settings.isolation == CONTAINER:
        process["containerParams"] = {
            "memorySizeInKB": settings.memory_kb,
            "volumes": [
                {
                    "sourcePath": volume.source,
                    "destinationPath": volume.destination,
                    "permission": volume.permission,
                    "addGroupOwner": True,
                }
                for volume in settings.volumes
            ],
        }
    return {
        "lambdaArn": arn,
        "componentName": name,
        "componentPlatforms": [{"attributes": {"os": "linux", **ARCHITECTURES[arch]}}],
        # 2.1 is the first to know components by name. HARD, as the guide asks for functions made for V1.
        "componentDependencies": {ROUTER: {"versionRequirement": "^2.1.0", "dependencyType": "HARD"}},
        "componentLambdaParameters": {
            "pinned": True,
            "inputPayloadEncodingType": INPUT_ENCODING,
            "timeoutInSeconds": TIMEOUT_SECONDS,
            "environmentVariables": settings.environment,
            "linuxProcessParams": process,
        },
    }


@dataclass(frozen=True)
class Component:
    """The component of one name in the account, in all its versions."""

    aws: Aws
    name: str

    @property
    def _client(self) -> Any:
        return self.aws.client("greengrassv2")

    @property
    def _arn(self) -> str:
        return self.aws.arn("greengrass", f"components:{self.name}")

    def version_for(self, made_of: Document, connector_version: str) -> tuple[str, bool]:
        """Return the version made of this, and True; or the number for a new one, and False.

        The number has the connector's major and minor, and counts on from there.
        """
        major, minor, patch = semver(connector_version)
        # Ours are plain numbers; one with more, such as 1.0.0-rc1, was made by somebody else.
        plain = (version for version in versions_of(self.aws, self._arn) if not {"-", "+"} & set(version))
        versions = sorted(map(semver, plain), reverse=True)
        patches = [version[2] for version in versions if version[:2] == (major, minor)]
        for used in patches:
            version = f"{major}.{minor}.{used}"
            described = self._client.describe_component(arn=self.version_arn(version))
            usable = described.get("status", {}).get("componentState") in ("REQUESTED", "INITIATED", "DEPLOYABLE")
            if usable and described.get("tags", {}).get(SETTINGS_TAG) == _digest(made_of):
                return version, True
        return f"{major}.{minor}.{max([patch - 1, *patches]) + 1}", False

    def make(self, made_of: Document, request: Document) -> None:
        """Make a version and wait until it can be deployed; raise DeployError with the service's reason if not.

        request: for CreateComponentVersion
        """
        made = self._client.create_component_version(**request, tags={SETTINGS_TAG: _digest(made_of)})

        def ask() -> tuple[str, bool]:
            status = self._client.describe_component(arn=made["arn"])["status"]
            if status["componentState"] == "FAILED":
                reasons = [status.get("message", ""), *status.get("errors", {}).values()]
                raise DeployError(f"component {made['arn']}: {'; '.join(filter(None, reasons))}")
            return status["componentState"], status["componentState"] == "DEPLOYABLE"

        Waiting(self.aws.sleep, lambda _: None, timeout=120, interval=2).until_done(ask)

    def version_arn(self, version: str) -> str:
        """Return a version's ARN."""
        return f"{self._arn}:versions:{version}"

    def recipe_of(self, version: str) -> Document:
        """Return a version's recipe, {} if there is no such version."""
        try:
            answer = self._client.get_component(arn=self.version_arn(version), recipeOutputFormat="JSON")
        except ClientError as error:
            if missing(error):
                return {}
            raise
        recipe: Document = json.loads(answer["recipe"])
        return recipe

    def settings_of(self, version: str) -> Document:
        """Return a version's settings in the shape of `lambda_function`, as far as its recipe has them."""
        recipe = self.recipe_of(version)
        if not recipe:
            return {}
        default = recipe.get("ComponentConfiguration", {}).get("DefaultConfiguration", {})
        process: Document = {"isolationMode": default.get("containerMode")}
        if process["isolationMode"] == CONTAINER:
            container = default.get("containerParams", {})
            volumes = list(container.get("volumes", {}).values())
            process["containerParams"] = {"memorySizeInKB": container.get("memorySize"), "volumes": volumes}
        router = recipe.get("ComponentDependencies", {}).get(ROUTER, {})
        return {
            "lambdaArn": recipe.get("ComponentSource"),
            "componentName": self.name,
            "componentPlatforms": [{"attributes": m.get("Platform", {})} for m in recipe.get("Manifests", [])],
            "componentDependencies": {ROUTER: {key[0].lower() + key[1:]: value for key, value in router.items()}},
            "componentLambdaParameters": {
                "pinned": default.get("pinned"),
                "inputPayloadEncodingType": default.get("inputPayloadEncodingType"),
                "timeoutInSeconds": default.get("timeoutInSeconds"),
                "environmentVariables": default.get("lambdaExecutionParameters", {}).get("EnvironmentVariables", {}),
                "linuxProcessParams": process,
            },
        }


def deployed_of(made_of: Document) -> Deployed:
    """Return the settings in what `Component.settings_of` returned."""
    parameters = made_of["componentLambdaParameters"]
    process = parameters["linuxProcessParams"]
    limit = process.get("containerParams", {}).get("memorySizeInKB")
    return deployed_from(
        parameters["environmentVariables"], process["isolationMode"], limit, made_of["lambdaArn"] or ""
    )


def versions_of(aws: Aws, component_arn: str) -> list[str]:
    """Return the versions of a component, in no order; none if there is no such component."""
    try:
        found = aws.pages("greengrassv2", "list_component_versions", "componentVersions", arn=component_arn)
    except ClientError as error:
        if missing(error):
            return []
        raise
    return [item["componentVersion"] for item in found]


def semver(version: str) -> tuple[int, int, int]:
    """Return the numbers of a semantic version, for comparing."""
    major, minor, patch = version.split("-")[0].split("+")[0].split(".")
    return int(major), int(minor), int(patch)


def _digest(made_of: Document) -> str:
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
