"""What the function does to the machine: the built zip under a system call trace, each call checked.

As AWS asks of device agents: an ordinary user, read-only on what it reads, no port to listen on, no child process, no
write outside StateDirectory, no network but the core's port.
"""

from __future__ import annotations

import re
import shutil
import time
import zipfile
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Set

import pytest
from support import core as support_core
from support.core import PROC, FunctionCore, built_zip
from support.threads import LONG
from support.user import NOBODY, public_directory

from connector.config import CUSTOM_METRICS

STRACE = shutil.which("strace")


class Call(NamedTuple):
    """A system call: its name, its arguments as strace shows them, and what came of it."""

    name: str
    arguments: str
    result: str


def read_trace(text: str) -> List[Call]:
    """Parse `strace -f -o`: "PID name(arguments) = result", where another thread's lines may come in between."""
    calls = []
    begun: Dict[str, str] = {}
    for line in text.splitlines():
        pid, _, rest = line.partition(" ")
        rest = rest.strip()
        if rest.endswith(" <unfinished ...>"):
            begun[pid] = rest[: -len(" <unfinished ...>")]
            continue
        resumed = re.match(r"<\.\.\. \w+ resumed>", rest)
        if resumed:
            rest = begun.pop(pid) + rest[resumed.end() :]
        match = re.fullmatch(r"(\w+)\((.*)\)\s+= (.*)", rest) or re.fullmatch(r"(\w+)\((.*)", rest)
        if match:
            calls.append(Call(match.group(1), match.group(2), (match.groups() + ("?",))[2]))
        else:
            assert rest.startswith(("---", "+++")), line  # a signal, an end
    return calls + [Call(*unfinished.split("(", 1), "?") for unfinished in begun.values()]  # type: ignore[call-arg]


LOOKING = {
    "access",
    "faccessat",
    "faccessat2",
    "getcwd",
    "lstat",
    "newfstatat",
    "readlink",
    "readlinkat",
    "stat",
    "statx",
}
ENDING = {"exit", "exit_group", "arch_prctl"}
TALKING = {"getpeername", "getsockname", "getsockopt", "recv", "recvfrom", "recvmsg", "setsockopt", "shutdown"}
CHANGING = {"unlink", "unlinkat", "rename", "renameat", "renameat2"}
WRITING = re.compile("O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND|O_TMPFILE")


def objection(call: Call, port: int, state: Optional[Path]) -> Optional[str]:
    """Return why the function may not make this call, or None."""
    paths = re.findall(r'"((?:[^"\\]|\\.)*)"', call.arguments)
    inside = state is not None and bool(paths) and all(path.startswith(str(state) + "/") for path in paths)
    if call.name in LOOKING | ENDING | TALKING:
        return None
    if call.name in ("open", "openat"):
        return "writes a file" if WRITING.search(call.arguments) and not inside else None
    if call.name in CHANGING:
        return None if inside else "changes files"
    if call.name in ("clone", "clone3"):
        return None if "CLONE_THREAD" in call.arguments else "makes a process"
    if call.name == "ioctl":
        # Is it a terminal, and how wide; close it in children; do not wait; the name of an interface.
        known = ", (TCGETS|TIOCGWINSZ|FIOCLEX|FIONBIO|SIOCGIFNAME)"
        return None if re.search(known, call.arguments) else "asks a device"
    if call.name == "socket":
        # NETLINK_ROUTE: the list of addresses. NETLINK_SOCK_DIAG: the list of sockets. UNIX: the C library looks
        # for a cache of names, and asks for an interface's name.
        known = (
            r"AF_(INET6?, SOCK_(STREAM|DGRAM)|NETLINK, SOCK_RAW.*, NETLINK_(ROUTE|SOCK_DIAG)|UNIX, SOCK_(STREAM|DGRAM))"
        )
        return None if re.match(known, call.arguments) else "opens a socket of an odd kind"
    if call.name == "bind":
        return None if "{sa_family=AF_NETLINK, " in call.arguments else "takes an address"
    if call.name == "connect":
        if re.search(r'AF_UNIX, sun_path="/(var/)?run/nscd/socket"', call.arguments):
            return None
        loopback = r'inet_addr\("127\.0\.0\.1"\)|inet_pton\(AF_INET6, "::1"'
        ports = re.findall(r"_port=htons\((\d+)\)", call.arguments)
        return None if re.search(loopback, call.arguments) and ports == [str(port)] else "connects elsewhere"
    if call.name in ("sendto", "sendmsg", "send"):
        # Where the socket is connected to, which connect() shows; or the kernel.
        aimed = re.search(r"sa_family=(AF_\w+)", call.arguments)
        return None if aimed is None or aimed.group(1) == "AF_NETLINK" else "sends elsewhere"
    return "makes a call that it does not need"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('openat(AT_FDCWD</>, "/tmp/x", O_WRONLY|O_CREAT|O_CLOEXEC, 0666) = 3</tmp/x>', "writes a file"),
        ('open("/tmp/x", O_RDWR) = 3', "writes a file"),
        ('openat(AT_FDCWD</>, "/state-of-another/x", O_WRONLY|O_CREAT, 0600) = 3', "writes a file"),
        ('unlink("/tmp/x") = 0', "changes files"),
        ('rename("/state/a", "/tmp/b") = 0', "changes files"),
        ('mkdir("/state/a", 0777) = 0', "makes a call that it does not need"),
        ('chmod("/state/a", 0777) = 0', "makes a call that it does not need"),
        ('execve("/bin/sh", ["sh"], 0x7ffd /* 9 vars */) = 0', "makes a call that it does not need"),
        ("vfork() = 12", "makes a call that it does not need"),
        ("clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD, child_tidptr=0x7f) = 7", "makes a process"),
        ("clone3({flags=CLONE_VM|CLONE_VFORK, exit_signal=SIGCHLD}, 88) = 7", "makes a process"),
        ("kill(1, SIGTERM) = 0", "makes a call that it does not need"),
        ("ptrace(PTRACE_ATTACH, 1) = 0", "makes a call that it does not need"),
        ("socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)) = 3", "opens a socket of an odd kind"),
        ("socket(AF_INET, SOCK_RAW, IPPROTO_TCP) = 3", "opens a socket of an odd kind"),
        ("socket(AF_NETLINK, SOCK_RAW|SOCK_CLOEXEC, NETLINK_AUDIT) = 3", "opens a socket of an odd kind"),
        ('bind(3, {sa_family=AF_INET, sin_port=htons(0), sin_addr=inet_addr("0.0.0.0")}, 16) = 0', "takes an address"),
        ("listen(3, 5) = 0", "makes a call that it does not need"),
        ("accept4(3, NULL, NULL, SOCK_CLOEXEC) = 4", "makes a call that it does not need"),
        (
            'connect(3, {sa_family=AF_INET, sin_port=htons(8000), sin_addr=inet_addr("192.0.2.1")}, 16) = 0',
            "connects elsewhere",
        ),
        (
            'connect(3, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("127.0.0.1")}, 16) = 0',
            "connects elsewhere",
        ),
        ('connect(3, {sa_family=AF_UNIX, sun_path="/run/docker.sock"}, 110) = 0', "connects elsewhere"),
        (
            'sendto(3, "x", 1, 0, {sa_family=AF_INET, sin_port=htons(8000), sin_addr=inet_addr("127.0.0.1")}, 16) = 1',
            "sends elsewhere",
        ),
        ('openat(AT_FDCWD</>, "/state/x.new", O_WRONLY|O_CREAT|O_EXCL, 0600) = 3</state/x.new>', None),
        ('rename("/state/x.new", "/state/x") = 0', None),
        ('openat(AT_FDCWD</>, "/etc/hosts", O_RDONLY|O_CLOEXEC) = 3', None),
        (
            'connect(3, {sa_family=AF_INET, sin_port=htons(8000), sin_addr=inet_addr("127.0.0.1")}, 16) = 0',
            None,
        ),
        ("clone3({flags=CLONE_VM|CLONE_FS|CLONE_THREAD, exit_signal=0}, 88) = 7", None),
    ],
)
def test_each_kind_of_call_is_allowed_or_refused(line: str, reason: Optional[str]) -> None:
    (call,) = read_trace("123 " + line)
    assert objection(call, 8000, Path("/state")) == reason


def test_trace_of_several_threads_is_joined() -> None:
    text = (
        '7  connect(3<socket:[1]>, {sa_family=AF_UNIX, sun_path="/x"}, 110 <unfinished ...>\n'
        '8  openat(AT_FDCWD</>, "/a", O_RDONLY) = 4</a>\n'
        "7  <... connect resumed>)            = -1 ENOENT (No such file or directory)\n"
        "8  --- SIGTERM {si_signo=SIGTERM} ---\n"
        "8  exit_group(0)                     = ?\n"
        "7  +++ exited with 0 +++\n"
        "9  recvfrom(5<socket:[2]>,  <unfinished ...>\n"
    )
    assert read_trace(text) == [
        Call("openat", 'AT_FDCWD</>, "/a", O_RDONLY', "4</a>"),
        Call(
            "connect",
            '3<socket:[1]>, {sa_family=AF_UNIX, sun_path="/x"}, 110',
            "-1 ENOENT (No such file or directory)",
        ),
        Call("exit_group", "0", "?"),
        Call("recvfrom", "5<socket:[2]>, ", "?"),
    ]


def opened(calls: List[Call]) -> Set[str]:
    """Return the files that were opened."""
    found = set()
    for call in calls:
        if call.name in ("open", "openat") and not call.result.startswith("-1"):
            found.update(re.findall(r'"([^"]*)"', call.arguments))
    return found


def read_trace_of(pid: int, trace: Path) -> List[Call]:
    """Return the calls of a function that has ended; strace may still be writing them."""
    end = re.compile(rf"^{pid} +\+\+\+ ", re.MULTILINE)  # exited, or killed
    deadline = time.monotonic() + LONG
    while not end.search(trace.read_text()):
        assert time.monotonic() < deadline, "the trace does not end"
        time.sleep(0.01)
    return judged_calls(read_trace(trace.read_text()))


def judged_calls(calls: List[Call]) -> List[Call]:
    """Return the calls from the start of the function's program on, without the interpreter's own start."""
    begin = next(
        number for number, call in enumerate(calls) if "lambda_runtime.py" in call.arguments and call.name != "execve"
    )
    assert [call.name for call in calls[:begin] if call.name == "execve"] == ["execve"]
    return calls[begin:]


# Of the mounted proc; a host may lack some.
TABLES = {
    PROC + name
    for name in (
        ["/1/net/" + table for table in ("dev", "tcp", "tcp6", "udp", "udp6", "if_inet6", "fib_trie", "route")]
        + ["/1/net/vlan", "/1/net/vlan/config", "/1/net/bonding"]
        + ["", "/stat", "/meminfo", "/zoneinfo", "/loadavg", "/uptime", "/sys/kernel/random/boot_id"]
    )
}
# The C library's allocator asks how it may give back what an ended thread had (malloc/arena.c of glibc).
ALLOCATORS = {"/proc/sys/vm/overcommit_memory"}
# The names and a first reading of the processor times, when psutil is imported.
PSUTIL = {"/proc/stat"}

NO_TRACE = "needs strace" if STRACE is None else support_core.refusal()


@pytest.mark.skipif(NO_TRACE is not None, reason=str(NO_TRACE))
@pytest.mark.parametrize(("report_format", "remembers"), [("json", True), ("cbor", False)])
def test_function_makes_only_allowed_system_calls(report_format: str, remembers: bool) -> None:
    """Reports with every metric, a fault of the core, the service's answers, a stop."""
    with public_directory() as directory:
        trace = directory / "trace"
        environment: Dict[str, Optional[str]] = {
            "CustomMetrics": ",".join(CUSTOM_METRICS),
            "ReportFormat": report_format,
        }
        state: Optional[Path] = None
        if remembers:
            state = directory / "state"
            state.mkdir()
            state.chmod(0o777)
            environment["StateDirectory"] = str(state)
        core = FunctionCore(directory, tree=Path("/proc"), trace=trace, environment=environment, encoding_type="binary")
        with core:
            status = dict(
                line.split(":\t", 1) for line in Path("/proc", str(core.pid), "status").read_text().splitlines()
            )
            core.wait_for_delivery()
            core.faults.add("status:503")
            for _ in range(2):
                delivery = core.wait_for_delivery()
                assert delivery.verdict is not None
                assert delivery.verdict.accepted, delivery
            assert sorted(delivery.report["custom_metrics"]) == sorted(CUSTOM_METRICS)
            assert core.stop() == 0
        calls = read_trace_of(core.pid, trace)

    assert status["Uid"].split() == [str(NOBODY)] * 4
    assert status["Groups"].strip() == ""
    assert int(status["CapEff"], 16) == 0

    assert len(calls) > 200
    objections = [(objection(call, core.port, state), call) for call in calls]
    found = sorted({"{}: {}({}) = {}".format(reason, *call) for reason, call in objections if reason})
    assert not found, "\n".join(found)

    # Calls that it must make: they prove that the trace is complete.
    assert any(call.name == "connect" and "127.0.0.1" in call.arguments for call in calls)
    for family in ("NETLINK_ROUTE", "NETLINK_SOCK_DIAG"):
        assert any(call.name == "socket" and family in call.arguments for call in calls)
    assert any(call.name == "recvmsg" for call in calls)
    changed = {
        path for call in calls if call.name.startswith("rename") for path in re.findall(r'"([^"]*)"', call.arguments)
    }
    name = "device-defender-connector.json"
    assert changed == ({f"{state}/{name}", f"{state}/{name}.new"} if state else set())

    # Of the host's proc it reads tables only, no files of other processes.
    read = {path for path in opened(calls) if path.startswith((PROC, "/proc"))}
    assert read - TABLES <= ALLOCATORS | PSUTIL
    assert {PROC + "/stat", PROC} <= read


# Forbidden actions by the objection that each must raise.
MISDEEDS = {
    "writes a file": "open('/tmp/misdeed', 'w').close()",
    "changes files": "os.unlink('/tmp/misdeed')",
    "makes a process": "os.fork() or os._exit(0)",
    "makes a call that it does not need": "socket.socket().listen(1)",
    "opens a socket of an odd kind": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9)",
    "takes an address": "socket.socket().bind(('127.0.0.1', 0))",
    "connects elsewhere": "socket.socket().connect(('127.0.0.1', 1))",
    "sends elsewhere": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 1))",
}


@pytest.mark.skipif(NO_TRACE is not None, reason=str(NO_TRACE))
def test_forbidden_calls_of_a_function_are_found() -> None:
    """The same zip with a handler that does all of it."""
    lines = ["import os, socket", "def function_handler(event, context): pass"]
    for misdeed in MISDEEDS.values():
        lines += ["try:", "    " + misdeed, "except OSError:", "    pass"]
    with public_directory() as directory:
        artifact = directory / "function.zip"
        with zipfile.ZipFile(str(built_zip())) as built, zipfile.ZipFile(str(artifact), "w") as other:
            for name in built.namelist():
                if name.endswith(".pyc"):
                    continue  # Python would run the bytecode of the handler that is replaced here
                is_handler = name == "connector/handler.py"
                other.writestr(name, "\n".join(lines) if is_handler else built.read(name))
        trace = directory / "trace"
        with FunctionCore(directory, tree=Path("/proc"), trace=trace, artifact=artifact) as core:
            core.stop()
            port = core.port
        calls = read_trace_of(core.pid, trace)
    assert {objection(call, port, None) for call in calls} == {None, *MISDEEDS}
