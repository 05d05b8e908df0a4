"""Which interfaces carry another one's traffic, so that each byte is counted once: `net/vlan` and `net/bonding`."""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import os
from pathlib import Path
from typing import Any, Dict, FrozenSet, Iterator, Sequence, Tuple
from unittest import mock

import pytest
from support import proc

from connector.config import DEFAULT_EXCLUDE
from connector.kernel.dev import matching
from connector.kernel.edge import Lower, at_the_edge, multiplexed
from connector.kernel.lower import parse_bonding, parse_vlan_config, read_lower

# The kernel's net/8021q/vlanproc.c prints these.
CONFIG = b"""\
VLAN Dev name\t | VLAN ID
Name-Type: VLAN_NAME_TYPE_RAW_PLUS_VID_NO_PAD
eth0.10        | 10  | eth0
eth0.10.20     | 20  | eth0.10
uplink         | 30  | eth1
bond0.40       | 40  | bond0
"""
# The example of Documentation/networking/bonding.rst, shortened.
BOND = b"""\
Ethernet Channel Bonding Driver: 2.6.1 (October 29, 2004)
Bonding Mode: load balancing (round-robin)
Currently Active Slave: eth0
MII Status: up

Slave Interface: eth1
MII Status: up
Link Failure Count: 1

Slave Interface: eth0
MII Status: up
Link Failure Count: 1
"""


PARENTS = {"eth0.10": "eth0", "eth0.10.20": "eth0.10", "uplink": "eth1", "bond0.40": "bond0"}


def test_parents_of_vlans_are_read() -> None:
    assert dict(parse_vlan_config(io.BytesIO(CONFIG))) == PARENTS


def test_vlan_without_a_parent_is_left_out() -> None:
    assert dict(parse_vlan_config(io.BytesIO(CONFIG + b"eth9.1         | 1  | \n"))) == PARENTS


def test_members_of_a_bond_are_read() -> None:
    assert parse_bonding(io.BytesIO(BOND)) == ("eth1", "eth0")


def test_kernel_without_vlan_and_bonding_modules_has_no_upper_interfaces(tmp_path: Path) -> None:
    assert lower_of(tmp_path, ["lo", "eth0"]) == {}


def test_parents_are_taken_from_vlan_config_if_it_can_be_read(tmp_path: Path) -> None:
    """A VLAN may have any name; a bond's name is that of its file."""
    for name in ("eth0.10", "eth0.10.20", "uplink", "bond0.40"):
        _write(tmp_path / "vlan" / name, b"")
    _write(tmp_path / "vlan" / "config", CONFIG)
    _write(tmp_path / "bonding" / "bond0", BOND)
    below = {**{name: (parent,) for name, parent in PARENTS.items()}, "bond0": ("eth1", "eth0")}
    assert lower_of(tmp_path, ["eth0", *PARENTS]) == below


def test_only_what_lies_below_the_given_interfaces_is_kept(tmp_path: Path) -> None:
    """Also below an excluded VLAN or bond. A circle, which no kernel makes, ends."""
    for name in PARENTS:
        _write(tmp_path / "vlan" / name, b"")
    _write(tmp_path / "vlan" / "config", CONFIG)
    _write(tmp_path / "bonding" / "bond0", BOND)
    assert lower_of(tmp_path, ["eth0", "eth0.10.20"]) == {"eth0.10.20": ("eth0.10",), "eth0.10": ("eth0",)}
    assert lower_of(tmp_path, ["bond0.40"]) == {"bond0.40": ("bond0",), "bond0": ("eth1", "eth0")}
    assert lower_of(tmp_path, ["eth0", "eth1"]) == {}
    _write(tmp_path / "vlan" / "config", CONFIG.replace(b"10  | eth0\n", b"10  | eth0.10.20\n"))
    assert lower_of(tmp_path, ["eth0.10"]) == {"eth0.10.20": ("eth0.10",), "eth0.10": ("eth0.10.20",)}


def test_without_vlan_config_the_names_tell_the_parents(tmp_path: Path) -> None:
    """Only root may read it: what `eth0.10` is over is in its name; what `uplink` is over is not."""
    for name in ("eth0.10", "eth0.10.20", "uplink", "gone.5"):
        _write(tmp_path / "vlan" / name, b"")
    interfaces = ["eth0", "eth0.10", "eth0.10.20", "uplink"]
    expected = {"eth0.10": ("eth0",), "eth0.10.20": ("eth0.10",), "uplink": None}
    assert lower_of(tmp_path, interfaces) == expected
    assert read_lower(str(tmp_path), ["gone.5"], interfaces.__contains__) == {"gone.5": None}
    _write(tmp_path / "vlan" / "config", CONFIG)
    with failing("open", tmp_path / "vlan" / "config", errno.EACCES):
        assert lower_of(tmp_path, interfaces) == expected


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.EIO, errno.ENOMEM])
@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("scandir", "vlan"),
        ("scandir", "bonding"),
        ("open", "vlan/config"),
        ("open", "bonding/bond0"),
    ],
)
def test_error_is_not_taken_for_no_vlan_or_bond(tmp_path: Path, call: str, name: str, number: int) -> None:
    """Their traffic would be counted twice: network_stats is left out and the error logged."""
    tree = proc.tree(tmp_path, dev=proc.dev({"eth0": (1, 2, 3, 4), "uplink": (1, 2, 3, 4), "bond0": (1, 2, 3, 4)}))
    net = tree / "1" / "net"
    for path, content in (("vlan/uplink", b""), ("vlan/config", CONFIG), ("bonding/bond0", BOND)):
        _write(net / path, content)
    with failing(call, net / name, number):
        snapshot = proc.look(tree, exclude=())
    assert snapshot.counters is None
    assert snapshot.problems == {
        "network_stats": f"left out of the reports: {net / name} can't be read: {os.strerror(number)}"
    }
    assert proc.look(tree, exclude=()).problems == {}


def test_bond_that_is_removed_while_it_is_read_is_left_out(tmp_path: Path) -> None:
    for name in ("bond0", "bond1"):
        _write(tmp_path / "bonding" / name, BOND)
    with failing("open", tmp_path / "bonding" / "bond0", errno.ENOENT):
        assert lower_of(tmp_path, ["bond0", "bond1"]) == {"bond1": ("eth1", "eth0")}


@contextlib.contextmanager
def failing(call: str, path: Path, number: int) -> Iterator[None]:
    """Let open() or os.scandir() of one path fail with an error of the kernel's."""
    owner: Any = {"open": builtins, "scandir": os}[call]
    real = getattr(owner, call)

    def fail(name: Any, *arguments: Any, **keywords: Any) -> Any:
        if str(name) == str(path):
            raise OSError(number, os.strerror(number), str(path))
        return real(name, *arguments, **keywords)

    with mock.patch.object(owner, call, fail):
        yield


def test_channels_of_a_modem_lie_over_it() -> None:
    names = ["eth0", "wwan0", "qmimux0", "rmnet_data1"]
    lower = multiplexed(names, ("qmimux", "rmnet"))
    assert lower == {"qmimux0": ("wwan0",), "rmnet_data1": ("wwan0",)}
    assert at_the_edge(names, lower) == {"eth0", "wwan0"}
    assert at_the_edge(["qmimux0"], multiplexed(["qmimux0"], ("qmimux",))) == {"qmimux0"}, "the modem is excluded"


def lower_of(net: Path, interfaces: Sequence[str]) -> Lower:
    return read_lower(str(net), interfaces, interfaces.__contains__)


NONE: Tuple[str, ...] = ()
DEFAULT = tuple(DEFAULT_EXCLUDE.split(","))
# What the case is about -> interfaces, patterns, what lies below what, what counts.
EDGES: Dict[str, Tuple[str, Sequence[str], Lower, str]] = {
    "no interface": ("", DEFAULT, {}, ""),
    "the defaults": (
        "lo eth0 wlan0 wwan0 usb0 veth1a docker0 br-lan virbr0 cni0 flannel.1 cali12 tap0 ifb0 dummy0 bond0",
        DEFAULT,
        {},
        "eth0 wlan0 wwan0 usb0",
    ),
    "no pattern: everything": ("lo eth0", (), {}, "lo eth0"),
    "a pattern is not a prefix": ("eth0 eth01 xeth0", ("eth0",), {}, "eth01 xeth0"),
    "shell patterns": ("eth0 eth1 eth2 wan.1 Eth0", ("eth[02]", "wan.?"), {}, "eth1 Eth0"),
    "a pattern with a regex' signs": ("a+b aab", ("a+b",), {}, "aab"),
    "a VLAN of a counted parent": ("eth0 eth0.10", NONE, {"eth0.10": ("eth0",)}, "eth0"),
    "a VLAN of an excluded parent": ("eth0 eth0.10", ("eth0",), {"eth0.10": ("eth0",)}, "eth0.10"),
    "a VLAN whose parent is elsewhere": ("eth0.10", NONE, {"eth0.10": ("eth0",)}, "eth0.10"),
    "a VLAN whose parent can't be seen": ("eth0 uplink", NONE, {"uplink": None}, "eth0"),
    "Q-in-Q": (
        "eth0 eth0.10 eth0.10.20",
        NONE,
        {"eth0.10": ("eth0",), "eth0.10.20": ("eth0.10",)},
        "eth0",
    ),
    "Q-in-Q with the middle excluded": (
        "eth0 eth0.10 eth0.10.20",
        ("eth0.10",),
        {"eth0.10": ("eth0",), "eth0.10.20": ("eth0.10",)},
        "eth0",
    ),
    "Q-in-Q with both below excluded": (
        "eth0 eth0.10 eth0.10.20",
        ("eth0", "eth0.10"),
        {"eth0.10": ("eth0",), "eth0.10.20": ("eth0.10",)},
        "eth0.10.20",
    ),
    "a VLAN over a bond's master": (
        "eth0 eth1 bond0 bond0.40",
        ("bond0",),
        {"bond0": ("eth0", "eth1"), "bond0.40": ("bond0",)},
        "eth0 eth1",
    ),
    "a bond's members excluded, its master not": ("eth0 eth1 bond0", ("eth*",), {"bond0": ("eth0", "eth1")}, "bond0"),
    "two that lie over each other": ("a b", NONE, {"a": ("b",), "b": ("a",)}, ""),
    "excluded ones in a ring": ("a b c", ("b", "c"), {"a": ("b",), "b": ("c",), "c": ("b",)}, "a"),
}


@pytest.mark.parametrize(("interfaces", "exclude", "lower", "edge"), list(EDGES.values()), ids=list(EDGES))
def test_lowest_of_the_interfaces_that_are_not_excluded_count(
    interfaces: str, exclude: Sequence[str], lower: Lower, edge: str
) -> None:
    is_excluded = matching(tuple(exclude))
    assert at_the_edge([name for name in interfaces.split() if not is_excluded(name)], lower) == set(edge.split())


def test_interfaces_over_each_other_by_the_thousand_take_linear_time() -> None:
    names = [f"v{number}" for number in range(3000)]
    lower: Lower = {name: tuple(names[number + 1 : number + 3]) for number, name in enumerate(names)}
    edge: FrozenSet[str] = at_the_edge([names[0], names[-1]], lower)
    assert edge == {names[-1]}


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
