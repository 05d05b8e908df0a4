"""The group's subscriptions: who may send what to whom.

Source of the rules: the MQTT standard on topic filters; the V2 legacy subscription router's configuration.
"""

from __future__ import annotations

from typing import Any, List, NamedTuple, Sequence

from paho.mqtt.client import topic_matches_sub

from .errors import LocalCoreError

CLOUD = "cloud"


class Subscription(NamedTuple):
    """A row of the table: messages from `source` on topics that fit `subject` (with + and #) go to `target`.

    Source and target are `cloud` or a function's ARN.
    """

    source: str
    subject: str
    target: str


def default_subscriptions(function_arn: str, own_topic: str = "") -> List[Subscription]:
    """Return what the connector needs: its reports to the cloud, the service's verdicts back.

    Reports may go to `own_topic` as well, with the encoding for {format}; what is no topic to publish on is left out.
    """
    rows = []
    for encoding in ("json", "cbor"):
        topic = "$aws/things/+/defender/metrics/" + encoding
        rows.append(Subscription(function_arn, topic, CLOUD))
        if own_topic and not set(own_topic) & set("+#"):
            rows.append(Subscription(function_arn, own_topic.replace("{format}", encoding), CLOUD))
        rows += [Subscription(CLOUD, topic + answer, function_arn) for answer in ("/accepted", "/rejected")]
    return rows


def read_subscriptions(document: Any, function_arn: str) -> List[Subscription]:
    """Return the table in a V2 legacy subscription router's configuration.

    `{"subscriptions": {"<id>": {"id": "<id>", "source": ..., "subject": ..., "target": ...}}}`; the one function here
    answers to its ARN, with or without the version, and to every `component:<name>`. Raises LocalCoreError for a row
    that the router would not take.
    """

    def end(name: Any) -> str:
        own = isinstance(name, str) and (name.startswith("component:") or name in (function_arn, unqualified))
        if not own and name != CLOUD:
            raise LocalCoreError(
                f"subscription '{key}': '{name}' is neither 'cloud' nor 'component:<name>' nor {function_arn}"
            )
        return function_arn if own else CLOUD

    unqualified = ":".join(function_arn.split(":")[:7])
    table = document.get("subscriptions") if isinstance(document, dict) else None
    if not isinstance(table, dict):
        raise LocalCoreError('expected {"subscriptions": {"<id>": {"id", "source", "subject", "target"}}}')
    rows = []
    for key, row in table.items():
        if not isinstance(row, dict) or set(row) != {"id", "source", "subject", "target"} or row["id"] != key:
            raise LocalCoreError(
                f"subscription '{key}': expected id, source, subject and target, the id equal to the key, got {row!r}"
            )
        levels = str(row["subject"]).split("/")
        if "#" in levels[:-1] or any(set(level) & set("+#") and len(level) > 1 for level in levels):
            raise LocalCoreError(
                f"subscription '{key}': '{row['subject']}' is no topic filter (+ and # stand for whole levels, # last)"
            )
        rows.append(Subscription(end(row["source"]), str(row["subject"]), end(row["target"])))
    return rows


def targets(subscriptions: Sequence[Subscription], source: str, topic: str) -> List[str]:
    """Return where a message goes, each target once, in the table's order."""
    found = [row.target for row in subscriptions if row.source == source and topic_matches_sub(row.subject, topic)]
    return list(dict.fromkeys(found))
