"""An AWS account without AWS: moto, and stand-ins for what moto doesn't have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import boto3
import botocore.session
import deploy
import fake_detect
import fake_greengrass_v2
from botocore.loaders import create_loader
from deployment import command_line
from deployment.aws import Aws
from fake_calls import ACCOUNT, NOW, REGION, Calls, answer, refusal
from fake_detect import FakeDetect
from fake_greengrass_v2 import SUCCEEDED, FakeGreengrassV2
from moto import mock_aws
from moto.awslambda_simple.models import lambda_simple_backends
from moto.greengrass.models import greengrass_backends
from support import quick_moto

__all__ = ["ACCOUNT", "LAMBDA", "NOW", "REGION", "SUCCEEDED", "Account", "answer", "clean_account", "refusal"]
LAMBDA = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:device-defender-connector"

_CODE = "https://code.example/"  # where GetFunction says that a version's zip is, followed by its ARN
_ARTIFACT = "https://artifact.example/"  # where a component's zip is, followed by bucket and key

quick_moto.prepare()
command_line.parser = cache(command_line.parser)  # to build it takes longer than many tests, and it is always the same
_LOADER = create_loader()  # reads a service's model once, not once for each test


class Account:
    """The account: its state as boto3 shows it, every call that was made, and deploy.py on it.

    slept: seconds
    now: the time
    progress: what was passed on about long listings
    v1_result: what a V1 deployment comes to after a while
    """

    def __init__(self) -> None:
        self.calls = Calls()
        self.greengrass_v2 = FakeGreengrassV2(self.calls)
        self.detect = FakeDetect(self.calls)
        self.now = NOW
        self.progress: list[str] = []
        self.aws = Aws(_SHARED, sleep=self._sleep, now=lambda: self.now, progress=self.progress.append, fetch=_zip_of)
        self.slept = 0.0
        self.v1_result = "Success"

    def client(self, service: str) -> Any:
        """Return a client whose calls are not counted."""
        return _own_client(service)

    def _sleep(self, seconds: float) -> None:
        self.slept += seconds
        for deployment in greengrass_backends[ACCOUNT][REGION].deployments.values():
            deployment.deployment_status = self.v1_result

    def deploy(self, *argv: str, ask: Callable[[str], str] = lambda question: "no") -> int:
        """Run deploy.py; return its exit code."""
        self.calls.all.clear()
        return deploy.main(list(argv), aws=self.aws, ask=ask)

    def thing(self, name: str) -> str:
        """Make a thing with a certificate; return the certificate's ARN."""
        iot = self.client("iot")
        iot.create_thing(thingName=name)
        certificate: str = iot.create_keys_and_certificate(setAsActive=True)["certificateArn"]
        iot.attach_thing_principal(thingName=name, principal=certificate)
        return certificate


@contextmanager
def clean_account() -> Iterator[Account]:
    """Give an empty account, whatever was in the one before."""
    with mock_aws(config={"lambda": {"use_docker": False}}):
        account = Account()
        _SHARED.account = account
        yield account
        _SHARED.release(account.aws)


class _Shared:
    """A session whose clients serve every account in turn: to make them takes longer than most tests.

    account: the one whose calls they are
    """

    region_name = REGION

    def __init__(self) -> None:
        self.account: Account | None = None
        self._clients: dict[str, Any] = {}
        self._session = _session()
        events = self._session.events
        events.register("before-parameter-build.*.*", lambda **call: self._calls.record(**call))
        events.register_first("before-call.*.*", lambda **call: self._calls.stub(**call))
        events.register("after-call.lambda.GetFunction", _add_location)
        for name in fake_greengrass_v2.CALLS:
            events.register(f"before-call.{name}", lambda **call: self._of().greengrass_v2.answer(**call))
        for name in fake_detect.CALLS:
            events.register(f"before-call.{name}", lambda **call: self._of().detect.answer(**call))

    def client(self, service: str, config: Any) -> Any:
        if service not in self._clients:
            self._clients[service] = self._session.client(service, config=config)
        return self._clients[service]

    def release(self, aws: Aws) -> None:
        """Take the account's handlers off the clients."""
        for client in self._clients.values():
            client.meta.events.unregister("before-parameter-build", aws._remember)

    def _of(self) -> Account:
        assert self.account
        return self.account

    @property
    def _calls(self) -> Calls:
        return self._of().calls


def _add_location(parsed: dict[str, Any], **_: Any) -> None:
    """Complete what moto leaves out of GetFunction's answer."""
    if "Configuration" in parsed:
        parsed["Code"] = {"Location": _CODE + parsed["Configuration"]["FunctionArn"]}


def _zip_of(url: str) -> bytes:
    if url.startswith(_ARTIFACT):
        bucket, _, key = url.removeprefix(_ARTIFACT).partition("/")
        held: bytes = _own_client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        return held
    code: bytes = lambda_simple_backends[ACCOUNT][REGION].get_function(url.removeprefix(_CODE)).code_bytes
    return code


def _session() -> Any:
    session = botocore.session.Session()
    session.register_component("data_loader", _LOADER)
    return boto3.Session(botocore_session=session, region_name=REGION)


@cache
def _own_client(service: str) -> Any:
    return _session().client(service)


_SHARED = _Shared()
