"""The component's own process under the local nucleus, and run_local.py --native."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Optional

import pytest
from local_core import Screen
from local_core.component import RUNNING
from run_local import make_nucleus
from run_local_options import parse
from support.core import built_zip
from support.ipc_client import SECONDS
from support.nucleus import WatchedNucleus

ROOT = Path(__file__).resolve().parents[2]
RUN_LOCAL = ROOT / "packaging" / "run_local.py"


def run_local(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(RUN_LOCAL), *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)


def test_artifact_reports_under_the_nucleus() -> None:
    done = run_local(built_zip(native=True), "--native", "--once", "--thing", "gateway-7")
    assert done.returncode == 0, done.stdout
    assert "\na nucleus lite on /" in done.stdout
    assert "component | " in done.stdout
    assert re.search(r"\n\$aws/things/gateway-7/defender/metrics/json, \d+ bytes: ACCEPTED\n\{\n", done.stdout)


def test_tree_reports_under_the_java_nucleus_with_parameters() -> None:
    arguments = ["--native", "--nucleus", "java", "--once", "--lines", "--MetricNames", "short", "--proc", "/proc"]
    done = run_local(ROOT, *arguments, "--report-format", "cbor")
    assert done.returncode == 0, done.stdout
    assert "a Java nucleus on " in done.stdout
    assert re.search(r"^\d\d:\d\d:\d\d  ACCEPTED \d+ B  \d+ connections?, ", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(("nucleus", "longest"), [("lite", None), ("java", "131072")])
def test_parameters_are_the_configuration_and_the_longest_message_is_the_nucleus_own(
    nucleus: str, longest: Optional[str]
) -> None:
    arguments = ["a.zip", "--native", "--nucleus", nucleus, "--set", "MaxListSize=7", "--interval", "5"]
    made = make_nucleus(parse(arguments, None), Screen(False, lambda: None), [])
    made.stop()
    configuration = made.configuration.get([])
    assert configuration.get("MaxPayloadBytes") == longest
    assert (configuration["MaxListSize"], configuration["SampleIntervalSeconds"]) == ("7", "5")


def test_component_is_started_again_with_its_state_and_never_broken() -> None:
    with WatchedNucleus(ROOT, interval=1) as nucleus:
        first = nucleus.wait_for_delivery(SECONDS)
        assert nucleus.component is not None
        nucleus.faults.begin("ipc-restart")
        nucleus.core_line("the component has ended with code 1 and is started again")
        second = nucleus.wait_for_delivery(SECONDS)
        assert second.report["header"]["report_id"] > first.report["header"]["report_id"]
        assert "network_stats" in second.report["metrics"]  # since the report before the restart
        nucleus.faults.begin("ipc-restart")
        nucleus.wait_for_delivery(SECONDS)
        while nucleus.component.starts < 3:
            nucleus.wait_for_delivery(SECONDS)
        nucleus.wait_for_delivery(SECONDS)
        # The next end is the third within an hour, which would be one too many, so it waits.
        nucleus.faults.begin("ipc-restart")
        while not re.search(r"ends with an error in (1 h|5\d min)", nucleus.line("component | ")):
            pass
        assert (nucleus.component.starts, nucleus.component.state) == (3, RUNNING)
    assert nucleus.component.exit_code == 0  # SIGTERM ends the wait
