"""The frozen bottom of a network: found by layer group, run once over the examples, and left out from then on.

Where the lowest layer groups are frozen and the inputs are fixed, what those groups make of an example is the same
in every epoch. It is computed once; training then starts at the first group that learns.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from tlbench.backbones.backbone import Backbone, round_length
from tlbench.training.batches import IndexedExamples
from tlbench.training.classifier import Classifier

_BATCH = 256
_LARGEST = 2**30  # bytes of kept outputs
_CHECKED = 4  # examples on which the shortened network must agree with the whole one
_SHORT = 2  # tokens of a text among them
_TOLERANCE = 1e-3  # of the largest feature: rounding, where the two choose other kernels


class PrefixOutputs:
    """The outputs of the frozen groups for every example, in place of the raw inputs.

    Args:
        z: Outputs (n, ...), on the device.
        y: Labels (n,).
        text: Whether they are hidden states of texts (n, L, width), zero where a text has ended: those of a batch
            are then no longer than its longest text.
    """

    def __init__(self, z: Tensor, y: Tensor, text: bool = False) -> None:
        self._z = z
        self.y = y
        self.lengths = z.any(-1).sum(1).cpu() if text else None

    @property
    def shape(self) -> torch.Size:
        """Shape of one output."""
        return self._z.shape[1:]

    def __len__(self) -> int:
        return len(self._z)

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs (b, ...) and labels (b,) of some positions (b,)."""
        there = rows.to(self._z.device)
        z = self._z[there]
        if self.lengths is not None:
            z = z[:, : round_length(int(self.lengths[rows.cpu()].max()))]
        return z, self.y[there]


@dataclass
class _Call:
    """What the placeholders of a shortened network are told.

    Attributes:
        z: What the last of the left-out submodules made (B, ...).
        filler: What stands for the outputs of the others and for the inputs.
    """

    z: Tensor
    filler: float = 0.0

    def fill(self, like: Tensor) -> Tensor:
        """Return a tensor (B, ...) shaped as ``like`` is for its own batch, full of what says nothing."""
        value = self.filler if like.is_floating_point() else int(self.filler != 0)
        return torch.full((len(self.z), *like.shape[1:]), value, dtype=like.dtype, device=self.z.device)


class NetworkSuffix(nn.Module):
    """A classifier from a layer group on; shares every trainable module with the classifier it was made from.

    Args:
        model: The whole classifier.
        outputs: What each submodule of the body that is left out makes of a few examples, in the order in which they
            act; what the last makes is given to this module.
        prepared: The same examples as the body reads them.
    """

    def __init__(self, model: Classifier, outputs: Mapping[str, Tensor], prepared: Tensor) -> None:
        super().__init__()
        *before, last = outputs
        body = model.backbone.body
        self.call = _Call(outputs[last])
        placeholders: dict[str, nn.Module] = {
            name: _Filled(body.get_submodule(name), self.call, outputs[name]) for name in before
        }
        placeholders[last] = _Given(body.get_submodule(last), self.call)
        self._prepared = prepared
        self.body = _graft(body, placeholders)
        self.head = model.head

    def encode(self, z: Tensor) -> Tensor:
        """Return features (B, out_dim) of what the frozen groups made of the inputs (B, ...)."""
        self.call.z = z
        return self.body(self.call.fill(self._prepared))

    def forward(self, z: Tensor) -> Tensor:
        """Return logits (B, classes) of what the frozen groups made of the inputs (B, ...)."""
        return self.head(self.encode(z))


class _Placeholder(nn.Module):
    """Stands where a left-out submodule stood; code around it may look at that one's attributes."""

    def __init__(self, absent: nn.Module, call: _Call) -> None:
        super().__init__()
        self.__dict__["_absent"] = absent  # hidden from modules and parameters
        self._call = call

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_absent"], name)


class _Given(_Placeholder):
    """What the last of them made, as it is told."""

    def forward(self, *_: object, **__: object) -> Tensor:
        return self._call.z


class _Filled(_Placeholder):
    """Something of the shape that any other made, since code between submodules may look at shapes."""

    def __init__(self, absent: nn.Module, call: _Call, like: Tensor) -> None:
        super().__init__(absent, call)
        self._like = like

    def forward(self, *_: object, **__: object) -> Tensor:
        return self._call.fill(self._like)


def frozen_depth(backbone: Backbone) -> int:
    """Return how many layer groups, from the stem on, hold no trainable parameter."""
    frozen = [not any(p.requires_grad for p in group) for group in backbone.group_parameters()]
    return frozen.index(False) if False in frozen else len(frozen)


def frozen_modules(backbone: Backbone, depth: int) -> dict[str, nn.Module]:
    """Return the submodules of the body that the first ``depth`` layer groups are made of, by name."""
    modules = dict(backbone.body.named_modules())
    return {name: modules[name] for group in backbone.layer_groups[:depth] for name in group if name in modules}


@torch.no_grad()
def cache_prefix(
    model: Classifier, examples: Sequence[IndexedExamples]
) -> tuple[nn.Module, list[PrefixOutputs]] | None:
    """Return the classifier without its frozen groups, and for each split what these make of its examples.

    None where nothing is frozen, where the outputs would take too much memory, or where the network is not a chain
    of its layer groups: what the frozen ones make must depend on nothing that is trained, and what follows on nothing
    but the output of the last.

    Args:
        model: The classifier, on its device.
        examples: The splits wanted, none empty.
    """
    backbone = model.backbone
    depth = frozen_depth(backbone)
    whole = depth == len(backbone.layer_groups)
    if depth == 0 and not whole:
        return None
    model.eval()
    parts = frozen_modules(backbone, depth)
    x, _ = examples[0].take(torch.arange(min(_CHECKED, len(examples[0]))))
    text = backbone.vocabulary is not None
    if text:
        x = x.clone()
        x[0, _SHORT:] = backbone.vocabulary.pad  # a mask that is made from the ids shows in a padded text only
    outputs, features = _record(backbone, parts, x)
    if whole:
        fixed = not features.requires_grad
        return (
            (model.head, [PrefixOutputs(_outputs(backbone, split), split.y) for split in examples]) if fixed else None
        )
    prepared = backbone.prepare(x)
    if not outputs or outputs.keys() != parts.keys() or not isinstance(prepared, Tensor):
        return None
    last, given = list(outputs.items())[-1]
    numbers = given[0, 0].numel() * examples[0].shape[-1] if text else given[0].numel()  # those few may be short
    if sum(map(len, examples)) * numbers * given.element_size() > _LARGEST:
        return None
    rest = NetworkSuffix(model, outputs, prepared).eval()
    if given.requires_grad or not _reproduces(rest, given, features):
        return None
    return rest, [PrefixOutputs(_outputs(_Until(backbone, parts[last]), split), split.y, text) for split in examples]


@torch.enable_grad()
def _record(backbone: Backbone, parts: Mapping[str, nn.Module], x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Return what each part makes of inputs, in the order in which they act, and the features (B, out_dim).

    Empty where a part acts twice or makes something other than one tensor a batch. Whatever depends on a parameter
    that is trained requires a gradient.
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
        features = backbone(x)
    finally:
        for handle in handles:
            handle.remove()
    return ({} if odd else outputs), features


def _reproduces(rest: NetworkSuffix, given: Tensor, features: Tensor) -> bool:
    """Say whether the shortened network makes the features (B, out_dim) that the whole one made.

    It must do so whatever stands for what is left out. One filler is not a number, which no factor of zero hides; the
    other is zero, and tells of a mask that is made from the inputs.
    """
    for filler in (math.nan, 0.0):
        rest.call.filler = filler
        try:
            found = rest.encode(given.clone())
        except Exception:  # a network that does not run in part is run whole
            return False
        if found.shape != features.shape or not (found - features).abs().max() <= _TOLERANCE * features.abs().max():
            return False
    return True


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


def _outputs(encode: Callable[[Tensor], Tensor], examples: IndexedExamples) -> Tensor:
    pieces = [encode(examples.take(rows)[0]) for rows in torch.arange(len(examples)).split(_BATCH)]
    if len({piece.shape[1:] for piece in pieces}) > 1:  # texts of other lengths
        longest = max(piece.shape[1] for piece in pieces)
        pieces = [pad(piece, (0, 0, 0, longest - piece.shape[1])) for piece in pieces]
    return torch.cat(pieces)


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
