"""Adaptation: labelled examples of a source domain, test examples of a target domain with few or no labels.

A method is given the labelled source, the target's training examples without labels, and ``shots`` labels of each
target class (0 is unsupervised adaptation). During training it offers candidate models. The protocol stores their
logits on held-out source examples, on the target's training examples and on the target's test split; when training is
over, each validator (:mod:`tlbench.stats.validators`), none of which reads target labels, selects one candidate by its
logits. The validator that the suite names determines the result, and in a search it is what trials are compared by; the
accuracy of the others' choices is recorded beside it, and so is that of the oracle, which selects by test accuracy, as
much published work does, and is never ranked.

Trials of a search do not read the test. For each of them, as for each cell, the protocol records the selected model's
accuracy on the target's training examples, whose labels no method and no search reads: the report compares the
configuration that a validator chose with the best one by it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from tlbench.core.config import Settings, without
from tlbench.core.info import TaskInfo
from tlbench.core.record import Outcome
from tlbench.data.dataset import SOURCE, SOURCE_VAL, TEST, TRAIN, Dataset, Task, take
from tlbench.data.sampling import draw_shots
from tlbench.protocols._candidates import CandidateOutputs
from tlbench.stats.validators import ValidatorInputs, best_candidate, validator_scores
from tlbench.training.context import Context
from tlbench.training.outcomes import scored_outcome, validation_outcome
from tlbench.training.predictor import Predictor

VERSION = 1
PAIRS = True  # a dataset has a source and a target
LEAST_SHOTS = 0
USUAL_SHOTS = (0,)
_ORACLE = "oracle"
_ORACLE_ON_TARGET = "oracle_on_target"


class Options(Settings):
    """The validator that determines the result.

    The nuclear norm lost least in choosing checkpoints and configurations on pairs of domains that no suite uses; the
    study and its figures are in ``tests/benchmarks/validators.py``.
    """

    validator: Literal[
        "source_accuracy",
        "entropy",
        "information",
        "nuclear_norm",
        "source_and_information",
        "clusters",
        "density",
        "last",
    ] = Field("nuclear_norm", description="selects the model that is ranked, without target labels")
    metric: str = Field("accuracy", description="what is scored on the target, ranked and compared")

    @model_serializer(mode="wrap")
    def _to_stored(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without(handler(self), "metric", "accuracy")


def draw(info: TaskInfo, dataset: Dataset, seed: int, oracle: bool = False) -> Task:
    """Return the task: source, source validation, the target's shots, and its training examples without labels.

    Args:
        info: Facts of the task.
        dataset: A pair of domains.
        seed: The cell's seed. The labelled target examples are those of ``classification`` on the target alone.
        oracle: Whether all training examples of the target are labelled, whatever the shots.
    """
    pool = dataset.rows(TRAIN)
    labelled = pool
    if not oracle and info.shots != "full":
        facts = info.dataset
        shots = draw_shots(dataset.y, pool, info.shots, seed, facts, groups=dataset.group)
        labelled = np.sort(np.concatenate([shots.train, shots.val]))
    source, held_out = dataset.rows(SOURCE), dataset.rows(SOURCE_VAL)
    return Task(
        info=info,
        train=take(dataset, labelled, dataset.y[labelled]),
        val=take(dataset, held_out, dataset.y[held_out]),
        unlabeled=take(dataset, pool, None),
        source=take(dataset, source, dataset.y[source]),
    )


def run(info: TaskInfo, dataset: Dataset, seed: int, fit: Callable[[Task], Predictor], ctx: Context) -> Outcome | None:
    """Sample the task, fit, select a candidate, and score it on the target's test split.

    If the method offers no candidate, the model that it returns is the only one.

    Args:
        info: Facts of the task.
        dataset: A pair of domains.
        seed: The cell's seed, which determines the sample.
        fit: Fits the method on a task.
        ctx: The cell's context.

    Returns:
        The outcome; None in every process of a group but the first.
    """
    parts = {"source": dataset.rows(SOURCE_VAL), "target": dataset.rows(TRAIN)}
    if not ctx.validation_only:
        parts["test"] = dataset.rows(TEST)
    folder = ctx.checkpoints.folder if ctx.checkpoints is not None else None
    candidates = CandidateOutputs(dataset, parts, ctx.device, folder)
    ctx.on_candidate = candidates.add
    predictor = fit(draw(info, dataset, seed, ctx.oracle))
    if not ctx.group.is_first:
        return None
    if not candidates.steps:
        candidates.add(0, predictor.logits)
    return _outcome(info, dataset, candidates, predictor, ctx)


def _outcome(
    info: TaskInfo, dataset: Dataset, candidates: CandidateOutputs, predictor: Predictor, ctx: Context
) -> Outcome:
    """Select one candidate by each validator, and score the selected ones."""
    steps = candidates.steps
    values = _validate(candidates, np.asarray(dataset.y[dataset.rows(SOURCE_VAL)]))
    positions = {name: best_candidate(scores) for name, scores in values.items()}
    ranking = Options(**info.options).validator
    selected = positions[ranking]
    for position, step in enumerate(steps):
        ctx.log(step, **{f"validator/{name}": scores[position] for name, scores in values.items()})
    ctx.validation |= {name: scores[selected] for name, scores in values.items() if np.isfinite(scores[selected])}
    ctx.selected |= {"validator": ranking, "step": steps[selected]}
    ctx.validation[_ORACLE_ON_TARGET] = _accuracy(candidates.logits(steps[selected])["target"], dataset, TRAIN)
    if ctx.validation_only:
        return validation_outcome(ctx, predictor.footprint())
    labels = torch.from_numpy(np.asarray(dataset.y[dataset.rows(TEST)]))
    test_logits = [candidates.logits(step)["test"] for step in steps]
    accuracy = [_accuracy(logits, dataset, TEST) for logits in test_logits]
    for position, step in enumerate(steps):
        ctx.log(step, oracle_accuracy=accuracy[position])
    positions[_ORACLE] = best_candidate(accuracy)
    ctx.selected |= {f"step_by/{name}": steps[position] for name, position in positions.items()}
    accuracy_by = {f"accuracy_by/{name}": accuracy[position] for name, position in positions.items()}
    chosen = torch.from_numpy(test_logits[selected])
    return scored_outcome(ctx, predictor.footprint(), chosen, labels, accuracy_by, classes=dataset.info.classes)


def _accuracy(logits: NDArray[np.float32], dataset: Dataset, part: int) -> float:
    """Return the accuracy of logits (n, classes) of a part of a dataset."""
    return float((logits.argmax(1) == dataset.y[dataset.rows(part)]).mean())


def _validate(candidates: CandidateOutputs, labels: NDArray[np.int64]) -> dict[str, list[float]]:
    """Return the scores of all candidates under each validator, which does not get their test logits."""
    inputs = []
    for step in candidates.steps:
        logits = candidates.logits(step)
        inputs.append(ValidatorInputs(step, logits["source"], labels, logits["target"]))
    return validator_scores(inputs)
