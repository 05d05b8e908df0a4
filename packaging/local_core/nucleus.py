"""The local nucleus: a native component run as a Greengrass V2 nucleus runs it, with Device Defender behind it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections import deque
from pathlib import Path
from typing import Any, Callable, Deque, Dict, List, Mapping, Optional, Sequence, Union

from connector.detect.profile import Profile
from connector.names import VIOLATIONS_TOPIC

from .alarms import Detect, Event
from .cloud import Cloud, WithCloud
from .component import FINISHED, RUNNING, STOPPED, Component
from .component_config import ACCESS_CONTROL, Configuration
from .errors import FunctionError
from .function import become, find_interpreter, remove, unpack
from .ipc_operations import MQTT_SERVICE, Operations
from .ipc_server import IpcServer, Request
from .mqtt_proxy import MqttProxy
from .nuclei import REAL_TIMES, Times, find_nucleus
from .nucleus_faults import NucleusFaults
from .service import MIN_INTERVAL_SECONDS, Delivery, Message, Service

COMPONENT = "device-defender-connector"
ARGUMENTS = ("-m", "connector", "component")
MAX_LOG_LINES = 10_000
RUNTIME = Path(__file__).with_name("runtime")
SOCKET_VARIABLE = "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT"
TOKEN_VARIABLE = "SVCUID"


class LocalNucleus(WithCloud):
    """Run one native component, or none, with everything in this process and a socket in a folder of its own.

    Use as a context manager, or call `start` and `stop`.

    artifact: path of the artifact, a zip that is unpacked read-only, or of the folder it is unpacked in; None for no
        process: then the caller is the component, with `new_environment`
    nucleus: lite or java; see nuclei.py
    thing: the core's thing name
    component: the component's name
    python: interpreter for the component, name or path; default: the running one, for a zip without its virtual
        environment, so that the component can import only what is in the zip
    arguments: of the interpreter, which finds the artifact's packages by PYTHONPATH
    script: a recipe's Script, run by a shell in place of the interpreter and its arguments
    configuration: of the component, as a deployment merges it; accessControl is added where it has none
    environment: variables that the recipe's Setenv would set; the Java nucleus leaves some of them out
    interval: the connector's interval, seconds; below the service's 300 s it lowers the connector's minimum, and the
        service here accepts reports that often
    user: the user that the component runs as; needs root; default: the present one
    mqtt: HOST:PORT of a broker that gets everything that goes to the cloud, too
    profiles: security profiles that reports are judged by in the service's place; `alarms` has what they raised
    on_delivery, on_log, on_alarm: called with each delivery, line of a log and event of an alarm, from other threads
    times: how long things take
    """

    def __init__(
        self,
        artifact: Optional[Union[str, Path]],
        nucleus: str = "lite",
        thing: str = "local-core",
        component: str = COMPONENT,
        python: Optional[str] = None,
        arguments: Sequence[str] = ARGUMENTS,
        script: Optional[str] = None,
        configuration: Optional[Mapping[str, Any]] = None,
        environment: Optional[Mapping[str, Optional[str]]] = None,
        interval: Optional[int] = None,
        user: Optional[str] = None,
        mqtt: Optional[str] = None,
        profiles: Sequence[Profile] = (),
        on_delivery: Callable[[Delivery], None] = lambda delivery: None,
        on_log: Callable[[str], None] = lambda line: None,
        on_alarm: Callable[[Event], None] = lambda event: None,
        times: Times = REAL_TIMES,
    ) -> None:
        self.thing, self.nucleus, self.times = thing, find_nucleus(nucleus), times
        self._artifact = None if artifact is None else Path(artifact)
        own = sys.executable if self._artifact is None or self._artifact.is_dir() else os.path.realpath(sys.executable)
        self.interpreter = find_interpreter(python or own)
        self._arguments, self._interval, self._user, self._mqtt_address = arguments, interval, user, mqtt
        self._script = script
        self._root: Optional[Path] = None  # of the artifact, unpacked
        self._on_log = on_log
        self._extra = dict(environment or {})
        self._log: Deque[str] = deque(maxlen=MAX_LOG_LINES)
        self._muted = 0
        value = dict(configuration or {})
        if interval is not None:
            value["SampleIntervalSeconds"] = str(interval)
        value.setdefault(ACCESS_CONTROL, access_control(value, thing))
        self.configuration = Configuration(value, {"iot:thingName": thing} if self.nucleus.fills_in_thing else {})
        service = Service(min(interval or MIN_INTERVAL_SECONDS, MIN_INTERVAL_SECONDS))
        detect = Detect(profiles, interval or int(MIN_INTERVAL_SECONDS))
        self._cloud = Cloud(service, detect, on_delivery, on_alarm)
        self._work = Path(tempfile.mkdtemp(prefix="local-nucleus-"))  # short: a socket's path has at most 107 bytes
        self._work.chmod(0o755)  # the component's user must be able to enter it
        self.mqtt = MqttProxy(self.nucleus, times, self._receive, self._core_logged)
        self.ipc = IpcServer(str(self._work / "ipc.socket"), self.nucleus, self._serve, self._core_logged)
        self.faults = NucleusFaults(self.nucleus, self.ipc, self.mqtt, self.configuration, self._mute)
        self._operations = Operations(
            self.nucleus, component, self.mqtt, self.configuration, self.faults.take, self._core_logged
        )
        self.component: Optional[Component] = None

    def __enter__(self) -> LocalNucleus:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.stop()

    def start(self) -> None:
        """Start the nucleus and the component. Raises LocalCoreError if the artifact or a setting is wrong."""
        self._cloud.open(self._mqtt_address, self._on_log)
        self.ipc.start()
        if self._artifact is None:
            return
        root = self._artifact.resolve()
        if not root.is_dir():
            root = self._work / "artifact"
            unpack(self._artifact, root)
        self._root = root
        work = self._work / "work"
        work.mkdir()
        if self._user:
            become(self._user)  # which says what is wrong with the user
            shutil.chown(work, self._user)
        self.component = Component(
            self._command(),
            self.new_environment,
            work,
            self._user,
            self._printed,
            self._core_logged,
            self._notify,
            self.times,
            done=self.nucleus.done,
            counts_failures=self.nucleus.counts_failures,
        )
        self.component.start()

    def stop(self) -> Optional[int]:
        """End the component (SIGTERM, then SIGKILL) and the nucleus; return the component's last exit code."""
        self.faults.release()
        code = self.component.stop() if self.component else None
        self.ipc.end()
        self.mqtt.end()
        self._cloud.close()
        if self._work.exists():
            remove(self._work)
        return code

    def new_environment(self) -> Dict[str, str]:
        """Return the variables for a start of the component, with a token of its own."""
        from_script = {} if self._script or not self._root else {"PYTHONPATH": str(self._root)}
        environment: Dict[str, Optional[str]] = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "AWS_IOT_THING_NAME": self.thing,
            "AWS_REGION": "us-east-1",
            SOCKET_VARIABLE: self.ipc.path,
            TOKEN_VARIABLE: self.ipc.new_token(),
            **{name: value for name, value in self._extra.items() if name not in self.nucleus.removed_variables},
            **from_script,
        }
        return {name: value for name, value in environment.items() if value is not None}

    @property
    def address(self) -> str:
        """The path of the nucleus' socket."""
        return self.ipc.path

    @property
    def component_log(self) -> str:
        """What the component printed and logged, over all its starts."""
        return "\n".join(list(self._log))

    def wait_for_delivery(self, timeout: float = 30.0) -> Delivery:
        """Return the next delivery that this method has not returned yet.

        Raises FunctionError if none arrives within `timeout` seconds, or the component has ended for good before.
        """
        return self._cloud.wait_for_delivery(timeout, self._ended, self._tail)

    def wait_for_state(self, state: str, timeout: float = 30.0) -> None:
        """Wait until the component is in a state of component.py. Raises FunctionError after `timeout` seconds."""
        with self._cloud.changed:
            if not self._cloud.changed.wait_for(lambda: self.component and self.component.state == state, timeout):
                raise FunctionError(f"the component is not {state} after {timeout:g} s", self._tail())

    def send(self, topic: str, payload: bytes) -> None:
        """Send the component a message from the cloud; it gets it if it has subscribed to the topic."""
        self.mqtt.deliver(Message(topic, payload))

    def configure(self, changes: Mapping[str, Any]) -> None:
        """Merge changes into the component's configuration, as a deployment does."""
        self.configuration.merge([], changes)

    def _command(self) -> List[str]:
        if self._script is not None:
            return ["/bin/sh", "-c", self._script]
        arguments = list(self._arguments)
        if self._interval is not None and self._interval < MIN_INTERVAL_SECONDS and arguments[:1] == ["-m"]:
            arguments = [str(RUNTIME / "component_start.py"), str(self._interval), *arguments[1:]]
        # -B: a nucleus gives the component no write access to its artifact
        return [self.interpreter.path, "-B", "-u", *arguments]

    def _serve(self, request: Request) -> None:
        self._operations.serve(request)

    def _receive(self, topic: str, payload: bytes) -> Optional[Message]:
        answer = self._cloud.receive(topic, payload)
        if answer and self._muted:
            self._muted -= 1
            return None
        return answer

    def _mute(self, count: int) -> None:
        self._muted = count

    def _ended(self) -> str:
        if self.component is None or self.component.state in (RUNNING, STOPPED):
            return ""
        more = ", which a nucleus takes for done" if self.component.state == FINISHED else ""
        return f"the component is {self.component.state}: it ended with exit code {self.component.exit_code}{more}"

    def _notify(self) -> None:
        with self._cloud.changed:
            self._cloud.changed.notify_all()

    def _printed(self, line: str) -> None:
        self._log.append(line)
        self._on_log("component | " + line)

    def _core_logged(self, line: str) -> None:
        self._on_log(f"{self.nucleus.name}: {line}")

    def _tail(self) -> str:
        return "\n".join(list(self._log)[-20:])


def access_control(configuration: Mapping[str, Any], thing: str) -> Dict[str, Any]:
    """Return what the connector has to be allowed: to publish reports and alarms, to subscribe to the answers."""
    reports = [f"$aws/things/{thing}/defender/metrics/{encoding}" for encoding in ("json", "cbor")]
    topics = list(reports)
    own = str(configuration.get("MetricsTopic") or "")
    topics += [own.replace("{format}", encoding) for encoding in ("json", "cbor") if own]
    topics.append(str(configuration.get("ViolationsTopic") or VIOLATIONS_TOPIC))
    rows = {
        "PublishToIoTCore": [topic.replace("{thing}", thing) for topic in dict.fromkeys(topics)],
        "SubscribeToIoTCore": [topic + "/+" for topic in reports],
    }
    return {
        MQTT_SERVICE: {
            f"{COMPONENT}:{operation}": {"operations": [f"aws.greengrass#{operation}"], "resources": resources}
            for operation, resources in rows.items()
        }
    }
