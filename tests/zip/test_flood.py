"""A flood of connections: exact totals, a uniform sample, bounded size and memory. tests/bench/ measures the time."""

from __future__ import annotations

import collections
import importlib.util
import os
import random
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Counter, Iterator, List

import pytest
from bench.cgroup import MemoryGroup, Unavailable
from bench.load import Load
from bench.measure import CORE_LIMIT, PEERS
from bench.reports import full_report
from local_core import LocalCore, Verdict
from support import core as support_core
from support.core import built_zip
from support.proc import STATES, Socket, look, table, tree
from support.statistics import chi_square, limit
from support.threads import LONG

from connector.config import CUSTOM_METRICS
from connector.encode import FORMATS, encode
from connector.kernel.dev import decode_name

ROOT = Path(__file__).resolve().parents[2]
MESSAGE_LIMIT = 128 << 10  # bytes; AWS IoT rejects more

ROWS = 18_000  # in each of tcp and tcp6


def _state(number: int) -> str:
    if number % 1000 == 1:
        return "LISTEN"
    return list(STATES)[number % len(STATES)] if number % 5 == 0 else "ESTABLISHED"


def _sockets(local: str, remote: str) -> List[Socket]:
    """Return ROWS rows in all states; each row's number is in its remote address and its local port."""
    return [
        (local.format(1 + number), remote.format(number >> 8, number & 255), _state(number)) for number in range(ROWS)
    ]


@pytest.fixture(scope="module")
def flooded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree(
        tmp_path_factory.mktemp("proc"),
        tcp=table("tcp", _sockets("192.0.2.5:{}", "10.4.{}.{}:443")),
        tcp6=table("tcp6", _sockets("[2001:db8::5]:{}", "[2001:db8::6:{:x}:{:x}]:443")),
    )


def test_totals_of_big_tables_are_exact(flooded: Path) -> None:
    states = Counter(map(_state, range(ROWS)))
    snapshot = look(flooded)
    assert snapshot.problems == {}
    assert snapshot.established is not None
    assert snapshot.listening_tcp is not None
    # A port that eth0 listens on over IPv4 and IPv6 is one entry; connections are never one.
    totals = (snapshot.established.total, snapshot.listening_tcp.total)
    assert totals == (2 * states["ESTABLISHED"], states["LISTEN"])
    assert (len(snapshot.established.items), len(snapshot.listening_tcp.items)) == (50, 50)


def test_every_connection_is_equally_likely_in_a_report(flooded: Path) -> None:
    """First or last row, tcp or tcp6: over many reports all parts of the tables occur equally often."""
    rng = random.Random(20261121)
    established = [number for number in range(ROWS) if _state(number) == "ESTABLISHED"]
    part = {number: place * 20 // len(established) for place, number in enumerate(established)}
    seen: Counter[object] = collections.Counter()
    for _ in range(60):
        snapshot = look(flooded, max_list_size=500, rng=rng)
        assert snapshot.established is not None
        drawn = {(len(item.remote), item.local_port - 1) for item in snapshot.established.items}
        assert len(drawn) == 500  # without replacement
        seen.update((length, part[number]) for length, number in drawn)
    assert len(seen) == 40
    assert chi_square(seen.values()) < limit(seen.values())


def test_reports_with_full_lists_of_50_have_at_most_5_and_12_kb() -> None:
    """AWS IoT meters messages in steps of 5 KB: at most 1 for CBOR with short names, 3 for the longest JSON."""
    assert len(encode(full_report(50, "eth0", short_names=True, custom=False), "cbor")) <= 5 << 10
    assert len(encode(full_report(50, "a" * 15, short_names=False), "json")) <= 12 << 10


@pytest.mark.parametrize("report_format", FORMATS)
@pytest.mark.parametrize("short_names", [True, False], ids=["short", "long"])
# An interface's name has up to 15 bytes of nearly any value; all of these but the first get longer in JSON.
@pytest.mark.parametrize(
    "interface",
    ["a" * 15, '"' * 15, decode_name(b"\xff" * 15), decode_name(b"\x01" * 15)],
    ids=["plain", "quotes", "not-utf-8", "control"],
)
def test_longest_report_is_shorter_than_the_limit_of_aws_iot(
    report_format: str, short_names: bool, interface: str
) -> None:
    assert 30_000 < len(encode(full_report(500, interface, short_names), report_format)) < MESSAGE_LIMIT


# Prints the files and folders that a sample opens, from Python's audit events.
WATCHED = """
import random, sys
sys.path.insert(0, sys.argv[1])
from connector.snapshot import Wanted, take
from connector.report import build
from connector.encode import encode
touched = set()
def watch(event, given):
    if event in ("open", "os.listdir", "os.scandir"):
        touched.add(str(given[0]))
take(Wanted(sys.argv[2], 50, (), ()), random.Random())  # some modules are loaded by the first one only
sys.addaudithook(watch)
snapshot = take(Wanted(sys.argv[2], 50, (), ()), random.Random())
encode(build(snapshot, 1), "json")
print("\\n".join(sorted(touched)))
"""


@pytest.mark.skipif(sys.version_info < (3, 8), reason="audit hooks came with Python 3.8")
def test_sample_opens_the_network_tables_only(flooded: Path) -> None:
    """Not /proc/*/fd, so the number of open descriptors on the host costs nothing."""
    net = flooded / "1" / "net"
    for path in ("4711/fd/3", "1/fd/3"):
        (flooded / path).parent.mkdir(parents=True, exist_ok=True)
        (flooded / path).touch()
    run = subprocess.run(
        [sys.executable, "-I", "-c", WATCHED, str(ROOT), str(flooded)], stdout=subprocess.PIPE, check=True, timeout=300
    )
    sockets = ("fib_trie", "if_inet6", "route", "tcp", "tcp6", "udp", "udp6")
    interfaces = ("bonding", "dev", "dev_mcast", "igmp", "igmp6", "vlan")
    assert run.stdout.decode().splitlines() == sorted(str(net / name) for name in sockets + interfaces)


# Prints the modules that the connector and a JSON report import.
IMPORTED = """
import random, sys
sys.path.insert(0, sys.argv[1])
import connector.handler
from connector.snapshot import Wanted, take
from connector.report import build
from connector.encode import encode
encode(build(take(Wanted(sys.argv[2], 50, (), ()), random.Random()), 1), "json")
print("\\n".join(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def test_json_report_imports_no_heavy_module(flooded: Path) -> None:
    """Without custom metrics; a core gives the function 16 MB."""
    run = subprocess.run(
        [sys.executable, "-I", "-c", IMPORTED, str(ROOT), str(flooded)], stdout=subprocess.PIPE, check=True, timeout=300
    )
    heavy = {"argparse", "asyncio", "cbor2", "ctypes", "email", "greengrasssdk", "http", "inspect", "ipaddress"}
    heavy |= {"multiprocessing", "psutil", "ssl", "subprocess", "tempfile", "urllib", "uuid"}
    assert heavy & set(run.stdout.decode().split()) == set()


SOCKETS = 36_000
CYCLES = 10


@pytest.fixture
def limited() -> Iterator[MemoryGroup]:
    """A memory limit such as a core gives a function."""
    with ExitStack() as stack:
        try:
            group = stack.enter_context(MemoryGroup(CORE_LIMIT))
        except Unavailable as reason:
            pytest.skip(str(reason))
        yield group


@pytest.fixture
def function() -> Path:
    """Return the zip for this Python and machine, as it is deployed."""
    return Path(built_zip())


def test_function_reports_within_16_mb_where_psutil_is_killed(
    limited: MemoryGroup, function: Path, tmp_path: Path
) -> None:
    """36,000 connections, with every custom metric and CBOR."""
    environment = {"CustomMetrics": ",".join(CUSTOM_METRICS), "ReportFormat": "cbor"}
    with ExitStack() as stack:
        stack.enter_context(Load(SOCKETS))
        core = LocalCore(function, interval=1, environment=environment)
        inside = limited.wrap(core.interpreter.path, tmp_path / "python")
        core.interpreter = core.interpreter._replace(path=inside)
        stack.enter_context(core)
        expected = set(CUSTOM_METRICS) - {"cpu_usage"}  # needs two samples, so it is not in the first report
        for _ in range(CYCLES):
            delivery = core.wait_for_delivery(LONG)
            assert delivery.verdict == Verdict(accepted=True)
            established = delivery.report["metrics"]["tcp_connections"]["established_connections"]
            # The kernel may skip a row while others come and go beside it.
            assert established["total"] > 0.99 * SOCKETS
            assert len(established["connections"]) == 50
            assert set(delivery.report["custom_metrics"]) == expected
            expected = set(CUSTOM_METRICS)
        assert core.stop() == 0
        assert (limited.kills, core.function_log.count("WARNING")) == (0, 0)

        # The same limit, in the same flood.
        for package, script in PEERS.items():
            if importlib.util.find_spec(package):
                before = limited.kills
                peer = subprocess.run(limited.command([sys.executable, "-c", script]), timeout=600)
                assert (package, peer.returncode, limited.kills - before) == (package, -signal.SIGKILL, 1)


@pytest.mark.skipif(support_core.refusal() is not None, reason=str(support_core.refusal()))
def test_psutil_runs_within_16_mb_without_a_flood(limited: MemoryGroup) -> None:
    """So the flood kills it, not the limit alone. In its own namespaces, as another test may flood this host."""
    alone = ["unshare", "--net", "--pid", "--fork", "--mount-proc", sys.executable, "-c"]
    for package, script in PEERS.items():
        if importlib.util.find_spec(package):
            subprocess.run(limited.command([*alone, script]), timeout=600, check=True)
    assert limited.kills == 0


def test_memory_cgroup_of_version_2_is_made_below_one_that_delegates_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = tmp_path / "sys" / "fs" / "cgroup"
    own = mount / "system.slice" / "tests.service"
    own.mkdir(parents=True)
    for directory, controllers in ((mount, "cpu memory pids"), (own.parent, "memory pids"), (own, "")):
        (directory / "cgroup.subtree_control").write_text(controllers + "\n")
    (tmp_path / "mountinfo").write_text(
        "22 1 8:1 / / rw - ext4 /dev/vda1 rw\n"
        "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
    )
    (tmp_path / "cgroup").write_text("0::/system.slice/tests.service\n")

    mkdir, rmdir = os.mkdir, os.rmdir

    def make_cgroup(path: str) -> None:
        """Make a directory with the controllers' files, as the kernel does."""
        mkdir(path)
        for name, content in (
            ("cgroup.procs", ""),
            ("memory.max", "max\n"),
            ("memory.swap.max", "max\n"),
            ("memory.peak", "4096\n"),
            ("memory.stat", "anon 1024\nfile 2048\n"),
            ("memory.events", "low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\n"),
        ):
            Path(path, name).write_text(content)

    def remove_cgroup(path: str) -> None:
        for file in Path(path).iterdir():
            file.unlink()
        rmdir(path)

    monkeypatch.setattr(os, "mkdir", make_cgroup)
    monkeypatch.setattr(os, "rmdir", remove_cgroup)
    with MemoryGroup(CORE_LIMIT, proc=str(tmp_path), root=str(tmp_path)) as group:
        directory = Path(group.path)
        assert directory.parent == own.parent
        limits = [(directory / name).read_text() for name in ("memory.max", "memory.swap.max")]
        assert limits == [str(CORE_LIMIT), "0"]
        assert (group.peak, group.anonymous, group.kills) == (4096, 1024, 1)
        child = subprocess.Popen(group.command(["/bin/sh", "-c", ":"]))
        child.wait()
        assert (directory / "cgroup.procs").read_text() == f"{child.pid}\n"
    assert not directory.exists()


def test_missing_memory_controller_is_named(tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text("30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
    (tmp_path / "cgroup").write_text("0::/\n")
    with pytest.raises(Unavailable, match="no cgroup file system of this machine has the memory controller"):
        with MemoryGroup(CORE_LIMIT, proc=str(tmp_path), root=str(tmp_path)):
            pass
