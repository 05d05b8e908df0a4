"""The contract of a transport, which carries messages to their topics.

A transport sends bytes to a topic and hands on the messages of the topics it is asked for. It knows nothing of reports,
time or retries: `publisher.py` gives up on a call, pauses and tries again, for every transport alike.

To add one: subclass Transport in a module of this package and call `agent.start(settings, transport, logger)` from its
entry, as `handler.py` does for `greengrass_lambda.py`. The tests' double (`Core` in tests/support/loop.py) is one more.
"""

from __future__ import annotations

from typing import Any, Callable, Optional, Sequence


class Transport:
    """Carries bytes to a topic.

    peer: str, who accepts the messages, as a log line names it: "the core".
    on_message: takes a received message (bytes, or the value that a JSON document was decoded to) and its topic, or
        None where the topic is unknown. Set by the agent before `start`; may be called from any thread; never raises.
    proves_delivery: bool, whether `send` returns only when the message can't be lost any more: the peer keeps it, or
        the broker has acknowledged it. If False, Device Defender's answers decide instead (deliveries.py).
    max_payload_bytes: int, the longest payload that `send` can carry; None if the only limit is that of AWS IoT
        (128 KB), which no report reaches. Reports and alarms are made to fit.
    """

    peer = "the other side"
    proves_delivery = True
    max_payload_bytes: Optional[int] = None
    on_message: Callable[[Any, Optional[str]], None]

    def start(self, topics: Sequence[str]) -> None:
        """Prepare for sending, and hand on the messages of `topics` from now on.

        Called once, before the first `send`. Must return at once: a connection is made on a thread of the transport's
        own, or by `send`. Raises ConfigError where its settings can't work.
        """

    def send(self, topic: str, payload: bytes) -> None:
        """Hand over one message; return when the peer has accepted it.

        Called from a thread of the publisher's own, a new one for each message, so it may block; several calls may be
        under way. If there is no answer it should raise within MAX_SEND_SECONDS: until then the call holds a thread and
        its message.

        Raises PublishError with a sentence for the log that says what to do, NoSubscriptionError if it takes a person
        to add a subscription or a permission. Any other exception counts as "not accepted" too. After raising, the
        message must not be sent any more: the loop makes a new report.
        """
        raise NotImplementedError

    def renew(self) -> None:
        """Subscribe to the topics of `start` anew, so that no message is received twice; return at once. Never raises.

        Called only if `proves_delivery` is False, when answers that used to come are missing.
        """

    def close(self) -> None:
        """Free what is held and end every `send`. Called once, at a stop; must return within 1 s."""


# Seconds after which a transport ends a call that was not answered. Long: an answer that comes after the publisher has
# given up (30 s) is still counted, so its traffic is not reported twice.
MAX_SEND_SECONDS = 900.0
