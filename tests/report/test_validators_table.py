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
from tlbench.report.sections._adaptation_configurations import (
    listed_configurations,
    searched_configurations,
    validation_values,
)
from tlbench.report.sections._adaptation_marks import MARK, NOTE, optimised
from tlbench.report.sections._adaptation_rankings import TwoRankings, two_rankings
from tlbench.report.sections._adaptation_table import choices_table, configurations_table, rankings_table
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
    assert "| a -&gt; b | 0 | dann | conv4 | information | 71.0 | 79.0 | 61.0 | 81.0 | 3 |" in above
    assert "target\\_oracle" in below
    assert "target\\_oracle" not in above
    assert "| information, ranked | −2.0 | −2.0 | 2 |" in below
    assert "| last | −11.5 | −20.0 | 2 |" in below
    assert as_csv(choices_table(ValidatorChoices())).startswith("protocol,dataset")
    assert markdown(choices_table(ValidatorChoices())) == "No results.\n"
    boards = leaderboard(measured, "source_only")
    for table in (leaderboard_table(boards, {}, {}), settings_table(settings(measured, "source_only"))):
        bound = {row["method"]: row["upper_bound"] for row in csv.DictReader(StringIO(as_csv(table)))}
        assert bound == {"dann": "False", "source_only": "False", "target_oracle": "True"}
    assert "an upper bound: it sees labels" in markdown(leaderboard_table(boards, {}, {}))


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


# Two rankings, and methods that maximise what ranks them.

CERTAIN = ("entropy", "information", "nuclear_norm", "source_and_information")
SECOND = {"source_only": 0.60, "dann": 0.70, "shot": 0.65, "mcc": 0.50}  # by clusters
FIRST = {"source_only": 0.60, "dann": 0.75, "shot": 0.80, "mcc": 0.70}  # by information


def twice(first: dict[str, float] = FIRST, second: dict[str, float] = SECOND, seeds: int = SEEDS) -> list[Record]:
    """Return records whose models were chosen by two validators of different kinds."""
    found = []
    for method, ours in first.items():
        for seed in range(seeds):
            one = record("source_only", seed)
            by = {"information": ours, "clusters": second[method], "oracle": 0.9}
            scores = {f"accuracy_by/{name}": value + 0.01 * seed for name, value in by.items()}
            assert one.outcome is not None
            outcome = one.outcome.model_copy(
                update={"scores": scores | {"accuracy": scores["accuracy_by/information"]}}
            )
            changed = {"id": f"{method}-{seed}", "method": method, "method_label": method}
            cell = one.cell.model_copy(update=changed)
            found.append(one.model_copy(update={"cell": cell, "outcome": outcome}))
    return found


def ranked_twice(records: list[Record]) -> TwoRankings:
    report = report_data.build_report(results(*records))
    (found,) = two_rankings(report.boards, report.cells)
    return found


def test_rows_are_ranked_under_two_kinds_of_validators() -> None:
    found = ranked_twice(twice())
    assert found.validators == ("information", "clusters")
    assert [(row.method, row.ranks) for row in found.rows] == [
        ("shot", (1, 2)),
        ("dann", (2, 1)),
        ("mcc", (3, 4)),
        ("source_only", (4, 3)),
    ]
    assert found.rows[0].accuracy == pytest.approx((0.81, 0.66))
    assert found.tau == pytest.approx(scipy.stats.kendalltau([4, 3, 2, 1], [3, 4, 1, 2]).statistic)
    assert found.leaders == (("shot", "conv4"), ("dann", "conv4"))
    assert "Ranked by the models that information chose" in found.sentence
    assert "By clusters (clusters) dann on conv4 leads and the order differs" in found.sentence
    assert found.optimising == {("shot", "conv4"), ("mcc", "conv4")}


def test_the_sentence_says_where_both_agree() -> None:
    assert "the order is the same" in ranked_twice(twice(second={k: v - 0.1 for k, v in FIRST.items()})).sentence
    swapped = {**FIRST, "mcc": 0.5}
    assert (
        "the leader is the same and the order differs (Kendall's tau 0.67)"
        in ranked_twice(twice(second=swapped)).sentence
    )


def test_results_without_the_second_validator_are_ranked_once() -> None:
    """As those stored by earlier versions are."""
    report = report_data.build_report(results(*RECORDS))
    assert two_rankings(report.boards, report.cells) == ()
    assert markdown(rankings_table(())) == "No results.\n"


def test_methods_that_maximise_a_validator_are_marked() -> None:
    assert optimised("shot") == optimised("mcc") == {*CERTAIN}
    assert optimised("dann") == optimised("no such method") == frozenset()
    found = validator_choices(comparable_cells(results(*twice()).done)[0])
    told = markdown(choices_table(found))
    assert NOTE in told
    (shot,) = (line for line in told.splitlines() if "| shot |" in line)
    assert f"| 81.0{MARK} |" in shot
    assert f"66.0{MARK}" not in shot
    (dann,) = (line for line in told.splitlines() if "| dann |" in line)
    assert MARK not in dann
    rows = {row["method"]: row for row in csv.DictReader(StringIO(as_csv(choices_table(found))))}
    assert rows["shot"]["optimises"] == " ".join(CERTAIN)
    assert rows["dann"]["optimises"] == ""


def test_the_page_marks_them_and_says_whether_the_rankings_agree(tmp_path: Any) -> None:
    paths = page.save(report_data.build_report(results(*twice())), tmp_path)
    assert {f"rankings.{kind}" for kind in ("csv", "md", "tex")} <= {path.name for path in paths.files}
    text = paths.index.read_text().replace("<wbr>", "")
    leaders = text[text.index('<section id="leaderboard"') : text.index('<section id="datasets"')]
    assert "dann on conv4 leads and the order differs" in leaders.replace("&#39;", "'")
    rows = [row for row in leaders.split("<tr") if 'scope="row"' in row]
    assert ["its training maximises what ranks it" in row for row in rows] == [True, False, True, False]
    section = text[text.index('<section id="adaptation"') : text.index('<section id="reliability"')]
    assert f"<b>81.0</b>{MARK}" in section
    assert f"<b>76.0</b>{MARK}" not in section
    assert "Ranked twice" in section


# Configurations: of a search, and listed in a suite.


def trial(search: str, number: int, on_target: float, **values: float) -> StoredRun:
    """Return a trial of DANN whose accuracy on the target is known, with values of validators."""
    (run,) = results(record("dann", 0)).done.to_dict("records")
    params = {key: str(run[key]) for key in layout.PARAMS} | {"option.validator": "information"}
    tags = {
        layout.CELL_TAG: f"{search}-{number}",
        layout.SETTING_TAG: search,
        layout.TRIAL_TAG: str(number),
        layout.VALUES_TAG: json.dumps({"weight": number}),
    }
    scores = {"information": 0.0, "clusters": 0.0, "oracle_on_target": on_target} | values
    metrics = {f"validation/{name}": value for name, value in scores.items()} | {"cost/seconds": 1.0}
    return StoredRun(
        id=f"t{search}{number}", status="FINISHED", ended=number, params=params, tags=tags, metrics=metrics
    )


TRIALS = (
    trial("one", 1, 0.70, information=1.0, clusters=3.0),
    trial("one", 2, 0.80, information=1.5, clusters=2.0),
    trial("one", 3, 0.90, information=1.2, clusters=1.0),
    trial("two", 1, 0.60, information=1.0, clusters=1.0),
    trial("two", 2, 0.50, information=2.0, clusters=5.0),
)


def searched(*runs: StoredRun) -> Any:
    stored = StoredExperiment({}, tuple(runs))
    return searched_configurations(tidy("adapting", "here", stored).trials)


def test_what_each_validator_would_have_chosen_among_trials_against_the_best() -> None:
    (row,) = searched(*TRIALS)
    assert (row.method, row.ranking, row.searches, row.configurations) == ("dann", "information", 2, 3)
    assert row.chosen == pytest.approx((0.80 + 0.50) / 2)
    assert row.oracle == pytest.approx((0.90 + 0.60) / 2)
    assert dict(row.accuracy) == pytest.approx({"information": 0.65, "clusters": (0.70 + 0.50) / 2})
    told = markdown(configurations_table([row], []))
    assert "| a -&gt; b | 0 | dann | conv4/random | 3 | information | 65.0 | 75.0 | −10.0 | 65.0 | 60.0 |" in told
    assert "| clusters | −15.0 | −15.0 | 1 |" in told
    assert "a trial does not read the test" in told


def test_the_trial_that_a_search_went_on_with_is_the_one_chosen() -> None:
    """As where the default is kept since nothing beats it by enough."""
    kept = trial("one", 1, 0.70, information=1.0)
    kept.tags[layout.WINNER_TAG] = "true"
    (row,) = searched(kept, *TRIALS[1:3])
    assert row.chosen == pytest.approx(0.70)
    assert row.accuracy["information"] == pytest.approx(0.80)


def test_trials_of_earlier_versions_and_single_ones_have_no_row() -> None:
    old = [trial("one", number, 0.5) for number in (1, 2)]
    for run in old:
        del run.metrics["validation/oracle_on_target"]
    assert searched(*old) == ()
    assert searched(TRIALS[0]) == ()
    stopped = trial("one", 2, 0.9, information=9.0)
    stopped.tags[layout.STOPPED_TAG] = "0.5"
    assert searched(TRIALS[0], stopped) == ()


def test_listed_configurations_of_a_method_are_compared_on_the_test() -> None:
    records = []
    for label, accuracy, value in (("dann", 0.7, 2.0), ("dann(weight=3)", 0.8, 1.0), ("dann(weight=9)", 0.6, 0.5)):
        for seed in range(2):
            one = record("dann", seed)
            assert one.outcome is not None
            scores = {f"accuracy_by/{name}": accuracy for name in ("information", "clusters", "oracle")}
            outcome = one.outcome.model_copy(
                update={
                    "scores": scores | {"accuracy": accuracy},
                    "validation": {"information": value, "clusters": -value, "source_accuracy": 1.0, "last": 500.0},
                }
            )
            cell = one.cell.model_copy(update={"id": f"{label}-{seed}", "method_label": label, "params": {"w": label}})
            records.append(one.model_copy(update={"cell": cell, "outcome": outcome}))
    done = results(*records, record("source_only", 0)).done
    (row,) = listed_configurations(comparable_cells(done)[0], validation_values(done))
    assert (row.method, row.searches, row.configurations) == ("dann", 0, 3)
    assert (row.chosen, row.oracle) == (pytest.approx(0.7), pytest.approx(0.8))
    assert dict(row.accuracy) == pytest.approx({"source_accuracy": 0.7, "information": 0.7, "clusters": 0.6})
    assert "Configurations that the suite lists" in markdown(configurations_table([], [row]))
