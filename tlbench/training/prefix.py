"""The frozen bottom of a network: found by layer group, run once over the examples, and left out from then on.

Where the lowest layer groups are frozen and the inputs are fixed, what those groups make of an example is the same
in every epoch. It is computed once; training then starts at the first group that learns.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone
from tlbench.training.batches import Indexed
from tlbench.training.classifier import Classifier

_BATCH = 256
_LARGEST = 2**30  # bytes of kept outputs
_CHECKED = 4  # examples on which the shortened network must agree with the whole one


class Kept:
    """The outputs of the frozen groups for every example, in place of the raw inputs.

    Args:
        z: Outputs (n, ...), on the device.
        y: Labels (n,).
    """

    def __init__(self, z: Tensor, y: Tensor) -> None:
        self._z = z
        self.y = y

    @property
    def shape(self) -> torch.Size:
        """Shape of one output."""
        return self._z.shape[1:]

    def __len__(self) -> int:
        return len(self._z)

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs (b, ...) and labels (b,) of some positions (b,)."""
        rows = rows.to(self._z.device)
        return self._z[rows], self.y[rows]


class Rest(nn.Module):
    """A classifier from a layer group on; shares every trainable module with the classifier it was made from.

    Args:
        model: The whole classifier.
        shapes: Shape of one output of each submodule of the body that is left out.
        last: The one of them whose output is given.
        prepared: Shape of one prepared input.
    """

    def __init__(self, model: Classifier, shapes: Mapping[str, torch.Size], last: str, prepared: torch.Size) -> None:
        super().__init__()
        body = model.backbone.body
        placeholders: dict[str, nn.Module] = {
            name: _Zeros(body.get_submodule(name), shape) for name, shape in shapes.items()
        }
        self._given = placeholders[last] = _Given(body.get_submodule(last))
        self._prepared = prepared
        self.body = _graft(body, placeholders)
        self.head = model.head

    def forward(self, z: Tensor) -> Tensor:
        """Return logits (B, classes) of what the frozen groups made of the inputs (B, ...)."""
        self._given.z = z
        return self.head(self.body(z.new_zeros(len(z), *self._prepared)))


class _Placeholder(nn.Module):
    """Stands where a left-out submodule stood; code around it may look at that one's attributes."""

    def __init__(self, absent: nn.Module) -> None:
        super().__init__()
        self.__dict__["_absent"] = absent  # hidden from modules and parameters

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_absent"], name)


class _Given(_Placeholder):
    """What the last of them made, as it is told."""

    z: Tensor

    def forward(self, *_: Tensor) -> Tensor:
        return self.z


class _Zeros(_Placeholder):
    """Zeros of the shape that any other made, since code between submodules may look at shapes."""

    def __init__(self, absent: nn.Module, shape: torch.Size) -> None:
        super().__init__(absent)
        self._shape = shape

    def forward(self, x: Tensor, *_: Tensor) -> Tensor:
        return x.new_zeros(len(x), *self._shape)


def frozen_depth(backbone: Backbone) -> int:
    """Return how many layer groups, from the stem on, hold no trainable parameter."""
    frozen = [not any(p.requires_grad for p in group) for group in backbone.group_parameters()]
    return frozen.index(False) if False in frozen else len(frozen)


def frozen_modules(backbone: Backbone, depth: int) -> dict[str, nn.Module]:
    """Return the submodules of the body that the first ``depth`` layer groups are made of, by name."""
    modules = dict(backbone.body.named_modules())
    return {name: modules[name] for group in backbone.layer_groups[:depth] for name in group if name in modules}


@torch.no_grad()
def keep_prefix(model: Classifier, examples: Sequence[Indexed]) -> tuple[nn.Module, list[Kept]] | None:
    """Return the classifier without its frozen groups, and for each split what these make of its examples.

    None where nothing is frozen, where the outputs would take too much memory, or where the network is not a chain
    of its layer groups: the shortened network must reproduce the whole one on a few examples.

    Args:
        model: The classifier, on its device.
        examples: The splits wanted, none empty.
    """
    model.eval()
    backbone = model.backbone
    depth = frozen_depth(backbone)
    x, _ = examples[0].take(torch.arange(min(_CHECKED, len(examples[0]))))
    if depth == len(backbone.layer_groups):
        return model.head, [Kept(_outputs(backbone, split), split.y) for split in examples]
    if depth == 0:
        return None
    parts = frozen_modules(backbone, depth)
    prepared = backbone.prepare(x)
    outputs, expected = _record(model, parts, x)
    if outputs is None or set(outputs) != set(parts):
        return None
    last, given = list(outputs.items())[-1]
    if sum(map(len, examples)) * given[0].numel() * given.element_size() > _LARGEST:
        return None
    shapes = {name: output.shape[1:] for name, output in outputs.items()}
    rest = Rest(model, shapes, last, prepared.shape[1:]).eval()
    if not torch.allclose(rest(given), expected, rtol=1e-4, atol=1e-5):
        return None
    return rest, [Kept(_outputs(_Until(backbone, parts[last]), split), split.y) for split in examples]


def _record(model: Classifier, parts: Mapping[str, nn.Module], x: Tensor) -> tuple[dict[str, Tensor] | None, Tensor]:
    """Return what each part makes of inputs, in the order in which they act, and the logits (B, classes).

    None where a part acts twice or makes something other than one tensor a batch.
    """
    outputs: dict[str, Tensor] = {}
    odd: list[str] = []

    def watch(name: str) -> Callable[..., None]:
        def see(module: nn.Module, args: object, output: object) -> None:
            if name in outputs or not isinstance(output, Tensor) or len(output) != len(x):
                odd.append(name)
            else:
                outputs[name] = output.clone()  # what follows may change it in place

        return see

    handles = [part.register_forward_hook(watch(name)) for name, part in parts.items()]
    try:
        logits = model(x)
    finally:
        for handle in handles:
            handle.remove()
    return (None if odd else outputs), logits


class _ReachedError(Exception):
    pass


class _Until:
    """Runs a backbone until one of its submodules has acted, and returns that one's output."""

    def __init__(self, backbone: Backbone, part: nn.Module) -> None:
        self._backbone = backbone
        self._part = part

    def __call__(self, x: Tensor) -> Tensor:
        found: list[Tensor] = []

        def stop(module: nn.Module, args: object, output: Tensor) -> None:
            found.append(output)
            raise _ReachedError

        handle = self._part.register_forward_hook(stop)
        try:
            self._backbone(x)
        except _ReachedError:
            pass
        finally:
            handle.remove()
        return found[0]


def _outputs(encode: Callable[[Tensor], Tensor], examples: Indexed) -> Tensor:
    pieces = torch.arange(len(examples)).split(_BATCH)
    return torch.cat([encode(examples.take(rows)[0]) for rows in pieces])


def _graft(root: nn.Module, replacements: Mapping[str, nn.Module]) -> nn.Module:
    """Return a module tree in which some submodules are others; everything else is shared, nothing is changed."""
    if "" in replacements:
        return replacements[""]
    grafted = copy.copy(root)
    grafted._modules = dict(root._modules)
    for name, child in root.named_children():
        inner = {
            key.removeprefix(name).removeprefix("."): module
            for key, module in replacements.items()
            if key == name or key.startswith(f"{name}.")
        }
        if inner:
            grafted._modules[name] = _graft(child, inner)
    return grafted
