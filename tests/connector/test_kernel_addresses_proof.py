"""Whose an IPv4 address is, from another network namespace: named only if the tables prove it."""

from __future__ import annotations

import io
import ipaddress
from typing import Dict, List, NamedTuple, Sequence, Tuple

import pytest
from support import proc

from connector.kernel.address_proof import parse_fib_trie, parse_route, prove_owners


class Case(NamedTuple):
    """A host: its addresses, with networks as in proc.fib_trie(), its routes as in proc.route(), the proven names."""

    addresses: List[str]
    routes: Sequence[Tuple[str, ...]]
    owners: Dict[str, str]


VPN = [("wg0", "0.0.0.0/1"), ("wg0", "128.0.0.0/1")]
CASES: Dict[str, Case] = {
    "one network": Case(["192.0.2.5/24"], [("eth0", "192.0.2.0/24")], {"192.0.2.5": "eth0"}),
    "network of four": Case(["192.0.2.1/30"], [("eth0", "192.0.2.0/30")], {"192.0.2.1": "eth0"}),
    "same route with two metrics": Case(["192.0.2.5/24"], [("eth0", "192.0.2.0/24")] * 2, {"192.0.2.5": "eth0"}),
    "neighbouring networks": Case(
        ["192.0.2.5/24", "192.0.3.5/24"],
        [("eth0", "192.0.2.0/24"), ("eth1", "192.0.3.0/24")],
        {"192.0.2.5": "eth0", "192.0.3.5": "eth1"},
    ),
    "nested networks": Case(
        ["10.0.0.1/8", "10.1.0.1/16", "10.1.2.1/24"],
        [("eth0", "10.0.0.0/8"), ("eth1", "10.1.0.0/16"), ("wlan0", "10.1.2.0/24")],
        {"10.0.0.1": "eth0", "10.1.0.1": "eth1", "10.1.2.1": "wlan0"},
    ),
    "nested networks with the same broadcast address": Case(
        ["192.0.2.5/24", "192.0.2.200/25"], [("eth0", "192.0.2.0/24"), ("eth1", "192.0.2.128/25")], {}
    ),
    "no route": Case(["192.0.2.5/24"], [], {}),
    "no network": Case(["203.0.113.1", "192.0.2.5/24"], [("eth0", "192.0.2.0/24")], {"192.0.2.5": "eth0"}),
    "link-local": Case(["169.254.7.7/16"], [("eth0", "169.254.0.0/16")], {"169.254.7.7": "eth0"}),
    "link-local route on another interface": Case(
        ["169.254.7.7/16"], [("eth0", "169.254.0.0/16"), ("wlan0", "169.254.0.0/16")], {}
    ),
    "two interfaces in the same network": Case(
        ["192.0.2.5/24", "192.0.2.6/24"], [("eth0", "192.0.2.0/24"), ("eth1", "192.0.2.0/24")], {}
    ),
    "two interfaces with the same address": Case(["192.0.2.5/24", "192.0.2.5"], [("eth0", "192.0.2.0/24")], {}),
    "address of its own in a network, such as a VIP on lo": Case(
        ["192.0.2.5/24", "192.0.2.100"], [("eth0", "192.0.2.0/24")], {}
    ),
    "address of an interface that is down": Case(["192.0.2.5/24", "192.0.2.7"], [("eth0", "192.0.2.0/24")], {}),
    "peer": Case(["198.51.100.77"], [("ppp0", "198.51.100.1/32"), ("ppp0", "0.0.0.0/0")], {}),
    "network of two": Case(["198.51.100.76/31"], [("eth0", "198.51.100.76/31")], {}),
    "route to a network without an address there": Case(["10.99.0.2"], [("wg0", "10.99.0.0/24")], {}),
    "split default routes of a VPN, whose broadcast address is the loopback's": Case(
        ["127.0.0.1/8", "10.99.0.2"], VPN, {}
    ),
    "address below a VPN's route": Case(
        ["127.0.0.1/8", "10.64.0.5/30"],
        [*VPN, ("wg0", "10.0.0.0/8"), ("wwan0", "10.64.0.4/30"), ("wwan0", "0.0.0.0/0", "10.64.0.6")],
        {"10.64.0.5": "wwan0"},
    ),
    "address below a VPN's route, without a route of its own": Case(
        ["127.0.0.1/8", "10.64.0.5/30"], [*VPN, ("wg0", "10.0.0.0/8")], {}
    ),
    "route to a host": Case(
        ["192.0.2.5/24"], [("eth0", "192.0.2.0/24"), ("tun0", "192.0.2.5/32")], {"192.0.2.5": "eth0"}
    ),
    "network replaced by a VPN's route": Case(
        ["192.0.2.5/24"], [("tun0", "192.0.2.0/24"), ("eth0", "203.0.113.9/32", "192.0.2.1")], {}
    ),
    "gateway in a smaller network": Case(
        ["10.0.0.1/8", "10.1.2.5/24"],
        [("eth0", "10.0.0.0/8"), ("eth1", "10.1.2.0/24"), ("eth1", "0.0.0.0/0", "10.1.2.1")],
        {"10.0.0.1": "eth0", "10.1.2.5": "eth1"},
    ),
    "network of the loopback's": Case(["127.0.0.1/8", "10.10.0.1"], [("wg0", "10.10.0.0/24")], {}),
    "two addresses in the smaller of two networks": Case(
        ["192.0.2.5/24", "192.0.2.40/26"], [("eth0", "192.0.2.0/24"), ("wg0", "192.0.2.0/26")], {}
    ),
}


def owners_of(case: Case, extra: bytes = b"") -> Dict[str, str]:
    table = proc.fib_trie(*case.addresses) + extra
    found = prove_owners(parse_fib_trie(io.BytesIO(table)), parse_route(io.BytesIO(proc.route(*case.routes))))
    assert None not in found.values()
    return {str(ipaddress.IPv4Address(address)): str(name) for address, name in found.items()}


@pytest.mark.parametrize("case", list(CASES.values()), ids=list(CASES))
def test_address_has_a_name_only_if_the_tables_prove_it(case: Case) -> None:
    assert owners_of(case) == case.owners


def test_network_of_the_loopback_proves_nothing_for_a_route_to_it() -> None:
    """An address with a network, added to lo: the network has a broadcast address, but no row in `route`."""
    leaves = b"     |-- 10.10.0.0\n        /24 host LOCAL\n     |-- 10.10.0.255\n        /32 link BROADCAST\n"
    case = CASES["network of the loopback's"]
    assert owners_of(case, leaves) == {}
    without_local = leaves.replace(b"     |-- 10.10.0.0\n        /24 host LOCAL\n", b"")
    assert owners_of(case, without_local) == {"10.10.0.1": "wg0"}


def test_smaller_network_is_not_believed_if_it_leaves_a_larger_one_without_an_address() -> None:
    """eth0 has 192.0.2.5/24 with the broadcast address 192.0.2.63; wg0 has a route to 192.0.2.0/26."""
    case = Case(["192.0.2.5/24"], [("eth0", "192.0.2.0/24"), ("wg0", "192.0.2.0/26")], {})
    assert owners_of(case) == {"192.0.2.5": "eth0"}
    assert owners_of(case, b"     |-- 192.0.2.63\n        /32 link BROADCAST\n") == {}
