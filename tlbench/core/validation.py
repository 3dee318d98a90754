"""Checks plain values against a settings class and says in sentences what is wrong where."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tlbench.core.config import Settings
from tlbench.core.errors import nearest
from tlbench.core.hashing import canonical

S = TypeVar("S", bound=Settings)
Location = tuple[str | int, ...]
"""The keys and positions that lead to a value in a text."""

_KINDS = {
    "tuple_type": "a list",
    "list_type": "a list",
    "set_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
}
_MODELS = ("model_type", "model_attributes_type")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where in the text, what, and what to do about it."""

    where: Location
    what: str
    hint: str = ""


def check(
    model: type[S], value: Any, within: Location = (), siblings: Iterable[str] = ()
) -> tuple[S | None, list[Problem]]:
    """Validate a JSON-like value strictly: no text for a number, no number for a truth value.

    Args:
        model: The settings class.
        value: What the user wrote.
        within: Where it stands in the text.
        siblings: Further keys that are valid beside the model's own, for hints.

    Returns:
        The validated settings, or None and what is wrong with the value.
    """
    try:
        return model.model_validate_json(canonical(value), strict=True), []
    except ValidationError as error:
        found: dict[tuple[Location, str], Problem] = {}
        details = error.errors(include_url=False)
        faulty = {detail["loc"][:depth] for detail in details for depth in range(len(detail["loc"]))}
        for detail in details:
            if detail["type"] == "too_short" and detail["loc"] in faulty:
                continue  # pydantic does not count items that are at fault themselves
            problem = _problem(model, detail, within, siblings)
            # A union reports once for each of its members; the first will do.
            at = tuple(step for step in detail["loc"] if not _is_member(step))
            found.setdefault((at, problem.what if detail["type"] == "missing" else ""), problem)
        hints = {(problem.where[:-1], problem.hint) for problem in found.values()}
        return None, [problem for problem in found.values() if not _misspelt(problem, hints)]


def show(value: Any) -> str:
    """Return a value as a user wrote it, in Python where no file can hold it, cut where it is long."""
    try:
        text = repr(value) if isinstance(value, str) else canonical(value)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _misspelt(problem: Problem, hints: set[tuple[Location, str]]) -> bool:
    """Say whether a key is missing only because it stands there misspelt, which is reported already."""
    if not problem.what.endswith("is missing"):
        return False
    return (problem.where[:-1], f"did you mean {problem.where[-1]!r}?") in hints


def _is_member(step: str | int) -> bool:
    return isinstance(step, str) and (
        step in ("int", "float", "str", "bool") or "[" in step or step.startswith("constrained-")
    )


def _problem(model: type[Settings], detail: ErrorDetails, within: Location, siblings: Iterable[str]) -> Problem:
    location = detail["loc"]
    where = (*within, *location)
    keys = [step for step in location if isinstance(step, str) and not _is_member(step)]
    key = keys[-1] if keys else next((step for step in reversed(within) if isinstance(step, str)), "")
    context: dict[str, Any] = detail.get("ctx", {})
    if detail["type"] == "missing":
        return Problem(where, f"{key!r} is missing")
    if detail["type"] == "extra_forbidden":
        choices = {*_keys_at(model, location[:-1]), *(siblings if len(location) == 1 else ())}
        hint = nearest(key, choices) if choices else "there are no keys here"
        return Problem(where, f"unknown key {key!r}", hint)
    hint = ""
    if detail["type"] == "value_error":
        message, hint = str(context["error"]), getattr(context["error"], "hint", "")
    elif detail["type"] in _KINDS:
        name_alone = (
            "a name or " if location and detail["type"] in _MODELS and "name" in _keys_at(model, location) else ""
        )
        each = "each " if location and isinstance(location[-1], int) else ""
        message = f"{each}must be {name_alone}{_KINDS[detail['type']]}, not {show(detail['input'])}"
    elif detail["type"] == "too_short":
        message = "must not be empty"
    else:
        message = re.sub(r"^(Input|Value|String|List|Tuple|Dictionary) should ", "must ", detail["msg"])
        message += f", not {show(detail['input'])}"
    if detail["type"] in ("literal_error", "enum") and isinstance(detail["input"], str):
        hint = nearest(detail["input"], re.findall(r"'([^']*)'", str(context.get("expected", ""))))
    return Problem(where, f"{key}: {message}" if key and location else message, hint)


def _keys_at(model: type[BaseModel], location: Location) -> set[str]:
    """Return the keys of the (possibly nested) settings class at a location."""
    for step in location:
        if isinstance(step, str) and step in model.model_fields:
            model = _model_in(model.model_fields[step].annotation) or model
    return set(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part)) is not None), None)
