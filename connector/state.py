"""What outlives a restart of the function, where StateDirectory gives it a place: one small JSON file.

So that traffic during a redeploy is reported, and a function that is restarted again and again sends no more often than
the service takes. It is a help, never a condition: whatever is wrong with the file costs what was in it.
"""

from __future__ import annotations

import json
import os
import re
import stat
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from .errors import ConnectorError, TableError
from .kernel.counting import Earlier
from .kernel.dev import Counters
from .kernel.host import CpuTimes
from .kernel.proc import read
from .traffic import Traffic

FILE = "device-defender-connector.json"
VERSION = 1
LONGEST = 320 << 10  # bytes; MAX_INTERFACES with the longest names and numbers need less


class Memory(NamedTuple):
    """report_id: the last one used, 0 for none. sent: when, on the monotonic clock, the last report was taken.

    cpu: the processor times of that report. traffic: what is unsent.
    """

    report_id: int = 0
    sent: Optional[float] = None
    cpu: Optional[CpuTimes] = None
    traffic: Traffic = Traffic()


class Boot(NamedTuple):
    """Which boot of the host this is: counters and the monotonic clock begin anew with each."""

    boot_id: str
    seconds: int  # boot time since 1970, 0 where unknown


class StateError(ConnectorError):
    """The state file can't be used, or only `memory` of it."""

    def __init__(self, text: str, memory: Optional[Memory] = None) -> None:
        super().__init__(text)
        self.memory = memory or Memory()


def read_boot(proc: str) -> Optional[Boot]:
    """Return what the proc mounted at `proc` says (random(4), boot_id; proc(5), btime); None where it says neither."""
    try:
        boot_id = read(proc, "sys", "kernel", "random", "boot_id").decode("ascii", "replace").strip()
    except TableError:
        boot_id = ""
    try:
        found = re.search(rb"^btime ([0-9]{1,15})$", read(proc, "stat"), re.MULTILINE)
    except TableError:
        found = None
    return Boot(boot_id, int(found.group(1)) if found else 0) if boot_id or found else None


def same_boot(one: Boot, other: Boot) -> bool:
    """The id decides; only where it is hidden the boot time does, which moves with each step of the wall clock."""
    if one.boot_id or other.boot_id:
        return one.boot_id == other.boot_id
    return one.seconds > 0 and abs(one.seconds - other.seconds) <= 5


def load(directory: str, thing: str, boot: Boot) -> Memory:
    """Return what an earlier run of this thing's function left, or an empty Memory where there is no file.

    Raises StateError where it is another thing's or no state, and with the report id where it is of an earlier boot.
    """
    path = os.path.join(directory, FILE)
    try:
        with open(path, "rb", opener=_open) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise StateError(f"{path} is no file and was ignored")
            content = file.read(LONGEST + 1)
    except FileNotFoundError:
        return Memory()
    except OSError as error:
        raise StateError(f"{path} can't be read: {error.strerror}") from error
    if len(content) > LONGEST:
        raise StateError(f"{path} is over {LONGEST} bytes long and was ignored")
    try:
        state = json.loads(content.decode("ascii"))
        if state["version"] != VERSION:
            raise ValueError("version {}".format(state["version"]))
        owner = state["thing"]
        written = Boot(str(state["boot"][0]), _natural(state["boot"][1]))
        memory = _memory(state)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise StateError(f"{path} is damaged or of another version and was ignored ({error!r})") from error
    if owner != thing:
        raise StateError(f"{path} belongs to the thing {owner!r} and was ignored")
    if not same_boot(written, boot):
        raise StateError(
            f"{path} is of an earlier boot, whose last traffic is not reported",
            Memory(report_id=memory.report_id),
        )
    return memory


def save(directory: str, thing: str, boot: Boot, memory: Memory) -> None:
    """Replace the file at once, mode 0600. Raises StateError.

    Also where the power goes, it is the old one or the new one: report ids increase over boots.
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
    path = os.path.join(directory, FILE)
    new = path + ".new"
    try:
        try:
            os.unlink(new)
        except FileNotFoundError:
            pass
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            json.dump(state, file, separators=(",", ":"))
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    except OSError as error:
        raise StateError(f"{path} can't be written: {error.strerror}") from error


def _open(path: str, flags: int) -> int:
    """Neither follow a link nor wait for who would write into a pipe."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _memory(state: Dict[str, Any]) -> Memory:
    if state["report_id"] >= 2**53:  # past it not every reader of JSON keeps an integer (RFC 8259, 6)
        raise ValueError("report id {!r:.40}".format(state["report_id"]))
    return Memory(
        report_id=_natural(state["report_id"]),
        sent=None if state["sent"] is None else _number(state["sent"]),
        cpu=None if state["cpu"] is None else CpuTimes(*map(_number, state["cpu"])),
        traffic=_traffic(state),
    )


def _traffic_state(traffic: Traffic) -> Dict[str, Any]:
    """Return an account as the file has it; `others`: name -> 8 numbers for each reading, itself and what was counted.

    The first three are as they were before the others were added, so that each version reads the other's files.
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
        raise ValueError(f"{value!r:.40} is no whole number")
    return value


def _natural(value: Any) -> int:
    if _whole(value) < 0:
        raise ValueError(f"{value!r:.40} is below zero")
    return int(value)


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value < 2**63:
        raise ValueError(f"{value!r:.40} is no time")
    return float(value)
