"""The sampler of Optuna's tree-structured Parzen estimators (see :mod:`tlbench.search.samplers.optuna`)."""

from __future__ import annotations

import warnings
from typing import Any

import optuna

from tlbench.core.hashing import canonical, derive_seed
from tlbench.core.record import Record
from tlbench.core.segments import Values
from tlbench.search.objective import is_complete, is_stopped, price_of, value_of
from tlbench.search.problem import SearchProblem
from tlbench.search.space import Dimension

_RANDOM_TRIALS = 5  # before the estimators are used
optuna.logging.set_verbosity(optuna.logging.WARNING)


class TreeParzenSampler:
    """Proposes by an Optuna study in memory; after a restart it observes the trials of the ledger in order.

    Args:
        problem: The search problem.
    """

    def __init__(self, problem: SearchProblem) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                seed=derive_seed(problem.key, "optuna") % 2**32,
                n_startup_trials=_RANDOM_TRIALS,
                multivariate=True,
                group=True,
                constant_liar=(problem.search.parallel or 1) > 1,
            )
        self._both = problem.search.objective == "accuracy_and_cost"
        maximize, minimize = optuna.study.StudyDirection.MAXIMIZE, optuna.study.StudyDirection.MINIMIZE
        directions = [maximize, minimize] if self._both else [maximize]
        self._study = optuna.create_study(directions=directions, sampler=sampler)
        self._space = problem.space
        self._proposed: dict[int, tuple[optuna.Trial, Values]] = {}

    def propose(self, number: int) -> Values:
        """Return the values of a trial."""
        if number not in self._proposed:
            trial = self._study.ask()
            values: Values = {}
            for dimension in self._space.dimensions:
                if self._space.active(dimension, values):
                    values[dimension.name] = _suggest(trial, dimension)
            self._proposed[number] = trial, values
        return self._proposed[number][1]

    def observe(self, number: int, values: Values, record: Record) -> None:
        """Learn how a trial ended, whether or not it was proposed here."""
        state, scores = self._ending(record)
        proposed = self._proposed.pop(number, None)
        if proposed is not None and canonical(proposed[1]) == canonical(values):
            if state is optuna.trial.TrialState.PRUNED:
                proposed[0].report(value_of(record) or 0.0, step=1)
            self._study.tell(proposed[0], scores, state=state)
            return
        if proposed is not None:
            self._study.tell(proposed[0], state=optuna.trial.TrialState.FAIL)
        self._add(values, state, scores, record)

    def _ending(self, record: Record) -> tuple[optuna.trial.TrialState, list[float] | None]:
        value = value_of(record)
        if is_complete(record) and value is not None:
            return optuna.trial.TrialState.COMPLETE, [value, price_of(record)][: 1 + self._both]
        if is_stopped(record) and value is not None and not self._both:
            return optuna.trial.TrialState.PRUNED, None
        return optuna.trial.TrialState.FAIL, None

    def _add(self, values: Values, state: optuna.trial.TrialState, scores: list[float] | None, record: Record) -> None:
        """Add a trial that was not proposed here, as the default is not, if its values lie in the space."""
        spaces = {each.name: _distribution(each) for each in self._space.dimensions if each.name in values}
        inside = {}
        for dimension in self._space.dimensions:
            if dimension.name in values:
                internal = _to_optuna(dimension, values[dimension.name])
                if internal is None or not spaces[dimension.name]._contains(
                    spaces[dimension.name].to_internal_repr(internal)
                ):
                    return
                inside[dimension.name] = internal
        middle = {1: value_of(record) or 0.0} if state is optuna.trial.TrialState.PRUNED else {}
        self._study.add_trial(
            optuna.trial.create_trial(
                state=state, values=scores, params=inside, distributions=dict(spaces), intermediate_values=middle
            )
        )


def _suggest(trial: optuna.Trial, dimension: Dimension) -> Any:
    """Return a value; of a few values Optuna sees the positions, since it takes no lists."""
    distribution = _distribution(dimension)
    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        return dimension.values[int(str(trial.suggest_categorical(dimension.name, distribution.choices)))]
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


def _to_optuna(dimension: Dimension, value: Any) -> Any:
    """Return a value as Optuna sees it: of a few values the position, None for one that is not among them."""
    if not dimension.values:
        return value
    return next((place for place, known in enumerate(dimension.values) if canonical(known) == canonical(value)), None)
