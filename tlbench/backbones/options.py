"""Reads the options of a backbone as a suite gives them, and names the result for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from tlbench.core.config import Settings
from tlbench.core.errors import UserError
from tlbench.core.hashing import canonical
from tlbench.core.validation import check

S = TypeVar("S", bound=Settings)


def read_options(name: str, model: type[S], params: dict[str, Any]) -> S:
    """Return the validated options of a backbone.

    Args:
        name: The backbone.
        model: Its settings class.
        params: What the user wrote.

    Raises:
        UserError: A key is unknown or a value impossible; the message quotes the key.
    """
    options, problems = check(model, params)
    if options is None:
        problem = problems[0]
        key = str(problem.where[0]) if problem.where else ""
        rest = problem.what.removeprefix(f"{key}: ")
        raise UserError(f"{name}: {key!r} {rest}" if rest != problem.what else f"{name}: {rest}", problem.hint)
    return options


def label(name: str, changed: Mapping[str, Any], weights: Mapping[str, Any], weights_label: str = "") -> str:
    """Return the text that names architecture and weights, e.g. ``conv4(width=32)/random``.

    Args:
        name: The architecture.
        changed: Options that differ from the defaults.
        weights: The recipe's weights.
        weights_label: How people call the weights, where it is not by the name that the recipe has for them.
    """
    shown = ", ".join(f"{key}={v if isinstance(v, str) else canonical(v)}" for key, v in changed.items())
    architecture = f"{name}({shown})" if shown else name
    return f"{architecture}/{weights_label or _weights_label(weights)}"


def _weights_label(weights: Mapping[str, Any]) -> str:
    match weights["kind"]:
        case "random":
            return "random"
        case "file":
            return f"file:{weights.get('sha256', '')[:8]}"
        case "pretrain":
            return f"{weights['method']}@{weights['dataset']}"
    return str(weights["name"])
