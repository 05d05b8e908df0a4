"""The interfaces that count: their counters, which interface each is, and which carry another one's traffic."""

from __future__ import annotations

from typing import Tuple

from .dev import matching
from .edge import Interfaces
from .links import read_links
from .netlink import NetlinkUnavailable
from .proc import Proc


def read_interfaces(proc: Proc, exclude: Tuple[str, ...]) -> Interfaces:
    """Read the interfaces, without those that a shell pattern of `exclude` matches. Raises TableError.

    In this process' own network the kernel tells everything in one answer (links.py); in another one the tables are
    read (interface_tables.py).
    """
    if proc.shared:
        try:
            return read_links(matching(exclude))
        except NetlinkUnavailable:
            pass  # a sandbox without rtnetlink
    from .interface_tables import read_tables  # only here, so that it is not loaded in a shared network

    return read_tables(proc.net, exclude)
