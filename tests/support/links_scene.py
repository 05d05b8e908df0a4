"""A host whose interfaces are renamed, swapped, moved and made anew; run by namespace.play() as process 1 of its own.

Prints, for each step, what the connector reports, from rtnetlink and from the tables, and what `ip -s link` shows.
"""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

from connector.config import DEFAULT_EXCLUDE  # noqa: E402
from connector.snapshot import Wanted, take  # noqa: E402
from connector.traffic import Traffic  # noqa: E402

SOURCES = {"rtnetlink": "/proc", "tables": "/nothing"}  # the reader's own proc: whether it shares the network


class Elsewhere:
    """Another network namespace, held by a process that ends with this one."""

    def __init__(self) -> None:
        ours = os.readlink("/proc/self/ns/net")
        self._holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE)
        end = time.monotonic() + 60
        while os.readlink(f"/proc/{self._holder.pid}/ns/net") == ours:
            assert time.monotonic() < end, "no other network namespace"
            time.sleep(0.01)
        self.pid = self._holder.pid
        self._inside = ["nsenter", "-t", str(self.pid), "-n"]
        self.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6")

    def run(self, *command: str) -> None:
        subprocess.run([*self._inside, *command], check=True)

    def ip(self, arguments: str) -> None:
        self.run("ip", *arguments.split())

    def close(self) -> None:
        self._holder.communicate()


def ip(arguments: str) -> None:
    subprocess.run(["ip", *arguments.split()], check=True)


def send(interface: str, count: int, size: int = 1000) -> None:
    """Send frames of an experimental protocol, which nothing answers."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((interface, 0))
        for _ in range(count):
            raw.send(b"\xff" * 12 + b"\x88\xb5" + bytes(size - 14))


class Watch:
    """The accounts of both sources, and what they reported after each step."""

    def __init__(self) -> None:
        self._accounts = {source: Traffic() for source in SOURCES}
        self.steps: Dict[str, Any] = {}

    def reading(self, step: str) -> None:
        reported: Dict[str, Optional[List[int]]] = {}
        problems: Dict[str, str] = {}
        for source, own in SOURCES.items():
            snapshot = take(Wanted("/proc", 50, DEFAULT_EXCLUDE.split(","), ()), random.Random(1), own=own)
            account = self._accounts[source].observe(snapshot)
            carried = account.carry(snapshot)
            self._accounts[source] = account.delivered(carried)
            reported[source] = carried and list(carried)
            problems.update({**snapshot.problems, **account.problems})
        self.steps[step] = {"reported": reported, "problems": problems, "shown": shown()}


def shown() -> Dict[str, List[int]]:
    """What `ip -s link` shows: index, bytes in and out, packets in and out, by name."""
    text = subprocess.run(["ip", "-s", "-j", "link"], check=True, capture_output=True, text=True).stdout
    return {
        link["ifname"]: [link["ifindex"]]
        + [link["stats64"][way][what] for what in ("bytes", "packets") for way in ("rx", "tx")]
        for link in json.loads(text)
    }


def rename(old: str, new: str) -> None:
    ip(f"link set {old} down")
    ip(f"link set {old} name {new}")
    ip(f"link set {new} up")


def play() -> Any:
    Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
    other = Elsewhere()

    def cable(name: str) -> None:
        ip(f"link add {name} type veth peer name far-{name} netns {other.pid}")
        other.ip(f"link set far-{name} up")
        ip(f"link set {name} up")

    for name in ("eth0", "eth1", "ppp0"):
        cable(name)
    for name, count in (("eth0", 30), ("eth1", 20), ("ppp0", 10)):
        send(name, count)
    watch = Watch()
    watch.reading("start")
    send("eth0", 5)
    send("ppp0", 7)
    watch.reading("traffic")
    rename("eth0", "wan0")
    send("wan0", 3)
    watch.reading("rename")
    for old, new in (("wan0", "x"), ("eth1", "wan0"), ("x", "eth1")):
        rename(old, new)
    send("eth1", 2)
    send("wan0", 1)
    watch.reading("swap")
    for name in ("moved0", "moved1"):
        other.ip(f"link add {name} type veth peer name end-{name}")
        other.ip(f"link set {name} up")
        other.ip(f"link set end-{name} up")
    watch.reading("nothing")
    here = str(Path(__file__).parent)
    code = f"import sys; sys.path[:0] = [{here!r}]; import links_scene; links_scene.send('moved1', 3000)"
    other.run(sys.executable, "-c", code)
    other.ip(f"link set moved1 netns {os.getpid()}")
    ip("link set moved1 up")
    watch.reading("move")
    send("moved1", 4)
    watch.reading("moved")
    ip(f"link set moved1 netns {other.pid}")
    watch.reading("away")
    other.ip("link set moved1 up")
    other.run(sys.executable, "-c", code)
    other.ip(f"link set moved1 netns {os.getpid()}")
    watch.reading("back")
    ip("link delete ppp0")
    cable("ppp0")
    send("ppp0", 40)
    watch.reading("made anew")
    done = subprocess.run(
        ["ip", "link", "add", "link", "wan0", "name", "lan0", "type", "macvlan", "mode", "bridge"],
        stderr=subprocess.PIPE,
    )
    if done.returncode == 0:
        ip("link set lan0 up")
        watch.reading("macvlan")
        send("lan0", 9)
        watch.reading("over macvlan")
    other.close()
    return {"steps": watch.steps, "no macvlan": done.stderr.decode().strip()}


if __name__ == "__main__":
    print(json.dumps(play()))
