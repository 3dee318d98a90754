"""Which networks several episodes may be run through at once: where they may not, nothing else would say so."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy

from tlbench.training.fewshot.episode_batch_norm import EpisodeNorm, use_episode_statistics
from tlbench.training.fewshot.vmap_support import supports_vmap

EPISODES, WAYS = 3, 3


def _net(norm: Callable[[], nn.Module]) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), norm(), nn.Tanh(), nn.Conv2d(4, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(16, WAYS)]
    return nn.Sequential(*layers).double()


def _primitive() -> nn.Module:
    norm = nn.BatchNorm2d(4)
    use_episode_statistics(norm)
    norm.fused = False
    return norm


def _gradients(net: nn.Module, together: bool, second: bool) -> Tensor:
    """MAML's gradient of two steps in a few episodes."""
    generator = torch.Generator().manual_seed(0)
    x, q = torch.randn(2, EPISODES, 7, 1, 6, 6, generator=generator, dtype=torch.float64)
    y, t = torch.randint(0, WAYS, (2, EPISODES, 7), generator=generator)
    start = dict(net.named_parameters())

    def loss(values: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(functional_call(net, values, (x,)), y)

    def one(x: Tensor, y: Tensor, q: Tensor, t: Tensor) -> Tensor:
        values = start
        for _ in range(2):
            slopes = grad(loss)(values, x, y)
            values = {n: v - 0.4 * (slopes[n] if second else slopes[n].detach()) for n, v in values.items()}
        return loss(values, q, t)

    losses = vmap(one)(x, y, q, t) if together else torch.stack([one(*each) for each in zip(x, y, q, t, strict=True)])
    return torch.cat([g.flatten() for g in torch.autograd.grad(losses.sum(), list(net.parameters()))])


def _error(norm: Callable[[], nn.Module], second: bool = True) -> float:
    looped, together = (_gradients(_net(norm), each, second) for each in (False, True))
    return ((looped - together).norm() / looped.norm()).item()


FUSED: dict[str, Callable[[], nn.Module]] = {
    "batch": lambda: nn.BatchNorm2d(4, track_running_stats=False),
    "episode, fused": lambda: _switched(nn.BatchNorm2d(4)),
    "instance": lambda: nn.InstanceNorm2d(4, affine=True),
    "layer": lambda: nn.LayerNorm([4, 4, 4]),
}
RIGHT: dict[str, Callable[[], nn.Module]] = {
    "episode": _primitive,
    "group": lambda: nn.GroupNorm(2, 4),
    "none": nn.Identity,
}


def _switched(norm: nn.Module) -> nn.Module:
    use_episode_statistics(norm)
    return norm


@pytest.mark.parametrize("name", FUSED)
def test_fused_normalisation_misleads_and_is_refused(name: str) -> None:
    """Silently wrong second derivatives of the installed PyTorch: functorch issue 534."""
    assert _error(FUSED[name]) > 1e-6
    assert _error(FUSED[name], second=False) < 1e-12
    assert not supports_vmap(_net(FUSED[name]), torch.randn(2, 1, 6, 6, dtype=torch.float64))


@pytest.mark.parametrize("name", RIGHT)
def test_others_are_right_and_allowed(name: str) -> None:
    assert _error(RIGHT[name]) < 1e-12
    assert supports_vmap(_net(RIGHT[name]), torch.randn(2, 1, 6, 6, dtype=torch.float64))


def test_both_forms_of_an_episodes_normalisation_are_one_function() -> None:
    """As are their first and second derivatives."""
    fused, primitive = (_gradients(_net(norm), False, True) for norm in (FUSED["episode, fused"], RIGHT["episode"]))
    torch.testing.assert_close(fused, primitive, rtol=1e-11, atol=1e-12)


def test_random_numbers_are_refused_in_training_only() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
    assert not supports_vmap(net.train(), torch.randn(2, 3))
    assert supports_vmap(net.eval(), torch.randn(2, 3))


def test_statistics_of_the_first_rows_normalise_the_others() -> None:
    norm = nn.BatchNorm2d(3)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    names = list(norm.state_dict())
    (layer,) = use_episode_statistics(norm)
    assert layer is norm
    layer.support = 5
    support, query = torch.randn(5, 3, 4, 4) + 2, torch.randn(7, 3, 4, 4)
    found = layer(torch.cat([support, query]))
    mean, variance = support.mean((0, 2, 3)), support.var((0, 2, 3), correction=0)
    expected = nn.functional.batch_norm(torch.cat([support, query]), mean, variance, layer.weight, layer.bias)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(layer(support), found[:5])
    assert list(layer.state_dict()) == names
    assert layer.running_mean is not None
    assert not layer.running_mean.any()
    assert int(layer.num_batches_tracked) == 0  # type: ignore[arg-type]


def test_statistics_are_in_single_precision_below_it() -> None:
    layer = nn.BatchNorm1d(2)
    use_episode_statistics(layer)
    assert isinstance(layer, EpisodeNorm)
    x = (torch.randn(400, 2) + 100).bfloat16()
    found = layer(x)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(
        found.float(), nn.functional.batch_norm(x.float(), None, None, training=True), rtol=1e-2, atol=1e-2
    )


def test_normalisation_with_activation_keeps_its_activation() -> None:
    layers = pytest.importorskip("timm.layers")
    norm = layers.BatchNormAct2d(3)
    use_episode_statistics(norm)
    assert (norm(torch.randn(4, 3, 2, 2)) >= 0).all()
