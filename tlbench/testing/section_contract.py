"""The contract that every section of the report keeps, as checks that an author of a section runs over its name.

    @pytest.mark.parametrize("name", section_contract.names())
    @pytest.mark.parametrize("check", section_contract.CHECKS, ids=section_contract.title)
    def test_contract(check, name):
        check(name)

The checks build a section for a suite of invented results: one without any, a small one, and one in which everything
occurs that a report may have: several protocols, datasets, backbones and shots, upper bounds, failures, curves, answers
to single examples, a search, and names that hold markup.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from html.parser import HTMLParser
from io import StringIO
from random import Random

import numpy as np

from tlbench.core.record import Confusion, pack_bits
from tlbench.report import table as table_files
from tlbench.report.built_sections import BuiltSection, build_section, load_sections
from tlbench.report.figure import svg
from tlbench.report.html import html
from tlbench.report.report_data import Report, build_report
from tlbench.report.results import Results, tidy
from tlbench.report.section_plugins import LoadedSection, load_section, section_plugins
from tlbench.report.table_tex import tex
from tlbench.store.mlflow.record_artifact import RecordDetails
from tlbench.store.mlflow.stored_experiment import StoredExperiment, StoredRun

MARKUP = "<script>alert('name')</script>"
"""A label that the invented results have; it must be text on the page."""
_METHODS = ("linear_probe", "lora(rank=8)", MARKUP)
_BACKBONES = ("resnet18/random", "conv4/random")
_DATASETS, _SHOTS, _SEEDS, _TESTS = ("digits", "glyphs"), ("1", "5", "full"), range(3), 60


def names() -> tuple[str, ...]:
    """Return the names of all sections that are found."""
    return tuple(section_plugins())


def title(check: Callable[[str], None]) -> str:
    """Return a check's name as a test's id."""
    return check.__name__.removeprefix("check_")


def check_declarations(name: str) -> None:
    """Its declarations are complete and typed, and its files are no other section's."""
    section = load(name)
    others = [each for each in load_sections()[0] if each.name != name]
    assert not set(section.tables) & {table for each in others for table in each.tables}
    assert not set(section.figures) & {figure for each in others for figure in each.figures}


def check_it_is_built_and_rendered(name: str) -> None:
    """It is built and rendered for every suite, without results too, and its page is well formed."""
    for report in reports():
        section = build_section(load(name), report)
        assert section.failure is None, f"{section.failure}\n{section.failure.traceback}"
        page = html(report, [section])
        assert page.failures == (), "\n".join(f"{each}\n{each.traceback}" for each in page.failures)
        _WellFormed.check(page.text)


def check_it_is_built_the_same_twice(name: str) -> None:
    """The same report gives the same files and the same page."""
    report = reports()[-1]
    first, second = (build_section(load(name), report) for _ in range(2))
    assert _files(first) == _files(second)
    pages = [re.sub(r"on [-\d]+ [\d:]+ UTC", "", html(report, [each]).text) for each in (first, second)]
    assert pages[0] == pages[1]


def check_names_stay_text(name: str) -> None:
    """A label cannot inject markup into the page, nor into markdown."""
    report = reports()[-1]
    section = build_section(load(name), report)
    page = html(report, [section]).text
    assert MARKUP not in page
    for table in section.tables.values():
        assert "<script>" not in table_files.markdown(table)


def check_tables_are_rectangular(name: str) -> None:
    """Every row of a table has the columns of the first, and every part as many cells as headings."""
    for report in reports():
        for table in build_section(load(name), report).tables.values():
            assert len({tuple(record) for record in table.records}) <= 1, f"{table.name}: rows have other columns"
            rows = list(csv.reader(StringIO(table_files.csv(table))))
            assert len({len(row) for row in rows}) == 1
            assert len(rows) == 1 + len(table.records)
            for part in table.parts:
                assert {len(row) for row in part.body} <= {len(part.head)}, f"{table.name}: {part.title}"
                assert all(0 <= column < len(part.head) for column in part.left)


def check_figures_are_drawn(name: str) -> None:
    """Every figure has a caption, can be drawn, and leaves its colours to the page."""
    for figure in build_section(load(name), reports()[-1]).figures.values():
        assert figure.caption.strip(), f"{figure.name} has no caption"
        assert "config" not in figure.spec, f"{figure.name}: colours are those of the page"
        assert json.loads(json.dumps(figure.spec)) == figure.spec, f"{figure.name}: its data are not plain values"
        assert svg(figure).startswith("<svg")


def check_the_report_is_not_changed(name: str) -> None:
    """It leaves the frames of the report as they were, which other sections read after it."""
    report = reports()[-1]
    frames = report.results.done, report.results.trials
    before = [frame.copy(deep=True) for frame in frames]
    html(report, [build_section(load(name), report)])
    assert all(one.equals(other) for one, other in zip(frames, before, strict=True))


CHECKS: tuple[Callable[[str], None], ...] = (
    check_declarations,
    check_it_is_built_and_rendered,
    check_it_is_built_the_same_twice,
    check_names_stay_text,
    check_tables_are_rectangular,
    check_figures_are_drawn,
    check_the_report_is_not_changed,
)


def load(name: str) -> LoadedSection:
    """Import a section and check its declarations."""
    return load_section(section_plugins()[name])


@cache
def reports() -> tuple[Report, ...]:
    """Return reports of invented results, from one without any to one in which everything occurs."""
    return (
        build_report(_results("nothing", ())),
        build_report(_results("small", [_run("linear_probe", seed=seed) for seed in _SEEDS])),
        build_report(_results("everything", [*_cells(), *_adaptation(), *_failures(), *_trials()])),
    )


def _results(suite: str, runs: Sequence[StoredRun]) -> Results:
    reason = {"count": 2, "reason": f"needs {MARKUP}", "what": "maml | classification"}
    plan = {"cells": len(runs) + 1, "not_applicable": [reason] if len(runs) > len(_SEEDS) else []}
    tags = {
        "tlbench.baseline": "linear_probe",
        "tlbench.suite": f"name: {suite}\n",
        "tlbench.plan": json.dumps(plan),
    }
    return tidy(suite, "memory", StoredExperiment(tags, tuple(runs)))


def _cells() -> Iterator[StoredRun]:
    for method in _METHODS:
        for backbone in _BACKBONES:
            for dataset in _DATASETS:
                for shots in _SHOTS:
                    for seed in _SEEDS:
                        yield _run(method, seed, dataset, shots, backbone_label=backbone)


def _adaptation() -> Iterator[StoredRun]:
    scores = {"test/accuracy_by/entropy": 0.5, "test/accuracy_by/last": 0.4, "test/accuracy_by/oracle": 0.6}
    for method in ("source_only", "target_oracle"):
        for seed in _SEEDS:
            tags = {"tlbench.oracle": "true"} if method == "target_oracle" else {}
            options = {"protocol": "adaptation", "option.validator": "entropy"}
            yield _run(method, seed, "a -> b", "0", metrics=scores, tags=tags, **options)


def _failures() -> Iterator[StoredRun]:
    failed = _run(MARKUP, seed=99)
    failed.status, failed.metrics = "FAILED", {}
    failed.tags["tlbench.error"] = f"ValueError: {MARKUP}"
    failed.details = RecordDetails(traceback="\n".join(f"line {number} {MARKUP}" for number in range(30)))
    yield failed


def _trials() -> Iterator[StoredRun]:
    for number in range(1, 5):
        values = {"lr": 0.1 * number, "name": MARKUP}
        tags = {
            "tlbench.trial": str(number),
            "tlbench.values": json.dumps(values),
            "tlbench.setting": "key",
            **({"tlbench.winner": "true"} if number == 2 else {}),
        }
        trial = _run("lora(rank=8)", 2**31, tags=tags)
        trial.metrics = {"validation/accuracy": 0.5 + number / 10, "cost/seconds": 2.0}
        trial.id, trial.ended, trial.details = f"trial {number}", float(number), None
        yield trial


def _run(
    method: str,
    seed: int,
    dataset: str = "digits",
    shots: str = "5",
    tags: dict[str, str] | None = None,
    metrics: dict[str, float] | None = None,
    **changed: str,
) -> StoredRun:
    """Return a finished cell; its accuracy depends on what it is, and varies over seeds."""
    params = {
        "protocol": "classification", "protocol_version": "1", "method": method.partition("(")[0],
        "method_label": method, "backbone": "resnet18", "backbone_label": _BACKBONES[0], "weights": "random",
        "backbone_key": "0" * 16, "dataset": dataset, "dataset_fingerprint": "f" * 60 + dataset[:4], "shots": shots,
        "seed": str(seed), "param.lr": "0.1", **changed,
    }  # fmt: skip
    place = " ".join(params[key] for key in ("protocol", "method_label", "backbone_label", "dataset", "shots"))
    level = Random(place).uniform(0.4, 0.8)
    accuracy = level + Random(f"{place} {seed}").gauss(0, 0.02)
    right = np.random.default_rng(seed).random(_TESTS) < accuracy
    curve = tuple((epoch, accuracy * (1 - 0.5 ** (epoch + 1))) for epoch in range(8))
    return StoredRun(
        id=f"run of {place} {seed}",
        status="FINISHED",
        ended=1.0,
        params=params,
        tags={
            "tlbench.cell": f"{place} {seed}",
            "tlbench.digest": f"{accuracy}",
            "tlbench.provenance.torch": "2.15.0",
            **(tags or {}),
        },
        metrics={
            "test/accuracy": accuracy, "test/nll": 1.0, "cost/seconds": 1 + level, "cost/peak_memory": 1e8 * level,
            "footprint/trainable": 1e4 * level, "footprint/total": 1e6, "footprint/stored_bytes": 4e4 * level,
            **(metrics or {}),
        },
        details=RecordDetails(
            {"val_accuracy": curve},
            pack_bits(np.packbits(right).tobytes()),
            _TESTS,
            packed_confusion=Confusion(classes=("first", MARKUP), counts=((0, 0, 40), (0, 1, 12), (1, 1, 8))).pack(),
        ),
    )  # fmt: skip


def _files(section: BuiltSection) -> dict[str, str]:
    """Return what is written beside the page."""
    tables = section.tables.values()
    return {
        **{f"{each.name}.csv": table_files.csv(each) for each in tables},
        **{f"{each.name}.md": table_files.markdown(each) for each in tables},
        **{f"{each.name}.tex": tex(each) for each in tables},
        **{f"{each.name}.json": json.dumps(each.spec) for each in section.figures.values()},
    }


class _WellFormed(HTMLParser):
    """Asserts that elements are closed in the order in which they were opened, and that no id stands twice."""

    _VOID = ("meta", "link", "input", "br", "wbr", "img", "hr")

    def __init__(self) -> None:
        super().__init__()
        self._open: list[str] = []
        self._ids: set[str] = set()

    @classmethod
    def check(cls, page: str) -> None:
        """Check a whole page."""
        parser = cls()
        parser.feed(page)
        parser.close()
        assert parser._open == [], f"not closed: {parser._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note that an element is opened."""
        if tag not in self._VOID:
            self._open.append(tag)
        own = dict(attrs).get("id")
        assert own is None or own not in self._ids, f"the id {own!r} stands twice"
        self._ids |= {own} if own else set()

    def handle_endtag(self, tag: str) -> None:
        """Check that the element that is closed is the one opened last."""
        assert self._open, f"</{tag}> closes nothing, in line {self.getpos()[0]}"
        last = self._open.pop()
        assert last == tag, f"</{tag}> closes <{last}>, in line {self.getpos()[0]}"
