"""The cloud side of the local core: Device Defender's answers and alarms, and a list of all that was delivered."""

from __future__ import annotations

import threading
import time
from typing import Callable, List, Optional

from .alarms import Detect, Event, event_of
from .errors import FunctionError
from .mqtt import Broker
from .service import Delivery, Message, Service

WAKE_SECONDS = 0.1  # between two checks whether the process that a caller waits for has ended


class Cloud:
    """Takes messages from any thread.

    on_delivery, on_alarm: called with each delivery and event, in order, from the thread that delivers it
    """

    def __init__(
        self,
        service: Service,
        detect: Detect,
        on_delivery: Callable[[Delivery], None],
        on_alarm: Callable[[Event], None],
    ) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.broker: Optional[Broker] = None
        self._service, self._detect = service, detect
        self._on_delivery, self._on_alarm = on_delivery, on_alarm
        self._deliveries: List[Delivery] = []
        self._alarms: List[Event] = []
        self._seen = 0  # deliveries that wait_for_delivery has returned

    def open(self, address: Optional[str], on_log: Callable[[str], None]) -> None:
        """Send everything to the broker at HOST:PORT too, if there is an address. Raises LocalCoreError."""
        if address:
            self.broker = Broker(address, on_log)

    def close(self) -> None:
        """End the connection to the broker."""
        if self.broker:
            self.broker.end()
            self.broker = None

    def receive(self, topic: str, payload: bytes) -> Optional[Message]:
        """Take a message; return the service's answer, if it has one."""
        with self.changed:
            delivery, answer = self._service.receive(topic, payload)
            self._deliveries.append(delivery)
            self._on_delivery(delivery)
            for event in self._detect.judge(delivery):
                self._alarms.append(event)
                self._on_alarm(event)
            self.changed.notify_all()
        if self.broker:
            self.broker.publish(topic, payload)
            if answer:
                self.broker.publish(*answer)
        return answer

    @property
    def deliveries(self) -> List[Delivery]:
        """All messages so far."""
        with self.changed:
            return list(self._deliveries)

    @property
    def alarms(self) -> List[Event]:
        """The events that Detect has raised from the reports."""
        with self.changed:
            return list(self._alarms)

    @property
    def violations(self) -> List[Event]:
        """The events that the connector has published."""
        return [event for event in map(event_of, self.deliveries) if event is not None]

    def wait_for_delivery(self, timeout: float, ended: Callable[[], str], log: Callable[[], str]) -> Delivery:
        """Return the next delivery that this method has not returned yet. Raises as `wait` does."""
        with self.changed:
            self.wait(lambda: self._seen < len(self._deliveries), timeout, "no report reached the cloud", ended, log)
            self._seen += 1
            return self._deliveries[self._seen - 1]

    def wait(
        self,
        ready: Callable[[], bool],
        timeout: float,
        late: str,
        ended: Callable[[], str],
        log: Callable[[], str],
    ) -> None:
        """Wait until `ready()`, which is asked again whenever `changed` is notified.

        late: the error's text after `timeout` seconds
        ended: returns why nothing can come any more, else ""
        log: returns the log's last lines, for the errors

        Raises FunctionError.
        """
        end = time.monotonic() + timeout
        with self.changed:
            while not ready():
                reason = ended()
                if reason:
                    raise FunctionError(reason, log())
                if time.monotonic() > end:
                    raise FunctionError(f"{late} in {timeout:g} s", log())
                self.changed.wait(WAKE_SECONDS)


class WithCloud:
    """What a core shows of its cloud."""

    _cloud: Cloud

    @property
    def deliveries(self) -> List[Delivery]:
        """All messages that reached the cloud so far."""
        return self._cloud.deliveries

    @property
    def alarms(self) -> List[Event]:
        """The events of `profiles`, judged from the reports."""
        return self._cloud.alarms

    @property
    def violations(self) -> List[Event]:
        """The events that the connector has published, of the profiles that it judges itself."""
        return self._cloud.violations
