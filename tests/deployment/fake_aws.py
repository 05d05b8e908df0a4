"""An AWS account without AWS: moto, and a stand-in for the Greengrass V2 cloud service, which moto doesn't have.

The stand-in keeps components and deployments as the service does. botocore has validated every request against the
service's model before it arrives here; the answers are validated against the same model.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import boto3
import botocore.session
import deploy
from botocore.loaders import create_loader
from botocore.validate import ParamValidator
from deployment.aws import Aws
from moto.greengrass.models import greengrass_backends

ACCOUNT, REGION = "123456789012", "eu-west-1"
LAMBDA = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:device-defender-connector"

_LOADER = create_loader()  # reads a service's model once, not once for each test
NOW = datetime(2025, 1, 1, tzinfo=timezone.utc)
SUCCEEDED = {"numberOfSucceededThings": 1}
READING = ("Get", "List", "Describe", "Head")


def answer(model: Any, parsed: dict[str, Any], status: int = 200) -> tuple[SimpleNamespace, dict[str, Any]]:
    """Return what botocore takes for a service's answer; a good one must fit the model."""
    if status < 300:
        report = ParamValidator().validate(parsed, model.output_shape)
        assert not report.has_errors(), f"{model.name}: {report.generate_report()}"
    return SimpleNamespace(status_code=status), {**parsed, "ResponseMetadata": {"HTTPStatusCode": status}}


def refusal(model: Any, code: str, message: str, status: int = 400) -> tuple[SimpleNamespace, dict[str, Any]]:
    """Return an error as the service would."""
    return answer(model, {"Error": {"Code": code, "Message": message}}, status)


class Calls:
    """Every API call of a session, in order; `writes` are those that change something."""

    def __init__(self, session: Any):
        self.all: list[tuple[str, dict[str, Any]]] = []
        self.stubs: dict[str, Any] = {}
        session.events.register("before-parameter-build.*.*", self._record)
        session.events.register_first("before-call.*.*", self._stub)

    @property
    def writes(self) -> list[str]:
        return [name for name, _ in self.all if not name.split(":")[1].startswith(READING)]

    def params(self, name: str) -> dict[str, Any]:
        """Return the parameters of the last call of that name."""
        return next(params for called, params in reversed(self.all) if called == name)

    def _record(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        self.all.append((f"{model.service_model.service_name}:{model.name}", params))

    def _stub(self, model: Any, **_: Any) -> Any:
        stub = self.stubs.get(f"{model.service_model.service_name}:{model.name}")
        return stub(model, self.all[-1][1]) if stub else None


class FakeGreengrassV2:
    """The service for one account; answers through botocore's events, before anything is sent."""

    def __init__(self, session: Any, calls: Calls):
        self._calls = calls
        self.components: dict[str, dict[str, Any]] = {}
        self.deployments: list[dict[str, Any]] = []
        self.cores: dict[str, dict[str, Any]] = {}
        self.configuration: dict[str, dict[str, Any]] = {}
        """By target: what its cores run with, by component."""
        self.jobs: dict[str, list[dict[str, int]]] = {}
        """Job counters by deployment, one set for each time they are asked for; the last stays."""
        self.next_job: list[dict[str, int]] = [SUCCEEDED]
        self.reason = ""
        self.router_versions = ["2.1.9", "2.1.15", "2.0.3"]
        session.events.register("before-call.greengrassv2.*", self._answer)
        session.events.register("before-call.iot.DescribeJob", self._answer)

    def _answer(self, model: Any, **_: Any) -> Any:
        return getattr(self, f"_{model.name}")(model, **self._calls.all[-1][1])

    def _CreateComponentVersion(
        self, model: Any, lambdaFunction: dict[str, Any], tags: dict[str, str], **_: Any
    ) -> Any:
        name, version = lambdaFunction["componentName"], lambdaFunction["componentVersion"]
        arn = f"arn:aws:greengrass:eu-west-1:123456789012:components:{name}:versions:{version}"
        if arn in self.components:
            return refusal(model, "ConflictException", f"Component [{name} : {version}] already exists", 409)
        self.components[arn] = {"lambdaFunction": json.loads(json.dumps(lambdaFunction)), "tags": tags}
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
        source = self.components[arn]["lambdaFunction"]
        recipe = json.dumps(_recipe(source)).encode()
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
            default = _recipe(made["lambdaFunction"])["ComponentConfiguration"]["DefaultConfiguration"] if made else {}
            after[name] = _over(merge, _over(kept, default))

    def _ListDeployments(self, model: Any, targetArn: str, historyFilter: str) -> Any:
        assert historyFilter in ("LATEST_ONLY", "ALL")
        every = historyFilter == "ALL"
        found = [d for d in self.deployments if d["targetArn"] == targetArn and (every or d["isLatestForTarget"])]
        ids = [{"deploymentId": d["deploymentId"], "targetArn": targetArn} for d in found]
        return answer(model, {"deployments": ids})

    def _GetDeployment(self, model: Any, deploymentId: str) -> Any:
        return answer(model, next(dict(d) for d in self.deployments if d["deploymentId"] == deploymentId))

    def _ListEffectiveDeployments(self, model: Any, coreDeviceThingName: str) -> Any:
        last = self.deployments[-1]
        about = {"deploymentName": "d", "targetArn": last["targetArn"], "reason": self.reason}
        times = {"creationTimestamp": NOW, "modifiedTimestamp": NOW}
        state = {"deploymentId": last["deploymentId"], "coreDeviceExecutionStatus": "FAILED"}
        return answer(model, {"effectiveDeployments": [{**state, **about, **times}]})

    def _GetCoreDevice(self, model: Any, coreDeviceThingName: str) -> Any:
        if coreDeviceThingName not in self.cores:
            return refusal(model, "ResourceNotFoundException", "Core device cannot be found", 404)
        return answer(model, {"coreDeviceThingName": coreDeviceThingName, **self.cores[coreDeviceThingName]})

    def _DescribeJob(self, model: Any, jobId: str) -> Any:
        counters = self.jobs[jobId]
        now = counters.pop(0) if len(counters) > 1 else counters[0]
        return answer(model, {"job": {"jobId": jobId, "jobProcessDetails": now}})


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


def _session() -> boto3.Session:
    session = botocore.session.Session()
    session.register_component("data_loader", _LOADER)
    return boto3.Session(botocore_session=session, region_name=REGION)


class Account:
    """The account: its state as boto3 shows it, every call that was made, and deploy.py on it."""

    def __init__(self) -> None:
        session = _session()
        self.calls = Calls(session)
        self.greengrass_v2 = FakeGreengrassV2(session, self.calls)
        self.aws = Aws(session, sleep=self._sleep)
        self.slept = 0.0
        self.v1_result = "Success"
        """What a V1 deployment comes to after a while."""
        self._own = _session()

    def client(self, service: str) -> Any:
        """Return a client whose calls are not counted."""
        return self._own.client(service)

    def _sleep(self, seconds: float) -> None:
        self.slept += seconds
        for deployment in greengrass_backends[ACCOUNT][REGION].deployments.values():
            deployment.deployment_status = self.v1_result

    def deploy(self, *argv: str, ask: Callable[[str], str] = lambda question: "no") -> int:
        """Run deploy.py; return its exit code."""
        self.calls.all.clear()
        return deploy.run(list(argv), aws=self.aws, ask=ask)

    def thing(self, name: str) -> str:
        """Make a thing with a certificate; return the certificate's ARN."""
        iot = self.client("iot")
        iot.create_thing(thingName=name)
        certificate: str = iot.create_keys_and_certificate(setAsActive=True)["certificateArn"]
        iot.attach_thing_principal(thingName=name, principal=certificate)
        return certificate
