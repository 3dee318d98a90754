"""Adaptation from a suite file to records: pairs of domains and of datasets, planned, refused by line, and run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_suites import PLAIN, planned, suite

from tlbench.core.errors import UserError
from tlbench.core.record import Record
from tlbench.planning.prepare import PreparedSuite, prepare
from tlbench.stats.validators import VALIDATORS
from tlbench.store.artifacts import Artifacts
from tlbench.worker.cache import WorkerCache
from tlbench.worker.run_cell import run_cell

SHORT: dict[str, Any] = {"steps": 4, "checks": 2, "bottleneck": 8}
DIGITS = {"source": {"name": "rendered_digits", "images": 420}, "target": "digits"}
GRID = {
    "protocol": "adaptation",
    "methods": [{"name": "source_only", "params": SHORT}, {"name": "target_oracle", "params": SHORT}],
    "backbones": [{**PLAIN, "image_size": 16}],
    "datasets": [DIGITS],
    "shots": [0],
    "seeds": 1,
}
TEXT = """\
name: pairs
grids:
  - protocol: adaptation
    methods: [source_only]
    backbones: [conv4]
    datasets:
      - {name: rendered_digits, images: 2100, pairs: PAIRS}
"""


def prepared(text: str, folder: Path, artifacts: Path) -> PreparedSuite:
    path = folder / "pairs.yaml"
    path.write_text(text)
    return prepare(path, Artifacts(artifacts))


def test_each_pair_is_a_dataset_with_cells_of_its_own(tmp_path: Path, decoded: Path) -> None:
    pairs = "['DejaVuSans -> DejaVuSerif', 'DejaVuSerif -> DejaVuSans']"
    cells = prepared(TEXT.replace("PAIRS", pairs), tmp_path, decoded).plan.cells
    names = [cell.dataset.info.name for cell in cells]
    assert names == [
        "rendered_digits(images=2100): DejaVuSans -> DejaVuSerif",
        "rendered_digits(images=2100): DejaVuSerif -> DejaVuSans",
    ]
    assert len({cell.id for cell in cells}) == 2
    assert {cell.shots for cell in cells} == {0}


def test_each_domain_is_left_out_once(tmp_path: Path, decoded: Path) -> None:
    cells = prepared(TEXT.replace("PAIRS", "leave_one_out"), tmp_path, decoded).plan.cells
    whole = prepared(
        TEXT.replace(", pairs: PAIRS", "").replace("adaptation", "classification").replace("source_only", "knn"),
        tmp_path,
        decoded,
    )
    domains = whole.plan.cells[0].dataset.info.domains
    assert len(domains) > 2
    assert [cell.dataset.info.name for cell in cells] == [
        f"rendered_digits(images=2100): others -> {name}" for name in domains
    ]


LISTED = """\
name: rendered_digits
        pairs:
        - DejaVuSans -> DejaVuSerif
        - DejaVuSans -> DejaVuSerf"""


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        (LISTED, "pairs.yaml:10: rendered_digits has no domain 'DejaVuSerf'\n  did you mean 'DejaVuSerif'?"),
        (
            "{name: digits, pairs: all}",
            "pairs.yaml:7: pairs: digits has no domains to pair\n  name two datasets instead",
        ),
        (
            "{source: rendered_digit, target: digits}",
            "pairs.yaml:7: unknown dataset 'rendered_digit', as 'source'\n  did",
        ),
        ("{source: glyphs, target: digits}", "pairs.yaml:7: glyphs and digits must have the same classes"),
        ("{source: {name: digits, domain: x}, target: digits}", "pairs.yaml:7: digits has no domain 'x'"),
        ("{source: {name: folder, path: none}, target: digits}", "there is no such folder or zip file"),
    ],
)
def test_what_is_no_pair_is_refused_at_its_line(dataset: str, said: str, tmp_path: Path, decoded: Path) -> None:
    text = TEXT.replace("{name: rendered_digits, images: 2100, pairs: PAIRS}", dataset)
    with pytest.raises(UserError) as caught:
        prepared(text, tmp_path, decoded)
    assert said in str(caught.value)
    assert str(tmp_path / "pairs.yaml:7") in str(caught.value) or dataset == LISTED


def test_the_mistakes_of_all_datasets_are_told_at_once(tmp_path: Path, decoded: Path) -> None:
    more = """
      - {name: rendered_digits, images: 2100, pairs: [DejaVuSans -> Serif, Mono -> DejaVuSans]}
      - {source: digits, target: digits}
      - {source: {name: folder, path: nowhere}, target: digits}"""
    with pytest.raises(UserError) as caught:
        prepared(TEXT.replace("PAIRS", "[DejaVuSan -> DejaVuSerif]") + more, tmp_path, decoded)
    for line, said in (
        (7, "no domain 'DejaVuSan'\n  did you mean 'DejaVuSans'?"),
        (9, "no domain 'Serif'"),
        (9, "no domain 'Mono'"),
        (10, "digits: source and target share examples"),
        (11, "nowhere"),
    ):
        assert any(said in each for each in str(caught.value).split(str(tmp_path / f"pairs.yaml:{line}"))[1:]), said


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory, decoded: Path) -> list[Record]:
    """One seed of each bracket, without and with target labels, and fine-tuning to the pair's target."""
    folder, pieces = tmp_path_factory.mktemp("suites"), WorkerCache(Artifacts(decoded), torch.device("cpu"))
    tuned = {"name": "finetune", "params": {"epochs": 1}}
    plain = {**GRID, "protocol": "classification", "methods": [tuned], "shots": [2]}
    cells = [
        *planned(suite("adapting", {**GRID, "shots": [0, 2]}), folder, decoded),
        *planned(suite("target", plain), folder, decoded),
    ]
    found = [run_cell(cell, pieces) for cell in cells]
    assert [record.error for record in found] == [None] * 5
    return found


def test_records_hold_every_choice(records: list[Record]) -> None:
    for record in records[:4]:
        assert record.outcome is not None
        names = {name for name in record.outcome.scores if name.startswith("accuracy_by/")}
        assert names == {f"accuracy_by/{name}" for name in (*VALIDATORS, "oracle")}
        assert record.outcome.tests == 897
        assert record.outcome.oracle == (record.cell.method == "target_oracle")
        assert record.cell.dataset == "rendered_digits(images=420) -> digits"
        assert record.cell.options == {"validator": "nuclear_norm"}


def test_target_labels_make_a_difference_to_who_may_read_them(records: list[Record]) -> None:
    by = {(record.cell.method, record.cell.shots): record.outcome for record in records[:4]}
    source, shots = by["source_only", 0], by["source_only", 2]
    assert source is not None
    assert shots is not None
    assert source.logits != shots.logits


def test_a_cell_with_stored_answers_runs_alike_again(records: list[Record], decoded: Path, tmp_path: Path) -> None:
    (cell,) = [c for c in planned(suite("again", GRID), tmp_path, decoded) if c.method.name == "source_only"]
    again = run_cell(cell, WorkerCache(Artifacts(decoded), torch.device("cpu")))
    assert again.digest == next(record.digest for record in records if record.id == cell.id)
    assert not (decoded / "running").exists() or not any((decoded / "running").iterdir())
