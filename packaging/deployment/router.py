"""The legacy subscription router's part of a V2 deployment, which we share with other functions."""

from __future__ import annotations

import json

from deployment.aws import Aws
from deployment.component import ROUTER, semver, versions_of
from deployment.errors import DeployError
from deployment.plan import Document
from deployment.settings import SUBSCRIPTION_IDS

MIN_VERSION = (2, 1, 0)  # the first that knows components by name


def merged(current: Document | None, ours: dict[str, Document], aws: Aws, version: str | None) -> Document:
    """Return the router's part: the configuration of others as it is, and our subscriptions.

    `current` is None where the deployment has no router; `version` is the one to deploy, None for the one it has, or
    the newest. What was merged once stays on a core until it is reset, so subscriptions that are removed are reset.

    Raises DeployError for a version that can't name components.
    """
    if version or current is None:
        current = {**(current or {}), "componentVersion": version or newest(aws)}
    if semver(current["componentVersion"]) < MIN_VERSION:
        raise DeployError(
            f"{ROUTER} {current['componentVersion']}, in the target's deployment, can't name components; "
            "deploy 2.1 or later with --router-version"
        )
    update = current.get("configurationUpdate", {})
    merge = json.loads(update.get("merge") or "{}")
    merged_before = merge.get("subscriptions", {})
    others = {key: s for key, s in merged_before.items() if key not in SUBSCRIPTION_IDS}
    merge = {**merge, "subscriptions": {**others, **ours}}
    if not merge["subscriptions"]:
        del merge["subscriptions"]
    paths = {id_: f"/subscriptions/{id_}" for id_ in SUBSCRIPTION_IDS}
    kept = update.get("reset", [])
    # One of ours that is not wanted now, and was wanted once: before this deployment, if its reset is there already.
    gone = [id_ for id_ in paths if id_ not in ours and (id_ in merged_before or paths[id_] in kept)]
    reset = [path for path in kept if path not in paths.values()] + [paths[id_] for id_ in gone]
    new = {"merge": json.dumps(merge)} if merge else {}
    return {**current, "configurationUpdate": new | ({"reset": reset} if reset else {})}


def newest(aws: Aws) -> str:
    """Return the newest version that AWS offers; raise DeployError if there is none."""
    arn = f"arn:{aws.partition}:greengrass:{aws.region}:aws:components:{ROUTER}"
    versions = versions_of(aws, arn)
    if not versions:
        raise DeployError(f"{ROUTER} is not offered in {aws.region}: does Greengrass V2 exist there?")
    return max(versions, key=semver)
