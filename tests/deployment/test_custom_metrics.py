"""deploy.py plan and apply: custom metrics that the account lacks, and accounts without Detect."""

from __future__ import annotations

from typing import Any

import pytest
from fake_aws import refusal
from v2_target import apply

PLAN = ["v2", "plan", "--thing=gw-1", "--CustomMetrics", "cpu_usage,uptime_seconds", "--zip"]


def test_missing_custom_metrics_are_noted_with_the_commands(core: Any, make_zip: Any, capsys: Any) -> None:
    core.detect.metrics["cpu_usage"] = "number"
    assert core.deploy(*PLAN, make_zip()) == 0
    assert (
        "Note: Missing in this account: custom metrics uptime_seconds. Device Defender rejects every report that has "
        "one of them. `apply --create-custom-metrics` creates them, or: aws iot create-custom-metric --cli-input-json "
        "file://packaging/security_profiles/custom_metrics/uptime_seconds.json\n"
    ) in capsys.readouterr().out
    core.detect.metrics["uptime_seconds"] = "number"
    assert core.deploy(*PLAN, make_zip()) == 0
    assert "custom metric" not in capsys.readouterr().out.lower()


def test_create_custom_metrics_creates_only_the_missing(core: Any, make_zip: Any, capsys: Any) -> None:
    core.detect.metrics["cpu_usage"] = "number"
    flags = ["--zip", make_zip(), "--CustomMetrics", "cpu_usage,uptime_seconds", "--create-custom-metrics"]
    assert apply(core, *flags) == 0
    assert core.detect.metrics == {"cpu_usage": "number", "uptime_seconds": "number"}
    assert core.calls.writes.count("iot:CreateCustomMetric") == 1
    output = capsys.readouterr().out
    assert "+ create custom metric uptime_seconds\n    + displayName: " in output
    assert "Missing in this account" not in output
    assert apply(core, *flags) == 0
    assert core.calls.writes == []


def test_custom_metric_created_meanwhile_is_no_error(core: Any, make_zip: Any) -> None:
    def create(model: Any, params: Any) -> Any:
        core.detect.metrics[params["metricName"]] = "number"
        return refusal(model, "ResourceAlreadyExistsException", "exists", 409)

    core.calls.stubs["iot:CreateCustomMetric"] = create
    assert apply(core, "--zip", make_zip(), "--CustomMetrics", "cpu_usage", "--create-custom-metrics") == 0


def test_custom_metric_of_another_type_is_noted(core: Any, make_zip: Any, capsys: Any) -> None:
    core.detect.metrics |= {"cpu_usage": "number-list", "uptime_seconds": "number"}
    assert core.deploy(*PLAN, make_zip()) == 0
    assert (
        "Custom metric cpu_usage has the type number-list in this account, and the connector reports a number: Device "
        "Defender rejects every report with it."
    ) in capsys.readouterr().out


@pytest.mark.parametrize(
    "code", ["AccessDeniedException", "ForbiddenException", "InvalidRequestException", "UnsupportedOperationException"]
)
@pytest.mark.parametrize("flags", [[], ["--CustomMetrics", "cpu_usage"]])
def test_account_without_detect_is_noted_and_deployed_to(
    core: Any, make_zip: Any, capsys: Any, code: str, flags: list[str]
) -> None:
    core.calls.stubs["iot:DescribeCustomMetric"] = lambda model, _: refusal(model, code, "not available", 403)
    assert apply(core, "--zip", make_zip(), *flags, "--no-wait") == 0
    assert (
        "Note: This account seems to have no AWS IoT Device Defender Detect (iot:DescribeCustomMetric: "
        f"{code}: not available); AWS closed it to new customers on 2026-08-31. Without Detect no service judges "
        "the reports; they are good for subscribers and rules on a topic of your own (--MetricsTopic)"
    ) in capsys.readouterr().out


def test_missing_permission_for_detect_is_noted_as_such(core: Any, make_zip: Any, capsys: Any) -> None:
    message = "User: me is not authorized to perform: iot:DescribeCustomMetric on resource: x"
    core.calls.stubs["iot:DescribeCustomMetric"] = lambda model, _: refusal(model, "AccessDeniedException", message)
    assert core.deploy(*PLAN, make_zip()) == 0
    output = capsys.readouterr().out
    assert "Note: Permission missing: iot:DescribeCustomMetric. Without it this can't check whether" in output
    assert "no AWS IoT Device Defender Detect" not in output


def test_reports_on_another_topic_need_no_custom_metrics(core: Any, make_zip: Any) -> None:
    assert core.deploy(*PLAN, make_zip(), "--MetricsTopic", "site/{thing}") == 0
    assert "iot:DescribeCustomMetric" not in [name for name, _ in core.calls.all]
