"""Bottleneck adapters: small two-layer networks put beside the sublayers or behind the blocks of a backbone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone
from tlbench.core.errors import UserError

Placement = Literal["houlsby", "pfeiffer", "parallel"]
Activation = Literal["gelu", "relu", "silu"]

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": nn.functional.gelu,
    "relu": nn.functional.relu,
    "silu": nn.functional.silu,
}


@dataclass(frozen=True)
class AdapterDesign:
    """What the adapters of one network have in common.

    Attributes:
        placement: Where they stand in transformer blocks: ``houlsby`` behind attention and feed-forward sublayer,
            ``pfeiffer`` behind the feed-forward sublayer, ``parallel`` beside it, reading its input.
        reduction: Channels over the width of the bottleneck.
        scale: Factor of what an adapter adds.
        activation: Between the two layers.
    """

    placement: Placement
    reduction: int
    scale: float
    activation: Activation


class Bottleneck(nn.Module):
    """``up(f(down(x)))``, zero until ``up`` has been trained.

    ``up`` starts at zero, ``down`` uniform in +-1 / sqrt(inputs), weights and biases alike. So at the start the
    gradient of ``up`` is not zero, and that of ``down`` is.

    Args:
        inputs: Channels read.
        outputs: Channels written.
        width: Channels between.
        activation: Between the two layers.
        channels_first: Whether it reads maps (B, inputs, H, W), by 1 x 1 convolutions, instead of (..., inputs).
        generator: The source of ``down``.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int,
        activation: Activation,
        channels_first: bool,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        layer: Callable[[int, int], nn.Linear | nn.Conv2d]
        layer = partial(nn.Conv2d, kernel_size=1) if channels_first else nn.Linear
        self.down = layer(inputs, width)
        self.up = layer(width, outputs)
        self._activation = _ACTIVATIONS[activation]
        with torch.no_grad():
            for start in self.down.parameters():
                start.uniform_(-(inputs**-0.5), inputs**-0.5, generator=generator)
            for start in self.up.parameters():
                start.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., outputs), or (B, outputs, H, W)."""
        return self.up(self._activation(self.down(x)))


class AdaptedModule(nn.Module):
    """A module whose output, of a tuple the first element, an adapter adds to; all else passes through.

    Args:
        inner: The module.
        adapter: Its adapter.
        scale: Factor of what the adapter adds.
        parallel: Whether the adapter reads the module's first input instead of its output.
        tap: Where a parallel adapter finds what it reads, if it is the input of a module before.
    """

    def __init__(
        self, inner: nn.Module, adapter: nn.Module, scale: float, parallel: bool, tap: InputTap | None = None
    ) -> None:
        super().__init__()
        self.inner = inner
        self.adapter = adapter
        self._scale = scale
        self._parallel = parallel
        self._tap = () if tap is None else (tap,)  # a part of the network, not of this module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the module returns, adapted."""
        output = self.inner(*args, **kwargs)
        h = _first(output)
        read = _input(args, kwargs) if self._parallel else h
        if self._tap:
            read = self._tap[0].taken()
        h = torch.add(h, self.adapter(read), alpha=self._scale)
        return h if isinstance(output, Tensor) else type(output)((h, *output[1:]))


class InputTap(nn.Module):
    """A module whose first input is kept until the adapter beside it has read it.

    Args:
        inner: The module.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self._seen: Tensor | None = None

    def taken(self) -> Tensor:
        """Return the input, and keep it no longer."""
        seen, self._seen = self._seen, None
        assert seen is not None
        return seen

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the module returns."""
        self._seen = _input(args, kwargs)
        return self.inner(*args, **kwargs)


def add_adapters(
    backbone: Backbone, x: Tensor, design: AdapterDesign, generator: torch.Generator
) -> dict[str, AdaptedModule]:
    """Put adapters into a backbone, in place; return them by the name of the module that each adapts.

    In a transformer they stand at the sublayers of each block. A block that has no sublayers, as those of
    convolutional networks, gets one behind it, whatever the placement.

    Args:
        backbone: The backbone; what it computes stays the same until the adapters are trained.
        x: A few raw inputs, from which the shapes are found.
        design: What they look like.
        generator: The source of initial weights.

    Raises:
        UserError: There is no place for an adapter, or there are adapters already.
    """
    if any(True for _ in _adapted(backbone)):
        raise UserError(f"{backbone.info.label}: has adapters already", "remove them first")
    places = dict(_places(backbone, design.placement))
    starts = _starts(backbone, design.placement)
    shapes = _shapes(backbone, [*places, *starts.values()], x)
    added = {}
    for name in [name for name in shapes if name in places]:
        read, written = shapes[starts.get(name, name)][0], shapes[name][1]
        inner = backbone.body.get_submodule(name)
        parallel = places[name] and design.placement == "parallel"
        first = not places[name] and _channels_first(inner, written)
        channels = written[1 if first else -1]
        inputs = read[-1] if parallel else channels
        width = max(1, channels // design.reduction)
        adapter = Bottleneck(inputs, channels, width, design.activation, first, generator)
        adapter.to(next(backbone.parameters()))
        tap = _tapped(backbone, starts[name]) if name in starts else None
        added[name] = AdaptedModule(inner, adapter, design.scale, parallel, tap)
        backbone.replace(name, added[name])
    if not added:
        raise UserError(f"{backbone.info.label}: no block to put an adapter behind")
    return added


def remove_adapters(backbone: Backbone) -> None:
    """Take all adapters out of a backbone again, in place."""
    for name, module in list(backbone.body.named_modules()):
        if isinstance(module, AdaptedModule | InputTap):
            backbone.replace(name, module.inner)


def _adapted(backbone: Backbone) -> Iterator[tuple[str, AdaptedModule]]:
    return ((name, module) for name, module in backbone.body.named_modules() if isinstance(module, AdaptedModule))


def _places(backbone: Backbone, placement: Placement) -> Iterator[tuple[str, bool]]:
    """Yield the names of the modules to adapt, and whether each is a sublayer."""
    for pair in backbone.sublayers:
        if placement == "houlsby":
            yield pair.attention_end or pair.attention, True
        yield pair.feed_forward, True
    for block in backbone.blocks:
        if not any(pair.attention.startswith(f"{block}.") for pair in backbone.sublayers):
            yield block, False


def _starts(backbone: Backbone, placement: Placement) -> dict[str, str]:
    """Return, by the module that an adapter stands beside, the one before it whose input is the sublayer's."""
    if placement != "parallel":
        return {}
    return {one.feed_forward: one.feed_forward_start for one in backbone.sublayers if one.feed_forward_start}


def _tapped(backbone: Backbone, name: str) -> InputTap:
    tap = InputTap(backbone.body.get_submodule(name))
    backbone.replace(name, tap)
    return tap


@torch.no_grad()
def _shapes(backbone: Backbone, names: list[str], x: Tensor) -> dict[str, tuple[torch.Size, torch.Size]]:
    """Return the shapes of what each named module reads and writes, in the order in which they act."""
    shapes: dict[str, tuple[torch.Size, torch.Size]] = {}

    def look(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any, name: str) -> None:
        shapes[name] = (_input(args, kwargs).shape, _first(output).shape)

    handles = [
        backbone.body.get_submodule(name).register_forward_hook(partial(look, name=name), with_kwargs=True)
        for name in names
    ]
    was_training = backbone.training
    try:
        backbone.eval()(x.to(next(backbone.parameters()).device))
    finally:
        backbone.train(was_training)
        for handle in handles:
            handle.remove()
    return shapes


def _input(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    return _first(args[0] if args else next(iter(kwargs.values())))


def _first(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else value[0]


def _channels_first(block: nn.Module, shape: torch.Size) -> bool:
    """Say whether the output of a block has its channels on axis 1: maps have, unless only the last axis fits it."""
    if len(shape) != 4:
        return False
    sizes = {parameter.shape[0] for parameter in block.parameters()}
    return shape[1] in sizes or shape[-1] not in sizes
