"""A function under the local core: its environment, events, log, end and what it may run as."""

import json
import os
import pwd
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Optional

import pytest
from local_core import FUNCTION_ARN, FunctionError, LocalCore, LocalCoreError, Verdict
from local_core import core as core_module
from local_core.function import find_interpreter
from support.functions import DO, PUBLISHER, REPORTER, REPORTS, TABLE, Watched


def test_report_gets_a_verdict_that_reaches_the_function(run: Callable[..., Watched]) -> None:
    core = run(REPORTER)
    delivery = core.wait_for_delivery()
    assert delivery.topic == REPORTS + "json"
    assert json.loads(delivery.payload.decode()) == delivery.report
    assert delivery.report["metrics"] == {"listening_udp_ports": {"ports": [], "total": 0}}
    assert delivery.verdict == Verdict(True)
    assert core.function_line("verdict") == "ACCEPTED"
    assert core.deliveries == [delivery]


def test_environment_has_the_variables_of_the_core_only(run: Callable[..., Watched], monkeypatch: Any) -> None:
    monkeypatch.setenv("INHERITED", "1")
    core = run(
        "import json, os; print('environ', json.dumps(dict(os.environ)))\ndef handler(event, context): pass",
        thing="a-thing",
        environment={"MetricNames": "short", "AWS_REGION": None},
        generation=1,
        proc="/other_proc",
        encoding_type="binary",
        interval=300,
    )
    environment = json.loads(core.function_line("environ"))
    assert len(environment.pop("AWS_CONTAINER_AUTHORIZATION_TOKEN")) > 30
    environment.pop("LC_CTYPE", None)  # set by Python itself in some locales
    assert environment == {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "AWS_IOT_THING_NAME": "a-thing",
        "MY_FUNCTION_ARN": FUNCTION_ARN,
        "ROUTER_FUNCTION_ARN": "arn:aws:lambda:::function:GGRouter",
        "SHADOW_FUNCTION_ARN": "arn:aws:lambda:::function:GGShadowService",
        "SECRETS_MANAGER_FUNCTION_ARN": "arn:aws:lambda:::function:GGSecretManager:1",
        "GG_DAEMON_PORT": str(core.port),
        "GGC_MAX_INTERFACE_VERSION": "1.5",
        "GGC_VERSION": "1.11.6",
        "ENCODING_TYPE": "binary",
        "LOG_LEVEL": "INFO",
        "ProcDestinationPath": "/other_proc",
        "SampleIntervalSeconds": "300",
        "MetricNames": "short",
    }


def test_handler_gets_event_and_context_in_the_main_thread(run: Callable[..., Watched]) -> None:
    source = """
import json, threading
def handler(event, context):
    client = context.client_context
    print("got", json.dumps([event, client.custom, client.client, client.env, context.invoked_function_arn,
                             context.function_name, context.function_version,
                             threading.current_thread() is threading.main_thread()]))
    assert context.aws_request_id
"""
    core = run(source, subscriptions=TABLE)
    assert core.send("test/a", b'{"b": [1]}')
    assert json.loads(core.function_line("got")) == [
        {"b": [1]},
        {"source": "cloud", "subject": "test/a"},
        {},
        {},
        FUNCTION_ARN,
        "device-defender-connector",
        "1",
        True,
    ]
    assert not core.send("other/a", b"{}"), "no subscription"


def test_event_with_binary_encoding_is_bytes(run: Callable[..., Watched]) -> None:
    core = run("def handler(event, context): print('got', event)", subscriptions=TABLE, encoding_type="binary")
    core.send(DO, b"\xa1\xff")
    assert core.function_line("got") == r"b'\xa1\xff'"


def test_event_that_raises_does_not_end_the_function(run: Callable[..., Watched]) -> None:
    core = run("def handler(event, context): print('got', 1 / event)", subscriptions=TABLE)
    core.send(DO, b"\xa1\xff")
    assert "the event is not JSON" in core.function_line("ValueError: ")
    core.send(DO, b"0")
    assert core.function_line("ZeroDivisionError: ")
    core.send(DO, b"2")
    assert core.function_line("got") == "0.5"


def test_logging_of_the_function_is_in_its_log(run: Callable[..., Watched]) -> None:
    core = run(
        "import logging, sys; logging.getLogger('a.b').info('hello'); logging.debug('not shown')\n"
        "print('stderr', file=sys.stderr)\ndef handler(event, context): pass"
    )
    assert core.function_line("stderr") == ""
    assert core.function_log.endswith(" INFO a.b: hello\nstderr")


def test_zip_is_first_on_sys_path_and_read_only(run: Callable[..., Watched]) -> None:
    source = """
import os, pathlib, sys
here = pathlib.Path(__file__).parent
print("root", sys.path[0] == str(here), os.getcwd() == str(here))
print("modes", oct(here.stat().st_mode), oct(pathlib.Path(__file__).stat().st_mode), list(here.glob("__pycache__")))
def handler(event, context): pass
"""
    core = run(source)
    assert core.function_line("root") == "True True"
    assert core.function_line("modes") == "0o40555 0o100444 []"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import not_there", "the function failed to initialize: ModuleNotFoundError: No module named 'not_there'"),
        ("x = 1", "the function failed to initialize: AttributeError: .*'handler'"),
        ("import sys; print('bye'); sys.exit(3)", "(?s)the function ended with exit code 3; its log:.*bye"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "the function ended with exit code -9"),
    ],
)
def test_failed_import_is_an_error_with_the_log(run: Callable[..., Watched], source: str, reason: str) -> None:
    with pytest.raises(FunctionError, match=reason):
        run(source)


def test_failed_import_ends_the_function_with_1(make_zip: Callable[..., Path]) -> None:
    core = LocalCore(make_zip({"function.py": "raise ValueError('no thing')"}), handler="function.handler")
    with pytest.raises(FunctionError, match="ValueError: no thing"):
        core.start()
    assert core.stop() == 1
    assert core.function_log.endswith("ValueError: no thing")


def test_import_that_does_not_return_is_an_error(run: Callable[..., Watched], monkeypatch: Any) -> None:
    monkeypatch.setattr(core_module, "START_SECONDS", 0.5)
    with pytest.raises(FunctionError, match="did not return .code outside the handler must not block. in 0.5 s"):
        run("import threading; threading.Event().wait()")


def test_time_out_for_all_sockets_ends_the_function(run: Callable[..., Watched]) -> None:
    source = "import socket; socket.setdefaulttimeout(0.1)\ndef handler(event, context): pass"
    # Of its wait for work; of its first request, if the core is that slow.
    with pytest.raises(FunctionError, match="(?s)the function ended with exit code 1; .*timed out"):
        run(source).wait_for_delivery()


def test_missing_delivery_is_an_error_with_the_log(run: Callable[..., Watched]) -> None:
    core = run("print('idle')\ndef handler(event, context): pass")
    with pytest.raises(FunctionError, match="(?s)no report reached the cloud in 0.1 s; its log:.*idle"):
        core.wait_for_delivery(0.1)


def test_stop_sends_sigterm_and_removes_the_folder(run: Callable[..., Watched]) -> None:
    source = """
import os, signal, threading
print("here", os.path.dirname(__file__))
# a thread that waits, as a handler would not run at once while the main thread waits for work
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
threading.Thread(target=lambda: (signal.sigwait({signal.SIGTERM}), os._exit(42)), daemon=True).start()
def handler(event, context): pass
"""
    core = run(source)
    folder = Path(core.function_line("here"))
    assert folder.is_dir()
    assert core.stop() == 42
    assert not folder.parent.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", core.port), timeout=60)
    assert core.stop() == 42, "a second stop changes nothing"


def test_function_that_ignores_sigterm_is_killed(run: Callable[..., Watched], monkeypatch: Any) -> None:
    monkeypatch.setattr("local_core.function.STOP_SECONDS", 0.2)
    core = run("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\ndef handler(event, context): pass")
    assert core.stop() == -signal.SIGKILL


def test_unpacked_directory_runs(tmp_path: Path) -> None:
    (tmp_path / "function.py").write_text("print('from', __file__)\ndef handler(event, context): pass")
    core = Watched(tmp_path, handler="function.handler")
    with core:
        assert core.function_line("from") == str(tmp_path / "function.py")
    assert [path.name for path in tmp_path.iterdir()] == ["function.py"]


CONNECTOR = {
    "connector/__init__.py": "",
    "connector/config.py": "MIN_SAMPLE_INTERVAL = 300",
    "connector/handler.py": """
import os
from connector import config
print("floor", config.MIN_SAMPLE_INTERVAL, os.environ.get("SampleIntervalSeconds"))
def function_handler(event, context): pass
""",
}
HANDLER = "connector.handler.function_handler"


@pytest.mark.parametrize(("interval", "floor"), [(None, "300 None"), (2, "2 2"), (600, "300 600")])
def test_only_an_interval_below_300_lowers_the_minimum(
    run: Callable[..., Watched], interval: Optional[int], floor: str
) -> None:
    assert run(CONNECTOR, handler=HANDLER, interval=interval).function_line("floor") == floor


def test_function_without_the_minimum_is_refused(run: Callable[..., Watched]) -> None:
    files = {**CONNECTOR, "connector/config.py": "", "connector/handler.py": "def function_handler(event, context): 1"}
    with pytest.raises(FunctionError, match="has no MIN_SAMPLE_INTERVAL: the interval of this function can't be low"):
        run(files, handler=HANDLER, interval=2)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run the function as another user")
SYSTEM_PYTHON = "/usr/bin/python3"


def has_system_python() -> bool:
    code = "import sys; sys.exit(sys.version_info < (3, 7))"
    return os.path.exists(SYSTEM_PYTHON) and subprocess.call([SYSTEM_PYTHON, "-c", code]) == 0


@needs_root
@pytest.mark.skipif(not has_system_python(), reason="needs a Python that every user may execute, as " + SYSTEM_PYTHON)
def test_function_runs_as_an_unprivileged_user(run: Callable[..., Watched]) -> None:
    source = REPORTER + "print('user', os.getresuid(), os.getresgid(), os.getgroups())"
    core = run(source, user="nobody", python=SYSTEM_PYTHON)
    nobody = pwd.getpwnam("nobody")
    uids, gids = (nobody.pw_uid,) * 3, (nobody.pw_gid,) * 3
    assert core.function_line("user") == f"{uids} {gids} []"
    assert core.wait_for_delivery().verdict == Verdict(True)


@needs_root
def test_interpreter_that_the_user_may_not_execute_is_named(make_zip: Callable[..., Path], tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    python = tmp_path / "python"
    python.symlink_to(os.path.realpath(sys.executable))
    core = LocalCore(make_zip({"function.py": ""}), user="nobody", python=str(python))
    with pytest.raises(LocalCoreError, match=f"^{python} can't be run by user nobody .*Permission denied"):
        core.start()
    assert core.stop() is None


def test_unknown_user_is_named(run: Callable[..., Watched]) -> None:
    with pytest.raises(LocalCoreError, match="there is no user 'no-such-user' on this machine"):
        run(PUBLISHER, user="no-such-user")


@pytest.mark.parametrize("python", ["no-such-python", "/bin/false", "/etc/passwd"])
def test_program_that_is_not_python_is_named(python: str) -> None:
    with pytest.raises(LocalCoreError, match=f"'{python}' can't be run as a Python interpreter"):
        find_interpreter(python)
