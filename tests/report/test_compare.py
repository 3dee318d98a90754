"""Selections held against each other: numbers by scipy and statsmodels, pairing by hand, the command as it is used."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from demo_suite import BONUS, SEEDS, accuracy
from made_results import results, run
from statsmodels.stats.contingency_tables import mcnemar as reference

from tlbench import cli
from tlbench.core.errors import UserError
from tlbench.core.record import pack_classes
from tlbench.report.comparison.selections import compare_selections as compare
from tlbench.report.comparison.selections_text import selections_text

OURS, THEIRS = (0.81, 0.84, 0.86), (0.80, 0.79, 0.84)


def both(**changed: Any) -> list[Any]:
    """Return three seeds of two methods."""
    one = [run("lora(rank=8)", value, seed, **changed) for seed, value in enumerate(OURS)]
    return one + [run("probe", value, seed, **changed) for seed, value in enumerate(THEIRS)]


def test_one_dataset_is_scipys_paired_t_test() -> None:
    (comparison,) = compare("lora", "probe", results(both())).protocols
    expected = scipy.stats.ttest_rel(OURS, THEIRS)
    assert (comparison.ours, comparison.theirs, comparison.pairs, comparison.seeds) == ("lora", "probe", 3, 3)
    assert comparison.on_these_datasets.p == pytest.approx(expected.pvalue)
    assert comparison.on_these_datasets.estimate.low == pytest.approx(expected.confidence_interval().low)
    assert comparison.on_new_datasets is None
    (digits,) = comparison.datasets
    assert (digits.ours, digits.theirs) == (pytest.approx(np.mean(OURS)), pytest.approx(np.mean(THEIRS)))
    assert digits.p_holm == comparison.on_these_datasets.p
    assert (digits.verdict, comparison.wins.win, comparison.wins.tie, comparison.wins.loss) == ("win", 1, 0, 0)


def test_new_datasets_are_a_claim_of_their_own() -> None:
    runs = [*both(), *both(dataset="glyphs"), *(run("lora(rank=8)", 0.5, s, "pydocs") for s in range(3))]
    runs += [run("probe", value, seed, "pydocs") for seed, value in enumerate((0.55, 0.56, 0.57))]
    (comparison,) = compare("lora", "probe", results(runs)).protocols
    gap = np.mean(OURS) - np.mean(THEIRS)
    expected = scipy.stats.ttest_1samp([gap, gap, -0.06], 0.0)
    assert comparison.on_new_datasets is not None
    assert comparison.on_new_datasets.p == pytest.approx(expected.pvalue)
    assert [each.verdict for each in comparison.datasets] == ["win", "win", "loss"]
    assert "better on 2, equal on 0, worse on 1 of 3 datasets" in selections_text(
        compare("lora", "probe", results(runs))
    )


def test_of_one_dataset_the_difference_is_told_once() -> None:
    (first, second, *_) = selections_text(compare("lora", "probe", results(both()))).splitlines()[1:]
    assert "on this dataset" in first
    assert second == f"  digits: {100 * np.mean(OURS):.1f}% against {100 * np.mean(THEIRS):.1f}%"


def test_a_long_name_of_a_dataset_has_its_own_line() -> None:
    name = 'glyphs(scripts=["greek","georgian"]): DejaVuSans -> DejaVuSerif and so on in more letters'
    lines = selections_text(compare("lora", "probe", results([*both(), *both(dataset=name)]))).splitlines()
    short = "  glyphs: DejaVuSans -> DejaVuSerif and so on in more letters"
    assert lines[lines.index(short) + 1].startswith(f"    {100 * np.mean(OURS):.1f}% against ")


def test_an_empty_selector_is_refused() -> None:
    with pytest.raises(UserError, match="selects everything"):
        compare(" ", "probe", results(both()))


def test_cells_without_a_partner_do_not_count_and_are_told() -> None:
    runs = [*both(), run("lora(rank=8)", 0.1, 9), run("lora(rank=8)", 0.1, 0, "glyphs"), run("probe", 0.9, 0, "pydocs")]
    (comparison,) = compare("lora", "probe", results(runs)).protocols
    assert (comparison.pairs, comparison.cells) == (3, (5, 4))
    assert comparison.on_these_datasets.estimate.mean == pytest.approx(np.mean(OURS) - np.mean(THEIRS))
    assert "from 3 pairs of cells; the first has 5, the second 4" in selections_text(
        compare("lora", "probe", results(runs))
    )


def test_pairs_agree_in_backbone_and_shots_which_are_no_further_datasets() -> None:
    runs = [*both(), *both(shots="1"), *both(backbone_label="vit/random"), run("probe", 0.0, 0, backbone_label="x/y")]
    (comparison,) = compare("lora", "probe", results(runs)).protocols
    assert comparison.pairs == 9
    assert comparison.on_these_datasets.estimate.n == 3  # seeds; what hangs on one draw was averaged first
    assert comparison.on_these_datasets.p == pytest.approx(scipy.stats.ttest_rel(OURS, THEIRS).pvalue)


def test_backbones_shots_and_both_at_once_can_be_compared() -> None:
    runs = [*both(), *both(backbone_label="vit/random", backbone="vit"), *both(shots="1")]
    found = results(runs)
    (comparison,) = compare("method=probe backbone=vit", "method=probe backbone=resnet18 shots=5", found).protocols
    assert (comparison.ours, comparison.theirs, comparison.pairs) == ("vit", "resnet18", 3)
    (comparison,) = compare("method=probe shots=1", "method=probe shots=5 backbone=resnet18", found).protocols
    assert (comparison.ours, comparison.theirs, comparison.pairs) == ("1 shots", "5 shots", 3)
    (comparison,) = compare("method=lora backbone=vit", "method=probe backbone=resnet18 shots=5", found).protocols
    assert (comparison.ours, comparison.theirs) == ("lora on vit", "probe on resnet18")


def test_protocols_stand_apart() -> None:
    runs = [*both(), *both(protocol="episodic")]
    assert [each.protocol for each in compare("lora", "probe", results(runs)).protocols] == [
        "classification",
        "episodic",
    ]
    apart = [each for each in runs if ("episodic" in each.id) == (each.params["method_label"] == "probe")]
    with pytest.raises(UserError, match="different protocols"):
        compare("lora", "probe", results(apart))


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("lorra", "probe", "did you mean 'lora'"),
        ("method=lora sots=5", "probe", "did you mean 'shots'"),
        ("lora", "method=l*", "both select 6 cells"),
        ("lora", "method=lora,probe seed=1", "both select"),
        ("method=lora seed=0", "method=probe seed=1", "no seed in common"),
        ("method=lora dataset=digits", "method=probe dataset=glyphs", "no dataset in common"),
        ("method=lora dataset=digits", "method=p*,tune dataset=digits", "several: probe; tune"),
    ],
)
def test_what_cannot_be_compared_says_why(first: str, second: str, said: str) -> None:
    runs = [*both(), *both(dataset="glyphs"), run("tune", 0.5)]
    with pytest.raises(UserError) as error:
        compare(first, second, results(runs))
    assert said in str(error.value)


def test_sides_that_never_meet_are_refused() -> None:
    runs = [run("a", 0.5, 0, shots="1"), run("a", 0.5, 1, shots="5"), run("b", 0.5, 1, shots="1"), run("b", 0.5, 0)]
    with pytest.raises(UserError, match="no setting and seed in common"):
        compare("a", "b", results(runs))


def test_two_seeds_get_no_verdict() -> None:
    text = selections_text(compare("lora", "probe", results(each for each in both() if each.params["seed"] != "2")))
    assert "measured difference" in text
    assert "fewer than 3 seeds" in text
    assert "not separable" in selections_text(compare("lora", "probe", results(both())))


def test_a_label_with_signs_in_it_is_a_label() -> None:
    (comparison,) = compare("lora(rank=8)", "probe", results(both())).protocols
    assert comparison.ours == "lora"


RNG = np.random.default_rng(0)


def answered(seeds: int, group: int = 1, tests: int = 60) -> tuple[list[Any], list[Any], list[Any]]:
    """Return runs of two methods with their answers."""
    ours = [RNG.uniform(size=tests) < 0.8 for _ in range(seeds)]
    theirs = [RNG.uniform(size=tests) < 0.6 for _ in range(seeds)]
    runs = [run("lora", float(bits.mean()), s, correct=bits, group=group) for s, bits in enumerate(ours)]
    runs += [run("probe", float(bits.mean()), s, correct=bits, group=group) for s, bits in enumerate(theirs)]
    return runs, ours, theirs


def test_one_seeds_answers_are_statsmodels_exact_mcnemar() -> None:
    runs, (ours,), (theirs,) = answered(1)
    examples = compare("lora", "probe", results(runs)).protocols[0].datasets[0].examples
    assert examples is not None
    table = [[(x & y).sum() for y in (theirs, ~theirs)] for x in (ours, ~ours)]
    assert examples.counts.p == pytest.approx(reference(table, exact=True).pvalue)
    assert examples.models == 1
    gain = ours.astype(float) - theirs
    assert examples.error == pytest.approx(gain.std(ddof=1) / 60**0.5)


def test_seeds_answer_the_same_test_set() -> None:
    runs, ours, theirs = answered(4)
    examples = compare("lora", "probe", results(runs)).protocols[0].datasets[0].examples
    assert examples is not None
    gain = np.sum(ours, axis=0) - np.sum(theirs, axis=0)
    counts = examples.counts
    assert (counts.units, counts.better, counts.worse) == (60, (gain > 0).sum(), (gain < 0).sum())
    assert counts.p is None, "models of several seeds are no test of two models"
    assert examples.models == 4
    assert f"of 60 test units {(gain > 0).sum()} for the first" in selections_text(
        compare("lora", "probe", results(runs))
    )


def test_episodes_are_counted_by_test_class_and_not_without_classes() -> None:
    runs, ours, theirs = answered(3, group=15)
    assert compare("lora", "probe", results(runs)).protocols[0].datasets[0].examples is None
    classes = np.arange(60) % 4
    for each in runs:
        each.details = replace(each.details, test_classes=pack_classes(classes.tolist()))
    found = compare("lora", "probe", results(runs)).protocols[0].datasets[0]
    assert found.examples is not None
    gains = np.sum(ours, axis=0) - np.sum(theirs, axis=0)
    better = sum(gains[classes == label].sum() > 0 for label in range(4))
    assert (found.examples.counts.units, found.examples.counts.better) == (4, better)
    assert found.contrast.estimate.tests is not None


def test_no_answers_no_test_of_them() -> None:
    runs, _, _ = answered(3)
    runs[0].details = None
    assert compare("lora", "probe", results(runs)).protocols[0].datasets[0].examples is None


@pytest.fixture
def command(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run ``tlbench ARGS`` on the stored results."""
    monkeypatch.chdir(tmp_path)

    def call(*args: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tlbench", *args, "--tracking-uri", store])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out, said.err

    return call


def test_the_command_on_stored_results(command: Any) -> None:
    code, out, _ = command("compare", "lora", "linear_probe", "--json")
    assert code == 0
    (comparison,) = json.loads(out)["protocols"]
    gaps = [
        accuracy("lora(rank=8)", *where, seed) - accuracy("linear_probe", *where, seed)
        for where in BONUS
        for seed in SEEDS
    ]
    assert comparison["pairs"] == len(gaps) == 12
    assert comparison["on_these_datasets"]["estimate"]["mean"] == pytest.approx(np.mean(gaps))
    examples = {each["dataset"]: each["examples"] for each in comparison["datasets"]}
    assert examples["glyphs"]["models"] == 6
    code, out, _ = command("compare", "lora", "linear_probe", "--suite", "demo")
    assert code == 0
    assert out.startswith("classification: lora against linear_probe\n")


def test_mistakes_are_one_sentence(command: Any) -> None:
    code, _, err = command("compare", "lorra", "linear_probe")
    assert (code, "did you mean 'lora'?" in err) == (2, True)
    code, _, err = command("compare", "lora", "linear_probe", "--suite", "deno")
    assert (code, "did you mean 'demo'?" in err) == (2, True)
    code, _, err = command("compare", "lora", "linear_probe", "--suite", "fewshot")
    assert (code, "selects no result of fewshot" in err) == (2, True)
