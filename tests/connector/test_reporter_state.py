"""The loop and a StateDirectory that is damaged, another's, read-only, or used by two functions."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import List

import pytest
from support.loop import (
    DAY,
    HOUR,
    START,
    THING,
    After,
    Loop,
    Never,
    moving,
    times,
    total,
)

from connector import state
from connector.memory import Memory
from connector.publisher import ANSWER_SECONDS


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    return Loop(tmp_path)


def test_state_of_another_thing_is_ignored_with_one_warning(loop: Loop) -> None:
    moving(loop)
    loop.remember().run(10)
    loop.settings["AWS_IOT_THING_NAME"] = "gateway-8"
    loop.run(10)
    assert [taken.traffic for taken in loop.core.taken] == [None, None]
    (line,) = loop.lines
    assert line.startswith(f"WARNING StateDirectory: {loop.state}/")
    assert "belongs to the thing 'gateway-7' and was ignored" in line


def unusable(path: Path, how: str) -> None:
    if how == "torn":
        path.write_bytes(path.read_bytes()[:-9])
    elif how == "a directory":
        path.unlink()
        path.mkdir()
    elif how == "a pipe":
        path.unlink()
        os.mkfifo(str(path))
    elif how == "a link":
        path.rename(path.with_name("elsewhere"))
        path.symlink_to(path.with_name("elsewhere"))
    elif how == "too large":
        path.write_bytes(path.read_bytes() + b" " * state.MAX_FILE_BYTES)
    elif how == "of another version":
        path.write_text(json.dumps(dict(json.loads(path.read_text()), version=99)))
    elif how == "empty":
        path.write_bytes(b"")


@pytest.mark.parametrize("how", ["torn", "a directory", "a pipe", "a link", "too large", "of another version", "empty"])
def test_unusable_state_file_is_ignored_with_one_warning(loop: Loop, how: str) -> None:
    moving(loop)
    loop.remember().run(10)
    unusable(loop.state / state.FILE, how)
    loop.run(700)
    assert loop.moments == [0, 10, 310, 610]
    assert [taken.traffic is None for taken in loop.core.taken] == [True, True, False, False]
    assert len(loop.logged(f"WARNING StateDirectory: {loop.state}/{state.FILE}")) == len(loop.lines)
    # A directory in the file's place can't be replaced either: a second warning.
    assert len(loop.lines) == (2 if how == "a directory" else 1)
    if how == "a link":
        assert not (loop.state / state.FILE).is_symlink()


def test_unwritable_directory_is_one_warning(loop: Loop) -> None:
    moving(loop)
    loop.settings["StateDirectory"] = str(loop.state)
    loop.run(3001)
    assert len(loop.moments) == 11
    (line,) = loop.lines
    assert line.startswith(f"WARNING StateDirectory: {loop.state}/{state.FILE} can't be written: ")
    loop.state.mkdir()
    loop.run(1)
    assert (loop.state / state.FILE).is_file()


def test_directory_removed_and_made_again_is_one_warning_and_one_recovery(loop: Loop) -> None:
    loop.remember()
    loop.clock.at(START + 400, lambda: shutil.rmtree(str(loop.state)))
    loop.clock.at(START + 1000, loop.state.mkdir)
    loop.run(2000)
    assert len(loop.moments) == 7
    assert [line.split()[0] for line in loop.lines] == ["WARNING", "INFO"]


def test_state_is_written_once_a_report(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    save = state.save

    def count(directory: str, thing: str, boot: state.Boot, memory: Memory) -> None:
        assert thing == THING
        written.append(loop.clock.monotonic())
        save(directory, thing, boot, memory)

    monkeypatch.setattr(state, "save", count)
    loop.core.answers.extend([None, ConnectionRefusedError(), Never(), None, After(ANSWER_SECONDS + 1), None])
    loop.remember().run(HOUR)
    assert len(written) == len(loop.core.calls) + 1, "+ 1 for the late acceptance"
    assert (loop.state / state.FILE).stat().st_mode & 0o777 == 0o600
    assert os.listdir(str(loop.state)) == [state.FILE]


def test_second_function_on_one_directory_goes_on_without_it(loop: Loop) -> None:
    """And takes it over when the first has ended, as after a deployment that starts the new function too early."""
    moving(loop)
    loop.remember().run(10)
    first = state.DirectoryLock(str(loop.state))
    first.acquire()
    before = (loop.state / state.FILE).read_bytes()

    def end_of_the_first() -> None:
        assert (loop.state / state.FILE).read_bytes() == before
        first.release()

    loop.clock.at(START + 1000, end_of_the_first)
    loop.run(1500)
    assert len(loop.moments) == 6
    assert loop.core.ids == sorted(set(loop.core.ids))
    warning, info = loop.logged("StateDirectory")
    assert warning == (
        f"WARNING StateDirectory: {loop.state} is in use by another function: each needs a StateDirectory of its own"
    )
    assert info.startswith("INFO StateDirectory: recovered after ")
    assert (loop.state / state.FILE).read_bytes() != before


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, ""), OSError(errno.EIO, ""), MemoryError()])
def test_file_that_cant_be_read_for_a_moment_is_not_replaced(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    moving(loop)
    loop.remember().run(301)
    attempts: List[float] = []
    load = json.loads

    def failing(text: str) -> object:
        attempts.append(loop.clock.monotonic())
        if len(attempts) < 3:
            raise error
        return load(text)

    monkeypatch.setattr(json, "loads", failing)
    loop.run(900)
    assert total(loop.core.taken) == times(len(loop.readings) - 1)
    assert [taken.traffic is None for taken in loop.core.taken[:3]] == [True, False, False]
    assert [line.split()[0] for line in loop.logged("StateDirectory")] == ["WARNING", "INFO"]


def test_file_that_can_never_be_read_does_not_stop_reports(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    moving(loop)
    loop.remember().run(301)
    before = (loop.state / state.FILE).read_bytes()

    def failing(path: str, thing: str, boot: state.Boot) -> Memory:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(state, "_load", failing)
    loop.run(DAY)
    assert len(loop.moments) >= 288
    assert len(loop.lines) == 1
    assert (loop.state / state.FILE).read_bytes() == before
