"""The component's process under the local nucleus: what it finds, when it is started again."""

import itertools
import json
import os
import signal
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict

import pytest
from local_core import FunctionError, LocalCoreError
from local_core.component import BROKEN, FINISHED, STOPPED, Component
from local_core.nucleus import ARGUMENTS
from support.functions import REPORTS
from support.ipc_client import SECONDS
from support.nucleus import QUICK, WatchedNucleus

Start = Callable[..., WatchedNucleus]
ENVIRONMENT = "import json, os; print('environment', json.dumps(dict(os.environ)))\n"
REPORTER = """
import json, os, time
from awsiot.greengrasscoreipc.clientv2 import GreengrassCoreIPCClientV2
topic = "$aws/things/%s/defender/metrics/json" % os.environ["AWS_IOT_THING_NAME"]
report = {"header": {"report_id": int(time.time()), "version": "1.0"}}
report["metrics"] = {"listening_udp_ports": {"ports": [], "total": 0}}
client = GreengrassCoreIPCClientV2()
print("configuration", client.get_configuration(key_path=["Answer"]).value)
client.publish_to_iot_core(topic_name=topic, qos="1", payload=json.dumps(report))
"""


@pytest.fixture
def run(tmp_path: Path, start_nucleus: Start) -> Callable[..., WatchedNucleus]:
    """Return what runs a script as a component, as `python -m component`."""

    def start(source: str, **settings: Any) -> WatchedNucleus:
        (tmp_path / "component.py").write_text(source)
        return start_nucleus(artifact=tmp_path, arguments=["-m", "component"], **settings)

    return start


def test_component_finds_the_variables_that_a_nucleus_sets(run: Callable[..., WatchedNucleus], tmp_path: Path) -> None:
    nucleus = run(ENVIRONMENT, thing="gateway-7", environment={"OWN": "value", "LANG": None})
    found = json.loads(nucleus.line("component | environment"))
    assert found["AWS_IOT_THING_NAME"] == "gateway-7"
    assert found["AWS_REGION"] == "us-east-1"
    assert found["OWN"] == "value"
    assert found["AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT"] == nucleus.address
    assert found["PYTHONPATH"] == str(tmp_path)
    assert len(found["SVCUID"]) == 16
    assert not {"LANG", "MY_FUNCTION_ARN", "HOME", "VIRTUAL_ENV"} & set(found)


def test_java_nucleus_leaves_out_what_sudo_takes_out(run: Callable[..., WatchedNucleus], tmp_path: Path) -> None:
    nucleus = run(ENVIRONMENT, nucleus="java", environment={"OWN": "value", "PYTHONINSPECT": "1"})
    found = json.loads(nucleus.line("component | environment"))
    assert (found["OWN"], found["PYTHONPATH"]) == ("value", str(tmp_path))
    assert "PYTHONINSPECT" not in found


def test_recipes_script_is_run_by_a_shell(start_nucleus: Start, tmp_path: Path) -> None:
    nucleus = start_nucleus(
        nucleus="java",
        artifact=tmp_path,
        script="echo at $AWS_IOT_THING_NAME, $PYTHONPATH",
        environment={"PYTHONPATH": "/a"},
    )
    assert nucleus.line("component |") == "at local-core,"


def test_unknown_user_is_named(run: Callable[..., WatchedNucleus]) -> None:
    with pytest.raises(LocalCoreError, match="there is no user 'no-such-user' on this machine"):
        run(REPORTER, user="no-such-user")


def test_component_publishes_with_the_real_client(run: Callable[..., WatchedNucleus]) -> None:
    nucleus = run(REPORTER, configuration={"Answer": 42})
    assert nucleus.wait_for_delivery().topic == REPORTS + "json"
    assert nucleus.line("component | configuration") == "{'Answer': 42}"
    assert "configuration {'Answer': 42}" in nucleus.component_log


def test_code_0_is_the_end(run: Callable[..., WatchedNucleus]) -> None:
    nucleus = run("")
    nucleus.wait_for_state(FINISHED)
    assert nucleus.component is not None
    assert (nucleus.component.starts, nucleus.component.exit_code) == (1, 0)
    with pytest.raises(FunctionError, match="is FINISHED: it ended with exit code 0, which a nucleus takes for done"):
        nucleus.wait_for_delivery()


def test_a_signal_that_systemd_takes_for_a_clean_end_is_the_end_on_lite(run: Callable[..., WatchedNucleus]) -> None:
    nucleus = run("import os, signal; signal.signal(signal.SIGPIPE, signal.SIG_DFL); os.kill(os.getpid(), 13)\n")
    nucleus.wait_for_state(FINISHED)
    assert nucleus.component is not None
    assert (nucleus.component.starts, nucleus.component.exit_code) == (1, -signal.SIGPIPE)


def test_a_signal_is_a_failure_on_java(run: Callable[..., WatchedNucleus]) -> None:
    nucleus = run("import os, signal; os.kill(os.getpid(), signal.SIGTERM)\n", nucleus="java")
    nucleus.wait_for_state(BROKEN)
    assert nucleus.component is not None
    assert nucleus.component.starts == 3


def test_three_failed_starts_are_broken_until_it_is_started_by_hand(run: Callable[..., WatchedNucleus]) -> None:
    nucleus = run(ENVIRONMENT + "raise SystemExit(3)\n")
    tokens = {json.loads(nucleus.line("component | environment"))["SVCUID"] for _ in range(3)}
    assert len(tokens) == 3
    nucleus.wait_for_state(BROKEN)
    assert nucleus.component is not None
    assert nucleus.component.starts == 3
    with pytest.raises(FunctionError, match="the component is BROKEN: it ended with exit code 3"):
        nucleus.wait_for_delivery()
    nucleus.component.start()
    nucleus.line("component | environment")
    nucleus.wait_for_state(BROKEN)
    assert nucleus.component.starts == 6


@pytest.mark.parametrize(
    ("seconds", "counts_failures", "is_broken"), [(1800.0, False, False), (1800.0, True, True), (3600.0, True, False)]
)
def test_failures_far_from_each_other_break_it_where_each_is_within_an_hour_of_the_last(
    tmp_path: Path, seconds: float, counts_failures: bool, is_broken: bool
) -> None:
    """Nucleus lite counts the starts within an hour, the Java nucleus the failures until an hour passes without one."""
    clock = itertools.count(0.0, seconds)
    enough = threading.Event()

    def changed() -> None:
        if component.starts == 5 or component.state == BROKEN:
            enough.set()

    component = Component(
        [sys.executable, "-S", "-c", "raise SystemExit(1)"],
        environment=dict,
        directory=tmp_path,
        user=None,
        on_print=lambda line: None,
        on_log=lambda line: None,
        on_change=changed,
        times=QUICK,
        clock=lambda: next(clock),
        counts_failures=counts_failures,
    )
    component.start()
    try:
        assert enough.wait(SECONDS)
        assert (component.state == BROKEN) == is_broken
    finally:
        component.stop()


def test_stop_while_it_is_being_started_again_ends_the_new_process(tmp_path: Path) -> None:
    begun, go = threading.Event(), threading.Event()
    ends = tmp_path / "ends"
    ends.touch()
    source = "import os, sys, time\nif os.path.exists(sys.argv[1]): sys.exit(1)\ntime.sleep(1e6)"

    def environment() -> Dict[str, str]:
        if component.starts == 2:
            begun.set()
            assert go.wait(SECONDS)
        return {}

    component = Component(
        [sys.executable, "-S", "-c", source, str(ends)],
        environment=environment,
        directory=tmp_path,
        user=None,
        on_print=lambda line: None,
        on_log=lambda line: None,
        on_change=lambda: None,
        times=QUICK,
    )
    component.start()
    assert begun.wait(SECONDS)
    ends.unlink()  # the new process stays
    stopper = threading.Thread(target=component.stop, daemon=True)
    stopper.start()
    stopper.join(0.1)  # long enough for it to have looked at the old process; a later look is no failure
    go.set()
    stopper.join(SECONDS)
    try:
        assert not stopper.is_alive()
        assert component.state == STOPPED
    finally:
        if stopper.is_alive():
            os.kill(component.pid, signal.SIGKILL)


def test_stopped_component_is_ended_with_sigterm(run: Callable[..., WatchedNucleus]) -> None:
    nucleus = run("import signal, time\nprint('ready', flush=True)\nsignal.pause()\n")
    nucleus.line("component | ready")
    assert nucleus.stop() == -15


def test_artifact_is_a_zip_that_is_unpacked(tmp_path: Path, start_nucleus: Start) -> None:
    path = tmp_path / "artifact.zip"
    with zipfile.ZipFile(path, "w") as archive:
        source = "import os, sys; print('runs', sys.argv[1:], os.listdir('.'), os.path.basename(sys.path[1]))"
        archive.writestr("connector/__main__.py", source)
        archive.writestr("connector/__init__.py", "")
        archive.writestr("connector/config.py", "MIN_SAMPLE_INTERVAL = 300")
    nucleus = start_nucleus(artifact=path, arguments=ARGUMENTS)
    assert nucleus.line("component | runs") == "['component'] [] artifact"


def test_interval_below_the_minimum_lowers_it(tmp_path: Path, start_nucleus: Start) -> None:
    package = tmp_path / "connector"
    package.mkdir()
    (package / "config.py").write_text("MIN_SAMPLE_INTERVAL = 300")
    (package / "__init__.py").write_text("")
    source = "import sys\nfrom . import config\nprint('minimum', config.MIN_SAMPLE_INTERVAL, sys.argv[1:])\n"
    (package / "__main__.py").write_text(source)
    nucleus = start_nucleus(artifact=tmp_path, interval=5)
    assert nucleus.line("component | minimum") == "5 ['component']"
    assert nucleus.configuration.get(["SampleIntervalSeconds"]) == {"SampleIntervalSeconds": "5"}


def test_interval_of_a_component_without_a_minimum_can_not_be_lowered(tmp_path: Path, start_nucleus: Start) -> None:
    package = tmp_path / "connector"
    package.mkdir()
    for name in ("config.py", "__init__.py", "__main__.py"):
        (package / name).write_text("")
    nucleus = start_nucleus(artifact=tmp_path, interval=5)
    assert nucleus.line("component | connector.config has no MIN_SAMPLE_INTERVAL: ").endswith("can't be lowered")


def test_missing_artifact_is_an_error(tmp_path: Path, start_nucleus: Start) -> None:
    with pytest.raises(LocalCoreError, match="there is no file "):
        start_nucleus(artifact=tmp_path / "missing.zip")
