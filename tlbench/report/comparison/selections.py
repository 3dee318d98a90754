"""Compares two selections of results: paired differences, dataset by dataset and example by example."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlbench.core.errors import UserError, nearest
from tlbench.report.comparable_cells import ComparableCell, comparable_cells
from tlbench.report.example_scores import units_of
from tlbench.report.results import Results
from tlbench.stats import RANKED_SEEDS
from tlbench.stats.contrasts import (
    Contrast,
    contrasts_by_dataset,
    holm,
    paired_contrast,
    paired_contrast_across_datasets,
    paired_differences,
)
from tlbench.stats.error_mixture import ErrorSource
from tlbench.stats.finite_test_set import UnitScores, difference_units, error_of_test_sets
from tlbench.stats.paired_examples import McNemar, mcnemar
from tlbench.stats.scores import Scores, dataset_means, fewest_seeds
from tlbench.stats.wins import Wins, count_wins
from tlbench.store.mlflow.record_artifact import RecordDetails
from tlbench.suite.selector import CellFacts, read_selector

_KEYS = ("method", "backbone", "dataset", "shots", "seed")
_SHARED = {"dataset": "datasets", "seed": "seeds"}  # which both sides must have
_SHOWN = 6

Pair = tuple[ComparableCell, ComparableCell]
"""A cell of the first side, and the one of the second that agrees with it in all that the sides do not differ in."""


@dataclass(frozen=True)
class ExampleComparison:
    """Two sides on the same test examples of one dataset.

    Attributes:
        counts: On how many units either side is better; of two single models, with the exact test.
        error: Standard error of the difference that the finite test set leaves, whatever the number of seeds.
        models: Pairs of trained models that answered.
    """

    counts: McNemar
    error: float
    models: int


@dataclass(frozen=True)
class DatasetComparison:
    """Two sides on one dataset; scores are fractions of 1, means over the cells that both have.

    Attributes:
        verdict: ``win``, ``tie`` or ``loss`` of the first side, by the margin alone.
        p_holm: Corrected for all datasets of the comparison.
        examples: None where the answers to single examples are not at hand.
    """

    dataset: str
    ours: float
    theirs: float
    contrast: Contrast
    p_holm: float | None
    verdict: str
    examples: ExampleComparison | None


@dataclass(frozen=True)
class ProtocolComparison:
    """Two sides under one protocol.

    Attributes:
        ours: Names of the first side where it differs from the second: a method, a backbone, a number of shots.
        theirs: The same of the second side.
        on_these_datasets: Difference on these datasets.
        on_new_datasets: Difference as a claim about new datasets; None with one dataset.
        wins: Datasets by who is better.
        datasets: Dataset by dataset.
        pairs: Pairs of cells, which agree in all that the sides do not differ in.
        cells: Cells of the two sides under this protocol, paired or not.
        seeds: Seeds of the poorest stratum.
        notes: What a reader must know.
    """

    protocol: str
    ours: str
    theirs: str
    on_these_datasets: Contrast
    on_new_datasets: Contrast | None
    wins: Wins
    datasets: tuple[DatasetComparison, ...]
    pairs: int
    cells: tuple[int, int]
    seeds: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Two selections compared; ``protocols`` holds one part a protocol."""

    first: str
    second: str
    suite: str
    protocols: tuple[ProtocolComparison, ...]

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return asdict(self)


def compare_selections(first: str, second: str, results: Results) -> Comparison:
    """Compare the cells that two selectors pick, pair by pair.

    Cells are paired that agree in everything but what the sides differ in: where the sides have no method in common,
    methods are compared, and each pair has one backbone, dataset, number of shots and seed. The same holds for
    backbones and shots. The same seed means the same draw.

    Args:
        first: A selector such as ``method=lora backbone=conv4*``, or simply a method's name or label.
        second: The other side.
        results: Of one suite, or several joined.

    Raises:
        UserError: A selector is not understood, or picks nothing, or sides cannot be paired.
    """
    cells, _ = comparable_cells(results.done, results.planned_settings)
    sides = [_pick(each, results, cells) for each in (first, second)]
    others = {cell.cell for cell in sides[1]}
    both = [cell for cell in sides[0] if cell.cell in others]
    if both:
        raise UserError(
            f"{first!r} and {second!r} both select {len(both)} cells, e.g. of {both[0].method} on {both[0].backbone}",
            "narrow one of them, e.g. with label= or backbone=",
        )
    protocols = [list(dict.fromkeys(cell.protocol for cell in side)) for side in sides]
    shared = [name for name in protocols[0] if name in protocols[1]]
    if not shared:
        raise UserError(
            f"{first!r} was measured under {', '.join(protocols[0])}, {second!r} under {', '.join(protocols[1])}",
            "results of different protocols cannot be compared",
        )
    parts = []
    for name in shared:
        ours, theirs = ([cell for cell in side if cell.protocol == name] for side in sides)
        parts.append(_compare_under(name, ours, theirs, results.details))
    return Comparison(first, second, results.suite, tuple(parts))


def _pick(selection: str, results: Results, cells: Sequence[ComparableCell]) -> list[ComparableCell]:
    """Return the cells that a selector, or a method's name or label, picks."""
    done = results.done
    known = {*done["method"], *done["method_label"]}
    plain = selection.strip()
    if not plain:
        raise UserError("an empty selector selects everything", 'name a method, or say e.g. "method=lora shots<=5"')
    if plain in known:
        selector = read_selector(f'method="{plain}"')
    elif re.fullmatch(r"[^\s=!<>,\"']+", plain):
        selector = read_selector(f"method={plain}")
    else:
        selector = read_selector(selection)
    rows = done.assign(id=done["cell"])[list(CellFacts._fields)].itertuples(index=False)
    ids = {facts.id for facts in map(CellFacts._make, rows) if selector.matches(facts)}
    found = [cell for cell in cells if cell.cell in ids]
    if not found:
        raise UserError(f"{selection!r} selects no result of {results.suite}", nearest(plain, known) if known else "")
    return found


def _compare_under(
    protocol: str,
    ours: Sequence[ComparableCell],
    theirs: Sequence[ComparableCell],
    details: Mapping[str, RecordDetails],
) -> ProtocolComparison:
    differing = _what_differs(ours, theirs)
    sides = [{_key(cell, differing): cell for cell in side} for side in (ours, theirs)]
    keys = [key for key in sides[0] if key in sides[1]]
    if not keys:
        names = _side_name(ours, differing), _side_name(theirs, differing)
        raise UserError(
            f"{names[0]} and {names[1]} have no setting and seed in common under {protocol}",
            "they must meet on a dataset, at a number of shots and a seed",
        )
    pairs = [(sides[0][key], sides[1][key]) for key in keys]
    (our_scores, our_units), (their_scores, their_units) = (
        _scores([pair[place] for pair in pairs], differing, details) for place in (0, 1)
    )
    units = difference_units(our_units, their_units)
    tests = error_of_test_sets(units, paired_differences(our_scores, their_scores))
    difference = paired_contrast(our_scores, their_scores, tests=tests)
    assert difference is not None
    several = len({pair[0].dataset for pair in pairs}) > 1
    seeds = fewest_seeds(our_scores)
    return ProtocolComparison(
        protocol=protocol,
        ours=_side_name(ours, differing),
        theirs=_side_name(theirs, differing),
        on_these_datasets=difference,
        on_new_datasets=paired_contrast_across_datasets(our_scores, their_scores) if several else None,
        wins=count_wins(our_scores, their_scores),
        datasets=_on_datasets(our_scores, their_scores, units, pairs, details),
        pairs=len(pairs),
        cells=(len(ours), len(theirs)),
        seeds=seeds,
        notes=tuple(_notes(pairs, seeds)),
    )


def _what_differs(ours: Sequence[ComparableCell], theirs: Sequence[ComparableCell]) -> tuple[str, ...]:
    """Return the parts of a setting in which two sides have nothing in common, each with one value on either side."""
    differing = []
    for part in _KEYS:
        values = [sorted({str(getattr(cell, part)) for cell in side}) for side in (ours, theirs)]
        if set(values[0]) & set(values[1]):
            continue
        if part in _SHARED:
            shown = " and ".join(", ".join(each[:_SHOWN]) for each in values)
            raise UserError(f"the sides have no {part} in common: {shown}", f"compare them on the same {_SHARED[part]}")
        for each in values:
            if len(each) > 1:
                raise UserError(
                    f"the sides have no {part} in common, and one of them has several: {'; '.join(each[:_SHOWN])}",
                    f"narrow it with {'label' if part == 'method' else part}=",
                )
        differing.append(part)
    return tuple(differing)


def _key(cell: ComparableCell, differing: Sequence[str]) -> tuple[Any, ...]:
    return tuple(getattr(cell, part) for part in _KEYS if part not in differing)


def _side_name(side: Sequence[ComparableCell], differing: Sequence[str]) -> str:
    first = side[0]
    names = {"method": first.method, "backbone": f"on {first.backbone}", "shots": f"at {first.shots} shots"}
    return " ".join(names[part] for part in differing).removeprefix("on ").removeprefix("at ")


def _scores(
    cells: Sequence[ComparableCell], differing: Sequence[str], details: Mapping[str, RecordDetails]
) -> tuple[Scores, UnitScores]:
    """Return scores by seed, by dataset and whatever else cells differ in, which is nested in the dataset's seeds.

    The second part are the scores of their test units, as far as they were stored.
    """
    scores: dict[tuple[str, str], dict[int, float]] = {}
    units: dict[tuple[str, str], dict[int, NDArray[np.float32]]] = {}
    for cell in cells:
        within = " | ".join(getattr(cell, part) for part in ("method", "backbone", "shots") if part not in differing)
        scores.setdefault((cell.dataset, within), {})[cell.seed] = cell.accuracy
        record = details.get(cell.cell)
        if record is not None and (answers := units_of(record)) is not None:
            units.setdefault((cell.dataset, within), {})[cell.seed] = answers
    return scores, units


def _on_datasets(
    ours: Scores,
    theirs: Scores,
    units: UnitScores,
    pairs: Sequence[Pair],
    details: Mapping[str, RecordDetails],
) -> tuple[DatasetComparison, ...]:
    won, means = count_wins(ours, theirs), [dataset_means(side) for side in (ours, theirs)]
    cells = paired_differences(ours, theirs)
    tests = {
        dataset: error_of_test_sets(units, {key: own for key, own in cells.items() if key[0] == dataset})
        for dataset in won.differences
    }
    contrasts = contrasts_by_dataset(ours, theirs, tests=tests)
    adjusted = holm([contrast.p for contrast in contrasts.values()])
    found = []
    for (dataset, contrast), p in zip(contrasts.items(), adjusted, strict=True):
        own = [pair for pair in pairs if pair[0].dataset == dataset]
        gap = won.differences[dataset]
        verdict = "tie" if abs(gap) <= won.margin + 1e-12 else "win" if gap > 0 else "loss"
        examples = _examples(own, details, tests[dataset])
        found.append(DatasetComparison(dataset, means[0][dataset], means[1][dataset], contrast, p, verdict, examples))
    return tuple(found)


def _examples(
    pairs: Sequence[Pair], details: Mapping[str, RecordDetails], error: ErrorSource | None
) -> ExampleComparison | None:
    """Compare unit by unit, where the answers of both sides are at hand and to the same tests."""
    sides: tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]] = ([], [])
    for pair in pairs:
        for cell, side in zip(pair, sides, strict=True):
            record = details.get(cell.cell)
            units = None if record is None else units_of(record)
            if units is None:
                return None
            side.append(units)
    if error is None or len({units.shape for side in sides for units in side}) != 1:
        return None
    return ExampleComparison(mcnemar(*map(np.stack, sides)), error.error, len(pairs))


def _notes(pairs: Sequence[Pair], seeds: int) -> list[str]:
    found = []
    if seeds < RANKED_SEEDS:
        found.append(f"fewer than {RANKED_SEEDS} seeds: shown, and no verdict")
    if any(cell.oracle for pair in pairs for cell in pair):
        found.append("one side is an upper bound: it sees labels that all others are denied")
    return found
