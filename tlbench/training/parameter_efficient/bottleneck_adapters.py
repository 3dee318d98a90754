"""Bottleneck adapters: small two-layer networks beside the sublayers or after the blocks of a backbone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone
from tlbench.core.errors import UserError
from tlbench.training.forward_hooks import hooks
from tlbench.training.parameter_efficient.example_forward import example_features

Placement = Literal["houlsby", "pfeiffer", "parallel"]
Activation = Literal["gelu", "relu", "silu"]

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": nn.functional.gelu,
    "relu": nn.functional.relu,
    "silu": nn.functional.silu,
}


@dataclass(frozen=True)
class AdapterDesign:
    """The common properties of all adapters of one network.

    Attributes:
        placement: Position in transformer blocks: ``houlsby`` after the attention and the feed-forward sublayer,
            ``pfeiffer`` after the feed-forward sublayer, ``parallel`` beside it, with its input.
        reduction: Number of channels over the width of the bottleneck.
        scale: Factor of the adapter's output.
        activation: Activation between the two layers.
    """

    placement: Placement
    reduction: int
    scale: float
    activation: Activation


class Bottleneck(nn.Module):
    """``up(f(down(x)))``, which is zero until ``up`` has been trained.

    ``up`` is initialised to zero, ``down`` uniformly in +-1 / sqrt(inputs), both weights and biases. So initially the
    gradient of ``up`` is not zero, and that of ``down`` is.

    Args:
        inputs: Number of input channels.
        outputs: Number of output channels.
        width: Width of the bottleneck.
        activation: Activation between the two layers.
        channels_first: Whether inputs are maps (B, inputs, H, W), processed by 1 x 1 convolutions, and not
            (..., inputs).
        generator: Generator of ``down``.
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
            for parameter in self.down.parameters():
                parameter.uniform_(-(inputs**-0.5), inputs**-0.5, generator=generator)
            for parameter in self.up.parameters():
                parameter.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., outputs) or (B, outputs, H, W)."""
        y: Tensor = self.up(self._activation(self.down(x)))
        return y


class AdaptedModule(nn.Module):
    """A module with an adapter, whose output is added to the module's output (of a tuple, to its first element).

    Args:
        inner: The module.
        adapter: Its adapter.
        scale: Factor of the adapter's output.
        parallel: Whether the adapter's input is the module's first input, not its output.
        tap: Where a parallel adapter gets its input if it is that of an earlier module.
    """

    def __init__(
        self, inner: nn.Module, adapter: nn.Module, scale: float, parallel: bool, tap: InputTap | None = None
    ) -> None:
        super().__init__()
        self.inner = inner
        self.adapter = adapter
        self._scale = scale
        self._parallel = parallel
        self._tap = () if tap is None else (tap,)  # in a tuple, so that it is no submodule of this module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the module's output with the adapter's added."""
        output = self.inner(*args, **kwargs)
        h = _first(output)
        adapter_input = _input(args, kwargs) if self._parallel else h
        if self._tap:
            adapter_input = self._tap[0].pop()
        h = torch.add(h, self.adapter(adapter_input), alpha=self._scale)
        return h if isinstance(output, Tensor) else type(output)((h, *output[1:]))


class InputTap(nn.Module):
    """A module whose first input is stored until the parallel adapter that uses it has read it.

    Args:
        inner: The module.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self._input: Tensor | None = None

    def pop(self) -> Tensor:
        """Return the stored input, and release it."""
        stored, self._input = self._input, None
        assert stored is not None
        return stored

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the module's output."""
        self._input = _input(args, kwargs)
        return self.inner(*args, **kwargs)


def add_adapters(
    backbone: Backbone, x: Tensor, design: AdapterDesign, generator: torch.Generator
) -> dict[str, AdaptedModule]:
    """Insert adapters into a backbone, in place, and return them by the name of the module that each adapts.

    In transformers they are placed at the sublayers of each block. A block without sublayers, as in convolutional
    networks, gets one adapter after it, whatever the placement.

    Args:
        backbone: The backbone; its function does not change until the adapters are trained.
        x: A few raw inputs, from which shapes are determined.
        design: Placement, width, scale and activation of the adapters.
        generator: Generator of the initial weights.

    Raises:
        UserError: There is no place for an adapter, or there are adapters already.
    """
    if any(True for _ in _adapted_modules(backbone)):
        raise UserError(f"{backbone.info.label}: has adapters already", "remove them first")
    sites = dict(_sites(backbone, design.placement))
    taps = _tap_names(backbone, design.placement)
    shapes = _shapes(backbone, [*sites, *taps.values()], x)
    added = {}
    for name in [name for name in shapes if name in sites]:
        read, written = shapes[taps.get(name, name)][0], shapes[name][1]
        inner = backbone.body.get_submodule(name)
        is_sublayer = sites[name]
        parallel = is_sublayer and design.placement == "parallel"
        channels_first = not is_sublayer and _channels_first(inner, written)
        channels = written[1 if channels_first else -1]
        inputs = read[-1] if parallel else channels
        width = max(1, channels // design.reduction)
        adapter = Bottleneck(inputs, channels, width, design.activation, channels_first, generator)
        adapter.to(next(backbone.parameters()))
        tap = _insert_tap(backbone, taps[name]) if name in taps else None
        added[name] = AdaptedModule(inner, adapter, design.scale, parallel, tap)
        backbone.replace(name, added[name])
    if not added:
        raise UserError(f"{backbone.info.label}: no block to put an adapter behind")
    return added


def remove_adapters(backbone: Backbone) -> None:
    """Remove all adapters from a backbone, in place."""
    for name, module in list(backbone.body.named_modules()):
        if isinstance(module, AdaptedModule | InputTap):
            backbone.replace(name, module.inner)


def _adapted_modules(backbone: Backbone) -> Iterator[AdaptedModule]:
    return (module for module in backbone.body.modules() if isinstance(module, AdaptedModule))


def _sites(backbone: Backbone, placement: Placement) -> Iterator[tuple[str, bool]]:
    """Yield the names of the modules to adapt, and whether each is a sublayer (else a block)."""
    for pair in backbone.sublayers:
        if placement == "houlsby":
            yield pair.attention_end or pair.attention, True
        yield pair.feed_forward, True
    for block in backbone.blocks:
        if not any(pair.attention.startswith(f"{block}.") for pair in backbone.sublayers):
            yield block, False


def _tap_names(backbone: Backbone, placement: Placement) -> dict[str, str]:
    """Return the module whose input is the sublayer's input, by the adapted module, where the two differ."""
    if placement != "parallel":
        return {}
    return {one.feed_forward: one.feed_forward_start for one in backbone.sublayers if one.feed_forward_start}


def _insert_tap(backbone: Backbone, name: str) -> InputTap:
    tap = InputTap(backbone.body.get_submodule(name))
    backbone.replace(name, tap)
    return tap


@torch.no_grad()
def _shapes(backbone: Backbone, names: list[str], x: Tensor) -> dict[str, tuple[torch.Size, torch.Size]]:
    """Return the shapes of input and output of each named module, in the order in which they run."""
    shapes: dict[str, tuple[torch.Size, torch.Size]] = {}

    def record(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any, name: str) -> None:
        shapes[name] = (_input(args, kwargs).shape, _first(output).shape)

    with hooks(
        backbone.body.get_submodule(name).register_forward_hook(partial(record, name=name), with_kwargs=True)
        for name in names
    ):
        example_features(backbone, x)
    return shapes


def _input(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    return _first(args[0] if args else next(iter(kwargs.values())))


def _first(value: Tensor | tuple[Any, ...]) -> Tensor:
    first: Tensor = value if isinstance(value, Tensor) else value[0]
    return first


def _channels_first(block: nn.Module, shape: torch.Size) -> bool:
    """Return whether the output of a block has its channels on axis 1.

    Outputs with four axes have, unless only the size of the last axis is that of a parameter of the block.
    """
    if len(shape) != 4:
        return False
    sizes = {parameter.shape[0] for parameter in block.parameters()}
    return shape[1] in sizes or shape[-1] not in sizes


@dataclass(frozen=True)
class AdapterFacts:
    """What decides an adapter's function beside its weights; a module with it can be made again.

    Attributes:
        module: Name of the module that it adapts.
        inputs: Width of what it reads.
        outputs: Width of what it writes.
        width: Width of the bottleneck.
        scale: Factor of its output.
        activation: Between its two layers.
        parallel: Whether it reads the module's input.
        channels_first: Whether it works on maps.
        tap: Name of the module whose input it reads in place of the module's own; empty for none.
    """

    module: str
    inputs: int
    outputs: int
    width: int
    scale: float
    activation: Activation
    parallel: bool
    channels_first: bool
    tap: str


def adapter_facts(backbone: Backbone) -> list[AdapterFacts]:
    """Return the facts of all adapters inside a backbone, outer modules before those in them."""
    taps = {id(module): name for name, module in backbone.body.named_modules() if isinstance(module, InputTap)}
    names = {function: name for name, function in _ACTIVATIONS.items()}
    found = []
    for name, module in backbone.body.named_modules():
        if isinstance(module, AdaptedModule):
            adapter = cast("Bottleneck", module.adapter)
            outputs, width = adapter.up.weight.shape[:2]
            facts = AdapterFacts(
                module=name,
                inputs=adapter.down.weight.shape[1],
                outputs=outputs,
                width=width,
                scale=module._scale,
                activation=cast("Activation", names[adapter._activation]),
                parallel=module._parallel,
                channels_first=isinstance(adapter.down, nn.Conv2d),
                tap=taps[id(module._tap[0])] if module._tap else "",
            )
            found.append(facts)
    return found
