"""The lock of StateDirectory: one function at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Iterator

import pytest
from support.descriptors import open_paths

from connector.state import DirectoryLock, StateError


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def lock(directory: Path) -> Iterator[DirectoryLock]:
    made = DirectoryLock(str(directory))
    yield made
    made.release()


def is_free(directory: Path) -> bool:
    other = DirectoryLock(str(directory))
    try:
        other.acquire()
    except StateError:
        return False
    other.release()
    return True


def test_lock_is_held_by_one_at_a_time(directory: Path, lock: DirectoryLock) -> None:
    for _ in range(2):
        lock.acquire()
        lock.acquire()
        with pytest.raises(StateError, match="is in use by another function: each needs a StateDirectory of its own"):
            DirectoryLock(str(directory)).acquire()
        lock.release()
        assert is_free(directory)
    assert list(directory.iterdir()) == [], "it is the directory that is locked"


def test_lock_ends_with_the_process(directory: Path) -> None:
    source = (
        "import sys, time; from connector.state import DirectoryLock; lock = DirectoryLock(sys.argv[1]); "
        "lock.acquire(); print('locked', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", source, str(directory)],
        cwd=str(Path(__file__).resolve().parents[2]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"locked\n"
    assert not is_free(directory)
    process.kill()
    process.communicate(timeout=300)
    assert is_free(directory)


def test_lock_follows_a_directory_that_is_made_again(directory: Path) -> None:
    path = directory / "state"
    lock = DirectoryLock(str(path))
    lock.acquire()  # nothing there to lock
    path.mkdir()
    lock.acquire()
    assert not is_free(path)
    path.rmdir()
    path.mkdir()
    assert is_free(path)
    lock.acquire()
    assert not is_free(path)
    lock.release()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EBADF])
def test_file_system_without_locks_is_used_all_the_same(
    directory: Path, lock: DirectoryLock, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", flock)
        lock.acquire()
        lock.acquire()
    assert is_free(directory)


def test_lock_keeps_one_descriptor_open(directory: Path, lock: DirectoryLock) -> None:
    for _ in range(20):
        lock.acquire()
        is_free(directory)
    assert [path for path in open_paths() if path.startswith(str(directory))] == [str(directory)]
