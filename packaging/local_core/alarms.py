"""Stands for Device Defender Detect: judges accepted reports with the engine of connector/detect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Union

from detection.reports import from_document

from connector.detect.engine import Detector
from connector.detect.event import sentence
from connector.detect.profile import Profile, ProfileError, parse

from .errors import LocalCoreError
from .service import REPORT_TOPIC, Delivery

Event = Dict[str, Any]  # in the shape of the service's alert message


def read_profile(path: Union[str, Path]) -> Profile:
    """Return the security profile of a file. Raises LocalCoreError where it is none, or has a fault."""
    try:
        profile = parse(json.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise LocalCoreError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise LocalCoreError(f"{path}: not JSON: {error}") from error
    except ProfileError as error:
        raise LocalCoreError(f"{path}: {error}") from error
    if profile.faults:
        raise LocalCoreError(f"{path}: {profile.faults[0]}")
    return profile


class Detect:
    """Judges the reports of any number of things.

    profiles: as `read_profile` returns them. interval: usual seconds between reports.
    """

    def __init__(self, profiles: Sequence[Profile], interval: int) -> None:
        self._profiles = profiles
        self._interval = interval
        self._detectors: Dict[str, Detector] = {}

    def judge(self, delivery: Delivery) -> List[Event]:
        """Return the events of which the service would alert after this delivery; none if it is no accepted report."""
        match = REPORT_TOPIC.fullmatch(delivery.topic)
        if not self._profiles or match is None or delivery.verdict is None or not delivery.verdict.accepted:
            return []
        thing = match.group(1)
        if thing not in self._detectors:
            self._detectors[thing] = Detector(self._profiles, thing, self._interval)
        report = from_document(delivery.report, delivery.topic)
        events = self._detectors[thing].judge(report.readings, report.time)
        return [event.document() for event in events if not event.suppressed]


def event_of(delivery: Delivery) -> Optional[Event]:
    """Return the event that the connector has published, if the delivery is one."""
    if delivery.verdict is not None:
        return None
    try:
        document = json.loads(delivery.payload.decode("utf-8"))
        sentence(document)
    except (ValueError, RecursionError):
        return None
    return document  # type: ignore[no-any-return]
