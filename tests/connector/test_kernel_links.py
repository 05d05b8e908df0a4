"""rtnetlink: what a link's message says, what lies below what, and what becomes of an answer with an error."""

from __future__ import annotations

import errno
import struct
import tracemalloc
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.errors import TableError
from connector.kernel import links
from connector.kernel.dev import MAX_INTERFACES, Counters, matching
from connector.kernel.edge import Interfaces
from connector.kernel.interfaces import read_interfaces
from connector.kernel.links import Link, read_links
from connector.kernel.netlink import (
    MAX_ATTEMPTS,
    MAX_LAYOUTS,
    Attributes,
    DumpInterrupted,
    NetlinkUnavailable,
    attributes,
    flagged,
    messages,
)
from connector.kernel.proc import Proc

HEADER = "=IHHII"


def attribute(kind: int, content: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(content), kind) + content + bytes(-len(content) % 4)


def link(
    index: int,
    name: str,
    kind: str = "",
    below: Optional[int] = None,
    master: int = 0,
    elsewhere: bool = False,
    counters: Tuple[int, int, int, int] = (0, 0, 0, 0),
) -> bytes:
    """The payload of an RTM_NEWLINK message. elsewhere: the one below is in another network namespace."""
    payload = struct.pack("=BBHiII", 0, 0, 1, index, 0, 0) + attribute(3, name.encode() + b"\0")
    if kind:
        payload += attribute(18 | 0x8000, attribute(1, kind.encode() + b"\0"))
    if below is not None:
        payload += attribute(5, struct.pack("=I", below))
    if master:
        payload += attribute(10, struct.pack("=I", master))
    if elsewhere:
        payload += attribute(37, struct.pack("=i", 0))
    bytes_in, bytes_out, packets_in, packets_out = counters
    return payload + attribute(23, struct.pack("=24Q", packets_in, packets_out, bytes_in, bytes_out, *[9] * 20))


def message(kind: int, payload: bytes, flags: int = 2) -> bytes:
    return struct.pack(HEADER, 16 + len(payload), kind, flags, 1, 0) + payload + bytes(-len(payload) % 4)


DONE = message(3, struct.pack("=i", 0))
WANTED = flagged(3, 5, 10, 18, 23, 37)


def parse_link(payload: bytes, with_counters: bool) -> Link:
    return links.parse_link(payload, with_counters, Attributes(16, WANTED).of)


def test_link_is_parsed() -> None:
    payload = link(7, "eth0.5", "vlan", below=2, master=9, counters=(1, 2, 3, 4))
    parsed = parse_link(payload, True)
    assert (parsed.ifindex, parsed.name, parsed.kind) == (7, "eth0.5", "vlan")
    assert (parsed.master, parsed.below, parsed.counters) == (9, 2, Counters(1, 2, 3, 4))
    assert parse_link(payload, False).counters is None


@pytest.mark.parametrize("payload", [link(3, "eth0", "veth", below=4), link(3, "mv0", "macvlan", 4, elsewhere=True)])
def test_other_end_of_a_cable_and_link_in_another_network_are_not_below(payload: bytes) -> None:
    assert parse_link(payload, False).below == 0


@pytest.mark.parametrize(
    "payload",
    [
        *(b"", link(3, "eth0")[:20], link(3, ""), link(3, "sixteen_letters_")),
        *(link(3, "eth0") + struct.pack("=HH", length, 99) + bytes(4) for length in (0, 3, 9, 65535)),
    ],
)
def test_malformed_link_is_an_error(payload: bytes) -> None:
    with pytest.raises(TableError):
        parse_link(payload, True)


def test_answer_ends_with_done() -> None:
    assert list(messages(message(16, b"1234") + message(16, b"5") + DONE)) == [(16, b"1234"), (16, b"5"), (3, bytes(4))]


@pytest.mark.parametrize(
    ("block", "error", "text"),
    [
        (message(16, b"1234")[:10], TableError, "cut short"),
        (message(16, b"1234")[:18], TableError, "20 bytes, 18 were received"),
        (struct.pack(HEADER, 3, 16, 2, 1, 0), TableError, "3 bytes"),
        (message(3, struct.pack("=i", -errno.ENOMEM)), TableError, "Cannot allocate memory"),
        (message(2, struct.pack("=i", -errno.EPERM) + bytes(16)), NetlinkUnavailable, "not permitted"),
        (message(2, struct.pack("=i", -errno.EOPNOTSUPP) + bytes(16)), NetlinkUnavailable, "not supported"),
        (message(2, struct.pack("=i", -errno.ENOBUFS) + bytes(16)), TableError, "No buffer space"),
        (message(2, b""), TableError, "Protocol error"),
        (message(2, bytes(20)), TableError, "acknowledgement"),
        (message(16, b"1234", flags=0x12), DumpInterrupted, "changed"),
        (message(3, bytes(4), flags=0x12), DumpInterrupted, "changed"),
    ],
)
def test_answer_with_an_error_is_an_error(block: bytes, error: type, text: str) -> None:
    with pytest.raises(TableError, match=text) as raised:
        list(messages(block))
    assert type(raised.value) is error


@given(
    st.lists(
        st.lists(
            st.one_of(
                st.builds(attribute, st.sampled_from([3, 18 | 0x8000, 23, 99]), st.binary(max_size=5)),
                st.binary(min_size=4, max_size=8),
            ),
            max_size=3,
        ).map(b"".join),
        max_size=2 * MAX_LAYOUTS,
    )
)
def test_attributes_of_many_messages_are_those_of_each(payloads: List[bytes]) -> None:
    """Few attributes, of few lengths: messages of one length with other attributes are tried, and broken ones."""
    many = Attributes(2, WANTED)
    for payload in payloads:
        each = outcome(attributes, b"ab" + payload, 2, WANTED)
        assert outcome(many.of, b"ab" + payload) == each


def outcome(read: Callable[..., Dict[int, bytes]], *arguments: Any) -> object:
    try:
        return read(*arguments)
    except TableError as error:
        return str(error)


def answering(*payloads: bytes) -> Any:
    """Let the kernel answer with these links."""

    def dump(family: int, kind: int, body: bytes) -> Iterator[Tuple[int, bytes]]:
        return iter([(16, payload) for payload in payloads])

    return mock.patch.object(links, "dump", dump)


def edge(payloads: List[bytes], *exclude: str) -> Interfaces:
    with answering(*payloads):
        return read_interfaces(Proc("/proc", "/proc/1/net", True, True), exclude)


# What lies over what -> links, what is excluded, what counts.
EDGES: Dict[str, Tuple[List[bytes], str, str]] = {
    "a macvlan and an ipvlan": (
        [link(2, "eth0"), link(3, "lan", "macvlan", 2), link(4, "ipv", "ipvlan", 2)],
        "",
        "eth0",
    ),
    "a macvlan over an excluded interface": ([link(2, "eth0"), link(3, "lan", "macvlan", 2)], "eth0", "lan"),
    "a macvlan whose lower interface is in another network": (
        [link(2, "eth0"), link(3, "lan", "macvlan", 2, elsewhere=True)],
        "",
        "eth0 lan",
    ),
    "a VLAN of any name": ([link(3, "uplink", "vlan", 2), link(2, "eth0")], "", "eth0"),
    "a VLAN over an excluded VLAN": (
        [link(2, "eth0"), link(3, "v3", "vlan", 2), link(4, "v4", "vlan", 3)],
        "v3",
        "eth0",
    ),
    "a team": (
        [link(5, "uplink0", "team"), link(2, "eth0", master=5), link(3, "eth1", master=5)],
        "",
        "eth0 eth1",
    ),
    "a VLAN over an excluded bond": (
        [link(5, "bond0", "bond"), link(2, "eth0", master=5), link(6, "mgmt", "vlan", 5)],
        "bond0",
        "eth0",
    ),
    "a team whose members are excluded": (
        [link(5, "uplink0", "team"), link(2, "eth0", master=5)],
        "eth*",
        "uplink0",
    ),
    "the ports of a switch over its conduit": (
        [link(2, "eth0"), link(3, "lan1", "dsa", 2), link(4, "lan2", "", 2)],
        "",
        "eth0",
    ),
    "a modem's channels": (
        [link(2, "wwan0"), link(3, "rmnet1", "rmnet", 2), link(4, "qmimux0")],
        "",
        "wwan0",
    ),
    "a VRF": ([link(5, "blue", "vrf"), link(2, "eth0", master=5)], "", "eth0"),
    "a bridge over an interface that counts": (
        [link(5, "vmbr0", "bridge"), link(2, "eno1", master=5), link(3, "tap1", "tun", master=5)],
        "tap*",
        "eno1",
    ),
    "a bridge of containers": (
        [link(2, "eth0"), link(5, "podman9", "bridge"), link(6, "veth1", "veth", 7, master=5)],
        "veth*",
        "eth0",
    ),
    "a bridge without ports": ([link(2, "eth0"), link(5, "br9", "bridge")], "", "eth0"),
    "a bridge in place of its excluded port": (
        [link(5, "br0", "bridge"), link(2, "eth0", "veth", 9, master=5)],
        "eth0",
        "br0",
    ),
    "an ifb": ([link(2, "eth0"), link(5, "shaper", "ifb")], "", "eth0"),
    "a veth whose other end is here": ([link(2, "a", "veth", 3), link(3, "b", "veth", 2)], "", "a b"),
    "an interface below that is not listed": ([link(3, "lan", "macvlan", 2)], "", "lan"),
}


@pytest.mark.parametrize(("payloads", "exclude", "expected"), list(EDGES.values()), ids=list(EDGES))
def test_each_byte_is_counted_on_one_interface(payloads: List[bytes], exclude: str, expected: str) -> None:
    assert edge(payloads, *exclude.split()).edge == set(expected.split())


def test_reading_has_counters_and_indexes_of_what_is_not_excluded() -> None:
    payloads = [link(2, "eth0", counters=(1, 2, 3, 4)), link(9, "veth1", "veth", 3)]
    read = edge(payloads, "veth*")
    assert (read.counters, read.indexes) == ({"eth0": Counters(1, 2, 3, 4)}, {"eth0": 2})
    assert (read.last_index, read.edge) == (9, {"eth0"})


def test_more_interfaces_than_the_maximum_are_an_error() -> None:
    payloads = [link(number + 2, f"ppp{number}") for number in range(MAX_INTERFACES)]
    assert len(edge(payloads).counters) == MAX_INTERFACES
    with pytest.raises(TableError, match=f"over {MAX_INTERFACES} interfaces count"):
        edge([*payloads, link(1, "eth0")])


def test_memory_does_not_grow_with_the_number_of_excluded_interfaces() -> None:
    """One block of the answer is held; 10,000 containers fit a function of 16 MB."""

    def dump(family: int, kind: int, body: bytes) -> Iterator[Tuple[int, bytes]]:
        yield 16, link(2, "eth0")
        for index in range(3, 10_003):
            yield 16, link(index, f"veth{index}", "veth", index + 20_000)

    with mock.patch.object(links, "dump", dump):
        read_links(matching(("veth*",)))
        tracemalloc.start()
        try:
            found = read_links(matching(("veth*",)))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert (list(found.counters), found.last_index) == (["eth0"], 10_002)
    assert peak < 100_000


@pytest.mark.parametrize(
    ("payloads", "lists"),
    [
        ([link(2, "eth0"), link(3, "docker0", "bridge"), link(4, "veth1", "veth", 5, master=3)], 1),
        ([link(2, "eth0"), link(3, "docker0", "bridge"), link(4, "eth1", master=3)], 2),
        ([link(2, "eth0"), link(3, "docker0", "bridge"), link(4, "docker1", "dummy", master=3)], 2),
        ([link(2, "eth0"), link(3, "br0", "bridge")], 2),
        ([link(2, "eth0"), link(3, "lan", "macvlan", 2)], 2),
        ([link(2, "docker9"), link(3, "lan", "macvlan", 2)], 3),
    ],
)
def test_further_lists_are_asked_for_only_where_something_may_lie_over_another(
    payloads: List[bytes], lists: int
) -> None:
    """A list of hundreds of interfaces is most of what a reading costs."""
    with mock.patch.object(links, "dump", return_value=[(16, payload) for payload in payloads]) as dump:
        read_links(matching(("docker*", "veth*")))
    assert dump.call_count == lists


def test_list_that_changed_meanwhile_is_asked_for_again() -> None:
    answers: List[object] = [DumpInterrupted("changed"), [(16, link(2, "eth0"))], [(16, link(2, "eth0"))]]

    def dump(family: int, kind: int, body: bytes) -> Iterator[Tuple[int, bytes]]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return iter(answer)  # type: ignore[call-overload, no-any-return]

    with mock.patch.object(links, "dump", dump):
        assert list(read_links(matching(())).counters) == ["eth0"]
    answers = [DumpInterrupted("changed")] * MAX_ATTEMPTS
    with mock.patch.object(links, "dump", dump), pytest.raises(TableError, match="changed"):
        read_links(matching(()))


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.EPERM, NetlinkUnavailable), (errno.EAFNOSUPPORT, NetlinkUnavailable), (errno.EMFILE, TableError)],
)
def test_socket_that_can_not_be_made_is_unavailable_or_an_error(number: int, kind: type) -> None:
    """Only what lasts, such as a sandbox without netlink, makes the tables be read in its place."""
    with mock.patch("socket.socket", side_effect=OSError(number, "x")), pytest.raises(kind) as raised:
        read_links(matching(()))
    assert type(raised.value) is kind
