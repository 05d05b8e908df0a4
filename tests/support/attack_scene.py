"""What namespace.play() runs as process 1 of a host of its own: attacks over real sockets, while the connector judges.

attack_scene.py attacks SOCKETS FAULTS   prints what was alarmed on at which reading; SOCKETS: others at the time
attack_scene.py outside                  the world behind eth0, in a network of its own: takes connections, scans
"""

from __future__ import annotations

import contextlib
import json
import logging
import random
import resource
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "packaging"), str(ROOT / "tests")]

from connector import config  # noqa: E402
from connector.agent import assemble  # noqa: E402
from connector.snapshot import Snapshot, Source, Wanted  # noqa: E402
from support.loop import Core, FakeClock, Never, Records  # noqa: E402
from support.scene import connected  # noqa: E402

DEVICE, NEIGHBOUR, UNKNOWN = "192.0.2.10", "192.0.2.1", "203.0.113.9"
SERVICE, SINK = 22, 4433
INTERVAL = 300
MAX_BYTES_OUT = 1 << 20
EXFILTRATED_BYTES = 2 << 20  # in 1,450 packets at least, so their acknowledgements are no scan
SCANNED_PORTS = range(20_000, 23_000)


def behavior(name: str, metric: str, operator: str, duration: int = 0, **value: Any) -> Dict[str, Any]:
    criteria: Dict[str, Any] = {"comparisonOperator": operator, "value": value}
    if duration:
        criteria["durationSeconds"] = duration
    return {"name": name, "metric": metric, "criteria": criteria}


PROFILE = {
    "securityProfileName": "Attacks",
    "behaviors": [
        behavior("Exfiltration", "aws:all-bytes-out", "less-than-equals", INTERVAL, count=MAX_BYTES_OUT),
        behavior("Backdoor", "aws:listening-tcp-ports", "in-port-set", ports=[SERVICE]),
        behavior(
            "Destination", "aws:destination-ip-addresses", "in-cidr-set", cidrs=["127.0.0.0/8", "192.0.2.0/24", "::1"]
        ),
        behavior("Scan", "aws:all-packets-in", "less-than-equals", INTERVAL, count=2500),
        behavior("NewUdpService", "aws:listening-udp-ports", "in-port-set", ports=[68]),
    ],
}


def ip(arguments: str) -> None:
    subprocess.run(["ip", *arguments.split()], check=True)


def outside() -> None:
    """Take connections on SINK and read all that comes; "scan" on stdin connects to every port of SCANNED_PORTS."""
    print("ready", flush=True)
    sys.stdin.readline()  # the device has moved the cable's end in here
    ip("link set lo up")
    ip(f"address add {UNKNOWN}/32 dev lo")
    ip(f"address add {NEIGHBOUR}/24 dev outside0")
    ip("link set outside0 up")
    server = socket.socket()
    server.bind(("0.0.0.0", SINK))
    server.listen(16)

    def drain(side: socket.socket) -> None:
        with side:
            while side.recv(1 << 16):
                pass

    def accept() -> None:
        while True:
            threading.Thread(target=drain, args=(server.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    print("connected", flush=True)
    for line in sys.stdin:
        if line.strip() == "scan":
            for port in SCANNED_PORTS:
                with socket.socket() as probe:
                    probe.settimeout(2)
                    probe.connect_ex((DEVICE, port))
        print("done", flush=True)


class World:
    """The process behind eth0."""

    def __init__(self) -> None:
        command = ["unshare", "--net", sys.executable, __file__, "outside"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._hear("ready")
        ip("link set lo up")
        ip("link add eth0 type veth peer name outside0")
        ip(f"link set outside0 netns {self._process.pid}")
        ip(f"address add {DEVICE}/24 dev eth0")
        ip("link set eth0 up")
        self.ask("", "connected")
        ip(f"route add default via {NEIGHBOUR}")

    def ask(self, command: str, answer: str = "done") -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        self._hear(answer)

    def _hear(self, answer: str) -> None:
        assert self._process.stdout is not None
        heard = self._process.stdout.readline().strip()
        assert heard == answer, (heard, answer)

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


def upload(size: int) -> None:
    """Send so many bytes, and wait until the other side has read them all."""
    with connected(SINK, NEIGHBOUR) as side:
        side.sendall(bytes(size))
        side.shutdown(socket.SHUT_WR)
        assert side.recv(1) == b""


@contextlib.contextmanager
def exfiltration(world: World) -> Iterator[None]:
    upload(EXFILTRATED_BYTES)
    yield


@contextlib.contextmanager
def backdoor(world: World) -> Iterator[None]:
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 31337))
        listener.listen(1)
        yield


@contextlib.contextmanager
def destination(world: World) -> Iterator[None]:
    with connected(SINK, UNKNOWN):
        yield


@contextlib.contextmanager
def scan(world: World) -> Iterator[None]:
    world.ask("scan")
    yield


@contextlib.contextmanager
def udp_service(world: World) -> Iterator[None]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as service:
        service.bind(("0.0.0.0", 1900))
        yield


@contextlib.contextmanager
def ordinary(world: World) -> Iterator[None]:
    """A short upload to the usual server."""
    upload(100_000)
    yield


ATTACKS: List[Tuple[str, Callable[[World], Any]]] = [
    ("Exfiltration", exfiltration),
    ("Backdoor", backdoor),
    ("Destination", destination),
    ("Scan", scan),
    ("NewUdpService", udp_service),
]


def attacks(sockets: str, faults: str) -> Any:
    """An ordinary reading, then each attack for one reading with an ordinary one after it."""
    world = World()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    pairs = []
    listener = socket.socket()
    listener.bind(("0.0.0.0", SERVICE))
    listener.listen(64)
    for _ in range(int(sockets) // 2):
        client = connected(SERVICE, "127.0.0.1")
        pairs.append((client, listener.accept()[0]))

    steps: List[Callable[[World], Any]] = [ordinary, ordinary]
    for _, attack in ATTACKS:
        steps += [attack, ordinary]
    count = len(steps)
    steps.append(ordinary)
    clock = FakeClock()
    core = Core(clock)
    if faults == "faults":
        core.answers.extend([OSError("refused")] * 3 + [Never()] + [OSError("refused")] * 5 + [Never()])

    class Live(Source):
        """Each reading happens in the middle of a step. A retry reads the same step again."""

        def take(self) -> Snapshot:
            number = int((clock.monotonic() - START_OF_CLOCK) // INTERVAL)
            if number in begun:
                with ordinary(world):
                    return super().take()
            begun.add(number)
            with steps[number](world):
                return super().take()

    begun: set[int] = set()
    START_OF_CLOCK = clock.monotonic()
    records = Records()
    logger = logging.Logger("attacks", logging.INFO)
    logger.addHandler(records)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "attacks.json"
        path.write_text(json.dumps(PROFILE))
        settings = {
            "AWS_IOT_THING_NAME": "device-1",
            "ProcDestinationPath": "/proc",
            "SecurityProfiles": str(path),
        }
        parsed, warnings = config.parse(settings)
        assert not warnings, warnings

        def source(wanted: Wanted, rng: random.Random) -> Source:
            return Live(wanted, rng)

        reporter = assemble(parsed, core, clock, random.Random(1), logger, source, core.start_call)
    clock.at(START_OF_CLOCK + count * INTERVAL + 10, clock.stop)
    reporter.run()
    world.end()
    return {
        "events": [
            [int((told.moment - START_OF_CLOCK) // INTERVAL), told.summary, told.event.get("metricValue")]
            for told in core.events
        ],
        "reports": len(core.taken),
        "log": records.lines,
        "established": core.taken[-1].report["metrics"]["tcp_connections"]["established_connections"]["total"],
    }


if __name__ == "__main__":
    if sys.argv[1] == "outside":
        outside()
    else:
        print(json.dumps(attacks(*sys.argv[2:])))
