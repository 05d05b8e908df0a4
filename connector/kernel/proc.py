"""The mounted proc: where the host's network tables are, whether this process shares that network, reading files."""

from __future__ import annotations

import errno
import os
from typing import Iterator, NamedTuple, Optional, Tuple

from ..errors import TableError

# Of one file. A table of 10,000 interfaces or routes is smaller; a full internet routing table would take seconds.
MAX_FILE_BYTES = 2 << 20
MAX_LINE_BYTES = 64 << 10  # a longer line, which no table has, is returned in pieces
READ_BYTES = 8192  # per read; the kernel returns a page of whole lines at most

# Any other error, such as ENOMEM, EMFILE or EIO, may pass, and says nothing about what is there.
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR)
_NOT_ALLOWED = (errno.EACCES, errno.EPERM)


class Proc(NamedTuple):
    """A proc mount whose network tables were found.

    root: the mount point, such as "/host_proc".
    net: the directory of the network tables, such as "/host_proc/1/net".
    host: whether `net` is the network of process 1, the host's; otherwise it is the reader's own.
    shared: whether this process is in that network namespace.
    """

    root: str
    net: str
    host: bool
    shared: bool


def locate(root: str, own: str = "/proc", host_seen: bool = False) -> Proc:
    """Find the host's network tables under the proc mounted at `root`.

    `<root>/net` is a link to `self/net`, the network of the process that reads it, so `<root>/1/net` is used. Only
    where that is not there or not allowed (proc mounted with hidepid), `<root>/net` is used in its place.

    own: the reader's proc. A file in `net/` has one inode per network namespace, so equal inode numbers mean that the
    reader is in the same one (proc(5), network_namespaces(7)).
    host_seen: whether an earlier reading was of the host's network. It is then never replaced by the reader's.

    Raises TableError.
    """
    host, reader = os.path.join(root, "1", "net"), os.path.join(root, "net")
    own_inode, _ = _inode(own, "self", "net")
    inode, hidden = _inode(root, "1", "net")
    if inode is not None:
        return Proc(root, host, True, inode == own_inode)
    inode, missing = _inode(root, "net")
    if inode is not None and host_seen:
        raise TableError(f"{hidden}; {reader} is not used in its place, as earlier readings were of the host's network")
    if inode is not None:
        return Proc(root, reader, False, inode == own_inode)
    raise TableError(f"no network tables under {root} ({hidden}; {missing}): is the host's /proc mounted there?")


def is_there(*path: str) -> bool:
    """Return whether a file exists. Raises TableError if that can't be told."""
    name = os.path.join(*path)
    try:
        os.lstat(name)
    except OSError as error:
        if error.errno in _NOT_THERE:
            return False
        raise unreadable(name, error) from error
    return True


def read(*path: str) -> bytes:
    """Return the content of a small file under proc. Raises TableError."""
    return b"".join(lines(*path))


def lines(*path: str, limit: int = MAX_FILE_BYTES) -> Iterator[bytes]:
    """Yield the lines of a file under proc, each with its newline, one at a time. Raises TableError.

    limit: the most bytes that the file may have.
    """
    name = os.path.join(*path)
    size = 0
    try:
        with open(name, "rb", buffering=READ_BYTES) as file:
            while True:
                line = file.readline(MAX_LINE_BYTES)
                if not line:
                    return
                size += len(line)
                if size > limit:
                    raise TableError(f"{name} is over {limit} bytes long")
                yield line
    except OSError as error:
        raise unreadable(name, error) from error


def unreadable(name: str, error: OSError) -> TableError:
    """Return the TableError for a file that can't be read."""
    return TableError(f"{name} can't be read: {error.strerror or error}")


def _inode(root: str, *path: str) -> Tuple[Optional[int], str]:
    """Return the inode number of `dev` in a directory under `root`, or None and why it is not there or not allowed.

    Raises TableError for any other error.
    """
    net = os.path.join(root, *path)
    try:
        return os.stat(os.path.join(net, "dev")).st_ino, ""
    except OSError as error:
        reason = f"{net}: {error.strerror}"
        if error.errno not in _NOT_THERE + _NOT_ALLOWED:
            raise TableError(f"no network tables under {root} ({reason})") from error
        return None, reason
