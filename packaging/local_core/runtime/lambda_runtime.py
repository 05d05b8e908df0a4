"""What a core starts for a function: it imports the module, reports that, then asks the core for events for ever.

Run with the environment a core sets: python lambda_runtime.py --root DIRECTORY --handler package.module.function
"""

import argparse
import base64
import http.client
import importlib
import json
import logging
import os
import socket
import sys
import time
import traceback
from types import SimpleNamespace
from typing import Any, Callable, Optional

from greengrass_common.env_vars import MY_FUNCTION_ARN
from greengrass_common.function_arn_fields import FunctionArnFields
from greengrass_ipc_python_sdk.ipc_client import IPCClient, IPCException, WorkItem

RETRY_SECONDS = 0.1
PARENT = os.getppid()


def persistently(call: Callable[..., Any], *args: Any) -> Any:
    """Repeat a call while the core can't be reached, as it may be restarting; exit when the core's process has ended.

    A time-out is not caught: nothing here sets one, so the function has set one for the whole process.
    """
    while True:
        try:
            return call(*args)
        except socket.timeout:
            raise
        except (IPCException, OSError, http.client.HTTPException):
            if os.getppid() != PARENT:
                sys.exit("The core has ended, and the function with it.")
            time.sleep(RETRY_SECONDS)


def lower_interval_floor(package: str, seconds: int) -> None:
    """Make the connector accept an interval below the service's minimum; a real core has no such option."""
    name = package + ".config"
    config = importlib.import_module(name)
    if not hasattr(config, "MIN_SAMPLE_INTERVAL"):
        raise AttributeError(f"{name} has no MIN_SAMPLE_INTERVAL: the interval of this function can't be lowered")
    vars(config)["MIN_SAMPLE_INTERVAL"] = seconds


def make_context(arn: str, work: WorkItem) -> SimpleNamespace:
    """Return the handler's second argument."""
    fields = FunctionArnFields(arn)
    client: Optional[SimpleNamespace] = None
    if work.client_context:
        document = json.loads(base64.b64decode(work.client_context).decode())
        client = SimpleNamespace(**{name: document.get(name, {}) for name in ("client", "custom", "env")})
    return SimpleNamespace(
        invoked_function_arn=arn,
        aws_request_id=work.invocation_id,
        function_name=fields.name,
        function_version=fields.qualifier,
        client_context=client,
    )


def handle(handler: Callable[[Any, Any], Any], arn: str, work: WorkItem) -> bytes:
    """Call the handler with a decoded event; return its result encoded."""
    if os.environ.get("ENCODING_TYPE") == "binary":
        return handler(work.payload, make_context(arn, work)) or b""
    try:
        event = json.loads(work.payload.decode()) if work.payload else None
    except ValueError as error:
        raise ValueError(f"the event is not JSON ({error}); for other events set the function's encoding to binary")
    return json.dumps(handler(event, make_context(arn, work))).encode()


def main() -> None:
    """Run the function until the core ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True, help="where the function's zip is unpacked")
    parser.add_argument("--handler", required=True, help="package.module.function")
    parser.add_argument(
        "--interval-floor", type=int, help="the smallest interval that the connector accepts, in seconds"
    )
    options = parser.parse_args()
    assert MY_FUNCTION_ARN, "MY_FUNCTION_ARN is not set: only a core can run this."
    logging.basicConfig(
        stream=sys.stdout,
        level=os.environ.get("LOG_LEVEL", "INFO"),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    ipc = IPCClient()
    sys.path.insert(0, options.root)
    module, _, function = options.handler.rpartition(".")
    try:
        if options.interval_floor:
            lower_interval_floor(module.split(".")[0], options.interval_floor)
        handler = getattr(importlib.import_module(module), function)
    except Exception as error:
        traceback.print_exc()
        persistently(ipc.put_initialization_result, MY_FUNCTION_ARN, f"{type(error).__name__}: {error}")
        sys.exit(1)
    persistently(ipc.put_initialization_result, MY_FUNCTION_ARN, None)
    while True:
        work = persistently(ipc.get_work, MY_FUNCTION_ARN)
        try:
            try:
                result = handle(handler, MY_FUNCTION_ARN, work)
            except Exception as error:
                traceback.print_exc()
                ipc.post_handler_err(MY_FUNCTION_ARN, work.invocation_id, str(error))
            else:
                ipc.post_work_result(MY_FUNCTION_ARN, work._replace(payload=result))
        except (IPCException, OSError, http.client.HTTPException) as error:
            print(f"The core did not accept the result of {work.invocation_id}: {error}")


if __name__ == "__main__":
    main()
