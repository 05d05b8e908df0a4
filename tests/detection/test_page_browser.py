"""The page of `detect.py try --page` in a real browser: its table, its size and its texts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from detection import page as pages
from detection.outcome import Outcome
from playwright.sync_api import Browser, Page, expect
from support import outcomes
from support.detect_tool import INCIDENT, ORDINARY, PROFILES, run
from support.page_browser import SECONDS, Opener, browser, choose, fleet, needs_chromium, opened, written

from connector.health import duration as span

__all__ = ["browser", "fleet", "opened", "written"]  # fixtures
NARROW = {"width": 360, "height": 740}

pytestmark = needs_chromium


def shown(page: Page) -> list[list[str]]:
    """Return the texts of the rows that the table shows."""
    rows: list[list[str]] = page.eval_on_selector_all(
        "#rows tr", "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.replace(/\\s+/g, ' ').trim()))"
    )
    return rows


def test_opens_with_the_worst_and_asks_for_nothing(opened: Opener, written: Path) -> None:
    page = opened(written)
    expect(page.locator("h1")).to_have_text("Security profiles Traffic, Places")
    expect(page.locator("#count")).to_have_text("108 rows, worst first")
    expect(page.locator("#detail-title")).to_have_text("gateway-5: Users")


def test_policy_refuses_what_is_outside(browser: Browser, written: Path) -> None:
    page = browser.new_page()
    page.set_default_timeout(1000 * SECONDS)
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


def test_button_of_each_row_has_a_name_of_its_own(opened: Opener, written: Path) -> None:
    """A screen reader lists them without their rows."""
    page = opened(written)
    names = page.eval_on_selector_all("#rows button", "buttons => buttons.map(button => button.ariaLabel)")
    assert len(set(names)) == len(names) == 100
    page.get_by_role("button", name="gateway-5: Users", exact=True).click()
    expect(page.locator("#detail-title")).to_have_text("gateway-5: Users")


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


def test_works_with_the_keyboard_alone(opened: Opener, written: Path) -> None:
    page = opened(written, viewport=NARROW)
    page.keyboard.press("Tab")
    expect(page.locator("#filter")).to_be_focused()
    page.keyboard.type("gateway-6 bytes")
    for _ in range(7):  # over the headings
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


def test_narrow_window_shows_every_column(opened: Opener, written: Path) -> None:
    page = opened(written, viewport=NARROW)
    rows = shown(page)
    assert rows == shown(opened(written))
    assert all(state for *_, state in rows)
    for column in ("Device", "Behavior", "Alarms", "In alarm", "Violations", "State"):
        box = page.get_by_role("columnheader", name=column, exact=True).bounding_box()
        assert box
        assert 0 <= box["x"] <= box["x"] + box["width"] <= NARROW["width"]
    ends = "cells => Math.max(...cells.map(cell => cell.getBoundingClientRect().right))"
    assert page.eval_on_selector_all("#rows th, #rows td", ends) <= NARROW["width"]
    page.get_by_role("button", name="Violations").click()
    counts = [int(row[4].split()[0]) for row in shown(page) if row[4]]
    assert counts == sorted(counts, reverse=True)


def test_a_name_of_any_length_hides_nothing_else(opened: Opener) -> None:
    """AWS IoT's names have 128 characters at most; a recording may have anything."""
    ports = {"ports": [{"port": 40425}], "total": 1}
    reports = [
        {"thing": thing, "header": {"report_id": 1767600000}, "metrics": {"listening_tcp_ports": ports}}
        for thing in ("x" * 20_000, "W" * 128)
    ]
    Path("long.jsonl").write_text("".join(json.dumps(report) + "\n" for report in reports))
    arguments = ["--reports", "long.jsonl", "--page", "long.html"]
    assert run("try", PROFILES / "WrongConfiguration.json", *arguments) == 0
    for width in (1300, 360):
        page = opened(Path("long.html").resolve(), viewport={"width": width, "height": 740})
        boxes = [row.bounding_box() for row in page.locator("#rows tr").all()]
        assert max(box["height"] for box in boxes if box) < 700
        names = page.locator("#rows button", has_text="WWW")
        assert all(name.evaluate("name => name.scrollHeight <= name.clientHeight + 1") for name in names.all())
        choose(page, "xxx")
        title = page.locator("#detail-title").bounding_box()
        assert title
        assert title["height"] < 700


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
