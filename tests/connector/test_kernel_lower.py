"""`net/vlan` and `net/bonding`: which interfaces carry another one's traffic, so that each byte counts once."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Dict, FrozenSet, Sequence, Tuple

import pytest

from connector.config import DEFAULT_EXCLUDE
from connector.kernel.dev import matching
from connector.kernel.lower import Lower, at_the_edge, parse_bonding, parse_vlan_config, read_lower

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


def test_the_parents_of_vlans() -> None:
    assert dict(parse_vlan_config(io.BytesIO(CONFIG))) == PARENTS


def test_a_vlan_without_a_parent_is_over_nothing() -> None:
    assert dict(parse_vlan_config(io.BytesIO(CONFIG + b"eth9.1         | 1  | \n"))) == PARENTS


def test_the_members_of_a_bond() -> None:
    assert parse_bonding(io.BytesIO(BOND)) == ("eth1", "eth0")


def test_a_kernel_without_either_module_has_nothing_above_anything(tmp_path: Path) -> None:
    assert lower_of(tmp_path, ["lo", "eth0"]) == {}


def test_the_config_decides_where_it_can_be_read(tmp_path: Path) -> None:
    """A VLAN may have any name; a bond's file is its name."""
    for name in ("eth0.10", "eth0.10.20", "uplink", "bond0.40"):
        _write(tmp_path / "vlan" / name, b"")
    _write(tmp_path / "vlan" / "config", CONFIG)
    _write(tmp_path / "bonding" / "bond0", BOND)
    below = {**{name: (parent,) for name, parent in PARENTS.items()}, "bond0": ("eth1", "eth0")}
    assert lower_of(tmp_path, ["eth0", *PARENTS]) == below


def test_what_counts_is_followed_down_and_nothing_else_is_kept(tmp_path: Path) -> None:
    """Over an excluded VLAN, and over an excluded bond; in a circle, which no kernel makes, it ends."""
    for name in PARENTS:
        _write(tmp_path / "vlan" / name, b"")
    _write(tmp_path / "vlan" / "config", CONFIG)
    _write(tmp_path / "bonding" / "bond0", BOND)
    assert lower_of(tmp_path, ["eth0", "eth0.10.20"]) == {"eth0.10.20": ("eth0.10",), "eth0.10": ("eth0",)}
    assert lower_of(tmp_path, ["bond0.40"]) == {"bond0.40": ("bond0",), "bond0": ("eth1", "eth0")}
    assert lower_of(tmp_path, ["eth0", "eth1"]) == {}
    _write(tmp_path / "vlan" / "config", CONFIG.replace(b"10  | eth0\n", b"10  | eth0.10.20\n"))
    assert lower_of(tmp_path, ["eth0.10"]) == {"eth0.10.20": ("eth0.10",), "eth0.10": ("eth0.10.20",)}


def test_without_root_the_names_tell_the_parents(tmp_path: Path) -> None:
    """`vlan/config` is readable for root alone: what `eth0.10` is over is in its name; what `uplink` is over is not."""
    for name in ("eth0.10", "eth0.10.20", "uplink", "gone.5"):
        _write(tmp_path / "vlan" / name, b"")
    (tmp_path / "vlan" / "config").mkdir()  # unreadable for root as well
    interfaces = ["eth0", "eth0.10", "eth0.10.20", "uplink"]
    assert lower_of(tmp_path, interfaces) == {"eth0.10": ("eth0",), "eth0.10.20": ("eth0.10",), "uplink": None}
    assert read_lower(str(tmp_path), ["gone.5"], interfaces.__contains__) == {"gone.5": None}


def test_a_bond_that_can_not_be_read_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "bonding" / "bond0").mkdir(parents=True)
    _write(tmp_path / "bonding" / "bond1", BOND)
    assert lower_of(tmp_path, ["bond0", "bond1"]) == {"bond1": ("eth1", "eth0")}


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
def test_what_counts_is_the_lowest_of_what_is_not_excluded(
    interfaces: str, exclude: Sequence[str], lower: Lower, edge: str
) -> None:
    is_excluded = matching(tuple(exclude))
    assert at_the_edge([name for name in interfaces.split() if not is_excluded(name)], lower) == set(edge.split())


def test_a_tower_of_interfaces_of_any_height() -> None:
    """A parser's value, however odd, costs neither the stack nor exponential time."""
    names = [f"v{number}" for number in range(3000)]
    lower: Lower = {name: tuple(names[number + 1 : number + 3]) for number, name in enumerate(names)}
    edge: FrozenSet[str] = at_the_edge([names[0], names[-1]], lower)
    assert edge == {names[-1]}


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
