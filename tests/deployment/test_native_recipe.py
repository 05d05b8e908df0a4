"""The native component's recipe: what is in it, and that it keeps the rules of the format."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from deployment import artifact, recipe, settings
from deployment.errors import DeployError
from deployment.settings import NO_CONTAINER

from connector import component_settings, config

NAME = "device-defender-connector-native"
URI = "s3://artifacts/device-defender-connector/0123/device-defender-connector-native-1.0.0-py312-x86_64.zip"
MQTT = "aws.greengrass.ipc.mqttproxy"
# What nucleus lite answers to a component that asks for its configuration.
MAX_ANSWER_BYTES = 5_000


@pytest.fixture
def built(native_zip: str) -> artifact.Artifact:
    return artifact.load(Path(native_zip))


def made(built: artifact.Artifact, **parameters: str) -> dict[str, Any]:
    wanted = settings.make(parameters, isolation=NO_CONTAINER)
    return recipe.recipe(built, NAME, "1.0.0", URI, recipe.configuration(wanted, NAME))


def test_recipe_starts_the_component_from_the_unpacked_artifact(built: artifact.Artifact) -> None:
    document = made(built)
    configuration = document.pop("ComponentConfiguration")["DefaultConfiguration"]
    del document["ComponentDescription"], document["ComponentPublisher"]
    folder = "{artifacts:decompressedPath}/device-defender-connector-native-1.0.0-py312-x86_64"
    assert document == {
        "RecipeFormatVersion": "2020-01-25",
        "ComponentName": NAME,
        "ComponentVersion": "1.0.0",
        "ComponentType": "aws.greengrass.generic",
        "Manifests": [
            {
                "Platform": {"os": "linux", "architecture": "amd64", "runtime": "*"},
                "Lifecycle": {
                    "run": {"Script": f'exec env "PYTHONPATH={folder}" python3.12 -u -m connector component'}
                },
                "Artifacts": [{"Uri": URI, "Unarchive": "ZIP", "Permission": {"Read": "ALL", "Execute": "NONE"}}],
            }
        ],
    }
    defaults = {p.name: p.default for p in config.PARAMETERS if p.default and p.name in recipe.NAMES}
    topic = "$aws/things/{iot:thingName}/defender/metrics/json"
    access = configuration.pop("accessControl")
    assert configuration == {**defaults, "ProcDestinationPath": "/proc"}
    assert [(p["operations"], p["resources"]) for p in access[MQTT].values()] == [
        (["aws.greengrass#PublishToIoTCore"], [topic]),
        (["aws.greengrass#SubscribeToIoTCore"], [f"{topic}/+"]),
    ]


def test_component_reads_the_default_configuration_without_a_warning() -> None:
    configuration = recipe.default_configuration(NAME)
    environment = {"AWS_IOT_THING_NAME": "gw-1"}
    read, warnings = component_settings.read(configuration, environment, "/work")
    without, _ = component_settings.read({}, environment, "/work")
    assert warnings == []
    assert config.parse(read.parameters) == config.parse(without.parameters)
    assert read.parameters["StateDirectory"] == "/work"


def test_topics_of_alarms_and_of_ones_own_are_allowed(built: artifact.Artifact) -> None:
    document = made(
        built, SecurityProfiles="DenialOfService", MetricsTopic="site/{thing}/{format}", ReportFormat="cbor"
    )
    access = document["ComponentConfiguration"]["DefaultConfiguration"]["accessControl"][MQTT]
    assert [policy["resources"] for policy in access.values()] == [
        ["site/{iot:thingName}/cbor", "device-defender/{iot:thingName}/violations"],
        ["site/{iot:thingName}/cbor/+"],
    ]


def test_policies_have_ids_of_the_component_as_a_core_takes_each_only_once(built: artifact.Artifact) -> None:
    access = made(built)["ComponentConfiguration"]["DefaultConfiguration"]["accessControl"]
    assert all(key.startswith(f"{NAME}:") for key in access[MQTT])


def test_configuration_is_short_enough_for_nucleus_lite_to_return(built: artifact.Artifact) -> None:
    configuration = made(built, SecurityProfiles="A" * 128)["ComponentConfiguration"]["DefaultConfiguration"]
    assert len(json.dumps(configuration)) < MAX_ANSWER_BYTES


def _set(*path: Any, value: Any) -> Any:
    def change(document: dict[str, Any]) -> None:
        place: Any = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


RUN = ("Manifests", 0, "Lifecycle", "run")
ACCESS = ("ComponentConfiguration", "DefaultConfiguration", "accessControl")


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (_set("ComponentName", value="a b"), "$.ComponentName"),
        (_set("ComponentVersion", value="1.0"), "$.ComponentVersion"),
        (_set("ComponentType", value="aws.greengrass.lambda"), "$.ComponentType"),
        (_set("componentName", value="x"), "$"),
        (_set("Manifests", value=[]), "$.Manifests"),
        (_set("Manifests", 0, "Platform", value={"os": "linux"}), "$.Manifests[0].Platform"),
        (_set("Manifests", 0, "Platform", "architecture", value="x86_64"), "$.Manifests[0].Platform.architecture"),
        (_set("Manifests", 0, "Lifecycle", "shutdown", value="true"), "$.Manifests[0].Lifecycle"),
        (_set("Manifests", 0, "Lifecycle", "startup", value="true"), "$.Manifests[0].Lifecycle"),
        (_set(*RUN, value={"Skipif": "exists /x", "Script": "true"}), "$.Manifests[0].Lifecycle.run"),
        (_set(*RUN, "Setenv", value={"A": 1}), "$.Manifests[0].Lifecycle.run"),
        (_set("Manifests", 0, "Artifacts", 0, "Uri", value="file:///x.zip"), "$.Manifests[0].Artifacts[0].Uri"),
        (_set("Manifests", 0, "Artifacts", 0, "Unarchive", value="TAR"), "$.Manifests[0].Artifacts[0].Unarchive"),
        (_set(*ACCESS, value={MQTT: {"1": {"operations": ["*"]}}}), "$.ComponentConfiguration.DefaultConfiguration"),
        (_set(*ACCESS, value={"mqttproxy": {}}), "$.ComponentConfiguration.DefaultConfiguration.accessControl"),
    ],
)
def test_recipe_against_the_rules_is_refused_with_the_place(built: artifact.Artifact, change: Any, place: str) -> None:
    document = copy.deepcopy(made(built))
    change(document)
    with pytest.raises(DeployError) as caught:
        recipe.check(document)
    assert f"the component's recipe is not valid at {place}" in str(caught.value)


def test_recipe_that_is_too_long_is_refused(built: artifact.Artifact) -> None:
    with pytest.raises(DeployError, match=r"recipe has \d\d,\d{3} bytes; Greengrass takes 16,384"):
        made(built, SecurityProfiles=",".join(f"/etc/{number:0120}.json" for number in range(150)))


def test_schema_is_a_valid_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(recipe.SCHEMA)


def test_settings_of_a_person_are_read_back(built: artifact.Artifact) -> None:
    wanted = settings.make({"MaxListSize": "9", "ExcludeInterfaces": ""}, isolation=NO_CONTAINER)
    merged = recipe.update(wanted, NAME, {})
    assert merged == {"MaxListSize": "9", "ExcludeInterfaces": ""}
    assert {**recipe.parameters_in(merged)} == wanted.parameters
    by_hand = recipe.parameters_in({"SampleIntervalSeconds": 600, "CustomMetrics": ["cpu_usage", "memory_usage"]})
    assert (by_hand["SampleIntervalSeconds"], by_hand["CustomMetrics"]) == ("600", "cpu_usage,memory_usage")
