"""An AWS account without AWS: moto, and stand-ins for what moto doesn't have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import boto3
import botocore.session
import deploy
from botocore.loaders import create_loader
from deployment.aws import Aws
from fake_calls import ACCOUNT, NOW, REGION, Calls, answer, refusal
from fake_detect import FakeDetect
from fake_greengrass_v2 import SUCCEEDED, FakeGreengrassV2
from moto import mock_aws
from moto.greengrass.models import greengrass_backends

__all__ = ["ACCOUNT", "LAMBDA", "NOW", "REGION", "SUCCEEDED", "Account", "answer", "clean_account", "refusal"]
LAMBDA = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:device-defender-connector"

_LOADER = create_loader()  # reads a service's model once, not once for each test


def _session() -> boto3.Session:
    session = botocore.session.Session()
    session.register_component("data_loader", _LOADER)
    return boto3.Session(botocore_session=session, region_name=REGION)


@contextmanager
def clean_account() -> Iterator[Account]:
    """Give an empty account, whatever was in the one before."""
    with mock_aws(config={"lambda": {"use_docker": False}}):
        yield Account()


@cache
def _own_client(service: str) -> Any:
    return _session().client(service)


class Account:
    """The account: its state as boto3 shows it, every call that was made, and deploy.py on it.

    slept: seconds
    now: the time
    progress: what was passed on about long listings
    v1_result: what a V1 deployment comes to after a while
    """

    def __init__(self) -> None:
        session = _session()
        self.calls = Calls(session)
        self.greengrass_v2 = FakeGreengrassV2(session, self.calls)
        self.detect = FakeDetect(session, self.calls)
        self.now = NOW
        self.progress: list[str] = []
        self.aws = Aws(session, sleep=self._sleep, now=lambda: self.now, progress=self.progress.append)
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
