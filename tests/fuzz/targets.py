"""The fuzz targets: each takes any bytes and raises only if the connector has a defect.

`run.sh` lets a coverage-guided fuzzer search for such bytes; tests/connector/test_fuzz_corpus.py replays what is in
corpus/, without a fuzzer and on every Python. An error of the connector's own (TableError, ...) is no defect.
"""

from __future__ import annotations

import io
import json
import logging
import os
import random
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, Iterator, List, Optional

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support import proc  # noqa: E402

from connector import config, state  # noqa: E402
from connector.encode import encode  # noqa: E402
from connector.errors import ConfigError, TableError  # noqa: E402
from connector.health import Health, plain  # noqa: E402
from connector.kernel.address_proof import FibTrie, parse_fib_trie, parse_route, prove_owners  # noqa: E402
from connector.kernel.addresses import parse_if_inet6  # noqa: E402
from connector.kernel.dev import matching, parse_dev  # noqa: E402
from connector.kernel.edge import Lower, at_the_edge  # noqa: E402
from connector.kernel.host import METRICS, read_host  # noqa: E402
from connector.kernel.lower import parse_bonding, parse_vlan_config  # noqa: E402
from connector.kernel.sample import Reservoir  # noqa: E402
from connector.kernel.sock_diag import read_tcp as read_tcp_of_kernel  # noqa: E402
from connector.kernel.sock_diag import read_udp as read_udp_of_kernel  # noqa: E402
from connector.kernel.socket_rows import Listeners, Tcp  # noqa: E402
from connector.kernel.sockets import read_tcp, read_udp  # noqa: E402
from connector.report import build  # noqa: E402
from connector.snapshot import Snapshot  # noqa: E402
from connector.state import Boot, StateError  # noqa: E402
from connector.transports.greengrass_lambda import GreengrassLambda  # noqa: E402
from connector.verdict import Verdicts  # noqa: E402

THING = "gateway-7"
TOPIC = "$aws/things/gateway-7/defender/metrics/json"
BOOT = Boot("b0071d00-0000-4000-8000-000000000001", 1_699_000_000)
LONGEST_LINE = 700  # of the log
LIST_SIZE = 3

_directory = tempfile.TemporaryDirectory(prefix="fuzz-")
DIRECTORY = Path(_directory.name)
for _name in ("old", "new"):
    (DIRECTORY / _name).mkdir()


def dev(data: bytes) -> None:
    for name, counters in _unless(TableError, lambda: parse_dev(io.BytesIO(data)), {}).items():
        _name_is_possible(name)
        assert all(0 <= number < 2**64 for number in counters), counters


def route(data: bytes) -> None:
    routes = _unless(TableError, lambda: list(parse_route(io.BytesIO(data))), [])
    for found in routes:
        _name_is_possible(found.interface)
        assert all(0 <= number < 2**32 for number in (found.network, found.mask, found.gateway)), found
    fib_trie = parse_fib_trie(io.BytesIO(proc.QUIET["fib_trie"]))
    owners = prove_owners(fib_trie, routes)
    assert {int.from_bytes(address, "big") for address in owners} <= set(fib_trie.local), owners


def fib_trie(data: bytes) -> None:
    table = proc.route(("eth0", "192.0.2.0/24"), ("eth1", "0.0.0.0/0"), ("eth2", "0.0.0.0/1"))
    found = _unless(TableError, lambda: parse_fib_trie(io.BytesIO(data)), FibTrie({}, {}))
    for address, name in prove_owners(found, parse_route(io.BytesIO(table))).items():
        assert len(address) == 4, address
        assert name == "eth0", name


def if_inet6(data: bytes) -> None:
    for address, name in _unless(TableError, lambda: list(parse_if_inet6(io.BytesIO(data))), []):
        assert len(address) == 16, address
        _name_is_possible(name)


def vlan_config(data: bytes) -> None:
    parents = _unless(TableError, lambda: dict(parse_vlan_config(io.BytesIO(data))), {})
    lower: Lower = {name: (parent,) for name, parent in parents.items()}
    assert at_the_edge([*lower, "eth0"], lower) <= {*lower, "eth0"}


def bonding(data: bytes) -> None:
    for name in _unless(TableError, lambda: parse_bonding(io.BytesIO(data)), ()):
        _name_is_possible(name)


def tcp(data: bytes) -> None:
    _tcp(tcp=data, tcp6=None, if_inet6=None)


def tcp6(data: bytes) -> None:
    _tcp(tcp6=data)


def udp(data: bytes) -> None:
    _udp(udp=data, udp6=None, if_inet6=None)


def udp6(data: bytes) -> None:
    _udp(udp6=data)


def sock_diag(data: bytes) -> None:
    """The kernel's answer to each query, in blocks. Before each is its length in two bytes, big-endian."""
    blocks = []
    while data:
        end = 2 + int.from_bytes(data[:2], "big")
        blocks.append(data[2:end])
        data = data[end:]

    def ask(family: int, protocol: int, wanted: int) -> Iterator[bytes]:
        return iter(blocks)

    sample: Reservoir[bytes] = Reservoir(LIST_SIZE, random.Random(1))
    _is_possible(_unless(TableError, lambda: read_tcp_of_kernel(sample, _interface_of, ask), None))
    _ports_are_possible(_unless(TableError, lambda: read_udp_of_kernel(_interface_of, ask), {}))


def host(data: bytes) -> None:
    """stat, meminfo, loadavg and uptime, with a NUL between each and the next."""
    names = ("stat", "meminfo", "loadavg", "uptime")
    for name, content in zip(names, data.split(b"\0") + [b""] * len(names)):
        (DIRECTORY / name).write_bytes(content)
    wanted = ["cpu_usage", *METRICS]
    found = read_host(str(DIRECTORY), wanted)
    assert {*found.values, *found.missing} | ({"cpu_usage"} if found.cpu else set()) == set(wanted)
    assert all(0 <= number < 2**53 for number in found.values.values()), found
    assert 0 <= found.values.get("memory_usage", 0) <= 100, found
    assert found.cpu is None or 0 <= found.cpu.busy <= found.cpu.total, found
    state.read_boot(str(DIRECTORY))
    _is_sendable(Snapshot(custom=found.values, cpu=found.cpu))


def state_file(data: bytes) -> None:
    (DIRECTORY / "old" / state.FILE).write_bytes(data)
    try:
        memory = state.load(str(DIRECTORY / "old"), THING, BOOT)
    except StateError as error:
        plain(error)
        memory = error.memory
    assert 0 <= memory.report_id < 2**53, memory
    assert memory.sent is None or memory.sent >= 0, memory
    state.save(str(DIRECTORY / "new"), THING, BOOT, memory)
    assert state.load(str(DIRECTORY / "new"), THING, BOOT) == memory


def verdict(data: bytes) -> None:
    """An event of JSON or CBOR, on each of the topics that answers come on."""
    lines: List[str] = []
    logger = _logger(lines)
    verdicts = Verdicts(THING, TOPIC, Health(logger, lambda: 0.0), logger, lambda: 0.0)
    for subject in (TOPIC + "/accepted", TOPIC + "/rejected", TOPIC + "/accepted", None):
        verdicts.take(data, subject)
    _log_is_harmless(lines)


def function_handler(data: bytes) -> None:
    """A first line that is the topic, the context's `custom` as JSON, or empty; then the event.

    The event is tried as bytes and, if these are JSON, as the decoded value.
    """
    first, _, body = data.partition(b"\n")
    events: List[Any] = [body]
    try:
        events.append(json.loads(body.decode("utf-8")))
    except (ValueError, RecursionError):
        pass
    try:
        custom: Any = json.loads(first.decode("utf-8"))
    except (ValueError, RecursionError):
        custom = {"subject": first.decode("utf-8", "replace")}
    context = SimpleNamespace(client_context=SimpleNamespace(custom=custom)) if first else None
    lines: List[str] = []
    logger = _logger(lines)
    verdicts = Verdicts(THING, TOPIC, Health(logger, lambda: 0.0), logger, lambda: 0.0)
    transport = GreengrassLambda()
    transport.on_message = verdicts.take
    for event in events:
        transport.receive(event, context)
    assert not any("could not be read" in line for line in lines), lines
    assert len(lines) <= 4, lines
    _log_is_harmless(lines)


def configuration(data: bytes) -> None:
    """Environment variables, NAME=VALUE, with a NUL between each and the next, as in /proc/<pid>/environ."""
    pairs = [os.fsdecode(entry).partition("=") for entry in data.split(b"\0")]
    environ = {name: value for name, equals, value in pairs if equals}
    try:
        settings, warnings = config.parse(environ)
    except ConfigError as error:
        _log_is_harmless([plain(error, 1000)], 1003)
        return
    _log_is_harmless([plain(warning, 1000) for warning in warnings], 1003)
    assert len(warnings) <= len(config.PARAMETERS), warnings
    assert settings.interval >= config.MIN_SAMPLE_INTERVAL, settings
    assert 1 <= settings.wanted.max_list_size <= 500, settings
    assert settings.topic, settings
    assert not set(settings.topic) & set("+#\0\n"), settings
    matching(tuple(settings.wanted.exclude_interfaces))("eth0")


TARGETS: Dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        dev,
        route,
        fib_trie,
        if_inet6,
        vlan_config,
        bonding,
        tcp,
        tcp6,
        udp,
        udp6,
        sock_diag,
        host,
        state_file,
        verdict,
        function_handler,
        configuration,
    )
}


def _tcp(**tables: proc.Content) -> None:
    net = _net(**tables)
    sample: Reservoir[bytes] = Reservoir(LIST_SIZE, random.Random(1))
    found = _unless(TableError, lambda: read_tcp(net, sample, _interface_of), None)
    _is_possible(found)


def _is_possible(found: Optional[Tcp]) -> None:
    if found is not None:
        assert len(found.sample) == min(found.total, LIST_SIZE), found
        assert all(len(row.remote) in (4, 16) for row in found.sample), found
        _ports_are_possible(found.listeners)


def _udp(**tables: proc.Content) -> None:
    net = _net(**tables)
    _ports_are_possible(_unless(TableError, lambda: read_udp(net, _interface_of), {}))


def _net(**tables: proc.Content) -> str:
    """Return a directory of network tables; what is the same as the last time is not written again."""
    root = DIRECTORY / "-".join(tables)
    if not root.exists():
        proc.tree(root, **tables)
    for name, content in tables.items():
        if content is not None:
            (root / "1" / "net" / name).write_bytes(content)
    return str(root / "1" / "net")


def _unless(error: Any, call: Callable[[], Any], otherwise: Any) -> Any:
    """Return what the call returns, or `otherwise` where it raises `error`, whose text must be fit for a log."""
    try:
        return call()
    except error as raised:
        text = str(raised)
    assert len(text) < 1500, text
    return otherwise


def _interface_of(address: bytes) -> str:
    assert len(address) in (4, 16), address
    return "eth0"


def _ports_are_possible(listeners: Listeners) -> None:
    assert all(0 < port < 2**16 for ports in listeners.values() for port in ports), listeners


def _name_is_possible(name: str) -> None:
    assert 0 < len(os.fsencode(name)) < 16, name


def _is_sendable(snapshot: Snapshot) -> None:
    report = build(snapshot, 1)
    assert report is None or json.loads(encode(report, "json").decode("ascii")) == report


def _logger(lines: List[str]) -> logging.Logger:
    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger = logging.Logger("fuzz", logging.DEBUG)
    logger.addHandler(Lines())
    return logger


def _log_is_harmless(lines: List[str], longest: int = LONGEST_LINE) -> None:
    for line in lines:
        assert len(line) <= longest, line
        assert all(" " <= character <= "~" for character in line), line
