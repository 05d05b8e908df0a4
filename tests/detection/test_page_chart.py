"""The chart of `detect.py try --page` in a real browser: what it shows of a moment, with mouse, touch and keys."""

from __future__ import annotations

from pathlib import Path

import pytest
from detection import page as pages
from detection.outcome import Outcome
from detection.summary import moment, number
from playwright.sync_api import Page, expect
from support import outcomes
from support.page_browser import Opener, browser, choose, fleet, needs_chromium, opened, written

from connector.health import duration as span

__all__ = ["browser", "fleet", "opened", "written"]  # fixtures

pytestmark = needs_chromium


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
    choose(page, "gateway-2 tcpports")
    plot = page.locator("#chart .u-over").bounding_box()
    assert plot
    assert plot["height"] >= 90, "the axis's unit has room, however few the elements are"
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
