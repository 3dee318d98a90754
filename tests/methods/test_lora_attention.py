"""Attention with low-rank updates is that of torch with dense weights, whatever its masks and its path."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from low_rank_nets import adapt, close, normal, stir, wrap
from torch import Tensor, nn

from tlbench.training.parameter_efficient.low_rank import merge_low_rank
from tlbench.training.parameter_efficient.low_rank_layers import LowRank


class _Calls(nn.Module):
    """Calls an attention on itself, as networks do."""

    def __init__(self, attention: nn.MultiheadAttention, **arguments: Any) -> None:
        super().__init__()
        self.attention = attention
        self.arguments = arguments

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, **{"need_weights": False, **self.arguments})[0]


B, L, D = 2, 5, 8
_PADDED = torch.arange(L)[None] >= torch.tensor([[5], [3]])
_CAUSAL = torch.ones(L, L).triu(1).bool()
MASKS: dict[str, dict[str, Any]] = {
    "none": {},
    "padding": {"key_padding_mask": _PADDED},
    "causal": {"attn_mask": _CAUSAL, "is_causal": True},
    "both": {"key_padding_mask": _PADDED, "attn_mask": _CAUSAL},
    "added": {"attn_mask": normal(L, L), "key_padding_mask": normal(B, L)},
    "by_head": {"attn_mask": normal(2 * B, L, L)},
    "weights": {"need_weights": True, "key_padding_mask": _PADDED},
}


@pytest.mark.parametrize("targets", [("attention", "out_proj"), ("attention",), ("out_proj",)])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("masks", MASKS)
def test_attention_is_that_of_torch_with_dense_weights(masks: str, batch_first: bool, targets: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(D, 2, batch_first=batch_first)
    nn.init.normal_(attention.in_proj_bias)
    nn.init.normal_(attention.out_proj.bias)
    backbone = wrap(_Calls(attention, **MASKS[masks]))
    x = normal(B, L, D) if batch_first else normal(L, B, D)
    plain = copy.deepcopy(backbone)
    added = adapt(backbone, targets, x)
    assert len(added.parameters) == 2 * len(targets)
    close(backbone(x), plain(x))
    stir(added.parameters)
    dense = plain.body.attention
    with torch.no_grad():
        for layer, own in ((attention, dense.in_proj_weight), (attention.out_proj, dense.out_proj.weight)):
            if isinstance(layer, LowRank):
                own += 2 * layer.lora_b @ layer.lora_a
    for training in (True, False):
        close(backbone.train(training)(x), plain.train(training)(x))
    with torch.no_grad():  # where torch has a path of its own
        close(backbone(x), plain(x))
        merge_low_rank(backbone)
        close(backbone(x), plain(x))


def test_attention_that_torch_computes_reads_the_updated_weight() -> None:
    torch.manual_seed(0)

    class Cross(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(D, 2, batch_first=True, add_bias_kv=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.attention(x, x.flip(1), x.flip(1), need_weights=False)[0]

    backbone, x = wrap(Cross()), normal(B, L, D)
    plain = copy.deepcopy(backbone)
    added = adapt(backbone, ("attention",), x)
    stir(added.parameters)
    layer = backbone.body.attention
    with torch.no_grad():
        plain.body.attention.in_proj_weight += 2 * layer.lora_b @ layer.lora_a
    y = backbone(x)
    close(y, plain(x))
    assert all(gradient.abs().max() > 0 for gradient in torch.autograd.grad(y.square().sum(), added.parameters))


@pytest.mark.parametrize("averaged", [True, False])
def test_attention_weights_are_given_where_they_are_wanted(averaged: bool) -> None:
    torch.manual_seed(0)
    attention, x = nn.MultiheadAttention(D, 2, batch_first=True).double().eval(), normal(B, L, D)
    plain = copy.deepcopy(attention)
    backbone = wrap(_Calls(attention))
    added = adapt(backbone, ("attention",), x)
    stir(added.parameters)
    with torch.no_grad():
        plain.in_proj_weight += 2 * attention.lora_b @ attention.lora_a
    arguments = {"key_padding_mask": _PADDED, "average_attn_weights": averaged}
    output, weights = attention(x, x, x, **arguments)
    close((output, weights), plain(x, x, x, **arguments))
    assert weights.shape == ((B, L, L) if averaged else (B, 2, L, L))


def test_dropout_of_attention_weights_stays() -> None:
    torch.manual_seed(0)
    backbone, x = wrap(_Calls(nn.MultiheadAttention(D, 2, dropout=0.5, batch_first=True))), normal(B, L, D)
    adapt(backbone, ("attention",), x)
    assert not torch.equal(backbone.train()(x), backbone(x))
    assert torch.equal(backbone.eval()(x), backbone(x))


@pytest.mark.parametrize("masked", [False, True])
def test_the_encoder_layer_of_torch_in_training_and_on_its_fast_path(masked: bool) -> None:
    torch.manual_seed(0)

    class Body(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(D, 2, 16, dropout=0.0, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x, src_key_padding_mask=_PADDED if masked else None)[:, :3]

    backbone, x = wrap(Body()), normal(B, L, D)
    added = adapt(backbone, "all_linear", x)
    assert len(added.parameters) == 2 * 4  # packed attention and its output, two linear layers
    stir(added.parameters)
    expected = backbone.train()(x)
    gradients = torch.autograd.grad(expected.square().sum(), added.parameters)
    assert all(gradient.abs().max() > 0 for gradient in gradients)
    with torch.no_grad():
        close(backbone.eval()(x), expected)
        merge_low_rank(backbone)
        close(backbone(x), expected)
