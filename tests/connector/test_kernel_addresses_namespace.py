"""Names that the tables of a real kernel prove, beside those that its rtnetlink gives: never a wrong one."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, NamedTuple

import pytest
from support import namespace

pytestmark = pytest.mark.skipif(namespace.refusal() is not None, reason=str(namespace.refusal()))
PLANS = Path(__file__).resolve().parents[1] / "support" / "address_plans.py"


class Plan(NamedTuple):
    """Commands of ip(8), and the names that the tables then prove."""

    commands: List[str]
    proven: Dict[str, str]


HALVES = ["route add 0.0.0.0/1 dev tun0", "route add 128.0.0.0/1 dev tun0"]
NAMED: Dict[str, Plan] = {
    "a network for each interface": Plan(
        [
            "address add 192.0.2.5/24 dev eth0",
            "address add 198.51.100.5/28 dev eth1",
            "address add 10.8.0.2/24 dev tun0",
        ],
        {"192.0.2.5": "eth0", "198.51.100.5": "eth1", "10.8.0.2": "tun0"},
    ),
    "nested networks": Plan(
        ["address add 10.0.0.5/8 dev eth0", "address add 10.1.2.3/24 dev eth1"],
        {"10.0.0.5": "eth0", "10.1.2.3": "eth1"},
    ),
    "split default routes over PPP": Plan(
        ["address add 198.51.100.77 peer 198.51.100.1 dev tun1", "address add 10.99.0.2/32 dev tun0", *HALVES], {}
    ),
    "modem below a VPN's route": Plan(
        [
            "address add 10.64.0.5/30 dev wlan0",
            "route add default via 10.64.0.6",
            "route add 10.0.0.0/8 dev tun0",
            *HALVES,
        ],
        {"10.64.0.5": "wlan0"},
    ),
    "address without a route of its own below a VPN's": Plan(
        ["address add 10.64.0.5/30 dev wlan0 noprefixroute", "route add 10.0.0.0/8 dev tun0", *HALVES], {}
    ),
    "network replaced by a VPN's route": Plan(
        [
            "address add 192.0.2.5/24 dev eth0",
            "route add default via 192.0.2.1",
            "route replace 192.0.2.0/24 dev tun0",
        ],
        {},
    ),
    "VIPs on lo": Plan(
        ["address add 192.0.2.5/24 dev eth0", "address add 192.0.2.100/32 dev lo", "address add 203.0.113.9/32 dev lo"],
        {},
    ),
    "network on lo that is routed elsewhere": Plan(
        ["address add 10.10.0.1/24 dev lo", "route add 10.10.0.0/24 dev tun0"], {}
    ),
    "secondary addresses": Plan(["address add 192.0.2.5/24 dev eth0", "address add 192.0.2.6/24 brd + dev eth0"], {}),
    "two interfaces in the same network": Plan(
        ["address add 192.0.2.5/24 dev eth0", "address add 192.0.2.6/24 dev wlan0"], {}
    ),
    "the same address on two interfaces": Plan(
        ["address add 192.0.2.5/24 dev eth0", "address add 192.0.2.5/32 dev tun0"], {}
    ),
    "interface that is down in the same network": Plan(
        ["address add 192.0.2.5/24 dev eth0", "address add 192.0.2.7/24 dev down0"], {}
    ),
    "link-local route on another interface": Plan(
        ["address add 169.254.7.7/16 dev wlan0", "route append 169.254.0.0/16 dev eth0 metric 1000"], {}
    ),
    "any address of a network is local": Plan(
        ["address add 192.0.2.5/24 dev eth0", "route add local 198.51.100.0/24 dev lo"], {"192.0.2.5": "eth0"}
    ),
    "policy routing with the same network in another table": Plan(
        ["address add 192.0.2.5/24 dev eth0", "route add 192.0.2.0/24 dev eth0 table 100"], {"192.0.2.5": "eth0"}
    ),
}


def any_plan(rng: random.Random) -> List[str]:
    """Return a few addresses and routes that overlap often, without what the tables can't tell; see prove_owners()."""
    commands = []
    for _ in range(rng.randint(1, 6)):
        interface = rng.choice(["lo", "eth0", "eth1", "wlan0", "tun0", "tun1", "down0"])
        address, other = any_address(rng), any_address(rng)
        length, routed = (
            rng.choice([8, 16, 24, 24, 24, 25, 26, 30, 31]),
            rng.choice([8, 12, 23, 24, 24, 25, 30, 31, 32]),
        )
        commands += rng.choice(
            [
                [f"address add {address}/{length} dev {interface}"],
                [f"address add {address}/{length} brd + dev {interface}"],
                [f"address add {address}/32 dev {interface}"],
                [f"address add {address} peer {other} dev {interface}"],
                [f"route append {network(address, routed)} dev {interface}"],
                [f"route append default via {address} dev {interface} onlink"],
                [f"route append {half} dev {interface}" for half in ("0.0.0.0/1", "128.0.0.0/1")],
            ]
        )
    return commands


def any_address(rng: random.Random) -> str:
    return f"10.{rng.randrange(2)}.{rng.randrange(2)}.{rng.choice([1, 2, 5, 66, 130, 200, 254])}"


def network(address: str, length: int) -> str:
    number = int.from_bytes(socket.inet_aton(address), "big") >> (32 - length) << (32 - length)
    return "{}/{}".format(socket.inet_ntoa(number.to_bytes(4, "big")), length)


def seen(plans: List[List[str]], *options: str) -> List[Dict[str, Any]]:
    """Return the owners by the tables and by the kernel after each plan, in a network namespace of its own."""
    command = [*namespace.unshare(), sys.executable, str(PLANS), *options]
    done = subprocess.run(command, input=json.dumps(plans).encode(), capture_output=True, timeout=600)
    assert done.returncode == 0, done.stderr.decode()
    found: List[Dict[str, Any]] = json.loads(done.stdout.decode())
    return found


def test_tables_of_a_real_kernel_prove_these_names() -> None:
    found = seen([plan.commands for plan in NAMED.values()])
    assert dict(zip(NAMED, (owners["tables"] for owners in found))) == {
        name: plan.proven for name, plan in NAMED.items()
    }
    for plan, owners in zip(NAMED.values(), found):
        assert plan.proven.items() <= owners["kernel"].items()


def test_no_name_is_wrong_whatever_addresses_and_routes_there_are() -> None:
    rng = random.Random(20261127)
    plans = [any_plan(rng) for _ in range(300)]
    named = 0
    for plan, owners in zip(plans, seen(plans, "-force")):
        assert owners["tables"].items() <= owners["kernel"].items(), plan
        named += len(owners["tables"])
    assert named > 100
