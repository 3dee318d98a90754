"""Which validators a method's own training maximises: by those it cannot be measured."""

from __future__ import annotations

from functools import cache

from tlbench.core.errors import UserError
from tlbench.plugins import registry

MARK = "†"
NOTE = f"{MARK} the method's own training maximises this validator, which so says little about it"


@cache
def optimised(method: str) -> frozenset[str]:
    """Return the validators that a method declares to maximise; none of a method that is not installed.

    Args:
        method: The method's file name.
    """
    try:
        return frozenset(registry.declaration("methods", method).constants.OPTIMISES)
    except UserError:
        return frozenset()
