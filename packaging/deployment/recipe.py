"""The native component's recipe, and its configuration: for the cloud (deploy.py v2 --native) and for `ggl-cli`.

What a recipe may hold: AWS IoT Greengrass' component recipe reference, format 2020-01-25; recipe.schema.json is that as
far as the recipes made here need it, less what nucleus lite does not know (Skipif, shutdown, recover).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema

from connector.component_settings import ACCESS_CONTROL, PAYLOAD
from deployment.artifact import Artifact
from deployment.errors import DeployError
from deployment.plan import Document
from deployment.settings import NO_CONTAINER, READ_BY_FUNCTION, Settings, default_of, filter_of, make

SCHEMA: Document = json.loads(Path(__file__).with_name("recipe.schema.json").read_text(encoding="utf-8"))
MAX_RECIPE_BYTES = 16 * 1024  # the service's limit, and nucleus lite's memory for one
MAX_LITE_VALUE_BYTES = 1024  # of one value, as JSON; observed on aws-greengrass-lite 2.6.0

# Platform attributes of a core, by the zip's architecture.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "aarch64"}

# Whose topics accessControl allows: a core's own, as nucleus lite fills it in, and the Java nucleus where it has
# interpolateComponentConfiguration (2.6); or every thing's.
THING = "{iot:thingName}"
EVERY_THING = "+"
_PROXY = "aws.greengrass.ipc.mqttproxy"

NAMES = frozenset(parameter.name for parameter in READ_BY_FUNCTION)


def recipe(built: Artifact, name: str, version: str, uri: str | None, configuration: Document) -> Document:
    """Return the recipe; raise DeployError where it breaks the format's rules.

    uri: of the zip in S3; None where its files lie unpacked in the component's folder on the device
    configuration: the default one
    """
    python = built.runtime
    folder = "{artifacts:path}"
    artifacts = {}
    if uri is not None:
        folder = f"{{artifacts:decompressedPath}}/{uri.rpartition('/')[2].removesuffix('.zip')}"
        permission = {"Read": "ALL", "Execute": "NONE"}
        artifacts = {"Artifacts": [{"Uri": uri, "Unarchive": "ZIP", "Permission": permission}]}
    made = {
        "RecipeFormatVersion": "2020-01-25",
        "ComponentName": name,
        "ComponentVersion": version,
        "ComponentType": "aws.greengrass.generic",
        "ComponentDescription": "Reports connections, ports and traffic of the device to AWS IoT Device Defender.",
        "ComponentPublisher": "device-defender-connector",
        "ComponentConfiguration": {"DefaultConfiguration": configuration},
        "Manifests": [
            {
                # Nucleus lite takes only manifests that name a runtime; "*" is both.
                "Platform": {"os": "linux", "architecture": ARCHITECTURES[built.arch], "runtime": "*"},
                # The compiled modules are for this Python. exec, so that signals reach it and not the shell. No Setenv:
                # the Java nucleus starts a component by `sudo -E`, which takes PYTHONPATH out (sudoers(5), env_delete).
                "Lifecycle": {
                    "run": {"Script": f'exec env "PYTHONPATH={folder}" {python} -u -m connector component'},
                },
                **artifacts,
            }
        ],
    }
    check(made)
    return made


def check(document: Document) -> None:
    """Raise DeployError, with the place, if a recipe breaks the format's rules or is too long."""
    errors = sorted(jsonschema.Draft202012Validator(SCHEMA).iter_errors(document), key=lambda error: error.json_path)
    if errors:
        raise DeployError(f"the component's recipe is not valid at {errors[0].json_path}: {errors[0].message}")
    size = len(json.dumps(document).encode())
    if size > MAX_RECIPE_BYTES:
        raise DeployError(
            f"the component's recipe has {size:,} bytes; Greengrass takes {MAX_RECIPE_BYTES:,}: shorten the parameters"
        )


def long_values(configuration: Document) -> list[str]:
    """Return a note for each parameter that is too long for nucleus lite, whose deployment fails with it."""
    sizes = {name: len(json.dumps(configuration[name])) for name in sorted(NAMES & configuration.keys())}
    return [
        f"{name} has {size:,} bytes. Nucleus lite takes {MAX_LITE_VALUE_BYTES:,}: a deployment with it fails there."
        for name, size in sizes.items()
        if size > MAX_LITE_VALUE_BYTES
    ]


def default_configuration(name: str) -> Document:
    """Return every parameter's default, and what the component may do with them."""
    return configuration(make({}, isolation=NO_CONTAINER), name)


def configuration(settings: Settings, name: str, max_payload_bytes: int | None = None, things: str = THING) -> Document:
    """Return the settings of the component of this name as its whole configuration.

    things: whose topics it may use, a thing's name, THING or EVERY_THING
    """
    payload = {} if max_payload_bytes is None else {PAYLOAD.name: str(max_payload_bytes)}
    return {**_values(settings), **payload, ACCESS_CONTROL: access_control(settings, name, things)}


def update(
    settings: Settings, name: str, before: Document, max_payload_bytes: int | None = None, things: str = THING
) -> Document:
    """Return what a deployment merges into the default configuration.

    before: what the deployment merges now; what is not the connector's stays
    things: as of `configuration`
    max_payload_bytes: longest message that the nucleus carries; None leaves it at the component's default
    """
    default = default_configuration(name)
    ours: Document = {key: value for key, value in _values(settings).items() if value != default.get(key)}
    if max_payload_bytes is not None:
        ours[PAYLOAD.name] = str(max_payload_bytes)
    others = {key: value for key, value in before.items() if key not in NAMES | {ACCESS_CONTROL, PAYLOAD.name}}
    access = _with_others(access_control(settings, name, things), before.get(ACCESS_CONTROL, {}), name)
    if access != default[ACCESS_CONTROL]:
        ours[ACCESS_CONTROL] = access
    return {**others, **ours}


def _values(settings: Settings) -> dict[str, str]:
    """Return the parameters; one that is empty by default only with a value, as in a function's environment.

    An empty StateDirectory would turn off the one that the component has by itself.
    """
    values = settings.parameters
    return {name: values[name] for name in sorted(NAMES) if values[name] or default_of(name)}


def access_control(settings: Settings, name: str, things: str = THING) -> Document:
    """Return which topics the component may publish and subscribe to through the core."""
    topics = [
        topic._replace(name=filter_of(topic.name) if things == EVERY_THING else topic.name.replace("{thing}", things))
        for topic in settings.topics("{thing}")
    ]
    answers = [f"{topic.name}/+" for topic in topics if topic.is_answered]
    allowed: dict[str, tuple[str, str, list[str]]] = {
        "publish": ("Send reports and events of alarms.", "PublishToIoTCore", [topic.name for topic in topics]),
        "subscribe": ("Receive the service's answers to reports.", "SubscribeToIoTCore", answers),
    }
    return {
        _PROXY: {
            f"{name}:mqttproxy:{key}": {
                "policyDescription": description,
                "operations": [f"aws.greengrass#{operation}"],
                "resources": resources,
            }
            for key, (description, operation, resources) in allowed.items()
        }
    }


def _with_others(ours: Document, before: Document, name: str) -> Document:
    """Return the access control with what somebody else allowed the component."""
    result = {service: dict(policies) for service, policies in before.items()}
    for service, policies in ours.items():
        theirs = {key: policy for key, policy in result.get(service, {}).items() if not key.startswith(f"{name}:")}
        result[service] = {**theirs, **policies}
    return result


def parameters_in(update: Document) -> dict[str, str]:
    """Return the parameters in a configuration as text; each reads as its default where it is not there."""
    values: dict[str, Any] = {name: update[name] for name in NAMES & update.keys()}
    chosen = {name: _text(value) for name, value in values.items()}
    defaults = {name: default_of(name) for name in NAMES}
    return {**defaults, "ProcDestinationPath": "/proc", **chosen}


def _text(value: Any) -> str:
    """Return a value that a person may have written as a number or a list."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
