"""How far the configuration that a validator chose stays below the best one: of a search, or of rows that list several.

Checkpoints are those that the validator of the suite chose. Of searched configurations the accuracy is that on the
target's training examples, since a trial does not read the test; of listed ones it is that on the test.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import pandas as pd

from tlbench.report.comparable_cells import ComparableCell, grouped
from tlbench.stats.validators import VALIDATORS

ON_TARGET = "oracle_on_target"
_BLIND = frozenset({"last"})  # they say the same of every configuration


@dataclass(frozen=True)
class Configuration:
    """One of several configurations of a method.

    Attributes:
        accuracy: On the target, a fraction of 1.
        values: Of validators, by name.
        is_chosen: Whether a search went on with it.
    """

    accuracy: float
    values: Mapping[str, float]
    is_chosen: bool = False


@dataclass(frozen=True)
class ConfigurationRow:
    """The configurations of a method in a setting; accuracies are means over its searches, fractions of 1.

    Attributes:
        searches: Searches over which the means are; 0 where the configurations are rows of the suite.
        configurations: Number of them in one search, or of the listed ones.
        ranking: The validator that decides.
        chosen: Accuracy of the configuration that was chosen.
        accuracy: Accuracy of the configuration that each validator would have chosen, by name.
        oracle: Accuracy of the best one.
    """

    protocol: str
    method: str
    backbone: str
    dataset: str
    shots: str
    searches: int
    configurations: int
    ranking: str
    chosen: float
    accuracy: Mapping[str, float]
    oracle: float


def searched_configurations(trials: pd.DataFrame) -> tuple[ConfigurationRow, ...]:
    """Return one row a searched setting with at least two trials that were trained to their end.

    Args:
        trials: See :data:`tlbench.report.trials.COLUMNS`.
    """
    columns = ["protocol", "dataset", "shots", "backbone", "method", "criterion"]
    rows = []
    for place, of_setting in trials[trials["status"].eq("done")].groupby(columns, sort=True):
        searches = [_trials(group) for _, group in of_setting.groupby("key", sort=True)]
        *where, criterion = map(str, place)
        rows += _row(where, criterion, [each for each in searches if len(each) > 1], is_search=True)
    return tuple(rows)


def listed_configurations(
    cells: Iterable[ComparableCell], validation: Mapping[str, Mapping[str, float]]
) -> tuple[ConfigurationRow, ...]:
    """Return one row for each method that a suite lists with several configurations, by setting.

    Args:
        cells: See :func:`tlbench.report.comparable_cells.comparable_cells`.
        validation: Values of validators by name, by the id of the cell.
    """
    competing = [cell for cell in cells if cell.validator and not cell.oracle and cell.validator in cell.choices]

    def setting(cell: ComparableCell) -> tuple[str, str, str, str, str]:
        return cell.protocol, cell.dataset, cell.shots, cell.backbone, cell.method_name

    rows = []
    for where, group in sorted(grouped(competing, setting).items()):
        by_label = grouped(group, lambda cell: cell.method)
        common = set.intersection(*({cell.seed for cell in own} for own in by_label.values()))
        if len(by_label) > 1 and common:
            ranking = group[0].validator
            labels = sorted(by_label)
            found = [_listed([c for c in by_label[label] if c.seed in common], ranking, validation) for label in labels]
            rows += _row(where, ranking, [found], is_search=False)
    return tuple(rows)


def validation_values(done: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return the values of validators by name, by the id of the cell.

    Args:
        done: :attr:`tlbench.report.results.Results.done`.
    """
    names = [name for name in VALIDATORS if f"validation/{name}" in done]
    values = done[[f"validation/{name}" for name in names]].to_numpy(dtype=float)
    return {
        str(cell): {name: value for name, value in zip(names, row, strict=True) if pd.notna(value)}
        for cell, row in zip(done["cell"], values.tolist(), strict=True)
    }


def _trials(group: pd.DataFrame) -> list[Configuration]:
    """Return the trials of a search whose accuracy on the target is known."""
    return [
        Configuration(float(scores[ON_TARGET]), scores, bool(winner))
        for scores, winner in zip(group["scores"], group["winner"], strict=True)
        if ON_TARGET in scores
    ]


def _listed(
    cells: Sequence[ComparableCell], ranking: str, validation: Mapping[str, Mapping[str, float]]
) -> Configuration:
    """Return one configuration, its seeds averaged."""
    values = [validation.get(cell.cell, {}) for cell in cells]
    known = [name for name in VALIDATORS if all(name in each for each in values)]
    return Configuration(
        fmean(cell.choices[ranking] for cell in cells), {name: fmean(each[name] for each in values) for name in known}
    )


def _row(
    where: Sequence[str], ranking: str, searches: Sequence[Sequence[Configuration]], *, is_search: bool
) -> list[ConfigurationRow]:
    """Return the row of some searches; nothing where one has no value of the validator that decides.

    ``where`` is protocol, dataset, shots, backbone and method.
    """
    if not searches or not all(ranking in each.values for search in searches for each in search):
        return []
    names = [
        name
        for name in VALIDATORS
        if name not in _BLIND and all(name in each.values for search in searches for each in search)
    ]
    by = {name: fmean(_best(search, name).accuracy for search in searches) for name in names}
    protocol, dataset, shots, backbone, method = where
    return [
        ConfigurationRow(
            protocol=protocol,
            method=method,
            backbone=backbone,
            dataset=dataset,
            shots=shots,
            searches=len(searches) if is_search else 0,
            configurations=max(map(len, searches)),
            ranking=ranking,
            chosen=fmean(_chosen(search, ranking).accuracy for search in searches),
            accuracy=by,
            oracle=fmean(max(each.accuracy for each in search) for search in searches),
        )
    ]


def _best(search: Sequence[Configuration], validator: str) -> Configuration:
    """Return the configuration with the largest value, of equal ones the first."""
    return max(search, key=lambda each: each.values[validator])


def _chosen(search: Sequence[Configuration], ranking: str) -> Configuration:
    """Return the configuration that the search went on with, or would go on with."""
    return next((each for each in search if each.is_chosen), None) or _best(search, ranking)
