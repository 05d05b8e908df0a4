"""`net/dev`: the counters of each interface, or an error that names what is wrong with the table."""

from __future__ import annotations

import io
import re
from typing import Dict

import pytest
from support import proc

from connector.errors import TableError
from connector.kernel.dev import MAX_INTERFACES, Counters, parse_dev

# Linux 6.18, x86_64, in a network namespace of its own.
RECORDED = b"""\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     996      12    0    0    0     0          0         0      996      12    0    0    0     0       0          0
  eth0: 1518744    1092    0    3    0     0          0        17    88214     771    0    0    0     0       0          0
wlx00c0ca123456:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
"""  # noqa: E501


def parsed(table: bytes) -> Dict[str, Counters]:
    return parse_dev(io.BytesIO(table))


def test_counters_by_interface() -> None:
    assert parsed(RECORDED) == {
        "lo": Counters(996, 996, 12, 12),
        "eth0": Counters(bytes_in=1518744, bytes_out=88214, packets_in=1092, packets_out=771),
        "wlx00c0ca123456": Counters(0, 0, 0, 0),
    }


def test_columns_in_another_order_are_found_by_their_names() -> None:
    """A kernel may add a column or change their order."""
    table = b"""\
Inter-|   Receive             |  Transmit
 face |new packets bytes|carrier bytes new packets
 eth0:   1       2     3|      4     5   6       7
""".replace(b"3|", b"3 ")
    assert parsed(table) == {"eth0": Counters(bytes_in=3, bytes_out=5, packets_in=2, packets_out=7)}


def test_number_without_space_after_the_colon_is_read() -> None:
    """Old kernels print none; counters go to 2^64 - 1."""
    greatest = 2**64 - 1
    assert parsed(proc.dev({"eth0": (greatest, 0, 0, greatest)}).replace(b"eth0: ", b"eth0:")) == {
        "eth0": Counters(greatest, 0, 0, greatest)
    }


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"eth0.100", "eth0.100"),
        (b"en\xc3\xa9", "en\u00e9"),
        (b"\xff\x01|\"'<>", "\udcff\x01|\"'<>"),
        (b"-", "-"),
        (b"tun7:1", "tun7:1"),  # before Linux 4.18
        (b"eth0:", "eth0:"),
        (b"\xe2\x80\xa8", "\u2028"),
    ],
)
def test_name_of_any_bytes_that_a_kernel_accepts_is_read(raw: bytes, name: str) -> None:
    table = proc.dev({"eth0": (1, 2, 3, 4)}).replace(b"eth0", raw)
    assert parsed(table) == {name: Counters(1, 2, 3, 4)}


@pytest.mark.parametrize("raw", [b"", b"eth0/1", b"sixteen_letters_"])
def test_name_that_no_kernel_accepts_is_an_error(raw: bytes) -> None:
    """The length of names bounds the size of a report."""
    table = proc.dev({"eth0": (1, 2, 3, 4)}).replace(b"eth0", raw)
    with pytest.raises(TableError, match=f"not an interface's name: {re.escape(repr(raw))}"):
        parsed(table)


def test_more_interfaces_than_the_maximum_are_an_error_that_says_what_to_do() -> None:
    """Excluded ones are not kept, and may be any number."""
    numbers: Dict[str, proc.Numbers] = {
        f"ppp{place}": (place, 2 * place, place, place) for place in range(MAX_INTERFACES)
    }
    excluded: Dict[str, proc.Numbers] = {f"veth{place}": (1, 1, 1, 1) for place in range(MAX_INTERFACES)}
    expected = {name: Counters(*values) for name, values in numbers.items()}
    assert parse_dev(io.BytesIO(proc.dev({**numbers, **excluded})), ("veth*",)) == expected
    numbers["eth0"] = (1, 1, 1, 1)
    reason = f"^net/dev: over {MAX_INTERFACES} interfaces count: name those .* in ExcludeInterfaces$"
    with pytest.raises(TableError, match=reason):
        parsed(proc.dev(numbers))


def test_table_without_interfaces_is_empty() -> None:
    assert parsed(proc.dev({})) == {}


HEADER = proc.dev({})
ETH0 = proc.dev({"eth0": (1, 2, 3, 4)})[len(HEADER) :]
BROKEN = {
    "empty": (b"", "cut short"),
    "cut in the header": (HEADER[:-1], "cut short"),
    "one line": (HEADER.splitlines()[0] + b"\n", "cut short"),
    "cut in a row": (HEADER + ETH0 + ETH0[:40], "cut short"),
    "cut before the last newline": (HEADER + ETH0[:-1], "cut short"),
    "another table": (b"a\nb | c\n" + ETH0, "unknown columns b'b | c'"),
    "no receive bytes": (HEADER.replace(b"|bytes", b"|octets", 1) + ETH0, "unknown columns b' face |octets"),
    "no transmit packets": (
        HEADER[:-1].replace(b" packets errs drop fifo colls", b" frames errs drop fifo colls") + b"\n" + ETH0,
        "unknown columns b' face |bytes",
    ),
    "a column less in a row": (HEADER + ETH0.replace(b" 7 ", b" ", 1), "a row of unknown shape: b'  eth0:"),
    "a column more in a row": (HEADER + ETH0[:-1] + b" 0\n", "a row of unknown shape: b'  eth0:"),
    "no colon": (HEADER + ETH0.replace(b":", b" "), "a row of unknown shape: b'  eth0 "),
    "empty row": (HEADER + ETH0 + b"\n" + ETH0, "a row of unknown shape: b''"),
    "garbage row": (HEADER + ETH0 + b"\x00\xff garbage\n" + ETH0, r"a row of unknown shape: b'\\x00\\xff garbage'"),
    "negative": (HEADER + ETH0.replace(b" 1 ", b"-1 ", 1), "a row of unknown shape: b'  eth0:"),
    "no number": (HEADER + ETH0.replace(b" 1 ", b"1e1", 1), "a row of unknown shape: b'  eth0:"),
    "digits of another script": (HEADER + ETH0.replace(b" 1 ", b" \xd9\xa1 ", 1), "a row of unknown shape"),
    "2^64": (HEADER + ETH0.replace(b" 1 ", b" 18446744073709551616 ", 1), "an impossible row: b'  eth0:"),
    "5,000 digits": (HEADER + ETH0.replace(b" 1 ", b" " + b"9" * 5000 + b" ", 1), "a row of unknown shape"),
    "one interface twice": (HEADER + ETH0 + ETH0, "an impossible row: b'  eth0:"),
}


@pytest.mark.parametrize(("table", "reason"), list(BROKEN.values()), ids=list(BROKEN))
def test_table_of_another_shape_is_an_error_that_shows_it(table: bytes, reason: str) -> None:
    """A sum over some of the interfaces would be false."""
    with pytest.raises(TableError, match="^net/dev: " + reason.replace("|", r"\|")):
        parsed(table)
