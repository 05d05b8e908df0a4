"""A core that accepts calls and never answers them, for real: the function stays alive in a core's default 16 MB.

Time is compressed, in a copy of the connector: what takes 15 min takes 0.4 s, and while the core hangs what takes 30 s
takes 0.05 s. Weeks on a clock without waiting are in tests/connector/test_reporter_core.py.
"""

from __future__ import annotations

import importlib.util
import shutil
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Iterator, List, Tuple

import bytecode
import pytest
from bench.cgroup import MemoryGroup, Unavailable
from bench.load import Load
from bench.measure import CORE_LIMIT
from local_core import LocalCore
from support.builder import RUNNING
from support.threads import LONG, states

from connector.publisher import MAX_UNANSWERED

ROOT = Path(__file__).resolve().parents[2]
HURRY = "hurry"  # while this file is beside the connector, calls are given up early
COMPRESSED: List[Tuple[str, str, str]] = [
    # Only then: on a busy machine a core that does answer takes longer, and several calls at once cost memory.
    (
        "publisher.py",
        "until, stopping = call.started + ANSWER_SECONDS, False",
        f"until, stopping = call.started + (0.05 if __import__('os').path.exists({HURRY!r}) else 30.0), False",
    ),
    ("transports/__init__.py", "MAX_SEND_SECONDS = 900.0", "MAX_SEND_SECONDS = 0.4"),
    ("publisher.py", "return min(most, ", "return min(0.02, "),
]
NO_GUARD = ("transports/greengrass_lambda.py", "        ipc_guard.install()\n", "")
SOCKETS = 1000
OTHER_THREADS = 3  # the runtime's, the loop's, and the one that waits for SIGTERM
MAX_GROWTH_BYTES = 3 << 19  # in 100 calls, of which each would leave 50 to 150 KB if it were kept


@pytest.fixture
def limited() -> Iterator[MemoryGroup]:
    with ExitStack() as stack:
        try:
            group = stack.enter_context(MemoryGroup(CORE_LIMIT))
        except Unavailable as reason:
            pytest.skip(str(reason))
        yield group


def function(directory: Path, changes: List[Tuple[str, str, str]]) -> Path:
    """Return a directory like the unpacked zip, with some constants of the connector changed.

    With bytecode, as the zip has it: a function that compiles its sources needs nearly all of a core's 16 MB for that.
    """
    spec = importlib.util.find_spec("greengrasssdk")
    assert spec is not None, "the tests need greengrasssdk"
    for source in [ROOT / "connector", *map(Path, spec.submodule_search_locations or ())]:
        shutil.copytree(str(source), str(directory / source.name), ignore=shutil.ignore_patterns("__pycache__"))
    for name, before, after in changes:
        path = directory / "connector" / name
        text = path.read_text()
        assert text.count(before) == 1, name
        path.write_text(text.replace(before, after))
    interpreter = bytecode.find_interpreter(RUNNING)
    if interpreter is not None:  # else this Python is no release, and its zip has none
        sources = {path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*.py")}
        for name, compiled in bytecode.compile_sources(interpreter, sources).items():
            path = directory / bytecode.cached_name(name, RUNNING)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(compiled)
    return directory


def wait_for_acceptance(core: LocalCore) -> None:
    """Return at the next accepted report.

    Time is compressed for the function but not for the core: a call that is given up after 0.05 s may still arrive,
    after the report that took its place, and is then rejected for its id or for coming too soon.
    """
    for _ in range(50):
        verdict = core.wait_for_delivery(LONG).verdict
        assert verdict is not None
        if verdict.accepted:
            return
        assert verdict.code == "Throttled" or " does not follow " in verdict.reason, verdict
    raise AssertionError("50 reports were rejected, one after the other")


def waiting_threads(core: LocalCore) -> int:
    """Return how many threads of the function sleep. One whose call is over still runs for a moment, until it ends."""
    return states(core.pid).count("S")


@pytest.mark.parametrize("guarded", [True, False], ids=["the transport ends calls", "nobody ends calls"])
def test_unanswered_calls_hold_a_bounded_amount_of_memory(limited: MemoryGroup, tmp_path: Path, guarded: bool) -> None:
    with ExitStack() as stack:
        stack.enter_context(Load(SOCKETS))
        changes = COMPRESSED if guarded else [*COMPRESSED, NO_GUARD]
        directory = function(tmp_path / "function", changes)  # also the function's working directory
        core = LocalCore(directory, interval=1)
        core.interpreter = core.interpreter._replace(path=limited.wrap(core.interpreter.path, tmp_path / "python"))
        stack.enter_context(core)
        core.wait_for_delivery(LONG)
        (directory / HURRY).touch()
        core.faults.add("hang", MAX_UNANSWERED)
        assert core.faults.wait(LONG), core.function_log
        full, most = limited.anonymous, waiting_threads(core)
        if guarded:
            core.faults.add("hang", 100)
            assert core.faults.wait(LONG), core.function_log
        else:
            core.faults.add("hang", 100)
            end = time.monotonic() + 5.0
            while time.monotonic() < end:
                most = max(most, waiting_threads(core))
                time.sleep(0.1)
            assert core.faults.wait(0.0, left=100), "no call was made beyond the bound"
            assert not core.faults.wait(0.0, left=99)
            core.faults._queue.clear()
            core.faults.release()  # the core drops its connections, as at its end
        (directory / HURRY).unlink()
        most = max(most, waiting_threads(core))
        grown = limited.anonymous - full
        for _ in range(2):
            wait_for_acceptance(core)
        assert core.stop() == 0
    assert limited.kills == 0
    assert grown < MAX_GROWTH_BYTES, grown
    assert most <= OTHER_THREADS + MAX_UNANSWERED
