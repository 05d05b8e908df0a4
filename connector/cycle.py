"""One reporting cycle without time, waiting or sending: the loop and `python -m connector` both make reports here.

memory = observe(memory, snapshot, now)        add what passed to the unsent traffic, whatever happens to the report
made = make_report(memory, snapshot, ...)      make the report, as a dict and as bytes
memory = delivered(memory, made)               once it was accepted, or printed: its traffic is no longer unsent
"""

from __future__ import annotations

import random
from typing import NamedTuple, Optional

from .encode import encode
from .kernel.dev import Counters
from .kernel.host import CpuTimes
from .memory import Memory
from .report import Report, build
from .snapshot import Snapshot


class Made(NamedTuple):
    """A report, and what is subtracted from the unsent traffic once it is accepted.

    report_id: int, as in the header.
    report: plain dicts and lists.
    payload: bytes, the report in the chosen format.
    carried: traffic since the last report, as its network_stats has it; None where it has none.
    cpu: processor times that the next `cpu_usage` is compared with; None where they could not be read.
    list_size: the longest list, where lists were shortened to fit the transport; None where they were not.
    """

    report_id: int
    report: Report
    payload: bytes
    carried: Optional[Counters]
    cpu: Optional[CpuTimes]
    list_size: Optional[int] = None


def observe(memory: Memory, snapshot: Snapshot, now: float) -> Memory:
    """Return the memory with the snapshot's traffic added and the next report id.

    now: seconds since 1970. Ids are that, or one more than the last where the clock was set back: they must increase.
    """
    return memory._replace(traffic=memory.traffic.observe(snapshot), report_id=max(int(now), memory.report_id + 1))


def make_report(
    memory: Memory,
    snapshot: Snapshot,
    short_names: bool,
    report_format: str,
    max_bytes: Optional[int] = None,
    rng: Optional[random.Random] = None,
) -> Optional[Made]:
    """Return the report of a snapshot that `memory` has observed, or None where nothing could be read.

    max_bytes: what the transport carries; lists are shortened to uniform samples, drawn with `rng`, until the report
        fits. Totals stay exact.

    Raises ConnectorError where `report_format` needs a package that can't be imported.
    """
    carried = memory.traffic.carry(snapshot)

    def make(shown: Snapshot) -> Optional[Made]:
        report = build(shown, memory.report_id, carried, memory.cpu, short_names)
        if report is None:
            return None
        return Made(memory.report_id, report, encode(report, report_format), carried, shown.cpu)

    made = make(snapshot)
    if made is None or max_bytes is None or len(made.payload) <= max_bytes:
        return made
    from .shorten import shorten  # only here: the Lambda function's core carries every report

    return shorten(snapshot, make, max_bytes, rng or random.Random())


def delivered(memory: Memory, made: Made) -> Memory:
    """Return the memory after a report was accepted: its traffic is no longer unsent."""
    return memory._replace(traffic=memory.traffic.delivered(made.carried), cpu=made.cpu or memory.cpu)
