"""Draws of labels, classes and episodes: budgets, nesting, disjointness, and what they depend on."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlbench.core.errors import UserError
from tlbench.core.info import DatasetInfo
from tlbench.data.sampling import (
    EpisodeShape,
    check_episodes,
    check_shots,
    deal_classes,
    draw_episodes,
    draw_shots,
    hold_out,
)

LABELS = np.repeat(np.arange(6), 40)
POOL = np.flatnonzero(np.arange(240) % 40 < 30)


FP, FQ = (DatasetInfo("toy", "image", fingerprint, (), (1, 8, 8), {}) for fingerprint in ("fp", "fq"))


def info(train: tuple[int, ...], **more: object) -> DatasetInfo:
    names = tuple(f"class{number}" for number in range(len(train)))
    fields = {"class_splits": {}, "counts": {"train": train, "test": (3,) * len(train)}} | more
    return DatasetInfo("toy", "image", "fp", names, (1, 8, 8), **fields)


@given(shots=st.integers(1, 30), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_budget_is_exact_and_parts_share_nothing(shots: int, seed: int) -> None:
    draw = draw_shots(LABELS, POOL, shots, seed, FP)
    labelled = np.concatenate([draw.train, draw.val])
    assert (np.bincount(LABELS[labelled]) == shots).all()
    assert sorted([*labelled, *draw.unlabeled]) == sorted(POOL)
    held = 0 if shots == 1 else max(1, round(0.2 * shots))
    assert len(draw.val) == 6 * held
    assert (np.bincount(LABELS[draw.train], minlength=6) == shots - held).all()


def test_budgets_nest_and_so_do_their_training_parts() -> None:
    draws = [draw_shots(LABELS, POOL, shots, 3, FP) for shots in range(1, 31)]
    for small, large in pairwise(draws):
        assert set(small.train) <= set(large.train)
        assert {*small.train, *small.val} < {*large.train, *large.val}


def test_draw_depends_on_seed_and_fingerprint_and_nothing_else() -> None:
    first = draw_shots(LABELS, POOL, 5, 0, FP)
    again = draw_shots(LABELS, POOL[::-1].copy(), 5, 0, FP)
    assert np.array_equal(first.train, again.train)
    assert np.array_equal(first.val, again.val)
    for other in (draw_shots(LABELS, POOL, 5, 1, FP), draw_shots(LABELS, POOL, 5, 0, FQ)):
        assert not np.array_equal(first.train, other.train)


def test_every_example_is_drawn_equally_often() -> None:
    times = np.zeros(240)
    for seed in range(600):
        times[draw_shots(LABELS, POOL, 3, seed, FP).train] += 1
    # Each of 30 candidates is among the 2 training shots with probability 1/15: 40 of 600, within 5 sigma.
    assert abs(times[POOL] - 40).max() < 5 * np.sqrt(600 / 15 * 14 / 15)
    assert times.sum() == times[POOL].sum()


def test_full_takes_a_tenth_for_validation_or_the_sources_own() -> None:
    draw = draw_shots(LABELS, POOL, "full", 0, FP)
    assert (np.bincount(LABELS[draw.val]) == 3).all()
    assert sorted([*draw.train, *draw.val]) == sorted(POOL)
    assert len(draw.unlabeled) == 0
    own = np.setdiff1d(np.arange(240), POOL)
    draw = draw_shots(LABELS, POOL, "full", 0, FP, source_val=own)
    assert np.array_equal(draw.train, POOL)
    assert np.array_equal(draw.val, own)


def test_a_number_of_shots_leaves_the_sources_validation_alone() -> None:
    own = np.setdiff1d(np.arange(240), POOL)
    draw = draw_shots(LABELS, POOL, 5, 0, FP, source_val=own)
    assert not set(own) & {*draw.train, *draw.val, *draw.unlabeled}


def test_too_few_examples_name_class_and_count() -> None:
    pool = np.setdiff1d(POOL, np.flatnonzero(LABELS == 4)[2:])
    with pytest.raises(UserError, match=r"class 'e' has 2 training examples, but shots: 5 needs 5") as caught:
        draw_shots(LABELS, pool, 5, 0, replace(FP, classes=tuple("abcdef")))
    assert "at most 2 shots" in caught.value.hint
    with pytest.raises(UserError, match="toy: class 'class1' has 4 training"):
        check_shots(info((9, 4, 9)), 5)
    with pytest.raises(UserError, match=r"class 'class0' has 1 .* \(and 1 more"):
        check_shots(info((1, 1, 5)), "full")
    check_shots(info((9, 4, 9)), 4)
    check_shots(info((1, 1, 1), counts={"train": (1, 1, 1), "val": (1, 1, 1)}), "full")


@pytest.mark.parametrize("grouped", [False, True])
def test_a_scarce_class_gives_all_that_it_has(grouped: bool) -> None:
    pool = np.setdiff1d(POOL, np.flatnonzero(LABELS == 4)[2:])
    few = LABELS[pool] == 4
    groups = np.arange(len(LABELS)) if grouped else None
    draw, usual = (draw_shots(LABELS, rows, 10, 0, FP, groups=groups, scarce=True) for rows in (pool, POOL))
    labelled = np.concatenate([draw.train, draw.val])
    assert set(pool[few]) <= set(labelled)
    counts = np.bincount(LABELS[labelled], minlength=6)
    assert counts[4] == few.sum() < 10
    assert set(np.delete(counts, 4)) == {10}
    assert np.bincount(LABELS[draw.train], minlength=6)[4] >= 1
    for part in ("train", "val"):
        got, expected = getattr(draw, part), getattr(usual, part)
        assert set(got[LABELS[got] != 4]) == set(expected[LABELS[expected] != 4]), "others are drawn as ever"
    plain = draw_shots(LABELS, POOL, 10, 0, FP, groups=groups)
    assert (plain.train.tolist(), plain.val.tolist()) == (usual.train.tolist(), usual.val.tolist())
    check_shots(info((9, 1, 9)), 5, scarce=True)
    with pytest.raises(UserError, match="'class1' has 0 training examples"):
        check_shots(info((9, 0, 9)), 5, scarce=True)
    with pytest.raises(UserError) as caught:
        check_shots(info((9, 4, 9)), 5)
    assert "scarce: all" in caught.value.hint


def test_where_a_source_validates_all_is_for_training_and_no_label_is_needed() -> None:
    check_shots(info((1, 1, 1)), "full", adapting=True)
    check_shots(info((1, 0, 1)), 0, adapting=True)
    for shots in (1, "full"):
        with pytest.raises(UserError, match="class 'class1' has 0 training examples") as caught:
            check_shots(info((1, 0, 1)), shots, adapting=True)
        assert caught.value.hint == "leave that class out or ask for shots: 0"
        with pytest.raises(UserError) as caught:
            check_shots(info((1, 0, 1)), shots)
        assert caught.value.hint == "leave that class out"
    with pytest.raises(UserError, match="needs 4") as caught:
        check_shots(info((4, 3, 4)), 4, adapting=True)
    assert caught.value.hint == "every class has at least 3: ask for at most 3 shots"


def test_classes_are_dealt_once_and_by_fingerprint_only() -> None:
    dealt = deal_classes(info((9,) * 50))
    assert [len(dealt[part]) for part in ("train", "val", "test")] == [30, 10, 10]
    assert sorted(sum(dealt.values(), ())) == list(range(50))
    assert dealt == deal_classes(info((5,) * 50))
    declared = {"train": (0,), "val": (1,), "test": (2,)}
    assert deal_classes(info((9,) * 3, class_splits=declared)) == declared
    with pytest.raises(UserError, match="2 classes cannot be split"):
        deal_classes(info((9, 9)))


def test_episodes_are_exact_and_disjoint() -> None:
    classes = (1, 2, 4, 5)
    drawn = draw_episodes(LABELS, POOL, classes, EpisodeShape(ways=3, shots=4, queries=7), count=200, seed=5)
    assert drawn.support.shape == (200, 3, 4)
    assert drawn.query.shape == (200, 3, 7)
    assert set(drawn.classes.ravel()) == set(classes)
    for support, query, chosen in zip(drawn.support, drawn.query, drawn.classes, strict=True):
        assert len(set(chosen)) == 3
        assert len({*support.ravel(), *query.ravel()}) == 33
        assert (LABELS[support] == chosen[:, None]).all()
        assert (LABELS[query] == chosen[:, None]).all()
        assert {*support.ravel(), *query.ravel()} <= set(POOL)


def test_episodes_draw_classes_and_examples_evenly() -> None:
    drawn = draw_episodes(
        LABELS, np.arange(240), range(6), EpisodeShape(ways=2, shots=1, queries=39), count=3000, seed=0
    )
    assert abs(np.bincount(drawn.classes[:, 0]) - 500).max() < 5 * np.sqrt(500 * 5 / 6)
    # With all 40 examples of a class in use, which one is the support example must be uniform.
    place = drawn.support.ravel() % 40
    assert abs(np.bincount(place) - 150).max() < 5 * np.sqrt(150)
    assert all(len(set(row)) == 40 for row in np.concatenate([drawn.support, drawn.query], 2).reshape(-1, 40))


def test_episodes_depend_on_the_seed_only() -> None:
    shape = EpisodeShape(ways=3, shots=1, queries=5)
    first = draw_episodes(LABELS, POOL, (0, 1, 2, 3), shape, count=20, seed=1)
    again = draw_episodes(LABELS, POOL[::-1].copy(), (3, 2, 1, 0), shape, count=20, seed=1)
    other = draw_episodes(LABELS, POOL, (0, 1, 2, 3), shape, count=20, seed=2)
    assert np.array_equal(first.query, again.query)
    assert not np.array_equal(first.query, other.query)


def test_episodes_that_cannot_be_are_refused() -> None:
    with pytest.raises(UserError, match="7 ways need 7 classes, but there are 6"):
        draw_episodes(LABELS, POOL, range(6), EpisodeShape(ways=7, shots=1, queries=1), count=1, seed=0)
    with pytest.raises(UserError, match="class 'a' has 30 examples, but shots and queries together need 31"):
        draw_episodes(
            LABELS, POOL, range(6), EpisodeShape(ways=2, shots=1, queries=30), count=1, seed=0, names="abcdef"
        )
    toy = info((9,) * 50)
    check_episodes(toy, 10, 2, 10)
    with pytest.raises(UserError, match="toy: episodes of 11 ways") as caught:
        check_episodes(toy, 11, 1, 1)
    assert caught.value.hint == "ask for at most 10 ways"
    with pytest.raises(UserError, match=r"has 12 examples, but shots and queries together need 13"):
        check_episodes(toy, 5, 3, 10)
    with pytest.raises(UserError, match="not full"):
        check_episodes(toy, 5, "full", 10)


@pytest.mark.parametrize("classes", range(3, 8))
def test_where_one_class_is_tested_what_two_need_is_said(classes: int) -> None:
    with pytest.raises(UserError, match="2 ways need 2 classes, but there are 1 to draw from") as caught:
        check_episodes(info((9,) * classes), 2, 1, 1)
    assert caught.value.hint == "give 8 classes or more, or a split of classes that has two or more for the test"
    check_episodes(info((9,) * 8), 2, 1, 1)
    declared = {"train": (0,), "val": (), "test": (1, 2)}
    check_episodes(info((9,) * classes, class_splits=declared), 2, 1, 1)


def test_a_held_out_fraction_is_stratified_and_stable_when_strata_are_added() -> None:
    strata = ["a"] * 10 + ["b"] * 3 + ["c"] + ["d"] * 2
    chosen = hold_out(strata, 0.2)
    assert [chosen[:10].sum(), chosen[10:13].sum(), chosen[13], chosen[14:].sum()] == [2, 1, 0, 1]
    assert np.array_equal(hold_out([*strata, *("e" * 9)], 0.2)[:16], chosen)


@pytest.mark.parametrize("each", [1, 2, 5, 10])
def test_what_is_held_out_may_be_spread_evenly_over_kinds(each: int) -> None:
    strata, kinds = ["a"] * 12 * each + ["b"] * 12 * each, np.tile(np.repeat(np.arange(12), each), 2)
    chosen = hold_out(strata, 0.2, over=kinds)
    for half in np.split(np.arange(24 * each), 2):
        of_kind = np.bincount(kinds[half][chosen[half]], minlength=12)
        assert of_kind.sum() == round(0.2 * 12 * each)
        assert of_kind.max() - of_kind.min() <= 1
    assert (chosen[: 12 * each] != chosen[12 * each :]).any(), "each stratum has a choice of its own"


DRAWS = """
import numpy as np, hashlib
from tlbench.data.sampling import draw_shots, hold_out, EpisodeShape, draw_episodes
from tlbench.core.info import DatasetInfo
labels = np.repeat(np.arange(6), 40)
s = draw_shots(labels, np.arange(240), 5, 7, DatasetInfo("toy", "image", "fp", (), (1, 8, 8), {}))
e = draw_episodes(labels, np.arange(240), range(6), EpisodeShape(ways=5, shots=1, queries=15), count=50, seed=9)
h = hold_out([str(label) for label in labels], 0.2)
parts = [s.train, s.val, s.unlabeled, e.support, e.query, e.classes, h.astype(np.int64)]
print(hashlib.sha256(b"".join(part.astype("<i8").tobytes() for part in parts)).hexdigest())
"""


def test_draws_are_the_same_in_every_process_and_pinned() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", DRAWS], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {PINNED}


# Changes only if the meaning of a draw changes, which needs a new version of the protocols.
PINNED = "23720a843dcf0cbc1d11a7f481a2ef885d4ff9157fcd0fffbd97abbafc556ef4"
