"""Subscriptions and faults, as the function sees them through the SDK."""

import signal
from pathlib import Path
from typing import Any, Callable

import pytest
from local_core import FUNCTION_ARN
from support.functions import DO, PUBLISHER, TABLE, Watched


def test_message_without_subscription_fails_on_v2_and_is_dropped_on_v1(run: Callable[..., Watched]) -> None:
    missing = f"No subscription exists for the source {FUNCTION_ARN} and subject other/topic"
    core = run(PUBLISHER, subscriptions=TABLE)
    expected = f"failed InvocationException Failed to invoke function due to HTTP Error 400: Bad Request: {missing}"
    assert core.do("other/topic") == expected
    assert core.deliveries == []

    core = run(PUBLISHER, subscriptions=TABLE, generation=1)
    assert core.do("other/topic") == "published"
    assert core.deliveries == []


def test_missing_subscription_is_logged(run: Callable[..., Watched]) -> None:
    core = run(PUBLISHER, subscriptions=TABLE, generation=1)
    core.send(DO, b'{"topic": "other/topic", "payload": "x"}')
    assert core.line("No subscription exists for the source ") == (
        FUNCTION_ARN + " and subject other/topic: dropped without an error, as a V1 core does"
    )


def test_topic_with_wildcards_is_refused(run: Callable[..., Watched]) -> None:
    assert "HTTP Error 400: Bad Request: 'test/#' can't be published on" in run(PUBLISHER, subscriptions=TABLE).do(
        "test/#"
    )


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("status:400", "failed InvocationException Failed to invoke function due to HTTP Error 400: Bad Request: "),
        ("status:503", "failed InvocationException Failed to invoke function due to HTTP Error 503: Service Unavail"),
        ("full", "failed InvocationException Failed to invoke function due to HTTP Error 429: Too Many Requests: "),
        ("reset", "failed ConnectionResetError "),
        ("cut", "failed BadStatusLine "),
        ("restart", ("failed ConnectionResetError ", "failed RemoteDisconnected ")),
        ("slow", "published"),
    ],
)
def test_fault_fails_one_publish_with_its_error(
    run: Callable[..., Watched], fault: str, outcome: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("local_core.server.SLOW_SECONDS", 0.1)
    core = run(PUBLISHER, subscriptions=TABLE)
    core.faults.add(fault)
    assert core.do("test/a", policy="AllOrException").startswith(outcome)
    assert [delivery.topic for delivery in core.deliveries] == (["test/a"] if outcome == "published" else [])
    assert core.do("test/b") == "published"
    assert core.deliveries[-1].topic == "test/b"


def test_full_queue_without_the_policy_drops_silently(run: Callable[..., Watched]) -> None:
    core = run(PUBLISHER, subscriptions=TABLE)
    core.faults.add("full", 2)
    assert core.do("test/a") == core.do("test/a", policy="BestEffort") == "published"
    assert core.deliveries == []


def test_closed_port_refuses_the_publish(run: Callable[..., Watched], tmp_path: Path) -> None:
    go = tmp_path / "go"
    wait = f"""
def wait():
    import os, time
    print("waiting")
    while not os.path.exists({str(go)!r}):
        time.sleep(0.01)
"""
    core = run(wait + PUBLISHER.replace("    try:", "    wait()\n    try:"), subscriptions=TABLE)
    core.send(DO, b'{"topic": "test/a", "payload": "x"}')
    assert core.function_line("waiting") == ""
    core.faults.add("refuse", 3600)
    go.touch()
    assert core.function_line("failed").startswith("InvocationException ")
    assert "Connection refused" in core.function_log
    core.faults.release()
    assert core.do("test/b") == "published"
    assert [delivery.topic for delivery in core.deliveries] == ["test/b"]


def test_publish_without_an_answer_blocks_until_the_function_is_stopped(run: Callable[..., Watched]) -> None:
    core = run(PUBLISHER, subscriptions=TABLE)
    core.faults.add("hang")
    core.send(DO, b'{"topic": "test/a", "payload": "x"}')
    assert core.faults.wait(60)
    assert core.stop() == -signal.SIGTERM
    assert core.deliveries == []


def test_function_keeps_running_when_the_core_restarts(run: Callable[..., Watched]) -> None:
    core = run(PUBLISHER, subscriptions=TABLE)
    pid, port = core.pid, core.port
    core.restart_core()
    assert core.do("test/a") == "published"
    assert (core.pid, core.port, core.exit_code) == (pid, port, None)


def test_restarted_function_is_another_process_that_gets_the_messages(run: Callable[..., Watched]) -> None:
    core = run(PUBLISHER, subscriptions=TABLE)
    first = core.pid
    assert core.restart_function() == -signal.SIGTERM
    assert core.pid != first
    assert core.do("test/a") == "published"
    assert core.function_log.count("imported") == 2
