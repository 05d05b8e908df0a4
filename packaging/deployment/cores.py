"""A target's cores: which has the deployment, which does not and why, when each was last heard of and last reported."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

MAX_SHOWN_CORES = 20

# A nucleus updates its status at least every 24 h by default; an hour more, so that one that is in time is not named.
MAX_SILENCE = timedelta(hours=25)

# Worst first.
FAILED = ("failed", "rejected", "timed out", "canceled")
UNDER_WAY = ("in progress", "queued")

# States of a component that fails: it is started again, or given up.
ERROR_STATES = ("ERRORED", "BROKEN")
_ORDER = (*FAILED, *UNDER_WAY, "removed", "succeeded", "")


@dataclass(frozen=True)
class Core:
    """One core of a target.

    thing: its thing's name
    state: in the deployment: failed, queued, ...; empty where that is not known
    since: when it came into that state, None if not known
    heard: its last status update, None if not known
    health: HEALTHY or UNHEALTHY by its last status update, empty if not known
    reason: why it has not got the deployment, empty if not known
    component: BROKEN or ERRORED where the connector is, with the core's reason; empty if it is not, or not known
    report: when its last report arrived, None if not known
    verdict: what the last report came to, where that is known
    """

    thing: str
    state: str = ""
    since: datetime | None = None
    heard: datetime | None = None
    health: str = ""
    reason: str = ""
    component: str = ""
    report: datetime | None = None
    verdict: str = ""

    def is_silent(self, now: datetime) -> bool:
        """Return whether it has not been heard of for a day."""
        return self.heard is not None and now - self.heard > MAX_SILENCE

    def line(self, now: datetime, log: str) -> str:
        """Return its line in `status`; `log` names the log files where a failure has more to read."""
        parts = [f"{self.state or 'deployment not known'}{f' since {_time(self.since)}' if self.since else ''}"]
        if self.reason:
            parts.append(self.reason)
        if self.is_silent(now):
            parts.append(f"not heard of since {_time(self.heard)}: is it on, and connected?")
        if self.component:
            parts.append(f"the connector is {self.component}")
        elif self.health == "UNHEALTHY":
            parts.append("unhealthy: a component is in an error state")
        if self.state in FAILED or self.health == "UNHEALTHY":
            parts.append(f"on the core: {log}")
        if self.report:
            parts.append(f"last report {_time(self.report)}{f', {self.verdict}' if self.verdict else ''}")
        return f"{self.thing}: {'; '.join(parts)}"

    def as_json(self) -> dict[str, Any]:
        """Return it for --json; times in UTC, null where they are not known."""
        return {
            "thing": self.thing,
            "state": self.state or None,
            "since": _iso(self.since),
            "lastHeard": _iso(self.heard),
            "health": self.health or None,
            "reason": self.reason or None,
            "component": self.component or None,
            "lastReport": _iso(self.report),
            "verdict": self.verdict or None,
        }


def ordered(cores: Iterable[Core], now: datetime) -> list[Core]:
    """Return the cores with those first that somebody must see to."""

    def place(core: Core) -> int:
        is_well = core.state == "succeeded" and core.health != "UNHEALTHY" and not core.is_silent(now)
        return len(_ORDER) if is_well else _ORDER.index(core.state)

    return sorted(cores, key=lambda core: (place(core), core.thing))


def lines(cores: list[Core], now: datetime, log: str, total: int) -> list[str]:
    """Return a line for each of the cores, and one for those of `total` that are not among them."""
    shown = [f"  {core.line(now, log)}" for core in cores]
    left = total - len(cores)
    return shown + ([f"  ... and {left:,} more: --all shows them"] if left > 0 else [])


def _time(moment: datetime | None) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M UTC") if moment else "?"


def _iso(moment: datetime | None) -> str | None:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None
