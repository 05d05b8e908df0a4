"""Hands messages to any transport, and adds what all of them need: the time-out, the pauses, and late answers."""

from __future__ import annotations

import _thread
import random
import weakref
from typing import Any, Callable, Generic, List, Optional, TypeVar

from .clock import Clock
from .errors import PublishError
from .transports import MAX_SEND_SECONDS, Transport

FIRST_RETRY_SECONDS = 5.0  # after a failure; doubled with each further one
ANSWER_SECONDS = 30.0  # to wait for an answer before the report counts as not accepted
STOP_SECONDS = 0.5  # to wait for it at a stop; if it is missed, the next start reports the same traffic again

# Each unanswered call holds a thread and its message, about 100 KB. After PAUSE_FROM of them the publisher pauses
# before each further call, twice as long each time; there are never more than MAX_UNANSWERED, whatever the peer does.
PAUSE_FROM = 4
MAX_UNANSWERED = 2 * PAUSE_FROM

Carried = TypeVar("Carried")


def in_thread(call: Callable[[], None]) -> None:
    """Run the call on a thread that does not keep the process alive.

    Not a threading.Thread: its start() waits for the new thread without a time-out, which is for ever if that thread
    runs out of memory before its first line.
    """
    _thread.start_new_thread(call, ())


class Call(Generic[Carried]):
    """One call of the transport.

    carried: as for `Publisher.publish`.
    started: float, seconds on the monotonic clock.
    done: bool, whether the transport has returned, or raised `error`.
    """

    def __init__(self, carried: Carried, started: float) -> None:
        self.carried = carried
        self.started = started
        self.done = False
        self.error: Optional[BaseException] = None
        self._runs: Callable[[], Any] = lambda: True

    def runs_as(self, function: Callable[[], None]) -> None:
        """Keep a weak reference to the function that the thread runs: it is freed when the thread ends."""
        self._runs = weakref.ref(function)

    @property
    def ended(self) -> bool:
        """Whether the call is over. A thread may also end without setting `done`, if there is no memory to run it."""
        return self.done or self._runs() is None


class Publisher(Generic[Carried]):
    """Hands messages to a transport, each on a thread of its own, and does not wait longer than it should.

    transport: started already. clock: for waiting. start: runs a function on another thread. wait: waits as
    `clock.wait`, the default, and may do other work meanwhile. pause_from: number of unanswered calls after which there
    are pauses; there are never more than twice as many.
    """

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        start: Callable[[Callable[[], None]], None] = in_thread,
        wait: Optional[Callable[[float], None]] = None,
        pause_from: int = PAUSE_FROM,
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._wait = wait or clock.wait
        self._pause_from = pause_from
        self._start = start
        self._unanswered: List[Call[Carried]] = []

    def publish(self, topic: str, payload: bytes, carried: Carried) -> None:
        """Hand over one message; return when it was accepted.

        carried: any value that belongs to the message, such as the report. If the message is accepted after this method
            has raised, `late` returns the value.

        Raises PublishError, with what to do, when the peer refuses, can't be reached, or does not answer within
        ANSWER_SECONDS; NoSubscriptionError as the transport raises it.
        """
        call = self.begin(topic, payload, carried)
        self._wait_for(call)
        if not call.ended:
            raise PublishError(f"{self._transport.peer} did not answer in {ANSWER_SECONDS:.0f} s")
        self._finish(call)

    def begin(self, topic: str, payload: bytes, carried: Carried) -> Call[Carried]:
        """Hand over one message as `publish` does, without waiting: `is_accepted` returns the outcome.

        Raises PublishError if it can't be handed over now.
        """
        now = self._clock.monotonic()
        self._forget_failed()
        unanswered = len(self._unanswered)
        pause = pause_after(unanswered, self._pause_from)
        if unanswered >= 2 * self._pause_from or (
            unanswered >= self._pause_from and now - self._unanswered[-1].started < pause
        ):
            raise PublishError(f"{self._transport.peer} has not answered {unanswered} calls: is it running?")

        # Kept from the start: whatever interrupts this function, an acceptance is found by `late`.
        call: Call[Carried] = Call(carried, now)
        self._unanswered.append(call)
        try:
            self._begin(call, topic, payload)
        except BaseException:
            self._unanswered.remove(call)
            raise
        return call

    def is_accepted(self, call: Call[Carried]) -> bool:
        """Return whether a call of `begin` was accepted; False while it is under way. Raises as `publish` does."""
        if call.ended:
            self._finish(call)
            return True
        if self._clock.monotonic() >= call.started + ANSWER_SECONDS:
            raise PublishError(f"{self._transport.peer} did not answer in {ANSWER_SECONDS:.0f} s")
        return False

    def _finish(self, call: Call[Carried]) -> None:
        """Forget a call that has ended. Raises PublishError unless it was accepted."""
        if call in self._unanswered:  # `late` may have returned it already
            self._unanswered.remove(call)
        if not call.done:
            raise PublishError("the thread of the call ended early: is there enough memory?")
        if isinstance(call.error, PublishError):
            raise call.error
        if call.error is not None:
            reason = str(call.error) or type(call.error).__name__
            raise PublishError(f"{self._transport.peer} did not accept the message: {reason}") from call.error

    def late(self) -> List[Carried]:
        """Return `carried` of each message that was accepted after `publish` had raised; each is returned once."""
        accepted = [call for call in self._unanswered if call.done and call.error is None]
        self._unanswered = [call for call in self._unanswered if not call.ended]
        return [call.carried for call in accepted]

    def _forget_failed(self) -> None:
        """Forget the calls that have failed since. Those that were accepted stay for `late`."""
        self._unanswered = [call for call in self._unanswered if not call.ended or (call.done and call.error is None)]

    def _begin(self, call: Call[Carried], topic: str, payload: bytes) -> None:
        transport, clock = self._transport, self._clock

        def run() -> None:
            try:
                transport.send(topic, payload)
            except BaseException as error:  # kept for publish() to raise
                # Without its frames, which hold the message.
                call.error = error.with_traceback(None)
            finally:
                call.done = True
                clock.wake()

        call.runs_as(run)
        try:
            self._start(run)
        except RuntimeError as error:
            raise PublishError(f"no thread for the call: {error}") from error

    def _wait_for(self, call: Call[Carried]) -> None:
        """Return when the call has ended, or its time is over."""
        until, stopping = call.started + ANSWER_SECONDS, False
        while not call.ended:
            if self._clock.stopped and not stopping:
                until, stopping = min(until, self._clock.monotonic() + STOP_SECONDS), True
            left = until - self._clock.monotonic()
            if left <= 0:
                return
            self._wait(left)


def retry_delay(failures: int, most: float, rng: random.Random) -> float:
    """Return the seconds until the next attempt.

    failures: how many there were in a row before the last one. most: the longest delay, seconds.

    Up to half of the delay is taken off at random, so that devices that failed together don't come back together.
    """
    return min(most, FIRST_RETRY_SECONDS * 2.0 ** min(failures, 30)) * rng.uniform(0.5, 1.0)


def pause_after(unanswered: int, pause_from: int = PAUSE_FROM) -> float:
    """Return the seconds between the last call and the next one, if `unanswered` calls have no answer."""
    return MAX_SEND_SECONDS * 2.0 ** (unanswered - pause_from)
