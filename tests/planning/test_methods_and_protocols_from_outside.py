"""A method, a pre-training recipe and a protocol of another distribution are checked, planned and run, unedited."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from outside_plugins import write_package
from small_suites import suite

from tlbench.store.ledger import Ledger

Run = Callable[..., "subprocess.CompletedProcess[str]"]

MEANS = '''"""Class means of frozen features, by Euclidean distance: a toy (Snell et al. 2017, arXiv:1703.05175)."""

from __future__ import annotations

import torch

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import MethodConfig, log_uniform, tunable
from tlbench.data.dataset import Task
from tlbench.training.context import Context
from tlbench.training.predictor import FeaturePredictor

PROTOCOLS = ("classification", "mirrored")
FROZEN_BACKBONE = True


class Config(MethodConfig):
    temperature: float = tunable(1.0, log_uniform(0.1, 10), "divides the distances", gt=0)


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> FeaturePredictor:
    z = ctx.frozen_features(task.train)
    labels = torch.from_numpy(task.train.labels).to(z.device)
    means = torch.stack([z[labels == label].mean(0) for label in range(task.info.classes)])

    def head(q):
        return -torch.cdist(q, means).square() / cfg.temperature

    return FeaturePredictor(backbone, head, trainable=means.numel(), stored=means.numel())
'''

BRIGHTNESS = '''"""Pre-training to predict an image's mean brightness (a toy; arXiv:0000.00000 stands for its paper)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import MethodConfig
from tlbench.data.dataset import Split
from tlbench.training.context import Context
from tlbench.training.parameter_groups import make_optimizer, parameter_groups

PROTOCOLS = ()
MODALITIES = ("image",)
READS_LABELS = False
QUICK = {"epochs": 3}


class Config(MethodConfig):
    epochs: int = Field(5, ge=1, description="epochs")
    lr: float = Field(1e-2, gt=0, description="learning rate")


def pretrain(corpus: Split, backbone: Backbone, cfg: Config, ctx: Context) -> None:
    assert corpus.y is None
    x = torch.from_numpy(corpus.x).to(ctx.device)
    target = x.float().mean((1, 2, 3)) / 255
    head = nn.Linear(backbone.out_dim, 1).to(ctx.device)
    model = nn.Sequential(backbone.to(ctx.device), head)
    optimizer = make_optimizer("adamw", parameter_groups([(model.parameters(), cfg.lr)], 0.0))
    for epoch in ctx.epochs(cfg.epochs, model, {"optimizer": optimizer}, name="pretrain"):
        model.train()
        optimizer.zero_grad()
        with ctx.autocast():
            predicted = model(x)
        loss = (predicted.float().squeeze(1) - target).square().mean()
        loss.backward()
        optimizer.step()
        ctx.log(epoch, train_loss=loss.item())
'''

MIRRORED = '''"""Mirrored: as classification, but the test images are flipped left to right."""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field

from tlbench.core.config import Settings
from tlbench.data.dataset import TEST
from tlbench.protocols import classification
from tlbench.training.frozen_features import embed
from tlbench.training.outcomes import scored_outcome, validation_outcome

VERSION = 3


class Options(Settings):
    flips: int = Field(1, ge=0, le=2, description="how often test images are flipped")


def run(info, dataset, seed, fit, ctx):
    predictor = fit(classification.draw(info, dataset, seed))
    if not ctx.group.is_first:
        return None
    if ctx.validation_only:
        return validation_outcome(ctx, predictor.footprint())
    rows = dataset.rows(TEST)
    x = np.asarray(dataset.x[rows])
    for _ in range(Options(**info.options).flips):
        x = x[..., ::-1]
    logits = embed(predictor.logits, x, None, ctx.device)
    return scored_outcome(ctx, predictor.footprint(), logits, torch.from_numpy(np.asarray(dataset.y[rows])), {})
'''

CONTRACT = """
import sys
from pathlib import Path
from tlbench.testing import contract, protocol_contract
folder, cases = Path(sys.argv[1]), contract.cases("brightness")
cases += [case for case in contract.cases("means") if case.role == "classification"]
assert sorted(map(str, cases)) == ["brightness-pretrain", "means-classification"]
for module, each in ((contract, cases), (protocol_contract, [protocol_contract.Case("mirrored")])):
    for case in each:
        for check in module.CHECKS:
            scratch = folder / str(case) / check.__name__
            scratch.mkdir(parents=True)
            check(case, scratch)
"""

MODULES = {"means": MEANS, "brightness": BRIGHTNESS, "mirrored": MIRRORED}
POINTS = {"methods": ["means", "brightness"], "protocols": ["mirrored"]}
RECIPE = {"method": "brightness", "dataset": {"name": "rendered_digits", "images": 420}, "params": {"epochs": 2}}
BACKBONES = [{"name": "conv4", "width": 4}, {"name": "conv4", "width": 4, "pretrain": RECIPE}]


@pytest.fixture
def outside(tmp_path: Path, tlbench: Any, environment: dict[str, str]) -> Run:
    """Run the command line, or Python where the first argument is ``-c``, where the distribution is installed."""
    before = environment.get("PYTHONPATH", "")

    def run(*args: str, **changed: str) -> subprocess.CompletedProcess[str]:
        folder = tmp_path / f"installed{len(list(tmp_path.glob('installed*')))}"
        installed = write_package(folder, "tlbench_toy_methods", MODULES | changed, POINTS)
        env = environment | {"PYTHONPATH": f"{installed}:{before}"}
        if args[0] != "-c":
            return tlbench(*args, env=env)
        command = [sys.executable, *args]
        return subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=240)

    return run


def write(tmp_path: Path, **changed: Any) -> Path:
    path = tmp_path / "outside.yaml"
    content = suite("outside", {"methods": ["means"], "backbones": BACKBONES, "shots": [3], "seeds": 1})
    first = content["grids"][0]
    content["grids"] = [
        {**first, "validation": "held_out", "refit": False},  # as the other fits to a part of the labels
        {**first, "protocol": "mirrored", "flips": 2, **changed},
    ]
    path.write_text(json.dumps(content))
    return path


def test_they_keep_the_contract(outside: Run, tmp_path: Path) -> None:
    done = outside("-c", CONTRACT, str(tmp_path))
    assert done.returncode == 0, done.stderr


def test_they_are_listed(outside: Run) -> None:
    done = outside("list", "methods")
    assert "Class means of frozen features" in done.stdout
    assert "mean brightness" in done.stdout


@pytest.mark.slow
def test_they_are_checked_planned_and_run(outside: Run, tmp_path: Path) -> None:
    path = write(tmp_path)
    for command in ("check", "plan", "run"):
        done = outside(command, str(path))
        assert done.returncode == 0, done.stdout + done.stderr
    with Ledger(tmp_path / "workspace" / "ledger.sqlite") as ledger:
        records = list(ledger.records())
    assert len(records) == 4
    assert all(record.status == "done" and record.cell.method == "means" for record in records)
    outcomes = {(record.cell.protocol, record.cell.backbone_label): record.outcome for record in records}
    assert {protocol for protocol, _ in outcomes} == {"classification", "mirrored"}
    for (protocol, backbone), outcome in outcomes.items():
        if protocol == "mirrored":  # two flips are none
            plain = outcomes["classification", backbone]
            assert outcome is not None
            assert plain is not None
            assert abs(outcome.scores["accuracy"] - plain.scores["accuracy"]) < 0.01
    assert {record.cell.protocol_version for record in records if record.cell.protocol == "mirrored"} == {3}
    again = outside("run", str(path))
    assert again.returncode == 0
    assert "4 done" in again.stdout + again.stderr


@pytest.mark.parametrize(
    ("changed", "grid", "what", "hint"),
    [
        ({}, {"methods": ["meens"]}, "unknown method 'meens'", "did you mean 'means'"),
        ({}, {"protocol": "mirored"}, "unknown protocol 'mirored'", "did you mean 'mirrored'"),
        ({}, {"flips": 3}, "flips: must be less than or equal to 2", ""),
        ({}, {"flipz": 1}, "unknown key 'flipz'", "did you mean 'flips'"),
        ({"means": MEANS.replace("FROZEN_", "FROZZEN_")}, {}, "unknown constant 'FROZZEN_BACKBONE'", "FROZEN_BACKBONE"),
        ({"mirrored": MIRRORED.replace("VERSION = 3", "VERSION = 'x'")}, {}, "VERSION", ""),
    ],
)
def test_mistakes_are_named(
    changed: dict[str, str], grid: dict[str, Any], what: str, hint: str, outside: Run, tmp_path: Path
) -> None:
    done = outside("check", str(write(tmp_path, **grid)), **changed)
    assert done.returncode != 0
    text = " ".join((done.stdout + done.stderr).split())
    assert what in text, text
    assert hint in text, text
