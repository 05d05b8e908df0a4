"""`net/dev`: the counters of each network interface (proc(5))."""

from __future__ import annotations

import fnmatch
import functools
import re
from typing import Callable, Dict, Iterable, NamedTuple, Tuple

from ..errors import TableError

# Counters are kept between two looks, and in the state file: so many fit the 16 MB of a function beside all else.
MOST_INTERFACES = 1024

_U64 = 2**64


class Counters(NamedTuple):
    """What passed an interface since it was made, or what changed between two readings; bytes and packets."""

    bytes_in: int
    bytes_out: int
    packets_in: int
    packets_out: int


NOTHING = Counters(0, 0, 0, 0)


@functools.lru_cache(maxsize=8)
def matching(patterns: Tuple[str, ...]) -> Callable[[str], bool]:
    """Return what tells whether any of some shell patterns matches a name.

    Made once: on Python 3.9 and 3.10 translate() has other names for its groups each time, and `re` keeps them all.
    """
    match = re.compile("|".join(map(fnmatch.translate, patterns)) or r"(?!)").match
    return lambda name: match(name) is not None


def parse_dev(table: Iterable[bytes], exclude: Tuple[str, ...] = ()) -> Dict[str, Counters]:
    """Return the counters by interface, without those that any pattern of `exclude` matches: a host may have thousands.

    Columns are found by their names in the second line, so that a kernel may add some. Raises TableError for a header,
    a row or a number of another shape and for a last line that is cut: a sum over half the interfaces is a false one.
    Nor is there one over more than MOST_INTERFACES.
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
        name, colon, numbers = line.partition(b":")
        values = numbers.split()
        chosen = [values[place] for place in places] if len(values) == width else []
        if not (chosen and all(value.isdigit() and len(value) <= 20 for value in chosen)):
            raise TableError(f"net/dev: a row of unknown shape: {line[:160]!r}")
        interface, numbers_now = decode_name(name.strip()), Counters(*map(int, chosen))
        if max(numbers_now) >= _U64 or interface in counters:
            raise TableError(f"net/dev: a row that can't be: {line[:160]!r}")
        if not is_excluded(interface):
            counters[interface] = numbers_now
            if len(counters) > MOST_INTERFACES:
                raise TableError(
                    f"net/dev: over {MOST_INTERFACES} interfaces count: name those that are not at the device's edge "
                    "in ExcludeInterfaces"
                )
    return counters


def _whole(line: bytes) -> bytes:
    if not line.endswith(b"\n"):
        raise TableError("net/dev: cut short")
    return line[:-1]


def decode_name(name: bytes) -> str:
    """An interface's name is up to 15 bytes without white space, '/' and ':'; it stays what it is, as in os.fsdecode().

    Raises TableError for what the kernel takes for no name (dev_valid_name).
    """
    if not 0 < len(name) < 16 or b"/" in name or b":" in name:
        raise TableError(f"a name that no interface has: {name[:160]!r}")
    return name.decode("utf-8", "surrogateescape")
