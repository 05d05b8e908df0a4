"""The AWS IoT policy that lets a core publish reports and hear the answers, made and attached on request."""

from __future__ import annotations

import json
from dataclasses import dataclass

from botocore.exceptions import ClientError

from fleet.aws import Aws, missing
from fleet.plan import Change, Document

_MOST_VERSIONS = 5  # AWS IoT keeps no more of one policy


@dataclass(frozen=True)
class IotPolicy:
    """A policy of a name of its own, so that nobody else's is touched."""

    aws: Aws
    name: str

    def changes(self, document: Document, principals: list[str]) -> list[Change]:
        """Return what makes the policy say `document`, attached to `principals`; other attachments stay."""
        current, attached = self._current()
        wanted = attached + [principal for principal in principals if principal not in attached]
        if current == document and wanted == attached:
            return []
        before = None if current is None else {"document": current, "attachedTo": attached}
        after = {"document": document, "attachedTo": wanted}
        return [Change(f"AWS IoT policy {self.name}", before, after, lambda: self._write(after, before))]

    def removals(self, principals: list[str]) -> list[Change]:
        """Return what detaches the policy from `principals`, and deletes it if it is attached to nothing else."""
        current, attached = self._current()
        left = [principal for principal in attached if principal not in principals]
        if current is None or left == attached:
            return []
        before = {"document": current, "attachedTo": attached}
        after = {"document": current, "attachedTo": left} if left else None
        return [Change(f"AWS IoT policy {self.name}", before, after, lambda: self._remove(attached, left))]

    def _current(self) -> tuple[Document | None, list[str]]:
        try:
            policy = self.aws.client("iot").get_policy(policyName=self.name)
        except ClientError as error:
            if missing(error):
                return None, []
            raise
        attached = self.aws.pages("iot", "list_targets_for_policy", "targets", policyName=self.name)
        return json.loads(policy["policyDocument"]), attached

    def _write(self, after: Document, before: Document | None) -> None:
        iot, text = self.aws.client("iot"), json.dumps(after["document"])
        if before is None:
            iot.create_policy(policyName=self.name, policyDocument=text)
        elif before["document"] != after["document"]:
            old = self._old_versions()
            if len(old) + 1 >= _MOST_VERSIONS:
                iot.delete_policy_version(policyName=self.name, policyVersionId=old[0])
            iot.create_policy_version(policyName=self.name, policyDocument=text, setAsDefault=True)
        for principal in after["attachedTo"]:
            if before is None or principal not in before["attachedTo"]:
                iot.attach_policy(policyName=self.name, target=principal)

    def _old_versions(self) -> list[str]:
        """Return the ids of all versions but the default one, oldest first."""
        versions = self.aws.client("iot").list_policy_versions(policyName=self.name)["policyVersions"]
        return [v["versionId"] for v in sorted(versions, key=lambda v: v["createDate"]) if not v["isDefaultVersion"]]

    def _remove(self, attached: list[str], left: list[str]) -> None:
        iot = self.aws.client("iot")
        for principal in attached:
            if principal not in left:
                iot.detach_policy(policyName=self.name, target=principal)
        if not left:
            for version in self._old_versions():
                iot.delete_policy_version(policyName=self.name, policyVersionId=version)
            iot.delete_policy(policyName=self.name)
