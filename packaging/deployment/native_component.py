"""Greengrass V2: the settings and the zip of the native component, read from a deployment."""

from __future__ import annotations

import re

from deployment import recipe
from deployment.aws import Aws
from deployment.component import Component
from deployment.configuration import merged
from deployment.intent import Deployed, deployed_from
from deployment.plan import Document
from deployment.settings import NO_CONTAINER


def deployed_of(aws: Aws, name: str, spec: Document) -> Deployed:
    """Return the settings of the component as a deployment has it: the defaults, and what that merges over them."""
    arn = Component(aws, name).version_arn(spec["componentVersion"])
    return deployed_from(recipe.parameters_in(merged(spec)), NO_CONTAINER, None, "", component_arn=arn)


def python_of(document: Document) -> str | None:
    """Return the Python that a recipe starts, in the form of Lambda's names; None if it has none."""
    for manifest in document.get("Manifests", []):
        run = manifest.get("Lifecycle", {}).get("run", {})
        found = re.search(r"\bpython3\.\d+", run.get("Script", "") if isinstance(run, dict) else "")
        if found:
            return found[0]
    return None
