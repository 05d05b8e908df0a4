"""What a deployment says about a component's configuration (`configurationUpdate`)."""

from __future__ import annotations

import json

from deployment.plan import Document


def merged(spec: Document) -> Document:
    """Return what a deployment merges into a component's configuration."""
    document: Document = json.loads(spec.get("configurationUpdate", {}).get("merge") or "{}")
    return document


def readable(components: Document) -> Document:
    """Return the components with their configuration as JSON instead of JSON in a string, for comparing and showing."""
    readable = {}
    for name, spec in sorted(components.items()):
        update = {key: value for key, value in spec.get("configurationUpdate", {}).items() if value}
        if "merge" in update:
            update["merge"] = json.loads(update["merge"])
        rest = {key: value for key, value in spec.items() if key != "configurationUpdate"}
        readable[name] = {**rest, "configurationUpdate": update} if update else rest
    return readable
