"""The page in a real browser: nothing leaves it, nothing complains, and it can be worked with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import made_results
import pytest
from demo_suite import BOOM, FOLLY

from tlbench.report import page, report_data

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def index(store: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the report of the suite ``demo``."""
    return page.write("demo", store, tmp_path_factory.mktemp("reports")).index.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser: Any, index: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page in a tab, 1280 pixels wide; whatever it asks for or says fails the test."""
    wide, scheme = getattr(request, "param", (1280, "light"))
    context = browser.new_context(viewport={"width": wide, "height": 800}, color_scheme=scheme)
    tab = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("dialog", lambda dialog: (said.append("dialog"), dialog.dismiss()))
    tab.goto(index)
    yield tab
    tab.wait_for_selector("html[data-figures=drawn]", state="attached")
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert said == []
    context.close()


def drawn(tab: Any) -> None:
    """Wait for all figures."""
    tab.wait_for_selector("html[data-figures=drawn]", state="attached")


def column(tab: Any, table: str, number: int, row: str = "tbody tr:not(.rule)") -> list[str]:
    cells = tab.locator(f"{table} {row} > :nth-child({number})")
    return [text.split("\n")[0].strip() for text in cells.all_inner_texts()]


def methods(tab: Any) -> list[str]:
    return [
        text.split("\n")[0] for text in tab.locator("#leaderboard tbody tr:not(.rule) th:visible").all_inner_texts()
    ]


@pytest.mark.parametrize("opened", [(1280, "light"), (820, "dark"), (390, "light")], indirect=True)
def test_figures_are_drawn_and_the_page_does_not_scroll_sideways(opened: Any) -> None:
    drawn(opened)
    charts = opened.locator(".chart")
    assert charts.count() == 6
    assert opened.locator(".chart svg").count() == 6
    assert opened.evaluate("document.documentElement.scrollWidth") <= opened.viewport_size["width"]
    label = opened.locator(".chart svg text").first.evaluate("text => getComputedStyle(text).fill")
    bright = sum(map(int, re.findall(r"\d+", label)[:3])) > 3 * 128
    assert bright == opened.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")


def test_figures_are_drawn_again_by_night(opened: Any) -> None:
    drawn(opened)
    assert opened.locator(".chart").first.get_attribute("data-tone") == "day"
    opened.emulate_media(color_scheme="dark")
    opened.wait_for_selector(".chart[data-tone=night] svg")
    opened.wait_for_selector(".chart:not([data-tone=night])", state="detached")


def test_names_and_messages_stay_text(opened: Any) -> None:
    drawn(opened)
    assert FOLLY in opened.locator("#leaderboard").inner_text()
    texts = opened.evaluate("[...document.querySelectorAll('figure svg text')].map(text => text.textContent)")
    assert any(text.startswith(FOLLY[:8]) for text in texts)
    failure = opened.locator("#reliability details").last
    failure.locator("summary").click()
    assert BOOM.splitlines()[0] in failure.inner_text()
    assert opened.locator("main script, main img, svg script, svg foreignObject").count() == 0


def test_the_leaderboard_sorts_and_rows_below_the_line_stay_there(opened: Any) -> None:
    board = "#leaderboard .board-block:first-of-type table"
    ranked = f"{board} tbody:nth-of-type(1) tr"
    names = column(opened, "", 2, ranked)
    opened.locator(board).get_by_role("button", name="Accuracy").click()
    down = [float(text) for text in column(opened, "", 3, ranked)]
    assert down == sorted(down, reverse=True)
    opened.locator(board).get_by_role("button", name="Accuracy").click()
    assert [float(text) for text in column(opened, "", 3, ranked)] == sorted(down)
    assert column(opened, "", 2, ranked) == names[::-1]
    assert methods(opened)[3] == "patchy", "the incomplete row, though its mean is the best"
    assert opened.locator("#leaderboard th[aria-sort=ascending]").count() == 3, "one in each table"
    opened.locator(board).get_by_role("button", name="To baseline").click()
    found = column(opened, "", 5, ranked)
    assert found[-1] == "baseline", "what has no difference comes last"


def test_search_filter_and_address(opened: Any, index: str) -> None:
    find = opened.get_by_role("searchbox", name="Find")
    find.fill("LORA resnet")
    assert methods(opened) == ["lora"]
    assert opened.locator("form output").inner_text() == "1 of 6 rows"
    assert "q=LORA" in opened.url
    find.fill("")
    opened.locator("form").get_by_label("Backbone").select_option("conv4")
    assert methods(opened) == ["protonet", "maml"]
    assert opened.locator("#leaderboard h3:visible").count() == 2, "tables without a row are not shown"
    opened.get_by_role("button", name="Clear").click()
    opened.wait_for_url(index)
    assert len(methods(opened)) == 6
    opened.get_by_label("ranked only").check()
    assert len(methods(opened)) == 3
    opened.locator("#leaderboard").get_by_role("button", name="Accuracy").first.click()
    opened.locator("#leaderboard").get_by_role("button", name="Accuracy").first.click()
    before = methods(opened)
    opened.reload()
    assert methods(opened) == before, "the address brings the state back"
    assert opened.get_by_label("ranked only").is_checked()
    assert "sort=accuracy" in opened.url


def test_a_search_is_drawn_by_trials_or_cost_and_setting_by_setting(browser: Any, tmp_path: Path) -> None:
    runs = [made_results.run("lora", 0.5 + seed / 100, seed, shots=shots) for seed in range(3) for shots in ("1", "5")]
    tried = [
        made_results.run("lora", 0.0, 2**31, shots=shots, tags=_trial(number), metrics=_scores(number, shots))
        for shots in ("1", "5")
        for number in (1, 2, 3)
    ]
    for place, each in enumerate(tried):
        each.id, each.ended = f"trial {place}", float(place)
    index = page.save(report_data.build_report(made_results.results([*runs, *tried])), tmp_path).index.as_uri()
    tab = browser.new_page(viewport={"width": 390, "height": 800})
    tab.goto(f"{index}?budget=cost")
    drawn(tab)
    section, chart = tab.locator("#search"), tab.locator("#figure-search .chart")
    assert section.locator("select[name=budget]").input_value() == "cost", "the address says it"
    assert chart.locator("text", has_text="GPU-seconds").count() > 0
    assert chart.locator("text", has_text="digits, 1 shot").count() == 1
    section.locator("select[name=place]").select_option("digits, 5 shots · resnet18")
    section.locator("select[name=budget]").select_option("ended")
    chart.locator("text", has_text="digits, 1 shot").wait_for(state="detached")
    assert chart.locator("text", has_text="digits, 5 shots").count() == 1
    assert "place=digits" in tab.url
    assert "budget" not in tab.url, "what is first needs no word"
    row = section.locator("table tbody tr:not(.rule)").first
    assert "lr 0.1 → 0.00123" in " ".join(row.inner_text().split())
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    boxes = [cell.bounding_box() for cell in row.locator("th, td").all()]
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in boxes), "nothing to scroll for on a phone"
    tab.close()


def _trial(number: int) -> dict[str, str]:
    values = {"lr": 0.1} if number == 1 else {"lr": 0.00123456}
    won = {"tlbench.winner": "true"} if number == 2 else {}
    return {"tlbench.trial": str(number), "tlbench.values": json.dumps(values), "tlbench.setting": "s"} | won


def _scores(number: int, shots: str) -> dict[str, float]:
    return {"validation/accuracy": 0.5 + number / 10 + int(shots) / 100, "cost/seconds": 2.0}


def test_settings_sort(opened: Any) -> None:
    opened.locator("#settings > summary").click()
    table = opened.locator("#settings table")
    table.get_by_role("button", name="Shots").click()
    assert column(opened, "#settings", 3)[0] == "full"
    table.get_by_role("button", name="Method, backbone").click()
    names = [name.lower() for name in column(opened, "#settings", 1)]
    assert names == sorted(names)


def test_keyboard_alone_will_do(opened: Any) -> None:
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.className") == "skip"
    opened.keyboard.press("Enter")
    assert opened.url.endswith("#summary")
    opened.get_by_role("searchbox", name="Find").focus()
    opened.keyboard.type("lora")
    assert methods(opened) == ["lora"]
    button = opened.locator("#leaderboard").get_by_role("button", name="Rank").first
    button.focus()
    opened.keyboard.press("Enter")
    assert opened.locator("#leaderboard th[aria-sort=ascending]").count() == 3
    summary = opened.locator("#settings > summary")
    summary.focus()
    opened.keyboard.press("Space")
    assert opened.locator("#settings table").is_visible()


def test_a_link_to_something_folded_away_opens_it(opened: Any, index: str) -> None:
    assert not opened.locator("#settings table").is_visible()
    opened.evaluate("location.hash = 'settings'")
    opened.wait_for_selector("#settings[open]")


FACTS = """() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const named = (id) => document.getElementById(id);
  const ids = all("[id]").map((each) => each.id);
  return {
    language: document.documentElement.lang,
    mains: all("main").length,
    nav: all("nav a").map((link) => link.hash.slice(1)),
    sections: all("main > section").map((section) => section.id),
    levels: all("h1, h2, h3, h4").map((heading) => Number(heading.tagName[1])),
    faults: {
      unnamed: all("main > section").filter((each) => !named(each.getAttribute("aria-labelledby"))).length,
      uncaptioned: all("table").filter((table) => !table.caption?.textContent.trim()).length,
      unscoped: all("th:not([scope])").length,
      wordless: all("figure").filter((each) => !each.querySelector("figcaption")?.textContent.trim()).length,
      twice: ids.length - new Set(ids).size,
      broken: all('main a[href^="#"]').filter((link) => !named(link.hash.slice(1))).length,
      unlabelled: all("input, select").filter((field) => !field.labels.length).length,
      unreachable: all(".scroll").filter((box) => box.tabIndex !== 0 || !box.getAttribute("aria-label")).length,
    },
  };
}"""


def test_structure(opened: Any) -> None:
    facts = opened.evaluate(FACTS)
    assert (facts["language"], facts["mains"]) == ("en", 1)
    assert facts["nav"] == facts["sections"]
    assert len(facts["sections"]) == 12
    levels = facts["levels"]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels)), "no level of heading is skipped"
    assert {name: number for name, number in facts["faults"].items() if number} == {}


def test_files_beside_the_page_are_there(opened: Any, index: str) -> None:
    folder = Path(index.removeprefix("file://")).parent
    links = opened.evaluate("[...document.querySelectorAll('main a[download]')].map(link => link.getAttribute('href'))")
    assert set(links) >= {"leaderboard.csv", "leaderboard.tex", "cost.svg", "cost.pdf", "records.parquet"}
    assert [name for name in set(links) if not (folder / name).is_file()] == []


def test_it_prints(opened: Any) -> None:
    opened.emulate_media(media="print")
    assert not opened.locator("nav").is_visible()
    assert not opened.locator("form.tools").is_visible()
    assert opened.pdf().startswith(b"%PDF")
