"""The Lambda function's entry: the only module whose import starts anything.

On a Greengrass core the import starts the reporting loop on a thread and returns; the core then hands messages to
`function_handler`. Anywhere else nothing starts: only a core sets MY_FUNCTION_ARN.
"""

from __future__ import annotations

import gc
import logging
import os
from typing import Any

from .errors import ConfigError
from .health import plain
from .transports.greengrass_lambda import GreengrassLambda

logger = logging.getLogger("connector")
transport = GreengrassLambda()


def function_handler(event: Any, context: Any) -> None:
    """Take a message that the core has for this function: Device Defender's answer to a report.

    event: the message, as the core's runtime decoded it. context: the runtime's; it has the topic.
    """
    if not os.environ.get("MY_FUNCTION_ARN"):
        logger.warning("not on a Greengrass core (MY_FUNCTION_ARN is not set): nothing is reported")
        return
    transport.receive(event, context)


def start() -> None:
    """Load the connector and start it. Raises ConfigError.

    Nearly all that is made meanwhile stays. To search it for garbage again and again while it grows took a tenth of the
    start.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        from . import agent

        agent.start(os.environ, transport, logger)
    except ConfigError as error:
        logger.error("%s", plain(error, 1000))
        raise
    finally:
        if collects:
            gc.enable()


if os.environ.get("MY_FUNCTION_ARN"):
    if not logging.getLogger().handlers:
        logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    start()
