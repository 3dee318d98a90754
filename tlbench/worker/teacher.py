"""Teachers: networks that are trained on a cell's own labels before it, once for all cells that learn from them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tlbench.backbones.catalog import build
from tlbench.backbones.weights_metadata import carried
from tlbench.core.cell import Cell, task_info
from tlbench.core.errors import UserError
from tlbench.training.classifier import Classifier
from tlbench.training.frozen_features import embed
from tlbench.training.predictor import ModulePredictor
from tlbench.worker.artifact_jobs import TEACHERS, ArtifactName
from tlbench.worker.artifact_transfer import COST_FILE, WEIGHTS_FILE
from tlbench.worker.build_once import build_once
from tlbench.worker.cost_meter import SPENT_FILE, CostMeter
from tlbench.worker.fit_cell import fit_cell
from tlbench.worker.load_inputs import load_inputs
from tlbench.worker.provenance import sources
from tlbench.worker.shared_costs import cost_text
from tlbench.worker.worker_resources import WorkerResources

_COMPARED = 4  # inputs whose logits must be the same once a network has been saved and rebuilt
_RECORDED = {"scores", "validation", "selected", "curves"}  # parts of the outcome that are kept with the weights


def trained_teacher(cell: Cell, key: str, resources: WorkerResources) -> nn.Module:
    """Return a teacher in evaluation mode, without gradients; train it if no process of this machine has done so yet.

    A training that was killed continues from its last checkpoint.

    Args:
        cell: The teacher's own cell (see :attr:`Cell.teacher`).
        key: Key of the artifact.
        resources: The process that trains, and what it may read.

    Raises:
        UserError: What its method trains is no backbone under a linear head.
    """
    file = build_once(ArtifactName(TEACHERS, key), partial(_train, cell, key, resources), resources)
    return _rebuilt(cell, load_file(file), resources.device)


def _train(cell: Cell, key: str, resources: WorkerResources, folder: Path | None) -> None:
    """Train, alone or as one process of a group; write the weights file where a folder is given."""
    # Another version of the method must not continue from this one's checkpoint.
    scratch = resources.artifacts.root / "running" / f"teacher-{key}-{sources(cell)['method_source']}"
    load_inputs(cell, resources)
    meter = CostMeter(resources.device, resources.group, kept=scratch / SPENT_FILE)
    result = fit_cell(cell, resources, scratch, meter)
    if folder is None or result.outcome is None:
        return
    tokenizer = resources.tokenizer(cell.backbone, cell.dataset, episodic=cell.protocol.episodic)
    save_file(_state(cell, result.fitted, resources), folder / WEIGHTS_FILE, carried(tokenizer))
    cost = meter.cost(torch.get_num_threads(), resources.gpus)
    facts = {
        "seconds": cost.seconds,
        "workers": resources.group.world_size,
        "cell": cell.describe().model_dump(mode="json"),
        **result.outcome.model_dump(mode="json", include=_RECORDED),
    }
    (folder / "training.json").write_text(json.dumps(facts))
    (folder / COST_FILE).write_text(cost_text(cost))
    shutil.rmtree(scratch)


def _state(cell: Cell, fitted: object, resources: WorkerResources) -> dict[str, Tensor]:
    """Return the weights and buffers of a fitted network, after making sure that it can be rebuilt from them."""
    if not isinstance(fitted, ModulePredictor):
        raise _unusable(cell, f"it returns a {type(fitted).__name__}")
    state = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in fitted.module.state_dict().items()
    }
    try:
        rebuilt = _rebuilt(cell, state, resources.device)
    except RuntimeError as error:
        raise _unusable(cell, "its network has other parts") from error
    inputs = resources.read(cell.dataset, cell.backbone, episodic=cell.protocol.episodic).x
    rows = np.arange(_COMPARED)
    before, after = (embed(network, inputs, rows, resources.device) for network in (fitted.logits, rebuilt))
    if not torch.allclose(before, after, rtol=1e-3, atol=1e-4):
        raise _unusable(cell, "its network answers otherwise once it has been rebuilt")
    return state


def _rebuilt(cell: Cell, state: dict[str, Tensor], device: torch.device) -> nn.Module:
    info = cell.backbone.info
    # Its initial weights do not matter, since the trained ones are loaded over them.
    bare = replace(info, recipe={**info.recipe, "weights": {"kind": "random"}})
    model = Classifier(build(bare, 0, None), task_info(cell.protocol, cell.dataset.info, cell.shots).classes)
    model.load_state_dict(state)
    return model.to(device).eval().requires_grad_(False)


def _unusable(cell: Cell, reason: str) -> UserError:
    return UserError(
        f"{cell.method.name} cannot train a teacher: {reason}",
        "a teacher is a backbone under a linear head, as finetune trains one",
    )
