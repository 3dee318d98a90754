"""A network of transformers behind the face of this package's own text encoders, and what its parts are called."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, Literal

from torch import Tensor, nn

from tlbench.backbones.backbone import Sublayers, find_sublayers

_WHOLE = (
    ("attention", "ffn"),
    ("self_attn", "mlp"),
    ("attention", "mlp"),
)  # sublayers that add nothing themselves, by library's names
_SPLIT = ("attention", "intermediate", "output")  # children of a block as BERT has them
_DENSE = ("attention.output.dense", "output.dense")  # what adds to its stream


class Body(nn.Module):
    """Token ids in, hidden states or one vector a text out.

    Args:
        model: A network of transformers; what pools its states is taken off.
        pad: The id of padding.
        pooling: Whether a text's vector is the mean of its tokens' states or that of the first.
        normalize: Whether vectors have length one.
    """

    def __init__(self, model: Any, pad: int, pooling: Literal["mean", "cls"], *, normalize: bool = False) -> None:
        super().__init__()
        if isinstance(getattr(model, "pooler", None), nn.Module):
            model.pooler = None
        self.model = model
        self._pad = pad
        self._pooling = pooling
        self._normalize = normalize

    @property
    def embedding(self) -> nn.Embedding:
        """The token table (tokens, width)."""
        table: nn.Embedding = self.model.get_input_embeddings()
        return table

    def states(self, ids: Tensor) -> Tensor:
        """Return the last hidden states (B, L, width) of token ids (B, L); those of padding mean nothing."""
        states: Tensor = self.model(input_ids=ids, attention_mask=(ids != self._pad).long()).last_hidden_state
        return states

    def forward(self, ids: Tensor) -> Tensor:
        """Return features (B, width) of token ids (B, L)."""
        z = self._pooled(ids)
        return nn.functional.normalize(z, dim=1) if self._normalize else z

    def _pooled(self, ids: Tensor) -> Tensor:
        z = self.states(ids)
        if self._pooling == "cls":
            return z[:, 0]
        real = (ids != self._pad)[..., None]
        return (z * real).sum(1) / real.sum(1)


class ImageBody(nn.Module):
    """Images in, one vector an image out, as the library pools it.

    Args:
        model: A network of transformers; a layer that was trained to pool for another task is taken off, and so is what
            stands for hidden patches in pre-training.
        size: Height and width of images; where the network has positions for others, they are interpolated.
    """

    def __init__(self, model: Any, size: int) -> None:
        super().__init__()
        self._takes_token = isinstance(getattr(getattr(model, "pooler", None), "dense", None), nn.Linear)
        if self._takes_token:
            model.pooler = None
        if isinstance(getattr(getattr(model, "embeddings", None), "mask_token", None), nn.Parameter):
            model.embeddings.mask_token = None
        self.model = model
        own = getattr(model.config, "image_size", size)
        fits = own in (size, [size, size], (size, size))
        knows = "interpolate_pos_encoding" in inspect.signature(model.forward).parameters
        self._more = {"interpolate_pos_encoding": True} if knows and not fits else {}

    def forward(self, x: Tensor) -> Tensor:
        """Return features (B, width) of prepared images (B, C, H, W)."""
        out = self.model(pixel_values=x, **self._more)
        pooled = None if self._takes_token else getattr(out, "pooler_output", None)
        z: Tensor = out.last_hidden_state[:, 0] if pooled is None else pooled.flatten(1)
        return z


def image_block_classes(body: nn.Module) -> set[str]:
    """Return the class names of the blocks of an image encoder: those of the innermost lists of parts all alike."""
    outer = block_classes(body)
    inner: set[str] = set()
    for module in body.modules():
        if type(module).__name__ in outer:
            inner |= block_classes(module)
    return inner or outer


def block_classes(body: nn.Module) -> set[str]:
    """Return the class names of the blocks: those of the outermost lists of parts that are all alike."""
    return set(_repeated(body))


def find_all_sublayers(body: nn.Module, blocks: list[str]) -> list[Sublayers]:
    """Return the sublayers of every block, in order.

    BERT's blocks normalise sums within their parts, so that the layers before the sums are what counts.
    """
    modules = dict(body.named_modules())
    sublayers = {one.attention.rpartition(".")[0]: one for one in find_sublayers(body)}
    for name in blocks:
        parts = dict(modules[name].named_children())
        pair = next((pair for pair in _WHOLE if parts.keys() >= set(pair)), None)
        if pair is not None and not isinstance(parts[pair[1]], nn.ModuleList):
            sublayers[name] = Sublayers(*(f"{name}.{part}" for part in pair))
        elif parts.keys() >= set(_SPLIT) and all(f"{name}.{own}" in modules for own in _DENSE):
            ends = f"{name}.attention.output.dense", f"{name}.intermediate"
            sublayers[name] = Sublayers(f"{name}.attention", f"{name}.output.dense", *ends)
    return [sublayers[name] for name in blocks if name in sublayers]


def _repeated(module: nn.Module) -> Iterator[str]:
    for child in module.children():
        kinds = {type(part).__name__ for part in child.children()}
        have_parameters = all(next(part.parameters(), None) is not None for part in child.children())
        if isinstance(child, nn.ModuleList) and len(kinds) == 1 and have_parameters:
            yield from kinds
        else:
            yield from _repeated(child)
