"""The page in a real browser: nothing is fetched, everything is drawn, and it can be read by
everyone, in the dark, on a phone, by the keyboard and on paper."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convkit.codec import encode
from convkit.comparison import Comparison
from tests.report import comparisons
from tests.report.conftest import Opened

Write = Callable[[str, Comparison], Path]
Show = Callable[..., Opened]

MARKS = "[role=graphics-symbol][aria-label]:not(.mark-group)"
NAMES = list(comparisons.ALL)

UNDRAWN = {("broken", "object-size")}
"""Charts with rows that hold no number."""


def numbers(colour: str) -> list[float]:
    """Red, green and blue of `rgb(1, 2, 3)`."""
    return [float(part) for part in colour.split("(")[1].rstrip(")").split(",")[:3]]


def luminance(colour: str) -> float:
    """As WCAG defines it."""
    shares = [part / 255 for part in numbers(colour)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def style(page: Any, selector: str, name: str) -> str:
    found: str = page.eval_on_selector(
        selector, f"element => getComputedStyle(element).getPropertyValue('{name}')"
    )
    return found


@pytest.mark.parametrize("name", NAMES)
def test_draws_every_chart_and_asks_for_nothing(name: str, written: Write, show: Show) -> None:
    opened = show(written(name, comparisons.ALL[name]()))
    assert opened.complaints == []
    assert opened.requests == [opened.path.as_uri()]
    plots = opened.page.locator(".plot").count()
    assert opened.page.locator(".plot[data-state=drawn] svg").count() == plots
    assert (plots == 0) == (name == "nothing-made")


@pytest.mark.parametrize(
    ("name", "width"),
    [("full", 390), ("many", 390), ("broken", 390), ("hostile", 390), ("full", 800)],
)
def test_never_scrolls_sideways(name: str, width: int, written: Write, show: Show) -> None:
    page = show(written(name, comparisons.ALL[name]()), width=width).page
    page.eval_on_selector_all("details", "all => all.forEach(element => element.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("name", ["full", "many", "broken"])
def test_a_chart_has_a_mark_for_every_row_of_its_table(
    name: str, written: Write, show: Show
) -> None:
    page = show(written(name, comparisons.ALL[name]())).page
    charts = page.locator("figure.chart")
    seen = set()
    for number in range(charts.count()):
        chart = charts.nth(number)
        place = chart.get_attribute("id")
        marks, rows = chart.locator(MARKS).count(), chart.locator(".data tbody tr").count()
        if (name, place) not in UNDRAWN:
            assert marks == rows * {"object-size": 3, "delegated": 2}.get(place, 1), place
        assert marks > 0
        seen.add(place)
    assert {"speed-quality", "sizes", "metric", "sqnr", "time-ratios"} <= seen


def test_the_page_holds_the_comparison(written: Write, show: Show) -> None:
    for name in ("full", "broken", "hostile"):
        comparison = comparisons.ALL[name]()
        page = show(written(name, comparison)).page
        text = page.locator("#comparison").evaluate("element => element.textContent")
        assert json.loads(text) == comparison.to_json()


def test_hostile_names_stay_names(written: Write, show: Show) -> None:
    opened = show(written("hostile", comparisons.hostile()))
    page = opened.page
    assert page.title().startswith('"><img src=x onerror="document.title=1">')
    assert page.locator("img").count() == 0
    harmless = show(written("full", comparisons.full())).page
    assert page.locator("script").count() == harmless.locator("script").count()
    assert page.locator("main").get_by_text("document.title=2").count() > 5
    page.locator(".plot").first.focus()
    page.keyboard.press("End")
    page.mouse.move(500, 500)
    assert opened.complaints == []


def test_even_a_script_that_got_in_could_tell_nobody(written: Write, show: Show) -> None:
    opened = show(written("full", comparisons.full()))
    outcome = opened.page.evaluate("fetch('https://example.org/').then(() => 'sent', () => 'no')")
    assert outcome == "no"
    opened.page.evaluate("document.body.append(Object.assign(new Image(), {src: 'http://a.b/'}))")
    opened.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'),"
        " {textContent: 'document.title = \"taken\"'}))"
    )
    assert opened.page.title() != "taken"
    assert any("Content Security Policy" in text for text in opened.complaints)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_can_be_read(scheme: str, written: Write, show: Show) -> None:
    page = show(written("full", comparisons.full()), color_scheme=scheme).page
    ground = style(page, "body", "background-color")
    assert (luminance(ground) < 0.1) == (scheme == "dark")
    card = style(page, "figure.chart", "background-color")
    assert contrast(style(page, "h1", "color"), ground) >= 7
    assert contrast(style(page, "#sizes svg .role-axis-label text", "fill"), card) >= 4.5
    for status in ("good", "warn", "bad", "unknown"):
        page.evaluate(
            f"document.querySelector('main').insertAdjacentHTML('beforeend',"
            f' \'<p><span class="badge {status}" id="probe-{status}">x</span></p>\')'
        )
        probe = f"#probe-{status}"
        pair = style(page, probe, "color"), style(page, probe, "background-color")
        assert contrast(*pair) >= 4.5, status
    for mark in page.query_selector_all(f"#sizes {MARKS}"):
        fill = mark.evaluate("element => getComputedStyle(element).fill")
        assert contrast(fill, card) >= 3, fill


def test_the_button_changes_the_theme_and_it_lasts(written: Write, show: Show) -> None:
    page = show(written("full", comparisons.full()), color_scheme="light").page
    button = page.locator("#theme")
    assert button.inner_text() == "Theme: auto"
    button.click()
    button.click()
    assert button.inner_text() == "Theme: dark"
    assert luminance(style(page, "body", "background-color")) < 0.1
    page.reload()
    assert luminance(style(page, "body", "background-color")) < 0.1


def test_paper_is_light_and_shows_what_is_closed(written: Write, show: Show) -> None:
    page = show(written("full", comparisons.full()), color_scheme="dark").page
    table = "#sizes .data table"
    assert not page.is_visible(table)
    page.emulate_media(media="print")
    assert luminance(style(page, "h1", "color")) < 0.1
    assert not page.is_visible("nav")
    assert not page.is_visible("#theme")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.is_visible(table)
    assert page.locator("details.bulk[open]").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("#sizes .data[open]").count() == 0
    pdf = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF")
    pages = pdf.count(b"/Type /Page\n") or pdf.count(b"/Type /Page ")
    assert 0 < pages < 40


def test_a_keyboard_reaches_everything(written: Write, show: Show) -> None:
    page = show(written("full", comparisons.full())).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    reached = []
    for _ in range(150):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "(e => e.dataset.chart || e.parentElement.closest('figure')?.id + ' table')"
                "(document.activeElement)"
            )
        )
    for chart in page.eval_on_selector_all(".plot", "all => all.map(e => e.dataset.chart)"):
        assert chart in reached
        assert f"{chart} table" in reached


def test_arrow_keys_read_a_chart(written: Write, show: Show) -> None:
    page = show(written("full", comparisons.full())).page
    plot, reading = page.locator("#speed-quality .plot"), page.locator("#speed-quality .reading")
    plot.focus()
    page.keyboard.press("ArrowRight")
    assert reading.inner_text().startswith("1 of 11: harbour-yolo.pt2: 38.4")
    page.keyboard.press("ArrowLeft")
    assert reading.inner_text().startswith("1 of 11")
    page.keyboard.press("End")
    assert reading.inner_text().startswith("11 of 11: harbour-yolo-int8.tflite")
    page.keyboard.press("ArrowDown")
    assert reading.inner_text().startswith("11 of 11")
    assert page.locator(".current").count() == 1
    page.set_viewport_size({"width": 700, "height": 800})  # Vega draws anew
    page.keyboard.press("Home")
    assert reading.inner_text().startswith("1 of 11")
    page.keyboard.press("Tab")
    assert page.locator(".current").count() == 0
    page.keyboard.press("Enter")
    assert page.is_visible("#speed-quality .data table")


def test_the_pointer_reads_a_chart_too(written: Write, show: Show) -> None:
    page = show(written("full", comparisons.full())).page
    page.locator(f"#speed-quality {MARKS}").first.hover()
    shown = page.locator("#vg-tooltip-element.visible")
    shown.wait_for()
    assert "harbour-yolo.pt2" in shown.inner_text()
    assert "38.4" in shown.inner_text()


def test_a_manifest_can_be_saved_and_read(written: Write, show: Show) -> None:
    comparison = comparisons.full()
    page = show(written("full", comparison)).page
    place = page.locator("#manifests details.part").nth(3)
    place.locator("summary").first.click()
    with page.expect_download() as waiting:
        place.get_by_role("button").click()
    download = waiting.value
    assert download.suggested_filename == "harbour-yolo-int8.onnx.convkit.json"
    saved = json.loads(Path(download.path()).read_text("utf-8"))
    assert saved == encode(comparison.models[4].manifest)
    place.locator(".raw summary").click()
    page.wait_for_function("place => place.textContent", arg=place.locator("pre").element_handle())
    assert json.loads(place.locator("pre").inner_text()) == saved


def test_without_scripts_every_figure_is_there(written: Write, show: Show) -> None:
    opened = show(written("full", comparisons.full()), java_script_enabled=False)
    page = opened.page
    assert opened.requests == [opened.path.as_uri()]
    page.locator("#sizes .data summary").click()
    assert page.is_visible("#sizes .data table")
    assert page.get_by_text("The drawing needs JavaScript").first.is_visible()
    assert not page.is_visible("#theme")
