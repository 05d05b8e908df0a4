"""The AWS IoT policy that lets a core publish reports and alarms and receive answers, made and attached on request.

Several targets may share one: each has its own topics in it, and its own attachment. A policy with any line that is not
written as here belongs to somebody else, and stays as it is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from botocore.exceptions import ClientError

from deployment.aws import Aws, missing
from deployment.errors import DeployError, UsageError
from deployment.plan import Change, Document
from deployment.settings import Topic, policy_for

_THINGS, _ALARMS = "$aws/things/", ("device-defender/", "/violations")  # the default topics, around the thing's name
MAX_VERSIONS = 5  # AWS IoT keeps no more of one policy
MAX_DETACHING_SECONDS, PAUSE_SECONDS = 330, 10
MAX_POLICY_CHARACTERS = 2048  # of a document, spaces not counted: AWS IoT's limit


@dataclass(frozen=True)
class IotPolicy:
    """The policy of a name, as a list of the topics on which it allows to publish."""

    aws: Aws
    name: str

    def changes(self, wanted: list[Topic], things: str, principals: list[str]) -> tuple[list[Change], list[Change]]:
        """Return what allows `things` to publish on topics, attached to `principals`, and what then allows no others.

        The second is for when the cores publish there: a core may not lose its old topic before that, or AWS IoT
        disconnects it.
        """
        topics, attached = self._current()
        old = [other for other in topics if other not in wanted and _is_of(things, other)]
        unnamed = [other for other in topics if other not in (*wanted, *old) and _is_nobodys(other)]
        if unnamed and not set(attached) - set(principals) and not self._others(things, principals):
            old += unnamed
        both = topics + [topic for topic in wanted if topic not in topics]
        at_once = ""
        if self._is_too_long(both):
            both = [other for other in both if other not in old]
            at_once = " at once: old and new lines together would be too long"
        if self._is_too_long(both):
            raise UsageError(
                f"--iot-policy {self.name}: with these lines too it would be longer than the {MAX_POLICY_CHARACTERS} "
                "characters that AWS IoT allows; choose another name"
            )
        targets = attached + [one for one in principals if one not in attached]
        rest = [other for other in both if other not in old]
        then = self._change(both, targets, rest, targets, " when the cores have the deployment")
        return self._change(topics, attached, both, targets, at_once), then

    def removals(self, things: str | None, principals: list[str]) -> tuple[list[Change], list[str]]:
        """Return what removes the lines of `things` and detaches the policy, and notes on what stays.

        It is deleted when nothing is left of it. Lines that may belong to others stay as long as the policy is
        attached to others; the attachment stays if it is another thing's as well.
        """
        topics, attached = self._current()
        left = [topic for topic in topics if not things or not _is_of(things, topic)]
        others = [principal for principal in attached if principal not in principals]
        sharing = self._sharing(things, left, principals)
        if sharing:
            note = f"AWS IoT policy {self.name} stays attached: {', '.join(sharing)} has the same certificate."
            return self._change(topics, attached, left, attached), [note]
        notes: list[str] = []
        if others:
            left = left or topics
        elif attached:
            left = [] if left == topics else [topic for topic in left if not _is_nobodys(topic)]
        elif left and (not things or all(map(_is_nobodys, left))):
            notes = [
                f"AWS IoT policy {self.name} is attached to nothing. If nobody needs it: "
                f"aws iot delete-policy --policy-name {self.name}"
            ]
        return self._change(topics, attached, left, others), notes

    def _sharing(self, things: str | None, topics: list[Topic], principals: list[str]) -> list[str]:
        """Return the other things with one of these certificates that may have any of these topics."""
        others = self._others(things, principals) if topics else []
        return [thing for thing in others if any(_is_of(thing, topic) or _is_nobodys(topic) for topic in topics)]

    def _others(self, things: str | None, principals: list[str]) -> list[str]:
        """Return the other things with one of these certificates."""
        certificates = [principal for principal in principals if ":cert/" in principal]
        found = {
            thing
            for principal in certificates
            for thing in self.aws.pages("iot", "list_principal_things", "things", principal=principal)
        }
        return sorted(found - {things})

    def _is_too_long(self, topics: list[Topic]) -> bool:
        return len(json.dumps(policy_for(self._prefix, topics), separators=(",", ":"))) > MAX_POLICY_CHARACTERS

    @property
    def _prefix(self) -> str:
        return self.aws.arn("iot", "").rstrip(":")

    def _current(self) -> tuple[list[Topic], list[str]]:
        """Return the policy's topics, none if there is no such policy, and what it is attached to."""
        try:
            policy = self.aws.client("iot").get_policy(policyName=self.name)
        except ClientError as error:
            if missing(error):
                return [], []
            raise
        topics = _topics(json.loads(policy["policyDocument"]), self._prefix)
        if not topics:
            raise UsageError(
                f"--iot-policy {self.name}: the account has a policy of that name, with other lines than the "
                "connector's; choose another name"
            )
        return topics, self.aws.pages("iot", "list_targets_for_policy", "targets", policyName=self.name)

    def _change(
        self, topics: list[Topic], attached: list[str], wanted: list[Topic], targets: list[str], when: str = ""
    ) -> list[Change]:
        if (topics, attached) == (wanted, targets):
            return []
        before = {"document": policy_for(self._prefix, topics), "attachedTo": attached} if topics else None
        after = {"document": policy_for(self._prefix, wanted), "attachedTo": targets} if wanted else None
        return [Change(f"AWS IoT policy {self.name}{when}", before, after, lambda: self._write(before, after))]

    def _write(self, before: Document | None, after: Document | None) -> None:
        iot, text = self.aws.client("iot"), json.dumps(after["document"] if after else None)
        attached, targets = (document["attachedTo"] if document else [] for document in (before, after))
        if before is None:
            self._create(text)
        elif after and before["document"] != after["document"]:
            old = self._old_versions()
            if len(old) + 1 >= MAX_VERSIONS:
                iot.delete_policy_version(policyName=self.name, policyVersionId=old[0])
            iot.create_policy_version(policyName=self.name, policyDocument=text, setAsDefault=True)
        for target in attached:
            if target not in targets:
                self._detach(target)
        for target in targets:
            if target not in attached:
                iot.attach_policy(policyName=self.name, target=target)
        if after is None:
            for version in self._old_versions():
                iot.delete_policy_version(policyName=self.name, policyVersionId=version)
            self._delete()

    def _create(self, text: str) -> None:
        iot = self.aws.client("iot")
        try:
            iot.create_policy(policyName=self.name, policyDocument=text)
        except iot.exceptions.ResourceAlreadyExistsException:
            # The answer to a first call was lost, and botocore repeated it; or somebody else made one.
            if json.loads(iot.get_policy(policyName=self.name)["policyDocument"]) != json.loads(text):
                raise

    def _detach(self, target: str) -> None:
        iot = self.aws.client("iot")
        try:
            iot.detach_policy(policyName=self.name, target=target)
        except iot.exceptions.ResourceNotFoundException:
            pass  # detached by a first call whose answer was lost

    def _delete(self) -> None:
        """Delete the policy; by AWS's documentation that can be refused for five minutes after it was detached."""
        iot, left = self.aws.client("iot"), MAX_DETACHING_SECONDS
        while True:
            try:
                iot.delete_policy(policyName=self.name)
            except iot.exceptions.ResourceNotFoundException:
                return  # by a first call whose answer was lost
            except iot.exceptions.DeleteConflictException as error:
                if left <= 0:
                    raise DeployError(
                        f"AWS IoT policy {self.name} is detached, and AWS IoT does not allow deleting it yet. Later: "
                        f"aws iot delete-policy --policy-name {self.name}"
                    ) from error
                self.aws.sleep(PAUSE_SECONDS)
                left -= PAUSE_SECONDS
            else:
                return

    def _old_versions(self) -> list[str]:
        """Return the ids of all versions but the default one, oldest first."""
        versions = self.aws.client("iot").list_policy_versions(policyName=self.name)["policyVersions"]
        return [v["versionId"] for v in sorted(versions, key=lambda v: v["createDate"]) if not v["isDefaultVersion"]]


def _topics(document: Document, arn_prefix: str) -> list[Topic]:
    """Return the topics on which a document of ours allows to publish, none if it is not one of ours."""
    try:
        resources, answers = ([str(arn) for arn in statement["Resource"]] for statement in document["Statement"][::2])
    except (KeyError, TypeError, ValueError):
        return []
    names = [resource.removeprefix(f"{arn_prefix}:topic/") for resource in resources]
    topics = [Topic(name, f"{arn_prefix}:topic/{name}/accepted" in answers) for name in names]
    return topics if document == policy_for(arn_prefix, topics) else []


def _thing_of(topic: Topic) -> str | None:
    """Return whose topic it is, None if that can't be known: parameters may name any."""
    levels = topic.name.split("/")
    if topic.name.startswith(_THINGS):
        return levels[2]
    begin, end = _ALARMS
    return levels[1] if len(levels) == 3 and topic.name == f"{begin}{levels[1]}{end}" else None


def _is_of(things: str, topic: Topic) -> bool:
    thing = _thing_of(topic)
    return things in topic.name.split("/") if thing is None else thing == things


def _is_nobodys(topic: Topic) -> bool:
    """Return whether a topic may not show whose it is."""
    return _thing_of(topic) is None
