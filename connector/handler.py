"""What a Greengrass core imports: the one module whose import starts something.

On a core, importing it starts the reporting loop beside the importer and returns; the core then hands messages to
`function_handler`. Anywhere else nothing starts: `MY_FUNCTION_ARN` tells a core.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
import time
from typing import Any, Mapping, Optional

from . import config, snapshot
from .clock import Clock
from .errors import ConfigError, TableError
from .health import Health, plain
from .kernel.proc import locate
from .publisher import Publisher
from .reporter import Reporter
from .state import read_boot
from .verdict import Verdicts

logger = logging.getLogger("connector")

STOP = 1.0  # seconds for the loop to end by itself; the core's patience is not known


def function_handler(event: Any, context: Any) -> None:
    """Take a message that the core has for this function: the service's answers to the reports.

    event: what the core decoded. context: the core's; the topic is its client_context.custom["subject"].
    """
    if _verdicts is None:
        logger.warning("not on a Greengrass core (MY_FUNCTION_ARN is not set): nothing is reported")
        return
    try:
        subject = context.client_context.custom["subject"]
    except Exception:  # a core of another kind, or a message by another way than a subscription
        subject = None
    try:
        _verdicts.take(event, subject)
    except Exception as error:  # a message must not end the function
        logger.warning("a message could not be read: %s", plain(repr(error)))


def start(environ: Mapping[str, str]) -> Verdicts:
    """Start reporting, as the environment says, and return what takes the answers. Raises ConfigError."""
    clock = Clock()
    end_on_sigterm(clock)
    settings, warnings = config.parse(environ)
    logger.setLevel(settings.log_level)
    for warning in warnings:
        logger.warning("%s", plain(warning, 1000))

    import greengrasssdk  # only a core has what it needs

    health = Health(logger, clock.monotonic)
    rng = random.Random()
    reporter = Reporter(
        settings,
        take=lambda: snapshot.take(settings.wanted, rng),
        publisher=Publisher(greengrasssdk.client("iot-data"), settings.topic, clock),
        clock=clock,
        health=health,
        rng=rng,
        logger=logger,
        boot=read_boot(settings.wanted.proc),
    )
    logger.info(
        "metrics of %s go to %s every %d s, read from %s: %s",
        settings.thing,
        settings.topic,
        settings.interval,
        settings.wanted.proc,
        whose_network(settings.wanted.proc),
    )
    threading.Thread(target=reporter.run, name="reporter", daemon=True).start()
    return Verdicts(settings.thing, settings.topic, health, logger)


def whose_network(proc: str) -> str:
    """Return in words whose network the reports show."""
    try:
        found = locate(proc)
    except TableError:
        return "which can't be read yet"
    if found.host:
        return "the host's network" + (", which this function shares" if found.shared else "")
    return "this function's own network"


def end_on_sigterm(clock: Clock) -> None:
    """Have SIGTERM stop the clock and end the process with 0, whatever it is waiting for."""
    before = signal.getsignal(signal.SIGTERM)

    def end(number: int, frame: Any) -> None:
        clock.stop()
        # Sleeps, not Thread.join(): see Clock on time-outs of locks.
        give_up = time.monotonic() + STOP
        while time.monotonic() < give_up and any(thread.name == "reporter" for thread in threading.enumerate()):
            time.sleep(0.02)
        if callable(before):
            before(number, frame)
            return
        logging.shutdown()
        # Not sys.exit(): the runtime may be anywhere, and a call to a core that hangs would be waited for.
        os._exit(0)

    try:
        signal.signal(signal.SIGTERM, end)
    except ValueError:
        logger.debug("not imported by the main thread: SIGTERM stays what it was")


_verdicts: Optional[Verdicts] = None
if os.environ.get("MY_FUNCTION_ARN"):
    if not logging.getLogger().handlers:
        logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    try:
        _verdicts = start(os.environ)
    except ConfigError as error:
        logger.error("%s", plain(error, 1000))
        raise
