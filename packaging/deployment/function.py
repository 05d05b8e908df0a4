"""The AWS Lambda function that carries the connector's code to Greengrass, on V1 and V2 alike.

It never runs in the cloud; Greengrass takes the code of a published version. Lambda requires an execution role all the
same, so one is made, without any permission.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from deployment.artifact import Artifact
from deployment.aws import Aws, code_of, missing
from deployment.errors import DeployError, UsageError
from deployment.plan import Change, Document
from deployment.settings import HANDLER
from deployment.zip_object import ZipObject, of_function

_TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
MAX_ROLE_ATTEMPTS, ROLE_PAUSE_SECONDS = 10, 3
_COMPARED = ("Runtime", "Handler", "Architectures", "CodeSha256")


@dataclass(frozen=True)
class Function:
    """The wanted function: name, code, runtime, and where they come from.

    runtime: Lambda's name of a Python
    role: ARN of an execution role; None: one is made
    bucket: bucket that keeps the zip; None: it is uploaded with the call
    """

    aws: Aws
    artifact: Artifact
    name: str
    runtime: str
    role: str | None
    bucket: str | None

    @property
    def _object(self) -> ZipObject | None:
        """The zip in the bucket, where it is kept in one."""
        return of_function(self.aws, self.artifact, self.bucket) if self.bucket else None

    @property
    def location(self) -> str:
        """The ARN of the version with the wanted code, or what a plan shows for one that is not published yet."""
        return self.version_arn() or self.pending_arn

    @property
    def pending_arn(self) -> str:
        """What a plan shows for the version that is not published yet."""
        return self.aws.arn("lambda", f"function:{self.name}:(new version)")

    @property
    def _wanted(self) -> Document:
        # Greengrass runs the code on the core's own processor; Lambda only knows these two.
        architecture = "arm64" if self.artifact.arch == "aarch64" else "x86_64"
        values = (self.runtime, HANDLER, [architecture], self.artifact.code_sha256)
        return dict(zip(_COMPARED, values, strict=True))

    def version_arn(self) -> str | None:
        """Return the ARN of the newest published version with exactly the wanted code, None if there is none."""
        try:
            versions = self.aws.pages("lambda", "list_versions_by_function", "Versions", FunctionName=self.name)
        except ClientError as error:
            if missing(error):
                return None
            raise
        numbers = [int(v["Version"]) for v in versions if v["Version"] != "$LATEST" and _compared(v) == self._wanted]
        return self.aws.arn("lambda", f"function:{self.name}:{max(numbers)}") if numbers else None

    def changes(self) -> list[Change]:
        """Return what is needed to have such a version: bucket's object, role, function; nothing where it exists."""
        if self.role:
            self._check_role(self.role)
        if self.version_arn():
            return []
        current = self._current()
        changes = []
        if self._object:
            changes += self._object.changes()
        if current is None and self.role is None and not self._role_exists():
            trust = {"AssumeRolePolicyDocument": _TRUST}
            changes.append(Change(f"IAM role {self._role_name} (no permissions)", None, trust, self._create_role))
        before = None if current is None else _compared(current)
        title = f"Lambda function {self.name}, with a new version, from {self.artifact.name}"
        changes.append(Change(title, before, self._wanted, self._publish))
        return changes

    def _current(self) -> Document | None:
        try:
            current: Document = self.aws.client("lambda").get_function_configuration(FunctionName=self.name)
        except ClientError as error:
            if missing(error):
                return None
            raise
        if current.get("Handler") != HANDLER:
            raise DeployError(
                f"Lambda function {self.name} exists and is not this connector (its handler is "
                f"{current.get('Handler')}); choose another name with --function-name"
            )
        return current

    def _check_role(self, role: str) -> None:
        current = self._current()
        if current and current["Role"] != role:
            raise UsageError(
                f"--role {role}: Lambda function {self.name} has the role {current['Role']}, and keeps it; leave the "
                "flag out"
            )

    @property
    def _role_name(self) -> str:
        return f"{self.name}-role"

    def _role_exists(self) -> bool:
        try:
            self.aws.client("iam").get_role(RoleName=self._role_name)
        except ClientError as error:
            if missing(error):
                return False
            raise
        return True

    def _create_role(self) -> None:
        try:
            self.aws.client("iam").create_role(
                RoleName=self._role_name,
                AssumeRolePolicyDocument=json.dumps(_TRUST),
                Description="Required by AWS Lambda; the function runs on Greengrass cores only.",
            )
        except ClientError as error:
            # The answer to a first call was lost, and botocore repeated it.
            if code_of(error) != "EntityAlreadyExists":
                raise

    def _publish(self) -> None:
        code = {"S3Bucket": self.bucket, "S3Key": self._object.key} if self._object else {"ZipFile": self.artifact.data}
        client = self.aws.client("lambda")
        current = self._current()
        try:
            if current is None:
                self._create(code)
                client.get_waiter("function_active_v2").wait(FunctionName=self.name)
            else:
                # Where a run was interrupted, its change may still be under way, and Lambda takes no other meanwhile.
                if current.get("State") == "Pending":
                    client.get_waiter("function_active_v2").wait(FunctionName=self.name)
                if current.get("LastUpdateStatus") == "InProgress":
                    client.get_waiter("function_updated_v2").wait(FunctionName=self.name)
                # The runtime first: with one that it has retired, Lambda takes no code either.
                if current.get("Runtime") != self.runtime:
                    client.update_function_configuration(FunctionName=self.name, Runtime=self.runtime)
                    client.get_waiter("function_updated_v2").wait(FunctionName=self.name)
                architectures = self._wanted["Architectures"]
                client.update_function_code(FunctionName=self.name, Architectures=architectures, **code)
                client.get_waiter("function_updated_v2").wait(FunctionName=self.name)
        except ClientError as error:
            if "no longer supported" in error.response["Error"].get("Message", ""):
                raise DeployError(self._deprecated(error)) from error
            raise
        client.publish_version(
            FunctionName=self.name,
            CodeSha256=self.artifact.code_sha256,
            Description=self.artifact.name,
        )

    def _create(self, code: dict[str, Any]) -> None:
        role = self.role or f"arn:{self.aws.partition}:iam::{self.aws.account}:role/{self._role_name}"
        for attempt in range(MAX_ROLE_ATTEMPTS):
            try:
                self.aws.client("lambda").create_function(
                    FunctionName=self.name,
                    Runtime=self.runtime,
                    Handler=HANDLER,
                    Architectures=self._wanted["Architectures"],
                    Role=role,
                    Code=code,
                    Description="Device Defender metrics connector for AWS IoT Greengrass cores.",
                )
                return
            except ClientError as error:
                # The answer to a first call was lost, and botocore repeated it; publishing checks the code's digest.
                if code_of(error) == "ResourceConflictException":
                    return
                # IAM is eventually consistent: a new role may be unknown for a few seconds.
                unknown = "cannot be assumed" in error.response["Error"].get("Message", "")
                if not unknown or attempt + 1 == MAX_ROLE_ATTEMPTS:
                    raise
                self.aws.sleep(ROLE_PAUSE_SECONDS)

    def _deprecated(self, error: ClientError) -> str:
        message = error.response["Error"]["Message"]
        named = re.search(r"python\d\.\d+", message)
        return (
            f"AWS Lambda no longer takes functions for {named[0] if named else self.runtime} ({message}). "
            "Build the zip for a newer Python that your cores have (./build_zip.sh --python 3.12)."
        )


def runtime_of(aws: Aws, arn: str) -> str | None:
    """Return the runtime of a published version, None if it is no longer there."""
    try:
        found = aws.client("lambda").get_function_configuration(FunctionName=arn)
    except ClientError as error:
        if missing(error):
            return None
        raise
    return str(found["Runtime"])


def python_notes(now: str | None, runtime: str) -> list[str]:
    """Return a note if the cores run the connector for another Python now than the zip is for."""
    if not now or not runtime or now == runtime:
        return []
    was, is_ = (name.removeprefix("python") for name in (now, runtime))
    return [
        f"The cores run the connector for Python {was} now, and this zip is for Python {is_}. Cores don't report which "
        f"Pythons they have: one without {runtime} fails this deployment (./build_zip.sh --python {was} builds for the "
        "Python of now)."
    ]


def _compared(configuration: Document) -> Document:
    return {key: configuration.get(key) for key in _COMPARED}
