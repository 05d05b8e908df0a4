"""The mounted proc: where the host's network tables are, and whether this process shares that network."""

from __future__ import annotations

import os
from typing import Iterator, NamedTuple

from ..errors import TableError

# No file is read further than this: a table of 10,000 interfaces or routes is shorter, and one of all the internet's
# routes would cost seconds.
MAX_FILE = 2 << 20
BLOCK = 64 << 10


class Proc(NamedTuple):
    """A proc mount whose network tables were found.

    root: the mount point, e.g. "/host_proc".
    net: the directory of the network tables, e.g. "/host_proc/1/net".
    host: whether `net` is the network of process 1, the host's; else it is the reader's own.
    shared: whether this process is in the same network namespace.
    """

    root: str
    net: str
    host: bool
    shared: bool


def locate(root: str, own: str = "/proc") -> Proc:
    """Find the host's network tables under the proc mounted at `root`.

    `<root>/net` is a link to `self/net`, the network of whoever reads it, so process 1's is taken; where that is hidden
    (proc mounted with hidepid) the reader's own is all there is. `own` is the reader's proc: an entry of `net/` is made
    once per network namespace, so equal inode numbers mean the same namespace (proc(5), network_namespaces(7)).

    Raises TableError when neither is there.
    """
    reasons = []
    for net, host in ((os.path.join(root, "1", "net"), True), (os.path.join(root, "net"), False)):
        try:
            inode = os.stat(os.path.join(net, "dev")).st_ino
        except OSError as error:
            reasons.append(f"{net}: {error.strerror}")
            continue
        return Proc(root, net, host, inode == _inode(os.path.join(own, "self", "net", "dev")))
    raise TableError(
        "no network tables under {} ({}): is the host's /proc mounted there?".format(root, "; ".join(reasons))
    )


def read(*path: str) -> bytes:
    """Return the whole content of a small file under proc. Raises TableError."""
    return b"".join(lines(*path))


def lines(*path: str, limit: int = MAX_FILE) -> Iterator[bytes]:
    """Yield the lines of a file under proc, each with its newline, so that no table is held. Raises TableError."""
    name = os.path.join(*path)
    size = 0
    try:
        with open(name, "rb", buffering=BLOCK) as file:
            while True:
                line = file.readline(BLOCK)  # what is longer is no line of the kernel's, and comes in pieces
                if not line:
                    return
                size += len(line)
                if size > limit:
                    raise TableError(f"{name} is over {limit} bytes long")
                yield line
    except OSError as error:
        raise unreadable(name, error) from error


def unreadable(name: str, error: OSError) -> TableError:
    """Return the TableError that says why the file `name` can't be read."""
    return TableError(f"{name} can't be read: {error.strerror or error}")


def _inode(name: str) -> int:
    try:
        return os.stat(name).st_ino
    except OSError:
        return -1
