"""The frozen lower part of a network: found by layer group, run once over all examples, and skipped afterwards.

Where the lowest layer groups are frozen and the inputs are the same in every epoch, the output of those groups for an
example is the same in every epoch. It is computed once; training then runs only the part from the first layer group
that is trained.
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
from tlbench.training.forward_hooks import StopForward, hooks, run_until_stopped

_BATCH_SIZE = 256
_MAX_BYTES = 2**30  # of cached outputs
_PROBE_EXAMPLES = 4  # examples on which the shortened network must agree with the whole one
_PROBE_TOKENS = 2  # length of the first of them if they are texts
_TOLERANCE = 1e-3  # relative to the largest feature: rounding differences between kernels


class PrefixOutputs:
    """The outputs of the frozen layer groups for every example, which take the place of the raw inputs.

    Args:
        z: Outputs (n, ...), on the device.
        y: Labels (n,).
        text: Whether they are hidden states of texts (n, L, width), zero behind the end of a text. Batches are then
            cut to their longest text.
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
        """Return outputs (b, ...) and labels (b,) at some positions (b,)."""
        positions = rows.to(self._z.device)
        z = self._z[positions]
        if self.lengths is not None:
            z = z[:, : round_length(int(self.lengths[rows.cpu()].max()))]
        return z, self.y[positions]


@dataclass
class _SkippedOutputs:
    """What the placeholders of a shortened network return in the current forward pass.

    Attributes:
        z: The output of the last skipped submodule (B, ...).
        filler: The value of the outputs of the other skipped submodules, and of the inputs.
    """

    z: Tensor
    filler: float = 0.0

    def fill(self, like: Tensor) -> Tensor:
        """Return a tensor full of the filler, with the shape and dtype of ``like`` but the batch size of ``z``."""
        value = self.filler if like.is_floating_point() else int(self.filler != 0)
        return torch.full((len(self.z), *like.shape[1:]), value, dtype=like.dtype, device=self.z.device)


class NetworkSuffix(nn.Module):
    """A classifier from a layer group on; it shares all modules that it contains with the whole classifier.

    The forward code of the body runs as it is; the skipped submodules are replaced by placeholders, of which the last
    returns the input of this module.

    Args:
        model: The whole classifier.
        outputs: The output of each skipped submodule of the body for a few examples, in the order in which they run.
        prepared: The prepared inputs of the body for the same examples.
    """

    def __init__(self, model: Classifier, outputs: Mapping[str, Tensor], prepared: Tensor) -> None:
        super().__init__()
        *before, last = outputs
        body = model.backbone.body
        self.skipped = _SkippedOutputs(outputs[last])
        placeholders: dict[str, nn.Module] = {
            name: _FilledPlaceholder(body.get_submodule(name), self.skipped, outputs[name]) for name in before
        }
        placeholders[last] = _InputPlaceholder(body.get_submodule(last), self.skipped)
        self._prepared = prepared
        self.body = _replace_submodules(body, placeholders)
        self.head = model.head

    def encode(self, z: Tensor) -> Tensor:
        """Return features (B, out_dim) of the outputs of the frozen groups (B, ...)."""
        self.skipped.z = z
        features: Tensor = self.body(self.skipped.fill(self._prepared))
        return features

    def forward(self, z: Tensor) -> Tensor:
        """Return logits (B, classes) of the outputs of the frozen groups (B, ...)."""
        logits: Tensor = self.head(self.encode(z))
        return logits


class _Placeholder(nn.Module):
    """Takes the place of a skipped submodule; forward code around it can read that submodule's attributes."""

    def __init__(self, skipped_module: nn.Module, skipped: _SkippedOutputs) -> None:
        super().__init__()
        self.__dict__["_skipped_module"] = skipped_module  # not registered as a submodule
        self._skipped = skipped

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_skipped_module"], name)


class _InputPlaceholder(_Placeholder):
    """Returns the output of the last skipped submodule, which is the input of the suffix."""

    def forward(self, *_: object, **__: object) -> Tensor:
        return self._skipped.z


class _FilledPlaceholder(_Placeholder):
    """Returns a tensor of the right shape, since forward code between submodules may read shapes."""

    def __init__(self, skipped_module: nn.Module, skipped: _SkippedOutputs, like: Tensor) -> None:
        super().__init__(skipped_module, skipped)
        self._like = like

    def forward(self, *_: object, **__: object) -> Tensor:
        return self._skipped.fill(self._like)


def frozen_depth(backbone: Backbone) -> int:
    """Return how many layer groups, from the stem on, have no trainable parameter."""
    frozen = [not any(p.requires_grad for p in group) for group in backbone.group_parameters()]
    return frozen.index(False) if False in frozen else len(frozen)


def frozen_modules(backbone: Backbone, depth: int) -> dict[str, nn.Module]:
    """Return the submodules of the body that form the first ``depth`` layer groups, by name."""
    modules = dict(backbone.body.named_modules())
    return {name: modules[name] for group in backbone.layer_groups[:depth] for name in group if name in modules}


@torch.no_grad()
def cache_prefix(
    model: Classifier, examples: Sequence[IndexedExamples]
) -> tuple[nn.Module, list[PrefixOutputs]] | None:
    """Return the classifier without its frozen layer groups, and the outputs of these groups for each split.

    Args:
        model: The classifier, on its device.
        examples: The splits, none empty.

    Returns:
        The shortened classifier and the outputs. None where no layer group is frozen, where the outputs would take too
        much memory, or where the network is not a chain of its layer groups: the outputs of the frozen groups must
        depend on no trained parameter, and everything that follows only on the output of the last frozen group.
    """
    backbone = model.backbone
    depth = frozen_depth(backbone)
    whole = depth == len(backbone.layer_groups)
    if depth == 0 and not whole:
        return None
    model.eval()
    prefix = frozen_modules(backbone, depth)
    x = _probe_inputs(backbone, examples[0])
    outputs, features = _record_outputs(backbone, prefix, x)
    if whole:
        if features.requires_grad:
            return None
        return model.head, [PrefixOutputs(_encode_all(backbone, split), split.y) for split in examples]
    prepared = backbone.prepare(x)
    if not outputs or outputs.keys() != prefix.keys() or not isinstance(prepared, Tensor):
        return None
    text = backbone.vocabulary is not None
    last, output = list(outputs.items())[-1]
    # The probe texts may be shorter than those of the split.
    values = output[0, 0].numel() * examples[0].shape[-1] if text else output[0].numel()
    if sum(map(len, examples)) * values * output.element_size() > _MAX_BYTES:
        return None
    suffix = NetworkSuffix(model, outputs, prepared).eval()
    if output.requires_grad or not _reproduces(suffix, output, features):
        return None
    encode = _ForwardUntil(backbone, prefix[last])
    return suffix, [PrefixOutputs(_encode_all(encode, split), split.y, text) for split in examples]


def _probe_inputs(backbone: Backbone, examples: IndexedExamples) -> Tensor:
    """Return a few raw inputs; of texts the first is shortened, since the effect of a padding mask shows only there."""
    x, _ = examples.take(torch.arange(min(_PROBE_EXAMPLES, len(examples))))
    if backbone.vocabulary is not None:
        x = x.clone()
        x[0, _PROBE_TOKENS:] = backbone.vocabulary.pad
    return x


@torch.enable_grad()
def _record_outputs(
    backbone: Backbone, modules: Mapping[str, nn.Module], x: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the output of each module, in the order in which they run, and the features (B, out_dim).

    There are no outputs if a module runs twice or returns anything but one tensor with the batch size of the inputs. A
    tensor that depends on a trained parameter requires a gradient.
    """
    outputs: dict[str, Tensor] = {}
    unsuitable: list[str] = []

    def recorder(name: str) -> Callable[..., None]:
        def record(module: nn.Module, args: object, output: object) -> None:
            if name in outputs or not isinstance(output, Tensor) or len(output) != len(x):
                unsuitable.append(name)
            else:
                outputs[name] = output.clone()  # later code may change it in place

        return record

    with hooks(module.register_forward_hook(recorder(name)) for name, module in modules.items()):
        features: Tensor = backbone(x)
    return ({} if unsuitable else outputs), features


def _reproduces(suffix: NetworkSuffix, output: Tensor, features: Tensor) -> bool:
    """Return whether the suffix computes the features (B, out_dim) of the whole network, whatever the filler is.

    NaN as a filler shows any use of skipped outputs, as no factor of zero hides it; zero shows a mask that is computed
    from the inputs.
    """
    for filler in (math.nan, 0.0):
        suffix.skipped.filler = filler
        try:
            own = suffix.encode(output.clone())
        except Exception:  # a network whose forward code fails on placeholders is run whole
            return False
        if own.shape != features.shape or not (own - features).abs().max() <= _TOLERANCE * features.abs().max():
            return False
    return True


class _ForwardUntil:
    """Runs a backbone until one of its submodules has run, and returns that submodule's output."""

    def __init__(self, backbone: Backbone, module: nn.Module) -> None:
        self._backbone = backbone
        self._module = module

    def __call__(self, x: Tensor) -> Tensor:
        outputs: list[Tensor] = []

        def stop(module: nn.Module, args: object, output: Tensor) -> None:
            outputs.append(output)
            raise StopForward

        with hooks([self._module.register_forward_hook(stop)]):
            run_until_stopped(lambda: self._backbone(x))
        return outputs[0]


def _encode_all(encode: Callable[[Tensor], Tensor], examples: IndexedExamples) -> Tensor:
    pieces = [encode(examples.take(rows)[0]) for rows in torch.arange(len(examples)).split(_BATCH_SIZE)]
    if len({piece.shape[1:] for piece in pieces}) > 1:  # batches of texts of different length
        longest = max(piece.shape[1] for piece in pieces)
        pieces = [pad(piece, (0, 0, 0, longest - piece.shape[1])) for piece in pieces]
    return torch.cat(pieces)


def _replace_submodules(root: nn.Module, replacements: Mapping[str, nn.Module]) -> nn.Module:
    """Return a module tree with some submodules replaced; all others are shared, and the given tree is not changed."""
    if "" in replacements:
        return replacements[""]
    replaced = copy.copy(root)
    replaced._modules = dict(root._modules)
    for name, child in root.named_children():
        inner = {
            key.removeprefix(name).removeprefix("."): module
            for key, module in replacements.items()
            if key == name or key.startswith(f"{name}.")
        }
        if inner:
            replaced._modules[name] = _replace_submodules(child, inner)
    return replaced
