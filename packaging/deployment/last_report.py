"""When a core's last report arrived, as far as AWS keeps that.

Device Defender keeps the values of metrics that a security profile of the thing names: the newest value's time is that
of the newest report. Without such a profile, or with reports on another topic, there is no record in AWS; then only
listening to the topics shows it (`listen.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from botocore.exceptions import ClientError

from deployment import custom_metrics
from deployment.aws import Aws, code_of, missing
from deployment.settings import default_of

# What a report holds, by the beginning of the metric's name; the other aws: metrics are measured in the cloud.
_DEVICE_SIDE = (
    "aws:all-bytes-",
    "aws:all-packets-",
    "aws:num-listening-",
    "aws:num-established-",
    "aws:listening-",
    "aws:destination-ip-addresses",
)
# Short ones first: a core that reports has a value in the first, which is one page.
_SPANS = (timedelta(hours=1), timedelta(days=1), timedelta(days=14))
UNKNOWN_HINT = "`--mqtt HOST:PORT` listens for the next ones"


@dataclass
class LastReports:
    """The last reports of one target's cores.

    environment: the function's variables as deployed
    target_arns: the thing group or groups that security profiles may be attached to
    unknown: why it is not known, empty while it is
    """

    aws: Aws
    environment: dict[str, str]
    target_arns: list[str]
    unknown: str = field(default="", init=False)
    _metric: str = field(default="", init=False)

    def find_metric(self) -> None:
        """Find a metric of the reports that AWS keeps; set `unknown` if there is none."""
        topic = self.environment.get("MetricsTopic") or default_of("MetricsTopic")
        if topic != default_of("MetricsTopic"):
            self.unknown = f"reports go to {topic}, of which AWS keeps no record; {UNKNOWN_HINT}"
            return
        try:
            self._metric = next(self._kept(), "")
        except ClientError as error:
            if code_of(error) not in custom_metrics.REFUSED:
                raise
            self.unknown = custom_metrics.refused(error, "iot:ListSecurityProfilesForTarget")
            return
        if not self._metric:
            self.unknown = (
                "no security profile attached to the cores' group, or to all things, keeps a metric of the reports; "
                f"attach one, or {UNKNOWN_HINT}"
            )

    def of(self, thing: str) -> datetime | None:
        """Return when the thing's last report arrived, None if none is known of the last 14 days."""
        if not self._metric:
            return None
        now = self.aws.now()
        for span in _SPANS:
            request = {"thingName": thing, "metricName": self._metric, "startTime": now - span, "endTime": now}
            try:
                values = self.aws.pages("iot", "list_metric_values", "metricDatumList", **request)
            except ClientError as error:
                if missing(error):
                    return None
                raise
            if values:
                newest: datetime = max(value["timestamp"] for value in values)
                return newest
        return None

    def _kept(self) -> Iterator[str]:
        """Yield the metrics of our reports of which AWS keeps the values."""
        ours = [name.strip() for name in self.environment.get("CustomMetrics", "").split(",")]
        for name in self._profiles():
            profile = self.aws.client("iot").describe_security_profile(securityProfileName=name)
            retained = [one.get("metric", "") for one in profile.get("additionalMetricsToRetainV2", [])]
            behaviors = [behavior.get("metric", "") for behavior in profile.get("behaviors", [])]
            for metric in [*behaviors, *retained, *profile.get("additionalMetricsToRetain", [])]:
                if metric.startswith(_DEVICE_SIDE) or metric in ours:
                    yield metric

    def _profiles(self) -> Iterator[str]:
        everything = [self.aws.arn("iot", f"all/{which}") for which in ("things", "registered-things")]
        operation, key = "list_security_profiles_for_target", "securityProfileTargetMappings"
        for arn in [*self.target_arns, *everything]:
            for mapping in self.aws.each("iot", operation, key, securityProfileTargetArn=arn):
                yield mapping["securityProfileIdentifier"]["name"]
