"""The local core: a function's zip run as a Greengrass core runs it, with Device Defender behind it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import sys
import tempfile
import uuid
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any, Callable, Deque, Dict, List, Mapping, Optional, Sequence, Union

from connector.detect.profile import Profile
from connector.names import VIOLATIONS_TOPIC

from .alarms import Detect, Event
from .cloud import Cloud, WithCloud
from .errors import FunctionError
from .faults import Faults
from .function import Function, built_for, find_interpreter, remove, unpack
from .router import CLOUD, Subscription, default_subscriptions, targets
from .server import ROUTER_ARN, Api, HttpError, Invocations, Port, Publish
from .service import MIN_INTERVAL_SECONDS, Delivery, Service

FUNCTION_ARN = "arn:aws:lambda:us-east-1:123456789012:function:device-defender-connector:1"
HANDLER = "connector.handler.function_handler"
START_SECONDS = 60.0
MAX_LOG_LINES = 10_000
# The last release of a V1 core, and a release of the V2 nucleus (AWS developer guides).
CORE_VERSIONS = {1: "1.11.6", 2: "2.14.0"}
RUNTIME = Path(__file__).with_name("runtime")


class LocalCore(WithCloud):
    """Run a function from its zip (or a directory it is unpacked in) as the one function of a core's group.

    Use as a context manager, or call `start` and `stop`. Everything is on loopback and ends with `stop`.

    artifact: path of the zip or directory
    thing: the core's thing name
    python: interpreter for the function, name or path; default: the running one without its virtual environment, so
        that the function can import only what is in its zip
    handler: package.module.function
    environment: the function's own variables; the value None removes one that the core sets
    subscriptions: the group's; default: reports go to the cloud, also on the connector's MetricsTopic if the
        environment has it, and verdicts go to the function
    generation: 2 or 1; to a message without a subscription a V2 core answers HTTP 400, a V1 core drops it
    interval: the connector's interval, seconds; below the service's 300 s it lowers the connector's minimum, and the
        service here accepts reports that often
    user: the user that the function runs as; needs root
    encoding_type: json or binary, how events reach the handler
    proc: where the function finds the host's /proc; default: /proc, unless this machine has /host_proc
    mqtt: HOST:PORT of a broker that gets everything that goes to the cloud, too
    profiles: security profiles that reports are judged by in the service's place; `alarms` has what they raised
    on_delivery: called with each delivery, from other threads
    on_log: called with each line of the function's log and of the core's own, from other threads
    on_alarm: called with each event of an alarm, from other threads
    """

    def __init__(
        self,
        artifact: Union[str, Path],
        thing: str = "local-core",
        python: Optional[str] = None,
        handler: str = HANDLER,
        environment: Optional[Mapping[str, Optional[str]]] = None,
        subscriptions: Optional[Sequence[Subscription]] = None,
        generation: int = 2,
        interval: Optional[int] = None,
        user: Optional[str] = None,
        encoding_type: str = "json",
        proc: Optional[str] = None,
        mqtt: Optional[str] = None,
        on_delivery: Callable[[Delivery], None] = lambda delivery: None,
        on_log: Callable[[str], None] = lambda line: None,
        profiles: Sequence[Profile] = (),
        on_alarm: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self.thing = thing
        self.interpreter = find_interpreter(python or os.path.realpath(sys.executable))
        self.faults = Faults(lambda seconds: self._port.refuse(seconds), lambda: self._port.reopen())
        self._artifact = Path(artifact)
        self._handler, self._interval, self._user = handler, interval, user
        self.generation = generation
        self._mqtt = mqtt
        self._on_log = on_log
        service = Service(min(interval or MIN_INTERVAL_SECONDS, MIN_INTERVAL_SECONDS))
        detect = Detect(profiles, interval or int(MIN_INTERVAL_SECONDS))
        self._cloud = Cloud(service, detect, on_delivery, on_alarm)
        self._invocations = Invocations()
        self._initialization: List[str] = []  # once the function has reported it: its error, "" for success
        token = str(uuid.uuid4())
        api = Api(
            token=token,
            function_arn=FUNCTION_ARN,
            invocations=self._invocations,
            faults=self.faults,
            publish=self._publish,
            initialized=self._initialized,
            restart=self.restart_core,
        )
        self._port = Port(api)
        self._environment: Dict[str, Optional[str]] = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "AWS_IOT_THING_NAME": thing,
            "AWS_REGION": "us-east-1",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": token,
            "MY_FUNCTION_ARN": FUNCTION_ARN,
            "ROUTER_FUNCTION_ARN": ROUTER_ARN,
            "SHADOW_FUNCTION_ARN": "arn:aws:lambda:::function:GGShadowService",
            "SECRETS_MANAGER_FUNCTION_ARN": "arn:aws:lambda:::function:GGSecretManager:1",
            "GG_DAEMON_PORT": str(self.port),
            "GGC_MAX_INTERFACE_VERSION": "1.5",
            "GGC_VERSION": CORE_VERSIONS[generation],
            "ENCODING_TYPE": encoding_type,
            "LOG_LEVEL": "INFO",
        }
        if proc or not os.path.isdir("/host_proc"):
            self._environment["ProcDestinationPath"] = proc or "/proc"
        if interval is not None:
            self._environment["SampleIntervalSeconds"] = str(interval)
        self._environment.update(environment or {})
        if subscriptions is None:
            own_topic = self._environment.get("MetricsTopic") or ""
            subscriptions = default_subscriptions(FUNCTION_ARN, own_topic.replace("{thing}", thing))
            for topic in {VIOLATIONS_TOPIC, self._environment.get("ViolationsTopic") or VIOLATIONS_TOPIC}:
                if not set(topic) & set("+#"):
                    subscriptions.append(Subscription(FUNCTION_ARN, topic.replace("{thing}", thing), CLOUD))
        self._subscriptions = list(subscriptions)
        self._work: Optional[Path] = None
        self._make_function: Callable[[], Function]  # set once the artifact is unpacked
        self._function: Optional[Function] = None
        self._log: Deque[str] = deque(maxlen=MAX_LOG_LINES)

    def __enter__(self) -> LocalCore:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.stop()

    def start(self) -> None:
        """Start the core and the function, and wait until its module is imported.

        Raises LocalCoreError if the artifact, interpreter or a setting is wrong, FunctionError if the import fails.
        """
        self._work = Path(tempfile.mkdtemp(prefix="local-core-"))
        self._work.chmod(0o755)  # the function's user must be able to enter it
        root, runtime = self._artifact.resolve(), self._work / "runtime"
        if not root.is_dir():
            root = self._work / "function"
            unpack(self._artifact, root)
        _copy_runtime(runtime)
        command = [self.interpreter.path, "-s", "-B", "-u", str(runtime / "lambda_runtime.py")]
        command += ["--root", str(root), "--handler", self._handler]
        if self._interval is not None and self._interval < MIN_INTERVAL_SECONDS:
            command += ["--interval-floor", str(self._interval)]
        environment = {name: value for name, value in self._environment.items() if value is not None}
        self._cloud.open(self._mqtt, self._on_log)
        self._port.open()
        self._make_function = partial(Function, command, environment, root, self._user, self._function_printed)
        self._start_function()

    def stop(self) -> Optional[int]:
        """End the function (SIGTERM, then SIGKILL) and the core; return the function's exit code if it ever ran."""
        code = self._function.stop() if self._function else None
        self._port.end()
        self._cloud.close()
        if self._work:
            remove(self._work)
            self._work = None
        return code

    @property
    def port(self) -> int:
        """The port on 127.0.0.1 that the core listens on."""
        return self._port.number

    @property
    def address(self) -> str:
        """Where the core listens, HOST:PORT."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The function's process id."""
        assert self._function is not None, "the function was never started"
        return self._function.pid

    @property
    def exit_code(self) -> Optional[int]:
        """The function's exit code, None while it runs; negative is the signal that ended it."""
        return self._function.exit_code if self._function else None

    @property
    def function_log(self) -> str:
        """What the function printed and logged, over all its starts."""
        return "\n".join(list(self._log))

    def wait_for_delivery(self, timeout: float = 30.0) -> Delivery:
        """Return the next delivery that this method has not returned yet.

        Raises FunctionError if none arrives within `timeout` seconds, or the function ends before.
        """
        return self._cloud.wait_for_delivery(timeout, self._ended, self._tail)

    def send(self, topic: str, payload: bytes) -> bool:
        """Send the function a message from the cloud; return whether a subscription delivered it."""
        return self._route(CLOUD, topic, payload) > 0

    def restart_core(self) -> None:
        """Drop all connections, and listen again on the same port; the function keeps running."""
        self._port.close()
        self._port.open()

    def restart_function(self) -> int:
        """Stop the function and start it again; return the exit code of the first."""
        assert self._function is not None, "the function was never started"
        code = self._function.stop()
        self._start_function()
        return code

    def _start_function(self) -> None:
        with self._cloud.changed:
            self._initialization.clear()
            self._function = self._make_function()
            late = "the import of the function's module did not return (code outside the handler must not block)"
            self._cloud.wait(lambda: bool(self._initialization), START_SECONDS, late, self._ended, self._tail)
            error = self._initialization[0]
        if error:
            self._function.wait()
            reason = "the function failed to initialize: " + error
            wanted, running = built_for(self._artifact), tuple(self.interpreter.version[:2])
            if wanted and wanted != running:
                versions = "this zip is for Python {}.{} and runs on {}.{}".format(*wanted, *running)
                reason += f" ({versions}: choose that interpreter, or build a zip for this one)"
            raise FunctionError(reason, self._tail())

    def _ended(self) -> str:
        if self._function is None or self._function.exit_code is None:
            return ""
        return f"the function ended with exit code {self._function.wait()}"

    def _function_printed(self, line: str) -> None:
        self._log.append(line)
        self._on_log("function | " + line)

    def _initialized(self, error: str) -> None:
        with self._cloud.changed:
            self._initialization.append(error)
            self._cloud.changed.notify_all()

    def _publish(self, publish: Publish) -> None:
        if not publish.subject or set(publish.subject) & set("+#\0"):
            raise HttpError(400, f"'{publish.subject}' can't be published on: a topic has no wildcards")
        if self._route(publish.source, publish.subject, publish.payload):
            return
        missing = f"No subscription exists for the source {publish.source} and subject {publish.subject}"
        if self.generation == 2:
            self._on_log(missing + ": answered with HTTP 400, as a V2 core does")
            raise HttpError(400, missing)
        self._on_log(missing + ": dropped without an error, as a V1 core does")

    def _route(self, source: str, topic: str, payload: bytes) -> int:
        found = targets(self._subscriptions, source, topic)
        for target in found:
            if target == CLOUD:
                self._to_cloud(topic, payload)
            else:
                context = {"client": {}, "custom": {"source": source, "subject": topic}, "env": {}}
                self._invocations.put(payload, base64.b64encode(json.dumps(context).encode()).decode())
        return len(found)

    def _to_cloud(self, topic: str, payload: bytes) -> None:
        answer = self._cloud.receive(topic, payload)
        if answer:
            self.send(*answer)

    def _tail(self) -> str:
        return "\n".join(list(self._log)[-20:])


def _copy_runtime(into: Path) -> None:
    """Copy the core's runtime to a folder that the function's user can read."""
    shutil.copytree(str(RUNTIME), str(into), ignore=shutil.ignore_patterns("__pycache__"))
    for folder, _, files in os.walk(into):
        os.chmod(folder, 0o755)
        for name in files:
            os.chmod(os.path.join(folder, name), 0o444)
