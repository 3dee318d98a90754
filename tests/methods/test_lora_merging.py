"""Low-rank updates merged, kept, copied and taken out, without loss."""

from __future__ import annotations

import copy

import pytest
import torch
from low_rank_nets import CASES, RANK, adapt, close, seeded, snapshot, stir, updated_layers
from small_nets import BODIES, images, small_net

from tlbench.core.errors import UserError
from tlbench.training.parameter_efficient.low_rank import (
    add_low_rank,
    load_low_rank_state,
    low_rank_state,
    merge_low_rank,
    remove_low_rank,
    unmerge_low_rank,
)
from tlbench.training.parameter_efficient.low_rank_layers import LowRankDesign


@pytest.mark.parametrize(("name", "targets"), CASES)
def test_merging_gives_the_same_and_unmerging_restores_every_bit(name: str, targets: str) -> None:
    backbone, x = small_net(name).eval(), images()
    added = adapt(backbone, targets)
    stir(added.parameters)
    state, expected = snapshot(backbone), backbone(x)
    merge_low_rank(backbone)
    assert backbone.state_dict().keys() == state.keys()
    with torch.no_grad():
        kept = [p.clone() for p in added.parameters]
        for p in added.parameters:
            p.fill_(torch.nan)
        close(backbone(x), expected)
        for p, value in zip(added.parameters, kept, strict=True):
            p.copy_(value)
    unmerge_low_rank(backbone)
    assert all(torch.equal(value, state[key]) for key, value in backbone.state_dict().items())
    assert not any("merged" in key for key, _ in backbone.named_buffers())
    assert torch.equal(backbone(x), expected)


@pytest.mark.parametrize(("name", "targets"), CASES)
def test_taken_out_again_the_backbone_is_the_base(name: str, targets: str) -> None:
    backbone, x = small_net(name).eval(), images()
    kinds = [type(module) for module in backbone.modules()]
    with torch.no_grad():
        base, expected = snapshot(backbone), backbone(x)
    stir(adapt(backbone, targets).parameters)
    merge_low_rank(backbone)
    remove_low_rank(backbone)
    assert [type(module) for module in backbone.modules()] == kinds
    assert {key: value.shape for key, value in backbone.state_dict().items()} == {k: v.shape for k, v in base.items()}
    assert all(torch.equal(value, base[key]) for key, value in backbone.state_dict().items())
    with torch.no_grad():
        assert torch.equal(backbone(x), expected)
    adapt(backbone, targets)  # there is room again


def test_a_second_time_is_refused() -> None:
    backbone = small_net("vit")
    adapt(backbone, "qv")
    with pytest.raises(UserError, match="has low-rank updates already"):
        adapt(backbone, "attention")
    fresh = small_net("vit")
    adapt(fresh, ("mlp.0",))
    with pytest.raises(UserError, match="has low-rank updates already"):
        add_low_rank(fresh, {}, LowRankDesign(RANK, 1.0), images(), seeded())


@pytest.mark.parametrize("name", BODIES)
def test_a_and_b_are_all_that_must_be_kept(name: str) -> None:
    first, x = small_net(name).eval(), images()
    added = adapt(first, "attention")
    stir(added.parameters)
    kept = low_rank_state(first)
    assert sum(value.numel() for value in kept.values()) == sum(p.numel() for p in added.parameters)
    second = small_net(name).eval()
    adapt(second, "attention")
    merge_low_rank(second)
    load_low_rank_state(second, kept)
    expected = first(x)
    assert torch.equal(second(x), expected)
    stir(added.parameters)
    assert not torch.equal(first(x), expected)
    load_low_rank_state(second, kept)  # copies were kept
    assert torch.equal(second(x), expected)
    with pytest.raises(ValueError, match="not the updates of this backbone"):
        load_low_rank_state(second, dict(list(kept.items())[1:]))
    wider = {key: torch.zeros(99, 99) for key in kept}
    with pytest.raises(ValueError, match="other shapes"):
        load_low_rank_state(second, wider)


@pytest.mark.parametrize("name", BODIES)
def test_copies_do_not_hang_together(name: str) -> None:
    backbone, x = small_net(name).eval(), images()
    added = adapt(backbone, "attention")
    stir(added.parameters)
    expected = backbone(x)
    twin = copy.deepcopy(backbone)
    assert torch.equal(twin(x), expected)
    merge_low_rank(twin)
    assert torch.equal(backbone(x), expected)
    remove_low_rank(twin)
    assert torch.equal(backbone(x), expected)
    assert len(updated_layers(backbone)) == len(added.parameters) // 2
    late = copy.deepcopy(backbone)
    stir(added.parameters)
    assert torch.equal(late(x), expected)
