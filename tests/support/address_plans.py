"""Run as process 1 of a network namespace: give its interfaces addresses, and print whose they are.

Reads a JSON list of plans from stdin; a plan is a list of commands for `ip -batch`. Prints, for each plan, the owners
that the tables prove and those that the kernel's rtnetlink gives. With the argument `-force`, commands that the kernel
rejects have no effect.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Dict, Iterable, List

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from connector.kernel.addresses import Owners, read_ipv4_owners
from connector.kernel.proc import Proc

INTERFACES = ("lo", "eth0", "eth1", "wlan0", "tun0", "tun1", "down0")


def ip(commands: Iterable[str], *options: str) -> None:
    command = ["ip", *options, "-batch", "-"]
    subprocess.run(command, input="\n".join([*commands, ""]), text=True, check=not options, stderr=subprocess.PIPE)


def interfaces() -> List[str]:
    """Return the commands that make the interfaces. To the routing tables, a veth is like any other."""
    commands = ["link set lo up"]
    for name in INTERFACES[1:]:
        commands.append(f"link add {name} type veth peer name peer-{name}")
        if name != "down0":
            commands += [f"link set {name} up", f"link set peer-{name} up"]
    return commands


def written(owners: Owners) -> Dict[str, str]:
    return {socket.inet_ntoa(address): name for address, name in owners.items() if name and address[0] != 127}


def main() -> None:
    own = Proc("/proc", "/proc/self/net", host=True, shared=True)
    clean = [f"address flush dev {name}" for name in INTERFACES]
    clean += ["route flush table main", "address add 127.0.0.1/8 dev lo"]
    ip(interfaces())
    seen = []
    for plan in json.load(sys.stdin):
        ip([*clean, *plan], *sys.argv[1:])
        tables = written(read_ipv4_owners(own._replace(shared=False)))
        seen.append({"tables": tables, "kernel": written(read_ipv4_owners(own))})
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
