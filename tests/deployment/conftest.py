"""Fixtures for the tests of deploy.py: an account without AWS, and nothing that leaves this machine."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_aws import REGION, Account, clean_account
from v1_group import fill_group


def _unmocked(self: Any, request: Any) -> None:
    raise AssertionError(f"not mocked, would have left the machine: {request.method} {request.url}")


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr("botocore.httpsession.URLLib3Session.send", _unmocked)


@pytest.fixture
def account() -> Iterator[Account]:
    with clean_account() as account:
        yield account


@pytest.fixture
def core(account: Account) -> Account:
    """An account with core gw-1, a thing group, and no deployment."""
    account.thing("gw-1")
    account.client("iot").create_thing_group(thingGroupName="fleet")
    account.greengrass_v2.cores["gw-1"] = {"architecture": "amd64", "runtime": "aws_nucleus_classic"}
    return account


@pytest.fixture
def full_group(account: Account) -> dict[str, Any]:
    """A V1 group that other people fill."""
    return fill_group(account)


@pytest.fixture
def make_zip(tmp_path: Path) -> Callable[..., str]:
    """Return a function that makes a connector's zip and returns its path."""

    def make(python: str = "312", arch: str = "any", version: str = "1.0.0", code: str = "pass\n") -> str:
        path = tmp_path / f"device-defender-connector-{version}-py{python}-{arch}.zip"
        with zipfile.ZipFile(path, "w") as content:
            content.writestr(zipfile.ZipInfo("connector/handler.py"), code)
        return str(path)

    return make


@pytest.fixture
def native_zip(tmp_path: Path) -> str:
    """The path of a small zip with the name of the native component's, and a module of the SDK."""
    path = tmp_path / "device-defender-connector-native-1.0.0-py312-x86_64.zip"
    with zipfile.ZipFile(path, "w") as content:
        for name in ("awsiot/__init__.py", "connector/__main__.py", "connector/component.py"):
            content.writestr(zipfile.ZipInfo(name), "pass\n")
    return str(path)


@pytest.fixture
def bucket(account: Account) -> str:
    account.client("s3").create_bucket(Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": REGION})
    return "artifacts"


@pytest.fixture
def fleet(core: Any, bucket: str) -> Any:
    """An account with a bucket, where nothing is deployed yet."""
    return core
