"""A memory limit such as a Greengrass core gives a container: a memory cgroup of version 1 or 2."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Dict, List, Optional, Tuple, Type

NEEDS = "a memory cgroup can't be made here (root is needed, and a cgroup file system that may be written)"


class Unavailable(Exception):
    """No memory cgroup can be made on this machine or by this user; the text says why."""


class MemoryGroup:
    """A memory cgroup without swap, as a context manager that removes it when the processes in it have ended.

    limit: bytes
    proc: the proc folder of the running process; a test passes another
    root: of the file system; a test passes another

    Raises Unavailable on entering.
    """

    def __init__(self, limit: int, proc: str = "/proc/self", root: str = "/") -> None:
        self._limit = limit
        self._proc = proc
        self._root = root
        self.path = ""
        self._version = 0

    def __enter__(self) -> MemoryGroup:
        parent, self._version = _parent(self._proc, self._root)
        self.path = os.path.join(parent, f"memory-limit-{os.getpid()}")
        try:
            os.mkdir(self.path)
            try:
                if self._version == 2:
                    self._write("memory.max", self._limit)
                    self._write("memory.swap.max", 0, optional=True)
                else:
                    self._write("memory.limit_in_bytes", self._limit)
                    self._write("memory.memsw.limit_in_bytes", self._limit, optional=True)
                    self._write("memory.swappiness", 0, optional=True)
                moved = subprocess.run(self.command(["/bin/sh", "-c", ":"]), stderr=subprocess.PIPE)
                if moved.returncode:
                    reason = moved.stderr.decode("utf-8", "replace").strip()
                    raise OSError("no process may be moved into it: " + reason)
            except BaseException:
                os.rmdir(self.path)
                raise
        except OSError as error:
            raise Unavailable(f"{NEEDS}: {error}") from error
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], traceback: Optional[TracebackType]
    ) -> None:
        for _ in range(3000):  # the kernel frees a process some time after its end
            try:
                os.rmdir(self.path)
                return
            except OSError:
                time.sleep(0.02)
        os.rmdir(self.path)

    def command(self, command: List[str]) -> List[str]:
        """Return a command that runs another one in the cgroup from its start."""
        return ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', os.path.join(self.path, "cgroup.procs")] + command

    def wrap(self, program: str, path: Path) -> str:
        """Write a script that runs a program in the cgroup; return its path."""
        path.write_text('#!/bin/sh\nexec {} "$@"\n'.format(" ".join(map(shlex.quote, self.command([program])))))
        path.chmod(0o755)
        return str(path)

    @property
    def peak(self) -> Optional[int]:
        """The most bytes that were charged, with file pages and kernel memory; None if the kernel does not know."""
        name = "memory.peak" if self._version == 2 else "memory.max_usage_in_bytes"
        try:
            return int(self._read(name))
        except FileNotFoundError:
            return None  # a kernel before 5.19

    @property
    def anonymous(self) -> int:
        """The bytes charged now that the kernel can't reclaim."""
        return self._counter("memory.stat", "anon" if self._version == 2 else "rss")

    @property
    def kills(self) -> int:
        """How many processes were killed at the limit."""
        return self._counter("memory.events" if self._version == 2 else "memory.oom_control", "oom_kill")

    def _counter(self, name: str, key: str) -> int:
        counters: Dict[str, str] = dict(re.findall(r"^(\S+) (\d+)$", self._read(name), re.MULTILINE))
        return int(counters[key])

    def _read(self, name: str) -> str:
        with open(os.path.join(self.path, name)) as file:
            return file.read()

    def _write(self, name: str, value: int, optional: bool = False) -> None:
        try:
            with open(os.path.join(self.path, name), "w") as file:
                file.write(str(value))
        except OSError:
            if not optional:
                raise


def _parent(proc: str, root: str) -> Tuple[str, int]:
    """Return the directory to make a memory cgroup in, and the version of cgroups that has the memory.

    Version 1: below the running process' own, so that it stays within its limit. Version 2: the nearest one above that
    delegates the memory controller, as a cgroup with processes may not.
    """
    with open(os.path.join(proc, "mountinfo")) as file:
        mounts = [line.split(" - ") for line in file.read().splitlines()]
    with open(os.path.join(proc, "cgroup")) as file:
        groups = [line.split(":", 2) for line in file.read().splitlines()]
    for before, after in mounts:
        kind, _, options = after.split(" ", 2)
        mount = os.path.join(root, before.split(" ")[4].lstrip("/"))
        if kind == "cgroup" and "memory" in options.split(","):
            for _, controllers, path in groups:
                own = os.path.join(mount, path.lstrip("/"))
                if "memory" in controllers.split(","):
                    # In a container the path may be the host's, which does not exist there.
                    return (own if os.path.isdir(own) else mount), 1
        if kind == "cgroup2":
            path = next((path for _, controllers, path in groups if not controllers), "/")
            own = os.path.join(mount, path.lstrip("/")).rstrip("/")
            while len(own) >= len(mount):
                if "memory" in _words(os.path.join(own, "cgroup.subtree_control")):
                    return own, 2
                own = os.path.dirname(own)
    raise Unavailable("no cgroup file system of this machine has the memory controller")


def _words(path: str) -> List[str]:
    try:
        with open(path) as file:
            return file.read().split()
    except OSError:
        return []
