"""The page of `detect.py try --page` in a real browser: Debian's chromium, driven by Playwright, from the disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from detection import page as pages
from detection.outcome import Outcome
from detection.summary import moment, number
from playwright.sync_api import Browser, Page, expect, sync_playwright
from support import outcomes
from support.detect_tool import INCIDENT, ORDINARY, PROFILES, run

from connector.health import duration as span

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
FLAGS += ["--disable-sync", "--disable-gpu", "--disable-quic"]
NARROW = {"width": 360, "height": 740}

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no chromium; on Debian: apt-get install chromium, or .ci/run packages"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def fleet() -> Outcome:
    return outcomes.fleet(devices=12, reports=96)


@pytest.fixture(scope="module")
def written(fleet: Outcome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "fleet.html"
    pages.write(path, fleet.document(), fleet.series)
    return path


Opener = Callable[..., Page]


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opener]:
    """Open a page; at the end, no script may have failed or printed, and nothing but the file been asked for."""
    contexts: list[Any] = []
    trouble: list[str] = []
    requests: list[str] = []

    def open_page(path: Path, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1300, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: trouble.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: trouble.append(f"error: {error}"))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]", state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert trouble == []
    assert all(url.startswith("file:///") and url.endswith(".html") for url in requests), requests


def shown(page: Page) -> list[list[str]]:
    """Return the texts of the rows that the table shows."""
    rows: list[list[str]] = page.eval_on_selector_all(
        "#rows tr", "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.replace(/\\s+/g, ' ').trim()))"
    )
    return rows


def choose(page: Page, words: str) -> None:
    """Open the first row that has these words, and wait until it is shown."""
    page.locator("#filter").fill(words)
    page.locator("#rows button").first.click()
    expect(page.locator("#detail-title")).to_be_focused()
    page.locator("#filter").fill("")


def test_opens_with_the_worst_and_asks_for_nothing(opened: Opener, written: Path) -> None:
    page = opened(written)
    expect(page.locator("h1")).to_have_text("Security profiles Traffic, Places")
    expect(page.locator("#count")).to_have_text("108 rows, worst first")
    expect(page.locator("#detail-title")).to_have_text("gateway-5: Users")


def test_policy_refuses_what_is_outside(browser: Browser, written: Path) -> None:
    page = browser.new_page()
    page.goto(written.as_uri())
    refused = page.evaluate(
        """() => new Promise(done => {
            document.addEventListener("securitypolicyviolation", event => done(event.effectiveDirective));
            document.body.append(Object.assign(new Image(), { src: "picture.png" }));
        })"""
    )
    assert refused == "img-src"
    page.close()


def test_numbers_are_those_of_json(opened: Opener, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--reports", ORDINARY, "--reports", INCIDENT, "--json", "--page", "page.html"]
    assert run("try", PROFILES / "WrongConfiguration.json", PROFILES / "DataExfiltration.json", *arguments) == 0
    expected = {}
    for device in json.loads(capsys.readouterr().out)["devices"]:
        for result in device["behaviors"]:
            alarms = result["alarms"]
            seconds = sum((alarm["end"] or device["last"]) - alarm["start"] for alarm in alarms)
            texts = [str(len(alarms)), span(seconds) if alarms else ""]
            texts.append(f"{result['violations']} of {result['datapoints']}")
            expected[device["thing"], result["behavior"]] = ["", "", ""] if result["skipped"] else texts
    found = {(row[0], row[1].split()[0]): row[2:5] for row in shown(opened(Path("page.html").resolve()))}
    assert found == expected
    assert any(alarms != "0" for alarms, *_ in found.values())


def test_long_table_is_shown_in_parts(opened: Opener, written: Path) -> None:
    page = opened(written)
    assert len(shown(page)) == 100
    page.get_by_role("button", name="Show 8 more of 8").click()
    assert len(shown(page)) == 108
    expect(page.locator("#rows button").nth(100)).to_be_focused()


def test_table_sorts_by_mouse_and_keys(opened: Opener, written: Path) -> None:
    page = opened(written)
    worst_first = shown(page)
    violations = page.get_by_role("button", name="Violations")
    violations.click()
    counts = [int(row[4].split()[0]) for row in shown(page) if row[4]]
    assert counts == sorted(counts, reverse=True)
    expect(page.locator("th", has=violations)).to_have_attribute("aria-sort", "descending")
    violations.click()
    expect(page.locator("th", has=violations)).to_have_attribute("aria-sort", "ascending")
    violations.click()
    assert shown(page) == worst_first
    page.get_by_role("button", name="Device").focus()
    page.keyboard.press("Enter")
    names = [row[0] for row in shown(page)]
    assert names[0] == "gateway-1"
    assert names.index("gateway-2") < names.index("gateway-10")
    expect(page.locator("#count")).to_have_text("108 rows, by device")


def test_filter_finds_devices_and_behaviors(opened: Opener, written: Path) -> None:
    page = opened(written)
    page.locator("#filter").fill("Gateway-10 ports")
    assert sorted((row[0], row[1]) for row in shown(page)) == [
        ("gateway-10", "TcpPorts Places"),
        ("gateway-10", "UdpPorts Places"),
    ]
    expect(page.locator("#count")).to_have_text("2 of 108 rows, worst first")
    page.locator("#filter").fill("nowhere")
    expect(page.locator("#count")).to_have_text("0 of 108 rows, worst first")


def test_click_shows_the_right_device(opened: Opener, written: Path, fleet: Outcome) -> None:
    page = opened(written)
    devices = fleet.document()["devices"]
    for device in (devices[0], devices[-1]):
        for result in device["behaviors"][3:6]:
            choose(page, f"{device['thing']} {result['behavior']}")
            expect(page.locator("#detail-title")).to_have_text(f"{device['thing']}: {result['behavior']}")
            state = page.locator("#detail-state")
            if result["skipped"]:
                expect(state).to_have_text(f"Not replayed: {result['skipped']}")
            else:
                expect(state).to_contain_text(f"{result['datapoints']} datapoints, {result['violations']} in violation")


def test_keys_read_each_datapoint(opened: Opener, written: Path, fleet: Outcome) -> None:
    page = opened(written)
    choose(page, "gateway-3 bytesout")
    series = fleet.series("gateway-3", "Traffic", "BytesOut")
    page.locator("#chart").focus()
    page.keyboard.press("Home")
    readout = page.locator("#readout")
    for time, value in list(zip(series.times, series.values))[:5]:
        expect(readout).to_contain_text(f"{moment(time)} UTC")
        expect(readout).to_contain_text(f"{number(value)} bytes in 300 s; limit 400,000")
        page.keyboard.press("ArrowRight")
    page.keyboard.press("End")
    expect(readout).to_contain_text(f"{moment(series.times[-1])} UTC")


def test_moment_shows_destinations_ports_and_violations(opened: Opener, written: Path) -> None:
    page = opened(written)
    choose(page, "gateway-2 packetsout")
    page.locator("#chart").focus()
    page.keyboard.press("n")
    readout = page.locator("#readout")
    expect(readout).to_contain_text("in violation (alerts are suppressed)")
    expect(readout).to_contain_text("destinations: 203.0.113.66 (in violation), 192.0.2.")
    expect(readout).to_contain_text("TCP ports: 2323 (in violation), 22, 443, 8883")
    expect(readout).to_contain_text("UDP ports: nothing listened")
    expect(page.locator("#detail-state")).to_contain_text("suppressAlerts: nobody is alerted")
    expect(page.locator("#legend")).to_contain_text("in alarm, alerts are suppressed")


def test_pointing_shows_the_moment(opened: Opener, written: Path, fleet: Outcome) -> None:
    page = opened(written)
    choose(page, "gateway-2 destinations")
    box = page.locator("#chart .u-over").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 20)
    series = fleet.series("gateway-2", "Places", "Destinations")
    expect(page.locator("#readout .when")).to_have_text(f"{moment(series.times[-1])} UTC")
    for element in series.values[-1]:
        expect(page.locator("#readout")).to_contain_text(element)


def test_axes_say_what_they_show(opened: Opener, written: Path) -> None:
    page = opened(written)
    choose(page, "gateway-2 bytesout")  # a burst far above the rest
    chart = page.locator("#chart")
    label = "aws:all-bytes-out of gateway-2 over time, bytes in 300 s"
    expect(chart).to_have_attribute("aria-label", f"{label}, logarithmic axis")
    page.get_by_role("checkbox", name="Logarithmic axis").uncheck()
    expect(chart).to_have_attribute("aria-label", label)
    choose(page, "gateway-2 processor")
    expect(chart).to_have_attribute("aria-label", "cpu_usage of gateway-2 over time, %")
    expect(page.get_by_role("checkbox", name="Logarithmic axis")).not_to_be_checked()
    choose(page, "gateway-2 udpports")
    expect(chart).to_have_text("nothing listened: each of 96 datapoints has an empty list")


def first_shown(page: Page) -> str:
    """Return the time of the first datapoint that is in view."""
    page.locator("#chart").focus()
    page.keyboard.press("Home")
    return page.locator("#readout .when").inner_text()


def test_zoom_and_pan(opened: Opener, written: Path) -> None:
    page = opened(written)
    choose(page, "gateway-3 bytesout")
    start = first_shown(page)
    box = page.locator("#chart .u-over").bounding_box()
    assert box
    left, middle, y = box["x"] + box["width"] / 3, box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    page.mouse.move(left, y)
    page.mouse.down()
    page.mouse.move(left + box["width"] / 3, y, steps=3)
    page.mouse.up()
    zoomed = first_shown(page)
    assert zoomed > start
    page.keyboard.down("Shift")
    page.mouse.move(middle, y)
    page.mouse.down()
    page.mouse.move(middle + box["width"] / 4, y, steps=3)
    page.mouse.up()
    page.keyboard.up("Shift")
    assert start < first_shown(page) < zoomed
    page.mouse.dblclick(middle, y)
    assert first_shown(page) == start

    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    assert first_shown(page) > start
    page.keyboard.press("0")
    assert first_shown(page) == start
    page.get_by_role("button", name="Zoom in").click()
    zoomed = first_shown(page)
    page.get_by_role("button", name="Later").click()
    later = first_shown(page)
    assert start < zoomed < later
    page.get_by_role("button", name="All").click()
    assert first_shown(page) == start


def test_two_fingers_zoom_and_one_moves(opened: Opener, written: Path) -> None:
    page = opened(written, has_touch=True)
    choose(page, "gateway-3 bytesout")
    start = first_shown(page)
    box = page.locator("#chart .u-over").bounding_box()
    assert box
    y = box["y"] + box["height"] / 2
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *shares: float) -> None:
        points = [{"x": box["x"] + share * box["width"], "y": y, "id": i} for i, share in enumerate(shares)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    for kind, *shares in (("touchStart", 0.4, 0.6), ("touchMove", 0.3, 0.7), ("touchMove", 0.1, 0.9), ("touchEnd",)):
        touch(str(kind), *map(float, shares))
    zoomed = first_shown(page)
    assert zoomed > start
    for kind, *shares in (("touchStart", 0.3), ("touchMove", 0.5), ("touchMove", 0.7), ("touchEnd",)):
        touch(str(kind), *map(float, shares))
    assert first_shown(page) < zoomed


def test_alarm_button_goes_to_the_alarm(opened: Opener, written: Path, fleet: Outcome) -> None:
    page = opened(written)
    choose(page, "gateway-2 tcpports")
    (device,) = (device for device in fleet.devices if device.thing == "gateway-2")
    (alarm,) = next(result.alarms for result in device.results if result.behavior.name == "TcpPorts")
    assert alarm.end
    button = page.locator("#alarms button")
    expect(button).to_have_text(f"{moment(alarm.start)}, {span(alarm.end - alarm.start)}, cleared")
    button.click()
    expect(page.locator("#readout .when")).to_contain_text(f"{moment(alarm.start)} UTC in violation")


def test_works_with_the_keyboard_alone(opened: Opener, written: Path) -> None:
    page = opened(written, viewport=NARROW)
    page.keyboard.press("Tab")
    expect(page.locator("#filter")).to_be_focused()
    page.keyboard.type("gateway-6 bytes")
    for _ in range(5):  # over the headings that can be seen
        page.keyboard.press("Tab")
    row = page.locator("#rows button")
    expect(row).to_be_focused()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("#detail-title")).to_be_focused()
    expect(page.locator("#detail-title")).to_have_text("gateway-6: BytesOut")
    page.keyboard.press("Escape")
    expect(row).to_be_focused()
    page.locator("#filter").fill("gateway-6")
    page.locator("#rows button").first.focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#rows button").nth(1)).to_be_focused()


def test_narrow_window_has_no_sideways_scroll(opened: Opener, written: Path) -> None:
    page = opened(written, viewport=NARROW)
    wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wider) == 0
    expect(page.locator("#detail")).to_be_hidden()
    for words in ("gateway-2 bytesout", "gateway-2 destinations", "gateway-2 messagessent"):
        choose(page, words)
        assert page.evaluate(wider) == 0


def test_dark_and_light(opened: Opener, written: Path) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light, dark = (opened(written, color_scheme=scheme).evaluate(background) for scheme in ("light", "dark"))
    assert light == "rgb(255, 255, 255)"
    assert dark == "rgb(20, 24, 29)"


def test_texts_of_devices_stay_text(opened: Opener, tmp_path: Path) -> None:
    """A device may send any name, and any string in a list."""
    thing = "<b>\"A\" & 'B'</b></script><script>1</script>"
    text = "</script><i>&amp;</i>\x1b[2J\u202e"
    outcome = outcomes.judged([outcomes.PLACES], {thing: [(outcomes.START, {"users": outcomes.strings(text)})]})
    pages.write(tmp_path / "page.html", outcome.document(), outcome.series)
    page = opened(tmp_path / "page.html")
    expect(page.locator("#rows tr").first.locator("button")).to_have_text(thing)
    expect(page.locator("#detail-title")).to_have_text(f"{thing}: Users")
    page.locator("#chart").focus()
    page.keyboard.press("Home")
    expect(page.locator("#readout strong").last).to_have_text("</script><i>&amp;</i>\\x1b[2J\\u202e (in violation)")
    assert page.locator("b, main i:not(.key)").count() == 0
    assert page.locator("script").count() == 3


def test_long_series_are_drawn_as_a_band(opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAX_BUCKETS", (24,))
    outcome = outcomes.fleet(devices=2, reports=96)
    pages.write(tmp_path / "page.html", outcome.document(), outcome.series)
    page = opened(tmp_path / "page.html")
    choose(page, "gateway-2 bytesout")
    expect(page.locator("#legend")).to_contain_text("measured, least and most of each 20 min")
    series = outcome.series("gateway-2", "Traffic", "BytesOut")
    assert "4 datapoints" in first_shown(page)
    first = series.values[:4]
    expect(page.locator("#readout")).to_contain_text(f"{number(min(first))} to {number(max(first))} bytes")


def test_row_without_its_series_says_so(opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAX_SERIES", 2)
    outcome = outcomes.fleet(devices=2, reports=24)
    pages.write(tmp_path / "page.html", outcome.document(), outcome.series)
    page = opened(tmp_path / "page.html")
    expect(page.locator("#left-out")).to_contain_text("in the page for 2 of 16 rows, the worst ones")
    choose(page, "gateway-1 udpports")
    expect(page.locator("#chart")).to_contain_text("The metric over time of this row is not in the page")
    expect(page.locator("#detail-state")).to_contain_text("24 datapoints, 0 in violation")
