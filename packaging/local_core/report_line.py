"""One line for a report: verdict, size, totals, rates, and what has changed since the one before."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Set

from .service import Delivery, MalformedReport, check_report

MAX_NAMED = 3  # of what has come or gone; the rest is counted
PREFIXES = ("", "k", "M", "G", "T")


class Seen(NamedTuple):
    """What is kept of a report to compare the next one with.

    time: its id, epoch seconds. items: ports and addresses at the other end, as the line names them
    """

    time: int
    items: Set[str]


class ReportLines:
    """Makes the lines of one device's reports, in the order of their calls."""

    def __init__(self) -> None:
        self._last: Optional[Seen] = None

    def line(self, delivery: Delivery) -> str:
        """Return the line of a delivery."""
        verdict = delivery.verdict
        outcome = "no verdict" if verdict is None else "ACCEPTED" if verdict.accepted else f"REJECTED {verdict.code}"
        parts = [f"{outcome} {len(delivery.payload)} B"]
        if verdict is None:
            parts.append(f"on {delivery.topic}")
        elif verdict.accepted:
            parts += self._parts(delivery.report)
        else:
            parts.append(verdict.reason)
        return "  ".join(part for part in parts if part)

    def _parts(self, sent: Any) -> List[str]:
        try:
            report = check_report(sent)
        except MalformedReport as error:  # accepted, so it can't be; a line is no reason to end
            return [str(error)]
        metrics = report.get("metrics", {})
        time = int(report["header"]["report_id"])
        seen = Seen(time, _items(metrics))
        last, self._last = self._last, seen
        return [
            ", ".join(_totals(metrics)),
            _rates(metrics.get("network_stats"), time - last.time) if last else "",
            ", ".join(_custom(report.get("custom_metrics", {}))),
            _changes(last.items, seen.items) if last else "",
        ]


def _totals(metrics: Dict[str, Any]) -> List[str]:
    found = []
    established = metrics.get("tcp_connections", {}).get("established_connections")
    if established:
        found.append(_counted(established["total"], "connection"))
    for protocol in ("tcp", "udp"):
        block = metrics.get(f"listening_{protocol}_ports")
        if block:
            found.append(_counted(block["total"], f"{protocol.upper()} port"))
    return found


def _rates(stats: Optional[Dict[str, Any]], seconds: int) -> str:
    if not stats or seconds <= 0:
        return ""
    ways = [
        f"{way} {_scaled(stats[f'bytes_{way}'] / seconds)}B/s {_scaled(stats[f'packets_{way}'] / seconds)}packets/s"
        for way in ("in", "out")
    ]
    return ", ".join(ways)


def _custom(metrics: Dict[str, Any]) -> List[str]:
    return [f"{name} {values[0]['number']:.6g}" for name, values in metrics.items() if "number" in values[0]]


def _items(metrics: Dict[str, Any]) -> Set[str]:
    found = set()
    for protocol in ("tcp", "udp"):
        for entry in metrics.get(f"listening_{protocol}_ports", {}).get("ports", ()):
            found.add(f"{protocol} {entry['port']}")
    established = metrics.get("tcp_connections", {}).get("established_connections", {})
    for entry in established.get("connections", ()):
        found.add(entry["remote_addr"].rpartition(":")[0].strip("[]"))  # its port is often a client's own
    return found


def _changes(before: Set[str], now: Set[str]) -> str:
    """Return what has come and gone, such as `+tcp 8080 -udp 53`."""
    parts = []
    for sign, items in (("+", now - before), ("-", before - now)):
        ordered = sorted(items)
        parts += [sign + item for item in ordered[:MAX_NAMED]]
        if len(ordered) > MAX_NAMED:
            parts.append(f"{sign}{len(ordered) - MAX_NAMED} more")
    return " ".join(parts)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _scaled(number: float) -> str:
    """Return a number with three digits and what its unit begins with, such as `1.25 M`."""
    thousands = 0
    while number >= 999.5 and thousands < len(PREFIXES) - 1:
        number /= 1000
        thousands += 1
    return f"{number:.3g} {PREFIXES[thousands]}"
