"""The zip that a target runs now, from where AWS keeps it: a Lambda function's version, or a component's artifact."""

from __future__ import annotations

import json

from botocore.exceptions import ClientError

from deployment.aws import Aws, missing
from deployment.intent import Deployed


def read(aws: Aws, deployed: Deployed) -> bytes | None:
    """Return the zip, None where it is no longer there; raise OSError if it can't be read."""
    try:
        url = _url(aws, deployed)
    except ClientError as error:
        if missing(error):
            return None
        raise
    return aws.fetch(url) if url else None


def _url(aws: Aws, deployed: Deployed) -> str:
    if deployed.function_arn:
        return str(aws.client("lambda").get_function(FunctionName=deployed.function_arn)["Code"]["Location"])
    if not deployed.component_arn:
        return ""
    client = aws.client("greengrassv2")
    # The artifact's name is what stands behind the scheme of its URI in the recipe.
    answer = client.get_component(arn=deployed.component_arn, recipeOutputFormat="JSON")
    artifacts = recipe_artifacts(answer["recipe"])
    if not artifacts:
        return ""
    found = client.get_component_version_artifact(arn=deployed.component_arn, artifactName=artifacts[0])
    return str(found["preSignedUrl"])


def recipe_artifacts(text: bytes) -> list[str]:
    """Return the names of the artifacts in a recipe in JSON."""
    manifests = json.loads(text).get("Manifests", [])
    uris = [artifact["Uri"] for manifest in manifests for artifact in manifest.get("Artifacts", [])]
    return [uri.partition(":")[2].lstrip("/") for uri in uris]
