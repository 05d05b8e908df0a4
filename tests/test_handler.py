"""The module a core imports: nothing starts elsewhere, its import returns at once, and no message can hurt it."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, List

import pytest
from local_core import FunctionError
from support_core import ROOT, built_zip
from test_end_to_end import REPORTS, Watched

from connector import handler
from connector.health import Health
from connector.verdict import Verdicts

TOPIC = "$aws/things/gateway-7/defender/metrics/json"

OUTSIDE = """
import json, logging, signal, sys, threading
sys.path.insert(0, sys.argv[1])
before = signal.getsignal(signal.SIGTERM)
import connector.handler
logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stdout)
print(threading.active_count(), "greengrasssdk" in sys.modules, signal.getsignal(signal.SIGTERM) == before, flush=True)
print(connector.handler.function_handler({"status": "REJECTED"}, None))
"""


def test_outside_a_core_its_import_starts_nothing_and_a_call_says_so() -> None:
    done = subprocess.run([sys.executable, "-c", OUTSIDE, str(ROOT)], env={}, capture_output=True, timeout=60)
    assert done.stdout.decode().splitlines() == [
        "1 False True",
        "WARNING not on a Greengrass core (MY_FUNCTION_ARN is not set): nothing is reported",
        "None",
    ]
    assert (done.returncode, done.stderr) == (0, b"")


def test_on_a_core_the_import_returns_though_the_core_answers_nothing() -> None:
    core = Watched()
    core.faults.add("hang")
    with core:  # it starts, which is to import
        assert core.faults.wait(20)
        assert core.deliveries == []


THREADED = """
import threading
def work():
    global function_handler
    from connector.handler import function_handler
importer = threading.Thread(target=work)
importer.start()
importer.join()
"""


def test_imported_by_another_thread_it_reports_and_sigterm_stays_the_runtimes(tmp_path: Path) -> None:
    with zipfile.ZipFile(str(built_zip())) as archive:
        archive.extractall(str(tmp_path))
    (tmp_path / "threaded.py").write_text(THREADED)
    with Watched(tmp_path, handler="threaded.function_handler", environment={"LogLevel": "DEBUG"}) as core:
        core.wait_for_line("was accepted by Device Defender")
        assert core.stop() == -signal.SIGTERM
        assert core.lines_with("Traceback") + core.lines_with("WARNING") == []


def test_without_a_thing_name_one_line_says_where_it_comes_from() -> None:
    core = Watched(environment={"AWS_IOT_THING_NAME": None})
    reason = "AWS_IOT_THING_NAME is not set: the Greengrass core sets it to the name of its thing"
    try:
        with pytest.raises(FunctionError, match="failed to initialize: ConfigError: " + reason):
            core.start()
    finally:
        assert core.stop() == 1
    (line,) = core.lines_with("ERROR")
    assert "ERROR connector: " + reason in line
    assert core.lines_with("WARNING") == []


class Hostile(dict):  # type: ignore[type-arg]
    """What a core never makes of a message."""

    def get(self, *given: Any) -> Any:
        raise RuntimeError("\x1b[2J" * 1000)


def _nested(depth: int) -> Any:
    event: Any = 1
    for _ in range(depth):
        event = {"statusDetails": [event], "thingName": "gateway-7"}
    return event


EVENTS = [
    None,
    b"",
    b"{" * 5000,
    b"\xff" * 100_000,
    "x" * 100_000,
    [[]],
    _nested(100_000),
    {"reportId": 10**10_000, "statusDetails": {"ErrorCode": 10**10_000, "ErrorMessage": ["\r\n"] * 9}},
    {"thingName": "gateway-7", "reportId": "\r\nERROR forged", "statusDetails": {"ErrorCode": "\x1b[2J"}},
    {"thingName": {"thingName": None}},
    {1: 2, None: float("nan")},
    Hostile(),
    object(),
]


def _context(subject: Any) -> Any:
    return SimpleNamespace(client_context=SimpleNamespace(custom={"subject": subject}))


CONTEXTS = [
    None,
    object(),
    SimpleNamespace(client_context=None),
    SimpleNamespace(client_context=SimpleNamespace(custom=None)),
    _context(None),
    _context(["a"]),
    _context("\r\n" * 100_000),
    _context(TOPIC + "/accepted"),
    _context(TOPIC + "/rejected"),
]


@pytest.mark.parametrize("event", EVENTS, ids=range(len(EVENTS)))
@pytest.mark.parametrize("context", CONTEXTS, ids=range(len(CONTEXTS)))
def test_no_message_raises_or_writes_more_than_a_plain_line(
    event: Any, context: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("connector")
    health = Health(logger, lambda: 0.0)
    monkeypatch.setattr(handler, "_verdicts", Verdicts("gateway-7", TOPIC, health, logger, lambda: 0.0))
    for _ in range(2):
        handler.function_handler(event, context)
    lines: List[str] = [record.getMessage() for record in caplog.records]
    # One, as the second says nothing new; but that a message could not be read is said of each.
    assert len(lines) <= (2 if isinstance(event, Hostile) else 1)
    for line in lines:
        assert len(line) < 1000
        assert line.isascii()
        assert line.isprintable()


def test_a_message_that_can_not_be_read_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("connector")
    health = Health(logger, lambda: 0.0)
    monkeypatch.setattr(handler, "_verdicts", Verdicts("gateway-7", TOPIC, health, logger, lambda: 0.0))
    handler.function_handler(Hostile(), _context(TOPIC + "/accepted"))
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("a message could not be read: RuntimeError('")


def test_messages_of_any_bytes_reach_a_function_that_lives_on() -> None:
    with Watched(encoding_type="binary") as core:
        for payload in (b"", b"\xff" * 200_000, b"[" * 100_000, b'{"thingName": 1}', b"\xc0\x00", b"null"):
            for answer in ("accepted", "rejected"):
                assert core.send(REPORTS + "json/" + answer, payload)
        core.send(REPORTS + "json/rejected", json.dumps({"statusDetails": {"ErrorCode": "Last"}}).encode())
        core.wait_for_line("WARNING connector: Device Defender's verdict: report (no reportId) was rejected: Last: ")
        assert core.lines_with("Traceback") == []
        assert len(core.lines_with("WARNING")) == 2  # and one for all that is ignored
        assert core.stop() == 0
