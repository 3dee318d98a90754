"""Configurations by Optuna's tree-structured Parzen estimators, with one objective or two.

Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization", NeurIPS 24, section 4; jointly over parameters as
in Falkner et al. 2018, arXiv:1807.01774; several objectives as in Ozaki et al. 2022, JAIR 73.
"""

from __future__ import annotations

import warnings
from typing import Any

import optuna

from tlbench.core.hashing import canonical, derive_seed
from tlbench.core.record import Record
from tlbench.search.objective import finished, stopped, worth_of
from tlbench.search.problem import SearchProblem
from tlbench.search.space import Dimension

Values = dict[str, Any]
_AT_RANDOM = 5  # trials before the estimators are asked
optuna.logging.set_verbosity(optuna.logging.WARNING)


class OnOptuna:
    """Proposes by a study of Optuna's in memory, which the ledger's trials bring to where it was.

    Args:
        setting: The setting.
    """

    def __init__(self, setting: SearchProblem) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                seed=derive_seed(setting.key, "optuna") % 2**32,
                n_startup_trials=_AT_RANDOM,
                multivariate=True,
                group=True,
                constant_liar=(setting.search.parallel or 1) > 1,
            )
        self._both = setting.search.objective == "accuracy_and_cost"
        directions = ["maximize", "minimize"] if self._both else ["maximize"]
        self._study = optuna.create_study(directions=directions, sampler=sampler)
        self._space = setting.space
        self._asked: dict[int, tuple[optuna.Trial, Values]] = {}

    def propose(self, number: int) -> Values:
        """Return the values of a trial."""
        if number not in self._asked:
            trial, values = self._study.ask(), {}
            for dimension in self._space.dimensions:
                if self._space.active(dimension, values):
                    values[dimension.name] = _suggest(trial, dimension)
            self._asked[number] = trial, values
        return self._asked[number][1]

    def take(self, number: int, values: Values, record: Record) -> None:
        """Learn how a trial ended, whether or not it was proposed here."""
        state, found = self._ending(record)
        asked = self._asked.pop(number, None)
        if asked is not None and canonical(asked[1]) == canonical(values):
            if state is optuna.trial.TrialState.PRUNED:
                asked[0].report(worth_of(record.outcome) or 0.0, step=1)
            self._study.tell(asked[0], found, state=state)
            return
        if asked is not None:
            self._study.tell(asked[0], state=optuna.trial.TrialState.FAIL)
        self._add(values, state, found, record)

    def _ending(self, record: Record) -> tuple[optuna.trial.TrialState, list[float] | None]:
        value = worth_of(record.outcome)
        if finished(record) and value is not None:
            return optuna.trial.TrialState.COMPLETE, [value, record.cost.train_seconds][: 1 + self._both]
        if stopped(record) and value is not None and not self._both:
            return optuna.trial.TrialState.PRUNED, None
        return optuna.trial.TrialState.FAIL, None

    def _add(self, values: Values, state: optuna.trial.TrialState, found: list[float] | None, record: Record) -> None:
        """Add a trial that was not asked for, as the default is, where its values lie in the space."""
        spaces = {each.name: _distribution(each) for each in self._space.dimensions if each.name in values}
        inside = {}
        for dimension in self._space.dimensions:
            if dimension.name in values:
                shown = _shown(dimension, values[dimension.name])
                if shown is None or not spaces[dimension.name]._contains(
                    spaces[dimension.name].to_internal_repr(shown)
                ):
                    return
                inside[dimension.name] = shown
        middle = {1: worth_of(record.outcome) or 0.0} if state is optuna.trial.TrialState.PRUNED else {}
        self._study.add_trial(
            optuna.trial.create_trial(
                state=state, values=found, params=inside, distributions=spaces, intermediate_values=middle
            )
        )


def _suggest(trial: optuna.Trial, dimension: Dimension) -> Any:
    """Return a value; of a few values Optuna sees the positions, since it takes no lists."""
    distribution = _distribution(dimension)
    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        return dimension.values[trial.suggest_categorical(dimension.name, distribution.choices)]
    if isinstance(distribution, optuna.distributions.IntDistribution):
        return trial.suggest_int(dimension.name, distribution.low, distribution.high, log=distribution.log)
    return trial.suggest_float(dimension.name, distribution.low, distribution.high, log=distribution.log)


def _distribution(
    dimension: Dimension,
) -> (
    optuna.distributions.CategoricalDistribution
    | optuna.distributions.IntDistribution
    | optuna.distributions.FloatDistribution
):
    if dimension.values:
        return optuna.distributions.CategoricalDistribution(tuple(range(len(dimension.values))))
    low, high = dimension.space["low"], dimension.space["high"]
    log = dimension.space["distribution"] == "log_uniform"
    if dimension.whole:
        return optuna.distributions.IntDistribution(round(low), round(high), log=log)
    return optuna.distributions.FloatDistribution(low, high, log=log)


def _shown(dimension: Dimension, value: Any) -> Any:
    """Return a value as Optuna sees it, None where it is none of a few."""
    if not dimension.values:
        return value
    return next((place for place, known in enumerate(dimension.values) if canonical(known) == canonical(value)), None)
