"""A kernel or a filter that refuses sock_diag: the tables are read, and the snapshot is the same."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, List

import pytest

ROOT = Path(__file__).resolve().parents[2]
STRACE = shutil.which("strace")

# A snapshot of this machine, of this test's sockets: ports as given. Prints where it was read, and what.
PROGRAM = """
import json, random, sys
from connector.snapshot import Wanted, take
ports = set(map(int, sys.argv[1:]))
taken = take(Wanted("/proc", 500, ("lo",), ()), random.Random(1), own="/proc")
json.dump({
    "sources": taken.sources,
    "tcp": sorted({port.port for port in taken.listening_tcp.items} & ports),
    "udp": sorted({port.port for port in taken.listening_udp.items} & ports),
    "established": taken.established.total,
}, sys.stdout)
"""


def snapshot(ports: List[int], *strace: str) -> Any:
    command = [*strace, sys.executable, "-c", PROGRAM, *map(str, ports)]
    done = subprocess.run(command, capture_output=True, cwd=str(ROOT), timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout.decode())


@pytest.fixture
def tcp_and_udp() -> Any:
    with socket.socket() as listener, socket.socket(type=socket.SOCK_DGRAM) as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        waiting.bind(("127.0.0.1", 0))
        yield [listener.getsockname()[1]], [waiting.getsockname()[1]]


def shares_network() -> bool:
    try:
        return os.stat("/proc/1/net/dev").st_ino == os.stat("/proc/self/net/dev").st_ino
    except OSError:
        return False


@pytest.mark.skipif(STRACE is None, reason="needs strace")
@pytest.mark.skipif(not shares_network(), reason="process 1 is in another network, so its tables are read anyway")
@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("EPERM", "Operation not permitted"),
        ("EPROTONOSUPPORT", "Protocol not supported"),
        ("ENOENT", "No such file or directory"),
        ("EINTR", "Interrupted system call"),
        ("ENOBUFS", "No buffer space available"),
    ],
)
@pytest.mark.parametrize("call", ["socket", "recvmsg"])
def test_refusal_by_the_kernel_makes_the_tables_be_read(tcp_and_udp: Any, call: str, error: str, text: str) -> None:
    if (call, error) == ("recvmsg", "EINTR"):
        error, text = "EIO", "Input/output error"  # Python repeats an interrupted call
    tcp, udp = tcp_and_udp
    assert STRACE is not None
    tracing = [STRACE, "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:error={error}"]
    found = snapshot(tcp + udp, *tracing)
    reason = f"the tables (sock_diag: {text})"
    assert found["sources"] == {"TCP sockets": reason, "UDP sockets": reason}
    assert (found["tcp"], found["udp"]) == (tcp, udp)


@pytest.mark.skipif(not shares_network(), reason="process 1 is in another network, so its tables are read anyway")
def test_kernel_that_answers_is_used(tcp_and_udp: Any) -> None:
    tcp, udp = tcp_and_udp
    found = snapshot(tcp + udp)
    assert found["sources"] == {"TCP sockets": "sock_diag", "UDP sockets": "sock_diag"}
    assert (found["tcp"], found["udp"]) == (tcp, udp)
