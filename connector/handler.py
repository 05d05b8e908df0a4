"""What a Greengrass core imports: the one module whose import starts something.

On a core, importing it starts the reporting loop beside the importer and returns; the core then hands messages to
`function_handler`. Anywhere else nothing starts: `MY_FUNCTION_ARN` tells a core.
"""

from __future__ import annotations

import logging
import os
import random
import threading
from typing import Any, Mapping, Optional

from . import config, snapshot
from .clock import Clock
from .encode import prepare
from .errors import ConfigError, TableError
from .health import Health, plain
from .kernel.proc import locate
from .publisher import Publisher
from .reporter import Reporter
from .sigterm import end_on_sigterm
from .state import read_boot
from .verdict import Verdicts

logger = logging.getLogger("connector")


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
    if not isinstance(subject, str):
        subject = None
    try:
        _verdicts.take(event, subject)
    except Exception as error:  # a message must not end the function
        logger.warning("a message could not be read: %s", plain(repr(error)))


def start(environ: Mapping[str, str]) -> Verdicts:
    """Start reporting, as the environment says, and return what takes the answers. Raises ConfigError."""
    clock = Clock()
    loop = threading.Thread(target=lambda: reporter.run(), name="reporter", daemon=True)
    ends = end_on_sigterm(clock.stop, loop)
    settings, warnings = config.parse(environ)
    logger.setLevel(settings.log_level)
    if not ends:
        logger.debug("not imported by the main thread: SIGTERM stays what it was")
    for warning in warnings:
        logger.warning("%s", plain(warning, 1000))

    prepare(settings.report_format)

    import greengrasssdk  # only a core has what it needs

    # It logs a traceback for each call that fails, before it raises; here that is one line when it starts.
    logging.getLogger("greengrasssdk").setLevel(logging.CRITICAL)

    health = Health(logger, clock.monotonic)
    rng = random.Random()
    reporter = Reporter(
        settings,
        take=snapshot.Source(settings.wanted, rng).take,
        publisher=Publisher(greengrasssdk.client("iot-data"), settings.topic, clock),
        clock=clock,
        health=health,
        rng=rng,
        logger=logger,
        read_boot=lambda: read_boot(settings.wanted.proc),
    )
    logger.info(
        "metrics of %s go to %s every %d s, read from %s: %s",
        settings.thing,
        plain(settings.topic),
        settings.interval,
        settings.wanted.proc,
        whose_network(settings.wanted.proc),
    )
    loop.start()
    return Verdicts(settings.thing, settings.topic, health, logger, clock.monotonic)


def whose_network(proc: str) -> str:
    """Return in words whose network the reports show."""
    try:
        found = locate(proc)
    except TableError:
        return "which can't be read yet"
    if found.host:
        return "the host's network" + (", which this function shares" if found.shared else "")
    return "this function's own network"


_verdicts: Optional[Verdicts] = None
if os.environ.get("MY_FUNCTION_ARN"):
    if not logging.getLogger().handlers:
        logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    try:
        _verdicts = start(os.environ)
    except ConfigError as error:
        logger.error("%s", plain(error, 1000))
        raise
