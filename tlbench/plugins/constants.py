"""Typed declarations: which upper-case constants the file of a plug-in may set, and of what type each is.

A kind of plug-in declares its constants as a settings class, whose fields have the constants' names:

    class SourceConstants(Settings):
        VERSION: int = Field(ge=1)
        PAIR: bool = False
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from tlbench.core.config import Settings
from tlbench.core.errors import UserError, nearest
from tlbench.core.validation import check
from tlbench.plugins.module_text import ModuleText

C = TypeVar("C", bound=Settings)


def read_constants(declared: type[C], text: ModuleText, values: Mapping[str, Any]) -> C:
    """Return the constants of a plug-in's file.

    Args:
        declared: Their names, types and defaults. A field without a default must be set.
        text: The file, which says what it assigns.
        values: The values by name, such as the namespace of the module; names that the file only imports are ignored.

    Raises:
        UserError: A public upper-case constant is unknown, missing or of the wrong type; names the file, the line and
            the nearest valid constant.
    """
    known = declared.model_fields
    for name, line in text.constants.items():
        if name not in known:
            hint = nearest(name, known) if known else "such a file declares no constants"
            private = f"; one that is not declared to others begins with an underscore: _{name}"
            raise UserError(f"{text.path}:{line}: unknown constant {name!r}", hint + private)
    assigned = {name: values[name] for name in text.constants if name in values}
    for name, value in assigned.items():
        if not _is_plain(value):
            place = f"{text.path}:{text.constants[name]}"
            raise UserError(f"{place}: {name} must be a plain value, not {type(value).__name__}")
    constants, problems = check(declared, assigned)
    if constants is None:
        problem = problems[0]
        assigned_at = text.constants.get(str(problem.where[0])) if problem.where else None
        place = f"{text.path}:{assigned_at}" if assigned_at else str(text.path)
        if problem.what.endswith("is missing"):
            raise UserError(f"{place}: the constant {problem.what}", _description(declared, problem.where[0]))
        raise UserError(f"{place}: {problem.what}", problem.hint)
    return constants


def _is_plain(value: Any) -> bool:
    """Say whether a value is made of texts, numbers, truth values, None, lists, tuples and mappings of these alone."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    return value is None or isinstance(value, str | int | float)


def _description(declared: type[Settings], name: str | int) -> str:
    return declared.model_fields[str(name)].description or ""
