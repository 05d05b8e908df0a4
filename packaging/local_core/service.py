"""Stands for Device Defender: checks reports against the specification, and answers them.

Independent of the connector on purpose, so that a mistake there is found here: it has its own table of names and its
own schema (report.schema.json, long names). It is stricter than the service where the service is known to be lenient,
or where nothing is known: no field that is not in the specification, list and total in every block, no empty block,
plain interface names.
"""

from __future__ import annotations

import io
import ipaddress
import json
import math
import re
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, NoReturn, Optional, Tuple

import cbor2
from jsonschema import Draft4Validator

MAX_MESSAGE_BYTES = 128 * 1024  # AWS IoT rejects a longer message
MIN_INTERVAL_SECONDS = 300.0  # more frequent reports of one thing are throttled
MAX_EARLY_SECONDS = 5.0  # accepted this much earlier, because the time that a message takes varies
MAX_DEPTH = 16

REPORT_TOPIC = re.compile(r"\$aws/things/([a-zA-Z0-9:_-]{1,128})/defender/metrics/(json|cbor)")
LONG_NAMES = {
    "hed": "header",
    "rid": "report_id",
    "v": "version",
    "met": "metrics",
    "cmet": "custom_metrics",
    "tc": "tcp_connections",
    "ec": "established_connections",
    "cs": "connections",
    "rad": "remote_addr",
    "lp": "local_port",
    "li": "local_interface",
    "tp": "listening_tcp_ports",
    "up": "listening_udp_ports",
    "pts": "ports",
    "pt": "port",
    "if": "interface",
    "t": "total",
    "ns": "network_stats",
    "bi": "bytes_in",
    "bo": "bytes_out",
    "pi": "packets_in",
    "po": "packets_out",
}
SCHEMA = Draft4Validator(json.loads(Path(__file__).with_name("report.schema.json").read_text()))


class MalformedReport(Exception):
    """The report breaks a rule of the specification; the text says which, and where in the report."""


class Verdict(NamedTuple):
    """The service's answer to a report.

    code, reason: why it was rejected, empty if it was accepted
    """

    accepted: bool
    code: str = ""
    reason: str = ""


class Delivery(NamedTuple):
    """A message that reached the cloud.

    report: decoded, with the names it was sent with; None if it could not be decoded
    verdict: None on a topic that is not a report topic
    """

    topic: str
    payload: bytes
    report: Any
    verdict: Optional[Verdict]


class Message(NamedTuple):
    """A message to publish."""

    topic: str
    payload: bytes


def decode_report(payload: bytes, encoding: str) -> Any:
    """Return the report in `json` or `cbor` bytes, made of dicts, lists, text, finite numbers, booleans and None.

    Raises MalformedReport for other bytes.
    """
    if len(payload) > MAX_MESSAGE_BYTES:
        raise MalformedReport(f"{len(payload)} bytes are more than a message may have ({MAX_MESSAGE_BYTES})")
    try:
        if encoding == "json":
            value = json.loads(payload.decode(), object_pairs_hook=_unique_names)
        else:
            stream = io.BytesIO(payload)
            value = cbor2.CBORDecoder(stream).decode()
            if stream.tell() != len(payload):
                raise ValueError(f"{len(payload) - stream.tell()} bytes after the report")
    except Exception as error:  # decoders raise many kinds for hostile bytes, also RecursionError and MemoryError
        raise MalformedReport(f"not {encoding}: {type(error).__name__}: {_short(error)}") from error
    _refuse_odd_values(value, MAX_DEPTH)
    return value


def check_report(sent: Any) -> Dict[str, Any]:
    """Return a report of either name style with long names.

    Raises MalformedReport with the first rule of the specification that it breaks.
    """
    report: Dict[str, Any] = _with_long_names(sent) if isinstance(sent, dict) and "hed" in sent else sent
    error = next(SCHEMA.iter_errors(report), None)
    if error is not None:
        _malformed(error.absolute_path, _short(error.message))
    metrics = report.get("metrics", {})
    if not metrics and "custom_metrics" not in report:
        raise MalformedReport("a report needs metrics, custom_metrics, or both")
    if "tcp_connections" in metrics:
        established = metrics["tcp_connections"]["established_connections"]
        path = ["metrics", "tcp_connections", "established_connections"]
        _check_total(path, established["total"], established["connections"])
        for index, connection in enumerate(established["connections"]):
            _check_remote_addr(path + ["connections", index, "remote_addr"], connection["remote_addr"])
    for name in ("listening_tcp_ports", "listening_udp_ports"):
        if name in metrics:
            ports = metrics[name]["ports"]
            _check_total(["metrics", name], metrics[name]["total"], ports)
            # Without an interface they may be at different addresses.
            entries = [(entry["interface"], entry["port"]) for entry in ports if "interface" in entry]
            if len(set(entries)) < len(entries):
                _malformed(["metrics", name, "ports"], "the same interface and port are listed twice")
    for name, values in report.get("custom_metrics", {}).items():
        for text in values[0].get("ip_list", []):
            try:
                ipaddress.ip_address(text)
            except ValueError:
                _malformed(["custom_metrics", name, "ip_list"], f"'{_short(text)}' is no IP address")
    return report


class Service:
    """Device Defender for any number of things; keeps the id and time of the last report that it accepted from each.

    min_interval: between two reports of a thing, seconds; one that is up to MAX_EARLY_SECONDS early is accepted
    clock: monotonic, seconds
    now: seconds since the epoch, for the answers
    """

    def __init__(
        self,
        min_interval: float = MIN_INTERVAL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._spacing = min_interval - MAX_EARLY_SECONDS
        self._min_interval = min_interval
        self._clock, self._now = clock, now
        self._last: Dict[str, Tuple[int, float]] = {}

    def receive(self, topic: str, payload: bytes) -> Tuple[Delivery, Optional[Message]]:
        """Check a message of any bytes; return it with its verdict, and the answer in the topic's encoding."""
        match = REPORT_TOPIC.fullmatch(topic)
        if not match:
            return Delivery(topic, payload, None, None), None
        thing, encoding = match.groups()
        report = report_id = None
        try:
            report = decode_report(payload, encoding)
            report_id = _sent_id(report)
            verdict = self._judge(thing, check_report(report)["header"]["report_id"])
        except MalformedReport as error:
            verdict = Verdict(False, "InvalidPayload", f"Malformed metrics report: {error}")
        answer: Dict[str, Any] = {"thingName": thing}
        if report_id is not None:
            answer["reportId"] = report_id
        answer["status"] = "ACCEPTED" if verdict.accepted else "REJECTED"
        if not verdict.accepted:
            answer["statusDetails"] = {"ErrorCode": verdict.code, "ErrorMessage": verdict.reason}
        answer["timestamp"] = int(self._now() * 1000)
        encoded = cbor2.dumps(answer) if encoding == "cbor" else json.dumps(answer).encode()
        return Delivery(topic, payload, report, verdict), Message(topic + "/" + answer["status"].lower(), encoded)

    def _judge(self, thing: str, report_id: int) -> Verdict:
        if thing in self._last:
            last_id, taken = self._last[thing]
            if report_id <= last_id:
                raise MalformedReport(f"header.report_id: {report_id} does not follow {last_id}")
            if self._clock() - taken < self._spacing:
                since = self._clock() - taken
                reason = f"{since:.0f} s after the last accepted report; one every {self._min_interval:g} s is accepted"
                return Verdict(False, "Throttled", reason)
        self._last[thing] = (report_id, self._clock())
        return Verdict(True)


def _unique_names(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name occurs twice in one object")
    return found


def _refuse_odd_values(value: Any, depth: int) -> None:
    if depth == 0:
        raise MalformedReport("nested too deep")
    if isinstance(value, dict):
        for name in value:
            if not isinstance(name, str):
                raise MalformedReport(f"a field's name is not text: {_short(repr(name))}")
            _refuse_odd_text(name)
            _refuse_odd_values(value[name], depth - 1)
    elif isinstance(value, list):
        for item in value:
            _refuse_odd_values(item, depth - 1)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise MalformedReport(f"{value} is not a finite number")
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise MalformedReport("an integer of more than 64 bits")
    elif isinstance(value, str):
        _refuse_odd_text(value)
    elif value is not None:
        raise MalformedReport(f"a value of type {type(value).__name__}")


def _refuse_odd_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise MalformedReport("text with half a surrogate pair, which is not Unicode") from error


def _with_long_names(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_long_names(item) for item in value]
    if not isinstance(value, dict):
        return value
    for name in value:
        if name not in LONG_NAMES:
            raise MalformedReport(f"'{_short(name)}' is not a short field name, in a report with short names")
    # names in custom_metrics are the customer's own, and their types have long names only
    return {LONG_NAMES[name]: item if name == "cmet" else _with_long_names(item) for name, item in value.items()}


def _check_total(path: List[Any], total: int, listed: List[Any]) -> None:
    if total < len(listed):
        _malformed(path + ["total"], f"{total} is less than the {len(listed)} in the list")


def _check_remote_addr(path: List[Any], text: str) -> None:
    match = re.fullmatch(r"(?:([0-9.]+)|\[([0-9a-fA-F:.]+)\]):(0|[1-9][0-9]{0,4})", text)
    if not match or int(match.group(3)) > 65535:
        _malformed(path, f"'{_short(text)}' is not ip:port, or [ip]:port for IPv6")
    try:
        address = ipaddress.ip_address(match.group(1) or match.group(2))
    except ValueError as error:
        _malformed(path, _short(error))
    if address.version != (4 if match.group(1) else 6) or (address.version == 4 and str(address) != match.group(1)):
        _malformed(path, f"'{_short(text)}' is not ip:port, or [ip]:port for IPv6")
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        _malformed(path, f"'{text}' is an IPv4 address mapped into IPv6; it has to be sent as the IPv4 address")


def _malformed(path: Any, reason: str) -> NoReturn:
    raise MalformedReport(f"{'.'.join(str(part) for part in path) or 'report'}: {reason}")


def _sent_id(report: Any) -> Optional[int]:
    for header, report_id in (("header", "report_id"), ("hed", "rid")):
        found = report.get(header) if isinstance(report, dict) else None
        found = found.get(report_id) if isinstance(found, dict) else None
        if isinstance(found, int) and not isinstance(found, bool):
            return found
    return None


def _short(text: Any) -> str:
    whole = str(text)
    return whole if len(whole) <= 160 else whole[:160] + "..."
