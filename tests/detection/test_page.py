"""The file that `detect.py try --page` writes: its content and size, and that no text of a device is code in it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from html.parser import HTMLParser
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from detection import page
from detection.errors import InputError
from detection.outcome import Alarm, Device, Outcome, Result, Series
from support import outcomes

UPLOT = Path(page.__file__).parent / "page" / "uplot"

EMPTY = (Outcome(("P",), ()).document(), lambda *names: Series([], [], [], None))


class Parsed(HTMLParser):
    """The elements of a page: scripts and styles by their text, and each attribute with an address."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.policy = ""
        self.code: list[tuple[str, str]] = []
        self.data = ""
        self.addresses: list[str] = []
        self._in = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self._in = "data" if attributes.get("type") == "application/json" else tag
        self.addresses += [str(value) for name, value in attrs if name in ("src", "href", "action", "data")]
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.policy = attributes["content"] or ""

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in == "data":
            self.data += data
        elif self._in in ("script", "style"):
            self.code.append((self._in, data))


def inflated(text: str) -> Any:
    return json.loads(zlib.decompress(base64.b64decode(text)))


class Read:
    """What a page holds, decoded as page/data.js does."""

    def __init__(self, text: str) -> None:
        self.parsed = Parsed(text)
        embedded = json.loads(self.parsed.data)
        self.info = inflated(embedded["table"])
        self.table = self.info["table"]
        self._embedded = embedded

    def rows(self) -> list[tuple[str, str]]:
        """Return device and behavior of each row."""
        return [
            (self.info["devices"][device]["name"], self.info["behaviors"][behavior]["name"])
            for device, behavior in zip(self.table["device"], self.table["behavior"])
        ]

    def series(self, device: str, behavior: str) -> dict[str, Any] | None:
        index = self.table["series"][self.rows().index((device, behavior))]
        if index < 0:
            return None
        blobs = self._embedded["blobs"]
        parts = {name: inflated(blobs[blob]) for name, blob in self._embedded["series"][index].items()}
        parts["times"]["times"] = list(accumulate(parts["times"]["times"]))
        parts["marks"]["buckets"] = list(accumulate(parts["marks"]["buckets"]))
        return parts


@pytest.fixture(scope="module")
def fleet() -> Outcome:
    return outcomes.fleet(devices=4, reports=60)


@pytest.fixture(scope="module")
def read(fleet: Outcome) -> Read:
    return Read(page.build(fleet.document(), fleet.series))


def test_only_the_code_that_was_written_may_run(read: Read) -> None:
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for _, text in read.parsed.code]
    policy = dict(part.split(" ", 1) for part in read.parsed.policy.split("; "))
    assert [kind for kind, _ in read.parsed.code] == ["style", "style", "script", "script"]
    assert policy == {
        "default-src": "'none'",
        "style-src": " ".join(f"'sha256-{one}'" for one in hashes[:2]),
        "script-src": " ".join(f"'sha256-{one}'" for one in hashes[2:]),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert read.parsed.addresses == []


def test_worst_rows_come_first_and_those_not_replayed_last(read: Read, fleet: Outcome) -> None:
    seconds = read.table["seconds"]
    replayed = [skipped < 0 for skipped in read.table["skipped"]]
    assert replayed == sorted(replayed, reverse=True)
    assert seconds[: sum(replayed)] == sorted(seconds[: sum(replayed)], reverse=True)
    assert len(seconds) == sum(len(device.results) for device in fleet.devices)


def test_numbers_are_whole_below_the_limit_of_datapoints(read: Read, fleet: Outcome) -> None:
    found = read.series("gateway-2", "BytesOut")
    series = fleet.series("gateway-2", "Traffic", "BytesOut")
    assert found
    assert found["times"] == {"width": 0, "times": series.times}
    assert found["values"] == {"least": series.values}
    bad = [index for index, outside in enumerate(series.outside) if outside]
    assert bad
    assert found["marks"]["buckets"] == bad
    (device,) = (device for device in fleet.devices if device.thing == "gateway-2")
    alarms = next(result.alarms for result in device.results if result.behavior.name == "BytesOut")
    assert found["marks"]["alarms"] == [[alarm.start, alarm.end, 0] for alarm in alarms]


def test_lists_are_kept_as_the_runs_of_their_elements(read: Read, fleet: Outcome) -> None:
    found = read.series("gateway-2", "Destinations")
    series = fleet.series("gateway-2", "Places", "Destinations")
    assert found
    lists = found["values"]
    assert lists["elements"][0] == "203.0.113.66"
    assert lists["outside"] == 1
    at: list[set[str]] = [set() for _ in series.times]
    for element, differences in zip(lists["elements"], lists["runs"]):
        edges = list(accumulate(differences))
        for first, end in zip(edges[::2], edges[1::2]):
            for index in range(first, end):
                at[index].add(element)
    assert at == [set(elements) for elements in series.values]


def test_year_of_one_device_keeps_its_peaks_in_two_megabytes() -> None:
    outcome = outcomes.year(5)
    text = page.build(outcome.document(), outcome.series)
    assert len(text) < 2_000_000
    read = Read(text)
    for i in range(5):
        found = read.series("gateway-1", f"B{i}")
        assert found
        values = outcome.series("gateway-1", "Year", f"B{i}").values
        assert max(found["values"].get("most") or found["values"]["least"]) == max(values) == 999_999_999
        assert min(found["values"]["least"]) == min(values)
        assert len(found["marks"]["buckets"]) == 1
        peak = found["marks"]["buckets"][0]
        assert found["times"]["times"][peak] <= outcomes.START + 300 * 50_000 < found["times"]["times"][peak + 1]


def test_series_are_thinned_as_far_as_the_size_demands(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = outcomes.fleet(devices=2, reports=288)
    whole = page.build(outcome.document(), outcome.series)
    monkeypatch.setattr(page, "MAX_BUCKETS", (1000, 100, 20))
    monkeypatch.setattr(page, "MAX_PAGE_BYTES", len(whole) + page.MAX_INDEX_BYTES - 1500)  # a little too small
    thinned = Read(page.build(outcome.document(), outcome.series))
    found = thinned.series("gateway-2", "BytesOut")
    assert found
    assert 20 < len(found["times"]["times"]) <= 100
    assert sum(found["times"]["counts"]) == 288
    assert max(found["values"]["most"]) == max(outcome.series("gateway-2", "Traffic", "BytesOut").values)
    assert sum(found["marks"]["violations"]) == 20
    assert thinned.info["leftOut"] == ""


def test_fleet_beyond_the_size_has_the_worst_and_says_so(fleet: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = page.build(fleet.document(), fleet.series)
    room = sum(len(blob) for blob in json.loads(Parsed(whole).data)["blobs"])
    monkeypatch.setattr(page, "MAX_BUCKETS", (1000,))
    monkeypatch.setattr(page, "MAX_PAGE_BYTES", len(whole) - room + 24_000)
    text = page.build(fleet.document(), fleet.series)
    assert len(text) <= page.MAX_PAGE_BYTES
    read = Read(text)
    kept = [index >= 0 for index in read.table["series"]]
    assert kept == sorted(kept, reverse=True)
    assert 0 < sum(kept) < 32
    assert read.info["leftOut"].startswith(f"The metric over time is in the page for {sum(kept)} of 32 rows, the worst")


def test_text_of_a_device_cannot_end_the_data() -> None:
    thing = "</script><script>1</script><!--"
    outcome = outcomes.judged([outcomes.PLACES], {thing: [(outcomes.START, {"users": outcomes.strings("</script>")})]})
    text = page.build(outcome.document(), outcome.series)
    assert thing not in text
    read = Read(text)
    assert len(read.parsed.code) == 4
    assert read.info["devices"][0]["name"] == thing
    found = read.series(thing, "Users")
    assert found
    assert found["values"]["elements"] == ["</script>"]


def test_numbers_beyond_64_bits_are_rounded() -> None:
    profile = outcomes.profile("P", outcomes.behavior("B", "big", value={"number": 5}))
    outcome = Outcome(
        ("P",),
        (Device("", 1, 2, 2, 1, None, (Result("P", profile.behaviors[0], "", 5, None, 2, 1, alarms=(Alarm(2),)),)),),
        {},
        lambda *names: Series([1, 2], [3, 10**30], [(), (10**30,)], 5),
    )
    read = Read(page.build(outcome.document(), outcome.series))
    assert read.rows() == [("device", "B")]
    found = read.series("device", "B")
    assert found
    assert found["values"]["least"] == [3, 1e30]
    assert found["marks"]["alarms"] == [[2, None, 0]]


def test_page_of_no_device() -> None:
    read = Read(page.build(*EMPTY))
    assert (read.rows(), read.info["summary"]) == ([], "No devices.")


def test_page_is_reproducible(fleet: Outcome) -> None:
    assert page.build(fleet.document(), fleet.series) == page.build(fleet.document(), fleet.series)


def test_file_that_cannot_be_written(fleet: Outcome, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file or directory"):
        page.write(tmp_path / "missing" / "page.html", fleet.document(), fleet.series)


def test_uplot_is_as_it_was_published() -> None:
    lines = (UPLOT / "SHA256SUMS").read_text().splitlines()
    sums = {name: checksum for checksum, name in map(str.split, lines)}
    assert sums == {
        name: hashlib.sha256((UPLOT / name).read_bytes()).hexdigest()
        for name in ("LICENSE", "uPlot.iife.min.js", "uPlot.min.css")
    }
    version = re.search(r"\(v([0-9.]+)\)", (UPLOT / "uPlot.iife.min.js").read_text())
    assert version
    assert f"version {version[1]}," in (UPLOT / "README.md").read_text()
    assert "Permission is hereby granted" in page.build(*EMPTY)
