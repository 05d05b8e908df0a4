"""Greengrass V1: the definitions that a group version points to, one for each kind, and the merging of entries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deployment.aws import Aws
from deployment.errors import DeployError
from deployment.plan import Document


class Definitions:
    """The definitions of a group, each read when it is first needed.

    arns: of the versions that the group's newest version has, or that its next one will have
    """

    def __init__(self, aws: Aws) -> None:
        self.arns: dict[str, str] = {}
        self._aws = aws
        self._read: dict[str, Document] = {}

    def of(self, kind: str, arns: dict[str, str] | None = None) -> Document:
        """Return a definition with all its entries, {} without one.

        arns: those of the group version to take it from, by default the newest version
        """
        arn = (self.arns if arns is None else arns).get(f"{kind}DefinitionVersionArn")
        if not arn:
            return {}
        if arn not in self._read:  # one version never changes
            self._read[arn] = self._read_whole(kind, arn)
        return self._read[arn]

    def _read_whole(self, kind: str, arn: str) -> Document:
        get = getattr(self._aws.client("greengrass"), f"get_{kind.lower()}_definition_version")
        request = {f"{kind}DefinitionId": arn.split("/")[-3], f"{kind}DefinitionVersionId": arn.split("/")[-1]}
        page = get(**request)
        definition, entries = page["Definition"], list(page["Definition"].get(f"{kind}s", []))
        while page.get("NextToken"):
            page = get(**request, NextToken=page["NextToken"])
            entries += page["Definition"].get(f"{kind}s", [])
        return {**definition, f"{kind}s": entries}

    def writer(self, group: str, kind: str, definition: Document) -> Callable[[], None]:
        """Return a function that writes a definition, as the next version of the group's own or as its first."""
        client = self._aws.client("greengrass")

        def write() -> None:
            key = f"{kind}DefinitionVersionArn"
            create = f"create_{kind.lower()}_definition"
            if not definition[f"{kind}s"] and not definition.get("DefaultConfig"):
                self.arns.pop(key, None)
            elif key in self.arns:
                parent = {f"{kind}DefinitionId": self.arns[key].split("/")[-3]}
                self.arns[key] = getattr(client, f"{create}_version")(**parent, **definition)["Arn"]
            else:
                made = getattr(client, create)(Name=f"{group}-{kind.lower()}s", InitialVersion=definition)
                self.arns[key] = made["LatestVersionArn"]

        return write


def merged(entries: list[Document], wanted: list[Document], unwanted: list[Document]) -> list[Document]:
    """Return `entries` with the wanted ones in their places or at the end, and the other unwanted ones left out."""
    new = {entry["Id"]: entry for entry in wanted}
    result = []
    for entry in entries:
        ours = new.pop(entry["Id"], None)
        if ours:
            result.append(entry if bare(entry) == bare(ours) else ours)
        elif entry not in unwanted:
            result.append(entry)
    return result + list(new.values())


def repointed(subscriptions: list[Document], function: str, arn: str | None) -> list[Document]:
    """Return the subscriptions with each version of the function replaced by another; None leaves them out."""
    result = []
    for entry in subscriptions:
        ends = [end for end in ("Source", "Target") if is_version_of(entry[end], function)]
        if ends and arn is None:
            continue
        result.append({**entry, **dict.fromkeys(ends, arn)})
    return result


def new_core(aws: Aws, thing: str) -> Document:
    """Return the core entry of a new group, with the thing's certificate; raise DeployError if that is not clear."""
    certificates = aws.pages("iot", "list_thing_principals", "principals", thingName=thing)
    if len(certificates) != 1:
        raise DeployError(f"thing {thing} has {len(certificates)} certificates; a new group's core needs exactly one")
    arn = aws.arn("iot", f"thing/{thing}")
    return {"Id": thing, "ThingArn": arn, "CertificateArn": certificates[0], "SyncShadow": False}


def bare(value: Any) -> Any:
    """Return the value without its empty members, which the service may or may not return."""
    if isinstance(value, dict):
        return {key: bare(member) for key, member in value.items() if member}
    return [bare(member) for member in value] if isinstance(value, list) else value


def way(subscription: Document) -> tuple[str, str, str]:
    """Return a subscription without its id: source, topic and target."""
    return subscription["Source"], subscription["Subject"], subscription["Target"]


def is_version_of(arn: str, function: str) -> bool:
    """Return whether an ARN is that of a version of the Lambda function."""
    parts = arn.split(":")
    return len(parts) == 8 and parts[2] == "lambda" and parts[6] == function
