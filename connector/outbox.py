"""Messages that must arrive, in order: kept until each was accepted, sent while the loop waits for something else."""

from __future__ import annotations

import json
import random
from collections import deque
from typing import Any, Callable, Deque, Dict, Iterable, List, NamedTuple, Optional

from .clock import Clock
from .errors import PublishError
from .health import Health
from .publisher import FIRST_RETRY_SECONDS, Call, Publisher, retry_delay

MAX_MESSAGES = 100
# Of the publisher: half of what reports may leave unanswered, so that both together fit the 16 MB of a function.
PAUSE_FROM = 2
MIN_WAIT_SECONDS = 0.001  # so that rounding never makes a wait of 0, which would spin


def encoded(document: Dict[str, Any]) -> bytes:
    """Return a document as compact JSON."""
    return json.dumps(document, separators=(",", ":")).encode("ascii")


class _Message(NamedTuple):
    """A message that was not accepted yet. number: ascending in the order of sending. document: for JSON."""

    number: int
    document: Dict[str, Any]


class Outbox:
    """Sends each message to a topic at least once, in the order of `add`, one after the other.

    publisher: one of its own, so that unanswered messages don't count towards the unanswered calls of the reports.
    max_delay: longest time between two attempts, seconds. what: the messages' name in the log. encode: makes the bytes
    of a document. changed: bool, set when a message was added or accepted; whoever saves `documents` resets it.
    """

    def __init__(
        self,
        topic: str,
        publisher: Publisher[int],
        max_delay: float,
        what: str,
        clock: Clock,
        health: Health,
        rng: random.Random,
        encode: Callable[[Dict[str, Any]], bytes] = encoded,
    ) -> None:
        self._encode = encode
        self._topic = topic
        self._publisher = publisher
        self._max_delay = max_delay
        self._what = what
        self._clock = clock
        self._health = health
        self._rng = rng
        self._messages: Deque[_Message] = deque()
        self._added = 0
        self._failures = 0
        self._due = 0.0  # of the next attempt, seconds on the monotonic clock
        self._call: Optional[Call[int]] = None  # under way
        self._sending = 0  # the number of its message
        self.changed = False

    @property
    def documents(self) -> List[Dict[str, Any]]:
        """What was not accepted yet, oldest first. A message that is under way is among them."""
        return [message.document for message in self._messages]

    def add(self, document: Dict[str, Any]) -> None:
        """Keep one more message; over MAX_MESSAGES the oldest ones are dropped, which is logged."""
        self.changed = True
        self._added += 1
        self._messages.append(_Message(self._added, document))
        self._drop_oldest()

    def put_before(self, documents: Iterable[Dict[str, Any]]) -> None:
        """Keep the messages of an earlier run, which come before all others."""
        earlier = list(documents)
        numbers = range(-len(earlier), 0)
        self._messages.extendleft(reversed([_Message(*pair) for pair in zip(numbers, earlier)]))
        self._drop_oldest()

    def _drop_oldest(self) -> None:
        while len(self._messages) > MAX_MESSAGES:
            self._messages.popleft()
            self._health.failed(
                f"waiting {self._what}", f"more than {MAX_MESSAGES} wait to be sent: the oldest are dropped"
            )

    def send(self) -> float:
        """Go on sending, without waiting. Return when to call this again, in seconds on the monotonic clock."""
        while True:
            if self._call is not None:
                try:
                    if not self._publisher.is_accepted(self._call):
                        return self._clock.monotonic() + FIRST_RETRY_SECONDS  # the end of the call wakes the clock
                except PublishError as error:
                    self._failed(error, self._call.started)
                else:
                    self._accepted(self._sending)
                self._call = None
            for number in self._publisher.late():
                self._accepted(number)
            if not self._messages or self._clock.stopped:
                return float("inf")
            if self._clock.monotonic() < self._due:
                return self._due
            self._begin(self._messages[0])

    def _begin(self, message: _Message) -> None:
        payload = self._encode(message.document)
        self._sending = message.number
        try:
            self._call = self._publisher.begin(self._topic, payload, message.number)
        except PublishError as error:
            self._failed(error, self._clock.monotonic())

    def _failed(self, error: PublishError, since: float) -> None:
        """since: when the call began."""
        if not self._clock.stopped:
            self._health.failed(f"publishing {self._what}", str(error), type(error).__name__, since)
        self._due = self._clock.monotonic() + retry_delay(self._failures, self._max_delay, self._rng)
        self._failures += 1

    def _accepted(self, number: int) -> None:
        self._failures, self._due = 0, 0.0
        kept = deque(message for message in self._messages if message.number != number)
        self.changed = self.changed or len(kept) < len(self._messages)
        self._messages = kept
        self._health.recovered(f"publishing {self._what}")
        if not kept:
            self._health.recovered(f"waiting {self._what}")

    def wait(self, seconds: float) -> None:
        """Wait as the clock does, and send meanwhile. May return early."""
        try:
            until = self.send()
        except Exception as error:  # such as MemoryError: the loop, which waits here, must go on
            self._health.failed(f"publishing {self._what}", repr(error), type(error).__name__)
            until = self._clock.monotonic() + FIRST_RETRY_SECONDS
        self._clock.wait(max(MIN_WAIT_SECONDS, min(seconds, until - self._clock.monotonic())))
