"""Which interfaces carry another one's traffic, so that each byte is counted once: `net/vlan/` and `net/bonding/`.

The tables tell VLANs and bonds. They don't tell what a macvlan, ipvlan, team, bridge, VRF, tunnel or a port of a switch
(DSA) lies over: where the network is not this process' own, such interfaces are counted besides the one below them,
unless `ExcludeInterfaces` names them. links.py knows all but tunnels.
"""

from __future__ import annotations

import itertools
import os
from typing import Callable, Collection, Iterable, Iterator, Tuple

from ..errors import TableError
from .dev import decode_name
from .edge import Lower
from .proc import lines, unreadable


def read_lower(net: str, interfaces: Iterable[str], is_interface: Callable[[str], bool]) -> Lower:
    """Return the parents of those interfaces that are VLANs, the members of those that are bonds, and so on below.

    Neither directory exists if the kernel's module is not loaded. Only root may read `vlan/config`; for other users the
    directory still lists the VLANs, and a name such as `eth0.10` has the parent's name in it, if `is_interface` knows
    that. Only what lies below the given interfaces is kept, as a host may have thousands of VLANs that don't count.

    Raises TableError for any error but "not there", as a VLAN or a bond that is not known would be counted twice.
    """
    lower: Lower = {}
    wanted = set(interfaces)
    while wanted:
        found = {**_vlans(net, wanted, is_interface), **_bonds(net, wanted)}
        lower.update(found)
        wanted = {name for below in found.values() for name in below or ()} - lower.keys()
    return lower


def _vlans(net: str, wanted: Collection[str], is_interface: Callable[[str], bool]) -> Lower:
    found: Lower = {}
    for name in _names(os.path.join(net, "vlan")):
        if name in wanted and name != "config":
            parent = name.rpartition(".")[0]
            found[name] = (parent,) if is_interface(parent) else None
    if found:
        try:
            found.update(
                (name, (parent,)) for name, parent in parse_vlan_config(lines(net, "vlan", "config")) if name in wanted
            )
        except TableError as error:
            if not isinstance(error.__cause__, (FileNotFoundError, PermissionError)):
                raise
    return found


def _bonds(net: str, wanted: Collection[str]) -> Lower:
    found: Lower = {}
    for name in _names(os.path.join(net, "bonding")):
        if name in wanted:
            try:
                found[name] = parse_bonding(lines(net, "bonding", name))
            except TableError as error:
                if not isinstance(error.__cause__, FileNotFoundError):  # it was removed meanwhile
                    raise
    return found


def parse_vlan_config(table: Iterable[bytes]) -> Iterator[Tuple[str, str]]:
    """Parse `net/vlan/config`: two header lines, then rows such as `eth0.10        | 10  | eth0`, VLAN and parent."""
    for line in itertools.islice(table, 2, None):
        fields = [field.strip() for field in line.split(b"|")]
        if len(fields) == 3 and fields[0] and fields[2]:
            yield decode_name(fields[0]), decode_name(fields[2])


def parse_bonding(table: Iterable[bytes]) -> Tuple[str, ...]:
    """Parse `net/bonding/<bond>`: its members' names (kernel: Documentation/networking/bonding.rst)."""
    key = b"Slave Interface:"
    return tuple(decode_name(line[len(key) :].strip()) for line in table if line.startswith(key))


def _names(directory: str) -> Iterator[str]:
    """Yield the names in a directory; none if it is not there. Raises TableError for any other error."""
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                yield entry.name
    except FileNotFoundError:
        return
    except OSError as error:
        raise unreadable(directory, error) from error
