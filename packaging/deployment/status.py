"""What `status` shows: what a target has, which cores have it, which don't and why, and when they last reported."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import datetime

from detection import watch

from deployment import cores as cores_module
from deployment import v1, v2
from deployment.cores import MAX_SHOWN_CORES, Core
from deployment.intent import Deployed
from deployment.last_report import LastReports
from deployment.listen import BASIC_INGEST, Certificates, Listener
from deployment.plan import Document
from deployment.rollout import is_in_force
from deployment.settings import default_of

EXIT_DONE, EXIT_FAILED, EXIT_UNDER_WAY = 0, 1, 3


@dataclass
class Status:
    """The state of a target.

    target: its kind and name
    connector: component or function, with its version; empty where it is not deployed
    deployed: its settings, None where they are not known
    deployment: the last deployment, its state and how many cores have come to which state
    cores: every core that is known
    log: the log files on a core
    exit_code: 0, 1 or 3
    verdict: what that comes to, in a sentence
    unknown_reports: why the last reports are not known, empty where they are
    alarms: events of the connector's alarms that came while listening, None without listening for them
    unknown_alarms: why they could not be listened for
    """

    target: str
    connector: str = ""
    deployed: Deployed | None = None
    deployment: str = ""
    cores: list[Core] = field(default_factory=list)
    log: str = ""
    exit_code: int = EXIT_FAILED
    verdict: str = ""
    unknown_reports: str = ""
    alarms: list[Document] | None = None
    unknown_alarms: str = ""

    @property
    def settings(self) -> dict[str, str]:
        """The settings by name, as deployed."""
        if not self.deployed:
            return {}
        own = {} if self.deployed.component_arn else {"isolation": self.deployed.isolation}
        if self.deployed.memory_kb:
            own["memory"] = f"{self.deployed.memory_kb / 1024:g} MB"
        return {**self.deployed.parameters, **self.deployed.variables, **own}

    def text(self, shown: list[Core], now: datetime) -> str:
        """Return it for a person; the line that matters is the last."""
        if not self.connector:
            return self.verdict
        lines = [f"{self.connector} for {self.target}"]
        lines += [f"  {name}={value}" for name, value in sorted(self.settings.items())]
        lines.append(self.deployment)
        lines += cores_module.lines(shown, now, self.log, len(self.cores))
        if self.unknown_reports:
            lines.append(f"Last reports are not known: {self.unknown_reports}.")
        if self.alarms is not None:
            lines.append("Alarms while listening:" if self.alarms else "No alarm began or ended while listening.")
            lines += [f"  {watch.line(event)}" for event in self.alarms]
        if self.unknown_alarms:
            lines.append(f"Alarms are not known: {self.unknown_alarms}.")
        return "\n".join([*lines, self.verdict])

    def as_json(self, shown: list[Core]) -> str:
        """Return it for a program: every core, those not among `shown` without reason and last report."""
        known = {core.thing: core for core in shown}
        document = {
            "target": self.target,
            "connector": self.connector or None,
            "settings": self.settings,
            "deployment": self.deployment or None,
            "cores": [known.get(core.thing, core).as_json() for core in self.cores],
            "logs": self.log,
            "lastReportsUnknown": self.unknown_reports or None,
            "alarms": self.alarms,
            "alarmsUnknown": self.unknown_alarms or None,
            "verdict": self.verdict,
            "exitCode": self.exit_code,
        }
        return json.dumps(document, indent=2)


def show(
    target: v1.Group | v2.Target,
    *,
    every_core: bool,
    as_json: bool,
    mqtt: str | None,
    certificates: Certificates,
    seconds: float,
) -> tuple[str, int]:
    """Return the target's status as text and the exit code."""
    aws = target.aws
    target.read()
    deployment = target.latest() if isinstance(target, v2.Target) else {}
    status = of_component(target, deployment) if isinstance(target, v2.Target) else of_group(target)
    now = aws.now()
    status.cores = cores_module.ordered(status.cores, now)
    shown = status.cores if every_core else status.cores[:MAX_SHOWN_CORES]
    if status.connector:
        if isinstance(target, v2.Target):
            shown = [target.rollout.with_reason(core, deployment) for core in shown]
            shown = [target.rollout.with_component(core, target.component) for core in shown]
            _judge_components(status, shown)
        shown = _with_reports(target, status, shown)
        if mqtt:
            shown = _with_answers(target, status, shown, mqtt, certificates, seconds)
    return status.as_json(shown) if as_json else status.text(shown, now), status.exit_code


def of_component(target: v2.Target, deployment: Document) -> Status:
    """Return the status of a thing or thing group."""
    status = Status(target.title, log=target.log)
    spec = deployment.get("components", {}).get(target.component)
    if not spec:
        status.verdict = f"{target.component} is not in the deployment for {target.title}."
        if target.other in deployment.get("components", {}):
            status.verdict += f" It has {target.other}: {target.other_flag}."
        return status
    status.connector = f"Component {target.component} {spec['componentVersion']}"
    status.deployed = target.settings_in(spec)
    state, done = target.rollout.progress(deployment)
    status.deployment = f"Deployment {deployment['deploymentId']}: {deployment['deploymentStatus']}, {state}"
    status.cores = target.rollout.cores(deployment)
    if not is_in_force(deployment):
        status.verdict = f"The deployment is {deployment['deploymentStatus']}: an apply makes it again."
    elif target.rollout.has_failed(deployment):
        status.verdict = f"Not every core has it: {state}."
    elif not done:
        status.exit_code, status.verdict = EXIT_UNDER_WAY, f"Under way: {state}."
    else:
        status.exit_code, status.verdict = EXIT_DONE, f"Every core has it: {state}."
    return status


def _judge_components(status: Status, shown: list[Core]) -> None:
    """Where every core has the deployment, but the connector fails on one, have the status say so."""
    failing = [core.thing for core in shown if core.component]
    if failing and status.exit_code == EXIT_DONE:
        status.exit_code = EXIT_FAILED
        status.verdict = f"Every core has it, but it fails on {', '.join(failing[:MAX_SHOWN_CORES])}."


def of_group(group: v1.Group) -> Status:
    """Return the status of a V1 group."""
    status = Status(f"group {group.name}, core {group.thing}", log=group.log)
    entry = group.entry()
    if not entry:
        status.verdict = f"{group.function} is not in group {group.name}."
        return status
    status.connector = f"Function {entry['FunctionArn']}"
    status.deployed = group.deployed()
    status.deployment, core, under_way = group.core_status()
    status.cores = [core]
    if under_way:
        status.exit_code, status.verdict = EXIT_UNDER_WAY, "Under way."
    elif core.state == "succeeded":
        status.exit_code, status.verdict = EXIT_DONE, "The core has it."
    else:
        status.verdict = f"The core does not have it: {status.deployment}{f': {core.reason}' if core.reason else ''}"
    return status


def _with_reports(target: v1.Group | v2.Target, status: Status, shown: list[Core]) -> list[Core]:
    """Return the cores with the times of their last reports, as far as AWS knows them."""
    environment = status.deployed.parameters if status.deployed else {}
    reports = LastReports(target.aws, environment, _profile_targets(target))
    reports.find_metric()
    status.unknown_reports = reports.unknown
    found = [replace(core, report=reports.of(core.thing)) for core in shown]
    silent = [core.thing for core in found if not core.report]
    if silent and not reports.unknown:
        more = f" and {len(silent) - MAX_SHOWN_CORES:,} more" if len(silent) > MAX_SHOWN_CORES else ""
        status.unknown_reports = f"none in the last 14 days of {', '.join(silent[:MAX_SHOWN_CORES])}{more}"
    return found


def _profile_targets(target: v1.Group | v2.Target) -> list[str]:
    """Return the thing groups that a security profile for the target's cores may be attached to."""
    if target.thing is None:
        return [target.arn]
    groups = target.aws.each("iot", "list_thing_groups_for_thing", "thingGroups", thingName=target.thing)
    return [group["groupArn"] for group in groups]


def _with_answers(
    target: v1.Group | v2.Target,
    status: Status,
    shown: list[Core],
    address: str,
    certificates: Certificates,
    seconds: float,
) -> list[Core]:
    """Listen for answers to the cores' reports, and for alarms; return the cores with what came."""
    values = status.deployed.parameters if status.deployed else {}
    topic = values.get("MetricsTopic") or default_of("MetricsTopic")
    topic = topic.replace("{format}", values.get("ReportFormat") or default_of("ReportFormat"))
    things = frozenset(core.thing for core in shown)
    violations = ""
    if values.get("SecurityProfiles"):
        violations = values.get("ViolationsTopic") or default_of("ViolationsTopic")
    if violations.startswith(BASIC_INGEST):
        status.unknown_alarms = f"they go to {violations}, which only that rule receives"
        violations = ""
    listener = Listener(address, topic, certificates, target.aws.now, things, violations)
    target.aws.progress(f"listening on {address} for up to {seconds:g} s")
    listener.listen(seconds)
    answers = listener.answers
    status.alarms = list(listener.events) if violations else None
    missing = sorted(things - answers.keys())
    status.unknown_reports = f"no answer in {seconds:g} s to a report of {', '.join(missing)}" if missing else ""
    return [
        replace(core, report=answers[core.thing].moment, verdict=answers[core.thing].verdict)
        if core.thing in answers
        else core
        for core in shown
    ]
