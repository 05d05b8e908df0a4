"""The zip as an object in an S3 bucket, under a key of its own for each content."""

from __future__ import annotations

from dataclasses import dataclass

from botocore.exceptions import ClientError

from deployment.artifact import Artifact
from deployment.aws import Aws, missing
from deployment.errors import UsageError
from deployment.plan import Change

FOLDER = "device-defender-connector"


@dataclass(frozen=True)
class ZipObject:
    """The wanted object.

    key: its name in the bucket
    """

    aws: Aws
    artifact: Artifact
    bucket: str
    key: str

    @property
    def location(self) -> str:
        """Where a component finds it."""
        return f"s3://{self.bucket}/{self.key}"

    def changes(self) -> list[Change]:
        """Return the upload; nothing where the object is there with this content."""
        return [] if self._uploaded() else [Change(f"object {self.location}", None, {}, self._upload)]

    def _uploaded(self) -> bool:
        s3 = self.aws.client("s3")
        try:
            head = s3.head_object(Bucket=self.bucket, Key=self.key)
        except ClientError as error:
            if not missing(error):
                raise
            self._check_bucket()
            return False
        return bool(head["Metadata"].get("sha256") == self.artifact.code_sha256)

    def _check_bucket(self) -> None:
        """Raise UsageError if the bucket itself is missing, which the answer for an object doesn't show."""
        try:
            self.aws.client("s3").head_bucket(Bucket=self.bucket)
        except ClientError as error:
            if missing(error):
                raise UsageError(f"--bucket {self.bucket}: there is no such bucket") from error
            # Where only part of a bucket may be listed, the bucket itself may be forbidden.

    def _upload(self) -> None:
        self.aws.client("s3").put_object(
            Bucket=self.bucket,
            Key=self.key,
            Body=self.artifact.data,
            Metadata={"sha256": self.artifact.code_sha256},
        )


def of_function(aws: Aws, artifact: Artifact, bucket: str) -> ZipObject:
    """Return the object of which a Lambda function is made; the function keeps the code, so its key may be reused."""
    return ZipObject(aws, artifact, bucket, f"{FOLDER}/{artifact.name}")


def of_component(aws: Aws, artifact: Artifact, bucket: str) -> ZipObject:
    """Return the object that cores fetch: the digest is in its key, so that what a component names never changes."""
    return ZipObject(aws, artifact, bucket, _component_key(artifact))


def location(artifact: Artifact, bucket: str) -> str:
    """Return where a component will find the zip."""
    return f"s3://{bucket}/{_component_key(artifact)}"


def _component_key(artifact: Artifact) -> str:
    return f"{FOLDER}/{artifact.sha256[:16]}/{artifact.name}"
