"""What judging recordings gives: for each device and behavior the alarms, and the series behind them.

`Outcome.document()` is what `detect.py try --json` prints and what the page embeds. Times are epoch seconds, UTC:

    {
      "profiles": ["DataExfiltration"],
      "reports": {"read": 288, ...},              the account of the recordings, as recordings.py counts them
      "baseline": null,                           the same of --baseline, where there is one
      "devices": [                                worst first: most time in alarm, then most violations
        {
          "thing": "gateway-1", "first": 1767600000, "last": 1767686400, "reports": 288,
          "interval": 300,                        usual seconds between two reports; null with a single report
          "remark": null,                         or a sentence: such as reports that come unevenly
          "behaviors": [                          in the order of the profiles, the same for each device
            {
              "profile": "DataExfiltration", "behavior": "PacketExfiltration",
              "metric": "aws:all-packets-out",
              "kind": "count",                    count, number, ports, cidrs, numbers, strings; null without criteria
              "rule": "aws:all-packets-out less-than-equals p99.99 over 300 s",
              "limit": 1240,                      what numbers were compared with; null for lists, or where skipped
              "duration": 300,                    durationSeconds or null
              "to_alarm": 1, "to_clear": 1,       datapoints in a row
              "skipped": null,                    or why it was not replayed; then all of the following is empty
              "suppressed": false,                suppressAlerts: nobody is alerted
              "datapoints": 288, "violations": 5,
              "worst": 21776,                     the value furthest beyond the limit; of lists the element that is
                                                  in violation most often; null without violations
              "elements": [[2323, 10]],           of lists the elements in violation, most frequent first, at most 8,
                                                  each with the number of datapoints that have it
              "distinct": 1,                      how many such elements there are
              "alarms": [{"start": 1767690602, "end": 1767692101, "invalidated": false}],
                                                  oldest first; end null: it goes on when the recording ends
              "notes": []                         what a person should know about the result
            }
          ]
        }
      ]
    }

A series is not part of the document: `Outcome.series(thing, profile, behavior)` reads one, see `Series`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from connector.detect.measurement import Number
from connector.detect.profile import Behavior


@dataclass(frozen=True)
class Alarm:
    """A span in alarm.

    start: epoch seconds
    end: epoch seconds; None: it goes on when the recording ends
    invalidated: it did not clear; two days passed without a datapoint
    """

    start: int
    end: int | None = None
    invalidated: bool = False


@dataclass(frozen=True)
class Result:
    """The result of one behavior on one device.

    profile: the profile's name
    behavior: as in the profile
    rule: what the behavior calls normal, for people
    limit: what numbers were compared with: the behavior's own limit, or the value of its percentile here
    skipped: why it was not replayed; None: it was
    datapoints, violations: how many there were
    worst: the value furthest beyond the limit, or the element that is most often in violation
    elements: of lists the elements that are in violation most often, each with the number of its datapoints
    distinct: how many elements are in violation
    alarms: oldest first
    notes: what a person should know about the result
    """

    profile: str
    behavior: Behavior
    rule: str
    limit: Number | None = None
    skipped: str | None = None
    datapoints: int = 0
    violations: int = 0
    worst: Any = None
    elements: tuple[tuple[Any, int], ...] = ()
    distinct: int = 0
    alarms: tuple[Alarm, ...] = ()
    notes: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return the result, for JSON."""
        behavior = self.behavior
        return {
            "profile": self.profile,
            "behavior": behavior.name,
            "metric": behavior.metric,
            "kind": behavior.kind,
            "rule": self.rule,
            "limit": self.limit,
            "duration": behavior.duration,
            "to_alarm": behavior.to_alarm,
            "to_clear": behavior.to_clear,
            "skipped": self.skipped,
            "suppressed": behavior.suppressed,
            "datapoints": self.datapoints,
            "violations": self.violations,
            "worst": self.worst,
            "elements": [list(pair) for pair in self.elements],
            "distinct": self.distinct,
            "alarms": [asdict(alarm) for alarm in self.alarms],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Device:
    """One device of the recordings and what the behaviors say of it.

    thing: its name; "" where the recording does not name it
    first, last: times of its reports, epoch seconds
    reports: how many
    interval: usual seconds between two reports; None with a single report
    remark: what a person should know about its recording
    results: in the order of profiles and behaviors, the same for each device
    """

    thing: str
    first: int
    last: int
    reports: int
    interval: int | None
    remark: str | None
    results: tuple[Result, ...]

    @property
    def seconds_in_alarm(self) -> int:
        """How long its behaviors were in alarm, added up."""
        return sum((alarm.end or self.last) - alarm.start for result in self.results for alarm in result.alarms)


@dataclass(frozen=True)
class Series:
    """The datapoints of one behavior on one device, oldest first.

    times: epoch seconds
    values: a number each, or a list of elements: ports, numbers, or texts such as addresses
    outside: of each datapoint the elements in violation; of a number, itself; empty where it conforms
    limit: what numbers were compared with; None for lists
    """

    times: Sequence[int]
    values: Sequence[Any]
    outside: Sequence[Sequence[Any]]
    limit: Number | None


@dataclass(frozen=True)
class Outcome:
    """All devices of the recordings, worst first.

    profiles: names
    account: how many records were read, skipped and doubled, as recordings.py counts them
    series: called with thing, profile and behavior names, reads the datapoints behind a result, with a list of times
        after them those of these times only; raises KeyError where the behavior was skipped
    baseline_account: the same as account, of the reports that percentiles are taken from; None: those are judged, too
    """

    profiles: tuple[str, ...]
    devices: tuple[Device, ...]
    account: Mapping[str, Any] = field(default_factory=dict)
    series: Callable[..., Series] = field(default=lambda *names: _no_series(names), compare=False)
    baseline_account: Mapping[str, Any] | None = None

    @property
    def alerts(self) -> bool:
        """Whether there is an alarm of a behavior that alerts somebody."""
        return any(result.alarms and not result.behavior.suppressed for one in self.devices for result in one.results)

    def document(self) -> dict[str, Any]:
        """Return the outcome, for JSON."""
        return {
            "profiles": list(self.profiles),
            "reports": dict(self.account),
            "baseline": self.baseline_account and dict(self.baseline_account),
            "devices": [
                {
                    "thing": device.thing,
                    "first": device.first,
                    "last": device.last,
                    "reports": device.reports,
                    "interval": device.interval,
                    "remark": device.remark,
                    "behaviors": [result.document() for result in device.results],
                }
                for device in self.devices
            ],
        }


def _no_series(names: tuple[str, ...]) -> Series:
    raise KeyError(names)
