"""The Lambda entry: what its import starts on a core and elsewhere; messages never raise."""

from __future__ import annotations

import logging
import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, Iterator, List, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.loop import THING, TOPIC, FakeClock, Records
from support.proc import tree

from connector import agent, config, handler
from connector.transports.greengrass_lambda import GreengrassLambda
from connector.verdict import MAX_CHANGES_PER_HOUR, Verdicts

ROOT = Path(__file__).resolve().parents[2]
ARN = "arn:aws:lambda:us-east-1:123456789012:function:device-defender-connector:1"
REJECTED = TOPIC + "/rejected"


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Iterator[Records]:
    """What the handler logs on a core, with the parts connected as at a start."""
    found = Records()
    handler.logger.addHandler(found)
    handler.logger.setLevel(logging.INFO)
    monkeypatch.setenv("MY_FUNCTION_ARN", ARN)
    monkeypatch.setattr(handler, "transport", GreengrassLambda(object()))
    parsed, _ = config.parse({"AWS_IOT_THING_NAME": THING})
    agent.assemble(parsed, handler.transport, FakeClock(), random.Random(1), handler.logger)
    yield found
    handler.logger.removeHandler(found)


def context(subject: Any) -> Any:
    return SimpleNamespace(client_context=SimpleNamespace(custom={"subject": subject, "source": "cloud"}))


class Raising:
    """A context whose every attribute raises."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


NO_SUBJECT: List[Any] = [
    None,
    object(),
    Raising(),
    {},
    SimpleNamespace(client_context=None),
    SimpleNamespace(client_context=SimpleNamespace(custom=None)),
    SimpleNamespace(client_context=SimpleNamespace(custom={})),
    SimpleNamespace(client_context=SimpleNamespace(custom=[])),
    context(None),
    context(7),
    context(b"bytes"),
    context([[]] * 1000),
]


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


def test_rejection_is_logged(records: Records) -> None:
    handler.function_handler({"reportId": 7, "statusDetails": {"ErrorCode": "Throttled"}}, context(REJECTED))
    (line,) = records.lines
    assert line.startswith("WARNING Device Defender's verdict: report 7 was rejected: Throttled: ")


@pytest.mark.parametrize("odd", NO_SUBJECT, ids=[str(number) for number in range(len(NO_SUBJECT))])
def test_message_without_a_topic_is_ignored_and_logged_once(records: Records, odd: Any) -> None:
    handler.function_handler({"reportId": 7}, odd)
    for other in [*NO_SUBJECT, context(nested(100_000)), context(10**5000)]:
        handler.function_handler({"reportId": 7}, other)
    assert records.lines == [
        "WARNING ignored a message that is not an answer to this thing's reports, on topic None; further ones are "
        "ignored without a line"
    ]


class Odd:
    """An event of a type that no core passes."""

    def __str__(self) -> str:
        raise RuntimeError("\x1b[2J")

    __repr__ = __str__


def test_ten_thousand_hostile_messages_are_a_few_lines(records: Records) -> None:
    events: List[Any] = [
        None,
        7,
        1e400,
        10**4000,
        "text",
        b"",
        b"\xff" * 5000,
        b'{"a":' * 12,
        b"\x81" * 12,
        bytearray(b"{}"),
        [],
        nested(50_000),
        {},
        {"thingName": THING, "statusDetails": nested(50_000)},
        {"thingName": nested(50_000)},
        {
            "reportId": 10**4000,
            "statusDetails": {"ErrorCode": "\x1b[31m\r\nERROR forged", "ErrorMessage": "\x9b\u2028"},
        },
        {"statusDetails": {"ErrorCode": "x" * 100_000, "ErrorMessage": nested(50_000)}},
        Odd(),
        {"reportId": Odd()},
    ]
    subjects: List[Any] = [REJECTED, TOPIC + "/accepted", TOPIC, "\x1b]0;x\x07", None, 7, nested(50_000), "x" * 100_000]
    for number in range(10_000):
        handler.function_handler(events[number % len(events)], context(subjects[number % len(subjects)]))
    assert 0 < len(records.lines) <= 1 + MAX_CHANGES_PER_HOUR
    assert all(len(line) < 1000 and all(" " <= character <= "~" for character in line) for line in records.lines)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(), values, max_size=4),
    max_leaves=15,
)


@given(
    event=json_values | st.binary(max_size=60), subject=st.sampled_from([REJECTED, TOPIC + "/accepted"]) | json_values
)
def test_no_message_raises(records: Records, event: Any, subject: Any) -> None:
    handler.function_handler(event, context(subject))


def test_message_that_breaks_the_verdicts_is_one_plain_line(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    def take(self: Verdicts, event: Any, subject: Optional[str]) -> None:
        raise ValueError("\x1b[2J\nnever" + "\u009b31m" + "x" * 10_000)

    monkeypatch.setattr(Verdicts, "take", take)
    handler.function_handler({}, None)
    (line,) = records.lines
    assert line.startswith("WARNING a message could not be read: ValueError('\\x1b[2J\\nnever")
    assert line.isascii()
    assert len(line) < 600


# --- whose network


def test_whose_network_is_named_in_words(tmp_path: Path) -> None:
    assert agent.whose_network(str(tmp_path)) == "which can't be read yet"
    assert agent.whose_network(str(tree(tmp_path / "host"))) == "the host's network"
    (tmp_path / "hidden" / "net").mkdir(parents=True)
    (tmp_path / "hidden" / "net" / "dev").write_text("")
    assert agent.whose_network(str(tmp_path / "hidden")) == "this process' own network"
    assert agent.whose_network("/proc") in (
        "the host's network, which this process shares",
        "the host's network",
        "this process' own network",
    )


# --- the import


def run(source: str, environ: Optional[Dict[str, str]] = None) -> subprocess.CompletedProcess[str]:
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **(environ or {})}
    return subprocess.run(
        [sys.executable, "-u", "-c", source],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )


def test_import_outside_a_core_starts_nothing() -> None:
    done = run(
        "import signal, sys, threading\n"
        "import connector.handler\n"
        "print(threading.active_count(), signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)\n"
        "print('greengrasssdk' in sys.modules, 'psutil' in sys.modules, 'cbor2' in sys.modules)\n"
        "print(connector.handler.function_handler({}, None))\n",
        {"AWS_IOT_THING_NAME": "a-thing"},
    )
    assert done.stdout.splitlines() == [
        "1 True",
        "False False False",
        "not on a Greengrass core (MY_FUNCTION_ARN is not set): nothing is reported",
        "None",
    ]


# A core without its runtime: the SDK's client prints its arguments. One os.write() a line: print() writes a line in
# pieces, between which another thread's may come.
ON_A_CORE = """
import json, logging, os, sys, threading, types
def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
sdk = types.ModuleType("greengrasssdk")
published = threading.Event()
class Client:
    def publish(self, topic, payload, queueFullPolicy):
        say("published", topic, queueFullPolicy, json.loads(payload)["header"]["version"])
        published.set()
sdk.client = lambda name: say("client", name) or Client()
sys.modules["greengrasssdk"] = sdk
import connector.handler
assert published.wait(200)
say("threads", sorted(thread.name for thread in threading.enumerate() if "Dummy" not in thread.name))
say("daemons", all(thread.daemon for thread in threading.enumerate() if thread.name != "MainThread"))
say("sdk logs", logging.getLogger("greengrasssdk.client").isEnabledFor(logging.ERROR))
"""


def on_a_core(**settings: str) -> Dict[str, str]:
    return {"MY_FUNCTION_ARN": ARN, "AWS_IOT_THING_NAME": "a-thing", "ProcDestinationPath": "/proc", **settings}


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("thing", ["a-thing", ""])
def test_garbage_is_collected_after_a_start_if_it_was_before(enabled: bool, thing: str) -> None:
    """Also where the start fails, as without a thing's name."""
    script = f"""
import gc
{"gc.enable()" if enabled else "gc.disable()"}
{ON_A_CORE.partition("import connector.handler")[0]}
try:
    import connector.handler
except Exception as error:
    say(type(error).__name__)
say("collects", gc.isenabled())
"""
    done = run(script, {**on_a_core(), "AWS_IOT_THING_NAME": thing})
    assert f"collects {enabled}" in done.stdout.splitlines(), done.stdout
    assert ("ConfigError" in done.stdout.splitlines()) is not bool(thing)


def test_import_on_a_core_starts_the_loop_and_returns() -> None:
    done = run(ON_A_CORE, on_a_core(MetricNames="long"))
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    info = next(line for line in lines if " INFO " in line)
    assert (
        " INFO metrics of a-thing go to $aws/things/a-thing/defender/metrics/json every 300 s, read from /proc: "
        in info
    )
    assert [line for line in lines if line != info] == [
        "client iot-data",
        "published $aws/things/a-thing/defender/metrics/json AllOrException 1.0",
        "threads ['MainThread', 'reporter', 'sigterm']",
        "daemons True",
        "sdk logs False",
    ]


def test_invalid_settings_are_warnings_of_plain_text() -> None:
    done = run(ON_A_CORE, on_a_core(MetricNames="sh\x1b[2Jort\r\nERROR forged", SampleIntervalSeconds="5"))
    assert done.returncode == 0, done.stdout
    warnings = [line.partition(" WARNING ")[2] for line in done.stdout.splitlines() if " WARNING " in line]
    assert [warning.split(" is ")[0] for warning in warnings] == ["SampleIntervalSeconds", "MetricNames"]
    assert "\x1b" not in done.stdout
    assert not any(line.startswith("ERROR") for line in done.stdout.splitlines())


def test_import_without_a_thing_name_fails_with_the_reason() -> None:
    environ = on_a_core()
    del environ["AWS_IOT_THING_NAME"]
    done = run(ON_A_CORE, environ)
    assert done.returncode == 1
    errors = [line for line in done.stdout.splitlines() if " ERROR " in line]
    assert len(errors) == 1
    assert "AWS_IOT_THING_NAME is not set: the Greengrass core sets it to the name of its thing" in errors[0]
    assert "published" not in done.stdout


def test_logging_that_a_runtime_has_set_up_is_kept() -> None:
    begin = "import logging, sys; logging.basicConfig(stream=sys.stdout, format='RUNTIME %(message)s')\n"
    done = run(begin + ON_A_CORE, on_a_core())
    assert "RUNTIME metrics of a-thing go to " in done.stdout
    assert " INFO " not in done.stdout


def test_import_by_another_thread_runs_without_a_sigterm_handler() -> None:
    source = ON_A_CORE.replace(
        "import connector.handler\n",
        "import importlib\n"
        "other = threading.Thread(target=importlib.import_module, args=('connector.handler',))\n"
        "other.start(); other.join()\n"
        "import signal; say('default', signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)\n",
    )
    done = run(source, on_a_core())
    assert done.returncode == 0, done.stdout
    assert "default True" in done.stdout
    assert "published" in done.stdout
