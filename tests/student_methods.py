"""A package of methods for tests, as a third party would install it: students of a teacher, and odd teachers."""

from __future__ import annotations

from pathlib import Path

from outside_plugins import write_package

HEAD = '''"""{about}"""

from __future__ import annotations

import torch
from torch import nn

from tlbench.core.config import MethodConfig
from tlbench.training.classifier import Classifier
from tlbench.training.predictor import ModulePredictor

PROTOCOLS = ("classification",)
'''

# Answers as its teacher does, so that teacher and student can be compared to the last bit.
COPY = """TEACHER = True


class Config(MethodConfig):
    scale: float = 1.0
    spoil: bool = False


class Scaled(nn.Module):
    def __init__(self, inner, scale):
        super().__init__()
        self.inner, self.scale = inner, scale

    def forward(self, x):
        return self.scale * self.inner(x)


def fit(task, backbone, cfg, ctx):
    assert not any(module.training for module in ctx.teacher.modules())
    assert not any(parameter.requires_grad for parameter in ctx.teacher.parameters())
    if cfg.spoil:
        with torch.no_grad():
            ctx.teacher.train()(torch.from_numpy(task.train.x[task.train.rows[:2]]))
            ctx.teacher.head.weight.fill_(1.0)
    return ModulePredictor(Scaled(ctx.teacher, cfg.scale), [])
"""

# Trains nothing; what it returns is no backbone under a linear head, in one of several ways.
ODD = """

class Config(MethodConfig):
    how: str = "parts"


class Doubled(Classifier):
    def forward(self, x):
        return 2 * super().forward(x)


class Other:
    def __init__(self, net):
        self.logits, self.footprint = net, ModulePredictor(net, []).footprint


def fit(task, backbone, cfg, ctx):
    if cfg.how == "fails":
        raise RuntimeError("no such luck")
    net = (Doubled if cfg.how == "answers" else Classifier)(backbone, task.info.classes)
    nn.init.ones_(net.head.bias)
    if cfg.how == "kind":
        return Other(net.eval())
    return ModulePredictor(nn.Sequential(net) if cfg.how == "parts" else net, [])
"""


def install(folder: Path) -> Path:
    """Write the package with the methods ``copy`` and ``odd``; return the folder to import it from."""
    modules = {
        "copy": HEAD.format(about="Copies its teacher.") + COPY,
        "odd": HEAD.format(about="Returns odd networks.") + ODD,
    }
    return write_package(folder, "tlbench_students", modules, {"methods": list(modules)})
