"""The slider and the map of layers in a real browser."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convkit.engine.patterns import Naming
from convkit.quant import LayerInfo
from convkit.report import choices, write_report, write_sensitivity_report
from convkit.report.sections.sensitivity import sensitivity
from convkit.sensitivity import Sensitivity, Trial
from tests.report import analyses, comparisons
from tests.report.conftest import Opened
from tests.report.test_browser import contrast, style

Show = Callable[..., Opened]
Analysed = Callable[[str], Path]

SLIDER = ".explorer input[type=range]"
CHOICE = ".choice:not([hidden])"
EVERYTHING = "all => all.forEach(element => element.open = true)"


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> Analysed:
    """Writes the page of an analysis once and remembers it by its name."""
    folder = tmp_path_factory.mktemp("analyses")

    def write(name: str) -> Path:
        path = folder / f"{name}.html"
        if not path.exists():
            write_sensitivity_report(analyses.ALL[name](), path)
        return path

    return write


def recipe(s: Sensitivity, trial: Trial) -> str:
    naming = Naming([LayerInfo(r.layer, r.op_type, scope=r.scope) for r in s.rows])
    return choices.command(s, trial, naming.of(choices.kept(s, trial)))


def in_float(page: Any) -> set[int]:
    """Places of the layers that the map marks."""
    found: list[str] = page.eval_on_selector_all(
        "li[data-place]",
        "all => all.filter(e => e.querySelector('.is').textContent === 'float')"
        ".map(e => e.dataset.place)",
    )
    return set(map(int, found))


def told(page: Any) -> tuple[str, str, str]:
    """The shown choice, its command, and what the slider says of it."""
    return (
        page.locator(f"{CHOICE} > :is(h3, h4)").inner_text(),
        page.locator(f"{CHOICE} > .code code").inner_text(),
        page.get_attribute(SLIDER, "aria-valuetext"),
    )


def check(page: Any, s: Sensitivity, trial: Trial) -> None:
    """Everything on the page speaks of this trial."""
    title, command, value = told(page)
    assert title.startswith(trial.name)
    assert command == recipe(s, trial)
    assert value.startswith(choices.summary(s, trial))
    assert page.locator(CHOICE).count() == 1
    assert page.locator(".now strong").inner_text() == trial.name
    kept = set(choices.kept(s, trial))
    assert in_float(page) == {n for n, row in enumerate(s.rows) if row.layer in kept}


@pytest.mark.parametrize("name", [n for n in analyses.ALL if n not in ("asked", "long")])
def test_asks_for_nothing_and_never_scrolls_sideways(
    name: str, analysed: Analysed, show: Show
) -> None:
    opened = show(analysed(name), width=390)
    page = opened.page
    page.eval_on_selector_all("details", EVERYTHING)
    page.eval_on_selector_all(".choice", "all => all.forEach(e => e.hidden = false)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator(".plot[data-state=drawn] svg").count() == page.locator(".plot").count()
    assert page.evaluate("document.title.endsWith('convkit report')")
    assert page.locator("img").count() == 0
    page.focus(SLIDER)
    for key in ("End", "ArrowLeft", "Home", "ArrowRight"):
        page.keyboard.press(key)
    page.locator("#theme").hover()
    assert opened.complaints == []
    assert opened.requests == [opened.path.as_uri()]


def test_the_page_holds_the_analysis(analysed: Analysed, show: Show) -> None:
    page = show(analysed("detector")).page
    text = page.locator("#analysis").evaluate("element => element.textContent")
    assert json.loads(text) == analyses.detector().to_json()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save analysis.json").click()
    assert json.loads(Path(waiting.value.path()).read_text("utf-8")) == json.loads(text)


@pytest.mark.parametrize("name", ["detector", "asked"])
def test_the_keyboard_moves_the_slider(name: str, analysed: Analysed, show: Show) -> None:
    s = analyses.ALL[name]()
    page = show(analysed(name)).page
    shown = choices.main(s)
    line = [t for t in choices.ordered(s) if t.name in shown]
    check(page, s, s.choice)
    page.focus(SLIDER)
    page.keyboard.press("Home")
    check(page, s, line[0])
    for trial in line[1:]:
        page.keyboard.press("ArrowRight")
        check(page, s, trial)
    page.keyboard.press("ArrowRight")
    check(page, s, line[-1])
    page.keyboard.press("ArrowLeft")
    check(page, s, line[-2])


def test_the_mouse_moves_the_slider(analysed: Analysed, show: Show) -> None:
    s = analyses.detector()
    page = show(analysed("detector")).page
    shown = choices.main(s)
    line = [t for t in choices.ordered(s) if t.name in shown]
    box = page.locator(SLIDER).bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.click(box["x"] + box["width"] - 3, middle)
    check(page, s, line[-1])
    page.mouse.down()
    page.mouse.move(box["x"] + 3, middle, steps=4)
    page.mouse.up()
    check(page, s, line[0])
    assert page.locator(f"{CHOICE} .badge").first.inner_text().endswith("measured")


def test_choices_that_others_beat_can_be_looked_at_too(analysed: Analysed, show: Show) -> None:
    s = analyses.detector()
    page = show(analysed("detector")).page
    line = choices.ordered(s)
    assert page.get_attribute(SLIDER, "max") == str(len(choices.main(s)) - 1)
    page.locator(".every").check()
    check(page, s, s.choice)
    assert page.get_attribute(SLIDER, "max") == str(len(line) - 1)
    page.focus(SLIDER)
    page.keyboard.press("Home")
    for trial in line:
        check(page, s, trial)
        page.keyboard.press("ArrowRight")
    guess = next(t for t in line if not t.measured)
    page.locator(SLIDER).fill(str(line.index(guess)))
    assert "predicted, not built" in told(page)[0]


def test_a_budget_picks_the_cheapest_choice_that_keeps_it(analysed: Analysed, show: Show) -> None:
    s = analyses.detector()
    page = show(analysed("detector")).page
    field, answer = page.locator(".budget"), page.locator(".answer-line")
    assert field.input_value() == "0.005"
    for budget, place in (("0.001", 3), ("0.01", 1), ("0.5", 0), ("0.005", 2)):
        field.fill(budget)
        field.press("Enter")
        check(page, s, s.trials[place])
        assert answer.inner_text() == f"The cheapest that keeps this: {s.trials[place].name}."
    field.fill("0.0001")
    field.press("Tab")
    assert answer.inner_text() == "No choice that was measured keeps this."
    check(page, s, s.trials[2])
    page = show(analysed("tiny")).page
    page.locator(".budget").fill("20")
    page.locator(".budget").press("Enter")
    check(page, analyses.tiny(), analyses.tiny().trials[0])
    page.locator(".budget").fill("200")
    page.locator(".budget").press("Enter")
    check(page, analyses.tiny(), analyses.tiny().trials[1])


@pytest.mark.parametrize("allowed", [True, False])
def test_the_recipe_can_be_copied(allowed: bool, analysed: Analysed, show: Show) -> None:
    s = analyses.detector()
    rights = ["clipboard-read", "clipboard-write"]
    page = show(analysed("detector"), permissions=rights).page
    if not allowed:  # as on a page that is no secure context
        page.evaluate(
            "() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')); }"
        )
    button = page.locator(f"{CHOICE} > .code .copy")
    assert button.inner_text() == "Copy the command"
    button.click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == recipe(s, s.choice)
    page.get_by_role("button", name="Copy the command").wait_for()
    page.focus(SLIDER)
    page.keyboard.press("End")
    page.locator(f"{CHOICE} details.part summary").click()
    page.locator(f"{CHOICE} .inside .copy").click()
    page.get_by_role("button", name="Copied").wait_for()
    text = page.evaluate("navigator.clipboard.readText()")
    assert text.startswith("import convkit\n\nconvkit.convert(\n")
    assert text != recipe(s, s.choice)


def test_the_map_is_a_tree_for_the_keyboard(analysed: Analysed, show: Show) -> None:
    page = show(analysed("detector")).page
    page.get_by_role("button", name="Close all").click()
    assert page.locator(".heat details[open]").count() == 0
    first = page.locator(".heat summary").first
    first.focus()
    at = "document.activeElement.querySelector('.name').firstChild.textContent.trim()"
    steps = (
        ("ArrowDown", "in no module"),
        ("ArrowUp", "model"),
        ("ArrowRight", "model"),
        ("ArrowRight", "0"),
        ("ArrowDown", "1"),
        ("ArrowLeft", "model"),
        ("ArrowLeft", "model"),
        ("ArrowDown", "in no module"),
    )
    for key, name in steps:
        page.keyboard.press(key)
        assert page.evaluate(at) == name, key
    page.keyboard.press("Enter")
    assert page.locator("li[data-place]:visible").count() == 11


def test_what_is_in_float_can_be_found(analysed: Analysed, show: Show) -> None:
    page = show(analysed("detector")).page
    kept = page.locator("li[data-place]:has(> .kept)")
    page.get_by_role("button", name="Open what is in float").click()
    assert kept.count() == page.locator("li[data-place]:has(> .kept):visible").count() == 21
    assert page.locator("li[data-place]:visible").count() < 60
    page.get_by_role("button", name="Open all").click()
    assert page.locator("li[data-place]:visible").count() == len(analyses.detector().rows)
    module = page.locator(".heat summary").first
    assert module.locator(".is").inner_text() == "21 of 295 float"
    assert page.get_by_text("always float", exact=True).count() == 0
    page.focus(SLIDER)
    page.keyboard.press("Home")
    assert page.get_by_text("always float", exact=True).count() == 1
    assert module.locator(".is").inner_text() == ""


def test_the_chart_marks_the_choice(analysed: Analysed, show: Show) -> None:
    s = analyses.detector()
    page = show(analysed("detector")).page
    marked = page.locator("#layer-choices .shown")
    names = []
    page.focus(SLIDER)
    page.keyboard.press("Home")
    for _ in choices.main(s):
        names.append(marked.get_attribute("aria-label") if marked.count() else "")
        page.keyboard.press("ArrowRight")
    drawn = [n.partition(":")[0] for n in names if n]
    assert drawn == list(s.front)
    page.set_viewport_size({"width": 700, "height": 800})  # Vega draws anew
    page.locator(SLIDER).fill("1")
    marked.wait_for()
    assert marked.count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_read(scheme: str, analysed: Analysed, show: Show) -> None:
    page = show(analysed("detector"), color_scheme=scheme).page
    grounds = []
    for step in range(7):
        cell = f".scale .l{step}"
        ground = page.eval_on_selector(cell, PAINTED)
        assert contrast(style(page, cell, "color"), ground) >= 4.5, (step, ground)
        grounds.append(ground)
    # One hue from the card's colour away: told apart by lightness alone.
    ratios = [contrast(grounds[0], ground) for ground in grounds]
    assert ratios == sorted(ratios)
    assert len(set(ratios)) == 7
    line = page.eval_on_selector(".line.kept", PAINTED)
    assert contrast(style(page, ".kept > .is", "color"), line) >= 4.5
    assert contrast(style(page, ".kept small", "color"), line) >= 4.5


PAINTED = """element => {
  const paint = document.createElement("canvas").getContext("2d");
  for (const at of [element.closest(".heat"), element]) {
    paint.fillStyle = getComputedStyle(at).backgroundColor;
    paint.fillRect(0, 0, 1, 1);
  }
  return `rgb(${[...paint.getImageData(0, 0, 1, 1).data].slice(0, 3).join(", ")})`;
}"""
"""The colour that is seen, whatever the notation and the transparency."""


@pytest.mark.parametrize("name", ["detector", "tiny"])
def test_everything_that_can_be_operated_has_a_name(
    name: str, analysed: Analysed, show: Show
) -> None:
    page = show(analysed(name)).page
    page.eval_on_selector_all("details", EVERYTHING)
    nameless = page.eval_on_selector_all(
        "button, input, summary, [tabindex='0'], [role=region], [role=group]",
        "all => all.filter(e => !(e.getAttribute('aria-label') || e.textContent.trim()"
        " || [...(e.labels ?? [])].some(l => l.textContent.trim()))).map(e => e.outerHTML)",
    )
    assert nameless == []
    slider = page.get_by_role("slider", name="Accuracy budget")
    assert slider.count() == 1
    first = page.locator(".heat li[data-place] .fig").first
    assert first.evaluate("e => e.textContent").startswith("error ")


def test_paper_shows_the_choice_and_its_map(analysed: Analysed, show: Show) -> None:
    s = analyses.detector()
    page = show(analysed("detector"), color_scheme="dark").page
    page.focus(SLIDER)
    page.keyboard.press("End")
    page.emulate_media(media="print")
    assert not page.is_visible(SLIDER)
    assert page.is_visible(f"{CHOICE} .code pre")
    assert page.is_visible(".heat .line.kept")
    check(page, s, next(t for t in reversed(choices.ordered(s)) if t.name in choices.main(s)))
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_without_scripts_the_chosen_recipe_is_there(analysed: Analysed, show: Show) -> None:
    s = analyses.detector()
    page = show(analysed("detector"), java_script_enabled=False).page
    assert page.locator(CHOICE).count() == 1
    assert page.locator(f"{CHOICE} > .code code").inner_text() == recipe(s, s.choice)
    assert not page.is_visible(SLIDER)
    assert page.locator(".heat .line.kept").count() > 21
    page.locator(".heat li summary").last.click()
    page.get_by_text("Everything that was tried").first.click()
    assert page.get_by_text("the quantizer failed: node_mul_3 has no range").is_visible()


def test_it_works_within_the_report_of_a_comparison(tmp_path: Path, show: Show) -> None:
    s = analyses.detector()
    path = tmp_path / "both.html"
    write_report(comparisons.full(), path, further=[sensitivity(s)])
    opened = show(path)
    page = opened.page
    page.focus(SLIDER)
    page.keyboard.press("Home")
    check(page, s, s.trials[0])
    assert page.locator("nav a[href='#sensitivity']").inner_text() == "Layer by layer"
    text = page.locator("#comparison").evaluate("element => element.textContent")
    assert json.loads(text) == comparisons.full().to_json()
    assert opened.complaints == []
