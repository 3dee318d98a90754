"""Says why MLflow failed, in its own words without what surrounds them, and what to do about it."""

from __future__ import annotations

import re

# SQLAlchemy tells how it came to run a statement before the reason, and the statement and its help after it.
_SURROUNDINGS = re.compile(
    r"\(raised as a result of Query-invoked autoflush;.*?prematurely\)\s*"
    r"|\s*\[SQL: .*|\s*\(Background on this error at: \S+\)",
    re.DOTALL,
)

# The transport tells its own pool and each layer that an error came through.
_UNREACHABLE = re.compile(
    r"HTTPS?ConnectionPool\(.*"
    r"(?P<reason>(?<=\] )[A-Z][\w ]+|Read timed out|Connection to \S+ timed out|Failed to resolve)",
    re.DOTALL,
)


def explain(error: Exception, tracking: str) -> str:
    """Return the whole reason of an error of MLflow, on one line, and on the next what to do where that is known.

    Args:
        error: From MLflow's client.
        tracking: Address of the store, without credentials.
    """
    if found := _UNREACHABLE.search(str(error)):
        return f"cannot reach the MLflow server: {found['reason'].lower()}\n  is it running, and is the address right?"
    told = " ".join(_SURROUNDINGS.sub(" ", str(error)).split()) or " ".join(str(error).split())
    reason = f"{type(error).__name__}: {told}" if told else type(error).__name__
    hint = _hint(told, tracking)
    return f"{reason}\n  {hint}" if hint else reason


def _hint(told: str, tracking: str) -> str:
    if "database is locked" in told:
        return "another program holds the database: close it, or wait until it has finished"
    if "out-of-date database schema" in told:
        return f"made by another MLflow: keep a copy of it, then run `mlflow db upgrade '{tracking}'`"
    if "disk is full" in told:
        return "make room on the disk"
    if "readonly database" in told:
        return "the database may not be written: give yourself the right, or choose another with --tracking-uri"
    return ""
