"""The Greengrass core as transport of a Lambda function: the SDK, its queue policy, its errors and its messages.

The only module that knows the Greengrass SDK (`greengrasssdk` on PyPI). Facts of the protocol: it is HTTP to a port of
the core on localhost; the core answers a publish once it has queued the message.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import Any, Callable, ContextManager, Iterator, Optional, Sequence

from ..errors import NoSubscriptionError, PublishError
from . import Transport


class GreengrassLambda(Transport):
    """Publishes through the core that runs this Lambda function.

    client: what `greengrasssdk.client("iot-data")` returns; made by `start` where it is None, as the SDK can be
        imported on a core only.
    """

    peer = "the core"

    def __init__(self, client: Optional[Any] = None) -> None:
        self._client = client
        self._guarded: Callable[[], ContextManager[None]] = unguarded

    def start(self, topics: Sequence[str]) -> None:
        """Import the SDK. `topics` are not used: the group's subscriptions decide what a function receives."""
        if self._client is not None:
            return
        import greengrasssdk

        from . import ipc_guard  # with urllib.request, which a core's runtime has loaded already

        ipc_guard.install()
        self._guarded = ipc_guard.guarded
        # The SDK logs a traceback for each failed call before it raises; the connector logs one line for all of them.
        logging.getLogger("greengrasssdk").setLevel(logging.CRITICAL)
        self._client = greengrasssdk.client("iot-data")

    def send(self, topic: str, payload: bytes) -> None:
        """Publish one message; nothing but a 2xx answer from the core's own port is an acceptance."""
        assert self._client is not None, "start() comes first"
        try:
            with self._guarded():
                # With this policy a full queue is an error; without it the core drops the message without one.
                self._client.publish(topic=topic, payload=payload, queueFullPolicy="AllOrException")
        except Exception as error:
            raise explained(error, topic) from error

    def receive(self, event: Any, context: Any) -> None:
        """Hand on a message that the core has for this function.

        event: what the core's runtime decoded (bytes with ENCODING_TYPE binary). context: the runtime's; the topic is
        its client_context.custom["subject"], where the message came by a subscription.
        """
        try:
            subject = context.client_context.custom["subject"]
        except Exception:  # another kind of core, or an invocation by something else than a subscription
            subject = None
        self.on_message(event, subject if isinstance(subject, str) else None)


@contextmanager
def unguarded() -> Iterator[None]:
    """Do nothing, in the place of `ipc_guard.guarded`: a client that a test hands over needs no guard."""
    yield


def explained(error: BaseException, topic: str) -> PublishError:
    """Return the error of an SDK call as a sentence for the log that says what to do."""
    text = str(error) or type(error).__name__
    # A V2 core answers 400 where no subscription matches. The body says so, but not every runtime passes it on.
    if "HTTP Error 400" in text and ("ubscription" in text or text.endswith("Bad Request")):
        return NoSubscriptionError(
            "no subscription carries the message: add one with this function (V2: component:<its component>) as "
            f"source, {topic} as subject and IoT Core (V2: cloud) as target; the core answered: {text}"
        )
    return PublishError(f"the core did not accept the message: {text}")
