"""What deploy.py gives the native component is enough for it: it reports and gets its answers under a nucleus."""

from __future__ import annotations

from pathlib import Path

from deployment.recipe import default_configuration
from support.nucleus import WatchedNucleus

ROOT = Path(__file__).resolve().parents[2]
NAME = "com.example.Connector"


def test_deployed_configuration_lets_the_component_report_and_subscribe() -> None:
    configuration = {**default_configuration(NAME), "LogLevel": "DEBUG"}
    with WatchedNucleus(ROOT, component=NAME, thing="gateway-7", configuration=configuration) as nucleus:
        delivery = nucleus.wait_for_delivery()
        assert delivery.topic == "$aws/things/gateway-7/defender/metrics/json"
        assert delivery.verdict is not None
        assert delivery.verdict.accepted
    log = nucleus.component_log
    assert "subscribed to $aws/things/gateway-7/defender/metrics/json/accepted" in log
    assert "not allowed" not in log
    assert "WARNING" not in log
