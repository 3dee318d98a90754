"""Adaptation: labels in one domain, the answers wanted in another, of which there are examples but hardly a label.

A method is given the source with labels, the target's training examples without, and ``shots`` labels of each target
class (0 is unsupervised adaptation). It proposes models as it trains. The protocol notes what each answers on held-out
source examples, on the target's training examples and on the sealed target test; when training is over, validators
that read no target label (:mod:`tlbench.stats.validators`) choose one model each, from the answers alone. The one that
the suite names gives the result; the others stand beside it, and apart from all of them the oracle, which chooses by
test accuracy, as much published work does, and is never ranked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from tlbench.core.config import Settings
from tlbench.core.info import TaskInfo
from tlbench.core.record import Outcome
from tlbench.data.dataset import SOURCE, SOURCE_VAL, TEST, TRAIN, Dataset, Task, take
from tlbench.data.sampling import draw_shots
from tlbench.protocols._candidates import CandidateOutputs
from tlbench.protocols._scores import classification_scores, evidence, validation_outcome
from tlbench.stats.validators import ValidatorInputs, best_candidate, validator_scores
from tlbench.training.predictor import Predictor

if TYPE_CHECKING:
    from tlbench.training.context import Context

VERSION = 1
PAIRS = True  # a dataset has a source and a target
LEAST_SHOTS = 0
USUAL_SHOTS = (0,)
_ORACLE = "oracle"


class Options(Settings):
    """Which of the validators gives the result.

    Unlike accuracy on the source, ``information`` looks at the target; unlike entropy, it is not taken in by a model
    that calls everything by one name.
    """

    validator: Literal["source_accuracy", "entropy", "information", "nuclear_norm", "last"] = Field(
        "information", description="what chooses the model that is ranked; it reads no target label"
    )


def draw(info: TaskInfo, dataset: Dataset, seed: int, oracle: bool = False) -> Task:
    """Return the task: source, source validation, the target's shots, and its training examples without labels.

    Args:
        info: Facts of the task.
        dataset: A pair of domains.
        seed: Decides which target examples have labels; they are those of ``classification`` on the same pair.
        oracle: Whether all of them have, whatever the shots.
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
    """Draw the task, fit, select, and score on the target's test split; None in every process but the first.

    A method that proposes no model is judged by the one it returns.

    Args:
        info: Facts of the task.
        dataset: A pair of domains.
        seed: The cell's seed, which decides the draw.
        fit: The method, closed over backbone, parameters and context.
        ctx: The cell's context.
    """
    parts = {"source": dataset.rows(SOURCE_VAL), "target": dataset.rows(TRAIN)}
    if not ctx.sealed:
        parts["test"] = dataset.rows(TEST)
    proposals = CandidateOutputs(dataset, parts, ctx.device, ctx.folder)
    ctx.on_proposal = proposals.keep
    predictor = fit(draw(info, dataset, seed, ctx.oracle))
    if ctx.rank != 0:
        return None
    if not proposals.steps:
        proposals.keep(0, predictor.logits)
    return _outcome(info, dataset, proposals, predictor, ctx)


def _outcome(
    info: TaskInfo, dataset: Dataset, proposals: CandidateOutputs, predictor: Predictor, ctx: Context
) -> Outcome:
    """Let the validators choose among the proposals, and score what they chose."""
    steps = proposals.steps
    values = _judged(proposals, np.asarray(dataset.y[dataset.rows(SOURCE_VAL)]))
    places = {name: best_candidate(each) for name, each in values.items()}
    ranking = Options(**info.options).validator
    chosen = places[ranking]
    for place, step in enumerate(steps):
        ctx.log(step, **{f"validator/{name}": each[place] for name, each in values.items()})
    ctx.validation |= {name: each[chosen] for name, each in values.items() if np.isfinite(each[chosen])}
    ctx.selected |= {"validator": ranking, "step": steps[chosen]}
    if ctx.sealed:
        return validation_outcome(ctx, predictor.footprint())
    truth = torch.from_numpy(np.asarray(dataset.y[dataset.rows(TEST)]))
    tested = [torch.from_numpy(proposals.logits(step)["test"]) for step in steps]
    accuracy = [(logits.argmax(1) == truth).double().mean().item() for logits in tested]
    for place, step in enumerate(steps):
        ctx.log(step, oracle_accuracy=accuracy[place])
    places[_ORACLE] = best_candidate(accuracy)
    ctx.selected |= {f"step_by/{name}": steps[place] for name, place in places.items()}
    logits = tested[chosen]
    return Outcome(
        scores=classification_scores(logits, truth)
        | {f"accuracy_by/{name}": accuracy[place] for name, place in places.items()},
        validation=ctx.validation,
        curves=ctx.curves,
        selected=ctx.selected,
        oracle=ctx.oracle,
        footprint=predictor.footprint(),
        notes=tuple(ctx.notes),
        **evidence(logits, truth),
    )


def _judged(proposals: CandidateOutputs, labels: NDArray[np.int64]) -> dict[str, list[float]]:
    """Return what each validator says of each proposal; the answers on the test are none of its business."""
    found = []
    for step in proposals.steps:
        logits = proposals.logits(step)
        found.append(ValidatorInputs(step, logits["source"], labels, logits["target"]))
    return validator_scores(found)
