"""What `--dry-run` shows: what is known of a deployment without asking AWS."""

from __future__ import annotations

from deployment.artifact import Artifact
from deployment.plan import Change, show
from deployment.settings import Settings


def text(built: Artifact, settings: Settings, target: str, thing: str, profiles: list[str]) -> str:
    """Return the zip, the function's settings and its subscriptions.

    thing: stands for the core's name
    profiles: notes on the security profiles
    """
    size = len(built.data)
    processor = "any processor" if built.arch == "any" else built.arch
    about = [
        f"Zip {built.path}: connector {built.version}, Python {built.runtime.removeprefix('python')}, {processor}, "
        f"{size:,} bytes, SHA-256 {built.sha256}",
        f"Target: {target}",
    ]
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
    note = (
        "AWS was not asked: what a target has already stays, unless it is given here or in --reset; `plan` shows that."
    )
    return "\n".join([*about, "", show(changes, [*profiles, *settings.notes(), note])])
