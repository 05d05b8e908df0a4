"""The IPC operations that a nucleus offers here: publish and subscribe to AWS IoT Core, and the configuration."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Callable, Dict, List, NamedTuple

from .component_config import ACCESS_CONTROL, Configuration, NoSuchKey, Unavailable, leaves
from .ipc_server import IpcError, Request
from .mqtt_proxy import MqttError, MqttProxy
from .nuclei import Nucleus

MQTT_SERVICE = "aws.greengrass.ipc.mqttproxy"


class Operations(NamedTuple):
    """Serves the requests of one component.

    before_publish: called at each authorized publish, before the message is taken
    """

    nucleus: Nucleus
    component: str
    mqtt: MqttProxy
    configuration: Configuration
    before_publish: Callable[[], None]
    on_log: Callable[[str], None]

    def serve(self, request: Request) -> None:
        """Do what a request asks for, and answer it. Raises IpcError."""
        serve = {
            "PublishToIoTCore": self._publish,
            "SubscribeToIoTCore": self._subscribe,
            "GetConfiguration": self._get,
            "UpdateConfiguration": self._update,
            "SubscribeToConfigurationUpdate": self._watch,
        }.get(request.operation)
        if serve is None:
            raise IpcError("ServiceError", f"the stand-in has no operation {request.operation}")
        serve(request)

    def _publish(self, request: Request) -> None:
        topic = _text(request.body, "topicName")
        try:
            payload = base64.b64decode(request.body.get("payload") or "", validate=True)
        except (binascii.Error, TypeError):
            raise IpcError("ServiceError", "the payload is not base64") from None
        self._authorize("PublishToIoTCore", topic)
        self.before_publish()
        try:
            self.mqtt.publish(topic, payload, _qos(request.body))
        except MqttError as error:
            raise IpcError("ServiceError", f"Publish to topic {topic} failed: {error}") from error
        self._answer(request, {})

    def _subscribe(self, request: Request) -> None:
        topic_filter = _text(request.body, "topicName")
        _qos(request.body)
        self._authorize("SubscribeToIoTCore", topic_filter)

        def deliver(topic: str, payload: bytes) -> None:
            if len(payload) > self.nucleus.max_delivered_bytes:
                self.on_log(f"a message of {len(payload)} bytes on {topic} is too large for IPC: dropped")
                return
            message = {"topicName": topic, "payload": base64.b64encode(payload).decode()}
            request.stream.send("IoTCoreMessage", {"message": message})

        try:
            # answered before anything is delivered: an event before the answer would be taken for it
            subscription = self.mqtt.subscribe(topic_filter, deliver, lambda: self._begin(request))
        except MqttError as error:
            raise IpcError("ServiceError", f"Subscribe to topic {topic_filter} failed: {error}") from error
        request.stream.on_end = lambda: self.mqtt.unsubscribe(subscription)

    def _get(self, request: Request) -> None:
        component = request.body.get("componentName") or self.component
        path = _path(request.body)
        try:
            if component != self.component:
                raise NoSuchKey
            value = self.configuration.get(path)
        except NoSuchKey:
            raise IpcError("ResourceNotFoundError", "Key not found") from None
        except Unavailable as error:
            raise IpcError("ServiceError", str(error)) from error
        body = {"componentName": component, "value": value}
        if len(json.dumps(body)) > self.nucleus.max_request_bytes:
            raise IpcError("ServiceError", "the configuration is too long for an answer: ask for its parts")
        self._answer(request, body)

    def _update(self, request: Request) -> None:
        path, value = _path(request.body), request.body.get("valueToMerge")
        if ACCESS_CONTROL in path[:1] or (not path and isinstance(value, dict) and ACCESS_CONTROL in value):
            raise IpcError("InvalidArgumentsError", f"{ACCESS_CONTROL} can't be changed over IPC")
        if "valueToMerge" not in request.body or "timestamp" not in request.body:
            raise IpcError("InvalidArgumentsError", "valueToMerge and timestamp are required")
        if not path and not isinstance(value, dict):
            raise IpcError("InvalidArgumentsError", "the whole configuration has to be an object")
        if any(len(json.dumps(leaf)) > self.nucleus.max_value_bytes for leaf in leaves(value)):
            raise IpcError("ServiceError", f"a value has more than {self.nucleus.max_value_bytes} bytes as JSON")
        self.configuration.merge(path, value)
        self._answer(request, {})

    def _watch(self, request: Request) -> None:
        component = request.body.get("componentName") or self.component

        def tell(leaf: List[str]) -> None:
            event = {"componentName": component, "keyPath": leaf}
            request.stream.send("ConfigurationUpdateEvents", {"configurationUpdateEvent": event})

        try:
            if component != self.component:
                raise NoSuchKey
            request.stream.on_end = self.configuration.watch(_path(request.body), tell, lambda: self._begin(request))
        except NoSuchKey:
            raise IpcError("ResourceNotFoundError", "Key not found") from None
        except Unavailable as error:
            raise IpcError("ServiceError", str(error)) from error

    def _authorize(self, operation: str, resource: str) -> None:
        if not self.configuration.allows(MQTT_SERVICE, f"aws.greengrass#{operation}", resource):
            self.on_log(f"{self.component} may not {operation} on {resource}: its accessControl does not allow it")
            raise IpcError("UnauthorizedError", "Not Authorized")

    def _answer(self, request: Request, body: Dict[str, Any]) -> None:
        request.stream.send(request.operation + "Response", body, last=self.nucleus.ends_responses)

    def _begin(self, request: Request) -> None:
        request.stream.send(request.operation + "Response", {})


def _text(body: Dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise IpcError("ServiceError", f"{name} is required")
    return value


def _qos(body: Dict[str, Any]) -> int:
    value = str(body.get("qos") or 0)
    if value not in ("0", "1"):
        raise IpcError("ServiceError", f"Invalid QoS value: {value}")
    return int(value)


def _path(body: Dict[str, Any]) -> List[str]:
    path = body.get("keyPath") or []
    if not isinstance(path, list) or not all(isinstance(key, str) for key in path):
        raise IpcError("ServiceError", "keyPath is no list of strings")
    return path
