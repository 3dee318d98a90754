"""Validators against closed forms, against pytorch-adapt where it is installed, and by what they must not depend on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tlbench.stats import validators
from tlbench.stats.validators import (
    KINDS,
    VALIDATORS,
    ValidatorInputs,
    best_candidate,
    clusters,
    counterpart,
    density,
    entropy,
    information,
    last,
    nuclear_norm,
    source_accuracy,
    source_and_information,
    validator_scores,
)

CLASSES, COUNT = 5, 40
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 2, (COUNT, CLASSES)).astype(np.float32)
LABELS = RNG.integers(0, CLASSES, COUNT)
LABEL_FREE = (entropy, information, nuclear_norm, density, clusters)


def answers(target: Any, source: Any = LOGITS, labels: Any = LABELS, step: int = 1) -> ValidatorInputs:
    return ValidatorInputs(step, np.asarray(source), labels, np.asarray(target))


def certain(labels: Any) -> Any:
    return 1e4 * np.eye(CLASSES)[labels]


UNIFORM = answers(np.full((COUNT, CLASSES), 3.0))
BALANCED = answers(certain(np.arange(COUNT) % CLASSES))
COLLAPSED = answers(certain(np.zeros(COUNT, int)))


@pytest.mark.parametrize(
    ("validator", "given", "expected"),
    [
        (entropy, UNIFORM, -np.log(CLASSES)),
        (entropy, BALANCED, 0.0),
        (entropy, COLLAPSED, 0.0),
        (information, UNIFORM, 0.0),
        (information, BALANCED, np.log(CLASSES)),
        (information, COLLAPSED, 0.0),
        (nuclear_norm, UNIFORM, 1 / np.sqrt(COUNT * CLASSES)),
        (nuclear_norm, BALANCED, np.sqrt(CLASSES / COUNT)),
        (nuclear_norm, COLLAPSED, 1 / np.sqrt(COUNT)),
        (clusters, BALANCED, 1.0),
        (clusters, COLLAPSED, 0.0),
        (density, UNIFORM, np.log(COUNT - 1)),
        (density, COLLAPSED, np.log(COUNT - 1)),
    ],
)
def test_closed_forms(validator: Callable[[ValidatorInputs], float], given: ValidatorInputs, expected: float) -> None:
    assert validator(given) == pytest.approx(expected, abs=1e-12)


def test_two_groups_of_unequal_size_by_hand() -> None:
    """30 certainly of the first class, 10 evenly torn between the first two."""
    logits = np.full((COUNT, CLASSES), -1e4)
    logits[:, 0] = 0
    logits[30:, 1] = 0
    given = answers(logits)
    mean = np.array([35, 5]) / 40
    torn = -np.log(2) / 4
    assert entropy(given) == pytest.approx(torn)
    assert information(given) == pytest.approx(torn - (mean * np.log(mean)).sum())
    gram = np.array([[30 + 10 / 4, 10 / 4], [10 / 4, 10 / 4]])
    assert nuclear_norm(given) == pytest.approx(np.sqrt(np.linalg.eigvalsh(gram)).sum() / 40)


def _density_by_loops(logits: Any) -> float:
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    total = 0.0
    for i, one in enumerate(p):
        others = [other for j, other in enumerate(p) if j != i]
        similar = [one @ other / (np.linalg.norm(one) * np.linalg.norm(other)) for other in others]
        shares = np.exp(np.array(similar) / 0.05)
        shares /= shares.sum()
        total -= float((shares * np.log(shares)).sum())
    return total / len(p)


@pytest.mark.parametrize("block", [512, 7])
def test_density_is_the_mean_entropy_of_all_neighbours_written_out(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validators, "_BLOCK", block)
    logits = LOGITS.astype(np.float64)
    assert density(answers(logits)) == pytest.approx(_density_by_loops(logits), rel=1e-12)
    assert density(answers(logits)) < np.log(COUNT - 1) - 0.2


def test_density_of_clusters_is_the_entropy_of_a_cluster() -> None:
    """Of five certain groups of eight, each example has seven neighbours; those of other groups weigh exp(-20)."""
    assert density(BALANCED) == pytest.approx(np.log(COUNT / CLASSES - 1), abs=1e-6)


def test_density_of_many_is_that_of_every_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validators, "_EXAMPLES", 14)
    assert density(answers(LOGITS)) == density(answers(LOGITS[[0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 33, 36, 39]]))


def test_a_ranking_is_shown_a_second_time_under_another_kind() -> None:
    assert KINDS.keys() == VALIDATORS.keys()
    for name, kind in KINDS.items():
        assert KINDS[counterpart(name)] not in (kind, "nothing")
    assert counterpart("a validator from elsewhere") in VALIDATORS


def test_clusters_of_all_multiples_and_shifts_of_the_logits_are_the_same() -> None:
    """So certainty does not count."""
    value = clusters(answers(LOGITS))
    assert 0 < value < 1
    assert clusters(answers(9 * LOGITS)) == pytest.approx(value, rel=1e-9)
    assert clusters(answers(LOGITS + 5 * np.arange(COUNT)[:, None])) == pytest.approx(value, rel=1e-5)
    assert information(answers(9 * LOGITS)) > information(answers(LOGITS)) + 0.1


def test_a_boundary_that_parts_a_cluster_agrees_less() -> None:
    """Three groups of points, and a bias that gives a part of the first to the other classes."""
    logits = 6 * np.eye(3)[np.arange(60) % 3] + np.random.default_rng(0).normal(0, 0.3, (60, 3))
    assert clusters(answers(logits)) == pytest.approx(1)
    assert clusters(answers(logits - [5.7, 0, 0])) < 0.8


def test_information_and_the_source_each_as_a_share() -> None:
    source = certain(LABELS)
    source[:10] = certain((LABELS[:10] + 1) % CLASSES)
    assert source_and_information(answers(BALANCED.target, source)) == pytest.approx(1.75)
    assert source_and_information(answers(COLLAPSED.target, certain(LABELS))) == pytest.approx(1)


def test_source_accuracy_counts_and_reads_no_target() -> None:
    source = certain(LABELS)
    source[:10] = certain((LABELS[:10] + 1) % CLASSES)
    assert source_accuracy(answers(np.full((3, CLASSES), np.nan), source)) == 0.75


@pytest.mark.parametrize("validator", LABEL_FREE)
def test_the_source_does_not_matter_where_only_the_target_is_read(
    validator: Callable[[ValidatorInputs], float],
) -> None:
    assert validator(answers(LOGITS)) == validator(answers(LOGITS, source=-LOGITS, labels=LABELS[::-1], step=9))


@pytest.mark.parametrize("validator", LABEL_FREE[:-1])  # clusters start from an example
def test_order_and_shifts_of_the_logits_do_not_matter(validator: Callable[[ValidatorInputs], float]) -> None:
    value = validator(answers(LOGITS))
    shuffled = LOGITS[::-1][:, [3, 0, 4, 1, 2]].astype(np.float64) + np.arange(COUNT)[:, None]
    assert validator(answers(shuffled)) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("validator", LABEL_FREE)
def test_single_precision_is_not_what_is_computed_in(validator: Callable[[ValidatorInputs], float]) -> None:
    assert validator(answers(LOGITS)) == validator(answers(LOGITS.astype(np.float64)))


@pytest.mark.parametrize("validator", LABEL_FREE)
def test_huge_logits_stay_finite(validator: Callable[[ValidatorInputs], float]) -> None:
    assert np.isfinite(validator(answers(1e30 * LOGITS)))


def test_they_equal_pytorch_adapt() -> None:
    """Its validators are minus these losses; that package itself does not import beside today's other packages."""
    layers = pytest.importorskip("pytorch_adapt.layers")
    torch = pytest.importorskip("torch")
    given, logits = answers(LOGITS), torch.from_numpy(LOGITS).double()
    theirs = {name: -getattr(layers, f"{name}Loss")()(logits).item() for name in ("Entropy", "Diversity", "BNM")}
    assert entropy(given) == pytest.approx(theirs["Entropy"], rel=1e-6)
    assert information(given) == pytest.approx(theirs["Entropy"] + theirs["Diversity"], rel=1e-6)
    assert nuclear_norm(given) == pytest.approx(theirs["BNM"], rel=1e-9)


def test_entropy_is_fooled_by_one_name_for_all_and_information_is_not() -> None:
    right = answers(6 * np.eye(CLASSES)[np.arange(COUNT) % CLASSES])
    assert entropy(COLLAPSED) > entropy(right)
    assert information(right) > information(COLLAPSED)
    assert nuclear_norm(right) > nuclear_norm(COLLAPSED)


def test_all_are_asked_of_all() -> None:
    values = validator_scores([UNIFORM, BALANCED])
    assert values.keys() == VALIDATORS.keys()
    assert len(VALIDATORS) >= 5
    assert values["information"] == [information(UNIFORM), information(BALANCED)]
    assert values["last"] == [1.0, 1.0]


@pytest.mark.parametrize("broken", ["source", "target"])
def test_a_model_that_diverged_is_chosen_by_none_that_looks(broken: str) -> None:
    hurt = LOGITS.copy()
    hurt[3, 1] = np.nan
    bad = ValidatorInputs(2, hurt if broken == "source" else LOGITS, LABELS, hurt if broken == "target" else LOGITS)
    values = validator_scores([answers(LOGITS), bad])
    assert {name for name, each in values.items() if best_candidate(each) == 0} == VALIDATORS.keys() - {"last"}
    assert last(bad) == 2


def test_of_equal_values_the_last_is_the_best() -> None:
    assert best_candidate([0.1, 0.7, 0.2, 0.7, 0.3]) == 3
    assert best_candidate([1.0]) == 0
    assert best_candidate([-np.inf, -np.inf]) == 1
