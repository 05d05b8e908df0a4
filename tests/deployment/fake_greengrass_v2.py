"""A stand-in for the Greengrass V2 cloud service, which moto doesn't have.

It keeps components and deployments as the service does. botocore has validated every request against the service's
model before it arrives here; the answers are validated against the same model.
"""

from __future__ import annotations

import json
from typing import Any

from fake_calls import ACCOUNT, NOW, REGION, Calls, answer, page, refusal

SUCCEEDED = {"numberOfSucceededThings": 1}
CALLS = ("greengrassv2.*", "iot.DescribeJob", "iot.ListJobExecutionsForJob")


class FakeGreengrassV2:
    """The service for one account; answers through botocore's events, before anything is sent.

    components: by ARN
    cores: what each core device reports, by thing
    in_group: the cores that any thing group has
    installed: by thing, the components that it has
    configuration: by target, what its cores run with, by component
    jobs: job counters by deployment, one set for each time they are asked for; the last stays
    executions: by thing, its state in every job
    next_job: the counters of the next deployment's job
    reason: of a core that failed
    """

    def __init__(self, calls: Calls):
        self._calls = calls
        self.components: dict[str, dict[str, Any]] = {}
        self.deployments: list[dict[str, Any]] = []
        self.cores: dict[str, dict[str, Any]] = {}
        self.in_group: list[str] = []
        self.installed: dict[str, list[dict[str, Any]]] = {}
        self.configuration: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, list[dict[str, int]]] = {}
        self.executions: dict[str, str] = {}
        self.next_job: list[dict[str, int]] = [SUCCEEDED]
        self.reason = ""
        self.router_versions = ["2.1.9", "2.1.15", "2.0.3"]

    def answer(self, model: Any, **_: Any) -> Any:
        """Answer one call."""
        return getattr(self, f"_{model.name}")(model, **self._calls.all[-1][1])

    def _CreateComponentVersion(self, model: Any, tags: dict[str, str], **source: Any) -> Any:
        made = _made_of(source)
        if "lambdaFunction" in made:
            name, version = (made["lambdaFunction"][key] for key in ("componentName", "componentVersion"))
        else:
            name, version = (made["recipe"][key] for key in ("ComponentName", "ComponentVersion"))
        arn = f"arn:aws:greengrass:eu-west-1:123456789012:components:{name}:versions:{version}"
        if arn in self.components:
            return refusal(model, "ConflictException", f"Component [{name} : {version}] already exists", 409)
        self.components[arn] = {**made, "tags": tags}
        about = {"componentName": name, "componentVersion": version, "creationTimestamp": NOW}
        return answer(model, {"arn": arn, **about, "status": {"componentState": "REQUESTED"}})

    def _DescribeComponent(self, model: Any, arn: str) -> Any:
        if arn not in self.components:
            return refusal(model, "ResourceNotFoundException", "Component cannot be found", 404)
        component = self.components[arn]
        state = component.setdefault("state", "INITIATED")
        status = {"componentState": state, **component.get("status", {})}
        if state == "INITIATED":  # the service needs a moment
            component["state"] = "DEPLOYABLE"
        return answer(model, {"arn": arn, "status": status, "tags": component["tags"]})

    def _GetComponent(self, model: Any, arn: str, recipeOutputFormat: str) -> Any:
        if arn not in self.components:
            return refusal(model, "ResourceNotFoundException", "Component cannot be found", 404)
        recipe = json.dumps(_recipe_of(self.components[arn])).encode()
        return answer(model, {"recipeOutputFormat": recipeOutputFormat, "recipe": recipe})

    def _ListComponentVersions(self, model: Any, arn: str) -> Any:
        if arn.endswith(":aws:components:aws.greengrass.LegacySubscriptionRouter"):
            found = [{"componentVersion": version} for version in self.router_versions]
        else:
            prefix = f"{arn}:versions:"
            found = [{"componentVersion": a.removeprefix(prefix)} for a in self.components if a.startswith(prefix)]
        return answer(model, {"componentVersions": found})

    def _CreateDeployment(self, model: Any, targetArn: str, **rest: Any) -> Any:
        rest.pop("clientToken", None)
        for deployment in self.deployments:
            if deployment["targetArn"] == targetArn:
                deployment["isLatestForTarget"] = False
        number = str(len(self.deployments) + 1)
        ids = {"deploymentId": f"deployment-{number}", "iotJobId": f"job-{number}"}
        state = {"deploymentStatus": "ACTIVE", "isLatestForTarget": True}
        self.deployments.append({"targetArn": targetArn, **json.loads(json.dumps(rest)), **ids, **state})
        self.jobs[ids["iotJobId"]] = list(self.next_job)
        self._configure(targetArn, rest.get("components", {}))
        return answer(model, ids)

    def _configure(self, target: str, components: dict[str, Any]) -> None:
        """Change the cores' configuration as the nucleus does: reset, merge, and the recipe's defaults below it all."""
        before = self.configuration.get(target, {})
        self.configuration[target] = after = {}
        for name, spec in components.items():
            update = spec.get("configurationUpdate", {})
            merge = json.loads(update.get("merge") or "{}")
            kept = {} if "" in update.get("reset", []) else before.get(name, {})
            arn = f"arn:aws:greengrass:{REGION}:{ACCOUNT}:components:{name}:versions:{spec['componentVersion']}"
            made = self.components.get(arn)
            default = _recipe_of(made)["ComponentConfiguration"]["DefaultConfiguration"] if made else {}
            after[name] = _over(merge, _over(kept, default))

    def _ListDeployments(
        self, model: Any, historyFilter: str, targetArn: str | None = None, nextToken: str | None = None
    ) -> Any:
        assert historyFilter in ("LATEST_ONLY", "ALL")
        every = historyFilter == "ALL"
        found = [
            {"deploymentId": d["deploymentId"], "targetArn": d["targetArn"]}
            for d in self.deployments
            if targetArn in (d["targetArn"], None) and (every or d["isLatestForTarget"])
        ]
        return page(model, "deployments", found, nextToken, 100)

    def _GetDeployment(self, model: Any, deploymentId: str) -> Any:
        return answer(model, next(dict(d) for d in self.deployments if d["deploymentId"] == deploymentId))

    def _ListEffectiveDeployments(self, model: Any, coreDeviceThingName: str) -> Any:
        times = {"creationTimestamp": NOW, "modifiedTimestamp": NOW}
        found = [
            {
                "deploymentId": deployment["deploymentId"],
                "deploymentName": "d",
                "targetArn": deployment["targetArn"],
                "reason": self.reason,
                "coreDeviceExecutionStatus": "FAILED" if self.reason else "SUCCEEDED",
                **times,
            }
            for deployment in self.deployments
            if deployment["isLatestForTarget"]
        ]
        return answer(model, {"effectiveDeployments": found})

    def _ListInstalledComponents(self, model: Any, coreDeviceThingName: str, nextToken: str | None = None) -> Any:
        return page(model, "installedComponents", self.installed.get(coreDeviceThingName, []), nextToken, 100)

    def _GetComponentVersionArtifact(self, model: Any, arn: str, artifactName: str) -> Any:
        """Answer with where the artifact is, which no test leaves the machine for."""
        (uri,) = (a["Uri"] for m in self.components[arn]["recipe"]["Manifests"] for a in m["Artifacts"])
        assert uri == f"s3://{artifactName}"
        return answer(model, {"preSignedUrl": f"https://artifact.example/{artifactName}"})

    def _ListJobExecutionsForJob(self, model: Any, jobId: str, nextToken: str | None = None) -> Any:
        if jobId not in self.jobs:
            return refusal(model, "ResourceNotFoundException", "no job", 404)
        times = {"queuedAt": NOW, "lastUpdatedAt": NOW}
        found = [
            {"thingArn": f"arn:aws:iot:{REGION}:{ACCOUNT}:thing/{thing}", "jobExecutionSummary": {"status": s, **times}}
            for thing, s in self.executions.items()
        ]
        return page(model, "executionSummaries", found, nextToken, 250)

    def _ListCoreDevices(self, model: Any, thingGroupArn: str, nextToken: str | None = None) -> Any:
        found = [{"coreDeviceThingName": name, **self.cores.get(name, {})} for name in self.in_group]
        return page(model, "coreDevices", found, nextToken, 100)

    def _GetCoreDevice(self, model: Any, coreDeviceThingName: str) -> Any:
        if coreDeviceThingName not in self.cores:
            return refusal(model, "ResourceNotFoundException", "Core device cannot be found", 404)
        return answer(model, {"coreDeviceThingName": coreDeviceThingName, **self.cores[coreDeviceThingName]})

    def _DescribeJob(self, model: Any, jobId: str) -> Any:
        counters = self.jobs[jobId]
        now = counters.pop(0) if len(counters) > 1 else counters[0]
        return answer(model, {"job": {"jobId": jobId, "jobProcessDetails": now}})


def _made_of(source: dict[str, Any]) -> dict[str, Any]:
    """Return what a component version is made of: a Lambda function, or a recipe in JSON."""
    if "lambdaFunction" in source:
        return {"lambdaFunction": json.loads(json.dumps(source["lambdaFunction"]))}
    return {"recipe": json.loads(source["inlineRecipe"])}


def _recipe_of(component: dict[str, Any]) -> dict[str, Any]:
    recipe: dict[str, Any] = component.get("recipe") or _recipe(component["lambdaFunction"])
    return recipe


def _over(values: dict[str, Any], below: dict[str, Any]) -> dict[str, Any]:
    """Return both, all the way down; where both have a value, that of `values`."""
    result = {**below, **values}
    for key in values.keys() & below.keys():
        if isinstance(values[key], dict) and isinstance(below[key], dict):
            result[key] = _over(values[key], below[key])
    return result


def _recipe(source: dict[str, Any]) -> dict[str, Any]:
    """Return the recipe that the service makes of a function, as its console and get-component show it."""
    parameters = source["componentLambdaParameters"]
    process = parameters["linuxProcessParams"]
    container = process.get("containerParams", {})
    volumes = {str(number): volume for number, volume in enumerate(container.get("volumes", []))}
    dependencies = {
        name: {"VersionRequirement": d["versionRequirement"], "DependencyType": d["dependencyType"]}
        for name, d in source["componentDependencies"].items()
    }
    launcher = {"VersionRequirement": "^2.0.0", "DependencyType": "HARD"}
    return {
        "RecipeFormatVersion": "2020-01-25",
        "ComponentName": source["componentName"],
        "ComponentVersion": source["componentVersion"],
        "ComponentType": "aws.greengrass.lambda",
        "ComponentSource": source["lambdaArn"],
        "ComponentConfiguration": {
            "DefaultConfiguration": {
                "lambdaExecutionParameters": {"EnvironmentVariables": parameters["environmentVariables"]},
                "containerParams": {
                    "memorySize": container.get("memorySizeInKB", 16384),
                    "mountROSysfs": False,
                    "volumes": volumes,
                    "devices": {},
                },
                "containerMode": process["isolationMode"],
                "timeoutInSeconds": parameters["timeoutInSeconds"],
                "inputPayloadEncodingType": parameters["inputPayloadEncodingType"],
                "pinned": parameters["pinned"],
                "maxQueueSize": 1000,
            }
        },
        "ComponentDependencies": {**dependencies, "aws.greengrass.LambdaLauncher": launcher},
        "Manifests": [{"Platform": platform["attributes"]} for platform in source["componentPlatforms"]],
    }
