"""The group's subscriptions: which messages go from where to where.

Sources: topic filters in the MQTT standard; the configuration of the V2 legacy subscription router.
"""

from __future__ import annotations

from typing import Any, List, NamedTuple, Sequence

from paho.mqtt.client import topic_matches_sub

from .errors import LocalCoreError

CLOUD = "cloud"


class Subscription(NamedTuple):
    """A row of the table.

    source: `cloud` or a function's ARN
    subject: a topic filter, with + and #
    target: `cloud` or a function's ARN
    """

    source: str
    subject: str
    target: str


def default_subscriptions(function_arn: str, own_topic: str = "") -> List[Subscription]:
    """Return the subscriptions that the connector needs: its reports to the cloud, the service's verdicts back.

    own_topic: a further topic for reports, in which {format} is replaced by the encoding; ignored if it has wildcards
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

    `{"subscriptions": {"<id>": {"id": "<id>", "source": ..., "subject": ..., "target": ...}}}`. The function here
    has its ARN, with or without the version, and every `component:<name>`.

    Raises LocalCoreError for a row that the router would not accept.
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
                f"subscription '{key}': '{row['subject']}' is not a topic filter (+ and # are whole levels, # the last)"
            )
        rows.append(Subscription(end(row["source"]), str(row["subject"]), end(row["target"])))
    return rows


def targets(subscriptions: Sequence[Subscription], source: str, topic: str) -> List[str]:
    """Return the targets of a message, each once, in the order of the table."""
    found = [row.target for row in subscriptions if row.source == source and topic_matches_sub(row.subject, topic)]
    return list(dict.fromkeys(found))
