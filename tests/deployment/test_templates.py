"""CloudFormation templates: cfn-lint on each, and greengrass_v2.yaml against deploy.py, so that they make the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
import deploy
import pytest
from botocore.validate import ParamValidator
from deployment import settings
from deployment.component import ROUTER, lambda_function
from deployment.parameters import PARAMETERS, RESOURCE_ID
from fake_aws import ACCOUNT, LAMBDA, REGION
from support import templates

PACKAGING = Path(deploy.__file__).parent
GREENGRASS_V2 = PACKAGING / "greengrass_v2.yaml"
TEMPLATES = [
    path
    for suffix in ("yaml", "yml", "json")
    for path in sorted(PACKAGING.rglob(f"*.{suffix}"))
    if "AWSTemplateFormatVersion" in path.read_text(encoding="utf-8")
]
TEMPLATE = templates.load(GREENGRASS_V2)
PSEUDO = {"AWS::Partition": "aws", "AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "FunctionVersion": f"{LAMBDA}:1"}
NONE = object()


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_cfn_lint_finds_nothing(path: Path) -> None:
    from cfnlint.api import lint_file  # here, as it takes a second

    assert [f"{match.linenumber}: {match.message}" for match in lint_file(path)] == []


def test_checked_templates_are_all_that_are_shipped() -> None:
    assert {path.name for path in TEMPLATES} == {"alarms.yaml", "greengrass_v2.yaml", "security-profiles.yaml"}


class Resolved:
    """The template's documents for some parameters, as CloudFormation works them out."""

    def __init__(self, **given: Any):
        defaults = {name: about["Default"] for name, about in TEMPLATE["Parameters"].items() if "Default" in about}
        assert set(given) <= set(TEMPLATE["Parameters"])
        self._values = {**PSEUDO, **defaults, **given, "AWS::NoValue": NONE}

    def properties(self, resource: str) -> Any:
        return self._value(TEMPLATE["Resources"][resource]["Properties"])

    def exists(self, resource: str) -> bool:
        return self._condition(TEMPLATE["Resources"][resource]["Condition"])

    def _condition(self, name: str) -> bool:
        return bool(self._value(TEMPLATE["Conditions"][name]))

    def _value(self, node: Any) -> Any:
        if isinstance(node, list):
            return [value for value in map(self._value, node) if value is not NONE]
        if not isinstance(node, Mapping):
            return node
        if len(node) == 1:
            name, argument = next(iter(node.items()))
            resolve = getattr(self, "_" + name.replace("Fn::", "").lower(), None)
            if resolve and (name.startswith("Fn::") or name in ("Ref", "Condition")):
                return resolve(argument)
        values = {key: self._value(value) for key, value in node.items()}
        return {key: value for key, value in values.items() if value is not NONE}

    def _ref(self, name: str) -> Any:
        return self._values[name]

    def _getatt(self, argument: Any) -> Any:
        resource, attribute = argument if isinstance(argument, list) else argument.split(".")
        return self.properties(resource)["LambdaFunction"][attribute]

    def _if(self, argument: list[Any]) -> Any:
        return self._value(argument[1] if self._condition(argument[0]) else argument[2])

    def _equals(self, argument: list[Any]) -> bool:
        left, right = self._value(argument)
        return bool(left == right)

    def _not(self, argument: list[Any]) -> bool:
        return not self._value(argument)[0]

    def _and(self, argument: list[Any]) -> bool:
        return all(self._value(argument))

    def _join(self, argument: list[Any]) -> str:
        assert isinstance(argument[0], str), "CloudFormation takes no function as a delimiter"
        return str(argument[0].join(self._value(argument[1])))

    def _split(self, argument: list[Any]) -> list[str]:
        return list(self._value(argument[1]).split(argument[0]))

    def _sub(self, argument: Any) -> str:
        text, more = argument if isinstance(argument, list) else (argument, {})
        for name, value in {**self._values, **{key: self._value(node) for key, node in more.items()}}.items():
            text = text.replace(f"${{{name}}}", str(value))
        assert "${" not in text, text
        return str(text)


def as_api(node: Any, map_keys: bool = False) -> Any:
    """Return a document with CloudFormation's capital names as the API's request has it."""
    if isinstance(node, list):
        return [as_api(value) for value in node]
    if not isinstance(node, dict):
        return node
    kept = ("EnvironmentVariables", "ComponentDependencies", "Attributes", "Components")
    return {
        key if map_keys else key[0].lower() + key[1:]: as_api(value, map_keys=key in kept)
        for key, value in node.items()
    }


CASES: list[dict[str, str]] = [
    {},
    {"IsolationMode": "NoContainer"},
    {"ReportFormat": "cbor", "MetricNames": "short", "SampleIntervalSeconds": "600", "LogLevel": "DEBUG"},
    {"StateDirectory": "/var/lib/connector", "CustomMetrics": "cpu_usage", "ProcDestinationPath": "/p"},
    {"MetricsTopic": "site/{thing}/{format}", "ExcludeInterfaces": "", "TargetType": "thinggroup"},
    {"MetricsTopic": "site/all", "TargetType": "thinggroup", "ReportFormat": "cbor"},
    {"TargetType": "thinggroup"},
    {"SecurityProfiles": "RemoteManagementPorts,/etc/p.json"},
    {"SecurityProfiles": "A", "ViolationsTopic": "$aws/rules/Alarms/{thing}/x", "TargetType": "thinggroup"},
    {"SecurityProfiles": "A", "ViolationsTopic": "site/alarms"},
    {"ViolationsTopic": "site/alarms"},
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_template_makes_what_the_tool_makes(case: dict[str, str]) -> None:
    resolved = Resolved(**case, TargetName="gw-1", IotPolicyThings="gw-1")
    given = {name: value for name, value in case.items() if name not in ("IsolationMode", "TargetType")}
    wanted = settings.make(given, isolation=case.get("IsolationMode", settings.CONTAINER))
    model = boto3.client("greengrassv2", REGION).meta.service_model

    component = as_api(resolved.properties("Component"))["lambdaFunction"]
    assert component.pop("componentVersion") == "1.0.0"
    assert component == lambda_function(wanted, f"{LAMBDA}:1", deploy.NAME, "any")
    request = model.operation_model("CreateComponentVersion").input_shape
    assert not ParamValidator().validate({"lambdaFunction": component}, request).has_errors()

    deployment = as_api(resolved.properties("Deployment"))
    target = case.get("TargetType", "thing")
    assert deployment["targetArn"] == f"arn:aws:iot:{REGION}:{ACCOUNT}:{target}/gw-1"
    assert deployment["components"][deploy.NAME] == {
        "componentVersion": "1.0.0",
        "configurationUpdate": {"reset": [""]},
    }
    router = deployment["components"][ROUTER]
    thing = "gw-1" if target == "thing" else "{iot:thingName}"
    expected = {entry["id"]: entry for entry in wanted.subscriptions(f"component:{deploy.NAME}", thing)}
    assert json.loads(router["configurationUpdate"]["merge"]) == {"subscriptions": expected}
    request = model.operation_model("CreateDeployment").input_shape
    assert not ParamValidator().validate(deployment, request).has_errors()

    assert resolved.exists("IotPolicy") == ("MetricsTopic" not in case)
    if resolved.exists("IotPolicy"):
        policy = resolved.properties("IotPolicy")["PolicyDocument"]
        expected_policy = wanted.iot_policy(f"arn:aws:iot:{REGION}:{ACCOUNT}", "gw-1")
        if "SecurityProfiles" in case and "{thing}" in case.get("ViolationsTopic", ""):
            alarms = expected_policy["Statement"][0]["Resource"]
            alarms[1] = alarms[1].replace("gw-1", "*")  # a template can't replace {thing} by a parameter
        assert policy == expected_policy


def test_template_without_target_and_things_makes_no_deployment_and_no_policy() -> None:
    assert not Resolved().exists("Deployment")
    assert not Resolved().exists("IotPolicy")


@pytest.mark.parametrize("parameter", [p for p in PARAMETERS if p.name != RESOURCE_ID], ids=lambda p: p.name)
def test_template_parameters_match_the_connectors(parameter: Any) -> None:
    about = TEMPLATE["Parameters"][parameter.name]
    label = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterLabels"][parameter.name]
    assert (about["Type"], about["AllowedPattern"], about["Default"], label["default"]) == (
        "String",
        parameter.pattern,
        parameter.default,
        parameter.title,
    )
    assert about["Description"].startswith(parameter.description)
    assert about["Description"].endswith(f" Valid: {parameter.valid}.")


def test_every_parameter_is_in_one_group() -> None:
    groups = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert sorted(name for group in groups for name in group["Parameters"]) == sorted(TEMPLATE["Parameters"])


@pytest.mark.filterwarnings("ignore:Tried to parse AWS..GreengrassV2")
def test_stack_makes_the_function_and_its_role(account: Any, make_zip: Any) -> None:
    # The Greengrass V2 resources are not in moto; the test above compares them.
    account.client("s3").create_bucket(Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": REGION})
    account.client("s3").put_object(Bucket="artifacts", Key="c.zip", Body=Path(make_zip()).read_bytes())
    given = {"ArtifactBucket": "artifacts", "ArtifactKey": "c.zip"}
    account.client("cloudformation").create_stack(
        StackName="connector",
        TemplateBody=GREENGRASS_V2.read_text(encoding="utf-8"),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    [function] = account.client("lambda").list_functions()["Functions"]
    [role] = account.client("iam").list_roles()["Roles"]
    assert (function["Handler"], function["Runtime"], function["Role"]) == (settings.HANDLER, "python3.12", role["Arn"])
