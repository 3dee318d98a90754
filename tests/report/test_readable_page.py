"""The page as people read it in Chromium: at 390, 1280 and 1920 pixels, by day and by night."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_results
import numpy as np
import pytest
from small_suites import suite
from test_browser import browser, drawn

from tlbench.report import chart_style, page, report_data

__all__ = ["browser"]

METHODS = ("linear_probe", "knn(k=3)", "finetune(epochs=20)", "lora(epochs=20)", "lora(epochs=20, rank=8)", "adapter",
           "discriminative_lr(epochs=20)", "gradual_unfreezing(epochs=20)")  # fmt: skip
BACKBONE = "timm:tf_efficientnet_lite0(image_size=96)/in1k"
DATASETS = ("folder(cifar10) (500 train, 100 test a class)", "folder(pacs160)/photo", "folder(pacs160)/art_painting")
SHOTS = ("1", "5", "20", "full")
WIDTHS = (390, 1280, 1920)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a report of eight methods with long labels on three datasets, beside two published figures."""
    draw = np.random.default_rng(0)
    runs = [
        made_results.run(
            method,
            0.55 + place / 40 + number / 30 + float(draw.normal(0, 0.02)),
            seed,
            dataset,
            shots,
            backbone_label=BACKBONE,
            metrics={"cost/device_seconds": 2.0 + place, "footprint/trainable": 1e5, "footprint/total": 1e6},
        )
        for place, method in enumerate(METHODS)
        for dataset in DATASETS
        for number, shots in enumerate(SHOTS)
        for seed in range(3)
    ]
    figures = [
        {"value": 81.5, "tolerance": 2, "source": "Somebody 2020, table 3", "protocol": "as here",
         "standard_error": 0.4, "row": {"method": "linear_probe", "dataset": DATASETS[1], "shots": 5}},
        {"value": 70, "tolerance": 2, "source": "Another 2021", "protocol": "more", "differs": "they had more labels",
         "row": {"method": "lora(epochs=20, rank=8)", "dataset": DATASETS[0], "shots": 1}},
    ]  # fmt: skip
    text = json.dumps({**suite("made"), "references": figures})
    found = replace(made_results.results(runs, baseline="linear_probe"), suite_text=text)
    return page.save(report_data.build_report(found), tmp_path_factory.mktemp("pages")).index.as_uri()


@pytest.fixture(scope="module")
def tabs(browser: Any, index: str) -> Iterator[dict[tuple[int, str], Any]]:
    """The page at each width, by day, and by night at one of them."""
    found = {}
    for wide, scheme in (*((wide, "light") for wide in WIDTHS), (1280, "dark")):
        context = browser.new_context(viewport={"width": wide, "height": 800}, color_scheme=scheme)
        found[wide, scheme] = context.new_page()
        found[wide, scheme].goto(index)
        drawn(found[wide, scheme])
    yield found
    for tab in found.values():
        tab.context.close()


OUTSIDE = """() => [...document.querySelectorAll('.chart svg')].flatMap((svg) => {
  const frame = svg.closest('.scroll').getBoundingClientRect(), own = svg.getBoundingClientRect();
  const inside = [...svg.querySelectorAll('g.mark-group, text')].map((each) => each.getBoundingClientRect());
  const right = Math.max(own.right, ...inside.map((each) => each.right));
  const left = Math.min(own.left, ...inside.map((each) => each.left));
  const scale = own.width / Number(svg.getAttribute('width'));
  const fits = right <= frame.right && left >= frame.left && scale >= 0.8;
  return fits ? [] : [[svg.closest('.chart').dataset.figure, left, right, scale]];
})"""


@pytest.mark.parametrize("wide", WIDTHS)
def test_figures_stay_inside_their_frames(tabs: dict[tuple[int, str], Any], wide: int) -> None:
    tab = tabs[wide, "light"]
    assert tab.locator(".chart svg").count() >= 5
    assert tab.evaluate(OUTSIDE) == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= wide


OVERFLOW = """() => Math.max(...[...document.querySelectorAll('#leaderboard .board')].map(
  ({ parentElement: box }) => box.scrollWidth - box.clientWidth))"""


@pytest.mark.parametrize("wide", WIDTHS)
def test_the_leaderboard_needs_no_sideways_scrolling(tabs: dict[tuple[int, str], Any], wide: int) -> None:
    tab = tabs[wide, "light"]
    assert tab.locator("#leaderboard .board").count() == 1
    assert tab.evaluate(OVERFLOW) <= 0
    heads = [text.split("\n")[0] for text in tab.locator("#leaderboard .board thead th:visible").all_inner_texts()]
    assert len(heads) == (5 if wide == 390 else 6)


def test_the_menu_of_columns_is_kept_in_the_address(browser: Any, index: str) -> None:
    tab = browser.new_page(viewport={"width": 1280, "height": 800})
    tab.goto(index)
    stored = tab.locator("#leaderboard .board thead").get_by_role("button", name="Stored")
    assert stored.count() == 0, "not shown unless asked for"
    tab.locator("details.columns summary").click()
    tab.get_by_label("stored").check()
    tab.get_by_label("cells and seeds").check()
    assert "columns=coverage%2Cstored" in tab.url
    assert stored.is_visible()
    tab.reload()
    assert stored.is_visible(), "the address brings them back"
    assert tab.get_by_label("cells and seeds").is_checked()
    rows = tab.locator("#leaderboard .board tbody tr:not(.rule)")
    assert {rows.nth(n).locator("> :visible").count() for n in range(rows.count())} == {8}
    tab.get_by_role("button", name="Clear").click()
    tab.wait_for_url(index)
    assert stored.count() == 0
    tab.close()


def test_the_first_screen_has_the_answer_a_chart_and_the_cost(tabs: dict[tuple[int, str], Any]) -> None:
    tab = tabs[1280, "light"]
    tab.evaluate("scrollTo(0, 0)")
    answer = tab.locator(".answer").first
    assert "%)" in answer.inner_text()
    chart = tab.locator("table.first").first
    for each in (answer, chart):
        box = each.bounding_box()
        assert box["y"] + box["height"] <= 800
    rows = chart.locator("tbody tr")
    assert rows.count() == 5
    assert rows.locator(".reach").count() == 5, "an interval each"
    assert all("CPU-s" in text for text in rows.all_inner_texts())
    widths = [box["width"] for row in rows.all() if (box := row.locator(".reach").bounding_box())]
    assert min(widths) > 10, "wide enough to be seen"


def test_names_are_short_and_the_full_ones_are_told_beside_them(tabs: dict[tuple[int, str], Any]) -> None:
    rows = tabs[1280, "light"].locator("#leaderboard .board tbody tr:not(.rule, .published) th")
    names = [text.split("\n")[0] for text in rows.all_inner_texts()]
    assert set(names) == {"linear_probe", "knn", "finetune", "lora", "lora(rank=8)", "adapter", "discriminative_lr",
                          "gradual_unfreezing"}  # fmt: skip
    titles = [row.get_attribute("title") for row in rows.all()]
    assert set(titles) == {f"{method} on {BACKBONE}" for method in METHODS}


def test_published_figures_stand_in_the_table(tabs: dict[tuple[int, str], Any]) -> None:
    tab = tabs[1280, "light"]
    told = tab.locator("#leaderboard .board tr.published").all_inner_texts()
    assert len(told) == 2
    assert "Somebody 2020, table 3" in told[0]
    assert "beside linear_probe on pacs160/photo, 5 shots" in told[0]
    assert "81.5" in told[0]
    assert "not comparable: they had more labels" in told[1]
    assert tab.locator("form output").inner_text() == "8 rows", "they are no rows of the suite"


CONTRAST = """() => {
  const channels = (text) => [...text.match(/[\\d.]+/g).map(Number), 1].slice(0, 4);
  const linear = (c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = channels(getComputedStyle(each).backgroundColor);
      if (colour[3] === 1) return colour;
    }
    return [255, 255, 255, 1];
  };
  const faults = new Map();
  let seen = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !element.checkVisibility()) continue;
    if (element.closest("script, style, .unseen, .skip, option, .mark-text.role-mark")) continue;  // the last: on tiles
    const style = getComputedStyle(element), colour = channels(element.closest("svg") ? style.fill : style.color);
    const [one, two] = [light(colour), light(behind(element))].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (two + 0.05), size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    seen += 1;
    if (ratio < (large ? 3 : 4.5)) faults.set(element.tagName + "." + element.className, ratio.toFixed(2));
  }
  return { seen, faults: [...faults] };
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_by_day_and_by_night(tabs: dict[tuple[int, str], Any], scheme: str) -> None:
    tab = tabs[1280, scheme]
    tab.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    found = tab.evaluate(CONTRAST)
    tab.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = false; })")
    assert found["seen"] > 300
    assert found["faults"] == []


def luminance(colour: str) -> float:
    values = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("config", [chart_style.DAY, chart_style.NIGHT])
def test_numbers_on_tiles_have_contrast(config: dict[str, Any]) -> None:
    ink = luminance(config["text"]["color"])
    for tile in {*config["range"]["heatmap"], *config["range"]["diverging"]}:
        low, high = sorted((ink, luminance(tile)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, tile


def test_small_pages_have_no_section_of_published_numbers(tmp_path: Path) -> None:
    runs = [made_results.run("knn", 0.5 + seed / 100, seed) for seed in range(3)]
    written = page.save(report_data.build_report(made_results.results(runs)), tmp_path)
    assert 'href="#published"' not in written.index.read_text()
