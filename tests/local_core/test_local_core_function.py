"""The local core as a whole: small functions, zipped with the real SDK, run in processes of their own."""

import importlib.util
import json
import os
import pwd
import queue
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any, Callable, Iterator, List, Mapping, Optional, Union

import pytest
from local_core import FUNCTION_ARN, FunctionError, LocalCore, LocalCoreError, Subscription, Verdict
from local_core import core as core_module
from local_core.function import find_interpreter, unpack

ROOT = Path(__file__).resolve().parents[2]
RUN_LOCAL = ROOT / "packaging" / "run_local.py"
REPORTS = "$aws/things/local-core/defender/metrics/"
REPORT = b'{"header":{"report_id":7,"version":"1.0"},"metrics":{"listening_udp_ports":{"ports":[],"total":0}}}'
DO = "test/do"
TABLE = [
    Subscription("cloud", "test/#", FUNCTION_ARN),
    Subscription(FUNCTION_ARN, REPORTS + "+", "cloud"),
    Subscription(FUNCTION_ARN, "test/+", "cloud"),
]

# Publishes what its events say, as the connector does, and prints how that went.
PUBLISHER = """
import greengrasssdk
client = greengrasssdk.client("iot-data")
print("imported")
def handler(event, context):
    try:
        client.publish(topic=event["topic"], payload=event["payload"], queueFullPolicy=event.get("policy", ""))
    except Exception as error:
        print("failed", type(error).__name__, error)
    else:
        print("published")
"""

# Publishes one report when it is imported, prints its process id and the verdict.
REPORTER = """
import json, os, threading, time
import greengrasssdk
REPORT = {"header": {"report_id": int(time.time()), "version": os.environ.get("VERSION", "1.0")}}
REPORT["metrics"] = {"listening_udp_ports": {"ports": [], "total": 0}}
def run():
    topic = "$aws/things/%s/defender/metrics/json" % os.environ["AWS_IOT_THING_NAME"]
    greengrasssdk.client("iot-data").publish(topic=topic, payload=json.dumps(REPORT), queueFullPolicy="AllOrException")
print("pid", os.getpid())
threading.Thread(target=run, daemon=True).start()
def handler(event, context):
    print("verdict", event["status"])
"""


@pytest.fixture(scope="session")
def sdk() -> Path:
    """Return the directory of the real greengrasssdk package."""
    spec = importlib.util.find_spec("greengrasssdk")
    assert spec is not None, "the tests need greengrasssdk 1.6.1 (pip install --no-deps greengrasssdk==1.6.1)"
    assert spec.origin is not None
    return Path(spec.origin).parent


@pytest.fixture
def make_zip(tmp_path: Path, sdk: Path) -> Callable[..., Path]:
    """Return what makes a function's zip of files, given as path=source, and the SDK."""

    def make(files: Mapping[str, str]) -> Path:
        path = tmp_path / "function.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, source in files.items():
                archive.writestr(name, source)
            for file in sdk.rglob("*.py"):
                archive.write(file, "greengrasssdk/" + str(file.relative_to(sdk)))
        return path

    return make


@pytest.fixture
def run(make_zip: Callable[..., Path]) -> Iterator[Callable[..., "Watched"]]:
    """Return what starts a local core with a function's source; all are stopped in the end."""
    started: List[Watched] = []

    def start(source: Union[str, Mapping[str, str]], **settings: Any) -> Watched:
        files = {"function.py": source} if isinstance(source, str) else source
        watched = Watched(make_zip(files), **{"handler": "function.handler", **settings})
        started.append(watched)
        watched.start()
        return watched

    yield start
    for watched in started:
        watched.stop()


class Watched(LocalCore):
    """A local core whose lines for the person who watches are waited for."""

    def __init__(self, artifact: Path, **settings: Any) -> None:
        self.lines: queue.Queue[str] = queue.Queue()
        super().__init__(artifact, on_log=self.lines.put, **settings)

    def line(self, start: str) -> str:
        """Return the next line that begins so, without that; at most 30 s for each line before."""
        while True:
            line = self.lines.get(timeout=30)
            if line.startswith(start):
                return line[len(start) :].strip()

    def function_line(self, start: str) -> str:
        return self.line("function | " + start)

    def do(self, topic: str, payload: str = "x", **event: str) -> str:
        """Let PUBLISHER publish; return how that went."""
        assert self.send(DO, json.dumps({"topic": topic, "payload": payload, **event}).encode())
        while True:
            line = self.function_line("")
            if line.startswith(("published", "failed")):
                return line


def test_a_report_gets_its_verdict_and_the_function_hears_of_it(run: Callable[..., Watched]) -> None:
    core = run(REPORTER)
    delivery = core.wait_for_delivery()
    assert delivery.topic == REPORTS + "json"
    assert json.loads(delivery.payload.decode()) == delivery.report
    assert delivery.report["metrics"] == {"listening_udp_ports": {"ports": [], "total": 0}}
    assert delivery.verdict == Verdict(True)
    assert core.function_line("verdict") == "ACCEPTED"
    assert core.deliveries == [delivery]


def test_environment_is_the_cores_and_nothing_else(run: Callable[..., Watched], monkeypatch: Any) -> None:
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


def test_the_handler_gets_event_and_context_in_the_main_thread(run: Callable[..., Watched]) -> None:
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


def test_with_binary_encoding_the_event_is_bytes(run: Callable[..., Watched]) -> None:
    core = run("def handler(event, context): print('got', event)", subscriptions=TABLE, encoding_type="binary")
    core.send(DO, b"\xa1\xff")
    assert core.function_line("got") == r"b'\xa1\xff'"


def test_an_event_it_cant_take_does_not_end_the_function(run: Callable[..., Watched]) -> None:
    core = run("def handler(event, context): print('got', 1 / event)", subscriptions=TABLE)
    core.send(DO, b"\xa1\xff")
    assert "the event is not JSON" in core.function_line("ValueError: ")
    core.send(DO, b"0")
    assert core.function_line("ZeroDivisionError: ")
    core.send(DO, b"2")
    assert core.function_line("got") == "0.5"


def test_the_functions_logging_is_in_its_log(run: Callable[..., Watched]) -> None:
    core = run(
        "import logging, sys; logging.getLogger('a.b').info('hello'); logging.debug('not shown')\n"
        "print('stderr', file=sys.stderr)\ndef handler(event, context): pass"
    )
    assert core.function_line("stderr") == ""
    assert core.function_log.endswith(" INFO a.b: hello\nstderr")


def test_the_zip_comes_first_on_sys_path_and_is_read_only(run: Callable[..., Watched]) -> None:
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
def test_an_import_that_fails_is_told_with_the_log(run: Callable[..., Watched], source: str, reason: str) -> None:
    with pytest.raises(FunctionError, match=reason):
        run(source)


def test_an_import_that_fails_ends_the_function_with_1(make_zip: Callable[..., Path]) -> None:
    core = LocalCore(make_zip({"function.py": "raise ValueError('no thing')"}), handler="function.handler")
    with pytest.raises(FunctionError, match="ValueError: no thing"):
        core.start()
    assert core.stop() == 1
    assert core.function_log.endswith("ValueError: no thing")


def test_an_import_that_does_not_return_is_told(run: Callable[..., Watched], monkeypatch: Any) -> None:
    monkeypatch.setattr(core_module, "START_SECONDS", 0.5)
    with pytest.raises(FunctionError, match="did not return .code outside the handler must not block. in 0.5 s"):
        run("import threading; threading.Event().wait()")


def test_a_time_out_for_all_sockets_ends_the_function_as_on_a_real_core(run: Callable[..., Watched]) -> None:
    core = run("import socket; socket.setdefaulttimeout(0.1)\ndef handler(event, context): pass")
    with pytest.raises(FunctionError, match="(?s)the function ended with exit code 1; .*timed out"):
        core.wait_for_delivery()


def test_nothing_delivered_is_told_with_the_log(run: Callable[..., Watched]) -> None:
    core = run("print('idle')\ndef handler(event, context): pass")
    with pytest.raises(FunctionError, match="(?s)no report reached the cloud in 0.1 s; its log:.*idle"):
        core.wait_for_delivery(0.1)


# --- subscriptions, seen from the SDK


def test_a_message_nobody_subscribed_to_fails_on_v2_and_is_lost_on_v1(run: Callable[..., Watched]) -> None:
    missing = f"No subscription exists for the source {FUNCTION_ARN} and subject other/topic"
    core = run(PUBLISHER, subscriptions=TABLE)
    expected = f"failed InvocationException Failed to invoke function due to HTTP Error 400: Bad Request: {missing}"
    assert core.do("other/topic") == expected
    assert core.deliveries == []

    core = run(PUBLISHER, subscriptions=TABLE, generation=1)
    assert core.do("other/topic") == "published"
    assert core.deliveries == []


def test_the_person_who_watches_is_told_of_a_missing_subscription(run: Callable[..., Watched]) -> None:
    core = run(PUBLISHER, subscriptions=TABLE, generation=1)
    core.send(DO, b'{"topic": "other/topic", "payload": "x"}')
    assert core.line("No subscription exists for the source ") == (
        FUNCTION_ARN + " and subject other/topic: dropped without an error, as a V1 core does"
    )


def test_a_topic_with_wildcards_is_refused(run: Callable[..., Watched]) -> None:
    assert "HTTP Error 400: Bad Request: 'test/#' is no topic" in run(PUBLISHER, subscriptions=TABLE).do("test/#")


# --- faults, seen from the SDK


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("status:400", "failed InvocationException Failed to invoke function due to HTTP Error 400: Bad Request: "),
        ("status:503", "failed InvocationException Failed to invoke function due to HTTP Error 503: Service Unavail"),
        ("full", "failed InvocationException Failed to invoke function due to HTTP Error 429: Too Many Requests: "),
        ("reset", "failed ConnectionResetError "),
        ("cut", "failed BadStatusLine "),
        ("restart", ("failed ConnectionResetError ", "failed RemoteDisconnected ")),
        ("slow", "published"),
    ],
)
def test_a_fault_reaches_the_function(run: Callable[..., Watched], fault: str, outcome: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("local_core.server.SLOW_SECONDS", 0.1)
    core = run(PUBLISHER, subscriptions=TABLE)
    core.faults.add(fault)
    assert core.do("test/a", policy="AllOrException").startswith(outcome)
    assert [delivery.topic for delivery in core.deliveries] == (["test/a"] if outcome == "published" else [])
    assert core.do("test/b") == "published"
    assert core.deliveries[-1].topic == "test/b"


def test_without_the_policy_a_full_queue_drops_silently(run: Callable[..., Watched]) -> None:
    core = run(PUBLISHER, subscriptions=TABLE)
    core.faults.add("full", 2)
    assert core.do("test/a") == core.do("test/a", policy="BestEffort") == "published"
    assert core.deliveries == []


def test_a_closed_port_refuses_the_function(run: Callable[..., Watched], tmp_path: Path) -> None:
    go = tmp_path / "go"
    wait = f"""
def wait():
    import os, time
    print("waiting")
    while not os.path.exists({str(go)!r}):
        time.sleep(0.01)
"""
    core = run(wait + PUBLISHER.replace("    try:", "    wait()\n    try:"), subscriptions=TABLE)
    core.send(DO, b'{"topic": "test/a", "payload": "x"}')
    assert core.function_line("waiting") == ""
    core.faults.add("refuse", 3600)
    go.touch()
    assert core.function_line("failed").startswith("InvocationException ")
    assert "Connection refused" in core.function_log
    core.faults.release()
    assert core.do("test/b") == "published"
    assert [delivery.topic for delivery in core.deliveries] == ["test/b"]


def test_a_core_that_never_answers_blocks_the_function_until_it_is_stopped(run: Callable[..., Watched]) -> None:
    core = run(PUBLISHER, subscriptions=TABLE)
    core.faults.add("hang")
    core.send(DO, b'{"topic": "test/a", "payload": "x"}')
    assert core.faults.wait(30)
    assert core.stop() == -signal.SIGTERM
    assert core.deliveries == []


def test_the_function_outlives_a_restart_of_the_core(run: Callable[..., Watched]) -> None:
    core = run(PUBLISHER, subscriptions=TABLE)
    pid, port = core.pid, core.port
    core.restart_core()
    assert core.do("test/a") == "published"
    assert (core.pid, core.port, core.exit_code) == (pid, port, None)


def test_a_restarted_function_is_another_process_that_gets_the_messages(run: Callable[..., Watched]) -> None:
    core = run(PUBLISHER, subscriptions=TABLE)
    first = core.pid
    assert core.restart_function() == -signal.SIGTERM
    assert core.pid != first
    assert core.do("test/a") == "published"
    assert core.function_log.count("imported") == 2


# --- the process


def test_stop_ends_the_function_with_sigterm_and_leaves_nothing(run: Callable[..., Watched]) -> None:
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
        socket.create_connection(("127.0.0.1", core.port), timeout=5)
    assert core.stop() == 42, "a second stop changes nothing"


def test_a_function_that_ignores_sigterm_is_killed(run: Callable[..., Watched], monkeypatch: Any) -> None:
    monkeypatch.setattr("local_core.function.STOP_SECONDS", 0.2)
    core = run("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\ndef handler(event, context): pass")
    assert core.stop() == -signal.SIGKILL


def test_an_unpacked_directory_runs_too(tmp_path: Path) -> None:
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
def test_only_an_explicit_interval_lowers_the_floor(
    run: Callable[..., Watched], interval: Optional[int], floor: str
) -> None:
    assert run(CONNECTOR, handler=HANDLER, interval=interval).function_line("floor") == floor


def test_a_function_whose_floor_cant_be_lowered_is_refused(run: Callable[..., Watched]) -> None:
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
def test_the_function_runs_as_an_unprivileged_user(run: Callable[..., Watched]) -> None:
    source = REPORTER + "print('user', os.getresuid(), os.getresgid(), os.getgroups())"
    core = run(source, user="nobody", python=SYSTEM_PYTHON)
    nobody = pwd.getpwnam("nobody")
    uids, gids = (nobody.pw_uid,) * 3, (nobody.pw_gid,) * 3
    assert core.function_line("user") == f"{uids} {gids} []"
    assert core.wait_for_delivery().verdict == Verdict(True)


@needs_root
def test_an_interpreter_the_user_may_not_execute_is_named(make_zip: Callable[..., Path], tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    python = tmp_path / "python"
    python.symlink_to(os.path.realpath(sys.executable))
    core = LocalCore(make_zip({"function.py": ""}), user="nobody", python=str(python))
    with pytest.raises(LocalCoreError, match=f"^{python} can't be run by user nobody .*Permission denied"):
        core.start()
    assert core.stop() is None


def test_a_user_there_is_not_is_named(run: Callable[..., Watched]) -> None:
    with pytest.raises(LocalCoreError, match="there is no user 'no-such-user' on this machine"):
        run(PUBLISHER, user="no-such-user")


@pytest.mark.parametrize("python", ["no-such-python", "/bin/false", "/etc/passwd"])
def test_what_is_no_interpreter_is_named(python: str) -> None:
    with pytest.raises(LocalCoreError, match=f"'{python}' can't be run as a Python interpreter"):
        find_interpreter(python)


# --- the zip


def write_zip(path: Path, name: str, mode: int = 0o100644) -> Path:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = mode << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    return path


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("/absolute", 0o100644),
        ("../outside", 0o100644),
        ("a/../../outside", 0o100644),
        ("a\\..\\outside", 0o100644),
        ("link", stat.S_IFLNK | 0o777),
    ],
)
def test_a_zip_that_would_leave_its_directory_is_refused(tmp_path: Path, name: str, mode: int) -> None:
    with pytest.raises(LocalCoreError, match="is a link or leaves the directory"):
        unpack(write_zip(tmp_path / "bad.zip", name, mode), tmp_path / "into")
    assert [path.name for path in tmp_path.rglob("*")] == ["bad.zip"]


def test_a_programs_mode_survives_unpacking(tmp_path: Path) -> None:
    unpack(write_zip(tmp_path / "good.zip", "bin/program", 0o100755), tmp_path / "into")
    program = tmp_path / "into" / "bin" / "program"
    assert oct(program.stat().st_mode) == "0o100555"
    program.parent.chmod(0o755)  # for pytest, which removes it
    (tmp_path / "into").chmod(0o755)


def test_what_is_no_zip_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocalCoreError, match="there is no file .*missing.zip"):
        unpack(tmp_path / "missing.zip", tmp_path / "into")
    (tmp_path / "text.zip").write_text("text")
    with pytest.raises(LocalCoreError, match="text.zip can't be unpacked: File is not a zip file"):
        unpack(tmp_path / "text.zip", tmp_path / "into")


# --- MQTT

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto, an MQTT broker, is not installed")


class Mosquitto:
    """A broker on a port of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._configuration = folder / "mosquitto.conf"
        self._configuration.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\n")
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [str(MOSQUITTO), "-c", str(self._configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < end, "mosquitto does not listen"
                assert self._process.poll() is None, "mosquitto ended"

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    mosquitto = Mosquitto(tmp_path)
    yield mosquitto
    mosquitto.stop()


@needs_mosquitto
def test_reports_and_answers_reach_the_broker(run: Callable[..., Watched], broker: Mosquitto) -> None:
    import paho.mqtt.client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion

    messages: queue.Queue[Any] = queue.Queue()
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda client, userdata, message: messages.put((message.topic, message.payload, message.qos))
    client.on_subscribe = lambda *args: messages.put("subscribed")
    client.connect("127.0.0.1", broker.port)
    client.subscribe("$aws/#", qos=1)
    client.loop_start()
    try:
        assert messages.get(timeout=10) == "subscribed"
        core = run(PUBLISHER, subscriptions=TABLE, mqtt=broker.address)
        assert core.do(REPORTS + "json", REPORT.decode()) == "published"
        assert messages.get(timeout=10) == (REPORTS + "json", REPORT, 1)
        topic, payload, qos = messages.get(timeout=10)
        assert (topic, qos, json.loads(payload.decode())["reportId"]) == (REPORTS + "json/accepted", 1, 7)
    finally:
        client.disconnect()
        client.loop_stop()


@needs_mosquitto
def test_a_lost_broker_is_one_warning_and_not_the_end(run: Callable[..., Watched], broker: Mosquitto) -> None:
    core = run(PUBLISHER, subscriptions=TABLE, mqtt=broker.address)
    broker.stop()
    assert core.line("the MQTT broker at ").startswith(broker.address + " is lost")
    assert core.do("test/a") == "published"
    broker.start()
    assert core.line("the MQTT broker at ") == broker.address + " is back"


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("localhost", "'localhost' is no MQTT broker: expected HOST:PORT"),
        ("localhost:mqtt", "'localhost:mqtt' is no MQTT broker: expected HOST:PORT"),
        ("127.0.0.1:1", "no MQTT broker at 127.0.0.1:1: .*refused"),
    ],
)
def test_a_broker_that_cant_be_reached_is_an_error_at_the_start(
    run: Callable[..., Watched], address: str, reason: str
) -> None:
    with pytest.raises(LocalCoreError, match=reason):
        run(PUBLISHER, mqtt=address)


# --- the command


def command(*arguments: object) -> List[str]:
    return [sys.executable, str(RUN_LOCAL), *map(str, arguments), "--handler", "function.handler"]


def run_command(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def pid_in(output: str) -> int:
    return int(output.partition("function | pid ")[2].split()[0])


def test_once_shows_an_accepted_report_and_ends_with_0(make_zip: Callable[..., Path]) -> None:
    path = make_zip({"function.py": REPORTER})
    done = run_command(path, "--once", "--thing", "some-thing")
    assert done.returncode == 0, done.stdout
    assert f"{path} on Python {'.'.join(map(str, sys.version_info[:3]))} (" in done.stdout
    assert "$aws/things/some-thing/defender/metrics/json, " in done.stdout
    assert 'bytes: ACCEPTED\n{\n  "header": {\n    "report_id": ' in done.stdout
    assert not is_alive(pid_in(done.stdout))


def test_once_ends_with_1_for_a_rejected_report(make_zip: Callable[..., Path]) -> None:
    done = run_command(make_zip({"function.py": REPORTER}), "--once", "--env", "VERSION=2")
    assert done.returncode == 1
    assert "bytes: REJECTED, InvalidPayload: Malformed metrics report: header.version: '2' is not one of" in done.stdout


def test_a_function_that_ends_is_told_with_1(make_zip: Callable[..., Path]) -> None:
    done = run_command(make_zip({"function.py": "raise ValueError('no')"}), "--once")
    assert done.returncode == 1
    assert "function | ValueError: no\n" in done.stdout
    reason = "run_local: the function failed to initialize: ValueError: no; the function's lines above say more.\n"
    assert done.stdout.endswith(reason)


def test_once_needs_no_verdict_on_a_topic_that_is_no_report_topic(make_zip: Callable[..., Path]) -> None:
    source = REPORTER.replace('"$aws/things/%s/defender/metrics/json" %', '"my/" +')
    path = make_zip({"function.py": source})
    done = run_command(path, "--once", "--thing", "some-thing", "--set", "MetricsTopic=my/{thing}")
    assert done.returncode == 0, done.stdout
    assert "my/some-thing, " in done.stdout
    assert 'bytes: no report topic, so no verdict\n{\n  "header": {\n' in done.stdout


@pytest.mark.parametrize(
    ("arguments", "encoding"),
    [
        ([], "json"),
        (["--set", "ReportFormat=cbor"], "binary"),
        (["--set", "ReportFormat=cbor", "--encoding-type", "json"], "json"),
    ],
)
def test_verdicts_reach_the_handler_in_an_encoding_that_holds_them(
    make_zip: Callable[..., Path], arguments: List[str], encoding: str
) -> None:
    source = REPORTER + "print('encoding', os.environ['ENCODING_TYPE'])\n"
    assert (
        f"function | encoding {encoding}\n"
        in run_command(make_zip({"function.py": source}), "--once", *arguments).stdout
    )


# Prints its process id, and then a line now and then.
CHATTER = """
import os, threading, time
def run():
    while True:
        time.sleep(0.02)
        print("still here")
print("pid", os.getpid())
threading.Thread(target=run, daemon=True).start()
def handler(event, context):
    pass
"""


def test_it_ends_when_nobody_reads_its_output_any_more(make_zip: Callable[..., Path]) -> None:
    process = subprocess.Popen(
        command(make_zip({"function.py": CHATTER})), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    output = ""
    while "function | still here" not in output:
        line = process.stdout.readline()
        assert line, output
        output += line
    process.stdout.close()
    with process.stderr:
        try:
            assert (process.wait(30), process.stderr.read()) == (0, "")
        finally:
            process.kill()
    assert not is_alive(pid_in(output))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_signal_ends_it_and_the_function_without_output(make_zip: Callable[..., Path], number: int, code: int) -> None:
    process = subprocess.Popen(
        command(make_zip({"function.py": REPORTER})),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # As in a terminal: a suite that runs in the background of a script was started with SIGINT ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    output = ""
    while "function | verdict ACCEPTED" not in output:
        line = process.stdout.readline()
        assert line, output
        output += line
    process.send_signal(number)
    rest, _ = process.communicate(timeout=30)
    assert (process.returncode, rest) == (code, "")
    assert not is_alive(pid_in(output))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--set", "MetricNames"], "'MetricNames' is not NAME=VALUE"),
        (["--interval", "0"], "'0' is not a whole number of seconds from 1"),
        (
            ["--fault", "status:200"],
            "'status:200' is no KIND or KIND:COUNT; the kinds are status:400 to status:599, hang,",
        ),
        (["--fault", "hang:0"], "'hang:0' is no KIND or KIND:COUNT; the kinds are "),
        (["--generation", "3"], "invalid choice: "),
    ],
)
def test_bad_usage_ends_with_2(arguments: List[str], reason: str) -> None:
    done = run_command("a.zip", *arguments)
    assert done.returncode == 2
    assert reason in done.stdout


def test_what_is_not_fit_to_run_is_told_without_a_traceback(tmp_path: Path) -> None:
    missing = tmp_path / "missing.zip"
    done = run_command(missing, "--fault", "status:500:2", "--fault", "lost", "--fault", "refuse")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == f"run_local: there is no file {missing}"
    rules = tmp_path / "rules.json"
    rules.write_text("{}")
    done = run_command(missing, "--subscriptions", rules)
    assert (done.returncode, done.stdout.splitlines()) == (
        1,
        [f'run_local: {rules}: expected {{"subscriptions": {{"<id>": {{"id", "source", "subject", "target"}}}}}}'],
    )
    rules.write_text("root:x:0:0:root:/root:/bin/bash")
    done = run_command(missing, "--subscriptions", rules)
    assert (done.returncode, done.stdout) == (1, f"run_local: {rules}: Expecting value: line 1 column 1 (char 0)\n")


def test_help_needs_no_package() -> None:
    done = subprocess.run(
        [sys.executable, "-S", str(RUN_LOCAL), "--help"], stdout=subprocess.PIPE, timeout=30, text=True
    )
    assert done.returncode == 0
    assert "examples:" in done.stdout


def test_usage_is_that_of_the_script_that_was_called() -> None:
    done = subprocess.run(
        [sys.executable, str(RUN_LOCAL), "--help"],
        env={**os.environ, "RUN_LOCAL_SCRIPT": "run_local.sh"},
        stdout=subprocess.PIPE,
        timeout=30,
        text=True,
    )
    assert done.stdout.startswith("usage: run_local.sh [-h] [--once]")
    assert "\n  run_local.sh --once  " in done.stdout
    assert "ZIP" not in done.stdout
    assert "run_local.py" not in done.stdout
