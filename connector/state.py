"""Keeps the loop's memory over a restart of the function, in one small JSON file in StateDirectory, if that is set.

With it, traffic during a redeploy is reported, and a function that restarts again and again reports no more often than
the service accepts. Reporting never depends on it: if something is wrong with the file, only its content is lost.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from .errors import ConnectorError, TableError
from .kernel.counting import Earlier
from .kernel.dev import Counters
from .kernel.host import TICKS_PER_SECOND, CpuTimes
from .kernel.proc import read
from .memory import Memory
from .pending import Pending
from .traffic import Traffic

FILE = "device-defender-connector.json"
VERSION = 1
# MAX_INTERFACES of kernel/dev.py with the longest names and numbers need 320 KB; 100 events of alarms with the longest
# lists, and the criteria of five profiles, need 512 KB.
MAX_FILE_BYTES = 1 << 20

# Errors that may be gone at the next attempt: too many open files, no memory, a medium that fails for a moment.
TRANSIENT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.EAGAIN, errno.EINTR, errno.ESTALE)
# Errors that last: proc does not show this process the file.
HIDDEN = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM)


class Boot(NamedTuple):
    """One boot of the host: counters and the monotonic clock begin at zero with each.

    boot_id: str, empty where it is hidden.
    seconds: int, boot time since 1970, 0 where it is hidden.
    """

    boot_id: str
    seconds: int


class StateError(ConnectorError):
    """The state file can't be used, or only a part of it.

    memory: the part that can be used.
    is_transient: bool, whether the same call may succeed later; until then the file must not be replaced.
    """

    def __init__(self, text: str, memory: Optional[Memory] = None, is_transient: bool = False) -> None:
        super().__init__(text)
        self.memory = memory or Memory()
        self.is_transient = is_transient


class DirectoryLock:
    """Keeps two functions from replacing each other's file: flock(2) on StateDirectory itself, so no file is added.

    Held until `release` or the end of the process. On file systems without locks it does nothing.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._descriptor: Optional[int] = None
        self._is_done = False  # locked, or on a file system without locks

    def acquire(self) -> None:
        """Lock the directory unless it is locked already; also one that was removed and made again since.

        A directory that can't be opened is not locked: reading or writing the file gives the reason. Raises StateError
        where another process has the lock.
        """
        try:
            if self._is_done and self._descriptor is not None and self._is_current(self._descriptor):
                return
            self.release()  # a second descriptor of this process would conflict with the first
            self._descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            if error.errno in TRANSIENT:
                raise StateError(f"{self._directory} can't be locked: {_reason(error)}", is_transient=True) from error
            return
        import fcntl  # only here, so that a function without StateDirectory does not load it

        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.release()
            raise StateError(
                f"{self._directory} is in use by another function: each needs a StateDirectory of its own",
                is_transient=True,
            ) from error
        except OSError:  # ENOLCK, EBADF on NFS: no locks here
            pass
        self._is_done = True

    def _is_current(self, descriptor: int) -> bool:
        return os.path.samestat(os.fstat(descriptor), os.stat(self._directory))

    def release(self) -> None:
        """Unlock the directory."""
        self._is_done = False
        if self._descriptor is not None:
            try:
                os.close(self._descriptor)
            except OSError:
                pass  # it is closed all the same (close(2))
            self._descriptor = None


def read_boot(proc: str) -> Optional[Boot]:
    """Return the boot of the host whose proc is mounted at `proc`; None where it can't be read now, or is hidden.

    From sys/kernel/random/boot_id (random(4)) and the line btime of stat (proc(5)).
    """
    try:
        boot_id = _read_unless_hidden(proc, "sys", "kernel", "random", "boot_id").decode("ascii", "replace").strip()
        found = re.search(rb"^btime ([0-9]{1,15})$", _read_unless_hidden(proc, "stat"), re.MULTILINE)
    except TableError:  # an id that is missing for a moment must not look like another boot
        return None
    return Boot(boot_id, int(found.group(1)) if found else 0) if boot_id or found else None


def _read_unless_hidden(*path: str) -> bytes:
    try:
        return read(*path)
    except TableError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in HIDDEN:
            return b""
        raise


def same_boot(one: Boot, other: Boot) -> bool:
    """Compare the ids; only where both are hidden the boot times, which move when the wall clock is set."""
    if one.boot_id or other.boot_id:
        return one.boot_id == other.boot_id
    return one.seconds > 0 and abs(one.seconds - other.seconds) <= 5


def load(directory: str, thing: str, boot: Boot) -> Memory:
    """Return what an earlier run of this thing's function saved, or an empty Memory where there is no file.

    Raises StateError: transient if it can't be read now; with the report id and alarms if the file is of an earlier
    boot; without anything if it is another thing's or damaged.
    """
    path = os.path.join(directory, FILE)
    try:
        return _load(path, thing, boot)
    except FileNotFoundError:
        return Memory()
    except (OSError, MemoryError) as error:
        is_transient = isinstance(error, MemoryError) or error.errno in TRANSIENT
        raise StateError(f"{path} can't be read: {_reason(error)}", is_transient=is_transient) from error


def _load(path: str, thing: str, boot: Boot) -> Memory:
    with open(path, "rb", opener=open_file) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise StateError(f"{path} is not a regular file and was ignored")
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise StateError(f"{path} is over {MAX_FILE_BYTES} bytes long and was ignored")
    try:
        state = json.loads(content.decode("ascii"))
        if state["version"] != VERSION:
            raise ValueError(f"version {state['version']!r:.40}")
        owner = state["thing"]
        written = Boot(str(state["boot"][0]), _natural(state["boot"][1]))
        memory = _memory(state)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise StateError(f"{path} is damaged or of another version and was ignored ({error!r})") from error
    if owner != thing:
        raise StateError(f"{path} belongs to the thing {owner!r} and was ignored")
    if not same_boot(written, boot):
        raise StateError(
            f"{path} is of an earlier boot, whose last traffic is not reported",
            Memory(report_id=memory.report_id, alarms=memory.alarms),
        )
    return memory


def save(directory: str, thing: str, boot: Boot, memory: Memory) -> None:
    """Replace the file, mode 0600. Raises StateError.

    Written beside the old file, synced, then renamed: after a loss of power there is the old one or the new one, never
    a part of one, so that report ids increase over boots too.
    """
    traffic = memory.traffic
    state = {
        "version": VERSION,
        "thing": thing,
        "boot": boot,
        "report_id": memory.report_id,
        "sent": memory.sent,
        "cpu": memory.cpu,
        **_traffic_state(traffic),
    }
    if memory.alarms is not None:  # which versions without alarms ignore
        state["alarms"] = memory.alarms
    if memory.pending:  # which versions before the native component ignore
        state["pending"] = memory.pending
    path = os.path.join(directory, FILE)
    try:
        replace_file(path, state)
    except (OSError, MemoryError) as error:
        raise StateError(f"{path} can't be written: {_reason(error)}") from error


def replace_file(path: str, document: Any) -> None:
    """Write a document as JSON beside the old file, mode 0600, and put it in its place. Raises OSError, MemoryError."""
    new = path + ".new"
    try:
        os.unlink(new)  # of a process that was killed while it wrote
    except FileNotFoundError:
        pass
    with open(new, "w", encoding="ascii", opener=_open_new) as file:
        json.dump(document, file, separators=(",", ":"))
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)


def open_file(path: str, flags: int) -> int:
    """Open without following a link, and without waiting where somebody has put a pipe in the file's place."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _open_new(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_EXCL | os.O_NOFOLLOW, 0o600)


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


def _memory(state: Dict[str, Any]) -> Memory:
    alarms = state.get("alarms")
    if state["report_id"] >= 2**53:  # larger integers are not kept by every reader of JSON (RFC 8259, section 6)
        raise ValueError(f"report id {state['report_id']!r:.40}")
    return Memory(
        report_id=_natural(state["report_id"]),
        sent=None if state["sent"] is None else _number(state["sent"]),
        cpu=None if state["cpu"] is None else CpuTimes(*map(_ticks, state["cpu"])),
        traffic=_traffic(state),
        alarms=alarms if isinstance(alarms, dict) else None,
        pending=tuple(_pending(*row) for row in state.get("pending", ())),
    )


def _pending(report_id: Any, carried: Any, cpu: Any, counted: Any) -> Pending:
    return Pending(
        _natural(report_id),
        None if carried is None else Counters(*map(_natural, carried)),
        None if cpu is None else CpuTimes(*map(_natural, cpu)),
        bool(counted),
    )


def _traffic_state(traffic: Traffic) -> Dict[str, Any]:
    """Return the traffic as the file has it.

    scope, interfaces and unsent have the form of version 1.0, so that each version reads the other's files. others:
    name -> 8 numbers for each earlier reading: its counters, and what was counted since.
    """
    return {
        "scope": f"{traffic.scope} without {traffic.excluded}",
        "interfaces": traffic.counters,
        "unsent": traffic.unsent,
        "indexes": traffic.indexes,
        "last_index": traffic.last_index,
        "others": {
            name: [number for other in others for counters in other for number in counters]
            for name, others in traffic.others.items()
        },
        "gone": traffic.gone,
    }


def _traffic(state: Dict[str, Any]) -> Traffic:
    counters, unsent = state["interfaces"], state["unsent"]
    scope, without, excluded = str(state["scope"]).rpartition(" without ")
    return Traffic(
        scope=scope if without else excluded,
        excluded=excluded if without else "",
        counters=None if counters is None else {name: Counters(*map(_natural, row)) for name, row in counters.items()},
        unsent=None if unsent is None else Counters(*map(_whole, unsent)),
        indexes={name: _natural(index) for name, index in state.get("indexes", {}).items()},
        last_index=_natural(state.get("last_index", 0)),
        others={name: _others(numbers) for name, numbers in state.get("others", {}).items()},
        gone={name: _natural(index) for name, index in state.get("gone", {}).items()},
    )


def _others(numbers: List[Any]) -> Tuple[Earlier, ...]:
    pairs = [[_natural(number) for number in numbers[place : place + 8]] for place in range(0, len(numbers), 8)]
    return tuple(Earlier(Counters(*pair[:4]), Counters(*pair[4:])) for pair in pairs)


def _whole(value: Any) -> int:
    if type(value) is not int or abs(value) >= 2**80:
        raise ValueError(f"{value!r:.40} is not a whole number")
    return value


def _natural(value: Any) -> int:
    if _whole(value) < 0:
        raise ValueError(f"{value!r:.40} is below zero")
    return int(value)


def _ticks(value: Any) -> int:
    """Processor time; version 1.0 of the connector saved seconds, as floats."""
    return _natural(round(_number(value) * TICKS_PER_SECOND) if type(value) is float else value)


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value < 2**63:
        raise ValueError(f"{value!r:.40} is not a time")
    return float(value)
