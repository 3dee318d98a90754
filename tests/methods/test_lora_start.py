"""Low-rank updates where they start: the backbone exactly, and as many parameters as their ranks say."""

from __future__ import annotations

import pytest
import torch
from low_rank_nets import CASES, adapt, normal, seeded, snapshot, stir, updated_layers, wrap
from small_nets import images, small_net
from torch import Tensor, nn
from torch.nn.functional import linear

from tlbench.core.errors import UserError


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("name", "targets"), CASES)
def test_it_starts_as_the_backbone_exactly_and_acts_once_trained(name: str, targets: str, training: bool) -> None:
    backbone, x = small_net(name).train(training), images()
    before = snapshot(backbone)
    expected = backbone(x)
    backbone.load_state_dict(before)  # batch statistics have moved
    added = adapt(backbone, targets)
    assert backbone.training is training
    # The projections of nn.MultiheadAttention lie elsewhere in memory then: some processors' kernels round differently.
    torch.testing.assert_close(backbone(x), expected, rtol=0, atol=1e-13 if name == "vit" else 0)
    stir(added.parameters)
    assert not torch.allclose(backbone(x), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("name", "targets"), CASES)
def test_at_the_start_every_b_has_a_gradient_and_no_a_has(name: str, targets: str) -> None:
    backbone = small_net(name).eval()
    added = adapt(backbone, targets)
    assert added.unused == []
    features = backbone(images())
    features.backward(torch.randn(features.shape, generator=seeded(), dtype=features.dtype))
    layers = updated_layers(backbone)
    assert len(added.parameters) == 2 * len(layers)
    for key, layer in layers.items():
        assert layer.lora_a.grad is not None
        assert layer.lora_a.grad.count_nonzero() == 0, key
        for part in layer.lora_b.grad.chunk(len(layer.blocks.chosen)):
            assert part.abs().max() > 0, key
    trained = {name for name, p in backbone.named_parameters() if p.grad is not None}
    assert trained == {f"body.{key}.{own}" for key in layers for own in ("lora_a", "lora_b")}


COUNTS = {
    # per block: query and value, or all four of 32 -> 32; then two layers of the perceptron; then 3 * 8 * 8 -> 32
    ("vit", "qv"): 2 * 2 * (32 + 32),
    ("vit", "attention"): 2 * 4 * (32 + 32),
    ("vit", "all_linear"): 2 * (4 * (32 + 32) + 2 * (32 + 64)),
    ("vit", "all"): 2 * (4 * (32 + 32) + 2 * (32 + 64)) + (192 + 32),
    # two blocks at width 16, two at 32
    ("swin", "qv"): 2 * 2 * (16 + 16) + 2 * 2 * (32 + 32),
    ("swin", "attention"): 2 * 4 * (16 + 16) + 2 * 4 * (32 + 32),
    # kernels 7 x 7 a channel (49 columns), 4 x 4 of 3 channels, 2 x 2 of 16
    ("convnext", "all_linear"): 2 * (16 + 64) + 2 * 2 * (32 + 128),
    ("convnext", "all"): 2 * (16 + 64) + 2 * 2 * (32 + 128) + (49 + 16) + 2 * (49 + 32) + (48 + 16) + (64 + 32),
}


@pytest.mark.parametrize("rank", [2, 5])
@pytest.mark.parametrize(("name", "targets"), COUNTS)
def test_an_update_has_r_times_inputs_plus_outputs_parameters(name: str, targets: str, rank: int) -> None:
    added = adapt(small_net(name), targets, rank=rank)
    assert sum(p.numel() for p in added.parameters) == rank * COUNTS[name, targets]


def test_a_starts_uniform_within_one_over_the_root_of_the_columns() -> None:
    body = nn.Sequential(nn.Conv2d(4, 8, 5), nn.Flatten(), nn.Linear(8, 64), nn.Linear(64, 4))
    backbone = wrap(body)
    adapt(backbone, "all", normal(2, 4, 5, 5), rank=200)
    for layer, columns in ((body[0], 100), (body[2], 8), (body[3], 64)):
        assert layer.lora_a.shape == (200, columns)
        scaled = layer.lora_a * columns**0.5
        assert scaled.abs().max() <= 1
        assert scaled.std().item() == pytest.approx(3**-0.5, rel=0.05)
        assert abs(scaled.mean().item()) < 0.05
        assert layer.lora_b.count_nonzero() == 0


def test_a_depends_on_the_given_generator_alone() -> None:
    drawn = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        drawn.append(adapt(small_net("swin"), "all").parameters)
        assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one, other) for one, other in zip(*drawn, strict=True))


def test_what_nothing_depends_on_is_left_as_it_was() -> None:
    class Body(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.called, self.read, self.unused = (nn.Linear(4, 4) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            return linear(self.called(x), self.read.weight)

    backbone, x = wrap(Body()), normal(2, 4)
    added = adapt(backbone, "all", x)
    assert (added.read, added.unused) == (["read"], ["unused"])
    assert type(backbone.body.unused) is nn.Linear
    assert [name for name, _ in backbone.body.named_parameters() if "unused" in name] == [
        "unused.weight",
        "unused.bias",
    ]
    assert len(added.parameters) == 4
    with pytest.raises(UserError, match="no layer for low-rank updates"):
        adapt(wrap(Body()), ("unused",), x)
