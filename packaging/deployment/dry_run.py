"""What `--dry-run` shows: what is known of a deployment without asking AWS."""

from __future__ import annotations

from deployment import recipe, zip_object
from deployment.artifact import Artifact
from deployment.plan import Change, show
from deployment.settings import Settings

_NOTE = "AWS was not asked: what a target has already stays, unless it is given here or in --reset; `plan` shows that."


def component_text(
    built: Artifact, settings: Settings, target: str, name: str, bucket: str, profiles: list[str], things: str
) -> str:
    """Return the zip, the native component's recipe and what the deployment merges into its configuration.

    name: the component's
    things: whose topics it may use, as of `recipe.configuration`
    """
    location = zip_object.location(built, bucket)
    default = recipe.default_configuration(name)
    changes = [
        Change("component", None, recipe.recipe(built, name, built.version, location, default), lambda: None),
        Change("configuration in the deployment", None, recipe.update(settings, name, {}, things=things), lambda: None),
    ]
    return "\n".join([*_about(built, target), "", show(changes, [*profiles, *settings.notes(), _NOTE])])


def text(built: Artifact, settings: Settings, target: str, thing: str, profiles: list[str]) -> str:
    """Return the zip, the function's settings and its subscriptions.

    thing: stands for the core's name
    profiles: notes on the security profiles
    """
    function = {
        "environmentVariables": settings.environment,
        "isolation": settings.isolation,
        "volumes": [f"{volume.source} on {volume.destination}, {volume.permission}" for volume in settings.volumes],
    }
    if settings.volumes:
        function["memory"] = f"{settings.memory_kb / 1024:g} MB"
    subscriptions = {
        entry["id"]: f"{entry['subject']}: {entry['source']} -> {entry['target']}"
        for entry in settings.subscriptions("the connector", thing)
    }
    changes = [
        Change("function on the core", None, function, lambda: None),
        Change("subscriptions", None, subscriptions, lambda: None),
    ]
    return "\n".join([*_about(built, target), "", show(changes, [*profiles, *settings.notes(), _NOTE])])


def _about(built: Artifact, target: str) -> list[str]:
    size = len(built.data)
    processor = "any processor" if built.arch == "any" else built.arch
    return [
        f"Zip {built.path}: connector {built.version}, Python {built.runtime.removeprefix('python')}, {processor}, "
        f"{size:,} bytes, SHA-256 {built.sha256}",
        f"Target: {target}",
    ]
