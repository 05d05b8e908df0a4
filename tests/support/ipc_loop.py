"""The loop on a local nucleus: the real transport and client of awsiotsdk, the loop's time a fake clock's.

Before time passes, everything that is on its way between the connector, the nucleus and the service arrives.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

from connector.component_settings import DEFAULT_PAYLOAD_BYTES
from connector.errors import ConnectorError
from connector.kernel.dev import Counters
from connector.transports.greengrass_ipc import GreengrassIpc
from connector.transports.greengrass_ipc_connection import IpcConnection
from support.ipc_client import SECONDS
from support.loop import STEP, THING, FakeClock, Loop, moving
from support.nucleus import WatchedNucleus

INTERVAL = 300.0


class SettlingClock(FakeClock):
    """A clock that calls `settle` before time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.settle: Callable[[], None] = lambda: None

    def wait(self, seconds: float) -> None:
        self.settle()
        super().wait(seconds)


class IpcCore(GreengrassIpc):
    """The transport, and the thread that a call is made on, as the loop's harness wants them."""

    def __init__(self, nucleus: WatchedNucleus, clock: FakeClock, logger: logging.Logger) -> None:
        self.lost = threading.Event()
        self.calls: List[float] = []
        self.hanging: List[Any] = []
        self._nucleus, self._clock = nucleus, clock
        self.connection = IpcConnection(nucleus.new_environment(), lambda reason: self.lost.set())
        super().__init__(self.connection, DEFAULT_PAYLOAD_BYTES, logger)

    def start(self, topics: Sequence[str]) -> None:
        super().start(topics)
        self.subscribed()

    def renew(self) -> None:
        super().renew()
        self.subscribed()

    def subscribed(self) -> None:
        """Wait until subscribing has ended, one way or the other."""
        if not self._nucleus.ipc.hung:
            assert self._idle.wait(SECONDS)

    def start_call(self, call: Callable[[], None]) -> None:
        """Make a call on a thread; return when it has ended, or at once where the nucleus does not answer."""
        self.calls.append(self._clock.monotonic())
        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        while thread.is_alive() and not self._nucleus.ipc.hung:
            thread.join(0.01)

    def arrive(self) -> None:
        """Wait until every message that was taken has been answered, and each answer that was sent has come."""
        if self._nucleus.ipc.hung:
            return
        assert self._nucleus.mqtt.wait_until_sent(SECONDS)
        try:
            self.connection.parameter("any")  # its answer comes after all that was sent before
        except ConnectorError:
            assert self.lost.wait(SECONDS)


class IpcLoop(Loop):
    """A connector with a StateDirectory on a local nucleus, from whose interface STEP passes before each reading."""

    def __init__(self, root: Path, nucleus: WatchedNucleus, **settings: str) -> None:
        self.settling = SettlingClock()
        super().__init__(root, self.settling, 4, **settings)
        assert nucleus.thing == THING
        self.nucleus = nucleus
        self.remember()
        moving(self)

    def connected(self) -> IpcLoop:
        """Connect, as a start of the component does, with a new token."""
        ipc = IpcCore(self.nucleus, self.clock, self.logger)
        self.ipc = ipc
        self.core = ipc  # type: ignore[assignment]  # what the harness uses of a core it has
        self.settling.settle = ipc.arrive
        return self

    def ended(self) -> IpcLoop:
        """End the connection, as the end of the component's process does."""
        self.ipc.arrive()
        self.ipc.close()
        self.ipc.connection.close()
        return self

    def at_report(self, number: int, happen: Callable[[], object]) -> None:
        """Plan something for just before a report, 0 being the first from now."""
        self.clock.at(self.clock.monotonic() + number * INTERVAL - 1, happen)

    def begin(self, kind: str, number: Optional[float] = None) -> Callable[[], None]:
        """Return what makes a fault begin."""
        return lambda: self.nucleus.faults.begin(kind, number)

    @property
    def accepted(self) -> List[Dict[str, Any]]:
        """The reports that the service has accepted."""
        return [each.report for each in self.nucleus.deliveries if each.verdict is not None and each.verdict.accepted]

    @property
    def counted(self) -> Counters:
        """What the service has counted, in all."""
        parts = [report["metrics"]["network_stats"] for report in self.accepted if "network_stats" in report["metrics"]]
        return Counters(*(sum(part[name] for part in parts) for name in Counters._fields))

    @property
    def passed(self) -> Counters:
        """What has passed since the first reading."""
        return Counters(*(end - start for end, start in zip(self.host.interfaces["eth0"], STEP)))
