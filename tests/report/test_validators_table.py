"""The adaptation section: what validators chose beside the oracle, and upper bounds that compete with nobody."""

from __future__ import annotations

import csv
import json
from io import StringIO
from typing import Any

import pytest
import scipy.stats

from tlbench.core.record import Cost, Outcome, Record
from tlbench.report import page, report_data
from tlbench.report.comparable_cells import ComparableCell, comparable_cells
from tlbench.report.notes import UPPER_BOUNDS
from tlbench.report.results import Results, tidy
from tlbench.report.rows.leaderboard import Board, leaderboard
from tlbench.report.rows.settings import settings
from tlbench.report.sections._adaptation_choices import ValidatorChoices, validator_choices
from tlbench.report.sections._adaptation_table import choices_table
from tlbench.report.sections._datasets_settings_table import settings_table
from tlbench.report.sections._leaderboard_table import leaderboard_table
from tlbench.report.table import csv as as_csv
from tlbench.report.table import markdown
from tlbench.store.mlflow import schema as layout
from tlbench.store.mlflow.stored_experiment import StoredExperiment, StoredRun

NAMES = ("entropy", "information", "last")
SEEDS = 3
ACCURACY = {  # of what each validator chose, and of the oracle, for seed 0; further seeds add 0.01 each
    "source_only": ((0.60, 0.62, 0.61), 0.64),
    "dann": ((0.70, 0.78, 0.60), 0.80),
    "target_oracle": ((0.97, 0.96, 0.95), 0.98),
}


def record(method: str, seed: int, ranking: str = "information", **changed: Any) -> Record:
    """Return a cell's record as the protocol makes it."""
    by, best = ACCURACY[method]
    found = dict(zip(NAMES, by, strict=True)) | {"oracle": best}
    scores = {f"accuracy_by/{name}": value + 0.01 * seed for name, value in found.items()}
    cell = {
        "id": f"{method}-{ranking}-{seed}-{changed}", "protocol": "adaptation", "protocol_version": 1,
        "options": {"validator": ranking}, "method": method, "method_label": method, "params": {}, "backbone": "conv4",
        "backbone_label": "conv4/random", "weights": "random", "backbone_key": "k", "recipe": {}, "dataset": "a -> b",
        "dataset_fingerprint": "f", "shots": 0, "seed": seed,
    }  # fmt: skip
    outcome = Outcome(
        scores=scores | {"accuracy": scores[f"accuracy_by/{ranking}"], "nll": 1.0}, oracle=method == "target_oracle"
    )
    cost = Cost(seconds=1, train_seconds=1, cpu_seconds=1, peak_memory=1, gpus=0, cpus=1, started=0)
    return Record(cell=cell | changed, status="done", outcome=outcome, cost=cost)


def results(*records: Record) -> Results:
    """Return what a report reads of records that went to MLflow."""
    runs = tuple(
        StoredRun(
            id=each.id,
            status="FINISHED",
            ended=1.0,
            params=layout.params(each),
            tags=layout.tags(each),
            metrics={point.key: point.value for point in layout.metrics(each)},
        )
        for each in records
    )
    plan = json.dumps({"cells": len(runs), "not_applicable": []})
    return tidy("adapting", "here", StoredExperiment({layout.BASELINE_TAG: "source_only", layout.PLAN_TAG: plan}, runs))


RECORDS = [record(method, seed) for method in ACCURACY for seed in range(SEEDS)]


@pytest.fixture(scope="module")
def measured() -> tuple[ComparableCell, ...]:
    return comparable_cells(results(*RECORDS).done)[0]


@pytest.fixture(scope="module")
def found(measured: tuple[ComparableCell, ...]) -> ValidatorChoices:
    return validator_choices(measured)


def test_rows_are_means_over_seeds_and_upper_bounds_stand_apart(found: ValidatorChoices) -> None:
    assert set(found.validators) == set(NAMES)
    assert [row.method for row in found.rows] == ["dann", "source_only"]
    assert [row.method for row in found.bounds] == ["target_oracle"]
    dann = found.rows[0]
    assert dict(dann.accuracy) == pytest.approx({"entropy": 0.71, "information": 0.79, "last": 0.61})
    assert dann.oracle == pytest.approx(0.81)
    assert (dann.ranking, dann.seeds, dann.is_bound) == ("information", 3, False)


def test_how_far_each_validator_falls(found: ValidatorChoices) -> None:
    """By hand, over the two methods that compete."""
    gaps = {gap.validator: gap for gap in found.gaps}
    assert [gap.validator for gap in found.gaps] == ["information", "entropy", "last"]
    for name, (mean, most) in {"information": (0.02, 0.02), "entropy": (0.07, 0.10), "last": (0.115, 0.20)}.items():
        assert gaps[name].mean == pytest.approx(mean)
        assert gaps[name].largest == pytest.approx(most)
        assert gaps[name].settings == 2
        assert gaps[name].is_ranking == (name == "information")


def test_other_protocols_have_no_such_rows(measured: tuple[ComparableCell, ...]) -> None:
    plain = [ComparableCell("classification", "classification", "a", "a", "conv4", "digits", "5", 0, 0.5)]
    assert validator_choices(plain) == ValidatorChoices()
    assert validator_choices([*plain, *measured]) == validator_choices(measured)


def test_two_ranking_validators_are_two_protocols() -> None:
    both = [record("dann", seed, ranking) for ranking in ("entropy", "last") for seed in range(2)]
    found = validator_choices(comparable_cells(results(*both).done)[0])
    assert [(row.protocol, row.ranking) for row in found.rows] == [
        ("adaptation (validator=entropy)", "entropy"),
        ("adaptation (validator=last)", "last"),
    ]
    assert not any(gap.is_ranking for gap in found.gaps)


def only(cells: tuple[ComparableCell, ...]) -> Board:
    (board,) = leaderboard(cells, "source_only")
    return board


def test_upper_bounds_are_never_ranked(measured: tuple[ComparableCell, ...]) -> None:
    board = only(measured)
    assert [(row.method, row.rank) for row in board.ranked] == [("dann", 1), ("source_only", 2)]
    assert [row.method for row in board.bounds] == ["target_oracle"]
    assert board.unranked == ()
    (bound,) = board.bounds
    assert bound.rank is None
    assert "sees labels that all others are denied" in bound.remark


def test_upper_bounds_are_in_no_family_and_make_no_row_incomplete(measured: tuple[ComparableCell, ...]) -> None:
    """Holm's correction is as if they were not there; nor does a seed that only they have count as missing."""
    more = comparable_cells(results(*RECORDS, record("target_oracle", 3)).done)[0]
    tested = scipy.stats.ttest_rel([0.78, 0.79, 0.85], [0.62, 0.63, 0.64]).pvalue
    wobble = {("dann", 2): 0.05, ("target_oracle", 1): -0.02}
    for cells in (measured, more):
        wobbly = [
            ComparableCell(**{**_asdict(cell), "accuracy": cell.accuracy + wobble.get((cell.method, cell.seed), 0.0)})
            for cell in cells
        ]
        rows = {row.method: row for row in only(tuple(wobbly)).rows}
        assert rows["dann"].difference.p_holm == pytest.approx(tested)
        assert (rows["dann"].have, rows["dann"].expected, rows["dann"].remark) == (3, 3, "")
        assert rows["target_oracle"].difference.contrast is not None
        assert rows["target_oracle"].difference.p_holm is None
        of_settings = {row.method: row for row in settings(wobbly, "source_only")}
        assert of_settings["dann"].difference.p_holm == pytest.approx(tested)
        assert of_settings["target_oracle"].difference.p_holm is None
        assert [row.is_bound for row in of_settings.values()] == [row == "target_oracle" for row in of_settings]


def _asdict(cell: ComparableCell) -> dict[str, Any]:
    return {name: getattr(cell, name) for name in ComparableCell.__dataclass_fields__}


def test_the_tables_as_files(found: ValidatorChoices, measured: tuple[ComparableCell, ...]) -> None:
    rows = {row["method"]: row for row in csv.DictReader(StringIO(as_csv(choices_table(found))))}
    assert float(rows["dann"]["by_entropy"]) == pytest.approx(0.71)
    assert float(rows["dann"]["oracle"]) == pytest.approx(0.81)
    assert rows["dann"]["ranked_by"] == "information"
    assert [rows[name]["upper_bound"] for name in ("dann", "target_oracle")] == ["False", "True"]
    told = markdown(choices_table(found))
    above, below = told.split(UPPER_BOUNDS)
    assert "| a -&gt; b | 0 | dann | conv4/random | information | 71.0 | 79.0 | 61.0 | 81.0 | 3 |" in above
    assert "target\\_oracle" in below
    assert "target\\_oracle" not in above
    assert "| information, ranked | −2.0 | −2.0 | 2 |" in below
    assert "| last | −11.5 | −20.0 | 2 |" in below
    assert as_csv(choices_table(ValidatorChoices())).startswith("protocol,dataset")
    assert markdown(choices_table(ValidatorChoices())) == "No results.\n"
    boards = leaderboard(measured, "source_only")
    for table in (leaderboard_table(boards, {}), settings_table(settings(measured, "source_only"))):
        bound = {row["method"]: row["upper_bound"] for row in csv.DictReader(StringIO(as_csv(table)))}
        assert bound == {"dann": "False", "source_only": "False", "target_oracle": "True"}
    assert "an upper bound: it sees labels" in markdown(leaderboard_table(boards, {}))


def test_the_page_and_its_files(tmp_path: Any) -> None:
    paths = page.save(report_data.build_report(results(*RECORDS)), tmp_path)
    kinds = ("csv", "md", "tex", "svg", "pdf")
    assert {f"adaptation.{kind}" for kind in kinds} <= {path.name for path in paths.files}
    text = paths.index.read_text().replace("<wbr>", "")
    section = text[text.index('<section id="adaptation"') : text.index('<section id="reliability"')]
    above, below = section.split(UPPER_BOUNDS)
    assert "<b>79.0</b>" in above
    assert "<i>81.0</i>" in above
    assert "<b>71.0</b>" not in above
    assert "target_oracle" not in above
    assert "target_oracle" in below
    assert 'information <span class="tag">ranked</span>' in below
    leaders = text[text.index('<section id="leaderboard"') : text.index('<section id="datasets"')]
    assert leaders.index("dann") < leaders.index(UPPER_BOUNDS) < leaders.index("target_oracle")


def test_a_suite_without_adaptation_says_so(tmp_path: Any) -> None:
    plain = [each.model_copy(update={"outcome": Outcome(scores={"accuracy": 0.5})}) for each in RECORDS]
    (tmp_path / "adapting").mkdir()
    for name in ("adaptation.svg", "mine.svg"):
        (tmp_path / "adapting" / name).touch()
    paths = page.save(report_data.build_report(results(*plain)), tmp_path)
    assert not [path.name for path in paths.files if path.name.startswith("adaptation.")]
    kept = {path.name for path in paths.folder.iterdir()}
    assert ("adaptation.svg" in kept, "mine.svg" in kept) == (False, True), "only what a report wrote is removed"
    assert "No cell of adaptation has a result." in paths.index.read_text()
