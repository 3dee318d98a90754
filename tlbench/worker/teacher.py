"""Teachers: networks that are trained on a cell's own labels before it, once for all cells that learn from them."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tlbench.backbones.catalog import build
from tlbench.backbones.weights_metadata import carried
from tlbench.core.cell import Cell, task_info
from tlbench.core.errors import UserError
from tlbench.core.record import Outcome
from tlbench.training.classifier import Classifier
from tlbench.training.frozen_features import embed
from tlbench.training.predictor import ModulePredictor
from tlbench.worker.artifact_jobs import TEACHERS
from tlbench.worker.build_once import WEIGHTS, made_once
from tlbench.worker.fit_cell import attempt
from tlbench.worker.provenance import sources

if TYPE_CHECKING:
    from tlbench.worker.cache import WorkerCache

_PROBES = 4  # inputs on which a network must answer as before once it has been saved and read back


def trained_teacher(cell: Cell, key: str, cache: WorkerCache) -> nn.Module:
    """Return a trained teacher in evaluation mode, without gradients; train it if this machine has not done so yet.

    A killed training continues from its last checkpoint.

    Args:
        cell: The teacher's own cell (see :attr:`Cell.teacher`).
        key: Name of the artifact.
        cache: What this process keeps between cells.

    Raises:
        UserError: What its method trains is no backbone under a linear head.
    """
    file = made_once(TEACHERS, key, partial(_train, cell, key, cache), cache)
    return _rebuilt(cell, load_file(file), cache.device)


def _train(cell: Cell, key: str, cache: WorkerCache, folder: Path | None) -> None:
    """Train, and save into a folder if one is given; in one process, or as one of several."""
    # Another version of the method must not continue from this one's checkpoint.
    scratch = cache.artifacts.root / "running" / f"teacher-{key}-{sources(cell)['method_source']}"
    start = time.perf_counter()
    outcome, predictor = attempt(cell, cache, scratch, cache.rank, cache.world)
    if folder is None or outcome is None:
        return
    tokenizer = cache.tokenizer(cell.backbone, cell.dataset, episodic=cell.protocol.episodic)
    save_file(_state(cell, predictor, cache), folder / WEIGHTS, carried(tokenizer))
    told = {"seconds": time.perf_counter() - start, "workers": cache.world, "cell": cell.describe(), **_scores(outcome)}
    (folder / "training.json").write_text(json.dumps(told))
    shutil.rmtree(scratch)


def _scores(outcome: Outcome) -> dict[str, Any]:
    return outcome.model_dump(mode="json", include={"scores", "validation", "selected", "curves"})


def _state(cell: Cell, predictor: Any, cache: WorkerCache) -> dict[str, Tensor]:
    """Return the weights and buffers of a fitted network, once it is sure that it can be rebuilt from them."""
    if not isinstance(predictor, ModulePredictor):
        raise _unusable(cell, f"it returns a {type(predictor).__name__}")
    state = {name: tensor.detach().cpu().clone() for name, tensor in predictor.module.state_dict().items()}
    try:
        rebuilt = _rebuilt(cell, state, cache.device)
    except RuntimeError as error:
        raise _unusable(cell, "its network has other parts") from error
    inputs = cache.read(cell.dataset, cell.backbone, episodic=cell.protocol.episodic).x
    before, after = (embed(net, inputs, np.arange(_PROBES), cache.device) for net in (predictor.logits, rebuilt))
    if not torch.allclose(before, after, rtol=1e-3, atol=1e-4):
        raise _unusable(cell, "its network answers otherwise once it has been rebuilt")
    return state


def _rebuilt(cell: Cell, state: dict[str, Tensor], device: torch.device) -> nn.Module:
    info = cell.backbone.info
    bare = replace(info, recipe={**info.recipe, "weights": {"kind": "random"}})  # whatever these are, others come next
    model = Classifier(build(bare, 0, None), task_info(cell.protocol, cell.dataset.info, cell.shots).classes)
    model.load_state_dict(state)
    return model.to(device).eval().requires_grad_(False)


def _unusable(cell: Cell, reason: str) -> UserError:
    return UserError(
        f"{cell.method.name} cannot train a teacher: {reason}",
        "a teacher is a backbone under a linear head, as finetune trains one",
    )
