"""Bytes to the core: what its answers, its silence and a lack of threads come to."""

from __future__ import annotations

import threading
from typing import Any, Callable, List, Optional

import pytest
from support.loop import TOPIC, FakeClock

from connector.clock import Clock
from connector.errors import PublishError
from connector.publisher import FEW, LAST_MOMENT, TIMEOUT, Publisher

NO_SUBSCRIPTION = (
    "Failed to invoke function due to HTTP Error 400: Bad Request: No subscription exists for the source arn:x"
)


class Client:
    """Does with a publish what the test says, and keeps what it got."""

    def __init__(self, do: Callable[[], None] = lambda: None) -> None:
        self.do = do
        self.got: List[Any] = []

    def publish(self, **arguments: Any) -> None:
        self.got.append(arguments)
        self.do()


def failing(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def now(call: Callable[[], None]) -> None:
    call()


class Held:
    """A `start` that keeps its calls, so that none is answered before the test does it."""

    def __init__(self) -> None:
        self.calls: List[Callable[[], None]] = []

    def __call__(self, call: Callable[[], None]) -> None:
        self.calls.append(call)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_a_report_goes_to_the_topic_with_the_policy_that_tells_of_a_full_queue(clock: FakeClock) -> None:
    client = Client()
    publisher: Publisher[str] = Publisher(client, TOPIC, clock, now)
    begun = clock.monotonic()
    publisher.publish(b"{}", "a")
    assert client.got == [{"topic": TOPIC, "payload": b"{}", "queueFullPolicy": "AllOrException"}]
    assert clock.monotonic() == begun, "nobody waits for what is done"
    assert publisher.late() == []


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "did not take the report: [Errno 111] Connection refused"),
        (Exception("HTTP Error 503: no"), "the core did not take the report: HTTP Error 503: no"),
        (Exception("HTTP Error 400: Bad Request: no topic"), "the core did not take the report: HTTP Error 400: Bad R"),
        (ValueError(), "the core did not take the report: ValueError"),
        # What the public runtime passes on of the same answer.
        (Exception("HTTP Error 400: Bad Request"), "no subscription carries the reports: add one with this function"),
        (Exception("HTTP Error 503: no subscription service"), "the core did not take the report: HTTP Error 503"),
        (SystemExit(3), "the core did not take the report: 3"),
        (
            Exception(NO_SUBSCRIPTION),
            "no subscription carries the reports: add one with this function (V2: component:<its component>) as "
            "source, " + TOPIC + " as subject and IoT Core (V2: cloud) as target; the core says: " + NO_SUBSCRIPTION,
        ),
    ],
)
def test_an_error_says_what_to_do(clock: FakeClock, error: BaseException, text: str) -> None:
    publisher: Publisher[str] = Publisher(Client(failing(error)), TOPIC, clock, now)
    with pytest.raises(PublishError) as raised:
        publisher.publish(b"{}", "a")
    assert text in str(raised.value)
    assert raised.value.__cause__ is error
    assert publisher.late() == []


def test_no_answer_is_waited_for_thirty_seconds(clock: FakeClock) -> None:
    publisher: Publisher[str] = Publisher(Client(), TOPIC, clock, Held())
    begun = clock.monotonic()
    with pytest.raises(PublishError, match="^the core did not answer in 30 s$"):
        publisher.publish(b"{}", "a")
    assert clock.monotonic() - begun == TIMEOUT


def test_wakes_for_other_reasons_do_not_shorten_the_wait(clock: FakeClock) -> None:
    held = Held()
    publisher: Publisher[str] = Publisher(Client(), TOPIC, clock, held)
    begun = clock.monotonic()
    for second in range(1, 29):
        clock.at(begun + second, clock.wake)
    clock.at(begun + 29, lambda: held.calls[0]())
    publisher.publish(b"{}", "a")
    assert clock.monotonic() == begun + 29


def give_up(publisher: Publisher[Any], carried: Any) -> None:
    with pytest.raises(PublishError, match="did not answer"):
        publisher.publish(b"{}", carried)


def test_what_was_taken_late_is_told_once(clock: FakeClock) -> None:
    held = Held()
    client = Client()
    publisher: Publisher[str] = Publisher(client, TOPIC, clock, held)
    give_up(publisher, "a")
    give_up(publisher, "b")
    give_up(publisher, "c")
    assert publisher.late() == []
    held.calls[2]()
    client.do = failing(ConnectionResetError())
    held.calls[1]()
    assert publisher.late() == ["c"]
    assert publisher.late() == []
    client.do = lambda: None
    held.calls[0]()
    assert publisher.late() == ["a"]


def test_a_core_that_hangs_gets_no_more_than_a_few_calls(clock: FakeClock) -> None:
    held = Held()
    publisher: Publisher[int] = Publisher(Client(), TOPIC, clock, held)
    for number in range(FEW):
        give_up(publisher, number)

    def is_paused() -> bool:
        with pytest.raises(PublishError, match="^the core has left [0-9]+ calls unanswered: is it running.$"):
            publisher.publish(b"{}", -1)
        return True

    for pause in (900, 1800, 3600, 7200, 14400, 14400):
        last = clock.monotonic() - TIMEOUT
        made = len(held.calls)
        assert all(is_paused() for _ in range(100))
        clock.pass_by(last + pause - 1 - clock.monotonic())
        assert is_paused()
        assert len(held.calls) == made
        clock.pass_by(1)
        give_up(publisher, made)

    # Those that are answered after all count, whenever it is, and make room.
    for call in held.calls[3:]:
        call()
    assert publisher.late() == list(range(3, FEW + 6))
    give_up(publisher, -1)
    assert is_paused()


def test_the_calls_that_a_core_forgot_hold_up_none_that_it_answers(clock: FakeClock) -> None:
    held = Held()
    publisher: Publisher[int] = Publisher(Client(), TOPIC, clock, held)
    for number in range(FEW):
        give_up(publisher, number)
    clock.pass_by(900)
    clock_start = clock.monotonic()
    for number in range(10):
        clock.at(clock_start + 1 + number, lambda: held.calls[-1]())
        publisher.publish(b"{}", number)
    assert clock.monotonic() == clock_start + 10


def test_no_thread_to_be_had_is_an_error_like_others(clock: FakeClock) -> None:
    def start(call: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    publisher: Publisher[str] = Publisher(Client(), TOPIC, clock, start)
    with pytest.raises(PublishError, match="^no thread for the call: can't start new thread$"):
        publisher.publish(b"{}", "a")


def test_a_stop_ends_the_wait_for_an_answer(clock: FakeClock) -> None:
    publisher: Publisher[str] = Publisher(Client(), TOPIC, clock, Held())
    begun = clock.monotonic()
    clock.at(begun + 2, clock.stop)
    give_up(publisher, "a")
    assert clock.monotonic() == begun + 2 + LAST_MOMENT


def test_an_answer_that_comes_just_after_the_stop_counts(clock: FakeClock) -> None:
    held = Held()
    publisher: Publisher[str] = Publisher(Client(), TOPIC, clock, held)
    begun = clock.monotonic()
    clock.at(begun + 2, clock.stop)
    clock.at(begun + 2.1, lambda: held.calls[0]())
    publisher.publish(b"{}", "a")
    assert clock.monotonic() == begun + 2.1
    assert publisher.late() == []


def test_a_stop_does_not_prolong_the_wait(clock: FakeClock) -> None:
    publisher: Publisher[str] = Publisher(Client(), TOPIC, clock, Held())
    begun = clock.monotonic()
    clock.at(begun + TIMEOUT - 0.1, clock.stop)
    give_up(publisher, "a")
    assert clock.monotonic() == begun + TIMEOUT


# --- with threads, and time


def test_on_a_real_thread_and_clock() -> None:
    client = Client()
    real = Clock()
    publisher: Publisher[str] = Publisher(client, TOPIC, real)
    for _ in range(50):
        publisher.publish(b"{}", "a")
    assert len(client.got) == 50
    assert real.monotonic() > 0


def test_a_real_call_that_hangs_is_left_behind_by_a_stop() -> None:
    clock = Clock()
    called, answer, answered = threading.Event(), threading.Event(), threading.Event()
    seen: List[Optional[threading.Thread]] = []

    def hang() -> None:
        seen.append(threading.current_thread())
        called.set()
        answer.wait(60)
        answered.set()

    publisher: Publisher[str] = Publisher(Client(hang), TOPIC, clock)

    def stop() -> None:
        assert called.wait(60)
        clock.stop()

    stopper = threading.Thread(target=stop)
    stopper.start()
    begun = clock.monotonic()
    give_up(publisher, "a")
    assert clock.monotonic() - begun < TIMEOUT / 2
    stopper.join(60)
    (thread,) = seen
    assert thread is not None
    assert thread.daemon, "the process may end without it"
    answer.set()
    assert answered.wait(60)
    thread.join(60)
    assert publisher.late() == ["a"]
