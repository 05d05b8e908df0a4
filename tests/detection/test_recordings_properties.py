"""Property: reading into columns gives what plain reading gives, whatever is recorded and whatever is damaged."""

from __future__ import annotations

import copy
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from detection import batches, reading, records, sniff
from detection import documents as documents_module
from detection.batches import Batch, row
from detection.decompress import DamagedError
from detection.documents import Fault, read_cbor, scan
from detection.envelope import unwrap
from detection.reading import THING_FIELD, Reader
from detection.reports import from_document
from detection.spans import Outcome, Span
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fleet_files import COMPRESSIONS, LAYOUTS, in_short_names

COUNTS = st.integers(0, 2**63 - 1) | st.integers(0, 5)
PORTS = st.lists(
    st.fixed_dictionaries({"port": st.integers(1, 65535)}, optional={"interface": st.text(max_size=3)}), max_size=3
)
REMOTES = st.sampled_from(
    ["192.0.2.7:443", "[2001:db8::7]:8883", "198.51.100.1:1", "[::ffff:192.0.2.1]:5", "[fe80::1%eth0]:9"]
)
CONNECTIONS = st.lists(
    st.fixed_dictionaries({"remote_addr": REMOTES}, optional={"local_port": st.integers()}), max_size=3
)
NUMBERS = st.integers(-(2**53), 2**53) | st.floats(-1e300, 1e300)
TEXTS = st.text(max_size=4) | st.sampled_from(["}{", "}\n{", '{"header":', "\\", '"'])
CUSTOM = st.dictionaries(
    st.sampled_from(["cpu_usage", "a", "header", "pt", "x:y-z"]),
    st.one_of(
        st.fixed_dictionaries({"number": NUMBERS}),
        st.fixed_dictionaries({"number_list": st.lists(NUMBERS, max_size=2)}),
        st.fixed_dictionaries({"string_list": st.lists(TEXTS, max_size=2)}),
        st.fixed_dictionaries({"ip_list": st.lists(st.sampled_from(["192.0.2.9", "2001:DB8::9"]), max_size=2)}),
    ).map(lambda value: [value]),
    max_size=3,
)


def some_of(**members: Any) -> Any:
    return st.fixed_dictionaries({}, optional=members)


METRICS = some_of(
    network_stats=some_of(bytes_in=COUNTS, bytes_out=COUNTS, packets_in=COUNTS, packets_out=COUNTS),
    listening_tcp_ports=some_of(ports=PORTS, total=COUNTS),
    listening_udp_ports=some_of(ports=PORTS, total=COUNTS),
    tcp_connections=some_of(established_connections=some_of(connections=CONNECTIONS, total=COUNTS)),
)
HEADERS = st.fixed_dictionaries({"report_id": st.integers(1, 253402300799)}, optional={"version": st.just("1.0")})
ADDED = {"thing": st.sampled_from(["gateway-1", "gateway-2", "n/a"]) | TEXTS.filter(bool), "timestamp": st.integers()}
VALID = st.fixed_dictionaries({"header": HEADERS, "metrics": METRICS}, optional={"custom_metrics": CUSTOM, **ADDED}) | (
    st.fixed_dictionaries({"header": HEADERS, "custom_metrics": CUSTOM}, optional=ADDED)
)
VALID |= VALID.map(in_short_names)


def _spoil(document: Any, choices: list[int], value: Any) -> Any:
    """Replace a member somewhere in a document."""
    block = document = copy.deepcopy(document)
    for choice in choices:
        keys = list(block) if isinstance(block, dict) else list(range(len(block)))
        if not keys:
            break
        key = keys[choice % len(keys)]
        if not isinstance(block[key], (dict, list)) or choice % 5 == 0:
            block[key] = value
            break
        block = block[key]
    return document


ODD_VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, "12", 1.5, 1.0, -1, 2**63, 10**400, "", [], {}, [[]], {"port": 1}, "\ud800", "1e2"]
)
SPOILED = st.builds(_spoil, VALID, st.lists(st.integers(0, 9), min_size=1, max_size=7), ODD_VALUES)
MIXED = st.builds(lambda a, b: {**a, **b}, VALID, VALID)  # long and short names in one document
DOCUMENTS = st.lists(VALID | SPOILED | MIXED, max_size=6)


@st.composite
def damages(draw: st.DrawFn) -> Any:
    """What happens to the bytes of a file."""
    kind = draw(st.sampled_from(["none", "cut", "flip", "insert", "lose"]))
    at, value = (
        draw(st.floats(0, 1)),
        draw(st.sampled_from([b"\0\0\0", b"INFO started\n", b"}{", b"\xff", b"{", b'"', b"\n", b"]", b"12 "])),
    )

    def damage(content: bytes) -> bytes:
        place = int(at * len(content))
        if kind == "cut":
            return content[:place]
        if kind == "flip":
            return content[:place] + bytes(255 - byte for byte in content[place : place + 1]) + content[place + 1 :]
        if kind == "insert":
            return content[:place] + value + content[place:]
        return content[:place] + content[place + 9 :] if kind == "lose" else content

    return damage


class Plain:
    """Reads a file document by document, as reports.py has it."""

    def __init__(self, recording: sniff.Recording) -> None:
        self.rows: list[dict[str, Any]] = []
        self.skipped: list[int] = []
        self.torn: list[int] = []
        reader = Reader(Batch(Path()), None)
        span = Span(recording, 0, "device")
        items = list(self._items(recording))
        for number, (place, item) in enumerate(items):
            if isinstance(item, Fault):
                (self.torn if item.cut and number == len(items) - 1 else self.skipped).append(place)
                continue
            try:
                document, named = unwrap(item, THING_FIELD)
                thing = reader._thing(span, named)
                self.rows.append(row(from_document(document, ""), thing))
            except (ValueError, RecursionError):
                self.skipped.append(place)

    @staticmethod
    def _items(recording: sniff.Recording) -> Iterator[tuple[int, Any]]:
        parts: list[bytes] = []
        fault: list[tuple[int, Any]] = []
        with sniff.content(recording) as stream:
            try:
                parts.extend(iter(lambda: stream.read(2**20), b""))
            except DamagedError as damage:
                fault = [(sum(map(len, parts)), Fault(str(damage), damage.cut))]
        content = b"".join(parts)
        if recording.kind == sniff.UNKNOWN:
            yield 0, Fault("")
            return
        if recording.kind == sniff.CBOR:
            items = list(read_cbor(io.BytesIO(content)))
        else:
            text = content.decode("utf-8", "surrogateescape")
            items = [
                (len(text[:index].encode("utf-8", "surrogateescape")), item) for index, item in scan(text, False)[0]
            ]
        last = items[-1][1] if items else None
        if fault and fault[0][1].cut and isinstance(last, Fault) and last.cut:
            fault = []
        yield from items
        yield from fault


def columns(recording: sniff.Recording, folder: Path) -> tuple[list[dict[str, Any]], Outcome]:
    """Read a file into columns."""
    part = folder / "part.parquet"
    outcome = reading.read_spans([Span(recording, 0, "device")], part, None)
    table = pyarrow.parquet.read_table(part).drop_columns(["sequence"]) if outcome.has_rows else None
    return table.to_pylist() if table else [], outcome


@pytest.mark.parametrize(("chunk", "pieces", "gathered"), [(7, 1, 1), (64, 2, 3), (2**20, 3, 2), (2**20, 128, 4000)])
@settings(max_examples=60)
@given(DOCUMENTS, st.sampled_from(sorted(LAYOUTS)), st.sampled_from(sorted(COMPRESSIONS)), damages(), damages())
def test_columns_are_what_plain_reading_gives(
    chunk: int,
    pieces: int,
    gathered: int,
    monkeypatch: pytest.MonkeyPatch,
    documents: list[Any],
    layout: str,
    compression: str,
    inner: Any,
    outer: Any,
) -> None:
    monkeypatch.setattr(documents_module, "CHUNK_BYTES", chunk)
    monkeypatch.setattr(records, "PIECES_AT_ONCE", pieces)
    monkeypatch.setattr(batches, "MAX_GATHERED", gathered)
    content = COMPRESSIONS[compression](inner(LAYOUTS[layout](documents)))
    if compression != "plain":
        content = outer(content)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "recording")
        path.write_bytes(content)
        (recording,) = sniff.find([str(path)])
        plain = Plain(recording)
        rows, outcome = columns(recording, Path(folder))
    assert rows == plain.rows
    assert [one.place for one in outcome.skipped] == plain.skipped
    assert [one.place for one in outcome.torn] == plain.torn
    assert outcome.found == outcome.kept + outcome.skipped_count + len(outcome.torn)
    assert outcome.kept == len(rows)
