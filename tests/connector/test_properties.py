"""Properties of any input: any bytes in a table, any sockets, any order of traffic and failures, any settings."""

from __future__ import annotations

import io
import ipaddress
import json
import os
import random
import re
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Set, Tuple

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from local_core.service import check_report, decode_report
from support import proc

from connector.config import CUSTOM_METRICS, PARAMETERS, parse
from connector.encode import encode
from connector.errors import ConfigError, TableError
from connector.kernel.address_proof import parse_fib_trie, parse_route
from connector.kernel.addresses import parse_if_inet6
from connector.kernel.dev import Counters, matching, parse_dev
from connector.kernel.edge import at_the_edge
from connector.kernel.host import CpuTimes
from connector.kernel.lower import parse_bonding, parse_vlan_config
from connector.report import build
from connector.snapshot import Connection, Connections, Port, Ports, Snapshot
from connector.traffic import Traffic

thorough = settings(max_examples=120)

VLAN = b"VLAN Dev name | VLAN ID\nName-Type: VLAN_NAME_TYPE_RAW_PLUS_VID_NO_PAD\neth0.10        | 10  | eth0\n"
BOND = b"Bonding Mode: load balancing (round-robin)\n\nSlave Interface: eth1\nMII Status: up\n"
TABLES: Dict[str, bytes] = {
    **proc.QUIET,
    "tcp": proc.tcp(
        ("0.0.0.0:22", proc.V4_NOBODY, "LISTEN"),
        ("192.0.2.5:22", "198.51.100.7:5000", "ESTABLISHED"),
        ("192.0.2.5:22", "198.51.100.7:5001", "TIME_WAIT"),
    ),
    "tcp6": proc.tcp6(
        ("[::]:22", proc.V6_NOBODY, "LISTEN"),
        ("[::ffff:192.0.2.5]:443", "[::ffff:198.51.100.8]:5000", "ESTABLISHED"),
        ("[2001:db8::5]:443", "[2001:db8::99]:5000", "ESTABLISHED"),
    ),
    "udp": proc.udp(("0.0.0.0:68", proc.V4_NOBODY, "CLOSE"), ("192.0.2.5:40000", "192.0.2.1:123", "ESTABLISHED")),
    "udp6": proc.udp6(("[::1]:323", proc.V6_NOBODY, "CLOSE")),
    "dev": proc.dev({"lo": (9, 9, 1, 1), "eth0": (1000, 200, 10, 2), "eth0.10": (500, 100, 5, 1)}),
    "vlan__config": VLAN,
    "vlan__eth0.10": b"",
    "bonding__bond0": BOND,
}


@st.composite
def damaged(draw: Callable[[Any], Any], table: bytes) -> bytes:
    """Return a table with a few places cut out, overwritten or doubled; sometimes any bytes."""
    if draw(st.integers(0, 9)) == 0:
        return bytes(draw(st.binary(max_size=200)))
    for _ in range(draw(st.integers(0, 4))):
        words = [word.start() for word in re.finditer(rb"\S+", table)] or [0]
        start = draw(st.one_of(st.integers(0, len(table)), st.sampled_from(words)))
        length = draw(st.sampled_from([0, 1, 2, 8, 40, 150, 10**6]))
        middle = draw(
            st.one_of(
                st.sampled_from(
                    [b"", b"\n", b" ", b":", b"|", b"/", b"0", b"FFFF", b"-1", b"x" * 20, b"9" * 20, b"\xff"]
                ),
                st.binary(max_size=6),
                st.just(table[start : start + length] * 2),
            )
        )
        table = table[:start] + middle + table[start + length :]
    return table


PARSERS: Dict[str, Tuple[Callable[[bytes], Any], bytes]] = {
    "dev": (lambda text: parse_dev(io.BytesIO(text)), TABLES["dev"]),
    "if_inet6": (lambda text: list(parse_if_inet6(io.BytesIO(text))), TABLES["if_inet6"]),
    "route": (lambda text: list(parse_route(io.BytesIO(text))), TABLES["route"]),
    "fib_trie": (lambda text: parse_fib_trie(io.BytesIO(text)), TABLES["fib_trie"]),
    "vlan/config": (lambda text: list(parse_vlan_config(io.BytesIO(text))), VLAN),
    "bonding": (lambda text: parse_bonding(io.BytesIO(text)), BOND),
}


@pytest.mark.parametrize("name", list(PARSERS))
@thorough
@given(data=st.data())
def test_parser_raises_nothing_but_table_errors(name: str, data: st.DataObject) -> None:
    parser, table = PARSERS[name]
    try:
        parser(data.draw(st.one_of(damaged(table), st.binary())))
    except TableError:
        pass


@thorough
@given(
    interfaces=st.lists(st.sampled_from("abcdefgh")),
    exclude=st.lists(st.text("abc*?[]!-^\\", max_size=5).filter(lambda text: "-" not in text)),
    lower=st.dictionaries(
        st.sampled_from("abcdefgh"), st.one_of(st.none(), st.lists(st.sampled_from("abcdefgh"), max_size=3).map(tuple))
    ),
)
def test_the_edge_is_of_the_interfaces_and_none_of_it_lies_over_another(
    interfaces: List[str], exclude: List[str], lower: Dict[str, Optional[Tuple[str, ...]]]
) -> None:
    is_excluded = matching(tuple(exclude))
    edge = at_the_edge([name for name in interfaces if not is_excluded(name)], lower)
    assert edge <= set(interfaces)
    assert not any(map(is_excluded, edge))
    for name in edge:
        below = lower.get(name, ())
        assert below is not None
        assert not edge & set(below) - {name}


def check_encodings(report: Optional[Dict[str, Any]], short: Optional[Dict[str, Any]]) -> None:
    """Check that both name styles are valid and the same report in both encodings."""
    if report is None:
        assert short is None
        return
    assert short is not None
    for version in (report, short):
        as_json, as_cbor = encode(version, "json"), encode(version, "cbor")
        assert decode_report(as_json, "json") == decode_report(as_cbor, "cbor") == version
        assert check_report(version) == report
        assert b" " not in as_json
        assert cbor2.loads(as_cbor) == json.loads(as_json.decode("ascii"))
    for block in blocks(report):
        assert block["total"] >= len(block.get("ports", block.get("connections", [])))


def blocks(report: Mapping[str, Any]) -> List[Mapping[str, Any]]:
    metrics = report.get("metrics", {})
    found = [metrics[name] for name in ("listening_tcp_ports", "listening_udp_ports") if name in metrics]
    return found + [block["established_connections"] for name, block in metrics.items() if name == "tcp_connections"]


@thorough
@given(data=st.data())
def test_report_of_damaged_tables_is_valid(data: st.DataObject) -> None:
    """Of tables that are damaged or missing, twice in a row: reports are valid and traffic is never negative."""
    with tempfile.TemporaryDirectory() as directory:
        root = proc.machine(Path(directory))
        broken = data.draw(st.sets(st.sampled_from(sorted(TABLES)), max_size=4))
        traffic, cpu = Traffic(), None
        for report_id in (1, 2):
            tables: Dict[str, Optional[bytes]] = dict(TABLES)
            tables.update((name, data.draw(st.one_of(st.none(), damaged(TABLES[name])))) for name in sorted(broken))
            proc.tree(root, **tables)
            for name in sorted(data.draw(st.sets(st.sampled_from(sorted(proc.MACHINE)), max_size=2))):
                (root / name).write_bytes(data.draw(damaged(proc.MACHINE[name])))
            size = data.draw(st.sampled_from([1, 2, 50]))
            snapshot = proc.look(root, max_list_size=size, custom=CUSTOM_METRICS)
            traffic = traffic.observe(snapshot)
            carried = traffic.carry(snapshot)
            assert carried is None or min(carried) >= 0
            report = build(snapshot, report_id, carried, cpu)
            check_encodings(report, build(snapshot, report_id, carried, cpu, short_names=True))
            for block in blocks(report or {}):
                assert len(block.get("ports", block.get("connections", []))) <= size
            traffic, cpu = traffic.delivered(carried), snapshot.cpu


ADDRESSES: Dict[Optional[str], List[str]] = {
    "lo": ["127.0.0.1", "127.0.0.53", "[::1]", "[::ffff:127.0.0.1]"],
    "eth0": ["192.0.2.5", "[2001:db8::5]", "[::ffff:192.0.2.5]"],
    "0.0.0.0": ["0.0.0.0", "[::ffff:0.0.0.0]"],
    "::": ["[::]"],
    None: ["203.0.113.9", "[2001:db8::404]", "[fe80::1]"],
}
OWNER = {address: name for name, addresses in ADDRESSES.items() for address in addresses}
ports = st.sampled_from([1, 22, 80, 255, 256, 5353, 65535])
sockets = st.lists(
    st.tuples(
        st.sampled_from(sorted(OWNER)), st.one_of(st.just(0), ports), ports, st.sampled_from(sorted(proc.STATES))
    ),
    max_size=30,
)


@thorough
@given(tcp=sockets, udp=sockets, first=st.sampled_from([0, 7, 9_990, 99_990]))
def test_any_sockets_are_reported_by_the_rules(
    tcp: List[Tuple[str, int, int, str]], udp: List[Tuple[str, int, int, str]], first: int
) -> None:
    """The rules of the specification are written here a second time."""
    tables: Dict[str, List[proc.Socket]] = {"tcp": [], "tcp6": [], "udp": [], "udp6": []}
    established: List[Tuple[str, int, Optional[str]]] = []
    listening: Dict[str, Set[Tuple[int, str, bool]]] = {"tcp": set(), "udp": set()}  # port, interface or address
    for kind, drawn in (("tcp", tcp), ("udp", udp)):
        for local, local_port, remote_port, state in drawn:
            version = "6" if local.startswith("[") else ""
            local_port = local_port or (1 if kind == "tcp" else 0)
            remote = "{}:{}".format("[2001:db8::7]" if version else "198.51.100.7", remote_port)
            tables[kind + version].append((f"{local}:{local_port}", remote, state))
            if kind == "tcp" and state == "ESTABLISHED":
                established.append(
                    (remote, local_port, OWNER[local] if OWNER[local] not in ("::", "0.0.0.0") else None)
                )
            if local_port and state == {"tcp": "LISTEN", "udp": "CLOSE"}[kind]:
                owner = OWNER[local]
                listening[kind].add((local_port, owner or local, owner is not None))
    with tempfile.TemporaryDirectory() as directory:
        root = proc.tree(
            Path(directory),
            if_inet6=proc.if_inet6(("::1", "lo"), ("2001:db8::5", "eth0"), ("fe80::1", "eth0"), ("fe80::1", "eth1")),
            **{name: proc.table(name, rows, first) for name, rows in tables.items()},
        )
        snapshot = proc.look(root, max_list_size=500)
    assert snapshot.problems == {}
    report = build(snapshot, 1)
    assert report is not None
    metrics = report["metrics"]
    found = metrics["tcp_connections"]["established_connections"]
    entries = [
        (entry["remote_addr"], entry["local_port"], entry.get("local_interface")) for entry in found["connections"]
    ]
    in_order = [entry for entry in established if not entry[0].startswith("[")] + [
        entry for entry in established if entry[0].startswith("[")
    ]
    assert (found["total"], entries) == (len(established), in_order)
    for kind in ("tcp", "udp"):
        block = metrics[f"listening_{kind}_ports"]
        assert block["total"] == len(block["ports"]) == len(listening[kind])
        expected = [(port, name if named else "") for port, name, named in listening[kind]]
        assert sorted((entry["port"], entry.get("interface", "")) for entry in block["ports"]) == sorted(expected)
    check_report(report)


# Any bytes that the kernel accepts as a name.
names = st.binary(min_size=0, max_size=14).map(
    lambda raw: "".join(c for c in raw.decode("utf-8", "surrogateescape") if not c.isspace() and c not in "/:")
)
interface = st.one_of(st.none(), st.sampled_from(["0.0.0.0", "::", "lo", "eth0"]), names.map("e".__add__))
count = st.integers(0, 2**40)
number = st.one_of(st.integers(0, 2**53), st.floats(allow_nan=False, allow_infinity=False))
connection = st.builds(
    Connection,
    st.one_of(
        st.binary(min_size=4, max_size=4),
        st.binary(min_size=16, max_size=16).filter(lambda address: not address.startswith(bytes(10) + b"\xff\xff")),
    ),
    st.integers(0, 65535),
    st.integers(1, 65535),
    interface.filter(lambda name: name not in ("0.0.0.0", "::")),
)
listed = st.dictionaries(st.integers(1, 65535), interface, max_size=8).map(
    lambda found: [Port(port, name) for port, name in found.items()]
)
ports_block = st.tuples(listed, count).map(lambda pair: Ports(len(pair[0]) + pair[1], pair[0]))
connections_block = st.tuples(st.lists(connection, max_size=8), count).map(
    lambda pair: Connections(len(pair[0]) + pair[1], pair[0])
)
times = st.builds(CpuTimes, st.integers(0, 2**70), st.integers(0, 2**70))
snapshots = st.builds(
    Snapshot,
    established=st.one_of(st.none(), connections_block),
    listening_tcp=st.one_of(st.none(), ports_block),
    listening_udp=st.one_of(st.none(), ports_block),
    custom=st.dictionaries(st.sampled_from(CUSTOM_METRICS[1:]), number),
    cpu=st.one_of(st.none(), times),
)


@thorough
@given(
    snapshot=snapshots,
    report_id=st.integers(1, 2**63 - 1),
    stats=st.one_of(st.none(), st.builds(Counters, *[st.integers(0, 2**63)] * 4)),
    cpu_before=st.one_of(st.none(), times),
)
def test_report_of_any_snapshot_is_valid(
    snapshot: Snapshot, report_id: int, stats: Optional[Counters], cpu_before: Optional[CpuTimes]
) -> None:
    report = build(snapshot, report_id, stats, cpu_before)
    check_encodings(report, build(snapshot, report_id, stats, cpu_before, short_names=True))
    usage = (report or {}).get("custom_metrics", {}).get("cpu_usage")
    assert usage is None or 0 <= usage[0]["number"] <= 100
    assert (report is None) == (
        (snapshot.established, snapshot.listening_tcp, snapshot.listening_udp, stats) == (None, None, None, None)
        and not snapshot.custom
        and usage is None
    )


@thorough
@given(
    st.dictionaries(
        st.sampled_from(
            ["AWS_IOT_THING_NAME", "SAMPLE_INTERVAL_SECONDS", "PROCFS_PATH", *(p.name for p in PARAMETERS)]
        ),
        st.one_of(
            st.text(max_size=20),
            st.sampled_from(["300", "/proc", "short", "cbor", "50", "cpu_usage", "lo,eth*", "a/{thing}", "DEBUG", ""]),
        ),
    )
)
def test_any_environment_gives_settings_or_a_reason(environ: Dict[str, str]) -> None:
    """Each warning names a variable that is set; the settings are always usable."""
    try:
        parsed, warnings = parse(environ)
    except ConfigError:
        assert not re.fullmatch("[a-zA-Z0-9:_-]{1,128}", environ.get("AWS_IOT_THING_NAME", ""))
        return
    assert all(re.split(" is | has ", warning)[0] in environ for warning in warnings)
    assert parsed.interval >= parsed.spacing == 300
    assert 1 <= parsed.wanted.max_list_size <= 500
    assert parsed.report_format in ("json", "cbor")
    assert not set("+#{}") & set(parsed.topic)
    assert parsed.state_directory == "" or os.path.isabs(parsed.state_directory)
    matching(tuple(parsed.wanted.exclude_interfaces))("eth0")


@thorough
@given(st.binary(min_size=16, max_size=16), st.integers(0, 65535))
def test_address_in_a_report_is_parsed_by_the_standard_library(address: bytes, port: int) -> None:
    """An IPv4 address mapped into IPv6 is written as IPv4."""
    version6 = ipaddress.IPv6Address(address)
    text = f"[{version6}]:{port}"
    with tempfile.TemporaryDirectory() as directory:
        root = proc.tree(Path(directory), tcp6=proc.tcp6(("[::1]:1", text, "ESTABLISHED")))
        report = build(proc.look(root, rng=random.Random(1)), 1)
    assert report is not None
    (entry,) = report["metrics"]["tcp_connections"]["established_connections"]["connections"]
    shown, _, shown_port = entry["remote_addr"].rpartition(":")
    expected = version6.ipv4_mapped or version6
    assert (ipaddress.ip_address(shown.strip("[]")), int(shown_port)) == (expected, port)
    assert shown.startswith("[") == (expected.version == 6)
