"""The AWS account: clients, names, and AWS's errors as sentences that name what failed and what to do."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

import boto3
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
)
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from deployment.errors import DeployError

_DENIED = ("AccessDenied", "AccessDeniedException", "ForbiddenException", "UnauthorizedException", "403")
_CREDENTIALS = (
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
)
_MISSING = (
    "ResourceNotFoundException",
    "NoSuchEntity",
    "NoSuchBucket",
    "NotFoundException",
    "IdNotFoundException",
    "404",
)
V1_ENDED = (
    "AWS ended Greengrass V1's cloud service on 2026-10-07; the same zip runs on a V2 core: deploy.py v2. For another "
    "endpoint that speaks V1's API set AWS_ENDPOINT_URL_GREENGRASS."
)
# Actions of another name than the call's.
_ACTIONS = {"s3:HeadObject": "s3:GetObject (or s3:ListBucket, where the object is not there yet)"}
_LOG_IN = "run `aws configure` or `aws sso login`, or pass --profile"
_NO_REGION = "no AWS region: pass --region, set AWS_REGION, or run `aws configure`"

# Botocore's standard retries: throttled and failed calls are repeated after pauses of up to 20 s.
MAX_ATTEMPTS = 8
_CONFIG = Config(retries={"mode": "standard", "total_max_attempts": MAX_ATTEMPTS})

PROGRESS_ITEMS = 1000  # a listing says how far it is every so many items


def fetch(url: str) -> bytes:
    """Return what is behind a presigned URL; raise OSError, without the URL: it lets anybody read that."""
    session = URLLib3Session(proxies=get_environ_proxies(url))
    try:
        answer = session.send(AWSRequest("GET", url).prepare())
    except BotoCoreError as error:
        raise OSError(type(error).__name__) from error
    if answer.status_code != 200:
        raise OSError(f"HTTP {answer.status_code}")
    return bytes(answer.content)


class Aws:
    """One session in one account and region.

    sleep, now: the clock
    progress: receives a line on how far a long listing is
    fetch: returns the bytes behind a URL that AWS handed out
    region: the session's region
    """

    def __init__(
        self,
        session: boto3.Session,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        progress: Callable[[str], None] = lambda text: None,
        fetch: Callable[[str], bytes] = fetch,
    ):
        if not session.region_name:
            raise DeployError(_NO_REGION)
        self._session = session
        self._clients: dict[str, Any] = {}
        self._last: tuple[Any, dict[str, Any]] | None = None
        self.sleep, self.now, self.progress, self.fetch = sleep, now, progress, fetch
        self.region: str = session.region_name

    def client(self, service: str) -> Any:
        """Return the session's client for a service, made at its first use."""
        if service not in self._clients:
            client = self._session.client(service, config=_CONFIG)
            client.meta.events.register("before-parameter-build", self._remember)
            self._clients[service] = client
        return self._clients[service]

    @cached_property
    def _caller(self) -> list[str]:
        return str(self.client("sts").get_caller_identity()["Arn"]).split(":")

    @property
    def partition(self) -> str:
        """The ARNs' second part: aws, aws-cn, aws-us-gov."""
        return self._caller[1]

    @property
    def account(self) -> str:
        """The account's number."""
        return self._caller[4]

    def arn(self, service: str, rest: str) -> str:
        """Return the ARN of a resource in this account and region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{rest}"

    def each(self, service: str, operation: str, key: str, **request: Any) -> Iterator[Any]:
        """Yield the items under `key` of a list operation; the next page is read only when it is needed."""
        count = 0
        for page in self.client(service).get_paginator(operation).paginate(**request):
            for item in page.get(key, []):
                yield item
                count += 1
                if count % PROGRESS_ITEMS == 0:
                    self.progress(f"{operation}: {count:,} read")

    def pages(self, service: str, operation: str, key: str, **request: Any) -> list[Any]:
        """Return the items under `key` of all pages of a list operation."""
        return list(self.each(service, operation, key, **request))

    def _remember(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        self._last = (model, params)

    def explain(self, error: ClientError | BotoCoreError) -> str:
        """Return what failed, for which resource, and what to do."""
        if self._last is None:
            return str(error)
        model, params = self._last
        what = f"{model.service_model.signing_name}:{model.name}"
        ended = f" {V1_ENDED}" if model.service_model.service_name == "greengrass" else ""
        # Our requests name their resource first, a component's inside the function it is made of.
        names = [v for key, v in params.items() if isinstance(v, str) and key not in model.idempotent_members]
        named = names[0] if names else params.get("lambdaFunction", {}).get("componentName", "")
        call = f"{what} on {named}" if named else what
        if isinstance(error, NoCredentialsError | PartialCredentialsError):
            return f"no AWS credentials ({error}): {_LOG_IN}"
        if isinstance(error, NoRegionError):
            return _NO_REGION
        if isinstance(error, EndpointConnectionError):
            return f"{call}: {error}. Check the network, and that the service exists in {self.region}.{ended}"
        if not isinstance(error, ClientError):
            return f"{call}: {error}"

        code, message = code_of(error), error.response["Error"].get("Message", "")
        if code in _DENIED:
            parts = re.search(r"not authorized to perform: (\S+?)[,.]?(?: on resource: (\S+))?(?: |$)", message)
            action, resource = (parts[1], parts[2] or named) if parts else (_ACTIONS.get(what, what), named)
            on = f" on {resource}" if resource else ""
            return f"permission missing: {action}{on}. Allow it for the identity that runs this. AWS says: {message}"
        if code in _CREDENTIALS:
            return f"AWS does not accept the credentials ({code}: {message}): {_LOG_IN}"
        if code in _MISSING:
            return f"{call}: it does not exist in {self.region} ({message or code})"
        return f"{call} failed: {code}: {message}{ended}"


def connect(profile: str | None, region: str | None, progress: Callable[[str], None]) -> Aws:
    """Return the account that the profile and the environment name."""
    try:
        return Aws(boto3.Session(profile_name=profile, region_name=region), progress=progress)
    except BotoCoreError as error:
        raise DeployError(f"{error}; profiles: `aws configure list-profiles`") from error


def code_of(error: ClientError) -> str:
    """Return AWS's code for an error, such as ThrottlingException."""
    return str(error.response["Error"].get("Code", ""))


def missing(error: ClientError) -> bool:
    """Return whether AWS answers that what was asked for does not exist."""
    return code_of(error) in _MISSING


def denied(error: ClientError) -> bool:
    """Return whether AWS answers that the identity may not do what was asked for."""
    return code_of(error) in _DENIED


class Waiting:
    """Asks for a state until it is final or the time is up; passes on each new state once.

    say: receives each new state
    """

    def __init__(self, sleep: Callable[[float], None], say: Callable[[str], None], timeout: float, interval: float = 5):
        self.say = say
        self._sleep, self._left, self._interval = sleep, timeout, interval

    def until_done(self, ask: Callable[[], tuple[str, bool]]) -> None:
        """Call `ask` (state as text, whether it is final) until final; raise DeployError when the time is up."""
        last = ""
        while True:
            state, done = ask()
            if state != last:
                self.say(state)
                last = state
            if done:
                return
            if self._left <= 0:
                raise DeployError(f"not finished in time, last state: {state}. It goes on in the cloud; see `status`.")
            self._sleep(self._interval)
            self._left -= self._interval
