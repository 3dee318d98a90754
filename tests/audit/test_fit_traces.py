"""A trace has a hash of all that a fitted method holds."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import nn

from tlbench.audit.fit_traces import difference, model_trace


class Holder:
    """Holds what a method might."""

    __slots__ = ("inner",)

    def __init__(self, inner: object) -> None:
        self.inner = inner


def fitted_head(weight: float = 1.0, bias: float = 0.0) -> object:
    layer = nn.BatchNorm1d(2)
    with torch.no_grad():
        layer.weight.fill_(weight)
    centre, shift = torch.full((2,), bias), np.full(2, bias)

    def head(q: torch.Tensor) -> torch.Tensor:
        return layer(q) + centre

    return Holder([partial(head, scale=shift), {"layer": layer}])


def test_a_trace_sees_into_closures_partials_slots_and_modules() -> None:
    assert difference(model_trace(fitted_head()), model_trace(fitted_head())) == ""
    found = difference(model_trace(fitted_head()), model_trace(fitted_head(weight=2.0)))
    assert found.endswith("weight")
    found = difference(model_trace(fitted_head()), model_trace(fitted_head(bias=1.0)))
    assert "centre" in found
    assert "scale" in found


def test_a_trace_of_many_differences_names_a_few() -> None:
    layers = [nn.Sequential(*(nn.Linear(1, 1) for _ in range(4))) for _ in range(2)]
    assert difference(*map(model_trace, layers)).endswith(" and 5 more")


def test_a_trace_leaves_out_how_a_module_is_used() -> None:
    layer = nn.Linear(1, 1)
    before = model_trace(layer)
    assert model_trace(layer.eval()) == before
