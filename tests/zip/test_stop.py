"""SIGTERM at any moment ends the function within 2 s, with exit code 0 and no traceback."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import IO, Callable, Iterator, List, Optional

import pytest
from local_core import FunctionError, LocalCore
from support import core as support_core
from support.core import ROOT, FunctionCore, patient
from support.proc import tree
from support.threads import LONG, own_seconds_until
from support.user import public_directory

PROMISE = 2.0  # seconds


def wait_until(ready: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + LONG
    while not ready():
        assert time.monotonic() < end, what
        time.sleep(0.002)


# --- the function, under the local core


@pytest.fixture
def directory() -> Iterator[Path]:
    with public_directory() as path:
        yield path


def stopped(core: LocalCore) -> None:
    """Stop the function; see that it ends as promised."""
    codes: List[Optional[int]] = []
    stopper = threading.Thread(target=lambda: codes.append(core.stop()))
    stopper.start()
    took = own_seconds_until(lambda: not stopper.is_alive(), core.pid)
    assert codes == [0], core.function_log
    assert took < PROMISE
    assert "Traceback" not in core.function_log
    assert "ERROR" not in core.function_log


def test_stop_during_the_wait_for_the_next_report(directory: Path) -> None:
    with FunctionCore(directory, interval=300) as core:
        core.wait_for_delivery()
        stopped(core)
    assert "WARNING" not in core.function_log


def test_stop_during_an_unanswered_call_saves_the_state(directory: Path) -> None:
    """The traffic of the report on its way is in StateDirectory for the next start."""
    state = directory / "state"
    state.mkdir()
    state.chmod(0o777)
    artifact = patient(directory / "function")
    core = FunctionCore(directory, artifact=artifact, interval=300, environment={"StateDirectory": str(state)})
    core.faults.add("hang")
    with core:
        assert core.faults.wait(LONG)
        stopped(core)
    assert "WARNING" not in core.function_log, "a stop is not a failure"
    assert [file.name for file in state.iterdir()] == ["device-defender-connector.json"]


def test_stop_while_the_core_does_not_listen(directory: Path) -> None:
    with FunctionCore(directory) as core:
        core.wait_for_delivery()
        core.faults.add("refuse", 3600)
        wait_until(lambda: "WARNING connector: publishing: " in core.function_log, "no failure is logged")
        stopped(core)


def test_stop_while_verdicts_arrive(directory: Path) -> None:
    with FunctionCore(directory) as core:
        core.wait_for_delivery()
        for _ in range(200):
            core.send("$aws/things/local-core/defender/metrics/json/rejected", b'{"reportId": 1}')
        wait_until(lambda: "was rejected" in core.function_log, "no verdict is logged")
        stopped(core)


@pytest.mark.skipif(support_core.refusal() is not None, reason=str(support_core.refusal()))
def test_stop_during_the_reading_of_a_table_that_never_ends(directory: Path) -> None:
    """A pipe in the table's place: opening it blocks, as with a hanging driver."""
    proc = tree(directory / "proc")
    table = proc / "1" / "net" / "tcp"
    table.unlink()
    os.mkfifo(str(table))
    table.chmod(0o644)
    with FunctionCore(directory, tree=proc) as core:
        end = held_open(table)
        try:
            stopped(core)
        finally:
            os.close(end)
    assert core.deliveries == []


def held_open(pipe: Path) -> int:
    """Wait until somebody opens the pipe for reading; return a descriptor of its writing end."""
    opened: List[int] = []

    def try_it() -> bool:
        try:
            opened.append(os.open(str(pipe), os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        return bool(opened)

    wait_until(try_it, "the table is not read")
    return opened[0]


def catches_sigterm(pid: int) -> bool:
    """Return whether the process has a handler for SIGTERM (proc(5), SigCgt)."""
    try:
        status = Path("/proc", str(pid), "status").read_text()
    except OSError:
        return False
    caught = next((int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt:")), 0)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


ALL_IMPORTS = {"CustomMetrics": "cpu_usage", "ReportFormat": "cbor"}


@pytest.mark.parametrize("later", [0.0, 0.001, 0.004, 0.01, 0.03, 0.1])
def test_stop_during_the_start(directory: Path, later: float) -> None:
    """From the moment that the function's code runs; before that SIGTERM ends the bare interpreter."""
    core = FunctionCore(directory, environment=ALL_IMPORTS, encoding_type="binary")
    outcome: List[Optional[FunctionError]] = []

    def start() -> None:
        try:
            core.start()
            outcome.append(None)
        except FunctionError as error:
            outcome.append(error)

    starter = threading.Thread(target=start)
    starter.start()
    try:
        wait_until(lambda: is_started(core), "the function is not started")
        wait_until(lambda: catches_sigterm(core.pid) or bool(outcome), "SIGTERM is not caught")
        time.sleep(later)
        os.kill(core.pid, signal.SIGTERM)
        assert own_seconds_until(lambda: core.exit_code is not None, core.pid) < PROMISE
        starter.join(LONG)
    finally:
        core.stop()
    assert core.exit_code == 0, core.function_log
    assert "Traceback" not in core.function_log
    assert outcome, "the core still waits for a function that has ended"


def is_started(core: FunctionCore) -> bool:
    try:
        return core.pid > 0
    except AssertionError:
        return False


# --- the signal handler alone, whatever a runtime does

Scene = Callable[..., "subprocess.Popen[bytes]"]

FRAME = """
import logging, os, signal, sys, threading, time
sys.path.insert(0, {root!r})
from connector import sigterm
from connector.sigterm import end_on_sigterm
stopped = []
def ends(seconds):
    while not stopped:
        time.sleep(0.01)
    time.sleep(seconds)
    os.write(1, b"the loop has ended")
loop = threading.Thread(target=lambda: {loop}, daemon=True)
{before}
assert end_on_sigterm(lambda: stopped.append(1), loop)
loop.start()
logging.basicConfig(stream=sys.stdout)
print("ready", flush=True)
{busy}
"""

BUSY = {
    "computes": "while True: pass",
    "waits for a lock": "lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "waits for a thread": "loop2 = threading.Thread(target=time.sleep, args=(1e6,)); loop2.start(); loop2.join()",
    "reads": "os.read(os.pipe()[0], 1)",
    "sleeps": "time.sleep(1e6)",
    "logs into a pipe that nobody reads": "while True: logging.error('x' * 5000)",
    "writes into a pipe that nobody reads": "while True: sys.stdout.write('x' * 5000)",
    "holds the lock of the log": "logging.getLogger().handlers[0].acquire(); time.sleep(1e6)",
    "starts threads": "while True: threading.Thread(target=int).start()",
    "ignores what is raised": """
while True:
    try:
        time.sleep(0.001)
    except BaseException:
        pass
""",
}


@pytest.fixture
def scene() -> Iterator[Scene]:
    """Return what starts a process that installs the handler and is then busy."""
    processes: List[subprocess.Popen[bytes]] = []

    def start(busy: str, loop: str = "None", before: str = "") -> subprocess.Popen[bytes]:
        source = FRAME.format(root=str(ROOT), loop=loop, before=before, busy=busy)
        process = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def end(process: subprocess.Popen[bytes]) -> float:
    """Send SIGTERM; return how long the process took, without what held it up."""
    process.terminate()
    return own_seconds_until(lambda: process.poll() is not None, process.pid)


def complaints(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stderr is not None
    return process.stderr.read()


@pytest.mark.parametrize("busy", BUSY)
def test_process_ends_whatever_the_main_thread_does(scene: Scene, busy: str) -> None:
    process = scene(BUSY[busy])
    if "nobody reads" in busy:
        output = process.stdout
        assert output is not None
        counts = [0]

        def no_more_comes() -> bool:
            counts.append(unread(output))
            return counts[-1] > 0 and len(set(counts[-25:])) == 1 < len(counts) - 24

        wait_until(no_more_comes, "the pipe is not full")
    took = end(process)
    assert process.returncode == 0
    assert took < PROMISE
    assert complaints(process) == b""


def unread(pipe: IO[bytes]) -> int:
    count = bytearray(4)
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return int.from_bytes(count, sys.byteorder)


def test_idle_function_ends_at_once(scene: Scene) -> None:
    """No wait for a loop that has ended. The fastest of five, as the machine may be busy."""
    assert min(end(scene("time.sleep(1e6)")) for _ in range(5)) < 0.8


def test_loop_is_waited_for(scene: Scene) -> None:
    """With an hour for it instead of 1.5 s, which a busy machine may take from it."""
    process = scene("time.sleep(1e6)", loop="ends(0.5)", before="sigterm.MAX_STOP_SECONDS = 3600.0")
    assert end(process) < PROMISE
    assert process.returncode == 0
    assert process.stdout is not None
    assert process.stdout.read() == b"the loop has ended"


def test_loop_has_one_and_a_half_seconds_to_end(scene: Scene) -> None:
    process = scene("time.sleep(1e6)", loop="time.sleep(1e6)")
    begun = time.monotonic()
    assert end(process) < PROMISE
    assert time.monotonic() - begun > 1.4
    assert process.returncode == 0


def test_second_signal_changes_nothing(scene: Scene) -> None:
    process = scene("time.sleep(1e6)", loop="ends(0.3)")
    process.terminate()
    assert end(process) < PROMISE
    assert process.returncode == 0
    assert complaints(process) == b""


def test_handler_of_the_runtime_decides_about_the_end(scene: Scene) -> None:
    process = scene(
        "time.sleep(1e6)", before="signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(40 + len(stopped)))"
    )
    end(process)
    assert process.returncode in (40, 41)


def test_signal_is_seen_after_the_runtime_has_replaced_the_wake_up_descriptor(scene: Scene) -> None:
    """As asyncio does for an event loop with signal handlers."""
    process = scene("signal.set_wakeup_fd(-1)\nwhile True: time.sleep(1e6)")
    assert end(process) < PROMISE
    assert process.returncode == 0
    assert complaints(process) == b""


def test_other_signals_do_not_end_the_process(scene: Scene) -> None:
    process = scene("time.sleep(1e6)", before="signal.signal(signal.SIGUSR1, lambda number, frame: None)")
    for _ in range(100):
        process.send_signal(signal.SIGUSR1)
    assert process.poll() is None
    end(process)
    assert process.returncode == 0


def test_other_thread_than_the_main_one_gets_false() -> None:
    from connector.sigterm import end_on_sigterm

    before = signal.getsignal(signal.SIGTERM)
    returned: List[bool] = []
    other = threading.Thread(target=lambda: returned.append(end_on_sigterm(lambda: None, threading.Thread())))
    other.start()
    other.join(LONG)
    assert returned == [False]
    assert signal.getsignal(signal.SIGTERM) is before
