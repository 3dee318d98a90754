"""Traces of a fit: a hash of each of its parts, so that two fits can be compared to the last bit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tlbench.core.hashing import digest
from tlbench.core.record import Outcome
from tlbench.data.dataset import Dataset, Split, Task
from tlbench.store.artifacts import Artifacts
from tlbench.training.context import Context
from tlbench.training.frozen_features import FrozenFeatures

Trace = dict[str, str]

# Arguments of every method, and holders of data: they are no part of what was learnt.
_INPUTS = (Context, FrozenFeatures, Dataset, Split, Task, Artifacts, ModuleType, type, Path)
# Values of oracles, which are never ranked: those that read labels of the test, and what reads those of the target.
_ORACLES = ("selected/step_by/oracle", "curves/oracle_accuracy")
_ORACLE_ON_TARGET = "validation/oracle_on_target"
_SHOWN = 3


def model_trace(fitted: Any) -> Trace:
    """Return the hash of every tensor, number and text in a fitted method, by its path in the object.

    Closures are looked into: heads on frozen features are functions that hold their weights.
    """
    trace: Trace = {}
    _walk(fitted, "model", trace, {})
    return trace


def outcome_trace(outcome: Outcome, *, scores: bool, predictions: bool) -> Trace:
    """Return the hash of each part of an outcome.

    Args:
        outcome: The outcome.
        scores: Whether to include its scores and the choices of oracles; they depend on test labels. An oracle on the
            target's training examples is never included: it is their labels' own score.
        predictions: Whether to include its test logits.
    """
    parts: dict[str, Any] = {f"selected/{name}": value for name, value in outcome.selected.items()}
    parts |= {f"validation/{name}": value for name, value in outcome.validation.items()}
    parts |= {f"curves/{name}": curve for name, curve in outcome.curves.items()}
    parts |= outcome.model_dump(mode="json", include={"notes", "footprint", "transductive", "oracle"})
    if scores:
        parts |= {f"scores/{name}": value for name, value in outcome.scores.items()} | {"correct": outcome.correct}
    else:
        parts = {name: value for name, value in parts.items() if name not in _ORACLES}
    parts.pop(_ORACLE_ON_TARGET, None)
    if predictions:
        parts["predictions"] = outcome.logits
    return {name: digest(repr(value)) for name, value in parts.items()}


def difference(before: Trace, after: Trace) -> str:
    """Return in words which parts differ; nothing where none does."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _walk(value: Any, path: str, trace: Trace, seen: dict[int, Any]) -> None:
    """Add the hashes of a value's parts to a trace."""
    if isinstance(value, _INPUTS) or id(value) in seen:
        return
    if isinstance(value, str | int | float | bool | complex | bytes | torch.dtype | torch.device | None):
        trace[path] = digest(repr(value))
        return
    seen[id(value)] = value  # kept, so that no other object can get its id
    if isinstance(value, Tensor):
        trace[path] = _array(
            value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy(), value.dtype, value.shape
        )
    elif isinstance(value, np.ndarray | np.generic):
        trace[path] = _array(np.asarray(value), value.dtype, value.shape)
    elif isinstance(value, torch.Generator):
        _walk(value.get_state(), path, trace, seen)
    else:
        for name, inner in _parts(value):
            _walk(inner, f"{path}.{name}", trace, seen)


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the named parts of an object, in an order that is the same in every run."""
    if isinstance(value, nn.Module):
        for group in ("_parameters", "_buffers", "_modules"):
            yield from getattr(value, group).items()
        yield from ((name, vars(value)[name]) for name in vars(value) if name[0] != "_" and name != "training")
    elif isinstance(value, Mapping):
        yield from ((str(key), inner) for key, inner in value.items())
    elif isinstance(value, list | tuple):
        yield from ((str(number), inner) for number, inner in enumerate(value))
    elif isinstance(value, set | frozenset):
        yield from ((str(number), inner) for number, inner in enumerate(sorted(value, key=repr)))
    elif isinstance(value, partial):
        yield from (("function", value.func), ("arguments", value.args), ("keywords", value.keywords))
    elif isinstance(value, MethodType):
        yield "self", value.__self__
    elif isinstance(value, FunctionType):
        yield from zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
        yield from (("defaults", value.__defaults__), ("keywords", value.__kwdefaults__))
    elif isinstance(value, CellType):
        yield "content", value.cell_contents
    else:
        slots = (name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ()))
        named = {name: getattr(value, name) for name in slots if name != "__dict__" and hasattr(value, name)}
        yield from {**named, **getattr(value, "__dict__", {})}.items()


def _array(value: Any, dtype: Any, shape: Any) -> str:
    header = f"{dtype} {tuple(shape)} ".encode()
    return hashlib.sha256(header + np.ascontiguousarray(value).tobytes()).hexdigest()[:16]
