"""The longest reports there are, for what they take on the wire."""

from __future__ import annotations

from connector.kernel.dev import Counters
from connector.kernel.host import METRICS, CpuTimes
from connector.report import Report, build
from connector.snapshot import Connection, Connections, Port, Ports, Snapshot

LONGEST = bytes.fromhex("20011db8123456789abcdef012345678")  # an address of 39 characters
GREATEST = 2**64 - 1


def full_report(size: int, interface: str, short_names: bool, custom: bool = True) -> Report:
    """Return a report of full lists: the longest addresses and ports, the greatest numbers.

    size: of each list. custom: with every custom metric, too.
    """
    ports = range(65535, 65535 - size, -1)
    listening = Ports(65535, [Port(port, interface) for port in ports])
    snapshot = Snapshot(
        established=Connections(GREATEST, [Connection(LONGEST, port, port, interface) for port in ports]),
        listening_tcp=listening,
        listening_udp=listening,
        custom=dict.fromkeys(METRICS, -1e-300 / 3) if custom else {},
        cpu=CpuTimes(2, 4) if custom else None,
    )
    report = build(snapshot, GREATEST, Counters(*[GREATEST] * 4), CpuTimes(1, 1), short_names)
    assert report is not None
    return report
