"""The tidy frames behind the figures, by hand; and that every chart can be drawn."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_results import results, run
from scipy.stats import rankdata

from tlbench.core.record import Confusion
from tlbench.report import chart_style as look
from tlbench.report import number_format as text
from tlbench.report import trials
from tlbench.report.built_sections import build_sections, load_sections
from tlbench.report.figure import Figure, pdf, svg
from tlbench.report.leading_rows import leading
from tlbench.report.report_data import Report, build_report
from tlbench.report.search_cost import search_costs
from tlbench.report.sections import _adaptation_figure as adaptation
from tlbench.report.sections import _datasets_heat as heat
from tlbench.report.sections import _pairwise_matrix as pairwise
from tlbench.report.sections import _pairwise_rank_diagram as ranks
from tlbench.report.sections import _reliability_seeds as seeds
from tlbench.report.sections import _search_figure as search
from tlbench.report.sections import _search_scores as scores
from tlbench.report.sections import backbones, cost, curves, shots
from tlbench.report.sections._adaptation_choices import ValidatorChoices, ValidatorRow
from tlbench.report.sections._search_rows import ChangedParameter, search_rows
from tlbench.report.sections._search_table import search_table, values_text
from tlbench.report.sections.leaderboard import trainings_of_rows
from tlbench.store.mlflow.record_artifact import RecordDetails

METHODS = {"probe": 0.50, "lora": 0.60, "tune": 0.58}
COSTS = {"probe": 0.0, "lora": 1e4, "tune": 1e6}
SHOTS = ("0", "1", "5", "full")


def _runs() -> list[Any]:
    generator = np.random.default_rng(0)
    return [
        run(
            name,
            level + 0.05 * place + (0.1 if backbone == "b" else 0.0) + generator.normal(0, 0.01),
            seed,
            shots=number,
            backbone_label=backbone,
            metrics={"footprint/trainable": COSTS[name], "footprint/total": 2e6, "cost/peak_memory": 1e6},
        )
        for (name, level), (place, number), backbone, seed in product(
            METHODS.items(), enumerate(SHOTS), ("a", "b"), range(3)
        )
    ]


@pytest.fixture(scope="module")
def report() -> Report:
    return build_report(results(_runs(), baseline="probe"))


def figures(report: Report) -> dict[str, Figure]:
    """Return the figures of all sections, none of which failed."""
    sections = list(build_sections(report))
    assert [section.failure for section in sections if section.failure] == []
    return {name: figure for section in sections for name, figure in section.figures.items()}


def test_shots_stand_in_order_on_a_log_axis(report: Report) -> None:
    frame = shots.frame(report.settings)
    assert dict(zip(frame["shots"], frame["place"], strict=False)) == {"0": 0.5, "1": 1.0, "5": 5.0, "full": 20.0}
    assert set(frame["panel"]) == {"digits\na", "digits\nb"}
    assert len(frame) == 3 * 4 * 2
    row = next(row for row in report.settings if (row.method, row.backbone, row.shots) == ("lora", "a", "full"))
    told = frame[(frame["method"] == "lora") & (frame["panel"] == "digits\na") & (frame["shots"] == "full")].iloc[0]
    assert (told["mean"], told["low"], told["high"]) == (row.accuracy.mean, row.accuracy.low, row.accuracy.high)
    assert shots.frame([row for row in report.settings if row.shots == "5"]).empty


def test_the_deepest_colour_is_the_best_of_its_column(report: Report) -> None:
    frame = heat.frame(report.settings)
    for _, column in frame.groupby("column"):
        assert column.loc[column["mean"].idxmax(), "shade"] == 1.0
        assert column.loc[column["mean"].idxmin(), "shade"] == 0.0
        assert column["shade"].between(0, 1).all()
    assert list(dict.fromkeys(frame["column"])) == [f"digits, {text.shots(number)}" for number in SHOTS]
    alone = heat.frame([row for row in report.settings if (row.method, row.backbone) == ("lora", "a")])
    assert (alone["shade"] == 1.0).all()


def test_the_front_is_what_no_other_row_beats(report: Report) -> None:
    frame = cost.frame(report.boards)
    trainable = frame[frame["axis"] == cost._AXES["trainable"]]
    front = {
        (row.method, row.backbone)
        for row in trainable.itertuples()
        if not any(
            (other.cost <= row.cost and other.mean > row.mean) or (other.cost < row.cost and other.mean >= row.mean)
            for other in trainable.itertuples()
        )
    }
    on_line = trainable[trainable["front"].notna()]
    assert set(zip(on_line["method"], on_line["backbone"], strict=True)) == front == {("probe", "b"), ("lora", "b")}
    assert set(trainable.loc[trainable["cost"] == 0, "place"]) == {1e4 / 3}
    assert set(frame["axis"]) == {cost._AXES[each] for each in ("trainable", "seconds", "peak_memory")}, "no bills"


def test_pairs_mirror_each_other(report: Report) -> None:
    frame = pairwise.frame(report.boards)
    names = list(dict.fromkeys(frame["row"]))
    assert len(frame) == 6 * 5
    matrix = frame.assign(place=frame["row"].map({name: str(i + 1) for i, name in enumerate(names)}))
    table = matrix.pivot(index="place", columns="column", values="difference").to_numpy()
    np.testing.assert_allclose(table, -table.T)
    means = [row.accuracy.mean for row in report.boards[0].ranked]
    assert table[0, 1] == pytest.approx(100 * (means[0] - means[1]))
    assert (frame.loc[frame["verdict"] != 0, ["low", "high"]].prod(axis=1) > 0).all()


def test_backbones_need_a_method_on_two_of_them(report: Report) -> None:
    frame = backbones.frame(report.boards)
    assert set(zip(frame["method"], frame["backbone"], strict=True)) == set(product(METHODS, "ab"))
    alone = build_report(results([each for each in _runs() if each.params["backbone_label"] == "a"]))
    assert backbones.frame(alone.boards).empty


def test_seeds_are_measured_from_the_mean_of_their_setting(report: Report) -> None:
    rows = {("classification", "lora", "a")}
    frame = seeds.frame(report.cells, rows)
    assert len(frame) == 3 * 4
    assert frame.groupby("shots")["deviation"].sum().abs().max() < 1e-9
    first = frame[frame["shots"] == "5"]
    assert first["deviation"].tolist() == pytest.approx((100 * (first["accuracy"] - first["accuracy"].mean())).tolist())


def test_curves_are_thinned_and_keep_their_end(report: Report) -> None:
    cell = next(cell for cell in report.cells if (cell.method, cell.backbone) == ("lora", "a"))
    long = tuple((step, 1.0 / (step + 1)) for step in range(1000))
    told = {"alignment": long, "train_loss": long, "val_accuracy": long[:3], "single": long[:1]}
    frame = curves.frame(report.cells, {cell.cell: RecordDetails(told)}, {("classification", "lora", "a")})
    assert set(frame["curve"]) == {"val_accuracy", "train_loss"}
    loss = frame[frame["curve"] == "train_loss"]
    assert 30 < len(loss) <= 60
    assert loss["step"].is_monotonic_increasing
    assert (loss["step"].iloc[-1], loss["value"].iloc[-1]) == long[-1]
    assert curves.frame(report.cells, {cell.cell: RecordDetails(told)}, set()).empty


def test_a_figure_may_have_as_many_rows_as_a_large_suite_gives_it() -> None:
    """Altair refuses more than 5,000 by itself."""
    rows = [
        (f"panel {n}", "val_accuracy", seed, step, 0.5) for n in range(24) for seed in range(5) for step in range(60)
    ]
    spec = Figure("curves", "", pd.DataFrame(rows, columns=list(curves._COLUMNS)), curves.chart).spec
    assert sum(map(len, spec["datasets"].values())) == len(rows)


def test_the_diagram_waits_for_enough_datasets() -> None:
    def boards(datasets: int) -> Any:
        generator = np.random.default_rng(1)
        return build_report(
            results(
                run(name, level + generator.normal(0, 0.05), seed, dataset=f"d{number}")
                for name, level in METHODS.items()
                for number in range(datasets)
                for seed in range(3)
            )
        ).boards

    assert ranks.frame(boards(6)).empty
    assert "has 6 and needs 7" in ranks.absence(boards(6))
    found = boards(12)
    frame = ranks.frame(found)
    (board,) = found
    means = np.array([[np.mean(list(row.scores[f"d{n}", "5"].values())) for row in board.ranked] for n in range(12)])
    expected = rankdata(-means, axis=1).mean(axis=0)
    told = (
        dict(zip(frame["row"], frame["rank"], strict=True))
        if (frame["clique"] == 0).all()
        else {row.row: row.rank for row in frame[frame["clique"] == 0].itertuples()}
    )
    assert [told[row.method] for row in board.ranked] == pytest.approx(expected.tolist())


def _trials(report: Report) -> pd.DataFrame:
    row = next(row for row in report.settings if (row.method, row.backbone, row.shots) == ("lora", "a", "5"))
    name = trials.setting_name(row.protocol, row.method, row.backbone, row.dataset, row.shots)
    values, best = [0.4, float("nan"), 0.7, 0.6], [0.4, 0.4, 0.7, 0.7]
    told = ["done", "failed", "done", "stopped"]
    columns = zip([1, 2, 3, 4], values, best, [2.0] * 4, [2.0, 4.0, 6.0, 8.0], told, strict=True)
    where = (row.protocol, row.backbone, row.dataset, row.shots)
    made = [
        (
            name,
            "lora",
            *rest,
            json.dumps({"lr": rest[0]}),
            False,
            *where,
            0,
            1.0,
            1,
            "",
            "",
            "accuracy",
            {},
            "lora",
            "",
            "",
            2.0,
            "CPU",
        )
        for rest in columns
    ]
    return pd.DataFrame(made, columns=list(trials.COLUMNS))


def test_the_search_is_told_by_trials_and_by_cost(report: Report) -> None:
    frame = search.frame(_trials(report))
    assert frame["ended"].tolist() == [1, 3, 4], "what failed has no score, and took its turn"
    assert frame["cost"].tolist() == [2.0, 6.0, 8.0]
    assert frame["best"].tolist() == [40, 70, 70]
    assert frame["default"].tolist()[0] == 40
    assert frame["default"].isna().tolist() == [False, True, True]
    assert set(frame["place"]) == {"digits, 5 shots · a"}
    assert search.frame(trials.empty_trials()).empty
    assert trainings_of_rows(report.settings, _trials(report)) == {("classification", "lora", "a"): 4}
    assert search_costs(report.settings, _trials(report)) == {("classification", "lora", "a"): (8.0, "CPU")}
    mixed = _trials(report).assign(device=["CPU", "GPU", "CPU", "CPU"])
    assert search_costs(report.settings, mixed) == {("classification", "lora", "a"): (None, "")}
    (found,) = search_rows(report.cells, _trials(report))
    cell = next(c for c in report.cells if (c.method, c.backbone, c.shots, c.seed) == ("lora", "a", "5", 0))
    assert (found.trials, found.stopped, found.failed, found.cost) == (4, 1, 1, 8.0)
    assert (found.default, found.winner, found.default_score, found.winner_score) == ({"lr": 1}, {"lr": 3}, 0.4, 0.7)
    assert (found.seed, found.test) == (0, cell.accuracy)
    shared = search_rows(report.cells, _trials(report).assign(seed=2**31))[0]
    row = next(row for row in report.settings if (row.method, row.backbone, row.shots) == ("lora", "a", "5"))
    assert shared.test == row.accuracy.mean, "a search of before was that of all seeds"


def test_the_winner_of_a_search_is_the_trial_that_the_cells_took_their_values_from(report: Report) -> None:
    told = _trials(report).assign(winner=[True, False, False, False])
    (found,) = search_rows(report.cells, told)
    assert (found.winner, found.winner_score, found.changes, found.unchanged) == ({"lr": 1}, 0.4, (), {"lr": 1})
    none = _trials(report).assign(status="failed", value=float("nan"))
    assert search_rows(report.cells, none)[0].winner is None


def test_a_search_is_told_by_what_it_changed(report: Report) -> None:
    values = {1: {"lr": 0.001, "depth": None, "rank": 8}, 3: {"lr": 0.00241161, "decay": 0.5, "rank": 8}}
    told = _trials(report)
    told["params"] = [json.dumps(values.get(number, {})) for number in told["trial"]]
    (found,) = search_rows(report.cells, told)
    assert found.changes == (
        ChangedParameter("decay", (), (0.5,)),
        ChangedParameter("depth", (None,), ()),
        ChangedParameter("lr", (0.001,), (0.00241161,)),
    )
    assert found.unchanged == {"rank": 8}
    table = search_table([found])
    assert table.parts[0].body[0][6] == "decay not used → 0.5, depth none → not used, lr 0.001 → 0.00241"
    assert json.loads(str(table.records[0]["params"])) == values[3]
    assert json.loads(str(table.records[0]["default"])) == values[1]
    assert values_text((0.1, 0.05)) == "0.1, then 0.05"


def test_a_population_is_told_by_trainings_and_by_what_held_one_after_another(report: Report) -> None:
    one, other = {"lr": 0.1, "rank": 8}, {"lr": 0.08, "rank": 8}
    legs = [[[3, one]], [[3, other]], [[6, one]], [[3, one], [6, other]], [[9, one]], [[3, one], [9, other]]]
    told = pd.concat([_trials(report)] * 2).iloc[: len(legs)].assign(
        trial=range(1, 7), value=[0.3, 0.2, 0.4, 0.5, 0.4, 0.5], status="done", share=1 / 3,
        params=[json.dumps(each[-1][1]) for each in legs], segments=[json.dumps(each) for each in legs],
    )  # fmt: skip
    (found,) = search_rows(report.cells, told)
    assert (found.trials, found.default_score, found.winner_score) == (2, 0.4, 0.5)
    assert found.changes == (ChangedParameter("lr", (0.1,), (0.1, 0.08)),)
    assert found.unchanged == {"rank": 8}
    table = search_table([found])
    assert table.parts[0].body[0][6] == "lr 0.1 → 0.1, then 0.08"
    assert json.loads(str(table.records[0]["segments"])) == legs[-1]
    assert trainings_of_rows(report.settings, told) == {("classification", "lora", "a"): 2}
    frame = search.frame(told)
    assert frame["ended"].tolist() == [0.333, 0.667, 1.0, 1.333, 1.667, 2.0]
    assert frame["default"].isna().tolist() == [True, True, True, True, False, True]
    assert set(frame["status"]) == {search.PART}
    early = search_rows(report.cells, told.iloc[:3])
    assert (early[0].winner_score, early[0].segments) == (0.4, ()), "the best of the generation that came farthest"


def test_scores_of_searches_keep_their_units_apart(report: Report) -> None:
    """Percent is for shares of examples alone, and no axis, table or best value has two units."""
    accuracy = _trials(report)
    nats = accuracy.assign(
        criterion="information", value=accuracy["value"] * 3, best=accuracy["best"] * 3, protocol="z"
    )
    (only,) = search_rows(report.cells, nats)
    assert (only.criterion, only.default_score, only.winner_score) == (
        "information",
        pytest.approx(1.2),
        pytest.approx(2.1),
    )
    frame = search.frame(nats)
    assert frame["best"].tolist() == pytest.approx([1.2, 2.1, 2.1])
    spec = search.chart(frame).to_dict(validate=False)
    assert "validation (information, nats)" in str(spec)
    assert spec["resolve"]["scale"]["y"] == "shared"
    assert not re.search(r"'format': '[^']*%'", str(spec))
    both = pd.concat([accuracy, nats], ignore_index=True)
    frame = search.frame(both)
    assert frame["ended"].tolist() == [1, 3, 4] * 2
    assert frame.groupby("panel")["score"].nunique().tolist() == [1, 1]
    assert all(panel.endswith(score) for panel, score in zip(frame["panel"], frame["score"], strict=True))
    spec = search.chart(frame).to_dict(validate=False)
    assert spec["resolve"]["scale"]["y"] == "independent"
    assert "'validation score'" in str(spec)
    table = search_table(search_rows(report.cells, both))
    told = [(part.title, part.head[7:9], [row[7:9] for row in part.body]) for part in table.parts]
    assert told == [
        (
            "Chosen settings, by accuracy",
            ("default's validation (accuracy, %)", "validation (accuracy, %)"),
            [("40.0", "70.0")],
        ),
        (
            "Chosen settings, by information",
            ("default's validation (information, nats)", "validation (information, nats)"),
            [("1.2", "2.1")],
        ),
    ]
    assert [record["validation_by"] for record in table.records] == ["accuracy", "information"]
    assert [record["validation"] for record in table.records] == pytest.approx([0.7, 2.1])
    assert "validation_by" in search_table([]).columns


@pytest.mark.parametrize(
    ("by", "value", "told", "called"),
    [
        ("accuracy", 0.9341, "93.4", "accuracy, %"),
        ("source_accuracy", 0.5, "50.0", "source accuracy, %"),
        ("information", 2.213412, "2.213", "information, nats"),
        ("entropy", -0.123456, f"{text.MINUS}0.1235", "entropy, nats"),
        ("nuclear_norm", 0.0982345, "0.09823", "nuclear norm"),
        ("last", 12500.0, "12500", "last, steps"),
        ("information", None, text.NONE, "information, nats"),
    ],
)
def test_a_score_is_told_in_its_unit(by: str, value: float | None, told: str, called: str) -> None:
    assert scores.score_text(by, value) == told
    assert scores.name_and_unit(by) == called


def test_searches_of_one_name_have_a_default_each(report: Report) -> None:
    """As when a suite is given another default, and its first trials are still stored."""
    values = [{"lr": 0.1}, {"lr": 0.1}, {"lr": 0.2}, {"lr": 0.3}]
    both = pd.concat([_trials(report).iloc[:2]] * 2, ignore_index=True).assign(
        key=["a", "a", "b", "b"],
        params=[json.dumps(each) for each in values],
        segments=[json.dumps([[3 * number, each]]) for number, each in zip([1, 2, 1, 2], values, strict=True)],
    )
    assert trials.is_default(both).tolist() == [False, True, True, False], "the one came farther than the other"


def test_trials_of_two_validators_share_nothing() -> None:
    """Until cells have labels, both settings have one name."""

    def trial(validator: str, number: int, value: float) -> Any:
        tags = {"tlbench.setting": f"of {validator}", "tlbench.trial": str(number), "tlbench.values": "{}"}
        named = {"protocol": "adaptation", "option.validator": validator}
        found = run("dann", 0.0, 2**31, tags=tags, **named)
        return replace(found, metrics={f"validation/{validator}": value, "cost/seconds": 1.0}, ended=float(number))

    tried = [trial("information", 1, 2.1), trial("source_accuracy", 1, 0.6), trial("source_accuracy", 2, 0.9)]
    made = build_report(results([run("lora", 0.5), *tried]))
    frame = made.results.trials
    assert frame["criterion"].tolist() == ["information", "source_accuracy", "source_accuracy"]
    assert frame["best"].tolist() == [2.1, 0.6, 0.9]
    assert frame["cost"].tolist() == [1.0, 1.0, 2.0]
    assert [(each.criterion, each.default_score, each.winner_score) for each in search_rows(made.cells, frame)] == [
        ("information", 2.1, 2.1),
        ("source_accuracy", 0.6, 0.9),
    ]
    assert search.frame(frame)["ended"].tolist() == [1, 1, 2]
    assert "search" in figures(made)


def _choices() -> ValidatorChoices:
    row = ValidatorRow(
        "adaptation", "dann", "a", "x -> y", "0", 3, "entropy", {"entropy": 0.7, "last": 0.6}, 0.8, False
    )
    return ValidatorChoices(("entropy", "last"), (row,))


def test_the_oracle_stands_apart_from_validators() -> None:
    frame = adaptation.frame(_choices())
    assert frame["validator"].tolist() == ["entropy", "last", "oracle"]
    assert frame["mean"].tolist()[:2] == [0.7, 0.6]
    assert np.isnan(frame["mean"].iloc[2])
    assert frame["oracle"].iloc[2] == 0.8
    assert frame["oracle"].isna().tolist() == [True, True, False]


def test_figures_show_the_best_and_the_baseline() -> None:
    runs = [run(f"m{number:02}", 0.9 - number / 100, seed) for number in range(12) for seed in range(3)]
    runs += [run("sees_all", 0.99, seed, tags={"tlbench.oracle": "true"}) for seed in range(3)]
    (board,) = build_report(results(runs, baseline="m11")).boards
    shown = {method for method, _ in leading(board)}
    assert shown == {f"m{number:02}" for number in range(7)} | {"m11"}


def test_every_figure_is_drawn_and_its_specification_is_light(report: Report) -> None:
    confusion = Confusion(classes=("ant", "bee"), counts=((0, 0, 5), (0, 1, 2), (1, 1, 3))).pack()
    details = RecordDetails({"train_loss": ((0, 1.0), (1, 0.5))}, packed_confusion=confusion)
    told = {cell.cell: details for cell in report.cells}
    whole = build_report(replace(report.results, trials=_trials(report), details=told))
    of_choices = Figure("adaptation", adaptation.CAPTION, adaptation.frame(_choices()), adaptation.chart)
    found = figures(whole) | {"adaptation": of_choices}
    assert set(found) == {name for section in load_sections()[0] for name in section.figures} - {"ranks"}
    assert whole.leading.left_out == 0
    for figure in found.values():
        assert "config" not in figure.spec, "colours are those of the page"
        assert len(json.dumps(figure.spec)) < 60_000
        drawing = svg(figure)
        assert drawing.startswith("<svg")
        assert len(re.findall(r"<path", drawing)) > 3, f"{figure.name} is empty"
    assert pdf(drawing).startswith(b"%PDF")


def test_nothing_is_drawn_of_nothing() -> None:
    nothing = build_report(results([]))
    assert (figures(nothing), nothing.leading.left_out) == ({}, 0)


def test_day_and_night_differ_in_colours_only() -> None:
    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: bare(each) for key, each in value.items()}
        if isinstance(value, list):
            return [bare(each) for each in value]
        return "colour" if isinstance(value, str) and value.startswith("#") else value

    assert look.DAY != look.NIGHT
    assert bare(look.DAY) == bare(look.NIGHT)
