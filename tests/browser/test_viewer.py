"""The case viewer: what it shows is what was scored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from .conftest import CASES, OpenPage
from .test_site import pages_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow


@pytest.fixture
def viewer(site: Path, open_page: OpenPage) -> Page:
    page = open_page(pages_of(site)["run"])
    page.locator("canvas").first.wait_for()
    return page


@pytest.fixture
def table(site: Path) -> pd.DataFrame:
    run = pages_of(site)["run"].stem
    return pd.read_csv(site.parent / "runs" / run / "cases.csv", index_col="case")


def shown_case(page: Page) -> str:
    return page.locator("#case option:checked").inner_text().partition(" (")[0]


def slide(page: Page, name: str, value: int) -> None:
    page.locator(f"#{name}").evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input', {bubbles: true})); }", value
    )
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def switch(page: Page, act: str) -> None:
    """Moves to the next or previous case and waits until it is drawn."""
    before = shown_case(page)
    page.locator(f"#{act}").click()
    after = shown_case(page)
    assert after != before
    page.locator(f"canvas[aria-label$='of {after}']").first.wait_for()


def test_it_starts_with_the_worst_case_at_the_headline_threshold(viewer: Page, table: pd.DataFrame) -> None:
    assert viewer.locator("#case option").count() == CASES
    worst = table["ap"].min()
    assert table.loc[shown_case(viewer), "ap"] == pytest.approx(worst, abs=1e-4)
    assert viewer.locator("#rule").input_value() == "healthy-fpr@0.01"
    dice = float(viewer.locator("#dice").inner_text())
    assert dice == pytest.approx(table.loc[shown_case(viewer), "dice@healthy-fpr@0.01"], abs=6e-4)
    assert viewer.locator("canvas").count() == 5


def test_the_slider_gives_the_dice_of_the_scorer(viewer: Page, table: pd.DataFrame) -> None:
    for _ in range(3):
        for rule in ("healthy-fpr@0.05", "healthy-fpr@0.001", "healthy-fpr@0.01"):
            viewer.locator("#rule").select_option(rule)
            dice = float(viewer.locator("#dice").inner_text())
            assert dice == pytest.approx(table.loc[shown_case(viewer), f"dice@{rule}"], abs=6e-4)
        switch(viewer, "next")
    slide(viewer, "threshold", 0)
    low = viewer.locator("#dice").inner_text()
    at = viewer.locator("#threshold").get_attribute("max")
    slide(viewer, "threshold", int(at or 0))
    assert viewer.locator("#dice").inner_text() != low
    assert viewer.locator("#rule").input_value() in ("", "healthy-fpr@0.001")


def test_the_slider_redraws_the_prediction(viewer: Page) -> None:
    picture = viewer.locator("canvas").last
    before = picture.evaluate("(canvas) => canvas.toDataURL()")
    slide(viewer, "threshold", 3)
    assert picture.evaluate("(canvas) => canvas.toDataURL()") != before


def test_orders(viewer: Page, table: pd.DataFrame) -> None:
    viewer.locator("#order").select_option("best first")
    assert table.loc[shown_case(viewer), "ap"] == pytest.approx(table["ap"].max(), abs=1e-4)
    viewer.locator("#order").select_option("healthy, highest score first")
    healthy = table[~table["lesion"]]
    assert shown_case(viewer) == healthy["image_score"].idxmax()
    viewer.locator("canvas[aria-label$='of " + shown_case(viewer) + "']").first.wait_for()
    assert "false alarms" in viewer.locator("#dice").inner_text()


def test_a_volume_scrolls_through_its_slices(viewer: Page) -> None:
    assert not viewer.locator("#slice").is_visible()
    viewer.locator("#case").select_option(label=viewer.locator("#case option", has_text="volume").first.inner_text())
    viewer.locator("canvas[aria-label$='of volume']").first.wait_for()
    assert viewer.locator("#slice").get_attribute("max") == "4"
    first = viewer.locator("canvas").first
    slide(viewer, "slice", 0)
    before, dice = first.evaluate("(canvas) => canvas.toDataURL()"), viewer.locator("#dice").inner_text()
    slide(viewer, "slice", 4)
    assert first.evaluate("(canvas) => canvas.toDataURL()") != before
    assert viewer.locator("#dice").inner_text() == dice  # Dice is of the case, not of a slice


def test_blending(viewer: Page) -> None:
    viewer.get_by_label("blended").check()
    assert viewer.locator("canvas").count() == 1
    picture = viewer.locator("canvas")
    slide(viewer, "blend", 0)
    plain = picture.evaluate("(canvas) => canvas.toDataURL()")
    slide(viewer, "blend", 100)
    assert picture.evaluate("(canvas) => canvas.toDataURL()") != plain
    viewer.get_by_label("side by side").check()
    assert viewer.locator("canvas").count() == 5
    assert viewer.locator("canvas").first.evaluate("(canvas) => canvas.toDataURL()") == plain


def test_it_works_by_keyboard(viewer: Page) -> None:
    from playwright.sync_api import expect

    slider = viewer.locator("#threshold")
    slider.focus()
    before = slider.input_value()
    viewer.keyboard.press("ArrowRight")
    assert int(slider.input_value()) == int(before) + 1
    # The page forbids scripts from strings, and with them Playwright's wait_for_function.
    expect(viewer.locator("#rule")).to_have_value("")
    assert "Dice" in (slider.get_attribute("aria-valuetext") or "")
    viewer.locator("#next").focus()
    name = shown_case(viewer)
    viewer.keyboard.press("Enter")
    assert shown_case(viewer) != name


def test_hundreds_of_cases_stay_fluid(viewer: Page) -> None:
    took = viewer.evaluate(
        """async () => {
          const slider = document.getElementById('threshold');
          const start = performance.now();
          for (let k = 0; k < 60; k += 1) {
            slider.value = String(k);
            slider.dispatchEvent(new Event('input'));
            await new Promise((done) => requestAnimationFrame(done));
          }
          return (performance.now() - start) / 60;
        }"""
    )
    assert took < 200  # ms a step, on shared cores without a GPU
    for _ in range(10):
        switch(viewer, "next")
