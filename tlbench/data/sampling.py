"""Draws labelled examples, splits of classes, and episodes, from stated seeds only.

All randomness is raw output of PCG64, whose stream numpy promises to keep; so a draw is the same under any version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlbench.core.class_splits import TEST_OF_TWO, deal_classes
from tlbench.core.errors import UserError
from tlbench.core.hashing import derive_seed
from tlbench.core.info import DatasetInfo, Shots
from tlbench.core.label_budget import VAL_OF_FULL, VAL_OF_SHOTS, validation_of_shots
from tlbench.data.validation_groups import groups_apart

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Draw:
    """Which examples a label budget gives, as ascending row numbers.

    Attributes:
        train: Labelled examples to fit on.
        val: Labelled examples to select by.
        unlabeled: The rest of the pool, without labels.
    """

    train: Rows
    val: Rows
    unlabeled: Rows


@dataclass(frozen=True)
class EpisodeShape:
    """How large an episode is.

    Attributes:
        ways: Classes.
        shots: Support examples of each class.
        queries: Queries of each class.
    """

    ways: int
    shots: int
    queries: int


@dataclass(frozen=True)
class Episodes:
    """Row numbers of E episodes.

    Attributes:
        support: (E, ways, shots).
        query: (E, ways, queries).
        classes: Labels of the classes (E, ways); way ``w`` of episode ``e`` is class ``classes[e, w]``.
    """

    support: Rows
    query: Rows
    classes: Rows


def draw_shots(
    labels: NDArray[np.int64],
    pool: Rows,
    shots: Shots,
    seed: int,
    info: DatasetInfo,
    *,
    source_val: Rows | None = None,
    groups: Rows | None = None,
    extra: int = 0,
    scarce: bool = False,
) -> Draw:
    """Draw the label budget: ``shots`` examples of each class, of which a fifth is for validation.

    Each class is shuffled once by (fingerprint, seed), whatever the shots: so budgets nest, and so do their training
    parts. One shot leaves no validation. ``full`` is the whole pool; its validation is the source's own where it has
    one, else a tenth of each class (at least one example). With a number of shots the source's own validation part
    is not used at all: its labels are not in the budget, and it is not in the pool.

    Where there are groups, a group whose examples are for validation is not trained on. Each class is put into a line,
    the groups for training before those for validation, of which training takes the front and validation the end; so
    budgets nest all the same, and only where a class has too few groups does one of them stand on both sides. Of
    ``full``, all of a validation group is for validation, which makes about a tenth.

    Args:
        labels: Labels of the whole dataset (N,).
        pool: Row numbers that may be labelled, usually the training part.
        shots: Labelled examples per class, or ``full``.
        seed: The cell's seed.
        info: Facts of the dataset, of which the fingerprint decides the order and class names stand in messages.
        source_val: Row numbers of the source's own validation part.
        groups: Group of each example of the whole dataset (N,); None where there are none.
        extra: Labelled examples of each class beside the shots that are for validation, in place of the fifth of the
            shots; ``full`` has none beside it.
        scarce: Whether a class that has fewer examples gives all that it has, of which one at least is trained on.

    Raises:
        UserError: A class has too few examples.
    """
    pool = np.sort(pool)
    keys = _raw(derive_seed("shots", info.fingerprint, seed), len(labels))[pool]
    apart = np.zeros(len(pool), bool)
    if groups is not None:
        fractions = (VAL_OF_FULL,) if shots == "full" else (VAL_OF_FULL, VAL_OF_SHOTS)
        apart = groups_apart(labels[pool], groups[pool], fractions, derive_seed("groups", info.fingerprint, seed))
    order = np.lexsort((keys, apart, labels[pool]))
    of_class, count = labels[pool][order], np.bincount(labels[pool], minlength=int(labels.max(initial=-1)) + 1)
    rank = np.arange(len(pool)) - (np.cumsum(count) - count)[of_class]
    own = source_val if shots == "full" and source_val is not None and len(source_val) else None
    _refuse_few(count, np.unique(labels), shots, own is not None, info.classes, extra, scarce=scarce)
    if shots != "full":
        budget = np.minimum(count, shots + extra)
        for_val = np.minimum(extra or validation_of_shots(shots), np.maximum(budget - 1, 0))
    else:
        budget, whole = count, np.bincount(labels[pool][apart], minlength=len(count))
        for_val = np.zeros_like(count) if own is not None else _validation_of_full(count, whole)
    end = budget if groups is None else count
    train = rank < (budget - for_val)[of_class]
    val = (rank >= (end - for_val)[of_class]) & (rank < end[of_class])
    rows = pool[order]
    return Draw(
        train=np.sort(rows[train]),
        val=np.sort(rows[val] if own is None else own),
        unlabeled=np.sort(rows[~train & ~val]),
    )


def _validation_of_full(count: Rows, whole: Rows) -> Rows:
    """Return the validation examples of each class: about a tenth, or those of the groups that are for validation.

    Args:
        count: Examples of each class (C,).
        whole: Those in groups that are for validation (C,).
    """
    tenth = np.maximum(1, np.round(VAL_OF_FULL * count)).astype(int)
    return np.where((whole > 0) & (whole < count), whole, tenth)


def check_shots(
    info: DatasetInfo, shots: Shots, *, adapting: bool = False, extra: int = 0, scarce: bool = False
) -> None:
    """Refuse a budget that a dataset cannot give, before anything is trained.

    Args:
        info: Facts of the dataset.
        shots: Labelled examples per class, or ``full``.
        adapting: Whether a source validates, so that ``full`` reserves nothing, and no labels at all are a budget, too.
        extra: Labelled examples of each class beside the shots.
        scarce: Whether a class that has fewer examples gives all that it has.

    Raises:
        UserError: Naming the class and its count.
    """
    if len(info.classes) < 2:
        raise UserError(f"{info.name}: {len(info.classes)} class to tell apart", "classification needs two or more")
    count = np.asarray(info.counts.get("train", (0,) * len(info.classes)))
    try:
        has_val = adapting or "val" in info.counts
        _refuse_few(count, np.arange(len(info.classes)), shots, has_val, info.classes, extra, scarce=scarce)
    except UserError as error:
        more = " or ask for shots: 0" if adapting and not count.all() else ""
        if not adapting and count.all() and shots != "full":
            more = "; or say scarce: all, by which a class gives all that it has"
        raise UserError(f"{info.name}: {error.message}", error.hint + more) from None


def check_episodes(info: DatasetInfo, ways: int, shots: Shots, queries: int) -> None:
    """Refuse test episodes that a dataset cannot pose, before anything is trained.

    Raises:
        UserError: Naming the class and its count, or the number of test classes.
    """
    if shots == "full":
        raise UserError(f"{info.name}: episodes need a number of shots, not full", "give shots: [1, 5]")
    classes = np.asarray(deal_classes(info)["test"])
    count = np.sum([np.asarray(counts) for counts in info.counts.values()], axis=0)
    try:
        _refuse_episodes(count, classes, ways, shots + queries, info.classes)
    except UserError as error:
        raise UserError(f"{info.name}: {error.message}", error.hint) from None


def draw_episodes(
    labels: NDArray[np.int64],
    rows: Rows,
    classes: Sequence[int],
    shape: EpisodeShape,
    *,
    count: int,
    seed: int,
    names: Sequence[str] = (),
) -> Episodes:
    """Draw episodes: classes without replacement, then support and queries of each without replacement.

    Args:
        labels: Labels that ``rows`` point into.
        rows: Row numbers that may be drawn.
        classes: Labels of the classes that may be drawn.
        shape: Ways, shots and queries.
        count: Number of episodes.
        seed: Decides everything.
        names: Class names, for messages.

    Raises:
        UserError: Too few classes for the ways, or too few examples of a class.
    """
    rows = np.sort(rows)
    rows = rows[np.argsort(labels[rows], kind="stable")]
    sizes = np.bincount(labels[rows], minlength=int(max(classes, default=0)) + 1)
    starts = np.cumsum(sizes) - sizes
    known = np.unique(np.asarray(classes, np.int64))
    each = shape.shots + shape.queries
    _refuse_episodes(sizes, known, shape.ways, each, names)
    chosen = known[_subsets(derive_seed("classes", seed), np.full(count, len(known)), shape.ways)]
    flat = chosen.reshape(-1)
    offset = _subsets(derive_seed("examples", seed), sizes[flat], each)
    examples = rows[starts[flat][:, None] + offset].reshape(count, shape.ways, each)
    return Episodes(support=examples[..., : shape.shots], query=examples[..., shape.shots :], classes=chosen)


def hold_out(strata: Sequence[str], fraction: float, over: Rows | None = None) -> NDArray[np.bool_]:
    """Choose a fraction of each stratum, by a fixed random order.

    The choice within a stratum depends on its name and size only. A stratum of two or more gives at least one and
    keeps at least one; a stratum of one keeps it.

    Args:
        strata: Stratum name of each example (N,).
        fraction: Part to choose.
        over: Number of the kind of each example (N,); those chosen in a stratum are spread evenly over the kinds.

    Returns:
        True where chosen (N,).
    """
    known, member = np.unique(np.asarray(strata, dtype=object).astype(str), return_inverse=True)
    chosen = np.zeros(len(member), bool)
    order = np.argsort(member, kind="stable")
    for name, rows in zip(known, np.split(order, np.cumsum(np.bincount(member))[:-1]), strict=True):
        size = len(rows)
        take = min(size - 1, max(1, round(fraction * size)))
        keys = _raw(derive_seed("hold out", str(name), size), size)
        rows = rows[np.argsort(keys, kind="stable")]
        if over is not None:
            rows = rows[np.argsort(_earlier(over[rows]), kind="stable")]
        chosen[rows[:take]] = True
    return chosen


def _earlier(kinds: Rows) -> Rows:
    """Return how many of the same kind stand before each (n,)."""
    order = np.argsort(kinds, kind="stable")
    _, first, count = np.unique(kinds[order], return_index=True, return_counts=True)
    before = np.empty(len(kinds), np.int64)
    before[order] = np.arange(len(kinds)) - np.repeat(first, count)
    return before


def _raw(seed: int, count: int) -> NDArray[np.uint64]:
    return np.random.PCG64(seed).random_raw(count) if count else np.zeros(0, np.uint64)


def _subsets(seed: int, sizes: Rows, k: int) -> Rows:
    """Return random k-subsets of 0 ... size - 1 in random order, one a row (n, k).

    Floyd's sampling (Bentley and Floyd, A sample of brilliance, 1987) on all rows at once, then a shuffle.
    """
    raw = _raw(seed, 2 * len(sizes) * k).reshape(2, len(sizes), k)
    fraction = (raw[0] >> np.uint64(11)).astype(np.float64) * 2.0**-53
    chosen = np.empty((len(sizes), k), np.int64)
    for step in range(k):
        last = sizes - k + step
        guess = (fraction[:, step] * (last + 1)).astype(np.int64)
        taken = (chosen[:, :step] == guess[:, None]).any(1)
        chosen[:, step] = np.where(taken, last, guess)
    return np.take_along_axis(chosen, np.argsort(raw[1], axis=1, kind="stable"), axis=1)


def _class_name(label: int, names: Sequence[str]) -> str:
    return repr(names[label]) if label < len(names) else str(label)


def _refuse_few(
    count: NDArray[np.int64],
    classes: Rows,
    shots: Shots,
    has_val: bool,
    names: Sequence[str],
    extra: int = 0,
    *,
    scarce: bool = False,
) -> None:
    if extra and shots == "full":
        raise UserError("shots: full leaves no labels for validation: extra", "give a number of shots, or held_out")
    need = shots + extra if shots != "full" else 1 if has_val else 2
    need = min(need, 1) if scarce and shots != "full" else need
    short = [int(label) for label in classes if count[label] < need]
    if not short:
        return
    least = int(count[classes].min())
    more = f" (and {len(short) - 1} more classes have too few)" if len(short) > 1 else ""
    raise UserError(
        f"class {_class_name(short[0], names)} has {int(count[short[0]])} training examples, "
        f"but shots: {shots}{f' and extra: {extra}' if extra else ''} needs {need}{more}",
        _what_fits(least, 0 if shots == "full" else shots, extra),
    )


def _what_fits(least: int, shots: int, extra: int) -> str:
    """Return what to ask for where the smallest class has so many examples."""
    if least > extra:
        return f"every class has at least {least}: ask for at most {least - extra} shots"
    return f"ask for at most {least - shots} extra" if least > shots else "leave that class out"


def _refuse_episodes(count: NDArray[np.int64], classes: Rows, ways: int, need: int, names: Sequence[str]) -> None:
    if len(classes) < ways:
        raise UserError(
            f"episodes of {ways} ways need {ways} classes, but there are {len(classes)} to draw from",
            f"ask for at most {len(classes)} ways" if len(classes) > 1 else TEST_OF_TWO,
        )
    short = [int(label) for label in classes if count[label] < need]
    if short:
        raise UserError(
            f"class {_class_name(short[0], names)} has {int(count[short[0]])} examples, "
            f"but shots and queries together need {need}",
            "ask for fewer queries or fewer shots",
        )
