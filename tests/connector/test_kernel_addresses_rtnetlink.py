"""In the host's network namespace, the IPv4 addresses and their interfaces come from the kernel, through rtnetlink."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import pytest
from support import proc

from connector.errors import TableError
from connector.kernel.addresses import ask_kernel, read_ipv4_owners, read_ipv6_owners
from connector.kernel.proc import Proc


def packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def shared(root: Path) -> Proc:
    """The tree as the proc of this process' own network namespace."""
    return Proc(str(root), str(root / "1" / "net"), host=True, shared=True)


def test_owners_on_this_machine_are_those_of_psutil() -> None:
    psutil = pytest.importorskip("psutil", reason="no psutil for this machine")
    own = Proc("/proc", "/proc/self/net", host=False, shared=True)
    expected: Dict[bytes, Optional[str]] = {}
    for name, addresses in psutil.net_if_addrs().items():
        for entry in addresses:
            if entry.family in (socket.AF_INET, socket.AF_INET6):
                address = packed(entry.address.partition("%")[0])
                expected[address] = name if expected.get(address, name) == name else None
    assert read_ipv4_owners(own) == {address: name for address, name in expected.items() if len(address) == 4}
    if os.path.exists("/proc/self/net/if_inet6"):
        assert read_ipv6_owners(own) == {address: name for address, name in expected.items() if len(address) == 16}


def test_tables_of_ipv4_are_not_needed(tmp_path: Path) -> None:
    proc.tree(tmp_path, fib_trie=None, route=None, if_inet6=proc.if_inet6(("2001:db8::1", "eth9")))
    assert read_ipv4_owners(shared(tmp_path)) == dict(ask_kernel())
    assert read_ipv6_owners(shared(tmp_path)) == {packed("2001:db8::1"): "eth9"}


class Kernel:
    """A netlink socket with prepared answers."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def settimeout(self, seconds: float) -> None:
        pass

    def send(self, request: bytes) -> None:
        pass

    def recvmsg(self, size: int) -> Tuple[bytes, List[object], int, None]:
        return self.answers.pop(0), [], 0, None


NEW_ADDRESS, ERROR, DONE, INTERRUPTED = 20, 2, 3, 0x10  # linux/rtnetlink.h, linux/netlink.h


def message(kind: int, content: bytes, length: Optional[int] = None, flags: int = 0) -> bytes:
    return struct.pack("=IHHII", length or 16 + len(content), kind, flags, 1, 0) + content


def new_address(text: str, flags: int = 0) -> bytes:
    content = struct.pack("=BBBBI", socket.AF_INET, 24, 0, 0, 1) + attribute(2, packed(text))
    return message(NEW_ADDRESS, content, flags=flags)


def attribute(kind: int, content: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(content), kind) + content + bytes(-len(content) % 4)


def test_attribute_is_parsed_as_one_value_whatever_it_contains(monkeypatch: pytest.MonkeyPatch) -> None:
    """A label that looks like an address attribute is skipped; a label of 5 bytes is padded to 8."""
    label = attribute(2, packed("198.51.100.1"))
    content = struct.pack("=BBBBI", socket.AF_INET, 24, 0, 0, 1) + attribute(3, label)
    content += attribute(3, b"lo:1\0") + attribute(1, packed("192.0.2.6")) + attribute(2, packed("192.0.2.5"))
    answers = [message(NEW_ADDRESS, content), message(DONE, bytes(4))]
    monkeypatch.setattr(socket, "socket", lambda *_: Kernel(*answers))
    (found,) = ask_kernel()
    assert found == (packed("192.0.2.5"), socket.if_indextoname(1))


@pytest.mark.parametrize(
    "answer",
    [message(ERROR, bytes(20)), message(NEW_ADDRESS, b"", length=8), message(DONE, struct.pack("=i", -2))],
    ids=["refused", "no whole header", "ended with an error"],
)
def test_answer_that_is_an_error_or_malformed_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setattr(socket, "socket", lambda *_: Kernel(answer))
    with pytest.raises(TableError, match="^netlink: "):
        read_ipv4_owners(shared(proc.tree(tmp_path)))


def test_kernel_is_asked_again_if_an_address_came_or_went_while_it_listed_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted = new_address("192.0.2.5") + message(DONE, bytes(4), flags=INTERRUPTED)
    whole = new_address("192.0.2.5") + new_address("192.0.2.6") + message(DONE, bytes(4))
    answers = [interrupted, whole]
    monkeypatch.setattr(socket, "socket", lambda *_: Kernel(answers.pop(0)))
    assert set(read_ipv4_owners(shared(proc.tree(tmp_path)))) == {packed("192.0.2.5"), packed("192.0.2.6")}


def test_addresses_that_change_all_the_time_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", lambda *_: Kernel(message(DONE, bytes(4), flags=INTERRUPTED)))
    with pytest.raises(TableError, match="netlink: the list changed while it was read"):
        read_ipv4_owners(shared(proc.tree(tmp_path)))
