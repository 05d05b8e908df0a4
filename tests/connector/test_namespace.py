"""The connector in a container with namespaces of its own: whose sockets and counters it reports, and what it logs."""

from __future__ import annotations

import os
from typing import Any, Dict, Iterator, List, Optional

import pytest
from local_core.service import check_report
from support import namespace as support_namespace
from support.user import public_directory

pytestmark = pytest.mark.skipif(support_namespace.refusal() is not None, reason=str(support_namespace.refusal()))
IPV6 = os.path.exists("/proc/net/if_inet6")


@pytest.fixture(scope="module")
def seen() -> Iterator[Any]:
    """A host, and what the connector reports of its mounted proc from several containers on it."""
    with public_directory() as directory:
        yield support_namespace.play("host", str(directory))


def reports_of(container: Dict[str, Any]) -> List[Dict[str, Any]]:
    """The metrics of both its reports, without the traffic."""
    metrics = []
    for report in container["reports"]:
        check_report(report)
        metrics.append({name: value for name, value in report["metrics"].items() if name != "network_stats"})
    assert ["network_stats" in report["metrics"] for report in container["reports"]] == [False, True]
    return metrics


def host(eth0: Optional[str], *others: int) -> Dict[str, Any]:
    """The metrics of the host's sockets, with other ports on its loopback.

    eth0: the name of 192.0.2.10, which is not proven by the tables, as eth1 is in the same network.
    """
    ipv6 = [{"port": 8080, "interface": "::"}] if IPV6 else []
    named = {"interface": eth0} if eth0 else {}
    tcp = [
        {"port": 22, "interface": "0.0.0.0"},
        {"port": 443, "interface": "eth2"},
        {"port": 502, **named},
        {"port": 6379, "interface": "lo"},
        *[{"port": port, "interface": "lo"} for port in others],
        *ipv6,
    ]
    udp = [{"port": 68, "interface": "0.0.0.0"}, *([{"port": 5683, "interface": "eth0"}] if IPV6 else [])]
    return {
        "tcp_connections": {
            "established_connections": {
                "connections": [
                    {"remote_addr": "127.0.0.1:40000", "local_port": 6379, "local_interface": "lo"},
                    {"remote_addr": "127.0.0.1:6379", "local_port": 40000, "local_interface": "lo"},
                ],
                "total": 2,
            }
        },
        "listening_tcp_ports": {"ports": tcp, "total": len(tcp)},
        "listening_udp_ports": {"ports": udp, "total": len(udp)},
    }


def sorted_connections(metrics: Dict[str, Any]) -> Dict[str, Any]:
    """The kernel's tables are not ordered."""
    metrics["tcp_connections"]["established_connections"]["connections"].sort(key=lambda entry: entry["local_port"])
    return metrics


OWN: Dict[str, Any] = {
    "tcp_connections": {"established_connections": {"connections": [], "total": 0}},
    "listening_tcp_ports": {"ports": [{"port": 7777, "interface": "lo"}], "total": 1},
    "listening_udp_ports": {"ports": [], "total": 0},
}


def between(before: Any, counters: Any, after: Any) -> bool:
    """Return whether each interface's counters are between two readings on the host itself."""
    return before.keys() == counters.keys() == after.keys() and all(
        low <= number <= high for name in before for low, number, high in zip(before[name], counters[name], after[name])
    )


def with_container(name: str, seen: Any) -> Dict[str, Any]:
    if name not in seen:
        pytest.skip("needs root outside of a user namespace: another user's id, or a mount with hidepid")
    found: Dict[str, Any] = seen[name]
    return found


@pytest.mark.parametrize("name", ["own network", "own network, ordinary user"])
def test_container_with_its_own_network_reports_the_hosts(seen: Any, name: str) -> None:
    """Sockets and counters come from the host's mounted /proc, none from the container; nothing is logged."""
    container = with_container(name, seen)
    assert [sorted_connections(metrics) for metrics in reports_of(container)] == [host(None)] * 2
    assert container["said"] == []
    assert between(seen["before"], container["counters"], seen["after"])
    assert set(container["counters"]) == {"lo", "eth0", "eth1", "eth2", "veth0", "veth1", "veth2"}


def test_container_in_the_hosts_network_gets_names_from_rtnetlink(seen: Any) -> None:
    """Equal inode numbers show that the network is the same."""
    container = with_container("shared network", seen)
    assert [sorted_connections(metrics) for metrics in reports_of(container)] == [host("eth0", 7777)] * 2
    assert container["said"] == []


def test_container_reports_its_own_network_if_proc_hides_the_hosts_and_logs_it_once(seen: Any) -> None:
    """With hidepid only `<proc>/net` is readable; the log says that it is not the host's network."""
    container = with_container("hidden, own network", seen)
    assert reports_of(container) == [OWN] * 2
    (sentence,) = container["said"]
    assert sentence.startswith("python -m connector: host's network: ")
    assert "/hidden_proc/1/net can't be read (is proc mounted with hidepid?): reports show the network of" in sentence
    assert set(container["counters"]) == {"lo"}


def test_container_in_the_hosts_network_reports_it_even_if_proc_hides_the_host(seen: Any) -> None:
    """The common case on a core: no network namespace of its own, so `<proc>/net` is the host's."""
    container = with_container("hidden, shared network", seen)
    assert [sorted_connections(metrics) for metrics in reports_of(container)] == [host("eth0", 7777)] * 2
    assert len(container["said"]) == 1
    assert set(container["counters"]) == set(seen["before"])
