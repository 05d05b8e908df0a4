"""The account's custom metrics: Device Defender rejects a whole report that has one which does not exist there.

The same call shows whether the account can use Device Defender Detect at all.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from botocore.exceptions import ClientError

from deployment.aws import Aws, code_of, missing
from deployment.parameters import PARAMETERS
from deployment.plan import Change, Document
from deployment.settings import Settings

DIRECTORY = Path(__file__).resolve().parent.parent / "security_profiles" / "custom_metrics"
TYPE = "number"  # of every custom metric that the connector reports

_CAN_JUDGE = any(parameter.name == "SecurityProfiles" for parameter in PARAMETERS)

# What AWS answers where the caller, the account or the region may not use a service is not documented for Detect.
REFUSED = (
    "AccessDenied",
    "AccessDeniedException",
    "ForbiddenException",
    "UnauthorizedException",
    "InvalidRequestException",
    "OptInRequired",
    "SubscriptionRequiredException",
    "UnsupportedOperation",
    "UnsupportedOperationException",
)

WITHOUT_DETECT = (
    "Without Detect no service judges the reports; they are good for subscribers and rules on a topic of your own "
    "(--MetricsTopic)"
    + (", and for profiles that the connector judges itself (--SecurityProfiles)" if _CAN_JUDGE else "")
    + "."
)


def changes(aws: Aws, settings: Settings, create: bool) -> tuple[list[Change], list[str]]:
    """Return the custom metrics to create, none unless `create`, and notes on what would be rejected."""
    if not settings.reaches_device_defender:
        return [], []
    # Without custom metrics any name shows whether Detect answers.
    wanted = settings.custom_metrics
    absent, notes = [], []
    for name in wanted or ["cpu_usage"]:
        try:
            found = aws.client("iot").describe_custom_metric(metricName=name)
        except ClientError as error:
            if code_of(error) in REFUSED:
                return [], [refused(error, "iot:DescribeCustomMetric")]
            if not missing(error):
                raise
            absent.append(name)
        else:
            if name in wanted and found["metricType"] != TYPE:
                notes.append(
                    f"Custom metric {name} has the type {found['metricType']} in this account, and the connector "
                    f"reports a {TYPE}: Device Defender rejects every report with it. Leave it out of CustomMetrics, "
                    f"or remove it (aws iot delete-custom-metric --metric-name {name}) and create it again."
                )
    absent = [name for name in absent if name in wanted]
    if create:
        return [Change(f"custom metric {n}", None, _document(n), partial(_create, aws, n)) for n in absent], notes
    if absent:
        commands = "; ".join(
            f"aws iot create-custom-metric --cli-input-json file://packaging/security_profiles/custom_metrics/{n}.json"
            for n in absent
        )
        notes.append(
            f"Missing in this account: custom metrics {', '.join(absent)}. Device Defender rejects every report that "
            f"has one of them. `apply --create-custom-metrics` creates them, or: {commands}"
        )
    return [], notes


def refused(error: ClientError, action: str) -> str:
    """Return what it means that AWS refused a call to Detect."""
    code, message = code_of(error), error.response["Error"].get("Message", "")
    if "not authorized to perform" in message:
        return (
            f"Permission missing: {action}. Without it this can't check whether the account has the custom metrics "
            f"that the reports hold, or Detect at all. AWS says: {message}"
        )
    return (
        f"This account seems to have no AWS IoT Device Defender Detect ({action}: {code}: {message}); AWS closed it "
        f"to new customers on 2026-08-31. {WITHOUT_DETECT}"
    )


def _document(name: str) -> Document:
    document: Document = json.loads((DIRECTORY / f"{name}.json").read_text(encoding="utf-8"))
    return document


def _create(aws: Aws, name: str) -> None:
    try:
        aws.client("iot").create_custom_metric(**_document(name))
    except ClientError as error:
        # Somebody else was quicker, or a run before this one was interrupted after the call.
        if code_of(error) != "ResourceAlreadyExistsException":
            raise
