"""Pre-training runs: trained once, kept as weights files, shared by every cell that names them."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import torch

from tlbench.backbones.image_recipe import crop_fraction
from tlbench.backbones.weights import save_weights
from tlbench.backbones.weights_metadata import read_notes
from tlbench.core.cell import BackboneChoice, Pretrain
from tlbench.core.hashing import derive_seed
from tlbench.core.image_kind import shows_characters
from tlbench.data.dataset import TRAIN, Dataset, Split, take
from tlbench.plugins import registry
from tlbench.store.artifacts import Artifacts
from tlbench.training.context import Context
from tlbench.training.epoch_loop import Checkpoints
from tlbench.training.seeding import reseed
from tlbench.worker.artifact_jobs import PRETRAINED, ArtifactName
from tlbench.worker.artifact_transfer import COST_FILE, WEIGHTS_FILE, weights_file
from tlbench.worker.build_once import build_once
from tlbench.worker.cost_meter import SPENT_FILE, CostMeter
from tlbench.worker.shared_costs import cost_text
from tlbench.worker.worker_resources import WorkerResources


def corpus(dataset: Dataset, labelled: bool) -> Split:
    """Return the examples of a dataset that pre-training may read.

    Training examples only and, where the dataset declares a class split, of training classes only: so neither the test
    examples nor the test classes of any protocol are seen.

    Args:
        dataset: The dataset.
        labelled: Whether the method reads labels; without, the split has none.
    """
    rows = dataset.rows(TRAIN)
    classes = dataset.info.class_splits.get("train", tuple(range(len(dataset.info.classes))))
    rows = rows[np.isin(dataset.y[rows], classes)]
    if not labelled:
        return take(dataset, rows, None)
    _, labels = np.unique(dataset.y[rows], return_inverse=True)
    return take(dataset, rows, labels.astype(np.int64))


def pretrained_weights(run: Pretrain, key: str, resources: WorkerResources) -> Path:
    """Return the weights file of a pre-training run; train it if no process of this machine has done so yet.

    A run that was killed continues from its last checkpoint.

    Args:
        run: What to train.
        key: Key of the artifact.
        resources: The process that trains, and what it may read.
    """
    return build_once(ArtifactName(PRETRAINED, key), partial(_train, run, key, resources), resources)


def pretraining_notes(backbone: BackboneChoice, artifacts: Artifacts) -> tuple[str, ...]:
    """Return the warnings of the pre-training runs behind a backbone, whose weights have been built.

    Args:
        backbone: The backbone; one that no pre-training run gave its weights has no notes.
        artifacts: Where its weights are.
    """
    if backbone.pretrain is None:
        return ()
    return read_notes(weights_file(artifacts, ArtifactName(PRETRAINED, backbone.artifact)))


def _train(run: Pretrain, key: str, resources: WorkerResources, folder: Path | None) -> None:
    """Train, alone or as one process of a group; write the weights file where a folder is given."""
    declared = registry.declaration("methods", run.method.name)
    # Another version of the method must not continue from this one's checkpoint.
    scratch = resources.artifacts.root / "running" / f"pretrain-{key}-{declared.code_mark}"
    if folder is not None:
        scratch.mkdir(parents=True, exist_ok=True)
    dataset = resources.read(run.dataset, run.start)
    backbone = resources.own_backbone(run.start, run.seed)
    module = declared.load()
    meter = CostMeter(resources.device, resources.group, kept=scratch / SPENT_FILE)
    ctx = Context(
        random_root=f"pretrain-{run.recipe}",
        device=resources.device,
        precision=resources.precision,
        group=resources.group,
        checkpoints=None if folder is None else Checkpoints(scratch, on_save=meter.keep),
        characters=shows_characters(run.dataset.info),
        crop_fraction=crop_fraction(backbone.info),
    )
    reseed(derive_seed(ctx.random_root, "global"))
    with meter.training():
        module.pretrain(corpus(dataset, run.labels), backbone, module.Config(**run.method.params), ctx)
    if folder is None:
        return
    label = f"pre-training with {run.method.name} on {run.dataset.info.name}"
    own_notes = [f"{label}: {note}" for note in (*dataset.notes, *ctx.notes)]
    notes = [*pretraining_notes(run.start, resources.artifacts), *own_notes]
    save_weights(backbone, folder / WEIGHTS_FILE, resources.tokenizer(run.start, run.dataset), notes)
    cost = meter.cost(torch.get_num_threads(), resources.gpus)
    facts = {"seconds": cost.seconds, "workers": resources.group.world_size, "curves": ctx.curves}
    (folder / "training.json").write_text(json.dumps(facts))
    (folder / COST_FILE).write_text(cost_text(cost))
    shutil.rmtree(scratch)
