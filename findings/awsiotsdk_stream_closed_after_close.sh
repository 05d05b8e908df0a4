#!/usr/bin/env bash
# awsiotsdk 1.31.0: GreengrassCoreIPCClientV2.close() makes the handler on_stream_closed of a subscription that is still
# open fail. close() shuts its executor down and then means to ignore that late events can't be given to it; of the two
# places that do so, the one for on_stream_event ignores the error, and the one for on_stream_closed has the condition the
# wrong way round: it raises the error after close(), and hides it before. The application's handler is never called.
#
# Seen: RuntimeError: cannot schedule new futures after shutdown, raised by the stream's handler.
# What helps: GreengrassCoreIPCClientV2(executor=None), or closing each subscription's operation before the client.
#
# No nucleus is needed: the client below the V2 client is a stand-in that keeps the stream's handler, and calls it as the
# real one does when a connection closes. PYTHON names a Python from 3.9 on.
set -euo pipefail
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check awsiotsdk==1.31.0 awscrt==0.36.1
"$folder/env/bin/python" - <<'PYTHON'
from concurrent.futures import Future

from awsiot.greengrasscoreipc import model
from awsiot.greengrasscoreipc.clientv2 import GreengrassCoreIPCClientV2


def done(value):
    future = Future()
    future.set_result(value)
    return future


class Operation:
    def __init__(self, handler):
        self.handler = handler

    def activate(self, request):
        return done(None)

    def get_response(self):
        return done(model.SubscribeToIoTCoreResponse())


class Client:
    def new_subscribe_to_iot_core(self, handler):
        self.handler = handler
        return Operation(handler)

    def close(self):
        return done(None)


below = Client()
client = GreengrassCoreIPCClientV2(client=below)
called = []
client.subscribe_to_iot_core(
    topic_name="a/topic", qos="1", on_stream_event=called.append, on_stream_closed=lambda: called.append("closed")
)
client.close()
try:
    below.handler.on_stream_event(model.IoTCoreMessage())
    print("on_stream_event after close(): ignored")
    below.handler.on_stream_closed()
except RuntimeError as error:
    print(f"on_stream_closed after close(): RuntimeError: {error}")
else:
    raise SystemExit("changed: on_stream_closed no longer raises after close()")
if called:
    raise SystemExit(f"changed: a handler was called: {called}")
PYTHON
echo "as seen: awsiotsdk 1.31.0 raises in on_stream_closed after close()"
