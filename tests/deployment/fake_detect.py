"""A stand-in for Device Defender Detect: custom metrics, security profiles and the values it keeps."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fake_calls import ACCOUNT, REGION, Calls, answer, page, refusal

CALLS = (
    *("iot.DescribeCustomMetric", "iot.CreateCustomMetric", "iot.ListSecurityProfilesForTarget"),
    *("iot.DescribeSecurityProfile", "iot.ListMetricValues"),
)


class FakeDetect:
    """The service for one account.

    metrics: types of the custom metrics, by name
    profiles: metrics that a profile's behaviors name, by profile
    attached: profiles by target's ARN
    values: times of the kept values, by thing and metric
    """

    def __init__(self, calls: Calls):
        self._calls = calls
        self.metrics: dict[str, str] = {}
        self.profiles: dict[str, list[str]] = {}
        self.attached: dict[str, list[str]] = {}
        self.values: dict[tuple[str, str], list[datetime]] = {}

    def attach(self, target: str, metric: str) -> None:
        """Attach a profile with a behavior on the metric to `thinggroup/<name>` or `all/things`."""
        self.profiles["p"] = [metric]
        self.attached[f"arn:aws:iot:{REGION}:{ACCOUNT}:{target}"] = ["p"]

    def answer(self, model: Any, **_: Any) -> Any:
        """Answer one call."""
        return getattr(self, f"_{model.name}")(model, **self._calls.all[-1][1])

    def _DescribeCustomMetric(self, model: Any, metricName: str) -> Any:
        if metricName not in self.metrics:
            return refusal(model, "ResourceNotFoundException", f"Custom metric {metricName} not found.", 404)
        return answer(model, {"metricName": metricName, "metricType": self.metrics[metricName]})

    def _CreateCustomMetric(self, model: Any, metricName: str, metricType: str, displayName: str, **_: Any) -> Any:
        if metricName in self.metrics:
            return refusal(model, "ResourceAlreadyExistsException", "exists", 409)
        assert displayName
        self.metrics[metricName] = metricType
        return answer(model, {"metricName": metricName})

    def _ListSecurityProfilesForTarget(self, model: Any, securityProfileTargetArn: str) -> Any:
        names = self.attached.get(securityProfileTargetArn, [])
        target = {"arn": securityProfileTargetArn}
        found = [{"securityProfileIdentifier": {"name": n, "arn": f"arn:{n}"}, "target": target} for n in names]
        return answer(model, {"securityProfileTargetMappings": found})

    def _DescribeSecurityProfile(self, model: Any, securityProfileName: str) -> Any:
        behaviors = [{"name": metric[-9:], "metric": metric} for metric in self.profiles[securityProfileName]]
        return answer(model, {"securityProfileName": securityProfileName, "behaviors": behaviors})

    def _ListMetricValues(
        self,
        model: Any,
        thingName: str,
        metricName: str,
        startTime: datetime,
        endTime: datetime,
        nextToken: str | None = None,
    ) -> Any:
        times = self.values.get((thingName, metricName), [])
        found = [{"timestamp": time, "value": {"count": 1}} for time in times if startTime <= time <= endTime]
        return page(model, "metricDatumList", found, nextToken, 250)
