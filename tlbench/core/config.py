"""The base of every settings class, and the search distribution that a field may carry."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Frozen, strict about unknown keys and types; the base of ``Config`` of methods and ``Options`` of protocols."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)


class MethodConfig(Settings):
    """Parameters of a method. Subclass it as ``Config`` in the method's file."""


def log_uniform(low: float, high: float) -> dict[str, Any]:
    """Return a search distribution, uniform in the logarithm over [low, high]."""
    return {"distribution": "log_uniform", "low": low, "high": high}


def uniform(low: float, high: float) -> dict[str, Any]:
    """Return a search distribution, uniform over [low, high]."""
    return {"distribution": "uniform", "low": low, "high": high}


def choice(*values: Any) -> dict[str, Any]:
    """Return a search distribution over a few values."""
    return {"distribution": "choice", "values": list(values)}


def tunable(default: Any, space: dict[str, Any], /, description: str = "", **bounds: Any) -> Any:
    """Return a pydantic field that carries its search distribution beside its default.

    Args:
        default: The published default.
        space: One of :func:`log_uniform`, :func:`uniform`, :func:`choice`.
        description: One line for the schema.
        **bounds: Constraints of ``pydantic.Field`` (``ge``, ``gt``, ``le``, ``lt``).
    """
    return Field(default, description=description or None, json_schema_extra={"space": space}, **bounds)
