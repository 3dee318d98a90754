"""Files of weights: written whole, read without running code from them, and loaded only where everything fits."""

from __future__ import annotations

import re
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone
from tlbench.backbones.damaged_weights import check_content, torch_format
from tlbench.backbones.weights_metadata import carried
from tlbench.core.errors import UserError

State = dict[str, Tensor]

_CONTAINERS = ("state_dict", "model_state_dict", "model", "net")
_PREFIXES = ("", "backbone.", "body.", "model.", "encoder.", "trunk.", "network.", "net.")
_COUNTERS = ("position_ids", "token_type_ids")  # tables of 0, 1, 2, ... that older files hold
_WRAPPED = "model."  # where bodies around a network of transformers hold it
_HEADS = frozenset({"fc", "head", "heads", "head_dist", "heads_dist", "classifier", "linear", "last_linear", "logits"})
_AUXILIARY = frozenset({"aux1", "aux2", "aux_head", "AuxLogits"})
# What data parallelism and compilation add; names that torchvision's published files still use, and those of today.
_RENAMED = (
    (re.compile(r"(^|\.)(?:module|_orig_mod)\."), r"\1"),
    (re.compile(r"(\.denselayer\d+\.(?:norm|conv))\.([12])\."), r"\1\2."),
    (re.compile(r"\.mlp\.linear_1\."), ".mlp.0."),
    (re.compile(r"\.mlp\.linear_2\."), ".mlp.3."),
)
_SHOWN = 4


def save_weights(backbone: Backbone, path: Path, tokenizer: str | None = None, notes: Sequence[str] = ()) -> None:
    """Write the weights and buffers of a backbone's body as a safetensors file.

    That of an image backbone also carries its recipe.

    Args:
        backbone: The backbone.
        path: The file.
        tokenizer: The tokeniser that the weights were trained with, as JSON; it goes into the file.
        notes: What a reader of results with these weights must know; they go into the file.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in backbone.body.state_dict().items()}
    recipe = backbone.info.recipe if backbone.info.modality == "image" else None
    save_file(state, path, carried(tokenizer, notes, recipe))


def read_weights(path: Path, *, names_only: bool = False) -> State:
    """Return the tensors of a safetensors file, or of a torch file, by name.

    A torch file may hold the state under ``state_dict``, ``model`` or the like; no code in it is run.

    Args:
        path: The file.
        names_only: Whether names and shapes will do: of the tensors nothing is read then, as far as the format allows
            it, and the values of those returned mean nothing.

    Raises:
        UserError: The file cannot be read, or holds something else.
    """
    check_content(path)
    try:
        form = torch_format(path)
        if form:
            mapped = names_only and form == "zip"  # pickles cannot be mapped
            with warnings.catch_warnings(action="ignore"):  # of odd pickles, which the error tells of
                content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        else:
            content = _shapes(path) if names_only else load_file(path)
    except Exception as error:  # readers of pickles and headers raise what they like
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(
            f"weights file {path}: cannot be read ({reason})",
            "give a .safetensors file, or a torch file of tensors only",
        ) from error
    while isinstance(content, Mapping) and (inner := next((k for k in _CONTAINERS if _holds(content, k)), None)):
        content = content[inner]
    state = {str(k): v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, Mapping) else {}
    if not state:
        raise UserError(f"weights file {path}: holds no named tensors", "save module.state_dict()")
    return state


def load_weights(backbone: Backbone, state: Mapping[str, Tensor], origin: str, *, exact: bool = False) -> None:
    """Load weights into a backbone's body; nothing is changed unless all of it fits.

    Unless ``exact``, names may carry the prefixes that wrappers add (``module.``, ``backbone.``, ...), a classifier
    head is dropped, and a first convolution over three channels is summed over them for a network that reads grey
    images: it then answers a grey image as it answered the same image in three equal channels.

    Args:
        backbone: The backbone.
        state: Tensors by name.
        origin: What to call them in an error.
        exact: Whether the names must be exactly those of the body.

    Raises:
        UserError: Tensors are missing, unexpected or of another shape; names the first of each.
    """
    fitting = OrderedDict(fitted(backbone, state, origin, exact=exact))
    # Names and shapes are those of today, so no network need convert anything, whatever version the file claims.
    fitting._metadata = backbone.body.state_dict()._metadata  # type: ignore[attr-defined]
    backbone.body.load_state_dict(fitting)


def fitted(backbone: Backbone, state: Mapping[str, Tensor], origin: str, *, exact: bool = False) -> State:
    """Return weights by the names of a backbone's body; arguments and errors are those of :func:`load_weights`.

    Names and shapes decide; values are not read.
    """
    own = backbone.body.state_dict()
    if not exact:
        state = _sum_first(backbone.body, _trim(state, own), own)
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    shapes = [name for name in own if name in state and state[name].shape != own[name].shape]
    if missing or unexpected or shapes:
        faults = [
            *_fault("missing", missing),
            *_fault("unexpected", unexpected),
            *_fault("of another shape", [f"{n}: {_size(state[n])} there, {_size(own[n])} here" for n in shapes]),
        ]
        hint = "is it the same architecture, with the same options?"
        if _first(backbone.body) in shapes and backbone.info.recipe.get("stem") == "small":
            hint = "the first convolution differs: say stem: standard, and the image_size it was trained with"
        raise UserError(f"{origin}: does not fit {backbone.info.label}: {'; '.join(faults)}", hint)
    return dict(state)


def _shapes(path: Path) -> State:
    """Return tensors without values in the shapes that a safetensors file has."""
    with safe_open(path, "pt") as opened:
        return {name: torch.empty(opened.get_slice(name).get_shape(), device="meta") for name in opened.keys()}  # noqa: SIM118


def _holds(content: Mapping[str, object], key: str) -> bool:
    return isinstance(content.get(key), Mapping)


def _trim(state: Mapping[str, Tensor], own: State) -> State:
    """Return the state under the body's own names, without heads, with counters that older files lack."""
    named = {_current(name): tensor for name, tensor in state.items()}
    if all(name.startswith(_WRAPPED) for name in own):
        named = _wrapped(named, own)
    prefix = max(_PREFIXES, key=lambda p: sum(name.startswith(p) and name[len(p) :] in own for name in named))
    inner = {name[len(prefix) :]: tensor for name, tensor in named.items() if name.startswith(prefix)}
    kept = {name: t for name, t in inner.items() if name in own or name.partition(".")[0] not in _HEADS | _AUXILIARY}
    counters = {name: t for name, t in own.items() if name.endswith(".num_batches_tracked") and name not in kept}
    return kept | counters


def _wrapped(state: State, own: State) -> State:
    """Return a state of the library's own network for a body that holds that network under a name of its own.

    What a network for another task has beside the encoder, under its prefix (``bert.``), is left out, and so is what
    pools its states.
    """
    inside = {name.removeprefix(_WRAPPED) for name in own}
    starts = {""} | {f"{name.partition('.')[0]}." for name in state}
    start = max(sorted(starts), key=lambda p: sum(name.startswith(p) and name[len(p) :] in inside for name in state))
    inner = {name[len(start) :]: tensor for name, tensor in state.items() if name.startswith(start)}
    parts = {name.partition(".")[0] for name in inside}
    known = {
        f"{_WRAPPED}{name}": tensor
        for name, tensor in inner.items()
        if name in inside or (name.partition(".")[0] in parts and not name.endswith(_COUNTERS))
    }
    return known or state


def _current(name: str) -> str:
    for old, new in _RENAMED:
        name = old.sub(new, name)
    return name


def _first(body: nn.Module) -> str:
    return next((f"{name}.weight" for name, module in body.named_modules() if isinstance(module, nn.Conv2d)), "")


def _sum_first(body: nn.Module, state: State, own: State) -> State:
    name = _first(body)
    if name in state and state[name].ndim == 4 and state[name].shape[1] == 3 and own[name].shape[1] == 1:
        return state | {name: state[name].sum(1, keepdim=True)}
    return state


def _fault(what: str, names: list[str]) -> Iterable[str]:
    if names:
        more = f", ... ({len(names)} in all)" if len(names) > _SHOWN else ""
        yield f"{what}: {', '.join(names[:_SHOWN])}{more}"


def _size(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"
