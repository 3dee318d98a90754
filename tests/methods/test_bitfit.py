"""BitFit: which vectors count as biases and as normalisation, and what it says where there are none."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone, BodyParts
from tlbench.core.errors import UserError
from tlbench.core.info import BackboneInfo
from tlbench.plugins import registry
from tlbench.testing.fakes import CPU, fake_backbone, fake_task
from tlbench.training.context import Context


def _method() -> ModuleType:
    return registry.declaration("methods", "bitfit").load()


def _wrap(body: nn.Module) -> Backbone:
    info = BackboneInfo("hand", "none", "image", "hand", {"weights": {"kind": "random"}})
    return Backbone(info, nn.Identity(), body, 4, BodyParts([[name] for name, _ in body.named_children()], []))


class _Separate(nn.Module):
    """An attention that keeps biases of query and value beside its packed layer, and a table by distance."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(4, 12, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(4))
        self.v_bias = nn.Parameter(torch.zeros(4))
        self.relative_position_bias_table = nn.Parameter(torch.zeros(9, 2))

    def forward(self, x: Tensor) -> Tensor:
        return x


def _names(body: nn.Module, what: str) -> set[str]:
    chosen = {id(p) for p in _method().select_parameters(_wrap(body), what)}
    return {name for name, p in body.named_parameters() if id(p) in chosen}


def test_biases_by_whatever_name_and_nothing_else_that_is_called_so() -> None:
    body = nn.ModuleDict(
        {
            "packed": nn.MultiheadAttention(4, 2, add_bias_kv=True),
            "separate": _Separate(),
            "recurrent": nn.LSTM(4, 4),
            "norm": nn.LayerNorm(4),
            "scale": nn.RMSNorm(4),
            "debiased": nn.Linear(4, 4),
        }
    )
    biases = {
        "packed.in_proj_bias",
        "packed.out_proj.bias",
        "separate.q_bias",
        "separate.v_bias",
        "recurrent.bias_ih_l0",
        "recurrent.bias_hh_l0",
        "norm.bias",
        "debiased.bias",
    }
    norms = {"norm.weight", "norm.bias", "scale.weight"}
    assert _names(body, "bias") == biases
    assert _names(body, "norm") == norms
    assert _names(body, "bias_norm") == biases | norms


@pytest.mark.parametrize(
    ("what", "layer", "said"),
    [
        ("bias", nn.Linear(4, 4, bias=False), "no bias"),
        ("norm", nn.Linear(4, 4), "no normalisation"),
        ("bias_norm", nn.Linear(4, 4, bias=False), "neither a bias nor a normalisation"),
    ],
)
def test_a_backbone_without_any_is_refused_in_words(what: str, layer: nn.Module, said: str) -> None:
    backbone = _wrap(nn.Sequential(nn.Flatten(), layer))
    with pytest.raises(UserError, match=said) as caught:
        _method().fit(fake_task("classification").task, backbone, _method().Config(what=what), _context())
    assert "hand" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("what", ["bias", "norm", "bias_norm"])
def test_statistics_stay_unless_asked_and_are_then_stored(what: str) -> None:
    sizes = {}
    for policy in ("frozen", "train"):
        backbone = fake_backbone()
        before = {key: b.clone() for key, b in backbone.named_buffers()}
        config = _method().Config(epochs=1, what=what, batch_norm=policy)
        predictor = _method().fit(fake_task("classification").task, backbone, config, _context())
        moved = [b for key, b in backbone.named_buffers() if not torch.equal(b, before[key])]
        assert bool(moved) is (policy == "train")
        sizes[policy] = predictor.footprint().stored_bytes - sum(b.numel() * b.element_size() for b in moved)
    assert sizes["train"] == sizes["frozen"]


def test_by_default_statistics_stay() -> None:
    backbone = fake_backbone()
    before = {key: b.clone() for key, b in backbone.named_buffers()}
    _method().fit(fake_task("classification").task, backbone, _method().Config(epochs=1), _context())
    assert [key for key, b in backbone.named_buffers() if not torch.equal(b, before[key])] == []


def _context() -> Context:
    return Context(random_root="bitfit-test", device=CPU)
