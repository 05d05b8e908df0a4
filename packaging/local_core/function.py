"""The function: its zip unpacked, and its process under a chosen interpreter."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import stat
import subprocess
import threading
import zipfile
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from .errors import LocalCoreError

MAX_UNPACKED_BYTES = 250 * 1024 * 1024  # Lambda's limit for a function
STOP_SECONDS = 10.0  # between SIGTERM and SIGKILL
NAP_SECONDS = 0.01
DRAIN_NAPS = 100  # after the end of a process, for the rest of its output


class Interpreter(NamedTuple):
    """A Python interpreter.

    path: of the executable
    version: such as (3, 11, 7)
    """

    path: str
    version: Sequence[int]


def find_interpreter(python: str) -> Interpreter:
    """Return the executable behind a name or path; a version manager's wrapper would need variables that no core sets.

    Raises LocalCoreError if there is none, or it is older than 3.7.
    """
    script = "import sys; print(*sys.version_info[:3]); print(sys.executable)"
    try:
        run = subprocess.run([python, "-c", script], capture_output=True, timeout=60)
        version, path = run.stdout.decode().splitlines()
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise LocalCoreError(f"'{python}' can't be run as a Python interpreter: {error}") from error
    found = Interpreter(path, [int(part) for part in version.split()])
    if tuple(found.version) < (3, 7):
        raise LocalCoreError(f"'{python}' is Python {version.replace(' ', '.')}; 3.7 or later is needed")
    return found


def built_for(artifact: Path) -> Optional[Tuple[int, int]]:
    """Return the Python that a zip was built for, from its name as build_zip.sh gives it; None for another name."""
    found = re.search(r"-py3([0-9]{1,2})-", artifact.name)
    return (3, int(found.group(1))) if found else None


def unpack(artifact: Path, into: Path) -> None:
    """Unpack a zip, read-only as on a core.

    Raises LocalCoreError for a file that is not a zip, and for a zip with links or with paths outside its root.
    """
    try:
        with zipfile.ZipFile(artifact) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > MAX_UNPACKED_BYTES:
                raise LocalCoreError(f"{artifact}: unpacked it has more than the 250 MB that Lambda allows")
            for entry in entries:
                mode = entry.external_attr >> 16
                parts = entry.filename.split("/")
                if entry.filename.startswith("/") or ".." in parts or "\\" in entry.filename or stat.S_ISLNK(mode):
                    raise LocalCoreError(f"{artifact}: '{entry.filename}' is a link or leaves the directory")
                path = Path(archive.extract(entry, into))
                if path.is_file():
                    path.chmod(0o555 if mode & 0o111 else 0o444)
    except FileNotFoundError:
        raise LocalCoreError(f"there is no file {artifact}") from None
    except (OSError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
        raise LocalCoreError(f"{artifact} can't be unpacked: {error}") from error
    for folder, _, _ in os.walk(into, topdown=False):
        os.chmod(folder, 0o555)


def remove(tree: Path) -> None:
    """Remove a folder that `unpack` made read-only."""
    for folder, _, _ in os.walk(tree):
        os.chmod(folder, 0o755)
    shutil.rmtree(tree)


class Function:
    """A process that runs the function, started at once.

    command: program and arguments
    environment: all of its variables
    directory: to run in
    user: name of the user to run as, if the core runs as root
    on_log: called with each line that it prints

    Raises LocalCoreError if that user can't run the interpreter.
    """

    def __init__(
        self,
        command: List[str],
        environment: Dict[str, str],
        directory: Path,
        user: Optional[str],
        on_log: Callable[[str], None],
    ) -> None:
        self._on_log = on_log
        try:
            self._process = subprocess.Popen(
                command,
                env=environment,
                cwd=str(directory),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C goes to the core only, which then stops the function
                preexec_fn=become(user) if user else None,
            )
        except (OSError, subprocess.SubprocessError) as error:
            runner = f"by user {user} " if user else ""
            raise LocalCoreError(
                f"{command[0]} can't be run {runner}({error}): choose an interpreter that this user may execute,"
                " in folders that this user may enter, such as /usr/bin/python3"
            ) from error
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def exit_code(self) -> Optional[int]:
        """None while the process runs; negative is the signal that ended it."""
        return self._process.poll()

    def stop(self) -> int:
        """End the process as a core does, SIGTERM and then SIGKILL; return its exit code."""
        # Before Python 3.9 a signal to a process that another thread has just waited for is an error.
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        return self.wait()

    def wait(self) -> int:
        """Wait for the end of the process and of its output; return its exit code."""
        code = self._process.wait()
        # Not for ever, because a grandchild could keep the pipe open. Counted in naps: if this process is held up for
        # longer, the reader has been as well, and all that was printed is still in the pipe.
        for _ in range(DRAIN_NAPS):
            if not self._reader.is_alive():
                break
            self._reader.join(NAP_SECONDS)
        return code

    def _read(self) -> None:
        output = self._process.stdout
        assert output is not None
        with output:
            for line in output:
                self._on_log(line.decode("utf-8", "replace").rstrip("\n"))


def become(user: str) -> Callable[[], None]:
    """Return what makes a new process that user's. Raises LocalCoreError if there is none, or this is not root."""
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise LocalCoreError(f"there is no user '{user}' on this machine") from None
    if os.geteuid() != 0:
        raise LocalCoreError(f"to run the function as user '{user}' the local core has to run as root")

    def drop() -> None:
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)

    return drop
