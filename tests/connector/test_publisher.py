"""The publisher: answers, late answers, no answer, no thread."""

from __future__ import annotations

import threading
from typing import Any, Callable, List

import pytest
from support.loop import TOPIC, FakeClock

from connector.clock import Clock
from connector.errors import NoSubscriptionError, PublishError
from connector.publisher import ANSWER_SECONDS, MAX_UNANSWERED, PAUSE_FROM, STOP_SECONDS, Publisher, pause_after
from connector.transports import Transport


class Double(Transport):
    """Does with a message what the test says, and keeps it."""

    peer = "the core"

    def __init__(self, do: Callable[[], None] = lambda: None) -> None:
        self.do = do
        self.got: List[Any] = []

    def send(self, topic: str, payload: bytes) -> None:
        self.got.append((topic, payload))
        self.do()


def failing(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def now(call: Callable[[], None]) -> None:
    call()


class Held:
    """A `start` that keeps its calls; the test runs them."""

    def __init__(self) -> None:
        self.calls: List[Callable[[], None]] = []

    def __call__(self, call: Callable[[], None]) -> None:
        self.calls.append(call)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_message_goes_to_its_topic(clock: FakeClock) -> None:
    double = Double()
    publisher: Publisher[str] = Publisher(double, clock, now)
    begun = clock.monotonic()
    publisher.publish(TOPIC, b"{}", "a")
    assert double.got == [(TOPIC, b"{}")]
    assert clock.monotonic() == begun, "no wait for a call that has ended"
    assert publisher.late() == []


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            ConnectionRefusedError(111, "Connection refused"),
            "accept the message: [Errno 111] Connection refused",
        ),
        (Exception("HTTP Error 503: no"), "the core did not accept the message: HTTP Error 503: no"),
        (
            Exception("HTTP Error 400: Bad Request: no topic"),
            "did not accept the message: HTTP Error 400: Bad R",
        ),
        (ValueError(), "the core did not accept the message: ValueError"),
        (SystemExit(3), "the core did not accept the message: 3"),
    ],
)
def test_error_is_one_sentence_and_keeps_its_cause(clock: FakeClock, error: BaseException, text: str) -> None:
    publisher: Publisher[str] = Publisher(Double(failing(error)), clock, now)
    with pytest.raises(PublishError) as raised:
        publisher.publish(TOPIC, b"{}", "a")
    assert text in str(raised.value)
    assert raised.value.__cause__ is error
    assert publisher.late() == []


def test_call_without_an_answer_is_given_up_after_thirty_seconds(clock: FakeClock) -> None:
    publisher: Publisher[str] = Publisher(Double(), clock, Held())
    begun = clock.monotonic()
    with pytest.raises(PublishError, match="^the core did not answer in 30 s$"):
        publisher.publish(TOPIC, b"{}", "a")
    assert clock.monotonic() - begun == ANSWER_SECONDS


def test_other_wake_ups_do_not_shorten_the_wait(clock: FakeClock) -> None:
    held = Held()
    publisher: Publisher[str] = Publisher(Double(), clock, held)
    begun = clock.monotonic()
    for second in range(1, 29):
        clock.at(begun + second, clock.wake)
    clock.at(begun + 29, lambda: held.calls[0]())
    publisher.publish(TOPIC, b"{}", "a")
    assert clock.monotonic() == begun + 29


def give_up(publisher: Publisher[Any], carried: Any) -> None:
    with pytest.raises(PublishError, match="did not answer"):
        publisher.publish(TOPIC, b"{}", carried)


def test_late_acceptance_is_returned_once(clock: FakeClock) -> None:
    held = Held()
    double = Double()
    publisher: Publisher[str] = Publisher(double, clock, held)
    give_up(publisher, "a")
    give_up(publisher, "b")
    give_up(publisher, "c")
    assert publisher.late() == []
    held.calls[2]()
    double.do = failing(ConnectionResetError())
    held.calls[1]()
    assert publisher.late() == ["c"]
    assert publisher.late() == []
    double.do = lambda: None
    held.calls[0]()
    assert publisher.late() == ["a"]


def refused_at_once(publisher: Publisher[Any], calls: int) -> None:
    with pytest.raises(PublishError, match=f"^the core has not answered {calls} calls: is it running.$"):
        publisher.publish(TOPIC, b"{}", -1)


def test_unanswered_calls_have_growing_pauses_and_a_bound(clock: FakeClock) -> None:
    held = Held()
    publisher: Publisher[int] = Publisher(Double(), clock, held)
    for number in range(PAUSE_FROM):
        give_up(publisher, number)
    for calls in range(PAUSE_FROM, MAX_UNANSWERED):
        refused_at_once(publisher, calls)
        last = clock.monotonic() - ANSWER_SECONDS
        clock.pass_by(last + pause_after(calls) - 1 - clock.monotonic())
        refused_at_once(publisher, calls)
        clock.pass_by(1)
        give_up(publisher, calls)
    assert [pause_after(calls) for calls in range(PAUSE_FROM, MAX_UNANSWERED)] == [900, 1800, 3600, 7200]
    for _ in range(60):
        clock.pass_by(86_400)
        refused_at_once(publisher, MAX_UNANSWERED)
    assert len(held.calls) == MAX_UNANSWERED

    # Calls that are answered after all count, whenever that is, and free their places.
    for call in held.calls[3:]:
        call()
    assert publisher.late() == list(range(3, MAX_UNANSWERED))
    give_up(publisher, -1)
    refused_at_once(publisher, PAUSE_FROM)


def test_calls_that_failed_late_free_their_places(clock: FakeClock) -> None:
    held = Held()
    double = Double()
    publisher: Publisher[int] = Publisher(double, clock, held)
    for number in range(PAUSE_FROM):
        give_up(publisher, number)
    double.do = failing(TimeoutError("timed out"))
    held.calls[0]()
    give_up(publisher, 4)
    assert publisher.late() == []


def test_unanswered_calls_do_not_delay_an_answered_one(clock: FakeClock) -> None:
    held = Held()
    publisher: Publisher[int] = Publisher(Double(), clock, held)
    for number in range(PAUSE_FROM):
        give_up(publisher, number)
    clock.pass_by(900)
    begun = clock.monotonic()
    for number in range(10):
        clock.at(begun + 1 + number, lambda: held.calls[-1]())
        publisher.publish(TOPIC, b"{}", number)
    assert clock.monotonic() == begun + 10


def test_thread_that_ends_without_a_result_holds_no_place(clock: FakeClock) -> None:
    """As where there is no memory for its first step: the function is dropped and nothing was called."""

    def start(call: Callable[[], None]) -> None:
        del call

    publisher: Publisher[int] = Publisher(Double(), clock, start)
    for _ in range(2 * MAX_UNANSWERED):
        with pytest.raises(PublishError, match="^the thread of the call ended early: is there enough memory.$"):
            publisher.publish(TOPIC, b"{}", 1)
    assert publisher.late() == []


@pytest.mark.parametrize("error", [MemoryError(), KeyboardInterrupt()])
def test_acceptance_is_found_when_the_wait_for_it_was_interrupted(clock: FakeClock, error: BaseException) -> None:
    held = Held()
    publisher: Publisher[str] = Publisher(Double(), clock, held)
    clock.at(clock.monotonic() + 1, failing(error))
    with pytest.raises(type(error)):
        publisher.publish(TOPIC, b"{}", "a")
    assert publisher.late() == []
    held.calls[0]()
    assert publisher.late() == ["a"]


def test_errors_of_the_transport_pass_as_they_are(clock: FakeClock) -> None:
    publisher: Publisher[str] = Publisher(Double(failing(NoSubscriptionError("add one"))), clock, now)
    with pytest.raises(NoSubscriptionError, match="^add one$"):
        publisher.publish(TOPIC, b"{}", "a")


def test_missing_thread_is_a_publish_error(clock: FakeClock) -> None:
    def start(call: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    publisher: Publisher[str] = Publisher(Double(), clock, start)
    with pytest.raises(PublishError, match="^no thread for the call: can't start new thread$"):
        publisher.publish(TOPIC, b"{}", "a")


def test_stop_ends_the_wait_for_an_answer(clock: FakeClock) -> None:
    publisher: Publisher[str] = Publisher(Double(), clock, Held())
    begun = clock.monotonic()
    clock.at(begun + 2, clock.stop)
    give_up(publisher, "a")
    assert clock.monotonic() == begun + 2 + STOP_SECONDS


def test_answer_just_after_the_stop_counts(clock: FakeClock) -> None:
    held = Held()
    publisher: Publisher[str] = Publisher(Double(), clock, held)
    begun = clock.monotonic()
    clock.at(begun + 2, clock.stop)
    clock.at(begun + 2.1, lambda: held.calls[0]())
    publisher.publish(TOPIC, b"{}", "a")
    assert clock.monotonic() == begun + 2.1
    assert publisher.late() == []


def test_stop_does_not_prolong_the_wait(clock: FakeClock) -> None:
    publisher: Publisher[str] = Publisher(Double(), clock, Held())
    begun = clock.monotonic()
    clock.at(begun + ANSWER_SECONDS - 0.1, clock.stop)
    give_up(publisher, "a")
    assert clock.monotonic() == begun + ANSWER_SECONDS


# --- with real threads and the real clock


def test_fifty_messages_with_real_threads_and_clock() -> None:
    double = Double()
    real = Clock()
    publisher: Publisher[str] = Publisher(double, real)
    for _ in range(50):
        publisher.publish(TOPIC, b"{}", "a")
    assert len(double.got) == 50
    assert real.monotonic() > 0


def test_real_call_that_hangs_does_not_delay_a_stop() -> None:
    clock = Clock()
    called, answer, answered = threading.Event(), threading.Event(), threading.Event()

    def hang() -> None:
        called.set()
        answer.wait(60)
        answered.set()

    publisher: Publisher[str] = Publisher(Double(hang), clock)

    def stop() -> None:
        assert called.wait(60)
        clock.stop()

    stopper = threading.Thread(target=stop)
    stopper.start()
    begun = clock.monotonic()
    give_up(publisher, "a")
    assert clock.monotonic() - begun < ANSWER_SECONDS / 2
    stopper.join(60)
    answer.set()
    assert answered.wait(60)
    while not publisher._unanswered[0].done:  # set just after the transport has returned
        clock.wait(1.0)
    assert publisher.late() == ["a"]
