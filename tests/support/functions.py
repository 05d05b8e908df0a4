"""Small functions that run under the local core, and a local core whose log lines a test can wait for."""

from __future__ import annotations

import json
import queue
from pathlib import Path
from typing import Any

from local_core import FUNCTION_ARN, LocalCore, Subscription

REPORTS = "$aws/things/local-core/defender/metrics/"
REPORT = b'{"header":{"report_id":7,"version":"1.0"},"metrics":{"listening_udp_ports":{"ports":[],"total":0}}}'
DO = "test/do"
TABLE = [
    Subscription("cloud", "test/#", FUNCTION_ARN),
    Subscription(FUNCTION_ARN, REPORTS + "+", "cloud"),
    Subscription(FUNCTION_ARN, "test/+", "cloud"),
]

# Publishes what each event says, as the connector does, and prints the outcome.
PUBLISHER = """
import greengrasssdk
client = greengrasssdk.client("iot-data")
print("imported")
def handler(event, context):
    try:
        client.publish(topic=event["topic"], payload=event["payload"], queueFullPolicy=event.get("policy", ""))
    except Exception as error:
        print("failed", type(error).__name__, error)
    else:
        print("published")
"""

# Publishes one report when it is imported; prints its process id and the verdict.
REPORTER = """
import json, os, threading, time
import greengrasssdk
REPORT = {"header": {"report_id": int(time.time()), "version": os.environ.get("VERSION", "1.0")}}
REPORT["metrics"] = {"listening_udp_ports": {"ports": [], "total": 0}}
def run():
    topic = "$aws/things/%s/defender/metrics/json" % os.environ["AWS_IOT_THING_NAME"]
    greengrasssdk.client("iot-data").publish(topic=topic, payload=json.dumps(REPORT), queueFullPolicy="AllOrException")
print("pid", os.getpid())
threading.Thread(target=run, daemon=True).start()
def handler(event, context):
    print("verdict", event["status"])
"""


class Watched(LocalCore):
    """A local core whose log lines a test can wait for."""

    def __init__(self, artifact: Path, **settings: Any) -> None:
        self.lines: queue.Queue[str] = queue.Queue()
        super().__init__(artifact, on_log=self.lines.put, **settings)

    def line(self, start: str) -> str:
        """Return the next line that starts with some text, without it; wait at most 60 s for each line."""
        while True:
            line = self.lines.get(timeout=60)
            if line.startswith(start):
                return line[len(start) :].strip()

    def function_line(self, start: str) -> str:
        return self.line("function | " + start)

    def do(self, topic: str, payload: str = "x", **event: str) -> str:
        """Make PUBLISHER publish; return the line it prints after that."""
        assert self.send(DO, json.dumps({"topic": topic, "payload": payload, **event}).encode())
        while True:
            line = self.function_line("")
            if line.startswith(("published", "failed")):
                return line
