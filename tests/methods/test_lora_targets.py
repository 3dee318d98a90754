"""The layers that LoRA updates: what presets name, what patterns match, and which rows make query and value."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from low_rank_nets import adapt, close, method, own_weight, stir, updated_layers, wrap
from small_nets import TRANSFORMERS, images, small_net
from torch import Tensor, nn

from tlbench.backbones.backbone import Sublayers
from tlbench.core.errors import UserError
from tlbench.training.parameter_efficient.low_rank_layers import WeightBlocks


def test_presets_name_these_layers() -> None:
    vit, swin, swin_v2 = (small_net(name) for name in TRANSFORMERS)
    choose, inside = method().choose_layers, "encoder.layers.encoder_layer_{}."
    attention = [f"{inside.format(block)}self_attention" for block in (0, 1)]
    outputs = [f"{name}.out_proj" for name in attention]
    perceptrons = [f"{inside.format(block)}mlp.{place}" for block in (0, 1) for place in (0, 3)]
    split, whole = WeightBlocks(3, (0, 1, 2)), WeightBlocks()
    assert choose(vit, "qv") == (dict.fromkeys(attention, WeightBlocks(3, (0, 2))), [])
    expected = dict.fromkeys(attention, split) | dict.fromkeys(outputs, whole)
    assert choose(vit, "attention") == (expected, [])
    expected |= dict.fromkeys(perceptrons, whole)
    assert choose(vit, "all_linear") == (expected, [])
    assert choose(vit, "all") == (expected | {"conv_proj": whole}, [])
    attention = [pair.attention for pair in swin.sublayers]
    assert choose(swin, "qv") == ({f"{name}.qkv": WeightBlocks(3, (0, 2)) for name in attention}, [])
    expected = {f"{name}.qkv": split for name in attention} | {f"{name}.proj": whole for name in attention}
    assert choose(swin, "attention") == (expected, [])
    # In Swin v2 the network of position biases is of the attention too.
    assert len(choose(swin_v2, "attention")[0]) == 4 * len(attention)


@pytest.mark.parametrize("targets", ["qv", "attention", "all_linear"])
def test_what_a_network_does_not_have_gives_way_to_the_next_wider_preset(targets: Any) -> None:
    resnet = small_net("resnet")
    sites, notes = method().choose_layers(resnet, targets)
    convolutions = {name for name, module in resnet.body.named_modules() if isinstance(module, nn.Conv2d)}
    assert set(sites) == convolutions
    assert len(convolutions) == 17
    assert notes == [f"nothing for targets={targets}: all linear layers and convolutions are updated"]
    assert method().choose_layers(resnet, "all") == (sites, [])


def test_query_and_value_by_name() -> None:
    class Attention(nn.Module):
        def __init__(self, **layers: nn.Module) -> None:
            super().__init__()
            for name, layer in layers.items():
                self.add_module(name, layer)

    def rows(attention: nn.Module) -> tuple[dict[str, WeightBlocks], int]:
        body = nn.ModuleDict({"attn": attention, "mlp": nn.Linear(4, 4)})
        sites, notes = method().choose_layers(wrap(body, (Sublayers("attn", "mlp"),)), "qv")
        return {name.removeprefix("attn."): found for name, found in sites.items()}, len(notes)

    def square() -> nn.Linear:
        return nn.Linear(4, 4)

    assert rows(Attention(qkv=nn.Linear(4, 12), proj=square())) == ({"qkv": WeightBlocks(3, (0, 2))}, 0)
    assert rows(Attention(q_proj=square(), k_proj=square(), v_proj=square())) == (
        {"q_proj": WeightBlocks(), "v_proj": WeightBlocks()},
        0,
    )
    assert rows(Attention(inner=Attention(query=square(), key=square(), value=square()))) == (
        {"inner.query": WeightBlocks(), "inner.value": WeightBlocks()},
        0,
    )
    assert rows(Attention(q=square(), kv=nn.Linear(4, 8), proj=square())) == (
        {"q": WeightBlocks(), "kv": WeightBlocks(2, (1,))},
        0,
    )
    assert rows(Attention(qk=nn.Linear(4, 8), v=square())) == ({"qk": WeightBlocks(2, (0,)), "v": WeightBlocks()}, 0)
    assert rows(Attention(to_qkv=nn.Linear(4, 12), merge=square())) == ({"to_qkv": WeightBlocks(3, (0, 2))}, 0)
    # Parts of unequal size, and rows head by head: the packed layer is one matrix.
    assert rows(Attention(qkv=nn.Linear(4, 20))) == ({"qkv": WeightBlocks()}, 0)
    by_head = Attention(qkv=nn.Linear(4, 12))
    by_head.head_first = True
    assert rows(by_head) == ({"qkv": WeightBlocks()}, 0)
    assert rows(Attention(one=square(), other=square())) == ({"one": WeightBlocks(), "other": WeightBlocks()}, 1)


@pytest.mark.parametrize("name", ["vit", "swin"])
def test_of_a_packed_projection_the_update_of_qv_leaves_the_keys(name: str) -> None:
    backbone = small_net(name).eval()
    stir(adapt(backbone, "qv").parameters)
    for layer in updated_layers(backbone).values():
        q, k, v = (layer.effective_weight() - own_weight(layer)).chunk(3)
        assert k.count_nonzero() == 0
        assert q.abs().max() > 1e-3
        assert v.abs().max() > 1e-3


@pytest.mark.parametrize("name", ["vit", "swin"])
def test_the_last_part_of_a_packed_projection_makes_the_values(name: str) -> None:
    """Without values an attention gives the same for every position."""
    backbone = small_net(name).eval()
    attention = backbone.sublayers[0].attention
    packed = attention if name == "vit" else f"{attention}.qkv"
    module = backbone.body.get_submodule(packed)
    with torch.no_grad():
        weight, bias = (module.in_proj_weight, module.in_proj_bias) if name == "vit" else (module.weight, module.bias)
        weight.chunk(3)[2].zero_()
        bias.chunk(3)[2].zero_()
    seen: list[Tensor] = []
    backbone.body.get_submodule(attention).register_forward_hook(
        lambda module, args, output: seen.append(output[0] if isinstance(output, tuple) else output)
    )
    backbone(images())
    flat = seen[0].flatten(0, -2)
    close(flat, flat[:1].expand_as(flat))


def test_patterns_name_the_end_of_a_module() -> None:
    vit, choose = small_net("vit"), method().choose_layers
    blocks = [f"encoder.layers.encoder_layer_{block}" for block in (0, 1)]
    assert choose(vit, ("mlp.0",)) == ({f"{block}.mlp.0": WeightBlocks() for block in blocks}, [])
    assert choose(vit, ("self_attention", "conv_proj"))[0].keys() == {
        "conv_proj",
        *(f"{block}.self_attention" for block in blocks),
    }
    assert choose(vit, ("encoder_layer_1.*",))[0].keys() == {
        f"{blocks[1]}.{own}" for own in ("self_attention", "self_attention.out_proj", "mlp.0", "mlp.3")
    }
    assert choose(vit, ("*_1.mlp.[03]",))[0].keys() == {f"{blocks[1]}.mlp.{place}" for place in (0, 3)}
    assert choose(vit, ("*",))[0].keys() == choose(vit, "all")[0].keys()


def test_patterns_that_match_nothing_or_twice_are_refused() -> None:
    vit = small_net("vit")
    with pytest.raises(UserError, match=r"target 'mlp.1'[\s\S]*did you mean 'mlp\.[03]'"):
        method().choose_layers(vit, ("mlp.0", "mlp.1"))
    with pytest.raises(UserError, match=r"target 'self_atention'[\s\S]*did you mean 'self_attention'"):
        method().choose_layers(vit, ("self_atention",))
    with pytest.raises(UserError, match="matches the target 'roj'"):  # the end is that of a whole name
        method().choose_layers(vit, ("roj",))
    with pytest.raises(UserError, match=r"'ln_1'"):  # a normalisation, which cannot be updated
        method().choose_layers(vit, ("ln_1",))
    with pytest.raises(UserError, match=r"'mlp\.0' and 'encoder_layer_0\.\*' both match \S*encoder_layer_0\.mlp\.0"):
        method().choose_layers(vit, ("mlp.0", "encoder_layer_0.*"))
    with pytest.raises(UserError, match=r"both match conv_proj"):
        method().choose_layers(vit, ("conv_proj", "conv_proj"))
