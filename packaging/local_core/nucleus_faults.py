"""Faults of a nucleus, on request, so that a component can be tested against them."""

from __future__ import annotations

import threading
from collections import deque
from typing import Callable, Deque, Optional, Tuple

from fault_kinds import NUCLEUS, Kind

from .component_config import Configuration
from .errors import LocalCoreError
from .ipc_server import IpcError, IpcServer
from .mqtt_proxy import MqttProxy
from .nuclei import Nucleus


class NucleusFaults:
    """Makes faults happen: at once, or with the component's next publishes, one each, in the order added.

    mute: makes the service leave a number of reports without an answer
    """

    def __init__(
        self,
        nucleus: Nucleus,
        ipc: IpcServer,
        mqtt: MqttProxy,
        configuration: Configuration,
        mute: Callable[[int], None],
    ) -> None:
        self._nucleus, self._ipc, self._mqtt, self._mute = nucleus, ipc, mqtt, mute
        self._configuration = configuration
        self._queue: Deque[Tuple[str, Optional[float]]] = deque()
        self._beginning = 0  # faults that were taken from the queue and have not happened yet
        self._changed = threading.Condition()

    def add(self, kind: str, number: Optional[float] = None) -> None:
        """Make a fault happen just before the component's next publish.

        number: see fault_kinds.py; of publishes: the fault happens before each of the next so many

        Raises as `begin` does.
        """
        counted = self._check(kind).number == "publishes"
        with self._changed:
            self._queue.extend([(kind, 1)] * int(number or 1) if counted else [(kind, number)])

    def begin(self, kind: str, number: Optional[float] = None) -> None:
        """Make a fault happen now.

        number: see fault_kinds.py; math.inf seconds end with `release`

        Raises LocalCoreError for a kind that this nucleus does not have.
        """
        found = self._check(kind)
        amount = found.default if number is None else number
        if kind == "mqtt-lost":
            self._mqtt.lose(amount)
        elif kind == "mqtt-restart":
            self._mqtt.restart()
        elif kind == "mqtt-hang":
            self._mqtt.hang(amount)
        elif kind == "ipc-hang":
            self._ipc.hung.begin(amount)
        elif kind == "ipc-restart":
            self._ipc.restart()
        elif kind == "config-lost":
            self._configuration.lost.begin(amount)
        elif kind == "config-restart":
            self._configuration.forget_watches()
        elif kind == "broker-refuse":
            self._mqtt.refuse(int(amount))
        elif kind == "broker-silent":
            self._mqtt.silence(amount)
        elif kind == "error":
            self._mqtt.fail(int(amount))
        else:
            self._mute(int(amount))

    def take(self) -> None:
        """Make the fault of the present publish happen, if there is one. Raises IpcError if that ends the publish."""
        with self._changed:
            if not self._queue:
                return
            kind, number = self._queue.popleft()
            self._beginning += 1
        try:
            self.begin(kind, number)
        finally:
            with self._changed:
                self._beginning -= 1
                self._changed.notify_all()
        self._ipc.wait_while_hung()
        if kind == "ipc-restart":
            raise IpcError("ServiceError", "the daemon was restarted")

    def wait(self, timeout: float) -> bool:
        """Wait until all faults that were added have happened; return whether `timeout` seconds were enough."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue and not self._beginning, timeout)

    def release(self) -> None:
        """End all faults."""
        self._ipc.hung.end()
        self._configuration.lost.end()
        self._mqtt.release()
        self._mute(0)

    def _check(self, kind: str) -> Kind:
        offered = [name for name, each in NUCLEUS.items() if self._nucleus.separate_daemons or not each.daemons]
        if kind not in offered:
            raise LocalCoreError(f"the {self._nucleus.name} has no fault '{kind}'; it has {', '.join(offered)}")
        return NUCLEUS[kind]
