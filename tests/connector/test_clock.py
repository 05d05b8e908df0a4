"""The clock: waits end on time, on wake(), and from a signal handler."""

from __future__ import annotations

import os
import signal
import stat
import threading
import time
from typing import Any, Callable, Iterator

import pytest

from connector.clock import Clock

LONG = 60.0  # seconds that no test waits for


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_new_clock_is_not_stopped() -> None:
    assert not Clock().stopped


def timed(call: Callable[[], None]) -> float:
    begun = time.monotonic()
    call()
    return time.monotonic() - begun


@pytest.mark.parametrize("seconds", [0.0, -5.0, 1e-9, 0.05])
def test_wait_lasts_as_long_as_asked(clock: Clock, seconds: float) -> None:
    assert seconds <= timed(lambda: clock.wait(seconds)) < LONG / 2


def test_times_are_the_systems(clock: Clock) -> None:
    assert abs(clock.time() - time.time()) < LONG
    assert abs(clock.monotonic() - time.clock_gettime(time.CLOCK_MONOTONIC)) < LONG


@pytest.mark.parametrize("seconds", [LONG, 86_400.0 * 365, 1e9, 1e300])
def test_wake_from_another_thread_ends_the_wait(clock: Clock, seconds: float) -> None:
    """Also a wait longer than poll(2) can count."""
    other = threading.Thread(target=clock.wake)
    other.start()
    assert timed(lambda: clock.wait(seconds)) < LONG / 2
    other.join(LONG)


def test_wakes_before_a_wait_end_that_wait_only(clock: Clock) -> None:
    clock.wake()
    clock.wake()
    assert timed(lambda: clock.wait(LONG)) < LONG / 2
    assert timed(lambda: clock.wait(0.05)) >= 0.05


def test_wakes_without_a_wait_do_not_block(clock: Clock) -> None:
    for _ in range(70_000):  # more than a pipe holds
        clock.wake()
    clock.wait(LONG)


def test_stop_ends_the_wait_and_is_kept(clock: Clock) -> None:
    clock.stop()
    assert clock.stopped
    assert timed(lambda: clock.wait(LONG)) < LONG / 2


@pytest.fixture
def _alarm() -> Iterator[None]:
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("_alarm")
def test_stop_from_a_signal_handler_ends_the_wait(clock: Clock) -> None:
    def handler(number: int, frame: Any) -> None:
        clock.stop()

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    assert timed(lambda: clock.wait(LONG)) < LONG / 2
    assert clock.stopped


@pytest.mark.usefixtures("_alarm")
def test_other_signal_does_not_end_the_wait(clock: Clock) -> None:
    signals = []
    signal.signal(signal.SIGALRM, lambda number, frame: signals.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    assert timed(lambda: clock.wait(0.1)) >= 0.1
    assert signals == [signal.SIGALRM]


def test_wait_without_its_pipe_does_not_spin(clock: Clock) -> None:
    """Somebody else in the process has closed the descriptors."""
    os.close(clock._wake_in)
    os.close(clock._wake_out)
    assert timed(lambda: clock.wait(0.05)) >= 0.05
    clock.stop()
    assert clock.stopped


def test_pipe_is_not_inherited_by_children(clock: Clock) -> None:
    for descriptor in (clock._wake_in, clock._wake_out):
        assert stat.S_ISFIFO(os.fstat(descriptor).st_mode)
        assert not os.get_inheritable(descriptor)
