"""`net/dev`: the counters of each network interface (proc(5))."""

from __future__ import annotations

import fnmatch
import functools
import re
from typing import Callable, Dict, Iterable, NamedTuple, Tuple

from ..errors import TableError

# Counters are kept from one reading to the next, and in the state file. This many fit a function of 16 MB.
MAX_INTERFACES = 1024
MAX_NAME_BYTES = 15  # IFNAMSIZ, less the final 0

_U64 = 2**64


class Counters(NamedTuple):
    """What an interface counted since it was made, or the change between two readings; bytes and packets."""

    bytes_in: int
    bytes_out: int
    packets_in: int
    packets_out: int


NOTHING = Counters(0, 0, 0, 0)


@functools.lru_cache(maxsize=8)
def matching(patterns: Tuple[str, ...]) -> Callable[[str], bool]:
    """Return a function that tells whether any of some shell patterns matches a name.

    It is cached, as on Python 3.9 and 3.10 translate() gives its groups new names each time, and `re` keeps each
    expression that it compiled.
    """
    match = re.compile("|".join(map(fnmatch.translate, patterns)) or r"(?!)").match
    return lambda name: match(name) is not None


def parse_dev(table: Iterable[bytes], exclude: Tuple[str, ...] = ()) -> Dict[str, Counters]:
    """Return the counters of each interface whose name no shell pattern of `exclude` matches, by name.

    Columns are found by their names in the second line, as a kernel may add some. An interface's name ends at the row's
    last colon: kernels before 4.18 accept names that have one.

    Raises TableError for a header, a row or a number of another shape, and for a last line that is cut, as a sum over
    some of the interfaces would be false; and for more than MAX_INTERFACES.
    """
    lines = iter(table)
    next(lines, b"")
    header = _whole(next(lines, b""))
    columns = header.split(b"|")
    if len(columns) != 3 or columns[0].strip() != b"face":
        raise TableError(f"net/dev: unknown columns {header[:120]!r}")
    receive, transmit = columns[1].split(), columns[2].split()
    try:
        places = [
            receive.index(b"bytes"),
            len(receive) + transmit.index(b"bytes"),
            receive.index(b"packets"),
            len(receive) + transmit.index(b"packets"),
        ]
    except ValueError:
        raise TableError(f"net/dev: unknown columns {header[:120]!r}") from None
    width = len(receive) + len(transmit)

    is_excluded = matching(exclude)
    counters: Dict[str, Counters] = {}
    for line in map(_whole, lines):
        name, _, numbers = line.rpartition(b":")
        values = numbers.split()
        chosen = [values[place] for place in places] if len(values) == width else []
        if not (chosen and all(value.isdigit() and len(value) <= 20 for value in chosen)):
            raise TableError(f"net/dev: a row of unknown shape: {line[:160]!r}")
        interface, now = decode_name(name.strip()), Counters(*[int(value) for value in chosen])
        if max(now) >= _U64 or interface in counters:
            raise TableError(f"net/dev: an impossible row: {line[:160]!r}")
        if not is_excluded(interface):
            counters[interface] = now
            if len(counters) > MAX_INTERFACES:
                raise too_many()
    return counters


def too_many() -> TableError:
    """Return the TableError for more than MAX_INTERFACES interfaces that are not excluded."""
    return TableError(
        f"net/dev: over {MAX_INTERFACES} interfaces count: name those whose traffic does not leave the device, or "
        "passes another one as well, in ExcludeInterfaces"
    )


def _whole(line: bytes) -> bytes:
    if not line.endswith(b"\n"):
        raise TableError("net/dev: cut short")
    return line[:-1]


def decode_name(name: bytes) -> str:
    """Return an interface's name: up to 15 bytes of any kind but white space and "/", decoded as os.fsdecode() does.

    A colon is possible before Linux 4.18. Raises TableError for what no kernel accepts (dev_valid_name).
    """
    if not 0 < len(name) <= MAX_NAME_BYTES or b"/" in name:
        raise TableError(f"not an interface's name: {name[:160]!r}")
    return name.decode("utf-8", "surrogateescape")
