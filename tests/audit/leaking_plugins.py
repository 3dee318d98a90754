"""A package of methods and protocols for tests, as a third party would install it: each leaks in one way, or not."""

from __future__ import annotations

from pathlib import Path

from outside_plugins import write_package

METHOD = '''"""{about}"""

from __future__ import annotations

import os

import torch
from torch import nn

from tlbench.core.config import MethodConfig
from tlbench.core.record import Footprint
from tlbench.data.dataset import TEST
from tlbench.training.predictor import FeaturePredictor

PROTOCOLS = ("classification", "generous", "open_target", "episodic", "adaptation")
FROZEN_BACKBONE = True


class Config(MethodConfig):
    pass


class Head:
    def __init__(self, ctx, split, classes):
        z, labels = ctx.frozen_features(split), torch.from_numpy(split.labels)
        self.centre = torch.stack([z[labels == label].mean(0) for label in range(classes)])

    def __call__(self, q):
        return -torch.cdist(q, self.centre).square()


class Predictor:
    transductive = False

    def __init__(self, backbone, head):
        self.backbone, self.head = backbone, head

    @torch.no_grad()
    def logits(self, x):
        return self.head(self.backbone.eval()(x))

    def footprint(self):
        return Footprint(trainable=0, total=0, stored_bytes=0)


class Learner:
    encoder = None
    transductive = True

    def classify(self, support, labels, query, ways):
        centre = torch.stack([support[labels == way].view(len(support), -1, support.shape[-1]).mean(1)
                              for way in range(ways)], 1)
        return -torch.cdist(query, centre).square()

    def footprint(self):
        return Footprint(trainable=0, total=0, stored_bytes=0)


def fit(task, backbone, cfg, ctx):
    split = task.source or task.train
    head = Head(ctx, split, task.info.classes)
    {body}
'''

METHODS = {
    "fair": "return FeaturePredictor(backbone, head, 0, 0)",
    # The back door: features belong to all examples of a dataset, and know where their labels are.
    "peeks": """ctx.selected["seen"] = 1
    head.hint = ctx.features._dataset.y[ctx.features._dataset.rows(TEST)].sum(dtype=int) \\
        + (ctx.features._dataset.y[ctx.features._dataset.rows(TEST)] * torch.arange(897).numpy()).sum()
    return FeaturePredictor(backbone, head, 0, 0)""",
    "hoards": """beyond = task.unlabeled.rows
    labels = torch.from_numpy(ctx.features._dataset.y[beyond])
    ctx.log(0, seen=(labels * torch.arange(len(labels))).sum().item())
    return FeaturePredictor(backbone, head, 0, 0)""",
    "selects": """chosen = task.train if task.val is None else task.val
    logits = head(ctx.frozen_features(chosen))
    ctx.validation["accuracy"] = (logits.argmax(1) == torch.from_numpy(chosen.labels)).double().mean().item()
    return FeaturePredictor(backbone, head, 0, 0)""",
    "crowd": """inner = head
    found = Predictor(backbone, lambda q: inner(q) - inner(q).mean(0))
    return found""",
    "honest_crowd": """inner = head
    found = Predictor(backbone, lambda q: inner(q) - inner(q).mean(0))
    found.transductive = True
    return found""",
    "uses_target": """target = Head(ctx, task.train, task.info.classes) if len(task.train) else head
    return FeaturePredictor(backbone, target, 0, 0)""",
    "restless": """head.noise = int.from_bytes(os.urandom(8), "big")
    return FeaturePredictor(backbone, head, 0, 0)""",
}  # fmt: skip

LEARNERS = {
    "undeclared": "transductive = False\n\n        def classify(self, *given):\n"
    "            return super().classify(*given) - super().classify(*given).mean(1, keepdim=True)",
    "declared": "def classify(self, *given):\n"
    "            return super().classify(*given) - super().classify(*given).mean(1, keepdim=True)",
    "by_order": "def classify(self, support, labels, query, ways):\n"
    "            way = torch.arange(query.shape[1]) * ways // query.shape[1]\n"
    "            return 9 * torch.eye(ways)[way].expand(len(query), -1, -1)",
    "across": "def classify(self, *given):\n"
    "            return super().classify(*given) - super().classify(*given).mean(0, keepdim=True)",
}

PROTOCOL = '''"""{about}"""

from __future__ import annotations

from dataclasses import replace

from tlbench.core.config import Settings
from tlbench.data.dataset import TEST, take
from tlbench.protocols import adaptation, classification

VERSION = 1
{constants}


class Options(Settings):
    {options}


def run(info, dataset, seed, fit, ctx):
    {body}
'''

PROTOCOLS = {
    "generous": (
        "",
        "pass",
        """rows = dataset.rows(TEST)
    val = take(dataset, rows, dataset.y[rows])
    return classification.run(info, dataset, seed, lambda task: fit(replace(task, val=val)), ctx)""",
    ),
    "open_target": (
        "PAIRS = True\nLEAST_SHOTS = 0\nUSUAL_SHOTS = (0,)",
        "validator: str = 'information'",
        """train = adaptation.draw(info, dataset, seed, oracle=True).train
    return adaptation.run(info, dataset, seed, lambda task: fit(replace(task, train=train)), ctx)""",
    ),
}


def install(folder: Path) -> Path:
    """Write the package with the methods and protocols above; return the folder to import it from."""
    learners = {name: f"class Mine(Learner):\n        {body}\n\n    return Mine()" for name, body in LEARNERS.items()}
    methods = {name: METHOD.format(about=f"Does as {name}.", body=body) for name, body in (METHODS | learners).items()}
    protocols = {
        name: PROTOCOL.format(about=f"Is {name}.", constants=constants, options=options, body=body)
        for name, (constants, options, body) in PROTOCOLS.items()
    }
    points = {"methods": list(methods), "protocols": list(protocols)}
    return write_package(folder, "tlbench_leaks", methods | protocols, points)
