"""The fifth room: bytes to a topic, through the Greengrass SDK."""

from __future__ import annotations

import threading
from typing import Any, Callable, Generic, List, Optional, TypeVar

from .clock import Clock
from .errors import NoSubscriptionError, PublishError

TIMEOUT = 30.0
LAST_MOMENT = 0.5  # seconds for an answer at a stop: unread, it would have the same sent again after the next start

# A call that is never answered is a thread that waits, of some 50 KB. So a core that left a few of them is given
# pauses, each twice the one before: one that lost some answers gets reports again soon, and one that hangs for days
# does not fill the memory. Should it take such a call after all, late() says so.
FEW = 4
FIRST_PAUSE, LONGEST_PAUSE = 900.0, 4 * 3600.0

Carried = TypeVar("Carried")


def in_thread(call: Callable[[], None]) -> None:
    """Run the call on a thread that does not keep the process alive."""
    threading.Thread(target=call, name="publish", daemon=True).start()


class _Call(Generic[Carried]):
    """One publish, made on a thread of its own as the core's IPC client waits for an answer without a time-out."""

    def __init__(self, carried: Carried, started: float) -> None:
        self.carried = carried
        self.started = started
        self.done = False
        self.error: Optional[BaseException] = None


class Publisher(Generic[Carried]):
    """Hands reports to the core.

    client: the SDK's `greengrasssdk.client("iot-data")`. start: runs a function beside the caller.
    """

    def __init__(
        self,
        client: Any,
        topic: str,
        clock: Clock,
        start: Callable[[Callable[[], None]], None] = in_thread,
    ) -> None:
        self._client = client
        self._topic = topic
        self._clock = clock
        self._start = start
        self._waiting: List[_Call[Carried]] = []

    def publish(self, payload: bytes, carried: Carried) -> None:
        """Hand over one report and return when the core took it.

        carried: what `late()` gives back should the core take it after it was given up.

        Raises PublishError, with what to do, when the core refuses, can't be reached or does not answer in TIMEOUT;
        NoSubscriptionError where that is what the core says.
        """
        now = self._clock.monotonic()
        waiting = len(self._waiting)
        if waiting >= FEW and now - self._waiting[-1].started < _pause(waiting):
            raise PublishError(f"the core has left {waiting} calls unanswered: is it running?")

        call: _Call[Carried] = _Call(carried, now)

        def run() -> None:
            try:
                # With this policy a full queue is an error; without one the core drops the message and says nothing.
                self._client.publish(topic=self._topic, payload=payload, queueFullPolicy="AllOrException")
            except BaseException as error:  # kept for publish() to raise; a thread has nobody else to tell
                call.error = error
            call.done = True
            self._clock.wake()

        try:
            self._start(run)
        except RuntimeError as error:
            raise PublishError(f"no thread for the call: {error}") from error
        until, stopping = now + TIMEOUT, False
        while not call.done:
            if self._clock.stopped and not stopping:
                until, stopping = min(until, self._clock.monotonic() + LAST_MOMENT), True
            left = until - self._clock.monotonic()
            if left <= 0:
                self._waiting.append(call)
                raise PublishError(f"the core did not answer in {TIMEOUT:.0f} s")
            self._clock.wait(left)
        if call.error is not None:
            raise self._explained(call.error) from call.error

    def late(self) -> List[Carried]:
        """Return, once each, what calls carried that the core took after they were given up."""
        done = [call for call in self._waiting if call.done]
        self._waiting = [call for call in self._waiting if not call.done]
        return [call.carried for call in done if call.error is None]

    def _explained(self, error: BaseException) -> PublishError:
        text = str(error) or type(error).__name__
        # A V2 core's answer where no subscription matches. The body says so, but not every runtime passes it on.
        if "HTTP Error 400" in text and ("ubscription" in text or text.endswith("Bad Request")):
            return NoSubscriptionError(
                "no subscription carries the reports: add one with this function (V2: component:<its component>) as "
                f"source, {self._topic} as subject and IoT Core (V2: cloud) as target; the core says: {text}"
            )
        return PublishError(f"the core did not take the report: {text}")


def _pause(waiting: int) -> float:
    return min(FIRST_PAUSE * 2.0 ** min(waiting - FEW, 30), LONGEST_PAUSE)
